//! `forwarder status`: what SLS reports of the group, and the output if it reports nothing.

use std::process::Stdio;
use std::time::Duration;

use forwarder::emulator::sls::{Call, SlsEvent, SlsFault};
use serde_json::Value;

use super::bench::{Bench, GROUP, KEY_SECRET, LOGSTORE, PROJECT, command, until};
use super::program::Program;

/// The exit code and the output.
async fn status(bench: &Bench, arguments: &[&str]) -> (i32, String) {
    let mut command = command(bench.directory.path(), &bench.sls_endpoint());
    command.arg("status").args(arguments).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let printed = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(!printed.contains(KEY_SECRET), "{printed}");
    (output.status.code().unwrap(), printed)
}

async fn status_json(bench: &Bench) -> (i32, Value) {
    let (code, printed) = status(bench, &["--json"]).await;
    let value: Value = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
    assert_eq!(value["exit_code"], code);
    (code, value["sources"][0].clone())
}

fn states(source: &Value) -> Vec<(u64, &str)> {
    let shards = source["shards"].as_array().unwrap().iter();
    shards.map(|shard| (shard["shard"].as_u64().unwrap(), shard["state"].as_str().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_group_is_shown_without_a_running_process_and_nothing_is_joined_or_saved() {
    let bench = Bench::new().await;
    let (code, printed) = status(&bench, &[]).await;
    assert_eq!(code, 1, "{printed}");
    assert!(
        printed.contains("there is no consumer group siem of p/l") && printed.contains("correct sls.group"),
        "{printed}"
    );

    (0..2).for_each(|shard| bench.put(shard, 5, 20));
    let mut owner = bench.start("a");
    bench.settled().await;
    owner.signal(libc::SIGTERM);
    assert_eq!(owner.exit(Duration::from_secs(60)).await, Some(0));
    let saves = || bench.sls.saves(PROJECT, LOGSTORE, GROUP).len();
    let before = saves();
    let (code, source) = status_json(&bench).await;
    assert_eq!((code, states(&source)), (0, vec![(0, "caught up"), (1, "caught up")]), "{source}");
    let shard = &source["shards"][0];
    assert_eq!((&shard["saved_by"], &shard["lag_seconds"]), (&"a".into(), &0.into()));
    assert_eq!((&source["group_timeout_seconds"], &source["retention_seconds"]), (&4.into(), &86_400.into()));

    // The group's timeout counts, and not that of the settings.
    let mut other = command(bench.directory.path(), &bench.sls_endpoint());
    other.args(["status", "--json"]).env("FORWARDER_SLS_GROUP_TIMEOUT", "77s").stdin(Stdio::null());
    let printed = String::from_utf8(tokio::task::spawn_blocking(move || other.output().unwrap()).await.unwrap().stdout);
    assert!(printed.as_ref().unwrap().contains("\"group_timeout_seconds\": 4"), "{printed:?}");

    // The clock of SLS is ahead of this machine's, and the ages are those by it.
    bench.put(0, 1, 20);
    bench.sls.faults().skew(1_000);
    let (_, source) = status_json(&bench).await;
    let lag = source["shards"][0]["lag_seconds"].as_u64().unwrap();
    assert!((1_000..1_060).contains(&lag), "{source}");
    bench.sls.faults().skew(0);

    // Shard 1 gets logs that expire before they are read: it is listed first, and its remedy is printed.
    (0..2).for_each(|shard| bench.put(shard, 5, 20));
    bench.sls.happen(PROJECT, LOGSTORE, &SlsEvent::Expire { shard: 1, keep: 2 }).unwrap();
    let (code, source) = status_json(&bench).await;
    assert_eq!((code, states(&source)), (1, vec![(1, "lost logs"), (0, "delivering")]), "{source}");
    assert_eq!(source["shards"][0]["seconds_to_loss"], 0);
    let (code, printed) = status(&bench, &[]).await;
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(code, 1, "{printed}");
    assert_eq!(lines[..2], ["consumer group siem of p/l", "2 shards, a timeout of 4.0 s, logs are kept 24 h"]);
    assert!(lines[2].starts_with("SHARD  STATE") && lines[3].contains("lost logs"), "{printed}");
    assert!(lines[5].starts_with("lost logs (shard 1): the log at the checkpoint expired"), "{printed}");
    // Each look has a line of its own.
    let mut watching = command(bench.directory.path(), &bench.sls_endpoint());
    watching.args(["status", "--watch", "--json"]);
    let watching = Program::start("status --watch", watching);
    until("it has looked twice", 60, || watching.says("\"exit_code\":1") >= 2).await;
    let lines = watching.printed();
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{lines}");
    assert_eq!(saves(), before, "nothing was saved");
    assert_eq!(bench.oracle.repeats(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_is_named() {
    let bench = Bench::new().await;
    bench.put(0, 5, 20);
    let mut owner = bench.start("a");
    bench.settled().await;
    owner.kill();
    bench.put(0, 1, 20);
    let deny = |call| {
        let denied = SlsFault::status(401, "Unauthorized", "denied by sts or ram, action: x, resource: y");
        bench.sls.faults().next(call, denied, u32::MAX);
    };
    deny(Call::Logstore);
    let (code, source) = status_json(&bench).await;
    assert_eq!((code, &source["retention_seconds"]), (0, &Value::Null), "{source}");
    assert!(
        source["notes"][0]
            .as_str()
            .unwrap()
            .contains("the time until logs are lost is not known: grant log:GetLogStore")
    );
    deny(Call::ListShards);
    deny(Call::CursorTime);
    let (code, source) = status_json(&bench).await;
    assert_eq!((code, states(&source)), (77, vec![(0, "unknown"), (1, "caught up")]), "{source}");
    assert!(source["failed"]["fix"].as_str().unwrap().starts_with("grant log:GetCursorOrData in RAM: {"), "{source}");
    deny(Call::Checkpoint);
    let (code, printed) = status(&bench, &[]).await;
    assert_eq!(code, 77, "{printed}");
    assert!(printed.contains("fix: grant log:GetConsumerGroupCheckPoint in RAM"), "{printed}");

    let nowhere = ["--endpoint", "http://127.0.0.1:9"];
    let (code, printed) = status(&bench, &nowhere).await;
    assert_eq!(code, 69, "{printed}");
    assert!(printed.contains("fail  ") && printed.contains("fix: "), "{printed}");
}
