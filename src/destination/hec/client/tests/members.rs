//! Several collectors.

use super::*;

fn of(urls: &[&str]) -> Config {
    let members = urls.iter().map(|url| MemberConfig { url: (*url).to_owned(), weight: 1 }).collect();
    Config { members, ..config(urls[0]) }
}

/// An address without a listener: the system never assigns this port to a program that asks for any port.
const NOWHERE: &str = "http://127.0.0.1:9";

#[tokio::test]
async fn requests_of_an_absent_collector_go_to_the_others_at_once_and_that_is_logged() {
    let (one, other) = (first_then_fine(vec![]).await, first_then_fine(vec![]).await);
    let slow = Timing { first: Duration::from_secs(600), most: Duration::from_secs(600), ..QUICK };
    let hec = Hec::with(&of(&[&one.url, NOWHERE, &other.url]), slow, LookUp::system()).unwrap();
    for _ in 0..8 {
        deliver_all(&hec, batch(4)).await;
    }
    let (of_one, of_other) = (one.with_events().len(), other.with_events().len());
    assert!(of_one >= 3 && of_other >= 3 && of_one + of_other == 8, "{of_one} and {of_other}");
    assert!(matches!(hec.health(), Health::Up { .. }), "{:?}", hec.health());
    let checked = hec.check().await.unwrap();
    assert!(checked.url.contains(&one.url) && !checked.url.contains(NOWHERE), "{}", checked.url);
    let says = format!("{NOWHERE}/services/collector is down; its events go to the other collectors: ");
    assert!(hec.warnings()[0].starts_with(&says), "{:?}", hec.warnings());
    let gauges: Vec<u64> = hec.gauges().iter().map(|gauge| gauge.value).collect();
    assert_eq!(gauges, [3, 2]);
}

#[tokio::test]
async fn a_collector_that_refuses_is_named_and_only_the_last_of_them_stops_the_checkpoint() {
    let (_log, lines) = log();
    let refuses = Arc::new(AtomicBool::new(false));
    let now_refuses = Arc::clone(&refuses);
    let one = Collector::start(|_, _| disabled()).await;
    let other =
        Collector::start(
            move |seen, taken| {
                if now_refuses.load(Ordering::Relaxed) { disabled() } else { splunk(seen, taken, true) }
            },
        )
        .await;
    let hec = hec_with(&of(&[&one.url, &other.url]));
    while hec.warnings().is_empty() {
        deliver_all(&hec, batch(1)).await;
    }
    let says = format!("{}/services/collector rejects our requests; its events go to the other collectors: ", one.url);
    assert!(hec.warnings()[0].starts_with(&says), "{:?}", hec.warnings());
    assert!(!lines.text().contains("checkpoint not moved"), "{}", lines.text());
    assert!(lines.text().contains("rejects our requests; its events go to the other collectors, probing"));

    refuses.store(true, Ordering::Relaxed);
    let (_stopper, tenure) = tenure();
    let delivery = hec.deliver(batch(1), tenure);
    let reported = async {
        while !matches!(hec.health(), Health::Refusing { .. }) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        outcome = delivery => panic!("{outcome:?}"),
        reported = tokio::time::timeout(LONG, reported) => reported.expect("it is reported"),
    }
    assert_eq!(lines.text().matches("checkpoint not moved").count(), 1, "{}", lines.text());
}

#[tokio::test]
async fn a_recovered_collector_is_found_by_one_probe_and_gets_its_share_again() {
    let good = first_then_fine(vec![]).await;
    let back = first_then_fine(vec![busy(), busy(), busy()]).await;
    let hec = hec_with(&of(&[&good.url, &back.url]));
    while back.with_events().len() < 8 {
        deliver_all(&hec, batch(2)).await;
    }
    assert!(hec.warnings().is_empty(), "{:?}", hec.warnings());
}

#[tokio::test]
async fn when_all_members_are_down_delivery_waits_for_the_first_to_recover() {
    let answer = |_: &Seen, _: &mut Vec<String>| busy();
    let busy_one = Collector::start(answer).await;
    let back = first_then_fine(vec![busy(), busy(), busy(), busy()]).await;
    let hec = hec_with(&of(&[&busy_one.url, &back.url]));
    deliver_all(&hec, batch(2)).await;
    assert_eq!(back.taken(), names(2));
}

#[tokio::test]
async fn a_heavier_collector_gets_more() {
    let (light, heavy) = (first_then_fine(vec![]).await, first_then_fine(vec![]).await);
    let mut config = of(&[&light.url, &heavy.url]);
    config.members[1].weight = 3;
    let hec = hec_with(&config);
    for _ in 0..40 {
        deliver_all(&hec, batch(1)).await;
    }
    assert_eq!((light.with_events().len(), heavy.with_events().len()), (10, 30));
}

#[tokio::test]
async fn what_one_collector_does_not_support_applies_to_that_one_only() {
    let plain = first_then_fine(vec![Act::reply(415, "<html>")]).await;
    let packed = first_then_fine(vec![]).await;
    let hec = hec_with(&Config { gzip: true, ..of(&[&plain.url, &packed.url]) });
    for _ in 0..6 {
        deliver_all(&hec, batch(2)).await;
    }
    let encodings = |collector: &Collector| -> Vec<bool> {
        collector.with_events().iter().map(|seen| seen.header("content-encoding") == Some("gzip")).collect()
    };
    assert!(encodings(&plain)[1..].iter().all(|gzip| !gzip), "{:?}", encodings(&plain));
    assert!(encodings(&packed).iter().all(|gzip| *gzip), "{:?}", encodings(&packed));
}

#[tokio::test]
async fn acceptance_by_other_collectors_is_no_evidence_against_an_event() {
    // It answers empty requests, resets all others, and so accepts nothing.
    let broken = Collector::start(|seen, _| if seen.body.is_empty() { no_data() } else { Act::Reset }).await;
    let good = first_then_fine(vec![]).await;
    let hec = hec_with(&of(&[&broken.url, &good.url]));
    for _ in 0..4 {
        deliver_all(&hec, batch(3)).await;
    }
    assert_eq!(good.taken().len(), 12, "nothing is rejected, and nothing comes twice");
}

#[tokio::test]
async fn after_a_refused_token_the_next_is_tried_before_a_refusal_is_reported() {
    let mut files = [tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap()];
    writeln!(files[0], "old").unwrap();
    writeln!(files[1], "new").unwrap();
    let rotated = Arc::new(AtomicBool::new(false));
    let is_rotated = Arc::clone(&rotated);
    let collector = Collector::start(move |seen, taken| {
        let valid = if is_rotated.load(Ordering::Relaxed) { "Splunk new" } else { "Splunk old" };
        if seen.header("authorization") == Some(valid) {
            return splunk(seen, taken, true);
        }
        Act::reply(403, r#"{"text":"Invalid token","code":4}"#)
    })
    .await;
    let token = Token::Files(files.iter().map(|file| file.path().to_owned()).collect());
    let slow = Timing { hold: Duration::from_secs(600), ..QUICK };
    let hec = Hec::with(&Config { token, ..config(&collector.url) }, slow, LookUp::system()).unwrap();
    deliver_all(&hec, batch(1)).await;
    rotated.store(true, Ordering::Relaxed);
    deliver_all(&hec, batch(2)).await;
    deliver_all(&hec, batch(2)).await;
    assert!(matches!(hec.health(), Health::Up { .. }), "{:?}", hec.health());
    let sent: Vec<_> = collector.seen().iter().map(|seen| seen.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(sent, ["Splunk old", "Splunk old", "Splunk new", "Splunk new"]);
}

#[tokio::test]
async fn a_token_is_replaced_under_load_without_a_retry_or_a_pause() {
    let mut files = [tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap()];
    writeln!(files[0], "old").unwrap();
    writeln!(files[1], "new").unwrap();
    let collector = Collector::start(|seen, taken| {
        let valid = if taken.len() < 200 { "Splunk old" } else { "Splunk new" };
        if seen.header("authorization") == Some(valid) {
            return splunk(seen, taken, true).after(Duration::from_millis(2));
        }
        Act::reply(403, r#"{"text":"Token disabled","code":1}"#)
    })
    .await;
    let token = Token::Files(files.iter().map(|file| file.path().to_owned()).collect());
    let hec = hec_with(&Config { token, ..patient(&collector.url) });
    let shard = async || {
        for _ in 0..25 {
            deliver_all(&hec, batch(4)).await;
        }
    };
    tokio::join!(shard(), shard(), shard(), shard());
    assert_eq!(collector.taken().len(), 400, "all are there, and once");
    assert_eq!(hec.snapshot().retries, 0);
    assert!(matches!(hec.health(), Health::Up { .. }), "{:?}", hec.health());
    let refused = collector.seen().len() - 100;
    assert!((1..=8).contains(&refused), "no more than were under way, and not {refused}");
}

#[tokio::test]
async fn two_refused_tokens_are_tried_in_turn_until_one_changes_and_neither_is_shown() {
    let (_log, lines) = log();
    let mut files = [tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap()];
    writeln!(files[0], "old-s3cr3t").unwrap();
    writeln!(files[1], "new-s3cr3t").unwrap();
    let collector = Collector::start(|seen, taken| {
        if seen.header("authorization") == Some("Splunk good-s3cr3t") {
            return splunk(seen, taken, true);
        }
        Act::reply(403, r#"{"text":"Invalid token, neither old-s3cr3t nor new-s3cr3t","code":4}"#)
    })
    .await;
    let token = Token::Files(files.iter().map(|file| file.path().to_owned()).collect());
    let hec = hec_with(&Config { token, ..patient(&collector.url) });
    let change = async {
        while !matches!(hec.health(), Health::Refusing { .. }) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let Health::Refusing { cause, .. } = hec.health() else { panic!() };
        assert!(cause.contains("Invalid token") && !cause.contains("s3cr3t"), "{cause}");
        std::fs::write(files[1].path(), "good-s3cr3t").unwrap();
    };
    tokio::join!(deliver_all(&hec, batch(2)), change);
    assert_eq!(collector.taken(), names(2), "they are there, and once");
    let sent: Vec<_> = collector.seen().iter().map(|seen| seen.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(sent[..2], ["Splunk old-s3cr3t", "Splunk new-s3cr3t"]);
    assert!(!lines.text().contains("s3cr3t"), "{}", lines.text());
}

/// Accepts events with these indexes and refuses others as Splunk does: code 7 counts from one.
async fn with_indexes(allowed: &'static [&'static str]) -> Collector {
    Collector::start(move |seen, taken| {
        let lines = seen.lines();
        if lines.is_empty() {
            return no_data();
        }
        let is_allowed = |line: &String| allowed.iter().any(|index| line.contains(&format!("\"index\":\"{index}\"")));
        match lines.iter().position(|line| !is_allowed(line)) {
            None => {
                taken.extend(lines);
                ok()
            }
            Some(bad) => {
                taken.extend(lines[..bad].iter().cloned());
                let number = bad + 1;
                Act::reply(400, &format!(r#"{{"text":"Incorrect index","code":7,"invalid-event-number":{number}}}"#))
            }
        }
    })
    .await
}

fn of_indexes(indexes: &[&str]) -> Arc<Output> {
    let mut events = Events::default();
    for (number, index) in indexes.iter().enumerate() {
        let log = u32::try_from(number).unwrap();
        events
            .push(log, |out| writeln!(out, r#"{{"time":1.5,"index":"{index}","event":{{"n":{number}, "big":1e99}}}}"#))
            .unwrap();
    }
    batch_of(events)
}

#[tokio::test]
async fn events_of_a_refused_index_go_to_the_fallback_with_one_log_line_and_one_probe() {
    let (_log, lines) = log();
    let collector = with_indexes(&["main", "rest"]).await;
    let hec = hec_with(&Config { fallback_index: Some("rest".to_owned()), ..config(&collector.url) });
    deliver_all(&hec, of_indexes(&["main", "gone", "main", "gone"])).await;
    let asked = collector.with_events().len();
    deliver_all(&hec, of_indexes(&["gone", "main"])).await;
    assert_eq!(collector.with_events().len(), asked + 2, "nothing was refused any more");
    let event = |index: &str, number: usize| {
        format!(r#"{{"time":1.5,"index":"{index}","event":{{"n":{number}, "big":1e99}}}}"#)
    };
    let expected = [("main", 0), ("rest", 1), ("main", 2), ("rest", 3), ("rest", 0), ("main", 1)];
    assert_eq!(sorted(collector.taken()), sorted(expected.map(|(index, number)| event(index, number)).into()));
    assert_eq!(hec.snapshot().rerouted, 3);
    assert_eq!(
        lines.text().matches("an index is refused, its events go to the index rest").count(),
        1,
        "{}",
        lines.text()
    );
}

#[tokio::test]
async fn a_refused_fallback_index_pauses_delivery() {
    let collector = with_indexes(&["main"]).await;
    let hec = hec_with(&Config { fallback_index: Some("rest".to_owned()), ..config(&collector.url) });
    let (_stopper, tenure) = tenure();
    let held = async {
        while !matches!(hec.health(), Health::Refusing { .. }) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        outcome = hec.deliver(of_indexes(&["main", "gone"]), tenure) => panic!("{outcome:?}"),
        held = tokio::time::timeout(LONG, held) => held.expect("it is reported"),
    }
    let Health::Refusing { cause, .. } = hec.health() else { panic!() };
    assert!(cause.contains("the fallback index \"rest\" is refused"), "{cause}");
}
