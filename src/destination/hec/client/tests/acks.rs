//! Acknowledgements of the indexers, over sockets.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;

use super::*;

/// Longer than any of these tests.
pub(super) const PATIENT: Duration = Duration::from_secs(600);

pub(super) fn with_acks(collector: &Collector, timeout: Duration) -> Config {
    Config { ack: Some(timeout), ..config(&collector.url) }
}

pub(super) fn ack(id: usize) -> Act {
    Act::reply(200, &format!(r#"{{"text":"Success","code":0,"ackId":{id}}}"#))
}

pub(super) fn is_poll(seen: &Seen) -> bool {
    seen.line.starts_with("POST /services/collector/ack ")
}

/// The ids in a poll.
fn asked(seen: &Seen) -> Vec<u64> {
    let poll: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
    poll["acks"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
}

/// Answers a poll: these ids are acknowledged.
pub(super) fn safe(seen: &Seen, is_safe: impl Fn(u64) -> bool) -> Act {
    let acks: Vec<String> = asked(seen).iter().map(|id| format!("\"{id}\":{}", is_safe(*id))).collect();
    Act::reply(200, &format!(r#"{{"acks":{{{}}}}}"#, acks.join(",")))
}

/// A collector whose ids count up over all channels, and whose polls `poll` answers; the first poll, which asks whether
/// there are acknowledgements, gets a regular answer.
pub(super) async fn indexer(poll: impl Fn(&Seen, usize) -> Act + Send + 'static) -> Collector {
    let (mut ids, mut polls) = (0.., 0);
    Collector::start(move |seen, taken| {
        if is_poll(seen) {
            polls += 1;
            return if polls == 1 { safe(seen, |_| false) } else { poll(seen, polls - 2) };
        }
        match splunk(seen, taken, true) {
            Act::Reply { status: 200, .. } => ack(ids.next().unwrap()),
            other => other,
        }
    })
    .await
}

pub(super) fn posts(collector: &Collector) -> Vec<Seen> {
    collector.seen().into_iter().filter(|seen| !is_poll(seen) && !seen.body.is_empty()).collect()
}

fn polls(collector: &Collector) -> Vec<Seen> {
    collector.seen().into_iter().filter(is_poll).collect()
}

/// Delivers until this many requests of a kind have arrived, and asserts that this did not complete the delivery.
async fn not_delivered(hec: &Hec, batch: Arc<Output>, arrived: impl Fn() -> bool) {
    let (_stopper, tenure) = tenure();
    let waiting = async {
        while !arrived() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        outcome = hec.deliver(batch, tenure) => panic!("{outcome:?}"),
        waited = tokio::time::timeout(LONG, waiting) => waited.expect("it arrives in time"),
    }
}

#[tokio::test]
async fn delivered_means_that_a_poll_confirmed_it() {
    let collector = indexer(|seen, poll| safe(seen, |_| poll >= 2)).await;
    let hec = hec_with(&with_acks(&collector, PATIENT));
    assert_eq!(hec.promise().label, "indexed");
    deliver_all(&hec, batch(3)).await;
    assert_eq!(posts(&collector).len(), 1);
    let polls = polls(&collector);
    assert_eq!(polls[1..].iter().map(asked).collect::<Vec<_>>(), [[0], [0], [0]]);
    assert_eq!(polls[1].header("authorization"), Some("Splunk s3cr3t-t0ken"));
    assert!(hec.gauges()[2..].iter().all(|gauge| gauge.value == 0), "{:?}", hec.gauges());
}

#[tokio::test]
async fn polls_that_fail_or_make_no_sense_confirm_nothing_and_are_logged() {
    let nonsense = [
        (500, ""),
        (503, r#"{"text":"Server is busy","code":9}"#),
        (200, r#"{"text":"Success","code":0}"#),
        (200, r#"{"acks":{"0":"true"}}"#),
        (200, r#"{"acks":{"0":true,"zero":true}}"#),
        (200, r#"{"acks":{"0":true"#),
        (200, r#"{"acks":{"1":true}}"#),
        (302, ""),
        (403, r#"{"text":"Invalid token","code":4}"#),
        (400, r#"{"text":"Invalid data format","code":6}"#),
    ];
    for (status, body) in nonsense {
        let collector = indexer(move |_, _| Act::reply(status, body)).await;
        let hec = hec_with(&with_acks(&collector, PATIENT));
        not_delivered(&hec, batch(1), || polls(&collector).len() > 4).await;
        if !body.contains("\"1\"") {
            assert!(
                !matches!(hec.health(), Health::Up { .. } | Health::Unknown),
                "{status} {body}: {:?}",
                hec.health()
            );
        }
    }
}

#[tokio::test]
async fn a_token_without_acknowledgements_is_refused_before_any_event_is_sent() {
    let collector = Collector::start(|seen, taken| {
        if is_poll(seen) {
            Act::reply(400, r#"{"text":"ACK is disabled","code":14}"#)
        } else {
            splunk(seen, taken, true)
        }
    })
    .await;
    let hec = hec_with(&with_acks(&collector, PATIENT));
    let Err(CheckError::Refused(cause)) = hec.check().await else { panic!("it is refused") };
    assert!(cause.to_string().contains("turn on indexer acknowledgement for the token"), "{cause}");
    not_delivered(&hec, batch(1), || polls(&collector).len() > 3).await;
    assert!(matches!(hec.health(), Health::Refusing { .. }), "{:?}", hec.health());
    assert_eq!(posts(&collector).len(), 0);
}

#[tokio::test]
async fn events_that_are_accepted_without_an_id_are_not_delivered() {
    let collector =
        Collector::start(|seen, taken| if is_poll(seen) { safe(seen, |_| true) } else { splunk(seen, taken, true) })
            .await;
    let hec = hec_with(&with_acks(&collector, PATIENT));
    not_delivered(&hec, batch(1), || posts(&collector).len() > 1).await;
    assert!(matches!(hec.health(), Health::Refusing { .. }), "{:?}", hec.health());
}

#[tokio::test]
async fn an_unacknowledged_request_is_sent_again_unchanged_and_the_wait_is_logged() {
    let (_log, lines) = log();
    // The second time it has a different id.
    let collector = indexer(|seen, _| safe(seen, |id| id > 0)).await;
    let hec = hec_with(&with_acks(&collector, Duration::from_millis(200)));
    deliver_all(&hec, batch(3)).await;
    let posts = posts(&collector);
    assert_eq!(posts.len(), 2);
    assert_eq!(posts[0].body, posts[1].body);
    assert_eq!(hec.snapshot().possible_duplicates, 3);
    let lines = lines.text();
    assert!(lines.contains("no indexer acknowledgement arrived in time"), "{lines}");
    assert!(lines.contains("do not acknowledge them; the checkpoint waits"), "{lines}");
}

#[tokio::test]
async fn one_collector_of_two_that_never_acknowledges_does_not_stop_the_checkpoint_for_good_and_that_is_said() {
    let (_log, lines) = log();
    let never = indexer(|seen, _| safe(seen, |_| false)).await;
    let always = indexer(|seen, _| safe(seen, |_| true)).await;
    let url = |collector: &Collector| MemberConfig { url: collector.url.clone(), weight: 1 };
    let members = vec![url(&never), url(&always)];
    let hec = hec_with(&Config { members, ..with_acks(&never, Duration::from_millis(200)) });
    while !hec.warnings().iter().any(|warning| warning.starts_with(&never.url)) {
        deliver_all(&hec, batch(1)).await;
    }
    let warnings = hec.warnings();
    assert!(warnings[0].contains("the other collectors deliver; what it accepted is sent again"), "{warnings:?}");
    let lines = lines.text();
    assert!(lines.contains("HEC indexer acknowledgement is down; the other collectors deliver"), "{lines}");
    assert!(!lines.contains("checkpoint"), "{lines}");
}

#[tokio::test]
async fn a_collector_that_acknowledges_nothing_gets_one_small_probe_at_a_time_and_its_share_when_it_does_again() {
    const TIMEOUT: Duration = Duration::from_secs(1);
    let acknowledges = Arc::new(AtomicBool::new(false));
    let is_back = Arc::clone(&acknowledges);
    let bad = indexer(move |seen, _| safe(seen, |_| is_back.load(Ordering::Relaxed))).await;
    let good = indexer(|seen, _| safe(seen, |_| true)).await;
    let url = |collector: &Collector| MemberConfig { url: collector.url.clone(), weight: 1 };
    let hec = hec_with(&Config { members: vec![url(&bad), url(&good)], ..with_acks(&bad, TIMEOUT) });
    let large = || wide_batch(40, 2_000);
    while !hec.warnings().iter().any(|warning| warning.starts_with(&bad.url)) {
        deliver_all(&hec, large()).await;
    }
    let (before, began) = (posts(&bad).len(), Instant::now());
    while began.elapsed() < 4 * TIMEOUT {
        let one = Instant::now();
        deliver_all(&hec, large()).await;
        assert!(one.elapsed() < TIMEOUT, "no log waits for a probe");
    }
    let probes = posts(&bad).split_off(before);
    assert!((2..=6).contains(&probes.len()), "one for each timeout: {}", probes.len());
    assert!(probes.iter().all(|probe| probe.body.len() <= 16 * 1024 && !probe.body.is_empty()));

    acknowledges.store(true, Ordering::Relaxed);
    while posts(&bad).last().is_none_or(|last| last.body.len() <= 16 * 1024) {
        deliver_all(&hec, large()).await;
    }
    let wait_for_polls = async {
        while !hec.warnings().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, wait_for_polls).await.expect("it is up again");
    let before = posts(&bad).len();
    for _ in 0..20 {
        deliver_all(&hec, large()).await;
    }
    assert!(posts(&bad).len() >= before + 5, "it has its share again");
}

#[tokio::test]
async fn collectors_that_all_acknowledge_nothing_get_probes_and_the_checkpoint_moves_when_one_does_again() {
    const TIMEOUT: Duration = Duration::from_millis(100);
    let acknowledges = Arc::new(AtomicBool::new(false));
    let (first, second) = (Arc::clone(&acknowledges), Arc::new(AtomicBool::new(false)));
    let one = indexer(move |seen, _| safe(seen, |_| first.load(Ordering::Relaxed))).await;
    let other = indexer(move |seen, _| safe(seen, |_| second.load(Ordering::Relaxed))).await;
    let url = |collector: &Collector| MemberConfig { url: collector.url.clone(), weight: 1 };
    let hec = hec_with(&Config { members: vec![url(&one), url(&other)], ..with_acks(&one, TIMEOUT) });
    let back = async {
        while !matches!(hec.health(), Health::Down { .. }) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(2 * TIMEOUT).await;
        let small = |collector: &Collector| posts(collector).last().is_some_and(|last| last.body.len() <= 16 * 1024);
        assert!(small(&one) && small(&other), "they get only probes");
        acknowledges.store(true, Ordering::Relaxed);
    };
    let all = async { tokio::join!(deliver_all(&hec, wide_batch(40, 2_000)), back) };
    tokio::time::timeout(LONG, all).await.expect("it is delivered");
}

#[tokio::test]
async fn an_indexer_that_restarts_gets_its_events_again_at_once() {
    let posts = Arc::new(AtomicUsize::new(0));
    let restarted = Arc::clone(&posts);
    let collector = Collector::start(move |seen, taken| {
        if is_poll(seen) {
            // It acknowledges nothing before its second start.
            return safe(seen, |_| restarted.load(Ordering::Relaxed) > 2);
        }
        taken.extend(seen.lines());
        // The first two ids are 0, in two lives.
        ack(restarted.fetch_add(1, Ordering::Relaxed).saturating_sub(1))
    })
    .await;
    let hec = hec_with(&Config { max_requests: 1, ..with_acks(&collector, PATIENT) });
    let first = deliver_all(&hec, batch(2));
    let second = async {
        while posts.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        deliver_all(&hec, batch(1)).await;
    };
    tokio::join!(first, second);
    assert_eq!(sorted(collector.taken()), sorted([names(2), names(1), names(2), names(1)].concat()));
}

#[tokio::test]
async fn an_accepted_request_no_longer_counts_against_the_concurrency() {
    let released = Arc::new(AtomicBool::new(false));
    let release = Arc::clone(&released);
    let collector = indexer(move |seen, _| safe(seen, |_| release.load(Ordering::Relaxed))).await;
    let hec = hec_with(&Config { max_requests: 1, ..with_acks(&collector, PATIENT) });
    let all =
        async { tokio::join!(deliver_all(&hec, batch(1)), deliver_all(&hec, batch(2)), deliver_all(&hec, batch(3))) };
    let watch = async {
        while posts(&collector).len() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        while hec.gauges()[2].value < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let bytes: u64 = posts(&collector).iter().map(|post| post.body.len() as u64).sum();
        assert_eq!(hec.gauges()[3].value, bytes, "{:?}", hec.gauges());
        released.store(true, Ordering::Relaxed);
    };
    tokio::time::timeout(LONG, async { tokio::join!(all, watch) }).await.expect("in time");
}

/// A collector that refuses the event `BAD`, and acknowledges the events before it in the given polls.
async fn with_a_bad_event(acknowledges: bool) -> Collector {
    let mut ids = 0..;
    Collector::start(move |seen, taken| {
        if is_poll(seen) {
            return safe(seen, |id| acknowledges || id > 1);
        }
        let Act::Reply { status, headers, body, .. } = splunk(seen, taken, true) else { panic!() };
        let body = match seen.lines().first() {
            Some(first) if !first.contains("BAD") => {
                body.replace('}', &format!(",\"ackId\":{}}}", ids.next().unwrap()))
            }
            _ => body,
        };
        Act::Reply { status, headers, body, after: Duration::ZERO, last: false }
    })
    .await
}

#[tokio::test]
async fn the_events_before_a_bad_one_wait_for_their_acknowledgement_too() {
    let collector = with_a_bad_event(true).await;
    let hec = hec_with(&with_acks(&collector, PATIENT));
    let Outcome::Done(rejected) = deliver(&hec, batch_with(5, &[2])).await else { panic!("it is done") };
    assert_eq!(rejected.iter().map(|rejected| rejected.event).collect::<Vec<_>>(), [2]);
    assert_eq!(posts(&collector).len(), 2, "nothing was sent twice");
    let asked: BTreeSet<u64> = polls(&collector).iter().flat_map(asked).collect();
    assert!(asked.contains(&0) && asked.contains(&1), "{asked:?}");
}

#[tokio::test]
async fn the_events_before_a_bad_one_are_sent_again_when_they_are_not_acknowledged() {
    let collector = with_a_bad_event(false).await;
    let hec = hec_with(&with_acks(&collector, Duration::from_millis(200)));
    let Outcome::Done(rejected) = deliver(&hec, batch_with(5, &[2])).await else { panic!("it is done") };
    assert_eq!(rejected.len(), 1);
    let events = |range: std::ops::Range<usize>| names(5)[range].to_vec();
    let sent: Vec<_> = posts(&collector).iter().map(Seen::lines).collect();
    assert_eq!(sent.len(), 4, "{sent:?}");
    assert_eq!(
        (&sent[1], sent[2..].iter().collect::<BTreeSet<_>>()),
        (&events(3..5), BTreeSet::from([&events(0..2), &events(3..5)]))
    );
}

#[tokio::test]
async fn a_poll_takes_the_route_of_its_request_with_channel_and_cookie() {
    let collector = Collector::start({
        let mut number = 0;
        move |seen, _| {
            number += 1;
            if is_poll(seen) {
                return safe(seen, |_| number > 4).with(&format!("Set-Cookie: AWSALB=poll{number}; Path=/"));
            }
            ack(0).with("Set-Cookie: AWSALB=post; Path=/; HttpOnly").with("Set-Cookie: OTHER=1")
        }
    })
    .await;
    let hec = hec_with(&with_acks(&collector, PATIENT));
    deliver_all(&hec, batch(1)).await;
    let seen = collector.seen();
    let way = |at: usize| (seen[at].header("x-splunk-request-channel").unwrap(), seen[at].header("cookie"));
    assert_eq!(way(1).1, None, "the first look had a channel of its own");
    assert_ne!(way(0).0, way(1).0);
    assert_eq!(way(2), (way(1).0, Some("AWSALB=post; OTHER=1")));
    assert_eq!(way(3), (way(1).0, Some("AWSALB=poll3; OTHER=1")));
}
