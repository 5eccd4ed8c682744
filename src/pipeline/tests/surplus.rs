//! Events that are larger than the memory of their shard.

use super::*;

/// Shards that share a budget and have had no logs so far. They hold little, so all of them get a page at the same
/// moment when it is written.
async fn idle_shards(count: usize, budget: &Budget, logs: &[&str]) -> Vec<Bench> {
    let shard = |_| {
        let plan = Plan { budget: budget.clone(), written: 0, ..Plan::to(1) };
        let bench = start_with(plan, &[page(logs)], OnError::DeadLetter, OnReject::DeadLetter);
        *bench.pipeline.source.trip.lock().unwrap() = Duration::from_millis(100);
        bench
    };
    let shards: Vec<Bench> = (0..count).map(shard).collect();
    seconds(10).await;
    shards
}

/// From the next pull on, which all of them begin before the first one ends.
async fn write_page(shards: &[Bench]) {
    for shard in shards {
        *shard.pipeline.source.trip.lock().unwrap() = Duration::from_secs(5);
    }
    seconds(10).await;
    shards.iter().for_each(|shard| shard.pipeline.source.written.store(1, Ordering::Relaxed));
}

fn set_down(shards: &[Bench], down: bool) {
    shards.iter().for_each(|shard| *shard.pipeline.destinations[0].destination.down.lock().unwrap() = down);
}

/// Fails if each shard that has a page makes its part, however much of the others' events waits for delivery.
#[tokio::test(start_paused = true)]
async fn many_shards_with_huge_events_stay_within_twice_the_memory_and_deliver_them_all() {
    const MEMORY: usize = 8 << 20;
    let budget = Budget::new(MEMORY);
    let shards = idle_shards(48, &budget, &["a:huge", "b:keep"]).await;
    set_down(&shards, true);
    write_page(&shards).await;
    seconds(60).await;
    assert!(budget.used() > MEMORY && budget.used() <= 2 * MEMORY, "{} of {MEMORY} bytes are in use", budget.used());
    assert!(budget.of_source().waiting_since.is_some(), "the wait is shown");
    let delivered = || shards.iter().map(|shard| shard.counts().delivered).sum::<u64>();
    assert_eq!(delivered(), 0);
    set_down(&shards, false);
    for _ in 0..600 {
        sleep(Duration::from_millis(100)).await;
        assert!(budget.used() <= 2 * MEMORY, "{} of {MEMORY} bytes are in use", budget.used());
    }
    assert_eq!((delivered(), budget.of_source().waiting_since), (96, None));
}

#[tokio::test(start_paused = true)]
async fn logs_that_need_more_than_all_of_the_memory_are_delivered_one_after_the_other() {
    const MEMORY: usize = 1 << 20;
    let budget = Budget::new(MEMORY);
    let shards = idle_shards(3, &budget, &["a:huge"]).await;
    set_down(&shards, true);
    write_page(&shards).await;
    seconds(60).await;
    assert!(budget.used() <= 3 * MEMORY, "{} of {MEMORY} bytes are in use", budget.used());
    set_down(&shards, false);
    seconds(60).await;
    assert_eq!(shards.iter().map(|shard| shard.counts().delivered).collect::<Vec<_>>(), [1, 1, 1]);
}

/// A shard whose script fails on too many logs waits with its page for hours.
#[tokio::test(start_paused = true)]
async fn a_paused_shard_keeps_no_other_from_beginning() {
    let budget = Budget::new(1 << 20);
    let logs = many(300, 200, "bad");
    let logs: Vec<&str> = logs.iter().map(String::as_str).collect();
    let mut shards = idle_shards(1, &budget, &logs).await;
    shards.extend(idle_shards(1, &budget, &["a:huge"]).await);
    write_page(&shards).await;
    seconds(300).await;
    assert_eq!(shards.iter().map(|shard| shard.counts().delivered).collect::<Vec<_>>(), [0, 1]);
}
