//! Where shards end, who moves their checkpoints, and time ranges beside the live group.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::bench::Bench;

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
