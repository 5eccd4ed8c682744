//! The validated settings that the program uses.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::keys::LogFormat;
use super::start;
use crate::core::destination_name::DestinationName;
use crate::core::wildcard;
use crate::destination::Preview;
use crate::destination::registry::DestinationConfig;
use crate::pipeline::{FetchInterval, OnError, OnReject};
use crate::script;

/// The validated settings that the program uses.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The sources: at least one, with unique names.
    pub sources: Vec<SourceSettings>,
    /// Limits and variables of the script.
    pub hook: script::Config,
    /// When a new version of the script is accepted, and when it is rolled back.
    pub reload: ReloadSettings,
    /// The destinations, at least one.
    pub destinations: Vec<DestinationSettings>,
    /// The directory for the state that survives a restart.
    pub state_dir: PathBuf,
    /// What to do with logs that cannot be delivered.
    pub dead_letters: DeadLetterSettings,
    /// Limits and the stop.
    pub run: RunSettings,
    /// The program's own log.
    pub log: LogSettings,
    /// The address of the admin listener.
    pub admin: AdminListen,
    /// Warnings for the start, one sentence each, without secrets.
    pub warnings: Vec<String>,
}

/// The place at which a process serves its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminListen {
    /// At a socket in the state directory ([`socket_name`]).
    Default,
    /// There, and at a socket in the state directory.
    Tcp(SocketAddr),
    /// At this socket.
    Socket(PathBuf),
}

/// Maximum number of processes with one state directory that have a socket in it.
pub const MAX_SOCKETS: u32 = 64;

/// The socket of the first, second, … process with a state directory.
#[must_use]
pub fn socket_name(number: u32) -> String {
    if number == 1 { "forwarder.sock".to_owned() } else { format!("forwarder-{number}.sock") }
}

/// One logstore to read, or a pattern of logstores.
#[derive(Debug, Clone)]
pub struct SourceSettings {
    /// Its name in logs and metrics.
    pub name: String,
    /// How to reach the logstore.
    pub sls: crate::sls::Config,
    /// The consumer name without its kept id; `None` if the name is given. `sls.consumer` applies without a state
    /// directory.
    pub consumer_prefix: Option<String>,
    /// The script file for its logs.
    pub script: PathBuf,
    /// Where shards without a checkpoint start.
    pub start: start::StartPosition,
    /// Where every shard ends, if it does.
    pub until: Option<start::StartPosition>,
    /// Wait for a project or logstore that does not exist yet.
    pub wait: bool,
    /// Pause between two pulls of a shard without new logs.
    pub fetch_interval: FetchInterval,
    /// Time between two heartbeats.
    pub heartbeat_interval: Duration,
    /// Minimum time between two saves of a shard's checkpoint.
    pub save_interval: Duration,
}

impl SourceSettings {
    /// Whether it reads every logstore of the project that matches a pattern, instead of one.
    #[must_use]
    pub fn is_pattern(&self) -> bool {
        wildcard::has_wildcards(&self.sls.logstore)
    }
}

/// The settings to deliver existing logs, without a source.
#[derive(Debug, Clone)]
pub struct DeliverySettings {
    /// The script file for logs whose source is unknown.
    pub script: Option<PathBuf>,
    /// The sources, as far as their names are given.
    pub sources: Vec<SourceScript>,
    /// Limits and variables of the script.
    pub hook: script::Config,
    /// The destinations, at least one.
    pub destinations: Vec<DestinationSettings>,
    /// Warnings, one sentence each, without secrets.
    pub warnings: Vec<String>,
}

/// The script for the logs of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceScript {
    /// The name of the source.
    pub name: String,
    /// The endpoint of its project; empty if none is given.
    pub endpoint: String,
    /// The project of its logstore.
    pub project: String,
    /// Its logstore, or a pattern of names.
    pub logstore: String,
    /// The script's file.
    pub script: Option<PathBuf>,
}

impl SourceScript {
    /// Whether it reads every logstore that matches a pattern.
    #[must_use]
    pub fn is_pattern(&self) -> bool {
        wildcard::has_wildcards(&self.logstore)
    }
}

/// The settings to try a script: all are optional.
#[derive(Debug, Clone)]
pub struct TrialSettings {
    /// The script's file, if one is named.
    pub script: Option<PathBuf>,
    /// Limits and variables of the script.
    pub hook: script::Config,
    /// The format of each destination.
    pub formats: Vec<(DestinationName, Arc<dyn Preview>)>,
}

/// A destination.
#[derive(Debug, Clone)]
pub struct DestinationSettings {
    /// Its name in events.
    pub name: DestinationName,
    /// The settings of its connection.
    pub config: DestinationConfig,
    /// What to do with an event that it refuses for good.
    pub on_reject: OnReject,
    /// Whether the others continue while it is down.
    pub isolate: bool,
}

/// When a new version of the script is accepted, and when it is rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReloadSettings {
    /// Whether to accept it regardless of its results for the last logs.
    pub force: bool,
    /// When it is rolled back.
    pub rules: script::Rules,
    /// Whether to keep the last good version, and to start with it if the file is broken.
    pub last_good: bool,
}

/// What to do with logs that cannot be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterSettings {
    /// The directory, created if it does not exist.
    pub dir: PathBuf,
    /// Maximum size of its file, in bytes.
    pub max_bytes: u64,
    /// The name of the destination that gets copies of them.
    pub to: Option<DestinationName>,
    /// Whether those of which it has a copy are on disk too.
    pub disk: bool,
    /// A shard is paused if more than this percentage of its logs would become dead letters.
    pub max_share: u32,
    /// What to do with a log that the script fails on.
    pub on_error: OnError,
}

/// Limits and the stop.
#[derive(Debug, Clone)]
pub struct RunSettings {
    /// Time limit of a stop.
    pub drain_timeout: Duration,
    /// Maximum bytes in flight from pull to durable, over all shards.
    pub memory: usize,
    /// Threads that run the script, at least one.
    pub hook_threads: usize,
}

/// The program's own log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// The lowest level that is written.
    pub level: tracing::Level,
    /// Format of a line.
    pub format: LogFormat,
    /// File to write to in addition to standard error.
    pub file: Option<PathBuf>,
}

/// The machine and time at which the settings are read.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its name, for the defaults of `sls.consumer` and `syslog.hostname`.
    pub hostname: String,
    /// Our process id, for the same defaults.
    pub pid: u32,
    /// Cores we may use, for the default of `run.hook_threads`.
    pub cores: usize,
    /// The current time: start positions in the future are errors.
    pub now: Timestamp,
    /// The home directory of our user, with the files of the vendor's tools.
    pub home: Option<PathBuf>,
    /// The local time zone: start positions without an offset are in it, and syslog's old time is written in it.
    pub zone: TimeZone,
}
