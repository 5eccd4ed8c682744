//! A disk with no room for dead letters.

use super::*;

#[tokio::test(start_paused = true)]
async fn f75_a_full_disk_pauses_the_shard_until_there_is_room() {
    let pages = [page(&["a:keep"]), page(&["b:bad"]), page(&["c:keep"])];
    let bench = start(&pages, OnError::DeadLetter, OnReject::DeadLetter);
    *bench.memory.full.lock().unwrap() = true;
    seconds(600).await;
    assert_eq!(bench.saved(), Some(1), "nothing passes the letter that is not on disk");
    assert!(bench.standstill().unwrap().contains("no room"), "{:?}", bench.standstill());
    assert_eq!((bench.counts().in_flight, bench.counts().difference()), (2, 0));
    *bench.memory.full.lock().unwrap() = false;
    seconds(60).await;
    assert_eq!((bench.saved(), bench.standstill(), bench.letters().len()), (Some(3), None, 1));
    assert_eq!(bench.counts().delivered, 2);
}

#[tokio::test(start_paused = true)]
async fn while_the_disk_is_full_one_batch_of_a_shard_retries_for_all() {
    let bench = start(&[page(&["a:bad"]), page(&["b:bad"])], OnError::DeadLetter, OnReject::DeadLetter);
    *bench.memory.full.lock().unwrap() = true;
    seconds(600).await;
    assert_eq!(bench.counts().in_flight, 2);
    assert_eq!(bench.memory.refused.lock().unwrap().len(), 1, "{:?}", bench.memory.refused);
    *bench.memory.full.lock().unwrap() = false;
    seconds(60).await;
    assert_eq!((bench.saved(), bench.letters().len()), (Some(2), 2));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_after_a_batch_that_waits_for_the_disk() {
    let mut pages = vec![page(&["a:bad"])];
    pages.extend((0..30).map(|_| page(&["b:keep"])));
    let bench = start(&pages, OnError::DeadLetter, OnReject::DeadLetter);
    *bench.memory.full.lock().unwrap() = true;
    *bench.pipeline.source.trip.lock().unwrap() = Duration::from_millis(100);
    seconds(600).await;
    assert_eq!(
        bench.pipeline.destinations[0].destination.taken.lock().unwrap().len(),
        0,
        "it would be sent again after a restart"
    );
    *bench.memory.full.lock().unwrap() = false;
    seconds(60).await;
    assert_eq!((bench.saved(), bench.counts().delivered), (Some(31), 30));
    assert_eq!(bench.end().await, ShardEnd::Released);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_waits_for_the_disk_can_be_stopped_and_returns_its_logs() {
    let bench = start(&[page(&["a:bad"])], OnError::DeadLetter, OnReject::DeadLetter);
    *bench.memory.full.lock().unwrap() = true;
    seconds(60).await;
    let pipeline = Arc::clone(&bench.pipeline);
    assert_eq!(bench.end().await, ShardEnd::GivenBack);
    let counts = pipeline.ledger.total();
    assert_eq!((counts.pulled, counts.returned, counts.difference()), (0, 1, 0));
    assert_eq!(*pipeline.source.saved.lock().unwrap(), Some(Cursor::from_number(0)));
}
