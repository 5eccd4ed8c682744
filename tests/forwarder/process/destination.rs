//! Faults of Splunk.

use std::fs;
use std::time::Duration;

use forwarder::emulator::generate::Generator;
use forwarder::emulator::hec::{Cut, Dislike, HecFault, On};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::bench::{BEAT, Bench, LOGSTORE, PROJECT, TOKEN, servers, until};

const HOUR: Duration = Duration::from_secs(3600);

/// The longest time between two heartbeats that does not count as a missed one.
const NO_MISS: Duration = BEAT.saturating_mul(2);

/// Waits for `count` more heartbeats.
pub(super) async fn beats(bench: &Bench, count: usize) {
    let goal = bench.oracle.beats("a").len() + count;
    until("heartbeats go on", 40, || bench.oracle.beats("a").len() >= goal).await;
}

pub(super) fn no_beat_was_missed(bench: &Bench) {
    let beats = bench.oracle.beats("a");
    let gaps = beats.windows(2).map(|pair| pair[1] - pair[0]);
    let longest = gaps.max().unwrap();
    assert!(longest < NO_MISS, "{longest:?} between two of {} heartbeats", beats.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn f51_a_destination_that_is_down_at_start_is_waited_for() {
    let bench = Bench::new().await;
    bench.hec.faults().refuse_for(HOUR);
    (0..2).for_each(|shard| bench.put(shard, 10, 20));
    let mut program = bench.start("a");
    program.to_say("Splunk HEC is down").await;
    beats(&bench, 3).await;
    assert!(program.is_running());
    assert_eq!(bench.oracle.saved_groups(), 0, "the position is held");
    assert_eq!(program.says("Splunk HEC is down"), 1, "one line, not one for each try: {}", program.printed());
    bench.hec.faults().clear();
    bench.settled().await;
    program.to_say("Splunk HEC is up again").await;
    assert_eq!(bench.oracle.repeats(), 0);
    no_beat_was_missed(&bench);
}

#[tokio::test(flavor = "multi_thread")]
async fn f13_heartbeats_continue_while_a_destination_never_replies() {
    let bench = Bench::new().await;
    bench.hec.faults().during(On::Events, HecFault::Cut { how: Cut::Silence, indexed: false }, HOUR);
    (0..2).for_each(|shard| bench.put(shard, 10, 20));
    let program = bench.start_with("a", &[("FORWARDER_HEC_TIMEOUT", "5s")]);
    // Longer than the group's timeout, and than a request's.
    program.to_say("Splunk HEC is down").await;
    beats(&bench, 3).await;
    assert_eq!(bench.oracle.saved_groups(), 0);
    bench.hec.faults().clear();
    bench.settled().await;
    no_beat_was_missed(&bench);
    assert_eq!(program.says("shard released"), 0, "{}", program.printed());
}

#[tokio::test(flavor = "multi_thread")]
async fn f13_heartbeats_continue_while_the_script_uses_up_its_time_on_every_log() {
    let bench = Bench::new().await;
    let script =
        "function process(log)\n  local n = 0\n  for i = 1, 5000000 do n = n + i end\n  return { event = log }\nend\n";
    fs::write(bench.directory.path().join("t.lua"), script).unwrap();
    (0..2).for_each(|shard| bench.put(shard, 1, 60));
    let program = bench.start_with("a", &[("FORWARDER_SCRIPT_TIMEOUT", "10s")]);
    beats(&bench, 6).await;
    bench.settled().await;
    no_beat_was_missed(&bench);
    assert_eq!(program.says("shard released"), 0, "{}", program.printed());
}

#[tokio::test(flavor = "multi_thread")]
async fn f57_a_refused_token_is_read_again_from_its_file_and_never_shown() {
    let bench = Bench::new().await;
    let file = bench.directory.path().join("hec.token");
    let wrong = "a-wr0ng-token-of-the-tests";
    fs::write(&file, wrong).unwrap();
    (0..2).for_each(|shard| bench.put(shard, 10, 20));
    let mut program = bench.start_with("a", &[("FORWARDER_HEC_TOKEN", ""), ("FORWARDER_HEC_TOKEN_FILE", "hec.token")]);
    program.to_say("Splunk HEC rejects our requests").await;
    beats(&bench, 2).await;
    assert_eq!((bench.oracle.saved_groups(), program.is_running()), (0, true));
    fs::write(&file, TOKEN).unwrap();
    bench.settled().await;
    assert_eq!(bench.oracle.repeats(), 0);
    for secret in [TOKEN, wrong] {
        assert_eq!(program.says(secret), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f60_events_whose_reply_was_lost_are_sent_again() {
    let bench = Bench::new().await;
    bench.hec.faults().next(HecFault::reply_lost(), 4);
    (0..2).for_each(|shard| bench.put(shard, 10, 20));
    let _program = bench.start("a");
    bench.settled().await;
    assert_eq!(bench.hec.faults().pending(), 0);
    let repeats = bench.oracle.repeats();
    assert!(repeats > 0 && repeats <= 4 * bench.oracle.expected(), "{repeats}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_an_intermediary_resets_is_dead_lettered_and_is_not_an_outage() {
    let bench = Bench::new().await;
    let reset = HecFault::Cut { how: Cut::Reset, indexed: false };
    bench.hec.faults().inspect(Dislike::Containing("drop table".to_owned()), reset.clone());
    bench.hec.faults().inspect(Dislike::LargerThan(30_000), reset);
    let mut poison = Generator::new(8, 1_800_000_000).nginx(1);
    poison.logs[0].contents[0].value = b"drop table logs".to_vec();
    bench.put(0, 5, 40);
    bench.sls.put(PROJECT, LOGSTORE, 0, [poison]).unwrap();
    bench.put(0, 5, 40);
    bench.put(1, 10, 40);
    let program = bench.start("a");
    bench.settled().await;
    program.to_say("refuses a log for good").await;
    assert_eq!(program.says("Splunk HEC is down"), 0, "{}", program.printed());
    assert_eq!(program.says("5 times in a row it got no answer from a collector"), 1, "{}", program.printed());
    let letters = fs::read_to_string(bench.directory.path().join("dead-letters/dead-letters.jsonl")).unwrap();
    assert_eq!(
        letters.matches("drop table logs").count(),
        letters.lines().count() * 2,
        "the log and its event: {letters}"
    );
    assert_eq!(letters.matches(r#""code":"no reply""#).count(), 1, "{letters}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_proxy_for_all_hosts_applies_to_ip_addresses_too() {
    let bench = Bench::new().await;
    bench.put(0, 2, 20);
    let _program = bench.start_with("a", &[("http_proxy", "http://127.0.0.1:1"), ("no_proxy", "*")]);
    bench.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_from_the_environment_that_refuses_our_password_is_named_without_it() {
    let bench = Bench::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let answering = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1_000]).await;
            let _ = stream.write_all(b"HTTP/1.1 407 X\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    let variable = format!("http://us3r:passw0rd@{proxy}");
    let settings = [("https_proxy", variable.as_str()), ("FORWARDER_HEC_URL", "https://splunk.invalid:8088")];
    let program = bench.start_with("a", &settings);
    program.to_say("Splunk HEC rejects our requests").await;
    assert!(program.says(&format!("through the proxy http://{proxy}")) > 0, "{}", program.printed());
    for secret in ["us3r", "passw0rd"] {
        assert_eq!(program.says(secret), 0, "{}", program.printed());
    }
    answering.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_halt_a_rejected_event_halts_its_shard_and_the_reason_is_shown() {
    let (sls, mut hec) = servers(2);
    hec.max_event = 20_000;
    let bench = Bench::with((sls, hec)).await;
    bench.put(0, 3, 20);
    bench.put(1, 3, 20);
    let mut large = Generator::new(8, 1_800_000_000).nginx(1);
    large.logs[0].contents[0].value = vec![b'x'; 30_000];
    bench.sls.put(PROJECT, LOGSTORE, 0, [large]).unwrap();
    let mut program = bench.start_with("a", &[("FORWARDER_HEC_ON_REJECT", "halt")]);
    program.to_say("Invalid data format").await;
    bench.put(1, 3, 20);
    until("the other shard goes on", 30, || bench.checkpoint(1) == Some(bench.end(1))).await;
    bench.all_arrived().await;
    bench.nothing_wrong();
    assert!(program.is_running());
}
