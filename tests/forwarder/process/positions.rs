//! Where shards end, who moves their checkpoints, and time ranges beside the live group.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::bench::{Bench, command, until};
use super::program::Program;

fn now() -> String {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().to_string()
}

/// SLS counts in seconds: what is written after this has another receive time than what was written before.
async fn next_second() {
    tokio::time::sleep(Duration::from_millis(1_100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_end_two_processes_deliver_what_was_received_before_it_and_stop_by_themselves() {
    let bench = Bench::new().await;
    (0..2).for_each(|shard| bench.put(shard, 5, 20));
    let ends = [0, 1].map(|shard| bench.end(shard));
    next_second().await;
    let settings = [("FORWARDER_SLS_UNTIL", &*now())];
    (0..2).for_each(|shard| bench.put(shard, 5, 20));
    let mut programs = ["a", "b"].map(|name| bench.start_with(name, &settings));
    for program in &mut programs {
        assert_eq!(program.exit(Duration::from_secs(60)).await, Some(0));
        assert_eq!(program.says("every shard of the group is past sls.until"), 1, "{}", program.said());
    }
    assert_eq!([0, 1].map(|shard| bench.checkpoint(shard).unwrap()), ends);
    assert_eq!((bench.oracle.arrived(), bench.oracle.repeats()), (200, 0));
    bench.nothing_wrong();

    let mut late = bench.start_with("c", &settings);
    assert_eq!(late.exit(Duration::from_secs(60)).await, Some(0));
    assert_eq!(late.says("pulled 0 = delivered 0 + dropped 0"), 1, "{}", late.said());
}

/// Runs `forwarder seek`; what it says.
async fn seek(bench: &Bench, arguments: &[&str], expected: i32) -> String {
    let mut command = command(bench.directory.path(), &bench.sls_endpoint());
    command.arg("seek").args(arguments);
    let mut program = Program::start("seek", command);
    let code = program.exit(Duration::from_secs(60)).await;
    assert_eq!(code, Some(expected), "{}", program.said());
    program.said()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_moved_under_a_running_owner_only_by_force_and_the_owner_takes_it_up() {
    let bench = Bench::new().await;
    (0..2).for_each(|shard| bench.put(shard, 5, 20));
    let owner = bench.start("a");
    bench.settled().await;
    let said = seek(&bench, &["--shard", "all", "--to", "begin", "--yes"], 2).await;
    assert!(said.contains("held by a live consumer") && said.contains("held by a, which saved"), "{said}");
    // Nothing is saved any more, and the group's timeout is over: whether it still holds the shard is asked for.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let said = seek(&bench, &["--shard", "all", "--to", "begin", "--yes"], 2).await;
    assert!(said.contains("held by a live consumer"), "{said}");
    assert_eq!(owner.says("changed from outside"), 0, "{}", owner.said());
    assert_eq!(bench.oracle.repeats(), 0);

    let said = seek(&bench, &["--shard", "1", "--to", "begin", "--yes", "--force"], 0).await;
    assert!(said.contains("delivers 5 log groups again") && said.contains("shard 1: moved to"), "{said}");
    assert!(!said.contains("shard 0"), "{said}");
    bench.put(1, 1, 20);
    until("shard 1 is delivered again", 60, || bench.oracle.repeats() >= 100).await;
    owner.to_say("the checkpoint was changed from outside").await;
    until("it goes on", 30, || bench.checkpoint(1) == Some(bench.end(1))).await;
    assert_eq!(bench.oracle.arrived(), bench.oracle.expected());
    assert!(bench.oracle.repeats() <= 120, "no more than the shard holds: {}", bench.oracle.repeats());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_of_a_group_without_consumers_is_moved_when_somebody_says_yes() {
    let bench = Bench::new().await;
    (0..2).for_each(|shard| bench.put(shard, 5, 20));
    let said = seek(&bench, &["--shard", "all", "--to", "end", "--yes"], 2).await;
    assert!(said.contains("there is no consumer group siem"), "{said}");
    let mut first = bench.start("a");
    bench.settled().await;
    first.signal(libc::SIGTERM);
    assert_eq!(first.exit(Duration::from_secs(20)).await, Some(0));
    tokio::time::sleep(Duration::from_secs(6)).await;
    (0..2).for_each(|shard| bench.put(shard, 5, 20));

    let said = seek(&bench, &["--shard", "0", "--to", "end"], 2).await;
    assert!(said.contains("no terminal to ask on") && said.contains("leaves 5 log groups undelivered"), "{said}");
    let said = seek(&bench, &["--shard", "7", "--to", "end"], 2).await;
    assert!(said.contains("there is no shard 7: the logstore has 0, 1"), "{said}");
    let stranger = forwarder::core::cursor::Cursor::from_number(7);
    let said = seek(&bench, &["--shard", "0", "--to", stranger.as_str()], 2).await;
    assert!(said.contains("is not in shard 0"), "{said}");
    assert_ne!(bench.checkpoint(0), Some(bench.end(0)));

    let said = seek(&bench, &["--shard", "0", "--to", "end", "--yes"], 0).await;
    assert!(said.contains("shard 0: moved to"), "{said}");
    let said = seek(&bench, &["--shard", "0", "--to", "end", "--yes"], 0).await;
    assert!(said.contains("shard 0: is at") && said.contains("already"), "{said}");
    let _next = bench.start("b");
    until("shard 1 goes on", 30, || bench.checkpoint(1) == Some(bench.end(1))).await;
    assert_eq!((bench.oracle.arrived(), bench.oracle.repeats()), (300, 0), "what was skipped is not delivered");
}
