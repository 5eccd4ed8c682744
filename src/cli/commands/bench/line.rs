//! The whole program as a child process, from an emulated SLS to an emulated receiver.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::corpus::{Corpus, GROUP_LOGS, Kind};
use super::{cpu, identity};
use crate::core::secret::Secret;
use crate::emulator::hec;
use crate::emulator::hec::{HecEmulator, Keep};
use crate::emulator::sls;
use crate::emulator::sls::SlsEmulator;
use crate::emulator::syslog;
use crate::emulator::syslog::{Protocol, SyslogEmulator};

const PROJECT: &str = "bench-project";
const LOGSTORE: &str = "bench";
const GROUP: &str = "bench";
/// Not a real secret: the emulators listen on the loopback address and hold only generated logs.
const TOKEN: &str = "00000000-0000-4000-8000-000000000000";

/// How often the progress is checked, and the longest time without progress.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The receiver of the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Hec,
    HecGzip,
    HecAcks,
    HecGzipAcks,
    Syslog(Protocol),
}

impl To {
    pub(super) const ALL: [Self; 7] = [
        Self::Hec,
        Self::HecGzip,
        Self::HecAcks,
        Self::HecGzipAcks,
        Self::Syslog(Protocol::Tcp),
        Self::Syslog(Protocol::Tls),
        Self::Syslog(Protocol::Relp),
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hec => "HEC",
            Self::HecGzip => "HEC, gzip",
            Self::HecAcks => "HEC, acknowledged",
            Self::HecGzipAcks => "HEC, gzip, acknowledged",
            Self::Syslog(Protocol::Tls) => "syslog over TLS, confirmed",
            Self::Syslog(Protocol::Relp) => "syslog over RELP",
            Self::Syslog(_) => "syslog over TCP, confirmed",
        }
    }

    /// The script that comes with the program for this kind of receiver.
    pub(super) fn default_script(self) -> &'static Path {
        match self {
            Self::Syslog(_) => Path::new("scripts/syslog.lua"),
            Self::Hec | Self::HecGzip | Self::HecAcks | Self::HecGzipAcks => Path::new("scripts/transform.lua"),
        }
    }

    fn has_gzip(self) -> bool {
        matches!(self, Self::HecGzip | Self::HecGzipAcks)
    }

    fn has_acks(self) -> bool {
        matches!(self, Self::HecAcks | Self::HecGzipAcks)
    }
}

/// The result of one run of the program.
pub(super) struct Line {
    pub(super) to: To,
    /// CPU time per log in nanoseconds, from the start of the process to its end.
    pub(super) cpu: f64,
    /// Logs per second, from the start to the last checkpoint.
    pub(super) logs_per_second: f64,
    /// The peak memory, in MiB.
    pub(super) memory: u64,
    /// Megabytes of messages per connection after the first: what each proof of delivery over TCP and TLS covered.
    pub(super) proven: Option<f64>,
}

/// Delivers this many logs from this many shards.
///
/// # Errors
/// It does not finish.
pub(super) async fn measure(kind: Kind, to: To, script: &Path, shards: u32, logs: u64) -> Result<Line, String> {
    let text = |error: std::io::Error| format!("the emulators cannot listen: {error}");
    let sls = SlsEmulator::start(sls::Config { shards, ..sls::Config::default() }).await.map_err(text)?;
    let receiver = Receiver::start(to).await.map_err(text)?;
    let logs = fill(&sls, kind, shards, logs)?;
    let before = cpu::of_children()?;
    let began = Instant::now();
    let mut child = Running(start(&sls, &receiver, script)?);
    let mut progressed = (began, 0);
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        if let Some(ended) = child.0.try_wait().map_err(|error| error.to_string())? {
            return Err(format!("the program ended by itself ({ended}); run it to see why"));
        }
        let arrived = receiver.arrived();
        if (0..shards).all(|shard| is_saved(&sls, shard)) {
            break;
        }
        if arrived != progressed.1 {
            progressed = (Instant::now(), arrived);
        }
        if progressed.0.elapsed() > STALL_TIMEOUT {
            return Err(format!("no progress for {STALL_TIMEOUT:?} at {arrived} events of {logs} logs"));
        }
    }
    let took = began.elapsed();
    let memory = cpu::peak_memory(&child.0)?;
    // Everything is saved, so a regular stop is not needed.
    drop(child);
    let cpu = cpu::of_children()?.saturating_sub(before);
    let proven = receiver.proven();
    receiver.stop().await;
    sls.stop().await;
    Ok(Line {
        to,
        cpu: cpu.as_nanos() as f64 / logs as f64,
        logs_per_second: logs as f64 / took.as_secs_f64(),
        memory,
        proven,
    })
}

/// Writes complete groups into the shards in turn; returns the number of logs.
fn fill(sls: &SlsEmulator, kind: Kind, shards: u32, logs: u64) -> Result<u64, String> {
    let mut corpus = Corpus::new(kind);
    let groups = logs.div_ceil(GROUP_LOGS as u64);
    for turn in 0..groups {
        let shard = u32::try_from(turn % u64::from(shards)).unwrap_or_default();
        sls.put(PROJECT, LOGSTORE, shard, [corpus.group()]).map_err(|refusal| refusal.to_string())?;
    }
    Ok(groups * GROUP_LOGS as u64)
}

fn start(sls: &SlsEmulator, receiver: &Receiver, script: &Path) -> Result<Child, String> {
    let binary = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    Command::new(binary)
        .env_clear()
        .env("SLS_ENDPOINT", format!("http://{}", sls.address()))
        .env("SLS_PROJECT", PROJECT)
        .env("SLS_LOGSTORE", LOGSTORE)
        .env("SLS_CG", GROUP)
        .env("SLS_AK_ID", "bench-key-id")
        .env("SLS_AK_KEY", "bench-key-secret")
        .env("FORWARDER_SLS_HEARTBEAT_INTERVAL", "5s")
        .env("FORWARDER_SLS_START", "begin")
        .env("FORWARDER_SCRIPT", script)
        .envs(receiver.environment())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot start the program: {error}"))
}

fn is_saved(sls: &SlsEmulator, shard: u32) -> bool {
    let saved = sls.checkpoint(PROJECT, LOGSTORE, GROUP, shard).map(|checkpoint| checkpoint.cursor);
    saved == sls.range(PROJECT, LOGSTORE, shard).map(|range| range.end)
}

/// The program; it is killed on drop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Its name in the settings.
fn protocol_name(protocol: Protocol) -> String {
    let value = clap::ValueEnum::to_possible_value(&protocol);
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

enum Receiver {
    Hec(HecEmulator, To),
    Syslog(SyslogEmulator, Protocol),
}

impl Receiver {
    async fn start(to: To) -> std::io::Result<Self> {
        if let To::Syslog(protocol) = to {
            let identity = (protocol == Protocol::Tls).then(identity::new).transpose()?;
            let config = syslog::Config { keep: 1, identity, ..syslog::Config::new(protocol) };
            return Ok(Self::Syslog(SyslogEmulator::start(config).await?, protocol));
        }
        let use_ack = to.has_acks();
        let config = hec::Config { keep: Keep::Last(1), use_ack, ..hec::Config::new(Secret::new(TOKEN)) };
        Ok(Self::Hec(HecEmulator::start(config).await?, to))
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Hec(hec, to) => vec![
                ("FORWARDER_HEC_URL", hec.url()),
                ("FORWARDER_HEC_TOKEN", TOKEN.to_owned()),
                ("FORWARDER_HEC_GZIP", to.has_gzip().to_string()),
                ("FORWARDER_HEC_ACK", to.has_acks().to_string()),
            ],
            Self::Syslog(syslog, protocol) => [
                ("FORWARDER_SYSLOG_HOST", syslog.address().ip().to_string()),
                ("FORWARDER_SYSLOG_PORT", syslog.address().port().to_string()),
                ("FORWARDER_SYSLOG_PROTOCOL", protocol_name(*protocol)),
            ]
            .into_iter()
            // The certificate was made for this run, so no authority can verify it.
            .chain((*protocol == Protocol::Tls).then(|| ("FORWARDER_SYSLOG_VERIFY", "false".to_owned())))
            .collect(),
        }
    }

    fn arrived(&self) -> u64 {
        match self {
            Self::Hec(hec, _) => hec.counts().events,
            Self::Syslog(syslog, _) => syslog.counts().messages,
        }
    }

    fn proven(&self) -> Option<f64> {
        let Self::Syslog(syslog, Protocol::Tcp | Protocol::Tls) = self else { return None };
        let counts = syslog.counts();
        Some(counts.bytes as f64 / 1e6 / counts.connections.saturating_sub(1).max(1) as f64)
    }

    async fn stop(self) {
        match self {
            Self::Hec(hec, _) => hec.stop().await,
            Self::Syslog(syslog, _) => syslog.stop().await,
        }
    }
}
