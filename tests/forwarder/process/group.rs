//! Several processes in one consumer group.

use std::collections::BTreeSet;
use std::time::Duration;

use super::bench::{Bench, command, until};
use super::program::Program;

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
    assert_eq!(c.says("shard acquired"), 0, "{}", c.said());
    let held_by_b = b.says("shard acquired");

    a.kill();
    shared_by(&bench, ["b", "c"]).await;
    bench.settled().await;
    assert_eq!(b.says("shard acquired"), held_by_b, "b keeps its shard: {}", b.said());
    assert_eq!(c.says("shard acquired"), 1, "{}", c.said());
}

/// A process with a generated name, in a group with a timeout of a minute.
fn start_unnamed(bench: &Bench, settings: &[(&str, &str)]) -> Program {
    let mut command = command(bench.directory.path(), &bench.sls_endpoint());
    command.env("FORWARDER_HEC_URL", bench.hec.url()).env("FORWARDER_SLS_GROUP_TIMEOUT", "60s");
    command.envs(settings.iter().copied());
    Program::start("unnamed", command)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_gets_its_name_and_shards_again_at_once_after_a_restart() {
    let bench = Bench::new().await;
    let mut first = start_unnamed(&bench, &[]);
    shards_acquired(&first, 2).await;
    (0..2).for_each(|shard| bench.put(shard, 1, 5));
    bench.settled().await;
    let names = holders(&bench);
    first.kill();
    let next = start_unnamed(&bench, &[]);
    // Long before the group's timeout.
    shards_acquired(&next, 2).await;
    (0..2).for_each(|shard| bench.put(shard, 1, 5));
    bench.settled().await;
    assert_eq!(holders(&bench), names);

    let mut second = start_unnamed(&bench, &[]);
    second.to_say("joined the consumer group").await;
    assert!(second.is_running() && !names.iter().any(|name| second.says(name) > 0), "{}", second.said());
}

/// Waits for much less than the timeout of the group.
async fn shards_acquired(program: &Program, shards: usize) {
    until("the shards are acquired", 20, || program.says("shard acquired") == shards).await;
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
    assert_eq!(a.says("checkpoint refused"), 0, "it did not even try to save: {}", a.said());
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
