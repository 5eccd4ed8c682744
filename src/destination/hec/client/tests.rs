//! The client with a collector on a loopback socket, whose replies each test defines.

mod acks;
mod addresses;
mod members;
mod packing;
mod server;
mod tls;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use server::{Act, Collector, Seen};

use super::*;
use crate::core::batch::Events;
use crate::core::cursor::ShardId;
use crate::core::lease::Lease;
use crate::core::secret::Secret;
use crate::core::stop::{Stopper, stop};
use crate::core::test_log::log;
use crate::destination::hec::concurrency::Admit;
use crate::destination::hec::{MemberConfig, Token};
use crate::destination::{Rejected, Rejection};

const TOKEN: &str = "s3cr3t-t0ken";

const QUICK: Timing = Timing {
    first: Duration::from_millis(4),
    most: Duration::from_millis(40),
    hold: Duration::from_millis(20),
    hold_jitter: Duration::from_millis(10),
    token_poll: Duration::from_millis(5),
    probe: Duration::from_secs(10),
    patience: Duration::from_millis(800),
    ack_poll: Duration::from_millis(10),
};

/// A time limit that no passing test reaches.
const LONG: Duration = Duration::from_secs(20);

fn config(url: &str) -> Config {
    Config::plain(url, TOKEN)
}

/// For tests in which nothing may be late, however busy the machine is.
fn patient(url: &str) -> Config {
    Config { timeout: LONG, connect_timeout: LONG, ..config(url) }
}

fn hec(collector: &Collector) -> Hec {
    Hec::with(&config(&collector.url), QUICK, LookUp::system()).unwrap()
}

fn hec_with(config: &Config) -> Arc<Hec> {
    Arc::new(Hec::with(config, QUICK, LookUp::system()).unwrap())
}

/// Events `{"event":"e0"}`, `{"event":"e1"}`, …; those in `bad` contain `BAD` instead.
fn batch_with(count: usize, bad: &[usize]) -> Arc<Output> {
    let mut events = Events::default();
    for event in 0..count {
        let word = if bad.contains(&event) { "BAD" } else { "e" };
        let log = u32::try_from(event).unwrap();
        events.push(log, |out| writeln!(out, "{{\"event\":\"{word}{event}\"}}")).unwrap();
    }
    batch_of(events)
}

fn batch(count: usize) -> Arc<Output> {
    batch_with(count, &[])
}

fn batch_of(events: Events) -> Arc<Output> {
    Arc::new(Output { shard: ShardId(0), events })
}

/// A tenure that is valid until it is stopped.
fn tenure() -> (Stopper, Tenure) {
    let (stopper, over) = stop();
    (stopper, Tenure::new(Lease::endless(Instant::now()), over))
}

async fn deliver(hec: &Hec, batch: Arc<Output>) -> Outcome {
    let (_stopper, tenure) = tenure();
    tokio::time::timeout(LONG, hec.deliver(batch, tenure)).await.expect("delivered in time")
}

async fn deliver_all(hec: &Hec, batch: Arc<Output>) {
    assert_eq!(deliver(hec, batch).await, Outcome::Done(Vec::new()));
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|event| format!("{{\"event\":\"e{event}\"}}")).collect()
}

fn ok() -> Act {
    Act::reply(200, r#"{"text":"Success","code":0}"#)
}

fn busy() -> Act {
    Act::reply(503, r#"{"text":"Server is busy","code":9}"#)
}

/// Halves of a request arrive in any order.
fn sorted(mut events: Vec<String>) -> Vec<String> {
    events.sort();
    events
}

fn no_data() -> Act {
    Act::reply(400, r#"{"text":"No data","code":5}"#)
}

/// The behaviour of Splunk: it accepts objects from the front up to the first bad one.
fn splunk(seen: &Seen, taken: &mut Vec<String>, numbered: bool) -> Act {
    let lines = seen.lines();
    if lines.is_empty() {
        return no_data();
    }
    let bad = lines.iter().position(|line| line.contains("BAD"));
    taken.extend(lines[..bad.unwrap_or(lines.len())].iter().cloned());
    match bad {
        None => ok(),
        Some(bad) if numbered => {
            Act::reply(400, &format!(r#"{{"text":"Invalid data format","code":6,"invalid-event-number":{bad}}}"#))
        }
        Some(_) => Act::reply(400, r#"{"text":"Invalid data format","code":6}"#),
    }
}

/// The first requests with events are answered as listed, all others as Splunk would.
async fn first_then_fine(first: Vec<Act>) -> Collector {
    let mut first = first.into_iter();
    Collector::start(move |seen, taken| {
        let listed = if seen.body.is_empty() { None } else { first.next() };
        listed.unwrap_or_else(|| splunk(seen, taken, true))
    })
    .await
}

#[tokio::test]
async fn a_request_has_everything_that_splunk_requires() {
    let collector = first_then_fine(vec![]).await;
    let hec = hec(&collector);
    deliver_all(&hec, batch(3)).await;
    deliver_all(&hec, batch(3)).await;

    let seen = collector.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].line, "POST /services/collector HTTP/1.1");
    assert_eq!(seen[0].body, b"{\"event\":\"e0\"}\n{\"event\":\"e1\"}\n{\"event\":\"e2\"}\n");
    assert_eq!(seen[0].header("authorization"), Some("Splunk s3cr3t-t0ken"));
    assert_eq!(seen[0].header("content-type"), Some("application/json"));
    assert_eq!(seen[0].header("content-length"), Some("45"));
    assert_eq!(seen[0].header("transfer-encoding"), None);
    assert_eq!(seen[0].header("content-encoding"), None);
    assert!(seen[0].header("user-agent").unwrap().starts_with("forwarder/"));
    let channel = seen[0].header("x-splunk-request-channel").unwrap();
    assert_eq!(channel.len(), 36);
    assert_eq!(seen[1].header("x-splunk-request-channel"), Some(channel));
    assert_eq!(collector.connections(), 1, "the connection is kept");
    assert!(matches!(hec.health(), Health::Up { .. }));
    let counts = hec.snapshot();
    assert_eq!((counts.requests, counts.retries, counts.bytes), (2, 0, 90));
}

#[tokio::test]
async fn a_compressed_request_has_the_same_events_in_fewer_bytes() {
    let collector = first_then_fine(vec![]).await;
    let hec = hec_with(&Config { gzip: true, ..config(&collector.url) });
    deliver_all(&hec, batch(1_000)).await;
    assert_eq!(collector.taken(), names(1_000));
    assert_eq!(collector.seen()[0].header("content-encoding"), Some("gzip"));
    assert!(hec.snapshot().bytes < 6_000, "{}", hec.snapshot().bytes);
}

#[tokio::test]
async fn a_batch_of_no_events_sends_nothing() {
    let collector = first_then_fine(vec![]).await;
    deliver_all(&hec(&collector), batch(0)).await;
    assert!(collector.seen().is_empty());
}

#[tokio::test]
async fn requests_are_concurrent_up_to_the_limit() {
    let collector = Collector::start(|_, _| ok().after(Duration::from_millis(20))).await;
    let hec = hec_with(&Config { max_body: 100, ..config(&collector.url) });
    deliver_all(&hec, batch(600)).await;
    assert!(collector.seen().len() > 80);
    let peak = collector.peak();
    assert!(peak > 4 && peak <= 8, "{peak}");
}

#[tokio::test]
async fn a_busy_reply_is_retried_with_and_without_an_event_number() {
    let numbered = Act::reply(503, r#"{"text":"Server is busy","code":9,"invalid-event-number":2}"#);
    let collector = first_then_fine(vec![busy(), numbered, Act::reply(500, "")]).await;
    let hec = hec(&collector);
    deliver_all(&hec, batch(3)).await;
    assert_eq!(collector.taken(), names(3));
    let counts = hec.snapshot();
    assert_eq!((counts.requests, counts.retries, counts.possible_duplicates), (4, 3, 2 + 3));
}

#[tokio::test]
async fn retry_after_is_respected() {
    let collector = first_then_fine(vec![Act::reply(429, "").with("Retry-After: 1")]).await;
    let began = Instant::now();
    deliver_all(&hec(&collector), batch(1)).await;
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_collector_that_asks_for_a_long_pause_is_down_at_once() {
    let collector = first_then_fine(vec![Act::reply(429, "").with("Retry-After: 300")]).await;
    let hec = hec(&collector);
    let (_stopper, tenure) = tenure();
    let delivery = hec.deliver(batch(1), tenure);
    let told = async {
        while !matches!(hec.health(), Health::Down { .. }) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        _ = delivery => panic!("the pause was not kept"),
        () = told => {}
    }
    let Health::Down { cause, .. } = hec.health() else { panic!("{:?}", hec.health()) };
    assert!(cause.contains("it asks for a pause of 5m"), "{cause}");
}

#[tokio::test]
async fn a_request_that_is_too_large_is_halved_and_the_limit_remembered() {
    let collector = Collector::start(|seen, taken| {
        if seen.body.len() > 400_000 {
            Act::reply(413, "<html>Request Entity Too Large</html>")
        } else {
            splunk(seen, taken, true)
        }
    })
    .await;
    let hec = hec(&collector);
    deliver_all(&hec, wide_batch(8, 100_000)).await;
    assert_eq!(collector.taken().len(), 8);
    let before = collector.seen().len();
    deliver_all(&hec, wide_batch(8, 100_000)).await;
    assert_eq!(collector.taken().len(), 16);
    let largest = collector.seen()[before..].iter().map(|seen| seen.body.len()).max();
    assert!(largest < Some(800_000), "{largest:?}");
}

#[tokio::test]
async fn a_small_request_that_was_too_large_does_not_shrink_all_others() {
    let collector = first_then_fine(vec![Act::reply(413, "<html>")]).await;
    let hec = hec(&collector);
    deliver_all(&hec, batch(2)).await;
    assert_eq!(collector.seen().len(), 3);
    deliver_all(&hec, batch(1_000)).await;
    assert_eq!(collector.seen().len(), 4, "17 kB in one request");
}

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
                  collector: <html>Request blocked</html>"
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
        (|| Act::reply(200, "<html>Your support ID is 7</html>"), "HTTP 200, not from a collector: <html>Your"),
        (|| Act::reply(403, "<html>Forbidden</html>"), "HTTP 403, not from a collector: <html>Forb"),
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
async fn requests_too_large_for_an_intermediary_are_split_and_later_ones_start_small() {
    let (_log, lines) = log();
    let collector =
        Collector::start(|seen, taken| if seen.body.len() > 300_000 { Act::Reset } else { splunk(seen, taken, true) })
            .await;
    let hec = hec(&collector);
    deliver_all(&hec, wide_batch(16, 62_500)).await;
    assert_eq!(collector.taken().len(), 16);
    let before = collector.with_events().len();
    deliver_all(&hec, wide_batch(16, 62_500)).await;
    assert_eq!(collector.taken().len(), 32);
    let later: Vec<_> = collector.with_events()[before..].iter().map(|seen| seen.body.len()).collect();
    assert_eq!(later, [250_000; 4]);
    assert!(!lines.text().contains("is down"), "{}", lines.text());
    assert_eq!(lines.text().matches("sending no larger ones for now").count(), 1, "{}", lines.text());
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

fn wide_batch(count: u32, size: usize) -> Arc<Output> {
    let mut events = Events::default();
    for log in 0..count {
        events.push(log, |out| writeln!(out, "{{\"event\":\"{}\"}}", "x".repeat(size - 13))).unwrap();
    }
    batch_of(events)
}

#[tokio::test]
async fn a_collector_that_does_not_accept_gzip_gets_none() {
    let collector = Collector::start(|seen, taken| match seen.header("content-encoding") {
        Some(_) => Act::reply(415, "<html>Unsupported Media Type</html>"),
        None => splunk(seen, taken, true),
    })
    .await;
    let hec = hec_with(&Config { gzip: true, ..config(&collector.url) });
    deliver_all(&hec, batch(3)).await;
    deliver_all(&hec, batch(3)).await;
    assert_eq!(collector.seen().len(), 3);
    assert_eq!(collector.taken().len(), 6);
}

#[tokio::test]
async fn an_error_page_of_a_proxy_pauses_delivery_which_resumes_by_itself() {
    let mut pages = 6;
    let collector = Collector::start(move |seen, taken| {
        if pages > 0 {
            pages -= 1;
            Act::reply(400, "<html><title>Bad Request</title></html>")
        } else {
            splunk(seen, taken, true)
        }
    })
    .await;
    deliver_all(&hec(&collector), batch(2)).await;
    assert_eq!(collector.taken(), names(2));
}

#[tokio::test]
async fn a_reset_after_the_request_may_mean_a_duplicate() {
    let collector = first_then_fine(vec![Act::Reset]).await;
    let hec = hec(&collector);
    deliver_all(&hec, batch(5)).await;
    assert_eq!(collector.taken(), names(5));
    assert_eq!(hec.snapshot().possible_duplicates, 5);
}

#[tokio::test]
async fn a_reply_that_is_lost_after_acceptance_repeats_and_loses_nothing() {
    let mut first = true;
    let collector = Collector::start(move |seen, taken| {
        let act = splunk(seen, taken, true);
        if std::mem::take(&mut first) { Act::Close } else { act }
    })
    .await;
    let hec = hec(&collector);
    deliver_all(&hec, batch(5)).await;
    assert_eq!(collector.taken(), [names(5), names(5)].concat());
    assert_eq!(hec.snapshot().possible_duplicates, 5);
}

#[tokio::test]
async fn a_reply_that_never_ends_is_abandoned_at_the_timeout() {
    let collector = first_then_fine(vec![Act::Trickle, Act::Silent]).await;
    let hec = hec(&collector);
    let began = Instant::now();
    deliver_all(&hec, batch(2)).await;
    assert!(began.elapsed() >= Duration::from_millis(800), "{:?}", began.elapsed());
    assert_eq!(sorted(collector.taken()), names(2));
    assert_eq!(hec.snapshot().possible_duplicates, 4);
}

#[tokio::test]
async fn an_html_page_with_status_200_never_counts() {
    let collector = first_then_fine(vec![
        Act::reply(200, "<html>Please log in</html>"),
        Act::reply(200, ""),
        Act::reply(200, "OK"),
        Act::reply(204, ""),
    ])
    .await;
    deliver_all(&hec(&collector), batch(2)).await;
    assert_eq!(sorted(collector.taken()), names(2));
    assert_eq!(collector.with_events().len(), 2 + 2 + 2, "halved after the second failure, each half once in vain");
}

#[tokio::test]
async fn a_reply_of_a_gigabyte_is_not_read_to_its_end() {
    let collector = first_then_fine(vec![Act::Flood(1 << 30)]).await;
    let began = Instant::now();
    let hec = hec_with(&Config { timeout: LONG, ..config(&collector.url) });
    deliver_all(&hec, batch(1)).await;
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
    assert!(collector.flooded() < 64 << 20, "{} bytes were read", collector.flooded());
}

#[tokio::test]
async fn a_reply_is_read_only_up_to_the_size_of_a_genuine_one() {
    let success = |length: usize| {
        let body = r#"{"text":"Success","code":0}"#;
        Act::reply(200, &format!("{body}{}", " ".repeat(length - body.len())))
    };
    let collector = first_then_fine(vec![success(64 * 1024 + 1), success(64 * 1024)]).await;
    let seen =
        hec(&collector).members()[0].endpoint.post(Bytes::from_static(b"{}"), false, None).await.unwrap().body.len();
    assert_eq!(seen, 64 * 1024);
    // A limit that is not larger is used.
    let hec = hec(&collector);
    deliver_all(&hec, batch(1)).await;
    assert_eq!(hec.snapshot().requests, 1);
}

#[tokio::test]
async fn f64_a_connection_that_was_closed_while_idle_costs_no_request() {
    let collector = Collector::start(|seen, taken| splunk(seen, taken, true).then_close()).await;
    let hec = hec(&collector);
    for _ in 0..5 {
        deliver_all(&hec, batch(1)).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(collector.connections(), 5);
    assert_eq!((hec.snapshot().requests, hec.snapshot().possible_duplicates), (5, 0));
}

#[tokio::test]
async fn f64_connections_that_are_closed_behind_their_replies_lose_nothing_and_are_no_outage() {
    let (_log, lines) = log();
    let mut count = 0;
    let collector = Collector::start(move |seen, taken| {
        count += 1;
        let act = splunk(seen, taken, true);
        if count % 10 == 0 { act.then_close() } else { act }
    })
    .await;
    let hec = hec_with(&Config { max_body: 100, ..config(&collector.url) });
    deliver_all(&hec, batch(2_000)).await;
    let mut taken = collector.taken();
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), 2_000);
    let counts = hec.snapshot();
    println!("{} requests, {} again, {} connections", counts.requests, counts.retries, collector.connections());
    assert!(!lines.text().contains("is down"), "{}", lines.text());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = first_then_fine(vec![]).await;
    let location = format!("Location: {}/services/collector", elsewhere.url);
    let collector =
        first_then_fine(vec![Act::reply(307, "").with(&location), Act::reply(302, "").with(&location)]).await;
    deliver_all(&hec(&collector), batch(1)).await;
    assert!(elsewhere.seen().is_empty());
    assert_eq!(collector.taken(), names(1));
}

#[tokio::test]
async fn a_disabled_token_pauses_delivery_until_it_is_enabled() {
    let (enable, enabled) = stop();
    let collector =
        Collector::start(move |seen, taken| if enabled.is_raised() { splunk(seen, taken, true) } else { disabled() })
            .await;
    let hec = Arc::new(hec(&collector));
    let (_stopper, tenure) = tenure();
    let mut deliveries = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (hec, tenure) = (Arc::clone(&hec), tenure.clone());
        deliveries.spawn(async move { hec.deliver(batch(2), tenure).await });
    }
    tokio::time::sleep(Duration::from_millis(150)).await;
    let Health::Refusing { cause, .. } = hec.health() else { panic!("{:?}", hec.health()) };
    assert!(cause.contains("Token disabled") && cause.contains("enable the token"), "{cause}");
    assert!(collector.taken().is_empty());
    assert!((4..12).contains(&collector.seen().len()), "{} requests", collector.seen().len());

    enable.raise();
    let outcomes = deliveries.join_all().await;
    assert_eq!(outcomes, vec![Outcome::Done(Vec::new()); 3]);
    assert_eq!(collector.taken().len(), 6);
    assert!(matches!(hec.health(), Health::Up { .. }));
}

#[tokio::test]
async fn a_changed_token_file_is_tried_at_once() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "old").unwrap();
    let collector = Collector::start(|seen, taken| match seen.header("authorization") {
        Some("Splunk new") => splunk(seen, taken, true),
        _ => Act::reply(403, r#"{"text":"Invalid token","code":4}"#),
    })
    .await;
    let slow = Timing { hold: Duration::from_secs(600), ..QUICK };
    let token = Token::Files(vec![file.path().to_owned()]);
    let hec = Arc::new(Hec::with(&Config { token, ..config(&collector.url) }, slow, LookUp::system()).unwrap());
    let (_stopper, tenure) = tenure();
    let mut delivery = tokio::task::JoinSet::new();
    let sink = Arc::clone(&hec);
    delivery.spawn(async move { sink.deliver(batch(2), tenure).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(collector.seen().len(), 1);
    assert!(matches!(hec.health(), Health::Refusing { .. }));

    // Incomplete and unusable contents in between change nothing.
    std::fs::write(file.path(), "").unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(collector.seen().len(), 1);
    std::fs::write(file.path(), "new\n").unwrap();
    let outcome = tokio::time::timeout(LONG, delivery.join_next()).await.expect("at once").unwrap().unwrap();
    assert_eq!(outcome, Outcome::Done(Vec::new()));
    assert_eq!(collector.taken(), names(2));
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

#[tokio::test]
async fn a_delivery_ends_with_its_tenure_during_an_outage_and_sends_nothing_more() {
    let collector = Collector::start(|_, _| busy()).await;
    let hec = Arc::new(hec(&collector));
    let (stopper, tenure) = tenure();
    let mut delivery = tokio::task::JoinSet::new();
    let sink = Arc::clone(&hec);
    delivery.spawn(async move { sink.deliver(batch(2), tenure).await });
    while collector.seen().len() < 3 || !matches!(hec.health(), Health::Down { .. }) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stopper.raise();
    let ended = tokio::time::timeout(LONG, delivery.join_next()).await.expect("the collector stays busy forever");
    assert_eq!(ended.unwrap().unwrap(), Outcome::Abandoned);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let sent = collector.seen().len();
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(collector.seen().len(), sent);
    assert!(collector.taken().is_empty());
}

fn disabled() -> Act {
    Act::reply(403, r#"{"text":"Token disabled","code":1}"#)
}

#[tokio::test]
async fn when_the_tenure_ends_pending_requests_and_long_waits_are_cancelled() {
    for act in [Act::Silent, Act::reply(503, "").with("Retry-After: 300"), disabled()] {
        let collector = first_then_fine(vec![act]).await;
        let config = Config { timeout: LONG, ..config(&collector.url) };
        let slow = Timing { hold: Duration::from_secs(300), ..QUICK };
        let hec = Arc::new(Hec::with(&config, slow, LookUp::system()).unwrap());
        let (stopper, tenure) = tenure();
        let mut delivery = tokio::task::JoinSet::new();
        delivery.spawn(async move { hec.deliver(batch(2), tenure).await });
        while collector.seen().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        stopper.raise();
        let outcome = tokio::time::timeout(Duration::from_secs(60), delivery.join_next()).await;
        assert_eq!(outcome.expect("at once").unwrap().unwrap(), Outcome::Abandoned);
        assert_eq!(collector.seen().len(), 1);
    }
}

#[tokio::test]
async fn when_the_tenure_ends_the_turn_to_probe_passes_to_others() {
    let (open, opened) = stop();
    let collector =
        Collector::start(move |seen, taken| if opened.is_raised() { splunk(seen, taken, true) } else { busy() }).await;
    let hec = Arc::new(hec(&collector));
    let (first_stopper, first_tenure) = tenure();
    let (_stopper, second_tenure) = tenure();
    let mut deliveries = tokio::task::JoinSet::new();
    for tenure in [first_tenure, second_tenure] {
        let hec = Arc::clone(&hec);
        deliveries.spawn(async move { hec.deliver(batch(1), tenure).await });
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    first_stopper.raise();
    assert_eq!(deliveries.join_next().await.unwrap().unwrap(), Outcome::Abandoned);
    open.raise();
    let outcome = tokio::time::timeout(LONG, deliveries.join_next()).await.expect("a request probes");
    assert_eq!(outcome.unwrap().unwrap(), Outcome::Done(Vec::new()));
}

#[tokio::test]
async fn a_tenure_that_is_over_sends_nothing() {
    let collector = first_then_fine(vec![]).await;
    let (stopper, tenure) = tenure();
    stopper.raise();
    assert_eq!(hec(&collector).deliver(batch(2), tenure).await, Outcome::Abandoned);
    let lapsed = Tenure::new(Lease::lapsed(Instant::now()), stopper.listen());
    assert_eq!(hec(&collector).deliver(batch(2), lapsed).await, Outcome::Abandoned);
    assert!(collector.seen().is_empty());
}

#[tokio::test]
async fn the_tenure_is_checked_before_every_send() {
    let collector = first_then_fine(vec![]).await;
    let (stopper, tenure) = tenure();
    stopper.raise();
    // Without the race with the end of the tenure, which may be noticed late.
    let hec = hec(&collector);
    assert!(hec.requests.send(&batch(2), 0..2, None, None, &tenure).await.is_none());
    assert!(collector.seen().is_empty());
}

#[tokio::test]
async fn during_an_outage_one_request_probes_for_all() {
    let (open, opened) = stop();
    let collector = Collector::start(move |seen, taken| {
        let act = if opened.is_raised() { splunk(seen, taken, true) } else { busy() };
        act.after(Duration::from_millis(10))
    })
    .await;
    let hec = Arc::new(hec(&collector));
    let (_stopper, tenure) = tenure();
    let mut deliveries = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (hec, tenure) = (Arc::clone(&hec), tenure.clone());
        deliveries.spawn(async move { hec.deliver(batch(1), tenure).await });
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    collector.forget_peak();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(collector.peak(), 1);
    open.raise();
    assert_eq!(deliveries.join_all().await.len(), 40);
    assert_eq!(collector.taken().len(), 40);
}

#[tokio::test]
async fn an_absent_collector_is_waited_for() {
    let collector = first_then_fine(vec![]).await;
    let address = collector.address();
    drop(collector);
    let hec = hec_with(&config(&format!("http://{address}")));
    let (_stopper, tenure) = tenure();
    let mut delivery = tokio::task::JoinSet::new();
    let sink = Arc::clone(&hec);
    delivery.spawn(async move { sink.deliver(batch(2), tenure).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let Health::Down { cause, .. } = hec.health() else { panic!("{:?}", hec.health()) };
    assert!(cause.contains("refused"), "{cause}");

    let collector = Collector::start_at(address, |seen, taken| splunk(seen, taken, true)).await;
    let outcome = tokio::time::timeout(LONG, delivery.join_next()).await.expect("in time").unwrap().unwrap();
    assert_eq!(outcome, Outcome::Done(Vec::new()));
    assert_eq!(collector.taken(), names(2));
    assert_eq!(hec.snapshot().possible_duplicates, 0, "a refused connection took nothing");
}

#[tokio::test]
async fn a_full_queue_slows_delivery_down_and_gets_every_event() {
    let filling = r#"{"text":"Queue approaching capacity","code":24}"#;
    let collector = Collector::start(move |seen, taken| {
        splunk(seen, taken, true);
        Act::reply(200, filling).after(Duration::from_millis(5))
    })
    .await;
    let hec = hec_with(&Config { max_body: 100, ..config(&collector.url) });
    deliver_all(&hec, batch(120)).await;
    collector.forget_peak();
    deliver_all(&hec, batch(120)).await;
    assert_eq!(collector.taken().len(), 240);
    assert_eq!(collector.peak(), 1);
}

#[tokio::test]
async fn the_check_verifies_the_token_and_sends_no_event() {
    let collector = Collector::start(|seen, _| match seen.header("authorization") {
        Some("Splunk s3cr3t-t0ken") => Act::reply(400, r#"{"text":"No data","code":5}"#),
        _ => Act::reply(403, r#"{"text":"Invalid token","code":4}"#),
    })
    .await;
    let good = hec(&collector);
    assert!(good.check().await.unwrap().url.ends_with("/services/collector"));
    assert!(matches!(good.health(), Health::Up { .. }));
    assert!(collector.seen()[0].body.is_empty());
    assert_eq!(collector.seen()[0].header("content-length"), Some("0"));

    let token = Token::Fixed(Secret::new("wrong"));
    let bad = hec_with(&Config { token, ..config(&collector.url) });
    assert!(matches!(bad.check().await, Err(CheckError::Refused(_))));
    assert!(matches!(bad.health(), Health::Refusing { .. }));

    let url = collector.url.clone();
    drop(collector);
    assert!(matches!(hec_with(&config(&url)).check().await, Err(CheckError::Down(_))));
}

#[tokio::test]
async fn a_configured_proxy_is_used() {
    let proxy = first_then_fine(vec![]).await;
    let hec = hec_with(&Config { proxy: Some(proxy.url.clone()), ..config("http://splunk.invalid:8088") });
    deliver_all(&hec, batch(1)).await;
    assert_eq!(proxy.seen()[0].line, "POST http://splunk.invalid:8088/services/collector HTTP/1.1");
}

/// The result of a check through a proxy that answers like this.
async fn check_over(answer: fn() -> Act, url: &str) -> (String, Result<Checked, CheckError>) {
    let proxy = Collector::start(move |_, _| answer()).await;
    let hec = hec_with(&Config { proxy: Some(proxy.url.clone()), ..config(url) });
    let checked = hec.check().await;
    assert_eq!(matches!(hec.health(), Health::Refusing { .. }), matches!(checked, Err(CheckError::Refused(_))));
    (proxy.url.clone(), checked)
}

#[tokio::test]
async fn a_proxy_that_requires_a_password_is_named_with_the_remedy_and_is_not_an_outage() {
    for url in ["https://splunk.invalid:8088", "http://splunk.invalid:8088"] {
        let (proxy, checked) = check_over(|| Act::reply(407, "<html>who are you?"), url).await;
        let Err(CheckError::Refused(cause)) = checked else { panic!("{url}: {checked:?}") };
        assert!(cause.what.contains(&format!("through the proxy {proxy}")), "{url}: {cause}");
        assert!(cause.hint.is_some_and(|hint| hint.contains("http://user:password@host:port")), "{url}: {cause}");
    }
}

#[tokio::test]
async fn a_proxy_that_cannot_reach_the_collector_is_named_and_is_an_outage() {
    for url in ["https://splunk.invalid:8088", "http://splunk.invalid:8088"] {
        let (proxy, checked) = check_over(|| Act::reply(503, "<html>no route"), url).await;
        let Err(CheckError::Down(cause)) = checked else { panic!("{url}: {checked:?}") };
        assert!(cause.what.contains(&format!("through the proxy {proxy}")), "{url}: {cause}");
    }
    let gone = Config { proxy: Some("http://127.0.0.1:1".to_owned()), ..config("https://splunk.invalid:8088") };
    let checked = hec_with(&gone).check().await;
    let Err(CheckError::Down(cause)) = checked else { panic!("{checked:?}") };
    assert!(cause.what.starts_with("cannot connect through the proxy http://127.0.0.1:1: "), "{cause}");
}

#[tokio::test]
async fn a_reply_with_an_unrequested_encoding_does_not_count_and_is_reported() {
    let encoded = || Act::reply(200, r#"{"text":"Success","code":0}"#).with("Content-Encoding: gzip");
    let collector = Collector::start(move |_, _| encoded()).await;
    let Err(error) = hec(&collector).check().await else { panic!("it counts") };
    assert!(error.to_string().starts_with("HTTP 200, encoded as gzip, which was not requested"), "{error}");

    let collector = first_then_fine(vec![encoded()]).await;
    deliver_all(&hec(&collector), batch(2)).await;
    assert_eq!(collector.taken(), names(2));
    assert_eq!(collector.seen()[0].header("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn the_token_is_in_no_log_line_no_error_and_no_debug_text() {
    let (_log, lines) = log();
    let echo = || Act::reply(403, &format!(r#"{{"text":"Invalid token {TOKEN}","code":4}}"#));
    let mut acts = vec![echo(), Act::reply(400, TOKEN), busy(), busy(), Act::Reset].into_iter();
    let collector = Collector::start(move |seen, taken| acts.next().unwrap_or_else(|| splunk(seen, taken, true))).await;
    let hec = hec(&collector);
    let error = hec.check().await.unwrap_err();
    let health = hec.health();
    deliver_all(&hec, batch(2)).await;
    let lines = lines.text();
    for text in [format!("{error} {error:?} {health:?} {hec:?} {:?}", config(&collector.url)), lines.clone()] {
        assert!(!text.contains(TOKEN), "{text}");
    }
    assert!(lines.contains("Invalid token ***"), "{lines}");
    assert!(lines.contains("up again"), "{lines}");
}

#[tokio::test]
async fn an_echo_of_the_token_in_base64_is_not_shown() {
    use base64::Engine as _;

    let code = base64::engine::general_purpose::STANDARD.encode(format!("Authorization: Splunk {TOKEN}"));
    let collector = Collector::start(move |_, _| Act::reply(403, &format!("<p>You sent {code}"))).await;
    let hec = hec(&collector);
    let error = hec.check().await.unwrap_err().to_string();
    assert!(error.contains("You sent ***"), "{error}");
}

#[tokio::test]
async fn an_outage_is_logged_in_one_line_and_its_end_in_another() {
    let (_log, lines) = log();
    let collector = first_then_fine((0..10).map(|_| busy()).collect()).await;
    deliver_all(&hec(&collector), batch(2)).await;
    let lines = lines.text();
    let ours: Vec<_> = lines.lines().filter(|line| line.contains("Splunk HEC")).collect();
    assert_eq!(ours.len(), 2, "{lines}");
    assert!(ours[0].contains("WARN") && ours[0].contains("HTTP 503, code 9: Server is busy"), "{lines}");
    assert!(ours[1].contains("INFO") && ours[1].contains("up again after"), "{lines}");
}

#[tokio::test]
async fn a_late_success_from_before_an_outage_does_not_end_it() {
    let collector = Collector::start(|seen, taken| {
        if seen.lines().len() == 2 { splunk(seen, taken, true).after(Duration::from_millis(150)) } else { busy() }
    })
    .await;
    let hec = hec(&collector);
    let (stopper, tenure) = tenure();
    let late = async {
        deliver_all(&hec, batch(2)).await;
        assert!(matches!(hec.health(), Health::Down { .. }), "{:?}", hec.health());
        stopper.raise();
    };
    tokio::join!(late, hec.deliver(batch(1), tenure));
    assert_eq!(collector.taken(), names(2));
}

#[tokio::test]
async fn a_token_with_acknowledgement_is_mentioned_once() {
    let (_log, lines) = log();
    let collector = Collector::start(|_, _| Act::reply(200, r#"{"text":"Success","code":0,"ackId":1}"#)).await;
    let hec = hec(&collector);
    deliver_all(&hec, batch(2)).await;
    deliver_all(&hec, batch(2)).await;
    let lines = lines.text();
    assert_eq!(lines.matches("accepted, not indexed").count(), 1, "{lines}");
}

#[track_caller]
fn check_config(config: &Config, expected: &str) {
    let error = Hec::new(config).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
}

#[tokio::test]
async fn impossible_settings_are_named() {
    let fine = config("https://splunk.example:8088");
    let url = |url: &str| config(url);
    let token = |token| Config { token: Token::Fixed(Secret::new(token)), ..fine.clone() };
    check_config(&url("splunk"), "hec url: not a URL");
    check_config(&url("ftp://splunk"), "hec url: neither http nor https");
    check_config(&url("https://u:p@splunk"), "hec url: it must not contain a user or a password");
    check_config(&url("https://splunk/services/collector"), "hec url: /services/collector is added");
    check_config(&url("https://splunk/?token=x"), "hec url: /services/collector is added");
    check_config(&token(""), "hec token: it is empty");
    check_config(&token("a b"), "hec token: it contains white space");
    check_config(&token("a\nb"), "hec token: it contains");
    check_config(&Config { proxy: Some("http://u:p@[".to_owned()), ..fine.clone() }, "hec proxy: not a URL");
    let missing = std::path::PathBuf::from("/nonexistent/file");
    check_config(
        &Config { token: Token::Files(vec![missing.clone()]), ..fine.clone() },
        "hec token file /nonexistent/file: ",
    );
    check_config(&Config { ca_file: Some(missing), ..fine.clone() }, "hec CA file /nonexistent/file: ");
    let empty = tempfile::NamedTempFile::new().unwrap();
    check_config(&Config { ca_file: Some(empty.path().to_owned()), ..fine.clone() }, "hec CA file ");
    let pair = (empty.path().to_owned(), empty.path().to_owned());
    check_config(&Config { client_cert: Some(pair), ..fine.clone() }, "hec client certificate and PKCS #8 key ");
    assert!(Hec::new(&fine).is_ok());
}

#[tokio::test]
async fn f85_two_clients_that_failed_together_wait_for_different_times() {
    let now = Instant::now();
    let next_tries = || {
        let hec = Hec::new(&config("http://127.0.0.1:1")).unwrap();
        let members = hec.members();
        let mut flow = members[0].limit();
        let Admit::Go(ticket) = flow.admit() else { panic!("nothing was sent yet") };
        flow.failed(&ticket, now, None);
        let Admit::Probe(ticket, failed) = flow.admit() else { panic!("it failed") };
        flow.held(&ticket, now);
        let Admit::Probe(_, refused) = flow.admit() else { panic!("it was refused") };
        (failed, refused)
    };
    let (one, other) = (next_tries(), next_tries());
    assert!(one.0 != other.0 && one.1 != other.1, "{one:?} {other:?}");
}

#[tokio::test]
async fn a_token_file_is_read_again_after_an_interval() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "old").unwrap();
    let collector = first_then_fine(vec![]).await;
    let token = Token::Files(vec![file.path().to_owned()]);
    let hec = hec_with(&Config { token, ..config(&collector.url) });
    std::fs::write(file.path(), "new").unwrap();
    deliver_all(&hec, batch(1)).await;
    hec.members()[0].endpoint.age_token(Duration::from_secs(11));
    deliver_all(&hec, batch(1)).await;
    let sent: Vec<_> = collector.seen().iter().map(|seen| seen.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(sent, ["Splunk old", "Splunk new"]);
}

#[tokio::test]
async fn an_unusable_token_file_is_logged_once_each_time() {
    let (_log, lines) = log();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "good").unwrap();
    let collector = first_then_fine(vec![]).await;
    let token = Token::Files(vec![file.path().to_owned()]);
    let hec = hec_with(&Config { token, ..config(&collector.url) });
    for (content, said) in [("", 1), ("", 1), ("good", 1), ("", 2), ("two words", 3), ("good", 3), ("two words", 4)] {
        std::fs::write(file.path(), content).unwrap();
        hec.members()[0].endpoint.age_token(Duration::from_secs(11));
        deliver_all(&hec, batch(1)).await;
        let lines = lines.text();
        assert_eq!(lines.matches("cannot use the HEC token file").count(), said, "{content:?}: {lines}");
    }
}
