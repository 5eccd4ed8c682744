//! Pages that the hook divides into parts.

use super::*;

/// Twelve logs of two bytes each, and a second page.
fn pages_of_twelve() -> [Vec<String>; 2] {
    [0, 1].map(|page| (10..22).map(|log| format!("{}:keep", log + 20 * page)).collect())
}

#[tokio::test(start_paused = true)]
async fn a_page_in_parts_is_delivered_part_by_part_and_moves_the_checkpoint_at_its_end() {
    let bench = start_in_parts(6, &pages_of_twelve());
    while bench.saved() != Some(2) {
        let counts = bench.counts();
        assert_eq!(counts.difference(), 0);
        assert!(counts.delivered >= 12 * bench.saved().unwrap_or(0).unsigned_abs(), "{counts:?}");
        sleep(Duration::from_millis(1)).await;
    }
    let counts = bench.counts();
    assert_eq!((counts.pulled, counts.delivered, counts.in_flight, counts.cuts), (24, 24, 0, 6));
    let all: Vec<String> = (10..22).chain(30..42).map(|log: u32| log.to_string()).collect();
    assert_eq!(bench.taken(), all);
}

#[tokio::test(start_paused = true)]
async fn a_kill_in_the_middle_of_a_page_repeats_its_parts_and_loses_nothing() {
    for logs in [3, 6, 9] {
        let bench = start_in_parts(6, &pages_of_twelve());
        *bench.pipeline.destinations[0].destination.each.lock().unwrap() = Duration::from_millis(100);
        bench.delivered(logs).await;
        assert_eq!(bench.saved(), Some(0));
        *bench.pipeline.destinations[0].destination.each.lock().unwrap() = Duration::ZERO;
        let bench = bench.killed_and_started_again().await;
        bench.delivered(logs + 24).await;
        seconds(2).await;
        assert_eq!((bench.saved(), bench.counts().difference()), (Some(2), 0));
        let mut taken = bench.taken();
        assert!(taken.len() > 24 && taken.len() <= 36, "{taken:?}");
        taken.dedup();
        assert_eq!(taken.len(), 24);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_end_of_a_page_with_a_part_in_flight() {
    // More parts than can be in flight at once.
    let bench = start_in_parts(1, &[many(900, 0, "keep"), many(900, 0, "keep")]);
    *bench.pipeline.destinations[0].destination.each.lock().unwrap() = Duration::from_millis(100);
    bench.delivered(3).await;
    assert!(bench.counts().pulled < 800);
    let pipeline = Arc::clone(&bench.pipeline);
    assert_eq!(bench.end().await, ShardEnd::Released);
    assert_eq!(*pipeline.source.saved.lock().unwrap(), Some(Cursor::from_number(1)));
    let counts = pipeline.ledger.total();
    assert_eq!((counts.delivered, counts.returned, counts.difference()), (900, 0, 0), "nothing comes twice");
}

#[tokio::test(start_paused = true)]
async fn a_script_that_fails_in_the_middle_of_a_page_pauses_it_there() {
    let mut logs = many(150, 0, "keep");
    logs.extend(many(300, 200, "bad"));
    let bench = start_in_parts(1_000, &[logs]);
    seconds(300).await;
    let counts = bench.counts();
    assert_eq!((counts.delivered, counts.difference()), (150, 0), "what was good before is there");
    assert!(counts.dead_lettered > 0 && counts.dead_lettered < 110 && counts.in_flight > 0, "{counts:?}");
    assert_eq!(bench.saved(), Some(0));
    assert!(bench.standstill().unwrap().contains("t.lua:3: "), "{:?}", bench.standstill());
    let pipeline = Arc::clone(&bench.pipeline);
    assert_eq!(bench.end().await, ShardEnd::GivenBack);
    assert_eq!((pipeline.ledger.total().difference(), pipeline.budget.used()), (0, 0));
}
