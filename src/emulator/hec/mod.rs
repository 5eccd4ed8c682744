//! A HEC receiver with Splunk's reply semantics, and with faults on demand.
//!
//! It answers as Splunk 10.4 was measured to (and as its manuals say, where that is silent): reply codes, the number of
//! the bad event, the prefix that is indexed nevertheless, ack ids per channel. It indexes nothing: it counts, and
//! keeps events as configured ([`Keep`]). It speaks plain HTTP, for a loopback address.

mod acks;
mod collector;
mod control;
mod faults;
mod indexers;
mod parse;
mod received;
mod reply;
mod serve;
mod shared;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use faults::{Canned, CannedError, Cut, Dislike, HecFault, On};
pub use received::{Counts, Keep, Received, Tap};

use crate::core::secret::Secret;
use collector::{Collector, Settings};
use received::Store;
use shared::CollectorShared;

/// The behaviour of the collector without faults.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 picks a free one.
    pub address: SocketAddr,
    /// The one valid token.
    pub token: Secret,
    /// Whether the token has indexer acknowledgement: every request needs a channel and gets an ack id.
    pub use_ack: bool,
    /// How long after a request its ack becomes `true`.
    pub ack_after: Duration,
    /// The token's index allow-list; `None` silently accepts every name, as Splunk does with an empty list.
    pub indexes: Option<Vec<String>>,
    /// Indexers behind one address, each with ack ids of its own. With more than one, every reply sets the cookie of a
    /// sticky load balancer (`AWSALB`), and a request without it reaches the next indexer in turn.
    pub indexers: usize,
    /// Whether events are indexed only when their ack becomes `true`, so that an indexer that dies ([`Faults::kill`])
    /// loses its accepted events; otherwise at once.
    pub queue: bool,
    /// How many received events stay in memory.
    pub keep: Keep,
    /// Observes every event as it is indexed.
    pub tap: Option<Arc<dyn Tap>>,
    /// Maximum size of a request's body in bytes, before and after unpacking; a longer one gets 413
    /// (`max_content_length` in limits.conf).
    pub max_content_length: usize,
    /// Maximum size of one event's JSON in bytes; a longer one gets code 6 (`maxEventSize` in inputs.conf).
    pub max_event: usize,
    /// How long a connection may wait for a request (`busyKeepAliveIdleTimeout` in inputs.conf).
    pub idle: Duration,
}

impl Config {
    /// Splunk's defaults, on a free port of the loopback address, with acks off and everything kept.
    #[must_use]
    pub fn new(token: Secret) -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            token,
            use_ack: false,
            ack_after: Duration::from_secs(1),
            indexes: None,
            indexers: 1,
            queue: false,
            keep: Keep::All,
            tap: None,
            max_content_length: 838_860_800,
            max_event: 5 * 1024 * 1024,
            idle: Duration::from_secs(12),
        }
    }
}

/// A running collector. Dropping it ends it and its connections.
#[derive(Debug)]
pub struct HecEmulator {
    address: SocketAddr,
    shared: Arc<CollectorShared>,
    tasks: JoinSet<()>,
}

impl HecEmulator {
    /// Starts listening.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn start(config: Config) -> io::Result<Self> {
        let listener = TcpListener::bind(config.address).await?;
        let address = listener.local_addr()?;
        let settings = Settings {
            use_ack: config.use_ack,
            ack_after: config.ack_after,
            indexes: config.indexes,
            indexers: config.indexers,
            queue: config.queue,
            max_content_length: config.max_content_length,
            max_event: config.max_event,
            tap: config.tap,
        };
        let collector = Collector::new(settings, config.token, Store::new(config.keep));
        let shared = Arc::new(CollectorShared::new(collector));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve::listen(listener, address, config.idle, shared.clone()));
        Ok(Self { address, shared, tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The value for the senders' `url` setting.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The events that are kept, oldest first.
    #[must_use]
    pub fn received(&self) -> Vec<Received<'static>> {
        self.shared.collector.settle(Instant::now());
        self.shared.collector.state().store.kept()
    }

    /// The counts since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.collector.settle(Instant::now());
        self.shared.collector.state().store.counts.clone()
    }

    /// A handle to control faults.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults { shared: self.shared.clone() }
    }

    /// Stops listening, cuts all connections and waits until they have ended.
    ///
    /// # Panics
    /// When one of its tasks has panicked.
    pub async fn stop(mut self) {
        self.tasks.abort_all();
        while let Some(ended) = self.tasks.join_next().await {
            serve::propagate_panic(ended);
        }
    }
}

/// The faults of a [`HecEmulator`]. Clones control the same one.
#[derive(Debug, Clone)]
pub struct Faults {
    shared: Arc<CollectorShared>,
}

impl Faults {
    /// The next `times` requests that bring events get `fault`, after the faults scripted before.
    pub fn next(&self, fault: HecFault, times: u64) {
        self.next_on(On::Events, fault, times);
    }

    /// The same for requests of a kind.
    pub fn next_on(&self, on: On, fault: HecFault, times: u64) {
        self.shared.collector.state().faults.next(on, fault, times);
    }

    /// Requests of a kind get `fault` for this time, unless another is scripted for them.
    pub fn during(&self, on: On, fault: HecFault, duration: Duration) {
        self.shared.collector.state().faults.until(on, fault, Instant::now() + duration);
    }

    /// From now on, requests with such bodies have `fault`, as if a device between sender and collector rejected
    /// them.
    pub fn inspect(&self, dislike: Dislike, fault: HecFault) {
        self.shared.collector.state().faults.inspect(dislike, fault);
    }

    /// Every request, including the health check, is answered with 503 for this time.
    pub fn down_for(&self, duration: Duration) {
        self.during(On::All, HecFault::busy(), duration);
    }

    /// Connections are dropped and refused for this time.
    pub fn refuse_for(&self, duration: Duration) {
        self.shared.refuse_until(Some(Instant::now() + duration));
    }

    /// An indexer dies, loses its acks and the events that it has accepted but not indexed, and restarts empty after
    /// this time. While no other is alive, connections are refused.
    pub fn kill(&self, indexer: usize, duration: Duration) {
        self.shared.kill(indexer, Instant::now() + duration);
    }

    /// Closes idle connections now, and busy ones after their reply.
    pub fn close_idle(&self) {
        self.shared.close_idle();
    }

    /// Makes another token the valid one.
    pub fn rotate_token(&self, token: Secret) {
        self.shared.collector.state().token = token;
    }

    /// The number of scripted faults that no request got yet.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.shared.collector.state().faults.pending()
    }

    /// Clears every fault and listens again. The token is kept.
    pub fn clear(&self) {
        self.shared.clear_faults();
    }
}
