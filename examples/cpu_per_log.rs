//! What one log costs the whole program: lz4, protobuf, script, encoding and HTTP, in computing time of its process.
//!
//! ```text
//! cargo build --release --locked
//! cargo run --release --locked --example cpu_per_log -- audit
//! cargo run --release --locked --example cpu_per_log -- nginx 300000
//! ```
//!
//! Arguments: the corpus (`audit`, `nginx`), the logs to send (300000), the script (`scripts/transform.lua`).
//!
//! The emulators of SLS and Splunk run here; the `forwarder` beside this example runs as a child, as a user would start
//! it, without gzip. When every event has arrived and every checkpoint is at its shard's end, it is told to stop, and
//! the kernel tells what it used, from its start to its end. Nothing is subtracted.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use forwarder::core::secret::Secret;
use forwarder::emulator::generate::Generator;
use forwarder::emulator::hec;
use forwarder::emulator::hec::{HecEmulator, Keep};
use forwarder::emulator::sls;
use forwarder::emulator::sls::SlsEmulator;

const PROJECT: &str = "bench";
const LOGSTORE: &str = "bench";
const GROUP: &str = "bench";
const TOKEN: &str = "00000000-0000-4000-8000-000000000000";

/// Logs in a group, as a busy Logtail would send them.
const GROUP_LOGS: u64 = 50;
const SHARDS: u32 = 4;
/// Longest time without any progress.
const PATIENCE: Duration = Duration::from_secs(60);
const GLANCE: Duration = Duration::from_millis(20);

fn main() -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(text)?;
    runtime.block_on(measure(&Args::read()?))
}

struct Args {
    audit: bool,
    logs: u64,
    script: String,
}

impl Args {
    fn read() -> Result<Self, String> {
        let mut args = std::env::args().skip(1);
        let audit = match args.next().as_deref() {
            Some("audit") => true,
            Some("nginx") => false,
            _ => return Err("usage: cpu_per_log audit|nginx [LOGS] [SCRIPT]".into()),
        };
        let logs = args.next().map_or(Ok(300_000), |logs| logs.parse().map_err(|_| "LOGS is no number".to_owned()))?;
        Ok(Self { audit, logs, script: args.next().unwrap_or_else(|| "scripts/transform.lua".into()) })
    }
}

async fn measure(args: &Args) -> Result<(), String> {
    let sls = SlsEmulator::start(sls::Config { shards: SHARDS, ..sls::Config::default() }).await.map_err(text)?;
    let mut receiver = hec::Config::new(Secret::new(TOKEN));
    receiver.keep = Keep::Last(1);
    let hec = HecEmulator::start(receiver).await.map_err(text)?;
    let content = fill(&sls, args)?;

    let started = Instant::now();
    let mut child = Running(start(&sls, &hec, args)?);
    let mut progressed = (Instant::now(), 0);
    loop {
        tokio::time::sleep(GLANCE).await;
        if let Some(ended) = child.0.try_wait().map_err(text)? {
            return Err(format!("forwarder ended by itself: {ended}"));
        }
        let arrived = hec.counts().events;
        if arrived != progressed.1 {
            progressed = (Instant::now(), arrived);
        }
        if arrived >= args.logs && (0..SHARDS).all(|shard| is_saved(&sls, shard)) {
            break;
        }
        if progressed.0.elapsed() > PATIENCE {
            return Err(format!("no progress for {PATIENCE:?} at {arrived} of {} events", args.logs));
        }
    }
    let wall = progressed.0 - started;
    let used = child.stop()?;
    let counts = hec.counts();
    if counts.events != args.logs {
        return Err(format!(
            "{} events of {} logs arrived; a script that drops or splits logs cannot be measured",
            counts.events, args.logs
        ));
    }

    let each = |amount: f64| amount / args.logs as f64;
    println!("corpus           {}", if args.audit { "audit" } else { "nginx" });
    println!("script           {}", args.script);
    println!("logs             {}", args.logs);
    println!("keys and values  {content} bytes, {:.0} a log", each(content as f64));
    println!(
        "HTTP bodies      {} bytes in {} requests, {:.0} a log",
        counts.body_bytes,
        counts.requests,
        each(counts.body_bytes as f64)
    );
    println!(
        "wall             {:.2} s from the start to the last event, {:.0} logs/s",
        wall.as_secs_f64(),
        args.logs as f64 / wall.as_secs_f64()
    );
    println!("memory           {} MB at most", used.memory_kib / 1024);
    let micros = |spent: Duration| each(spent.as_secs_f64() * 1e6);
    println!(
        "CPU per log      {:.2} µs ({:.2} user, {:.2} system)",
        micros(used.user + used.system),
        micros(used.user),
        micros(used.system)
    );
    Ok(())
}

/// Writes the logs in turns over the shards; returns the bytes of their keys and values.
fn fill(sls: &SlsEmulator, args: &Args) -> Result<usize, String> {
    let mut generator = Generator::new(1, 1_700_000_000);
    let (mut left, mut turn, mut content) = (args.logs, 0, 0);
    while left > 0 {
        let count = left.min(GROUP_LOGS);
        left -= count;
        let group = if args.audit { generator.audit(count as usize) } else { generator.nginx(count as usize) };
        let pairs = group.logs.iter().flat_map(|log| &log.contents);
        content += pairs.map(|pair| pair.key.len() + pair.value.len()).sum::<usize>();
        sls.put(PROJECT, LOGSTORE, turn % SHARDS, [group]).map_err(text)?;
        turn += 1;
    }
    Ok(content)
}

fn start(sls: &SlsEmulator, hec: &HecEmulator, args: &Args) -> Result<Child, String> {
    let mut binary: PathBuf = std::env::current_exe().map_err(text)?;
    binary.pop();
    binary.set_file_name("forwarder");
    if !binary.exists() {
        return Err(format!("{} is missing: run `cargo build --release --locked` first", binary.display()));
    }
    Command::new(binary)
        .env_clear()
        .env("SLS_ENDPOINT", format!("http://{}", sls.address()))
        .env("SLS_PROJECT", PROJECT)
        .env("SLS_LOGSTORE", LOGSTORE)
        .env("SLS_CG", GROUP)
        .env("SLS_AK_ID", "bench-key-id")
        .env("SLS_AK_KEY", "bench-key-secret")
        .env("FORWARDER_SLS_HEARTBEAT_INTERVAL", "5s")
        .env("FORWARDER_HEC_URL", hec.url())
        .env("FORWARDER_HEC_TOKEN", TOKEN)
        .env("FORWARDER_HEC_GZIP", "false")
        .env("FORWARDER_SCRIPT", &args.script)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(text)
}

fn is_saved(sls: &SlsEmulator, shard: u32) -> bool {
    let saved = sls.checkpoint(PROJECT, LOGSTORE, GROUP, shard).map(|checkpoint| checkpoint.cursor);
    saved == sls.range(PROJECT, LOGSTORE, shard).map(|range| range.end)
}

/// The program; killed when something here fails.
struct Running(Child);

struct Used {
    user: Duration,
    system: Duration,
    memory_kib: u64,
}

impl Running {
    /// Asks it to stop, waits, and asks the kernel for what it used.
    #[expect(unsafe_code, reason = "asks the kernel what a process used")]
    fn stop(&mut self) -> Result<Used, String> {
        let memory_kib = self.peak_kib()?;
        let pid = i32::try_from(self.0.id()).map_err(text)?;
        // SAFETY: plain system calls with valid arguments; the child was not waited for, so the number is its own, and
        // a zeroed `rusage` is valid.
        let usage = unsafe {
            libc::kill(pid, libc::SIGTERM);
            let mut usage: libc::rusage = std::mem::zeroed();
            let ended = self.0.wait().map_err(text)?;
            if !ended.success() {
                return Err(format!("forwarder did not stop well: {ended}"));
            }
            libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
            usage
        };
        let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
        Ok(Used { user: time(usage.ru_utime), system: time(usage.ru_stime), memory_kib })
    }

    /// Its largest resident memory so far. The `ru_maxrss` of a child begins with that of its parent.
    fn peak_kib(&self) -> Result<u64, String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).map_err(text)?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak.ok_or("the kernel does not tell the memory of the program")?.parse().map_err(text)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
