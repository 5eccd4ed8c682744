//! Where a shard begins and ends, and when its checkpoint moves.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_shard_stops_at_its_end_and_is_saved_there() {
    let pages = [page(&["a:keep"]), page(&["b:keep"]), page(&["c:keep"])];
    let mut bench = start_until(2, &pages);
    assert_eq!(bench.task.join_next().await.unwrap().unwrap(), ShardEnd::Past);
    assert_eq!((bench.taken(), bench.saved()), (vec!["a".to_owned(), "b".to_owned()], Some(2)));
    assert_eq!(bench.counts().difference(), 0);
    let mut again = bench.killed_and_started_again().await;
    assert_eq!(again.task.join_next().await.unwrap().unwrap(), ShardEnd::Past, "nothing is left");
    assert_eq!(again.counts().delivered, 2);
}

#[tokio::test(start_paused = true)]
async fn a_shard_whose_end_is_in_the_future_reads_what_is_written_until_then() {
    let pages = [page(&["a:keep"]), page(&["b:keep"]), page(&["c:keep"])];
    let mut bench = start_until(2, &pages);
    bench.pipeline.source.written.store(1, Ordering::Relaxed);
    seconds(5).await;
    assert_eq!((bench.taken(), bench.saved()), (vec!["a".to_owned()], Some(1)));
    assert!(bench.pipeline.ledger.read()[&bench.name()].caught_up);
    bench.pipeline.source.written.store(3, Ordering::Relaxed);
    assert_eq!(bench.task.join_next().await.unwrap().unwrap(), ShardEnd::Past);
    assert_eq!((bench.taken().len(), bench.saved()), (2, Some(2)));
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_after_the_end_stays_where_it_is() {
    let bench = start(&[page(&["a:keep"]), page(&["b:keep"])], OnError::DeadLetter, OnReject::DeadLetter);
    bench.delivered(2).await;
    let pipeline = Arc::clone(&bench.pipeline);
    assert_eq!(bench.end().await, ShardEnd::Released);
    let pipeline = Arc::into_inner(pipeline).expect("no other code has it");
    let pace = Pace { until: Some(Start::Time(1)), ..pipeline.pace };
    let mut late = Bench::on(Arc::new(Pipeline { pace, ..pipeline }), Memory::default());
    assert_eq!(late.task.join_next().await.unwrap().unwrap(), ShardEnd::Past);
    assert_eq!(late.saved(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn logs_after_the_end_are_not_delivered_whatever_the_source_sends() {
    let bench = start_until(1, &[page(&["a:keep"]), page(&["b:keep"])]);
    bench.pipeline.source.heeds_no_end.store(true, Ordering::Relaxed);
    bench.pipeline.source.skips.store(true, Ordering::Relaxed);
    seconds(60).await;
    assert_eq!((bench.taken(), bench.saved()), (Vec::new(), Some(0)));
}

#[tokio::test(start_paused = true)]
async fn a_refused_pull_is_shown_for_its_shard_until_it_succeeds() {
    let bench = start(&[page(&["a:keep"])], OnError::DeadLetter, OnReject::DeadLetter);
    let failing = |bench: &Bench| {
        let entries = bench.pipeline.ledger.read();
        entries.values().next().unwrap().failing.keys().copied().collect::<Vec<_>>()
    };
    seconds(5).await;
    assert_eq!(failing(&bench), []);
    bench.pipeline.source.refuses.store(true, Ordering::Relaxed);
    seconds(95).await;
    assert_eq!(failing(&bench), [Ask::Pull]);
    bench.pipeline.source.refuses.store(false, Ordering::Relaxed);
    seconds(60).await;
    assert_eq!(failing(&bench), []);
}

/// Fails if a refused cursor always counts as expired: its logs would be called lost, and all older ones sent again.
#[tokio::test(start_paused = true)]
async fn a_refused_cursor_is_a_gap_only_if_its_logs_have_expired() {
    let pages = ["a:keep", "b:keep", "c:keep"].map(|log| page(&[log]));
    for (oldest, taken, gaps) in [(0, 3, 0), (1, 3, 0), (2, 2, 1)] {
        let bench = start(&pages, OnError::DeadLetter, OnReject::DeadLetter);
        *bench.pipeline.source.stale.lock().unwrap() = Some(1);
        bench.pipeline.source.oldest.store(oldest, Ordering::Relaxed);
        *bench.pipeline.source.saved.lock().unwrap() = Some(Cursor::from_number(0));
        seconds(60).await;
        let counts = bench.counts();
        assert_eq!((bench.taken().len(), counts.gaps, bench.saved()), (taken, gaps, Some(3)), "oldest {oldest}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_skips_logs_halts_the_shard_with_a_bug_report_and_moves_no_checkpoint() {
    let bench = start(&[page(&["a:keep"]), page(&["b:keep"])], OnError::DeadLetter, OnReject::DeadLetter);
    bench.pipeline.source.skips.store(true, Ordering::Relaxed);
    seconds(60).await;
    assert_eq!(bench.saved(), Some(0));
    let why = bench.standstill().unwrap();
    assert!(why.contains("BUG") && why.contains("durable only up to"), "{why}");
    assert_eq!(bench.end().await, ShardEnd::GivenBack);
}

/// Fails if a position in a deleted logstore is used in the one that has its name now: logs would be skipped.
#[tokio::test(start_paused = true)]
async fn a_shard_whose_logstore_was_created_again_starts_with_its_oldest_log() {
    for (deletions, delivered) in [(0, 2), (1, 4)] {
        let bench = start(&[page(&["a:keep"]), page(&["b:keep"])], OnError::DeadLetter, OnReject::DeadLetter);
        bench.delivered(2).await;
        // The checkpoint is deleted with the logstore, or with the group alone.
        *bench.pipeline.source.saved.lock().unwrap() = None;
        bench.pipeline.source.deletions.store(deletions, Ordering::Relaxed);
        let bench = bench.killed_and_started_again().await;
        seconds(5).await;
        assert_eq!(bench.counts().delivered, delivered, "{deletions} deletions");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_follows_a_deletion_of_the_logstore_is_not_taken() {
    let mut bench = start(&[page(&["a:keep"]), page(&["b:keep"])], OnError::DeadLetter, OnReject::DeadLetter);
    bench.pipeline.source.refuses.store(true, Ordering::Relaxed);
    seconds(1).await;
    bench.pipeline.source.deletions.store(1, Ordering::Relaxed);
    bench.pipeline.source.refuses.store(false, Ordering::Relaxed);
    assert_eq!(bench.task.join_next().await.unwrap().unwrap(), ShardEnd::Lost);
    assert_eq!(bench.taken(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_tenure_that_ends_during_a_stop_is_not_reported_as_a_shard_that_sls_took_away() {
    for (asked, expected) in [(true, ShardEnd::CutShort), (false, ShardEnd::Over)] {
        let mut bench = start(&[page(&["a:keep"])], OnError::DeadLetter, OnReject::DeadLetter);
        *bench.pipeline.destinations[0].destination.down.lock().unwrap() = true;
        seconds(5).await;
        if asked {
            bench.stop.raise();
            seconds(25).await;
        }
        bench.over.raise();
        assert_eq!(bench.task.join_next().await.unwrap().unwrap(), expected);
    }
    assert!(!ShardEnd::CutShort.to_string().contains("SLS"));
}

#[tokio::test(start_paused = true)]
async fn a_stop_without_a_saved_checkpoint_is_not_reported_as_delivered_and_saved() {
    let mut bench = start(&[page(&["a:keep"])], OnError::DeadLetter, OnReject::DeadLetter);
    bench.pipeline.source.refuses_saves.store(true, Ordering::Relaxed);
    bench.delivered(1).await;
    bench.stop.raise();
    seconds(25).await;
    bench.over.raise();
    let ended = bench.task.join_next().await.unwrap().unwrap();
    assert_eq!(ended, ShardEnd::Unsaved);
    assert!(ended.to_string().contains("the checkpoint could not be saved"));
}
