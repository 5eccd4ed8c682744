//! An emulated SLS: the calls that a consumer group and a writer need, close enough for the vendor's SDK.
//!
//! The state is pure: [`state`], [`group`], [`shard`] take the time as an argument. [`SlsEmulator`] adds the socket,
//! and [`Faults`] are applied in between.
//!
//! The vendor's Python SDK does not accept an address with a port. With `http_proxy=http://127.0.0.1:PORT` in its
//! environment and any endpoint name over http, its requests reach this emulator, because the project is read from the
//! `Host` header.

mod admin;
mod calls;
mod codec;
mod faults;
pub mod group;
pub mod logstore;
mod pull;
pub mod refusal;
mod reply;
mod server;
mod service;
pub mod shard;
mod spl;
pub mod state;
mod verify;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::core::secret::Secret;
use crate::loggroup::proto::LogGroup;
pub use faults::{Call, Faults, SlsEvent, SlsFault};
pub use group::{Checkpoint, Fence, Save};
use logstore::Logstore;
pub use refusal::Refusal;
use service::Service;
pub use service::Tap;
use state::lock;
use state::{Shape, SlsState};
use verify::{Key, Verifier};

/// The configuration of the emulator.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on; port 0 chooses a free one.
    pub address: SocketAddr,
    /// The AccessKey that requests must be signed with. `None`: signatures are not checked.
    pub keys: Option<(String, Secret)>,
    /// The STS token that must accompany that key.
    pub sts: Option<Secret>,
    /// Whether requests may also be signed with the temporary keys that [`super::credentials`] gives, until they end.
    pub issued: bool,
    /// Shards of a new logstore.
    pub shards: u32,
    /// Project and name of the existing logstores. Empty: every logstore exists.
    pub logstores: Vec<(String, String)>,
    /// Projects that are in another region, and that region.
    pub elsewhere: Vec<(String, String)>,
    /// How long a log is kept, by its receive time.
    pub retention: Duration,
    /// Maximum bytes written to a shard over the wire: everything is kept in memory.
    pub shard_bytes: usize,
    /// Observes the consumers.
    pub tap: Option<Arc<dyn Tap>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            keys: None,
            sts: None,
            issued: false,
            shards: 2,
            logstores: Vec::new(),
            elsewhere: Vec::new(),
            retention: Duration::from_secs(86_400),
            shard_bytes: 256 << 20,
            tap: None,
        }
    }
}

/// A running emulator. It ends when it is dropped.
#[derive(Debug)]
pub struct SlsEmulator {
    address: SocketAddr,
    service: Arc<Service>,
    tasks: JoinSet<()>,
}

impl SlsEmulator {
    /// Starts listening.
    ///
    /// # Errors
    /// The address is in use, or not of this machine.
    pub async fn start(config: Config) -> io::Result<Self> {
        let listener = TcpListener::bind(config.address).await?;
        let address = listener.local_addr()?;
        let Config { sts, keys, issued, .. } = config;
        let key = keys.map(|(id, secret)| Key { id, secret, token: sts });
        let service = Arc::new(Service {
            state: Mutex::new(SlsState::new(Shape {
                shards: config.shards,
                retention: config.retention,
                shard_bytes: config.shard_bytes,
                logstores: config.logstores,
                elsewhere: config.elsewhere,
            })),
            faults: Faults::default(),
            verifier: (key.is_some() || issued).then_some(Verifier { key, issued }),
            tap: config.tap,
            requests: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(server::serve(listener, service.clone()));
        Ok(Self { address, service, tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Appends log groups to a shard, as if they had been written just now. Neither their times nor the shard's limit is
    /// checked.
    ///
    /// # Errors
    /// The logstore or the shard does not exist, or the shard is read-only.
    pub fn put(
        &self,
        project: &str,
        logstore: &str,
        shard: u32,
        groups: impl IntoIterator<Item = LogGroup>,
    ) -> Result<(), Refusal> {
        for group in groups {
            let bytes = group.encode_to_vec();
            self.with(project, logstore, |logstore, now| logstore.append(shard, &bytes, now))?;
        }
        Ok(())
    }

    /// The checkpoint of a shard, if one was saved.
    #[must_use]
    pub fn checkpoint(&self, project: &str, logstore: &str, group: &str, shard: u32) -> Option<Checkpoint> {
        let state = lock(&self.service.state);
        let group = state.known(project, logstore)?.group(group).ok()?;
        group.slots().get(&shard)?.checkpoint.clone()
    }

    /// The saves that a group accepted, oldest first.
    #[must_use]
    pub fn saves(&self, project: &str, logstore: &str, group: &str) -> Vec<Save> {
        let state = lock(&self.service.state);
        let group = state.known(project, logstore).and_then(|logstore| logstore.group(group).ok());
        group.map_or_else(Vec::new, |group| group.saves().cloned().collect())
    }

    /// Cursor numbers of a shard: of the oldest log group, and of the next one to be written.
    #[must_use]
    pub fn range(&self, project: &str, logstore: &str, shard: u32) -> Option<std::ops::Range<i64>> {
        let state = lock(&self.service.state);
        let shard = state.known(project, logstore)?.shard(shard).ok()?;
        Some(shard.begin()..shard.end())
    }

    /// The faults.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.service.faults
    }

    /// Applies an event to a logstore now.
    ///
    /// # Errors
    /// Its target does not exist.
    pub fn happen(&self, project: &str, logstore: &str, event: &SlsEvent) -> Result<(), Refusal> {
        self.with(project, logstore, |logstore, now| admin::happen(logstore, event, now))
    }

    /// Creates a logstore. Once a logstore was created by name, only named ones exist.
    pub fn create_logstore(&self, project: &str, logstore: &str) {
        lock(&self.service.state).create(project, logstore);
    }

    /// Deletes a logstore with all that is in it.
    pub fn delete_logstore(&self, project: &str, logstore: &str) {
        lock(&self.service.state).delete(project, logstore);
    }

    /// Ends every connection and waits until they are gone.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }

    fn with<T>(
        &self,
        project: &str,
        name: &str,
        work: impl FnOnce(&mut Logstore, Duration) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let now = self.service.now();
        let mut state = lock(&self.service.state);
        work(state.logstore(project, name, now)?, now)
    }
}
