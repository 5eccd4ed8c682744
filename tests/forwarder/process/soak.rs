//! Memory, threads and files over time.

use std::fs;
use std::time::{Duration, Instant};

use forwarder::emulator::generate::Generator;
use forwarder::emulator::syslog::{Config, Protocol, ReceiverFault, SyslogEmulator};
use forwarder::loggroup::proto::LogGroup;
use serde_json::Value;

use super::bench::{Bench, LOGSTORE, PROJECT, command, servers, until_or};
use super::program::Program;
use super::reports::get;

/// Seconds of outage, unless `FORWARDER_SOAK_SECONDS` says otherwise. The gate takes 12.
const SECONDS: u64 = 5;

/// Shards, unless `FORWARDER_SOAK_SHARDS` says otherwise. The gate takes 64.
const SHARDS: u32 = 16;

/// The resources of one process.
#[derive(Debug, Clone, Copy)]
struct Figures {
    resident: u64,
    threads: u64,
    files: usize,
}

impl Figures {
    fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let figure = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
        };
        let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        Self { resident: figure("VmRSS:") << 10, threads: figure("Threads:"), files }
    }
}

fn given<T: std::str::FromStr>(variable: &str, default: T) -> T {
    let text = std::env::var(variable).ok();
    text.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}: not a number")))
}

/// Logs keep coming, far more than the budget holds, and Splunk accepts none.
#[tokio::test(flavor = "multi_thread")]
async fn f51_memory_threads_and_files_stay_flat_in_an_outage() {
    let outage = Duration::from_secs(given("FORWARDER_SOAK_SECONDS", SECONDS));
    let shards = given("FORWARDER_SOAK_SHARDS", SHARDS);
    let bench = Bench::with(servers(shards)).await;
    // So that a machine that is busy for some seconds does not cost it a shard.
    let program = bench.start_with("a", &[("FORWARDER_SLS_GROUP_TIMEOUT", "60s")]);
    (0..shards).for_each(|shard| bench.put(shard, 4, 20));
    bench.settled().await;
    bench.hec.faults().down_for(outage + Duration::from_secs(3600));
    // First a large page for every idle shard, 140 MB in total, then small writes all the time.
    (0..shards).for_each(|shard| bench.put(shard, 4096 / u64::from(shards), 75));

    let started = Instant::now();
    let mut figures = Vec::new();
    let mut shard = 0;
    while started.elapsed() < outage {
        bench.put(shard, 1, 2);
        shard = (shard + 1) % shards;
        tokio::time::sleep(Duration::from_millis(100)).await;
        figures.push(Figures::of(program.pid()));
    }
    let settled = &figures[figures.len() / 2..];
    let (first, last) = (settled[0], settled[settled.len() - 1]);
    let peak = figures.iter().map(|figures| figures.resident).max().unwrap();
    println!(
        "{shards} shards, {outage:?} of outage: {first:?} half-way, {last:?} at the end, peak {} MB",
        peak / 1_000_000
    );
    assert!(peak < 150_000_000, "{peak} bytes resident");
    assert!(last.resident <= first.resident + 8_000_000, "{first:?} grew to {last:?}");
    assert!(last.threads <= first.threads + 2, "{first:?} grew to {last:?}");
    assert!(last.files <= first.files + 8, "{first:?} grew to {last:?}");
    assert_eq!(program.says("shard released"), 0, "{}", program.printed());

    bench.hec.faults().clear();
    bench.settled().await;
    assert_eq!(bench.oracle.repeats(), 0);
}

/// Bytes of `run.memory` in these tests.
const MEMORY: u64 = 64 << 20;

/// Far more logs than `run.memory` holds, and the indexers acknowledge none of their events: how many times the bytes of
/// the waiting events fit into it. This is 1/m of docs/hec-delivery.md.
async fn waiting_events_in_memory(gzip: &str) -> f64 {
    let (sls, mut hec) = servers(4);
    (hec.use_ack, hec.queue, hec.ack_after) = (true, true, Duration::from_secs(3_600));
    let bench = Bench::with((sls, hec)).await;
    let generator = Generator::new(7, 1_800_000_000);
    let group = |number: u64| LogGroup {
        logs: (40 * number..40 * (number + 1)).map(|log| generator.audit_log(log)).collect(),
        ..LogGroup::default()
    };
    let groups: Vec<LogGroup> = (0..100).map(group).collect();
    for turn in 0..100 {
        bench.sls.put(PROJECT, LOGSTORE, turn % 4, groups.clone()).unwrap();
    }
    let settings = [
        ("FORWARDER_HEC_ACK", "true"),
        ("FORWARDER_HEC_GZIP", gzip),
        ("FORWARDER_RUN_MEMORY", "64MiB"),
        ("FORWARDER_ADMIN_LISTEN", "127.0.0.1:0"),
    ];
    let program = bench.start_with("a", &settings);
    let status = || serde_json::from_str::<Value>(get(&program, "/status").split("\r\n\r\n").nth(1)?).ok();
    // The waiting bytes and the bytes in use, when the memory is full and no page is in the script.
    let waiting = || {
        let status = status()?;
        let waiting = status["destinations"][0]["holds"]["unacknowledged_bytes"].as_u64()?;
        let is_full = status["memory"]["full"] == true;
        let is_idle = status["shards"].as_array()?.iter().all(|shard| shard["page_seconds"] == 0);
        (is_full && is_idle).then_some((waiting, status["memory"]["used"].as_u64()?))
    };
    let (mut last, mut unchanged) = (None, 0);
    // For three seconds, which is longer than a busy machine delays a request. After one second, a page in the script counts.
    let is_full = || {
        std::thread::sleep(Duration::from_millis(500));
        let now = waiting();
        unchanged = if now.is_some() && now == last { unchanged + 1 } else { 0 };
        last = now;
        unchanged >= 6
    };
    until_or("the memory is full, and stays so", 60, is_full, || get(&program, "/status")).await;
    let (waiting, used) = last.unwrap();
    let (peak, fit) = (program.peak_memory(), waiting as f64 / MEMORY as f64);
    println!(
        "gzip {gzip}: {} MB of events wait in {} MiB, m = {:.2}, peak {} MB",
        waiting / 1_000_000,
        used >> 20,
        fit.recip(),
        peak / 1_000_000
    );
    assert!(used <= MEMORY + MEMORY / 8, "{used}");
    assert!(peak < 200_000_000, "{peak} bytes resident");
    fit
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_wait_for_acknowledgements_take_the_documented_part_of_the_memory_and_that_is_shown() {
    let fit = waiting_events_in_memory("false").await;
    assert!((1.0 / 1.5..1.0).contains(&fit), "m is not about 1.25: {fit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_events_that_wait_for_acknowledgements_take_the_documented_part_of_the_memory() {
    let fit = waiting_events_in_memory("true").await;
    assert!((1.0 / 0.5..1.0 / 0.3).contains(&fit), "m is not about 0.4: {fit}");
}

/// Far more logs than the budget holds, for a receiver that never reads, so that only its system's buffers are filled.
#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_flat_while_a_syslog_receiver_never_reads() {
    let bench = Bench::with(servers(4)).await;
    let receiver = SyslogEmulator::start(Config::new(Protocol::Tcp)).await.unwrap();
    receiver.faults().add(ReceiverFault::Stall);
    (0..4).for_each(|shard| bench.put(shard, 512, 75));
    let mut command = command(bench.directory.path(), &bench.sls_endpoint());
    command.env_remove("FORWARDER_HEC_TOKEN").envs([
        ("FORWARDER_SYSLOG_HOST", "127.0.0.1".to_owned()),
        ("FORWARDER_SYSLOG_PORT", receiver.address().port().to_string()),
        ("FORWARDER_SYSLOG_PROTOCOL", "tcp".to_owned()),
    ]);
    let program = Program::start("a", command);
    let mut peak = 0;
    for _ in 0..given("FORWARDER_SOAK_SECONDS", SECONDS) * 10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        peak = peak.max(Figures::of(program.pid()).resident);
    }
    println!("peak {} MB", peak / 1_000_000);
    assert!(peak > 40_000_000, "{peak} bytes resident: nothing was pulled; {}", program.printed());
    assert!(peak < 150_000_000, "{peak} bytes resident");
    assert!(receiver.counts().connections > 0, "{}", program.printed());
    assert_eq!(receiver.counts().messages, 0);
    assert!((0..4).all(|shard| bench.checkpoint(shard).is_none_or(|saved| saved < bench.end(shard))));
}
