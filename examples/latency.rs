//! The time from SLS to Splunk for a log of an idle shard: `cargo run --release --example latency -- [LOGS]`.
//!
//! One log at a time is written to an embedded SLS, at times that are independent of the pulls, and the program runs
//! with its defaults. The measurement ends when the embedded receiver indexes the event.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forwarder::app::App;
use forwarder::core::secret::Secret;
use forwarder::core::stop::stop;
use forwarder::emulator::generate::Generator;
use forwarder::emulator::hec;
use forwarder::emulator::hec::{HecEmulator, Received};
use forwarder::emulator::sls;
use forwarder::emulator::sls::SlsEmulator;
use forwarder::settings;
use forwarder::settings::{Environment, Machine};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Number of logs to measure; the command line overrides it.
const LOGS: usize = 30;

/// Longest time for one log.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let logs = std::env::args().nth(1).map_or(Ok(LOGS), |count| count.parse())?;
    let (indexed, mut arrivals) = mpsc::channel(1);
    let sls = SlsEmulator::start(sls::Config { shards: 1, ..sls::Config::default() }).await?;
    let mut receiver = hec::Config::new(Secret::new("token"));
    receiver.tap = Some(Arc::new(move |_: &Received<'_>| {
        // Full only if an event arrived twice; then the first one counts.
        let _ = indexed.try_send(Instant::now());
    }));
    let hec = HecEmulator::start(receiver).await?;

    let settings = settings::load(None, &Vec::new(), &environment(&sls, &hec), &machine())?;
    let (stopper, stopped) = stop();
    let mut running = JoinSet::new();
    running.spawn(App::new(settings)?.run(stopped));

    let mut generator = Generator::new(1, 1_800_000_000);
    let mut took = Vec::with_capacity(logs);
    // The first log, which waits for the group to be joined, is not measured.
    for number in 0..=logs {
        // Multiples of the golden ratio are spread evenly over the second between two pulls.
        tokio::time::sleep(Duration::from_secs_f64((number as f64 * 0.618_034) % 1.0)).await;
        let written = Instant::now();
        sls.put("p", "l", 0, [generator.nginx(1)])?;
        let arrived = tokio::time::timeout(PATIENCE, arrivals.recv()).await?.ok_or("the receiver is gone")?;
        took.push(arrived - written);
    }
    stopper.raise();
    while let Some(ended) = running.join_next().await {
        ended??;
    }

    let mut took = took.split_off(1);
    took.sort_unstable();
    let rank = |percent: usize| took[(took.len() * percent).div_ceil(100).max(1) - 1].as_millis();
    println!(
        "{} logs, from written to indexed: p50 {} ms, p99 {} ms, longest {} ms",
        took.len(),
        rank(50),
        rank(99),
        rank(100)
    );
    Ok(())
}

fn environment(sls: &SlsEmulator, hec: &HecEmulator) -> Environment {
    let pairs = [
        ("SLS_ENDPOINT", format!("http://{}", sls.address())),
        ("SLS_PROJECT", "p".into()),
        ("SLS_LOGSTORE", "l".into()),
        ("SLS_CG", "siem".into()),
        ("SLS_AK_ID", "id".into()),
        ("SLS_AK_KEY", "key".into()),
        ("FORWARDER_HEC_URL", hec.url()),
        ("FORWARDER_HEC_TOKEN", "token".into()),
        ("FORWARDER_SCRIPT", concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/transform.lua").into()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

fn machine() -> Machine {
    Machine {
        hostname: "latency".into(),
        pid: std::process::id(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        home: None,
        now: jiff::Timestamp::now(),
        zone: jiff::tz::TimeZone::system(),
    }
}
