//! Several processes in one consumer group.

use std::collections::BTreeSet;

use super::bench::{Bench, until};

fn holders(bench: &Bench) -> BTreeSet<String> {
    bench.oracle.holders().into_values().collect()
}

/// Writes to both shards until both were saved by exactly these.
async fn shared_by(bench: &Bench, names: [&str; 2]) {
    let names = names.map(str::to_owned).into();
    until(&format!("{names:?} share the shards"), 30, || {
        (0..2).for_each(|shard| bench.put(shard, 1, 5));
        holders(bench) == names
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_share_the_shards_and_a_third_takes_over_when_one_dies_f21() {
    let bench = Bench::new().await;
    let mut a = bench.start("a");
    a.to_say("shard taken up").await;
    let b = bench.start("b");
    shared_by(&bench, ["a", "b"]).await;
    bench.settled().await;
    let repeats = bench.oracle.repeats();
    assert_eq!(repeats, 0, "a shard changed hands in good order");

    let c = bench.start("c");
    until("c stands by", 30, || bench.oracle.beats("c").len() >= 2).await;
    (0..2).for_each(|shard| bench.put(shard, 5, 20));
    bench.settled().await;
    assert_eq!(c.says("shard taken up"), 0, "{}", c.said());
    let held_by_b = b.says("shard taken up");

    a.kill();
    shared_by(&bench, ["b", "c"]).await;
    bench.settled().await;
    assert_eq!(b.says("shard taken up"), held_by_b, "b keeps its shard: {}", b.said());
    assert_eq!(c.says("shard taken up"), 1, "{}", c.said());
    println!("repeats after a kill: {}", bench.oracle.repeats());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_sends_and_saves_nothing_before_it_has_joined_again_f10() {
    let bench = Bench::new().await;
    let a = bench.start("a");
    a.to_say("shard taken up").await;
    let _b = bench.start("b");
    shared_by(&bench, ["a", "b"]).await;

    a.signal(libc::SIGSTOP);
    let saves = bench.oracle.saves().len();
    let mut written = 0;
    until("b has both shards", 30, || {
        (0..2).for_each(|shard| bench.put(shard, 1, 5));
        written += 10;
        holders(&bench) == ["b".to_owned()].into()
    })
    .await;
    let by_a = |bench: &Bench| bench.oracle.saves()[saves..].iter().filter(|save| save.consumer == "a").count();
    assert_eq!(by_a(&bench), 0);
    bench.all_arrived().await;
    // What a had under way when it froze, b has delivered again or was the first to deliver.
    let repeats = bench.oracle.repeats();
    let taken_up = a.says("shard taken up");

    a.signal(libc::SIGCONT);
    a.to_say("no heartbeat got through in time").await;
    until("a joins again", 30, || {
        (0..2).for_each(|shard| bench.put(shard, 1, 5));
        a.says("shard taken up") > taken_up
    })
    .await;
    shared_by(&bench, ["a", "b"]).await;
    bench.settled().await;
    assert_eq!(a.says("checkpoint refused"), 0, "it did not even try to save: {}", a.said());
    let late = bench.oracle.repeats() - repeats;
    // At most one request of what was written in a moment before it froze.
    assert!(late <= 100, "{late} repeats by the zombie");
    println!("repeats: {repeats} by the take-over, {late} by the zombie, {written} logs written meanwhile");
}
