//! The client with a collector on a loopback socket, whose replies each test defines.

mod acks;
mod addresses;
mod bad_members;
mod checks;
mod cluster;
mod members;
mod outages;
mod packing;
mod rejections;
mod replies;
mod requests;
mod server;
mod tls;
mod tokens;

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use server::{Act, Collector, Seen};

use super::*;
use crate::core::batch::Events;
use crate::core::cursor::ShardId;
use crate::core::lease::Lease;
use crate::core::stop::{Stopper, stop};
use crate::core::test_log::log;
use crate::destination::hec::{MemberConfig, Token};

const TOKEN: &str = "s3cr3t-t0ken";

const QUICK: Timing = Timing {
    first: Duration::from_millis(4),
    most: Duration::from_millis(40),
    hold: Duration::from_millis(20),
    hold_jitter: Duration::from_millis(10),
    token_poll: Duration::from_millis(5),
    probe: Duration::from_secs(10),
    silence: Duration::from_secs(5),
    patience: Duration::from_millis(800),
    ack_poll: Duration::from_millis(10),
    ack_probe: Duration::from_millis(20),
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

fn wide_batch(count: u32, size: usize) -> Arc<Output> {
    let mut events = Events::default();
    for log in 0..count {
        events.push(log, |out| writeln!(out, "{{\"event\":\"{}\"}}", "x".repeat(size - 13))).unwrap();
    }
    batch_of(events)
}

fn disabled() -> Act {
    Act::reply(403, r#"{"text":"Token disabled","code":1}"#)
}
