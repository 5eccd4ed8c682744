//! Events that a collector rejects or that kill their request: they are found, and all others arrive.

use std::collections::BTreeMap;

use super::cluster::{Cluster, Manner};
use super::*;
use crate::destination::{Rejected, Rejection};

#[tokio::test]
async fn one_event_that_is_too_large_is_rejected_and_the_others_arrive() {
    let collector =
        Collector::start(
            |seen, taken| {
                if seen.body.len() > 60_000 { Act::reply(413, "<html>") } else { splunk(seen, taken, true) }
            },
        )
        .await;
    let mut events = Events::default();
    for (log, size) in [(0, 10), (1, 90_000), (2, 10)] {
        events.push(log, |out| writeln!(out, "{{\"event\":\"{}\"}}", "x".repeat(size))).unwrap();
    }
    let rejected = Rejected {
        event: 1,
        rejection: Rejection::TooLarge,
        code: "http 413".to_owned(),
        reason: "too large for the collector: 90013 bytes".to_owned(),
    };
    assert_eq!(deliver(&hec(&collector), batch_of(events)).await, Outcome::Done(vec![rejected]));
    assert_eq!(collector.taken().len(), 2);
}

/// A firewall that blocks a word: it answers in place of Splunk, and accepts nothing.
fn firewall(seen: &Seen, taken: &mut Vec<String>) -> Act {
    if seen.lines().iter().any(|line| line.contains("BAD")) {
        Act::reply(400, "<html>Request \u{1b}blocked</html>")
    } else {
        splunk(seen, taken, true)
    }
}

#[tokio::test]
async fn an_event_that_a_firewall_blocks_is_rejected_when_others_pass() {
    let collector = Collector::start(firewall).await;
    let hec = hec(&collector);
    let poison = deliver(&hec, batch_with(100, &[37]));
    let others = async {
        for _ in 0..20 {
            deliver_all(&hec, batch(2)).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (outcome, ()) = tokio::join!(poison, others);
    let reason = "5 times in a row it got no answer from a collector, while others succeeded: HTTP 400, not from a \
                  collector: Request \\u{1b}blocked"
        .to_owned();
    assert_eq!(
        outcome,
        Outcome::Done(vec![Rejected { event: 37, rejection: Rejection::Refused, code: "no reply".to_owned(), reason }])
    );
    assert_eq!(collector.taken().len(), 99 + 40, "the others of the batch arrive once");
}

/// An intermediary, or a collector, that gives no valid reply to a request with a certain event.
fn poisoned(act: impl Fn() -> Act + Send + 'static) -> impl FnMut(&Seen, &mut Vec<String>) -> Act + Send + 'static {
    move |seen, taken| {
        if seen.lines().iter().any(|line| line.contains("BAD")) { act() } else { splunk(seen, taken, true) }
    }
}

/// The treatment of a request.
type Deed = fn() -> Act;

#[tokio::test]
async fn an_event_that_kills_its_request_is_found_rejected_and_named_and_its_neighbours_pass() {
    let acts: [(Deed, &str); 4] = [
        (|| Act::Reset, "no reply: "),
        (|| Act::Close, "no reply: "),
        (
            || Act::reply(200, "<html>Your support ID is 7</html>"),
            "HTTP 200, not from a collector: Your support ID is 7",
        ),
        (|| Act::reply(403, "<html>Forbidden</html>"), "HTTP 403, not from a collector: Forbidden"),
    ];
    for (act, what) in acts {
        let (_log, lines) = log();
        let collector = Collector::start(poisoned(act)).await;
        let hec = hec(&collector);
        let Outcome::Done(rejected) = deliver(&hec, batch_with(1_000, &[617])).await else { panic!("not delivered") };
        assert_eq!(rejected.iter().map(|rejected| rejected.event).collect::<Vec<_>>(), [617]);
        let says = format!("5 times in a row it got no answer from a collector, while others succeeded: {what}");
        assert!(rejected[0].reason.starts_with(&says), "{}", rejected[0].reason);
        let mut expected = names(1_000);
        expected.remove(617);
        let mut taken = collector.taken();
        taken.sort_by_key(|line| expected.iter().position(|name| name == line));
        assert_eq!(taken, expected, "each neighbour arrives, and once");
        assert!(matches!(hec.health(), Health::Up { .. }), "{:?}", hec.health());
        let lines = lines.text();
        assert!(!lines.contains("is down") && !lines.contains("rejects our requests"), "{lines}");
        assert_eq!(lines.matches("sending its events in halves").count(), 1, "{lines}");
        let before = collector.with_events().len();
        deliver_all(&hec, batch(5_000)).await;
        assert_eq!(collector.with_events().len(), before + 1, "nothing was learnt about sizes");
    }
}

#[tokio::test]
async fn an_event_that_kills_its_request_at_every_collector_is_rejected_and_no_collector_is_at_fault() {
    let (_log, lines) = log();
    let act = || poisoned(|| Act::Reset);
    let collectors = [Collector::start(act()).await, Collector::start(act()).await, Collector::start(act()).await];
    let members = collectors.iter().map(|collector| MemberConfig { url: collector.url.clone(), weight: 1 }).collect();
    let hec = hec_with(&Config { members, ..patient(&collectors[0].url) });
    let Outcome::Done(rejected) = deliver(&hec, batch_with(1_000, &[617])).await else { panic!("not delivered") };
    assert_eq!(rejected.iter().map(|rejected| rejected.event).collect::<Vec<_>>(), [617]);
    let mut expected = names(1_000);
    expected.remove(617);
    let taken: Vec<String> = collectors.iter().flat_map(Collector::taken).collect();
    assert_eq!(sorted(taken), sorted(expected), "each neighbour arrives, and once");
    let with_all = collectors
        .iter()
        .map(|collector| collector.with_events().iter().filter(|seen| seen.lines().len() == 1_000).count());
    assert_eq!(sorted(with_all.map(|count| count.to_string()).collect()), ["1", "1", "2"], "all were tried before");
    assert!(hec.warnings().is_empty() && !lines.text().contains("is down"), "{}", lines.text());
    deliver_all(&hec, batch(5_000)).await;
}

#[tokio::test]
async fn a_collector_that_kills_every_request_with_events_is_down_and_no_event_is_rejected() {
    let (open, opened) = stop();
    let collector = Collector::start(move |seen, taken| {
        if opened.is_raised() || seen.body.is_empty() { splunk(seen, taken, true) } else { Act::Reset }
    })
    .await;
    let hec = Arc::new(hec(&collector));
    let (_stopper, tenure) = tenure();
    let mut delivery = tokio::task::JoinSet::new();
    let sink = Arc::clone(&hec);
    delivery.spawn(async move { sink.deliver(batch(3), tenure).await });
    tokio::time::sleep(2 * QUICK.patience).await;
    let Health::Down { cause, .. } = hec.health() else { panic!("{:?}", hec.health()) };
    assert!(cause.contains("an empty request is answered"), "{cause}");
    open.raise();
    let outcome = tokio::time::timeout(LONG, delivery.join_next()).await.expect("in time").unwrap().unwrap();
    assert_eq!(outcome, Outcome::Done(Vec::new()));
    assert_eq!(collector.taken().len(), 3);
    assert!(matches!(hec.health(), Health::Up { .. }));
}

#[tokio::test]
async fn events_accepted_before_a_collector_began_to_kill_all_requests_are_no_evidence() {
    let (open, opened) = stop();
    let mut good = 4;
    let collector = Collector::start(move |seen, taken| {
        if !seen.body.is_empty() && good == 0 && !opened.is_raised() {
            return Act::Reset;
        }
        good -= usize::from(!seen.body.is_empty() && good > 0);
        splunk(seen, taken, true)
    })
    .await;
    let hec = Arc::new(hec_with(&Config { max_body: 100, ..config(&collector.url) }));
    let (_stopper, tenure) = tenure();
    let mut delivery = tokio::task::JoinSet::new();
    let sink = Arc::clone(&hec);
    delivery.spawn(async move { sink.deliver(batch(60), tenure).await });
    tokio::time::sleep(3 * QUICK.patience).await;
    assert!(matches!(hec.health(), Health::Down { .. }), "{:?}", hec.health());
    open.raise();
    let outcome = tokio::time::timeout(LONG, delivery.join_next()).await.expect("in time").unwrap().unwrap();
    assert_eq!(outcome, Outcome::Done(Vec::new()));
    assert_eq!(collector.taken().len(), 60);
}

#[tokio::test(start_paused = true)]
async fn what_is_accepted_after_the_last_failure_of_an_event_is_no_evidence_against_it() {
    let cluster = Cluster::new([Manner::ResetsAndIsSlow; 3]);
    let hec = cluster.client_of(1, Timing { patience: 3 * LONG, ..QUICK });
    let began = Instant::now();
    let recover = async {
        // The event has failed five times, and the last empty request is not answered yet.
        tokio::time::sleep(Duration::from_millis(8_500)).await;
        assert_eq!(cluster.sent_since(began).len(), 5);
        cluster.set(0, Manner::Well);
        deliver_all(&hec, batch(3)).await;
    };
    tokio::join!(deliver_all(&hec, batch(1)), recover);
}

#[tokio::test(start_paused = true)]
async fn what_is_accepted_before_the_first_empty_request_is_answered_is_no_evidence_against_an_event() {
    let cluster = Cluster::new([Manner::ResetsAndIsSlow; 3]);
    let hec = cluster.client_of(1, Timing { patience: 3 * LONG, ..QUICK });
    let recover = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cluster.set(0, Manner::Well);
        deliver_all(&hec, batch(3)).await;
        cluster.set(0, Manner::ResetsAndIsSlow);
        tokio::time::sleep(Duration::from_secs(15)).await;
        cluster.set(0, Manner::Well);
    };
    tokio::join!(deliver_all(&hec, batch(1)), recover);
}

#[tokio::test]
async fn when_empty_requests_die_too_it_is_an_outage_and_no_event_is_rejected() {
    let mut left = 60;
    let collector = Collector::start(move |seen, taken| {
        left -= 1;
        if left > 0 { Act::Reset } else { splunk(seen, taken, true) }
    })
    .await;
    let hec = hec(&collector);
    tokio::join!(deliver_all(&hec, batch(1)), deliver_all(&hec, batch(4)));
    assert_eq!(collector.taken().len(), 5);
    assert!(collector.with_events().iter().all(|seen| [1, 4].contains(&seen.lines().len())), "nothing was halved");
}

#[tokio::test]
async fn an_event_that_gets_no_reply_in_time_is_never_rejected() {
    let mut left = 8;
    let collector = Collector::start(move |seen, taken| {
        let bad = seen.lines().iter().any(|line| line.contains("BAD"));
        if bad && left > 0 {
            left -= 1;
            Act::reply(504, "<html>Gateway Timeout</html>")
        } else {
            taken.extend(seen.lines());
            if seen.body.is_empty() { no_data() } else { ok() }
        }
    })
    .await;
    deliver_all(&hec(&collector), batch_with(4, &[2])).await;
    assert_eq!(collector.taken().len(), 4);
}

#[tokio::test]
async fn a_400_for_every_request_rejects_no_event_and_is_waited_out() {
    let mut left = 12;
    let collector = Collector::start(move |seen, taken| {
        if left > 0 {
            left -= 1;
            Act::reply(400, "<html>no such site</html>")
        } else {
            splunk(seen, taken, true)
        }
    })
    .await;
    let hec = hec(&collector);
    tokio::join!(deliver_all(&hec, batch(3)), deliver_all(&hec, batch(1)), deliver_all(&hec, batch(2)));
    assert_eq!(collector.taken().len(), 6);
}

#[tokio::test]
async fn a_collector_that_refuses_whole_requests_gets_the_good_events_again() {
    let collector = Collector::start(|seen, taken| {
        let lines = seen.lines();
        match lines.iter().position(|line| line.contains("BAD")) {
            None => {
                taken.extend(lines);
                ok().without_server()
            }
            Some(bad) => {
                let body = format!(r#"{{"text":"Invalid data format","code":6,"invalid-event-number":{bad}}}"#);
                Act::reply(400, &body).without_server()
            }
        }
    })
    .await;
    let hec = hec(&collector);
    let Outcome::Done(rejected) = deliver(&hec, batch_with(100, &[61])).await else { panic!("not delivered") };
    assert_eq!(rejected.into_iter().map(|rejected| rejected.event).collect::<Vec<_>>(), [61]);
    let mut expected = names(100);
    expected.remove(61);
    let mut taken = collector.taken();
    taken.sort_by_key(|line| expected.iter().position(|name| name == line));
    assert_eq!(taken, expected, "nothing is lost, and nothing is sent twice");
}

#[tokio::test]
async fn the_partial_setting_overrides_how_the_collector_identifies_itself() {
    for (partial, first, second) in [(Partial::Kept, 100, 38), (Partial::Refused, 100, 99)] {
        let collector = Collector::start(|seen, taken| splunk(seen, taken, true).without_server()).await;
        let hec = hec_with(&Config { partial, ..config(&collector.url) });
        let Outcome::Done(rejected) = deliver(&hec, batch_with(100, &[61])).await else { panic!("not delivered") };
        assert_eq!(rejected.len(), 1);
        let sent: usize = collector.with_events().iter().map(|seen| seen.lines().len()).sum();
        assert_eq!(sent, first + second, "{partial:?}");
    }
}

#[tokio::test]
async fn the_promise_and_the_check_say_what_happens_to_events_before_a_bad_one() {
    let named = Collector::start(|_, _| no_data()).await;
    let unnamed = Collector::start(|_, _| no_data().without_server()).await;
    let says = async |collector: &Collector, partial| {
        let hec = hec_with(&Config { partial, ..config(&collector.url) });
        (hec.check().await.unwrap().agrees, hec.promise().sentence)
    };
    let (agrees, promise) = says(&named, Partial::Auto).await;
    assert!(agrees.ends_with("identifies itself as Splunk") && promise.contains("sent again otherwise"));
    let (agrees, _) = says(&unnamed, Partial::Auto).await;
    assert!(agrees.contains("does not identify itself as Splunk") && agrees.contains("hec.partial"));
    for (partial, word) in [(Partial::Kept, "\"kept\""), (Partial::Refused, "\"refused\"")] {
        let (agrees, promise) = says(&unnamed, partial).await;
        assert_eq!(agrees, "accepted the HEC token");
        assert!(promise.contains(word), "{promise}");
    }
}

#[tokio::test]
async fn one_bad_event_of_a_thousand_is_rejected_and_the_others_arrive_once() {
    let collector = first_then_fine(vec![]).await;
    let hec = hec(&collector);
    let rejected = Rejected {
        event: 617,
        rejection: Rejection::Refused,
        code: "hec 6".to_owned(),
        reason: "Invalid data format".to_owned(),
    };
    assert_eq!(deliver(&hec, batch_with(1_000, &[617])).await, Outcome::Done(vec![rejected]));
    let mut expected = names(1_000);
    expected.remove(617);
    assert_eq!(collector.taken(), expected);
    let counts = hec.snapshot();
    assert_eq!((counts.requests, counts.possible_duplicates), (2, 0));
    assert_eq!(counts.rejected, BTreeMap::from([("hec 6".to_owned(), 1)]));
}

#[tokio::test]
async fn a_bad_event_that_is_not_named_is_found() {
    let collector = Collector::start(|seen, taken| splunk(seen, taken, false)).await;
    let hec = hec(&collector);
    let Outcome::Done(rejected) = deliver(&hec, batch_with(1_000, &[617])).await else { panic!() };
    assert_eq!(rejected.iter().map(|rejected| rejected.event).collect::<Vec<_>>(), [617]);
    let mut taken = collector.taken();
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), 999);
    assert!(collector.seen().len() <= 21, "{} requests", collector.seen().len());
    assert!(hec.snapshot().possible_duplicates >= 999, "nobody says which were taken");
}

#[tokio::test]
async fn a_refused_index_affects_its_own_events_only() {
    let collector = Collector::start(|seen, taken| {
        let lines = seen.lines();
        let bad = lines.iter().position(|line| line.contains(r#""index":"no""#));
        taken.extend(lines[..bad.unwrap_or(lines.len())].iter().cloned());
        bad.map_or_else(ok, |bad| {
            let number = bad + 1;
            Act::reply(400, &format!(r#"{{"text":"Incorrect index","code":7,"invalid-event-number":{number}}}"#))
        })
    })
    .await;
    let mut events = Events::default();
    for (log, index) in ["main", "no", "main", "no", "main"].into_iter().enumerate() {
        let log = u32::try_from(log).unwrap();
        events.push(log, |out| writeln!(out, "{{\"index\":\"{index}\",\"event\":\"{log}\"}}")).unwrap();
    }
    let Outcome::Done(rejected) = deliver(&hec(&collector), batch_of(events)).await else { panic!() };
    assert_eq!(rejected.iter().map(|rejected| rejected.event).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(rejected[0].reason, "Incorrect index: \"no\"");
    assert_eq!(collector.taken().len(), 3);
}
