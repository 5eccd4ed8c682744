//! The start and the regular end of the program.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::bench::{Bench, GROUP, KEY_SECRET, LOGSTORE, PROJECT, TOKEN, servers, until};
use super::program::Program;

const HOUR: Duration = Duration::from_secs(3600);

/// The example of docs/settings.md, with the scripts of the repository and a token file.
fn as_documented(bench: &Bench) -> Command {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manual = fs::read_to_string(repository.join("docs/settings.md")).unwrap();
    let (_, example) = manual.split_once("```toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let address = "http://127.0.0.1:8088";
    assert!(example.contains(address), "{example}");
    let directory = bench.directory.path();
    fs::write(directory.join("forwarder.toml"), example.replace(address, &bench.hec.url())).unwrap();
    fs::create_dir(directory.join("scripts")).unwrap();
    fs::copy(repository.join("scripts/transform.lua"), directory.join("scripts/transform.lua")).unwrap();
    fs::write(directory.join("hec.token"), format!("{TOKEN}\n")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_forwarder"));
    command.env_clear().current_dir(directory).args(["--config", "forwarder.toml"]);
    command.env("SLS_ENDPOINT", bench.sls_endpoint()).env("SLS_PROJECT", PROJECT).env("SLS_LOGSTORE", LOGSTORE);
    command.env("SLS_CG", GROUP).env("SLS_AK_ID", "key-id").env("SLS_AK_KEY", KEY_SECRET);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_settings_file_delivers_everything_and_ends_with_a_balanced_ledger() {
    let bench = Bench::with(servers(3)).await;
    for shard in 0..3 {
        bench.put(shard, 20, 50);
    }
    let mut program = Program::start("forwarder", as_documented(&bench));
    bench.settled().await;
    program.signal(libc::SIGTERM);
    assert_eq!(program.exit(Duration::from_secs(10)).await, Some(0), "{}", program.printed());
    let books = "pulled 3000 = delivered 3000 + dropped 0 + dead-lettered 0 + in flight 0";
    assert_eq!(program.says(books), 1, "{}", program.printed());
    assert_eq!(bench.oracle.repeats(), 0);
    for secret in [TOKEN, KEY_SECRET] {
        assert_eq!(program.says(secret), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f72_a_stop_while_logs_flow_saves_all_it_delivered_so_nothing_is_repeated() {
    let bench = Bench::new().await;
    for round in 0..8_u64 {
        let mut program = bench.start("a");
        let goal = bench.oracle.arrived() + 200;
        // At a different point of the flow in every round.
        until("logs flow", 30, || {
            (0..2).for_each(|shard| bench.put(shard, 1 + round, 20));
            bench.oracle.arrived() >= goal
        })
        .await;
        program.signal(libc::SIGTERM);
        assert_eq!(program.exit(Duration::from_secs(20)).await, Some(0), "{}", program.printed());
        assert_eq!(bench.oracle.exposed(), 0, "delivered and not saved, round {round}");
    }
    let _program = bench.start("a");
    bench.settled().await;
    assert_eq!(bench.oracle.repeats(), 0);
}

/// A program that has tried to deliver some logs and failed.
async fn in_an_outage(bench: &Bench, drain: &str) -> Program {
    bench.hec.faults().down_for(HOUR);
    (0..2).for_each(|shard| bench.put(shard, 5, 20));
    let program = bench.start_with("a", &[("FORWARDER_RUN_DRAIN_TIMEOUT", drain)]);
    until("both shards have tried", 30, || bench.hec.counts().requests >= 4).await;
    program
}

async fn delivered_by_the_next(bench: &Bench) {
    assert_eq!(bench.oracle.saved_groups(), 0);
    bench.hec.faults().clear();
    let _next = bench.start("a");
    bench.settled().await;
    assert_eq!(bench.oracle.repeats(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn f72_a_stop_in_an_outage_ends_at_the_drain_deadline_with_75_and_saves_nothing() {
    let bench = Bench::new().await;
    let mut program = in_an_outage(&bench, "2s").await;
    let asked = Instant::now();
    program.signal(libc::SIGTERM);
    assert_eq!(program.exit(Duration::from_secs(30)).await, Some(75), "{}", program.printed());
    assert!(asked.elapsed() >= Duration::from_millis(1900), "it waits for the destination: {:?}", asked.elapsed());
    assert_eq!(program.says("the rest will be pulled again from the checkpoint"), 1, "{}", program.printed());
    for once in ["not everything in flight was delivered and saved in time", "stopping"] {
        assert_eq!(program.says(once), 1, "{once}: {}", program.printed());
    }
    delivered_by_the_next(&bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f73_a_second_sigterm_ends_it_at_once_with_75() {
    let bench = Bench::new().await;
    let mut program = in_an_outage(&bench, "60s").await;
    program.signal(libc::SIGTERM);
    program.to_say("stopping: delivering and saving logs in flight").await;
    let asked = Instant::now();
    program.signal(libc::SIGTERM);
    assert_eq!(program.exit(Duration::from_secs(40)).await, Some(75), "{}", program.printed());
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
    delivered_by_the_next(&bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f72_a_stop_in_an_outage_that_ends_in_time_delivers_and_saves_everything() {
    let bench = Bench::new().await;
    let mut program = in_an_outage(&bench, "60s").await;
    program.signal(libc::SIGTERM);
    program.to_say("stopping: delivering and saving logs in flight").await;
    bench.hec.faults().clear();
    assert_eq!(program.exit(Duration::from_secs(30)).await, Some(0), "{}", program.printed());
    assert_eq!(bench.oracle.exposed(), 0);
    assert!(bench.oracle.arrived() > 0);
    bench.nothing_wrong();
    let _next = bench.start("a");
    bench.settled().await;
    assert_eq!(bench.oracle.repeats(), 0);
}
