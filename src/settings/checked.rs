//! What the program uses: checked, and without maybes.

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

/// What the program uses: checked, and without maybes.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where logs come from: at least one, no two of one name.
    pub sources: Vec<SourceSettings>,
    /// What the script may use and see.
    pub hook: script::Config,
    /// When a new version of the script is loaded, and when it is rolled back.
    pub reload: ReloadSettings,
    /// The destinations, at least one.
    pub destinations: Vec<DestinationSettings>,
    /// The directory for what makes the next start better.
    pub state_dir: PathBuf,
    /// What becomes of logs that cannot be delivered.
    pub dead_letters: DeadLetterSettings,
    /// Pace, limits and the way out.
    pub run: RunSettings,
    /// The program's own log.
    pub log: LogSettings,
    /// Where to answer questions about how the program does.
    pub admin: AdminListen,
    /// What is allowed and should be said at start, one sentence each, without secrets.
    pub warnings: Vec<String>,
}

/// Where a process is asked how it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminListen {
    /// At a socket in the state directory ([`socket_name`]).
    Default,
    /// There, and at a socket in the state directory.
    Tcp(SocketAddr),
    /// At this socket.
    Socket(PathBuf),
}

/// Most processes with one state directory that have a socket in it.
pub const MOST_SOCKETS: u32 = 64;

/// The socket of the first, second, … process with a state directory.
#[must_use]
pub fn socket_name(number: u32) -> String {
    if number == 1 { "admin.sock".to_owned() } else { format!("admin-{number}.sock") }
}

/// One logstore to read, or a pattern of logstores.
#[derive(Debug, Clone)]
pub struct SourceSettings {
    /// What it is called in logs and metrics.
    pub name: String,
    /// How to reach the logstore.
    pub sls: crate::sls::Config,
    /// The consumer name but for an id that outlives the process; `None` when the name is given. `sls.consumer` is what holds
    /// without a state directory.
    pub consumer_prefix: Option<String>,
    /// The file of the script for its logs.
    pub script: PathBuf,
    /// Where shards without a checkpoint start.
    pub start: start::StartPosition,
    /// Where every shard ends, if it does.
    pub until: Option<start::StartPosition>,
    /// Wait for a project or logstore that is not there yet.
    pub wait: bool,
    /// Pause between two looks at a shard that has nothing new.
    pub fetch_interval: FetchInterval,
    /// Time between two heartbeats.
    pub heartbeat_interval: Duration,
    /// Least time between two saves of a shard's checkpoint.
    pub save_interval: Duration,
}

impl SourceSettings {
    /// Whether it reads every logstore of the project that a pattern stands for, not one.
    #[must_use]
    pub fn is_pattern(&self) -> bool {
        wildcard::has_wildcards(&self.sls.logstore)
    }
}

/// What it takes to deliver logs that are at hand.
#[derive(Debug, Clone)]
pub struct DeliverySettings {
    /// The file of the script for logs of which no source is known.
    pub script: Option<PathBuf>,
    /// The sources, as far as their names are given.
    pub sources: Vec<SourceScript>,
    /// What the script may use and see.
    pub hook: script::Config,
    /// The destinations, at least one.
    pub destinations: Vec<DestinationSettings>,
    /// What is allowed and should be said, one sentence each, without secrets.
    pub warnings: Vec<String>,
}

/// Which script is for the logs of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceScript {
    /// What the source is called.
    pub name: String,
    /// The project of its logstore.
    pub project: String,
    /// Its logstore, or a pattern of names.
    pub logstore: String,
    /// The script's file.
    pub script: Option<PathBuf>,
}

impl SourceScript {
    /// Whether it reads every logstore that a pattern stands for.
    #[must_use]
    pub fn is_pattern(&self) -> bool {
        wildcard::has_wildcards(&self.logstore)
    }

    /// What the source is called that reads this logstore of it.
    #[must_use]
    pub fn name_of(&self, logstore: &str) -> String {
        match (self.is_pattern(), wildcard::has_wildcards(&self.name)) {
            (true, true) => logstore.to_owned(),
            (true, false) => format!("{}.{logstore}", self.name),
            (false, _) => self.name.clone(),
        }
    }
}

/// What it takes to try a script: nothing has to be given.
#[derive(Debug, Clone)]
pub struct TrialSettings {
    /// The script's file, if one is named.
    pub script: Option<PathBuf>,
    /// What the script may use and see.
    pub hook: script::Config,
    /// What events look like at each destination.
    pub formats: Vec<(DestinationName, Arc<dyn Preview>)>,
}

/// A destination.
#[derive(Debug, Clone)]
pub struct DestinationSettings {
    /// What events call it.
    pub name: DestinationName,
    /// How to reach it.
    pub config: DestinationConfig,
    /// What to do with an event that it refuses for good.
    pub on_reject: OnReject,
    /// The others go on while it is down.
    pub isolate: bool,
}

/// When a new version of the script is loaded, and when it is rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReloadSettings {
    /// Whatever it makes of the last logs.
    pub force: bool,
    /// When it fails on too many.
    pub rules: script::Rules,
    /// Keep the last good version, and start with it when the file has a broken one.
    pub last_good: bool,
}

/// What becomes of logs that cannot be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterSettings {
    /// The directory, created when it is not there.
    pub dir: PathBuf,
    /// Most bytes in its file.
    pub max_bytes: u64,
    /// The destination that gets copies of them: one of those that there are.
    pub to: Option<DestinationName>,
    /// A shard of which a larger share of logs, in percent, would become dead letters is held instead.
    pub max_share: u32,
    /// What to do with a log that the script fails on.
    pub on_error: OnError,
}

/// Pace, limits and the way out.
#[derive(Debug, Clone)]
pub struct RunSettings {
    /// How long a stop may take.
    pub drain_timeout: Duration,
    /// Most bytes under way from pull to durable, over all shards.
    pub memory: usize,
    /// Threads that run the script, at least one.
    pub hook_threads: usize,
}

/// The program's own log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Events below it are not written.
    pub level: tracing::Level,
    /// Form of a line.
    pub format: LogFormat,
    /// File to write to besides standard error.
    pub file: Option<PathBuf>,
}

/// What the settings need to know about where and when they are read.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its name, for the defaults of `sls.consumer` and `syslog.hostname`.
    pub hostname: String,
    /// Our process, likewise.
    pub pid: u32,
    /// Cores we may use, for the default of `run.hook_threads`.
    pub cores: usize,
    /// Now: start positions in the future are mistakes.
    pub now: Timestamp,
    /// The home directory of our user, where the vendor's tools keep their files.
    pub home: Option<PathBuf>,
    /// The local time zone: start positions without an offset are in it, and syslog's old time is written in it.
    pub zone: TimeZone,
}
