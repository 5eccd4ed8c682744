//! Memory of pages and batches, and the size of the pages that are pulled.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_page_larger_than_all_of_the_memory_waits_until_it_is_alone_and_is_delivered() {
    let large: Vec<String> = (0..2_000).map(|log| format!("{log:010000}:keep")).collect();
    let bench = start(&[large, page(&["a:keep"])], OnError::DeadLetter, OnReject::DeadLetter);
    let other = bench.pipeline.budget.take(1 << 20).await;
    seconds(5).await;
    assert_eq!(bench.counts().pulled, 0, "somebody else has some of the memory");
    drop(other);
    seconds(5).await;
    assert_eq!((bench.counts().delivered, bench.saved(), bench.pipeline.budget.used()), (2_001, Some(2), 0));
}

/// Fails if a batch whose memory was returned to the budget still takes it: one batch that is not acknowledged for
/// minutes would hold all later ones in memory.
#[tokio::test(start_paused = true)]
async fn a_delivered_batch_takes_no_memory_while_an_earlier_one_is_not_delivered() {
    let bench = start(&numbered(0, 10), OnError::DeadLetter, OnReject::DeadLetter);
    let siem = &bench.pipeline.destinations[0].destination;
    *siem.stuck.lock().unwrap() = Some("003");
    seconds(5).await;
    assert_eq!((siem.taken.lock().unwrap().len(), bench.saved()), (9, Some(3)));
    let kept: Vec<bool> = siem.came.lock().unwrap().iter().map(|batch| batch.strong_count() > 0).collect();
    assert_eq!(kept, (0..10).map(|number| number == 3).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn while_memory_is_short_pages_are_small_unless_many_batches_are_in_flight() {
    let bench = start(&numbered(0, 200), OnError::DeadLetter, OnReject::DeadLetter);
    let source = &bench.pipeline.source;
    *source.trip.lock().unwrap() = Duration::from_millis(100);
    *bench.pipeline.destinations[0].destination.down.lock().unwrap() = true;
    let _other = bench.pipeline.budget.take(9 << 20).await;
    seconds(4).await;
    // A pull takes 100 ms.
    assert_eq!(source.asked.load(Ordering::Relaxed), 2);
    assert!(bench.counts().in_flight < 64, "{:?}", bench.counts());
    seconds(4).await;
    assert_eq!(source.asked.load(Ordering::Relaxed), 10);
    assert!(bench.counts().in_flight > 64, "{:?}", bench.counts());
}

/// Fails if a page that is packed after the script has read it is searched for probe logs: they would never be found.
#[tokio::test(start_paused = true)]
async fn a_probe_log_is_found_in_a_page_that_is_kept_packed() {
    let bench = start(&numbered(0, 1), OnError::DeadLetter, OnReject::DeadLetter);
    let (probes, source) = (bench.pipeline.ledger.probes(), SourceName::new("logstore"));
    assert_eq!(probes.begin(&source, &[ShardId(3)], "000", Instant::now()), Some(ShardId(3)));
    seconds(5).await;
    let status = &probes.read(Instant::now())[&source];
    assert_eq!((status.waiting, status.took.is_some()), (None, true));
}

/// Each shard waits one second between two pulls of a tenth of a second: 54 pulls per minute.
#[tokio::test(start_paused = true)]
async fn a_hundred_idle_shards_do_not_wait_for_each_others_memory() {
    let bench = start(&[], OnError::DeadLetter, OnReject::DeadLetter);
    let source = &bench.pipeline.source;
    *source.trip.lock().unwrap() = Duration::from_millis(100);
    let lease = Lease::lapsed(Instant::now());
    lease.extend(Instant::now() + Duration::from_secs(1_000_000));
    let ((_stopper, stopped), (_over, over)) = (stop(), stop());
    let mut tasks = JoinSet::new();
    for shard in 0..100 {
        let tenure = Tenure::new(lease.clone(), over.clone());
        tasks.spawn(run(Arc::clone(&bench.pipeline), ShardId(shard), stopped.clone(), tenure));
    }
    seconds(10).await;
    let before = source.pulls.load(Ordering::Relaxed);
    seconds(60).await;
    let pulls = source.pulls.load(Ordering::Relaxed) - before;
    assert!(pulls >= 100 * 50, "{pulls} pulls of 101 idle shards within a minute");
}

/// Otherwise many shards that wake up at once would pull far more than the small credit that each has reserved.
#[tokio::test(start_paused = true)]
async fn an_idle_shard_requests_few_log_groups() {
    let bench = start(&[], OnError::DeadLetter, OnReject::DeadLetter);
    seconds(10).await;
    assert_eq!(bench.pipeline.source.asked.load(Ordering::Relaxed), 1, "of the ten at first");
}
