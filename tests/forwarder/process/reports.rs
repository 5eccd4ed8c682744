//! What the program reports: on the status page, in `/ready`, in its metrics, in its log and by its exit code.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use forwarder::emulator::sls::{Call, SlsFault};
use tempfile::TempDir;

use super::bench::{Bench, servers, until};
use super::program::Program;

const LISTEN: (&str, &str) = ("FORWARDER_ADMIN_LISTEN", "127.0.0.1:0");

/// The answer of the status listener for a path, with its head.
pub fn get(program: &Program, path: &str) -> String {
    let printed = program.printed();
    let Some((_, rest)) = printed.split_once("status page at http://") else { return String::new() };
    let (address, _) = rest.split_once('/').unwrap();
    get_at(address, path)
}

fn get_at(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

/// The value of a metric without labels; 0 before there is one.
pub fn metric(program: &Program, name: &str) -> f64 {
    let metrics = get(program, "/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

/// Waits until a path answers with this status and these words.
async fn answers(program: &Program, path: &str, status: &str, words: &str) {
    let what = format!("{path} answers {status} with {words:?}");
    until(&what, 30, || {
        let reply = get(program, path);
        reply.starts_with(&format!("HTTP/1.1 {status}")) && reply.contains(words)
    })
    .await;
}

/// A program that has delivered all logs and reports no problem.
async fn well(bench: &Bench) -> Program {
    (0..2).for_each(|shard| bench.put(shard, 2, 20));
    let program = bench.start_with("a", &[LISTEN]);
    bench.settled().await;
    answers(&program, "/ready", "200", "ready\n").await;
    answers(&program, "/", "200", "All is well.").await;
    answers(&program, "/metrics", "200", "forwarder_sls_up 1\n").await;
    program
}

/// Fails if the probe log is not written, not recognised in its page, or not reported.
#[tokio::test(flavor = "multi_thread")]
async fn a_probe_log_is_written_and_tracked_until_it_is_delivered() {
    let bench = Bench::new().await;
    let program = bench.start_with("a", &[LISTEN, ("FORWARDER_PROBE_ENABLED", "true")]);
    let is_reported = || get(&program, "/metrics").contains("forwarder_probe_seconds{source=\"l\"} ");
    until("a probe log is delivered", 60, is_reported).await;
    let metrics = get(&program, "/metrics");
    assert!(metrics.contains("forwarder_probe_age_seconds{source=\"l\"} 0\n"), "{metrics}");
    assert!(get(&program, "/").contains("<dt>probe</dt><dd>the last log took "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_log_that_cannot_be_written_is_reported_with_the_missing_permission() {
    let bench = Bench::new().await;
    let denied = SlsFault::status(401, "Unauthorized", "denied by sts or ram, action: log:PostLogStoreLogs");
    bench.sls.faults().next(Call::Put, denied, u32::MAX);
    let program = bench.start_with("a", &[LISTEN, ("FORWARDER_PROBE_ENABLED", "true")]);
    let printed = || get(&program, "/").contains("grant log:PostLogStoreLogs on the logstore in RAM");
    until("the page says why", 60, printed).await;
    assert!(get(&program, "/ready").contains("ready; no probe log can be written for "), "it delivers all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_pulls_are_reported_everywhere_as_long_as_they_last() {
    let bench = Bench::new().await;
    let program = well(&bench).await;
    bench.sls.faults().next(Call::Pull, SlsFault::status(401, "Unauthorized", "no such key"), u32::MAX);
    answers(&program, "/ready", "503", "SLS does not let us read shards l/0, l/1").await;
    let page = get(&program, "/");
    assert!(page.contains("pull: 401 Unauthorized") && !page.contains("All is well"), "{page}");
    answers(
        &program,
        "/metrics",
        "200",
        "forwarder_sls_errors_total{source=\"l\",call=\"pull\",code=\"Unauthorized\"}",
    )
    .await;
    answers(&program, "/metrics", "200", "forwarder_sls_up 0\n").await;
    answers(&program, "/status", "200", "\"state\": \"stopped\"").await;
    bench.sls.faults().clear(Call::Pull);
    answers(&program, "/ready", "200", "ready\n").await;
    answers(&program, "/", "200", "All is well.").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_refused_during_a_run_are_reported_and_the_process_recovers_afterwards() {
    let bench = Bench::new().await;
    let mut program = well(&bench).await;
    bench.sls.faults().next(Call::Heartbeat, SlsFault::status(403, "Unauthorized", "denied by sts or ram"), u32::MAX);
    answers(&program, "/ready", "503", "heartbeats fail, so that no shard can be kept").await;
    program.to_say("all shards dropped before SLS gives them to another consumer").await;
    let page = get(&program, "/");
    assert!(page.contains("log:ConsumerGroupHeartBeat") && !page.contains("All is well"), "{page}");
    assert!(program.is_running());
    bench.sls.faults().clear(Call::Heartbeat);
    (0..2).for_each(|shard| bench.put(shard, 2, 20));
    bench.settled().await;
    answers(&program, "/ready", "200", "ready\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_for_heartbeats_ends_the_start_with_77() {
    let bench = Bench::with(servers(1)).await;
    bench.sls.faults().next(Call::Heartbeat, SlsFault::status(403, "Unauthorized", "denied by sts or ram"), u32::MAX);
    let mut program = bench.start("a");
    assert_eq!(program.exit(Duration::from_secs(20)).await, Some(77), "{}", program.printed());
    assert!(program.says("log:ConsumerGroupHeartBeat") > 0, "{}", program.printed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_under_another_name_says_who_still_holds_the_shards() {
    let bench = Bench::new().await;
    let timeout = ("FORWARDER_SLS_GROUP_TIMEOUT", "15s");
    (0..2).for_each(|shard| bench.put(shard, 2, 20));
    let mut old = bench.start_with("old", &[timeout]);
    bench.settled().await;
    old.kill();
    (0..2).for_each(|shard| bench.put(shard, 2, 20));
    let new = bench.start_with("new", &[timeout, LISTEN]);
    new.to_say("no shard is assigned yet: waiting up to ").await;
    new.to_say(" s: shards 0-1 still belong to old").await;
    answers(&new, "/ready", "200", "ready; waiting up to ").await;
    let page = get(&new, "/");
    assert!(page.contains("<title>Standing by – forwarder</title>") && !page.contains("All is well"), "{page}");
    answers(&new, "/metrics", "200", "forwarder_waiting_for_shards{source=\"l\"} 1\n").await;
    bench.settled().await;
    answers(&new, "/ready", "200", "ready\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_reported_until_they_are_handled() {
    let bench = Bench::with(servers(1)).await;
    let script =
        "function process(log)\n  if log.request_id:find('7$') then error('no') end\n  return { event = log }\nend\n";
    std::fs::write(bench.directory.path().join("t.lua"), script).unwrap();
    bench.put(0, 1, 200);
    let program = bench.start_with("a", &[LISTEN]);
    answers(&program, "/", "200", "for an operator: forwarder dlq list").await;
    let page = get(&program, "/");
    assert!(!page.contains("All is well"), "{page}");
    std::fs::remove_file(bench.directory.path().join("dead-letters/dead-letters.jsonl")).unwrap();
    answers(&program, "/metrics", "200", "forwarder_dead_letters_open 0\n").await;
    answers(&program, "/", "200", "All is well.").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_fails_on_more_logs_than_the_one_before_runs_with_a_warning() {
    let bench = Bench::with(servers(1)).await;
    bench.put(0, 4, 100);
    let program = bench.start("a");
    bench.settled().await;
    let script =
        "function process(log)\n  if log.request_id:find('7$') then error('no') end\n  return { event = log }\nend\n";
    std::fs::write(bench.directory.path().join("t.lua"), script).unwrap();
    program.to_say("it FAILS on more logs than the one before").await;
    let printed = program.printed();
    let line = printed.lines().find(|line| line.contains("it FAILS on more")).unwrap();
    assert!(line.contains("WARN"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_warning_of_the_settings_is_logged_once_at_the_start() {
    let bench = Bench::with(servers(1)).await;
    bench.put(0, 2, 20);
    // The system never assigns this port to a test that asks for a free one.
    let settings = [("FORWARDER_HEC_URL", "https://127.0.0.1:9"), ("FORWARDER_HEC_VERIFY", "false"), LISTEN];
    let program = bench.start_with("a", &settings);
    answers(&program, "/", "200", "the destination is down").await;
    program.to_say("is down; nothing is lost").await;
    let printed = program.printed();
    // In a container, the directories of the test may not outlive it.
    let is_of_settings = |line: &&str| line.contains("WARN") && !line.contains("mount a volume there");
    let warnings: Vec<&str> = printed.lines().filter(is_of_settings).collect();
    let [verify, down] = warnings[..] else { panic!("{warnings:#?}") };
    assert!(verify.contains("FORWARDER_HEC_VERIFY") && down.contains("is down; nothing is lost"), "{warnings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_prints_the_address_that_its_page_has() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forwarder"));
    command.args(["demo", "--logs", "200", "--keep", "--admin-listen", "127.0.0.1:0"]);
    let mut demo = Program::start("demo", command);
    demo.to_say("Still running").await;
    for line in ["status page          http://", "status page: http://"] {
        let printed = demo.printed();
        let (_, rest) = printed.split_once(line).unwrap_or_else(|| panic!("no {line}: {printed}"));
        let (address, _) = rest.split_once('/').unwrap();
        assert!(get_at(address, "/live").ends_with("live\n"), "{address}");
    }
    demo.signal(libc::SIGINT);
    assert_eq!(demo.exit(Duration::from_secs(60)).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_that_a_signal_ends_leaves_no_files_and_its_socket_is_printed() {
    let start = |logs: &str, directory: &TempDir| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forwarder"));
        command.args(["demo", "--logs", logs, "--keep"]).env("TMPDIR", directory.path());
        Program::start("demo", command)
    };
    let left = |directory: &TempDir| -> Vec<_> {
        std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    for (signal, code) in [(libc::SIGTERM, 0), (libc::SIGINT, 0), (libc::SIGHUP, 129)] {
        let directory = TempDir::new().unwrap();
        let mut demo = start("200", &directory);
        demo.to_say("Still running").await;
        let printed = demo.printed();
        for command in ["top", "tap"] {
            let (_, rest) = printed.split_once(&format!("forwarder {command} --connect unix:")).expect(&printed);
            std::os::unix::net::UnixStream::connect(rest.lines().next().unwrap()).unwrap();
        }
        demo.signal(signal);
        assert_eq!(demo.exit(Duration::from_secs(60)).await, Some(code), "{signal}");
        assert_eq!(demo.says("nothing is missing"), usize::from(code == 0), "{signal}: {}", demo.printed());
        assert!(left(&directory).is_empty(), "{signal}: {:?}", left(&directory));
    }
    let directory = TempDir::new().unwrap();
    let mut demo = start("100000", &directory);
    demo.to_say("audit and web logs").await;
    demo.signal(libc::SIGTERM);
    assert_eq!(demo.exit(Duration::from_secs(60)).await, Some(1));
    demo.to_say("forwarder demo: SIGTERM ended it before all logs were delivered").await;
    assert!(left(&directory).is_empty(), "{:?}", left(&directory));
}
