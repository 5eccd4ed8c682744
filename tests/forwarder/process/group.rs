//! Several processes in one consumer group.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::bench::{Bench, command, servers, until};
use super::program::Program;

/// How long a restarted process may be without its shards.
const BACK: Duration = Duration::from_secs(2);

fn holders(bench: &Bench) -> BTreeSet<String> {
    bench.oracle.holders().into_values().collect()
}

/// Writes to both shards until exactly these consumers have saved both.
async fn shared_by(bench: &Bench, names: [&str; 2]) {
    let names = names.map(str::to_owned).into();
    until(&format!("{names:?} share the shards"), 30, || {
        (0..2).for_each(|shard| bench.put(shard, 1, 5));
        holders(bench) == names
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f21_two_share_the_shards_and_a_third_takes_over_when_one_dies() {
    let bench = Bench::new().await;
    let mut a = bench.start("a");
    a.to_say("shard acquired").await;
    let b = bench.start("b");
    shared_by(&bench, ["a", "b"]).await;
    bench.settled().await;
    assert_eq!(bench.oracle.repeats(), 0, "a shard changed hands in good order");

    let c = bench.start("c");
    until("c stands by", 30, || bench.oracle.beats("c").len() >= 2).await;
    (0..2).for_each(|shard| bench.put(shard, 5, 20));
    bench.settled().await;
    assert_eq!(c.says("shard acquired"), 0, "{}", c.printed());
    let held_by_b = b.says("shard acquired");

    a.kill();
    shared_by(&bench, ["b", "c"]).await;
    bench.settled().await;
    assert_eq!(b.says("shard acquired"), held_by_b, "b keeps its shard: {}", b.printed());
    assert_eq!(c.says("shard acquired"), 1, "{}", c.printed());
}

/// A process with a generated name, in a group with a timeout of a minute.
fn start_unnamed(bench: &Bench) -> Program {
    let mut command = command(bench.directory.path(), &bench.sls_endpoint());
    command.env("FORWARDER_HEC_URL", bench.hec.url()).env("FORWARDER_SLS_GROUP_TIMEOUT", "60s");
    Program::start("unnamed", command)
}

/// Writes to all four shards, and waits until everything is saved.
async fn flows(bench: &Bench) {
    (0..4).for_each(|shard| bench.put(shard, 1, 5));
    bench.settled().await;
}

/// Restarts the process that `end` ends, several times: a busy machine may delay some of the restarts.
async fn is_back_soon_after(end: impl AsyncFn(&mut Program)) {
    let bench = Bench::with(servers(4)).await;
    let mut program = start_unnamed(&bench);
    flows(&bench).await;
    let names = holders(&bench);
    let mut fastest = Duration::MAX;
    for _ in 0..4 {
        end(&mut program).await;
        let began = Instant::now();
        program = start_unnamed(&bench);
        // Always long before the group's timeout.
        until("all shards are back", BACK.as_secs(), || program.says("shard acquired") == 4).await;
        fastest = fastest.min(began.elapsed());
        flows(&bench).await;
    }
    println!("all shards are back after {fastest:?}");
    assert!(fastest < BACK, "{fastest:?}");
    assert_eq!((holders(&bench), names.len()), (names, 1), "under the same name");
    assert_eq!(bench.oracle.repeats(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_stopped_has_its_name_and_all_shards_back_within_two_seconds_of_a_restart() {
    is_back_soon_after(async |program: &mut Program| {
        program.signal(libc::SIGTERM);
        assert_eq!(program.exit(Duration::from_secs(20)).await, Some(0), "{}", program.printed());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_has_its_name_and_all_shards_back_within_two_seconds_of_a_restart() {
    is_back_soon_after(async |program: &mut Program| program.kill()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_with_the_same_state_takes_another_name() {
    let bench = Bench::with(servers(4)).await;
    let first = start_unnamed(&bench);
    flows(&bench).await;
    let mut second = start_unnamed(&bench);
    second.to_say("joined the consumer group").await;
    let names = holders(&bench);
    assert!(second.is_running() && !names.iter().any(|name| second.says(name) > 0), "{}", second.printed());
    drop(first);
}

#[tokio::test(flavor = "multi_thread")]
async fn f10_a_zombie_sends_and_saves_nothing_of_its_former_shards() {
    let bench = Bench::new().await;
    let a = bench.start("a");
    a.to_say("shard acquired").await;
    let b = bench.start("b");
    shared_by(&bench, ["a", "b"]).await;

    // Both hold events that they cannot deliver when one of them freezes.
    bench.hec.faults().down_for(Duration::from_secs(3600));
    (0..2).for_each(|shard| bench.put(shard, 5, 20));
    a.to_say("Splunk HEC is down").await;
    b.to_say("Splunk HEC is down").await;
    a.signal(libc::SIGSTOP);
    bench.hec.faults().clear();
    let saves = bench.oracle.saves().len();
    until("b has both shards", 30, || {
        (0..2).for_each(|shard| bench.put(shard, 1, 5));
        holders(&bench) == ["b".to_owned()].into()
    })
    .await;
    bench.settled().await;
    assert!(bench.oracle.saves()[saves..].iter().all(|save| save.consumer == "b"));
    let taken_up = a.says("shard acquired");

    a.signal(libc::SIGCONT);
    a.to_say("no heartbeat succeeded in time").await;
    until("a joins again", 30, || a.says("shard acquired") > taken_up).await;
    shared_by(&bench, ["a", "b"]).await;
    bench.settled().await;
    assert_eq!(a.says("checkpoint refused"), 0, "it did not even try to save: {}", a.printed());
    assert_eq!(bench.oracle.repeats(), 0, "what it held, b has delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn f14_two_processes_with_one_name_are_detected_and_lose_nothing() {
    let bench = Bench::new().await;
    let a = bench.start("a");
    a.to_say("shard acquired").await;
    let mut twin = bench.start("a");
    twin.to_say("shard acquired").await;
    let twins = "another process uses the same consumer name";
    until("one of them finds out", 60, || {
        (0..2).for_each(|shard| bench.put(shard, 1, 5));
        a.says(twins) + twin.says(twins) > 0
    })
    .await;
    twin.kill();
    bench.all_arrived().await;
    until("every checkpoint is at its end", 30, || {
        (0..2).all(|shard| bench.checkpoint(shard) == Some(bench.end(shard)))
    })
    .await;
    // Between two processes of one name a checkpoint may go back, which costs repeats; it may never be ahead of the
    // delivered logs.
    let wrongs = bench.oracle.wrongs();
    assert!(wrongs.iter().all(|wrong| wrong.starts_with("a save went back")), "{wrongs:?}");
}
