//! The memory for what SLS announces and sends is bounded in total.

use std::fs;

use forwarder::emulator::sls::SlsEvent;
use forwarder::loggroup::proto::{Log, LogGroup, Pair};

use super::bench::{Bench, GROUP, LOGSTORE, PROJECT, servers, until};

/// A log group of 60 MiB that the script drops, and that compresses to a hundredth.
fn large_group() -> LogGroup {
    let pair = |key: &str, value: String| Pair { key: key.into(), value: value.into_bytes() };
    let log = |number: usize| Log {
        time: 1_700_000_000,
        contents: vec![pair("text", format!("{number} ").repeat(1 << 18)), pair("drop", "yes".to_owned())],
        time_ns: None,
    };
    let mut logs = Vec::new();
    let mut bytes = 0;
    while bytes < 60 << 20 {
        logs.push(log(logs.len()));
        bytes += logs.last().unwrap().contents[0].value.len();
    }
    LogGroup { logs, ..LogGroup::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_decompress_to_far_more_than_the_memory_are_read_one_by_one() {
    const SHARDS: u32 = 16;
    let bench = Bench::with(servers(SHARDS)).await;
    fs::write(bench.directory.path().join("t.lua"), "function process(log) return nil end\n").unwrap();
    let group = large_group();
    (0..SHARDS).for_each(|shard| bench.sls.put(PROJECT, LOGSTORE, shard, [group.clone()]).unwrap());
    let program = bench.start("a");
    until("every checkpoint is at the end of its shard", 120, || {
        (0..SHARDS).all(|shard| bench.checkpoint(shard) == Some(bench.end(shard)))
    })
    .await;
    let peak = program.peak_memory();
    println!("{SHARDS} pages of 60 MiB at once: {} MB at most", peak / 1_000_000);
    assert!(peak < 200_000_000, "{peak} bytes resident, for pages of {} in all", u64::from(SHARDS) * (60 << 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_beyond_the_memory_limit_wait_and_are_reported() {
    // The default of run.memory is enough for 1,024 shards.
    const SHARDS: u32 = 1_100;
    let bench = Bench::with(servers(SHARDS)).await;
    let program = bench.start_with("a", &[("FORWARDER_SLS_GROUP_TIMEOUT", "60s")]);
    program.to_say("SLS assigns more shards than run.memory allows").await;
    until("as many as may be are acquired", 60, || program.says("shard acquired") == 1_024).await;
    let peak = program.peak_memory();
    println!("{SHARDS} shards: {} MB at most", peak / 1_000_000);
    assert!(peak < 200_000_000, "{peak} bytes resident");
}

#[tokio::test(flavor = "multi_thread")]
async fn f22_a_group_deleted_during_a_run_gets_the_checkpoints_that_the_process_holds() {
    for start in ["begin", "end"] {
        let bench = Bench::new().await;
        let program = bench.start_with("a", &[("FORWARDER_SLS_START", start)]);
        until("it has started", 30, || (0..2).all(|shard| bench.checkpoint(shard).is_some())).await;
        (0..2).for_each(|shard| bench.put(shard, 5, 20));
        bench.settled().await;
        // Logs that wait when the group is deleted have not been delivered yet.
        bench.hec.faults().down_for(std::time::Duration::from_secs(3_600));
        (0..2).for_each(|shard| bench.put(shard, 5, 20));
        program.to_say("Splunk HEC is down").await;
        bench.sls.happen(PROJECT, LOGSTORE, &SlsEvent::DeleteGroup { group: GROUP.to_owned() }).unwrap();
        (0..2).for_each(|shard| bench.put(shard, 5, 20));
        program.to_say("there is no checkpoint any more").await;
        bench.hec.faults().clear();
        bench.settled().await;
        assert_eq!(bench.oracle.repeats(), 0, "{start}: it goes on from where it was");
    }
}
