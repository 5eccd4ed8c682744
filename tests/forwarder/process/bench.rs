//! An SLS, a Splunk, and an oracle that observes both.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use forwarder::core::secret::Secret;
use forwarder::emulator::generate::Generator;
use forwarder::emulator::hec;
use forwarder::emulator::hec::{HecEmulator, Keep};
use forwarder::emulator::sls;
use forwarder::emulator::sls::{SlsEmulator, SlsEvent};
use forwarder::loggroup::proto::LogGroup;
use tempfile::TempDir;

use super::oracle::Oracle;
use super::program::Program;

pub const PROJECT: &str = "p";
pub const LOGSTORE: &str = "l";
pub const GROUP: &str = "siem";
pub const TOKEN: &str = "0f0e0d0c-t0ken-of-the-tests";
pub const KEY_SECRET: &str = "s3cret-of-the-tests";

/// Time between two heartbeats in these tests.
pub const BEAT: Duration = Duration::from_secs(1);

const SCRIPT: &str = "function process(log) return { event = log } end\n";

pub struct Bench {
    pub sls: SlsEmulator,
    pub hec: HecEmulator,
    pub oracle: Arc<Oracle>,
    pub directory: TempDir,
    shards: u32,
    generator: Mutex<(Generator, u64)>,
}

/// The configuration of the two servers without faults.
pub fn servers(shards: u32) -> (sls::Config, hec::Config) {
    let keys = Some(("key-id".to_owned(), Secret::new(KEY_SECRET)));
    let sls = sls::Config { keys, shards, ..sls::Config::default() };
    let mut hec = hec::Config::new(Secret::new(TOKEN));
    hec.keep = Keep::Last(0);
    (sls, hec)
}

impl Bench {
    /// A logstore with two shards.
    pub async fn new() -> Self {
        Self::with(servers(2)).await
    }

    pub async fn with((mut sls, mut hec): (sls::Config, hec::Config)) -> Self {
        let oracle = Arc::<Oracle>::default();
        let shards = sls.shards;
        sls.tap = Some(Arc::clone(&oracle) as _);
        hec.tap.get_or_insert(Arc::clone(&oracle) as _);
        let sls = SlsEmulator::start(sls).await.unwrap();
        let hec = HecEmulator::start(hec).await.unwrap();
        // The first mention of a logstore creates it.
        sls.happen(PROJECT, LOGSTORE, &SlsEvent::Expire { shard: 0, keep: 0 }).unwrap();
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("t.lua"), SCRIPT).unwrap();
        let generator = Mutex::new((Generator::new(7, 1_800_000_000), 0));
        Self { sls, hec, oracle, directory, shards, generator }
    }

    /// Writes `groups` groups of `logs` logs to a shard.
    pub fn put(&self, shard: u32, groups: u64, logs: u64) {
        let mut generator = self.generator.lock().unwrap();
        let (generator, next) = &mut *generator;
        for _ in 0..groups {
            let ids = (*next..*next + logs).map(|number| generator.nginx_id(number)).collect();
            *next += logs;
            self.oracle.expect(shard, self.end(shard), ids);
            let group = generator.nginx(usize::try_from(logs).unwrap());
            self.sls.put(PROJECT, LOGSTORE, shard, [group]).unwrap();
        }
    }

    /// Writes a group of `logs` logs to a shard. `change` may change everything except their ids.
    pub fn put_changed(&self, shard: u32, logs: u64, change: impl FnOnce(&mut LogGroup)) {
        let mut generator = self.generator.lock().unwrap();
        let (generator, next) = &mut *generator;
        let ids = (*next..*next + logs).map(|number| generator.nginx_id(number)).collect();
        *next += logs;
        self.oracle.expect(shard, self.end(shard), ids);
        let mut group = generator.nginx(usize::try_from(logs).unwrap());
        change(&mut group);
        self.sls.put(PROJECT, LOGSTORE, shard, [group]).unwrap();
    }

    /// The cursor that the next group of a shard gets.
    pub fn end(&self, shard: u32) -> i64 {
        self.sls.range(PROJECT, LOGSTORE, shard).expect("the shard is there").end
    }

    pub fn checkpoint(&self, shard: u32) -> Option<i64> {
        self.sls.checkpoint(PROJECT, LOGSTORE, GROUP, shard).map(|checkpoint| checkpoint.cursor)
    }

    /// Starts the program as consumer `name`.
    pub fn start(&self, name: &str) -> Program {
        self.start_with(name, &[])
    }

    /// Starts it with these additional settings.
    pub fn start_with(&self, name: &str, settings: &[(&str, &str)]) -> Program {
        let mut command = command(self.directory.path(), &self.sls_endpoint());
        command.env("FORWARDER_SLS_CONSUMER", name).env("FORWARDER_HEC_URL", self.hec.url());
        command.envs(settings.iter().copied());
        Program::start(name, command)
    }

    pub fn sls_endpoint(&self) -> String {
        format!("http://{}", self.sls.address())
    }

    pub async fn all_arrived(&self) {
        let all = || self.oracle.arrived() == self.oracle.expected();
        let state = || format!("{} of {} logs have arrived", self.oracle.arrived(), self.oracle.expected());
        until_or("all logs arrive", 60, all, state).await;
    }

    /// Waits until everything has arrived and is saved; the oracle must have seen no error.
    pub async fn settled(&self) {
        self.all_arrived().await;
        let at_end = |shard: u32| self.checkpoint(shard) == Some(self.end(shard));
        let state = || {
            let all: Vec<_> = (0..self.shards).map(|shard| (self.checkpoint(shard), self.end(shard))).collect();
            format!("checkpoint and end of each shard: {all:?}")
        };
        until_or("every checkpoint is at the end of its shard", 30, || (0..self.shards).all(at_end), state).await;
        self.nothing_wrong();
    }

    pub fn nothing_wrong(&self) {
        let none: [String; 0] = [];
        assert_eq!(self.oracle.wrongs(), none);
    }
}

/// The program with the settings that all tests share, and without our environment.
pub fn command(directory: &Path, sls_endpoint: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forwarder"));
    command.env_clear().current_dir(directory).envs([
        ("SLS_ENDPOINT", sls_endpoint),
        ("SLS_PROJECT", PROJECT),
        ("SLS_LOGSTORE", LOGSTORE),
        ("SLS_CG", GROUP),
        ("SLS_AK_ID", "key-id"),
        ("SLS_AK_KEY", KEY_SECRET),
        ("FORWARDER_SCRIPT", "t.lua"),
        ("FORWARDER_HEC_TOKEN", TOKEN),
        ("FORWARDER_SLS_HEARTBEAT_INTERVAL", "1s"),
        ("FORWARDER_SLS_GROUP_TIMEOUT", "4s"),
        ("FORWARDER_SLS_FETCH_INTERVAL", "100ms"),
        ("FORWARDER_SLS_SAVE_INTERVAL", "100ms"),
    ]);
    command
}

/// How many times longer than on a quiet machine a wait may take: other tests and programs run at the same time.
const BUSY: u64 = 4;

/// Waits for something to become true, which takes at most this many seconds on a quiet machine.
pub async fn until(what: &str, seconds: u64, is_true: impl FnMut() -> bool) {
    until_or(what, seconds, is_true, String::new).await;
}

/// The same, with more text for the failure message.
pub async fn until_or(what: &str, seconds: u64, mut is_true: impl FnMut() -> bool, state: impl Fn() -> String) {
    let (started, seconds) = (Instant::now(), seconds * BUSY);
    while !is_true() {
        assert!(started.elapsed() < Duration::from_secs(seconds), "not within {seconds} s: {what}; {}", state());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
