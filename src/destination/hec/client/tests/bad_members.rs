//! Bad collectors among healthy ones.

use super::cluster::{Cluster, FULL, Manner, Sent, TIMEOUT, load};
use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// Somewhat more than a request that is answered, and its wait for a slot.
const SMALL: Duration = Duration::from_secs(2);

const BAD: [Manner; 6] =
    [Manner::Hangs, Manner::HangsWithEvents, Manner::Floods, Manner::Page, Manner::OnlyPages, Manner::Resets];

fn of_member(sent: &[Sent], member: usize) -> usize {
    sent.iter().filter(|sent| sent.member == member).count()
}

/// The time in which a collector that answers nothing is noticed, while others answer.
const NOTICED: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn a_log_waits_for_seconds_and_not_for_the_timeout_if_collectors_answer_nothing_while_another_does() {
    for hanging in [1, 2] {
        let cluster = Cluster::new([Manner::Well; 3]);
        let hec = cluster.client();
        load(&cluster, &hec, MINUTE).await;
        (0..hanging).for_each(|member| cluster.set(member, Manner::Hangs));
        let longest = load(&cluster, &hec, 5 * MINUTE).await;
        let most = NOTICED * u32::try_from(hanging).unwrap() + SMALL;
        assert!(longest >= NOTICED && longest < most, "{hanging} hang: {longest:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn slow_collectors_and_ones_that_stall_together_are_waited_for() {
    let slow = Manner::Slow(TIMEOUT * 2 / 3);
    for manners in [[slow, Manner::Well, Manner::Well], [slow, slow, Manner::Well], [slow; 3]] {
        let cluster = Cluster::new(manners);
        let hec = cluster.client();
        load(&cluster, &hec, 3 * MINUTE).await;
        assert_eq!(hec.snapshot().possible_duplicates, 0, "{manners:?}");
    }
    let cluster = Cluster::new([Manner::Well; 3]);
    let hec = cluster.client();
    let stall = async {
        tokio::time::sleep(MINUTE).await;
        (0..3).for_each(|member| cluster.set(member, Manner::Stalls(TIMEOUT * 2 / 3)));
        tokio::time::sleep(TIMEOUT * 2 / 3).await;
        (0..3).for_each(|member| cluster.set(member, Manner::Well));
    };
    tokio::join!(load(&cluster, &hec, 2 * MINUTE), stall);
    assert_eq!(hec.snapshot().possible_duplicates, 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_collector_without_others_gets_no_empty_requests() {
    let cluster = Cluster::new([Manner::Slow(TIMEOUT * 2 / 3); 3]);
    let hec = cluster.client_of(1, RETRY_TIMING);
    load(&cluster, &hec, MINUTE).await;
    assert_eq!(cluster.empty(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_bad_collector_of_three_shrinks_no_request_and_delays_a_log_by_one_timeout_at_most() {
    for manner in BAD {
        let cluster = Cluster::new([manner, Manner::Well, Manner::Well]);
        let hec = cluster.client();
        let began = Instant::now();
        let longest = load(&cluster, &hec, 3 * MINUTE).await;
        assert!(longest <= TIMEOUT + SMALL, "{manner:?}: {longest:?}");
        let sent = cluster.sent_since(began);
        assert!(sent.len() > 500 && sent.iter().all(|sent| sent.bytes == FULL), "{manner:?}: {}", sent.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_collector_gets_only_probes_until_it_recovers_and_then_its_share() {
    for manner in BAD {
        let cluster = Cluster::new([Manner::Well; 3]);
        let hec = cluster.client();
        load(&cluster, &hec, MINUTE).await;
        assert!(hec.warnings().is_empty(), "{:?}", hec.warnings());

        cluster.set(0, manner);
        let bad_since = Instant::now();
        load(&cluster, &hec, 2 * MINUTE).await;
        let first = cluster.sent_since(bad_since);
        assert!(of_member(&first, 0) <= 40, "{manner:?}: {}", of_member(&first, 0));
        let later = Instant::now();
        load(&cluster, &hec, 2 * MINUTE).await;
        let sent = cluster.sent_since(later);
        assert!(of_member(&sent, 0) <= 30, "{manner:?}: {} of {}", of_member(&sent, 0), sent.len());
        let warnings = hec.warnings();
        assert!(warnings[0].starts_with("http://collector0:8088/services/collector is down"), "{warnings:?}");

        cluster.set(0, Manner::Well);
        load(&cluster, &hec, TIMEOUT + MINUTE).await;
        let back = Instant::now();
        load(&cluster, &hec, MINUTE).await;
        let sent = cluster.sent_since(back);
        assert!(of_member(&sent, 0) > sent.len() / 4, "{manner:?}: {} of {}", of_member(&sent, 0), sent.len());
        assert!(hec.warnings().is_empty(), "{:?}", hec.warnings());
    }
}

#[tokio::test(start_paused = true)]
async fn two_bad_collectors_of_three_shrink_no_request_of_the_third() {
    for manner in BAD {
        let cluster = Cluster::new([manner, manner, Manner::Well]);
        let hec = cluster.client();
        let began = Instant::now();
        let longest = load(&cluster, &hec, 3 * MINUTE).await;
        assert!(longest <= 2 * TIMEOUT + SMALL, "{manner:?}: {longest:?}");
        let sent = cluster.sent_since(began);
        assert!(sent.len() > 300 && sent.iter().all(|sent| sent.bytes == FULL), "{manner:?}: {}", sent.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_size_that_fails_at_one_collector_shrinks_only_its_own_requests() {
    for manner in [Manner::RefusesAbove(600_000), Manner::ResetsAbove(600_000)] {
        let cluster = Cluster::new([manner, Manner::Well, Manner::Well]);
        let hec = cluster.client();
        let began = Instant::now();
        load(&cluster, &hec, MINUTE).await;
        let sent = cluster.sent_since(began);
        assert!(sent.iter().all(|sent| sent.bytes == FULL), "{manner:?}: the others take them");
        assert!(of_member(&sent, 0) <= 40, "{manner:?}: {}", of_member(&sent, 0));

        cluster.set(1, Manner::Hangs);
        cluster.set(2, Manner::Hangs);
        load(&cluster, &hec, 4 * MINUTE).await;
        let sent = cluster.sent_since(Instant::now() - MINUTE);
        assert!(sent.iter().any(|sent| sent.member == 0 && sent.bytes <= 600_000), "{manner:?}: it is the only one");

        cluster.set(1, Manner::Well);
        cluster.set(2, Manner::Well);
        load(&cluster, &hec, TIMEOUT + MINUTE).await;
        let back = Instant::now();
        load(&cluster, &hec, MINUTE).await;
        let sent = cluster.sent_since(back);
        assert!(sent.iter().all(|sent| sent.bytes == FULL), "{manner:?}: only the first one has learnt it");
        assert!(of_member(&sent, 1) > 100 && of_member(&sent, 2) > 100, "{manner:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_failure_is_not_held_against_a_collector_that_has_answered_since() {
    let cluster = Cluster::new([Manner::HangsWithEvents, Manner::HangsWithEvents, Manner::Well]);
    let hec = cluster.client();
    let began = Instant::now();
    let others = async {
        tokio::time::sleep(SMALL).await;
        cluster.set(0, Manner::Well);
        tokio::time::sleep(TIMEOUT).await;
        for _ in 0..6 {
            deliver_all(&hec, batch(1)).await;
        }
        tokio::time::sleep(TIMEOUT - 2 * SMALL).await;
        cluster.set(1, Manner::Well);
    };
    let (_stopper, tenure) = tenure();
    tokio::join!(hec.deliver(batch(1), tenure), others);
    let sent = cluster.sent_since(began);
    assert!(of_member(&sent, 0) > 1 && of_member(&sent, 1) == 1 && began.elapsed() > 2 * TIMEOUT, "{sent:?}");
    let warnings = hec.warnings();
    assert!(warnings.len() == 1 && warnings[0].starts_with("http://collector1:"), "{warnings:?}");
}

#[tokio::test(start_paused = true)]
async fn when_all_collectors_hang_that_is_known_after_one_timeout_and_one_empty_request() {
    let cluster = Cluster::new([Manner::Hangs; 3]);
    let hec = cluster.client();
    let recover = async {
        tokio::time::sleep(TIMEOUT + RETRY_TIMING.probe + SMALL).await;
        assert!(matches!(hec.health(), Health::Down { .. }), "{:?}", hec.health());
        (0..3).for_each(|member| cluster.set(member, Manner::Well));
    };
    tokio::join!(load(&cluster, &hec, MINUTE), recover);
    assert_eq!(hec.figures().outages.len(), 1, "{:?}", hec.figures().outages);
    // All are back.
    load(&cluster, &hec, MINUTE).await;
    cluster.set(0, Manner::Hangs);
    load(&cluster, &hec, 3 * MINUTE).await;
    cluster.set(0, Manner::Well);
    load(&cluster, &hec, 2 * MINUTE).await;
    assert_eq!(hec.figures().outages.len(), 1, "that was only one of them: {:?}", hec.figures().outages);
}

#[tokio::test(start_paused = true)]
async fn a_device_before_all_collectors_that_resets_large_requests_makes_them_smaller() {
    let cluster = Cluster::new([Manner::ResetsAbove(600_000); 3]);
    let hec = cluster.client();
    load(&cluster, &hec, MINUTE).await;
    let later = Instant::now();
    load(&cluster, &hec, MINUTE).await;
    let sent = cluster.sent_since(later);
    assert!(sent.len() > 300 && sent.iter().all(|sent| sent.bytes <= 600_000), "each has learnt it");
    assert!(hec.warnings().is_empty(), "{:?}", hec.warnings());
}
