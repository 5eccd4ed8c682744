//! Memory, threads and files over time.

use std::fs;
use std::time::{Duration, Instant};

use forwarder::emulator::syslog::{Config, Protocol, ReceiverFault, SyslogEmulator};

use super::bench::{Bench, command, servers};
use super::program::Program;

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
    assert_eq!(program.says("shard released"), 0, "{}", program.said());

    bench.hec.faults().clear();
    bench.settled().await;
    assert_eq!(bench.oracle.repeats(), 0);
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
    assert!(peak > 40_000_000, "{peak} bytes resident: nothing was pulled; {}", program.said());
    assert!(peak < 150_000_000, "{peak} bytes resident");
    assert!(receiver.counts().connections > 0, "{}", program.said());
    assert_eq!(receiver.counts().messages, 0);
    assert!((0..4).all(|shard| bench.checkpoint(shard).is_none_or(|saved| saved < bench.end(shard))));
}
