//! Indexers that die with accepted events, while the program waits for their acknowledgements.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forwarder::core::secret::Secret;
use forwarder::emulator::hec::{HecEmulator, HecFault, On};

use super::bench::{Bench, TOKEN, servers, until};

/// Seconds in which indexers die, unless `FORWARDER_ACK_SECONDS` is set. The gate takes longer.
const SECONDS: u64 = 6;

/// Time between two deaths.
const DEATHS: Duration = Duration::from_millis(1_500);

/// How long a death lasts.
const DEATH: Duration = Duration::from_millis(300);

/// How long after a request the emulated indexers acknowledge it.
const ACK_AFTER: Duration = Duration::from_millis(400);

const HOUR: Duration = Duration::from_secs(3_600);

/// With gzip, events are kept compressed until they are acknowledged.
const SETTINGS: [(&str, &str); 3] =
    [("FORWARDER_HEC_ACK", "true"), ("FORWARDER_HEC_ACK_TIMEOUT", "3s"), ("FORWARDER_HEC_GZIP", "true")];

async fn bench(indexers: usize) -> Bench {
    let (sls, mut hec) = servers(2);
    (hec.use_ack, hec.queue, hec.indexers, hec.ack_after) = (true, true, indexers, ACK_AFTER);
    Bench::with((sls, hec)).await
}

fn length() -> Duration {
    let seconds = std::env::var("FORWARDER_ACK_SECONDS").map_or(SECONDS, |text| text.parse().expect("a number"));
    Duration::from_secs(seconds)
}

/// For each death, at most the events that were indexed and not acknowledged until it was noticed.
#[derive(Default)]
struct Exposed {
    before: usize,
    since_death: usize,
}

impl Exposed {
    fn look(&mut self, bench: &Bench) {
        self.since_death = self.since_death.max(bench.oracle.exposed());
    }

    fn next_death(&mut self) {
        self.before += std::mem::take(&mut self.since_death);
    }

    fn sum(&self) -> usize {
        self.before + self.since_death
    }
}

/// Logs flow while one indexer after another dies with its queue. Lost events can arrive only by being sent again, and
/// the oracle sees an event only when it is indexed: a checkpoint before that is an error.
async fn indexers_die(indexers: usize) {
    let bench = bench(indexers).await;
    let _program = bench.start_with("a", &SETTINGS);
    let (began, mut died, mut deaths, mut turn) = (Instant::now(), Instant::now(), 0, 0);
    let mut exposed = Exposed::default();
    while began.elapsed() < length() {
        bench.put(turn % 2, 1, 20);
        turn += 1;
        if died.elapsed() >= DEATHS {
            bench.hec.faults().kill(deaths, DEATH);
            exposed.next_death();
            died = Instant::now();
            deaths += 1;
        }
        // The emulator indexes due events when it gets a request.
        let _ = bench.hec.counts();
        exposed.look(&bench);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bench.settled().await;
    let (logs, repeats, exposed) = (bench.oracle.expected(), bench.oracle.repeats(), exposed.sum());
    println!("{deaths} deaths of {indexers} indexers: {logs} logs, {repeats} repeats, at most {exposed}");
    assert!(deaths >= 2 && repeats <= exposed, "{repeats} of {exposed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_indexer_that_repeatedly_dies_with_its_queue_loses_nothing() {
    indexers_die(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn indexers_behind_a_load_balancer_with_cookies_that_die_in_turn_lose_nothing() {
    indexers_die(3).await;
}

/// The same with three collectors at separate addresses, each an indexer.
#[tokio::test(flavor = "multi_thread")]
async fn three_members_that_die_one_after_the_other_lose_nothing() {
    let bench = bench(1).await;
    let mut others = Vec::new();
    for _ in 0..2 {
        let (_, mut config) = servers(2);
        (config.use_ack, config.queue, config.ack_after) = (true, true, ACK_AFTER);
        config.tap = Some(Arc::clone(&bench.oracle) as _);
        others.push(HecEmulator::start(config).await.unwrap());
    }
    let members: Vec<&HecEmulator> = [&bench.hec].into_iter().chain(&others).collect();
    let urls = members.iter().map(|member| member.url()).collect::<Vec<_>>().join(", ");
    let _program = bench.start_with("a", &[SETTINGS.as_slice(), &[("FORWARDER_HEC_URL", &urls)]].concat());
    let (began, mut died, mut deaths, mut turn) = (Instant::now(), Instant::now(), 0, 0);
    let mut exposed = Exposed::default();
    let index = || members.iter().map(|member| member.counts().events).collect::<Vec<_>>();
    while began.elapsed() < length() {
        bench.put(turn % 2, 1, 20);
        turn += 1;
        if died.elapsed() >= DEATHS {
            members[deaths % 3].faults().kill(0, DEATH);
            exposed.next_death();
            died = Instant::now();
            deaths += 1;
        }
        index();
        exposed.look(&bench);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bench.settled().await;
    let shares = index();
    let (logs, repeats, exposed) = (bench.oracle.expected(), bench.oracle.repeats(), exposed.sum());
    println!("{deaths} deaths of 3 members: {logs} logs, {repeats} repeats, at most {exposed}; {shares:?} of each");
    let all_have_some = shares.iter().all(|events| *events > 0);
    assert!(deaths >= 2 && repeats <= exposed && all_have_some, "{repeats} of {exposed}, {shares:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_replaced_while_logs_flow_and_no_refusal_is_reported() {
    let bench = Bench::new().await;
    let next = "the-next-t0ken-of-the-tests";
    std::fs::write(bench.directory.path().join("hec.token"), TOKEN).unwrap();
    std::fs::write(bench.directory.path().join("next.token"), next).unwrap();
    let files = [("FORWARDER_HEC_TOKEN_FILE", "hec.token"), ("FORWARDER_HEC_NEXT_TOKEN_FILE", "next.token")];
    let settings = [[("FORWARDER_HEC_TOKEN", "")].as_slice(), &files].concat();
    let program = bench.start_with("a", &settings);
    for turn in 0..40 {
        bench.put(turn % 2, 1, 20);
        if turn == 20 {
            bench.all_arrived().await;
            bench.hec.faults().rotate_token(Secret::new(next));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bench.settled().await;
    assert_eq!(program.says("rejects our requests"), 0, "{}", program.printed());
    program.to_say("refuses one HEC token and accepts the other").await;
    for secret in [TOKEN, next] {
        assert_eq!(program.says(secret), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_acknowledgement_holds_the_checkpoint_back_and_is_reported() {
    let bench = bench(1).await;
    bench.hec.faults().during(On::Events, HecFault::Unacked, HOUR);
    bench.put(0, 2, 20);
    let mut program = bench.start_with("a", &SETTINGS);
    program.to_say("HEC indexer acknowledgement is down").await;
    program.to_say("no indexer acknowledgement arrived in time").await;
    assert_eq!((bench.oracle.saved_groups(), bench.hec.counts().events), (0, 0));
    assert!(program.says("do not acknowledge them; the checkpoint waits") > 0, "{}", program.printed());
    bench.hec.faults().clear();
    bench.settled().await;
    assert!(program.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_that_always_fail_confirm_nothing() {
    let bench = bench(1).await;
    let program = bench.start_with("a", &SETTINGS);
    bench.put(0, 1, 20);
    until("the first logs are indexed", 30, || bench.oracle.saved_groups() == 1).await;
    bench.hec.faults().during(On::Acks, HecFault::page(500), HOUR);
    bench.put(0, 2, 20);
    program.to_say("HEC indexer acknowledgement is down").await;
    until("events come again", 30, || bench.hec.counts().events > 100).await;
    assert_eq!(bench.oracle.saved_groups(), 1);
    bench.hec.faults().clear();
    bench.settled().await;
}
