//! Splunk over the HTTP Event Collector (HEC).
//!
//! [`HecFormat`] lays events out, and [`Hec`] sends them. The decisions are pure: [`reply`] says what a reply means, [`suspicion`]
//! what a missing reply means, [`plan`] what is still to be sent, [`concurrency`] how much at once, [`choice`] to whom, `addresses`
//! which addresses there are, and [`acks`] what the indexers have acknowledged.

mod ack_probes;
pub mod acks;
mod addresses;
mod body;
mod channel;
pub mod choice;
mod client;
mod compat;
pub mod concurrency;
mod config_error;
mod counters;
mod doubts;
mod encode;
mod endpoint;
mod exchange;
mod failures;
mod http_client;
mod indexes;
mod indexing;
mod member;
mod members;
mod notices;
mod packing;
pub mod plan;
mod poll_pace;
mod proxy;
pub mod reply;
mod request_fault;
mod requests;
mod roster;
mod status;
pub mod suspicion;
mod tally;
mod timing;
mod token;
pub mod transport;
pub mod verdict;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use body::gzip;
pub use client::Hec;
pub use config_error::ConfigError;
pub use counters::HecCounts;
pub use encode::{HecFormat, Layout};
pub use reply::Partial;
pub use request_fault::RequestFault;

use crate::core::secret::Secret;
use crate::core::tls_connectors::TlsConnectors;

/// How to reach the collectors; all fields are validated.
#[derive(Debug, Clone)]
pub struct Config {
    /// The collectors, at least one.
    pub members: Vec<MemberConfig>,
    /// The origin of the token.
    pub token: Token,
    /// Whether to verify the server's certificate and name.
    pub verify: bool,
    /// Certificates to trust in addition to the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and its PKCS #8 key, PEM.
    pub client_cert: Option<(PathBuf, PathBuf)>,
    /// Proxy for the collector; without it the usual variables (`https_proxy`, `no_proxy`, …) decide.
    pub proxy: Option<String>,
    /// Time limit of a request, from connecting to the end of the reply.
    pub timeout: Duration,
    /// Time limit for connecting, including TLS.
    pub connect_timeout: Duration,
    /// `source` of events that name none.
    pub source: Option<String>,
    /// `sourcetype` of events that name none.
    pub sourcetype: Option<String>,
    /// `index` of events that name none.
    pub index: Option<String>,
    /// Index for events whose own index is refused; without it they are refused for good.
    pub fallback_index: Option<String>,
    /// `host` of events that name none.
    pub host: Option<String>,
    /// Compress request bodies (gzip level 1).
    pub gzip: bool,
    /// Maximum size of a request before compression, in bytes.
    pub max_body: usize,
    /// Maximum number of requests in flight.
    pub max_requests: usize,
    /// What the collector does with the events of a request before a bad one.
    pub partial: Partial,
    /// Wait until the indexers acknowledge the events; events that are not acknowledged within this time are sent
    /// again. `None`: events are delivered when the collector has accepted them.
    pub ack: Option<Duration>,
    /// Send `event` as the vendor's Python script does: JSON text inside a JSON string, Python's separators and
    /// escapes.
    pub compat: bool,
    /// What carries the requests; HTTP unless something else is named.
    pub transport: Option<Arc<dyn transport::Transport>>,
    /// The TLS connectors, which other clients may share.
    pub tls: TlsConnectors,
}

#[cfg(test)]
impl Config {
    /// With only a URL and a token, and short time limits.
    fn plain(url: &str, token: &str) -> Self {
        Self {
            members: vec![MemberConfig { url: url.to_owned(), weight: 1 }],
            token: Token::Fixed(Secret::new(token)),
            verify: true,
            ca_file: None,
            client_cert: None,
            proxy: None,
            timeout: Duration::from_millis(400),
            connect_timeout: Duration::from_millis(400),
            source: None,
            sourcetype: None,
            index: None,
            fallback_index: None,
            host: None,
            gzip: false,
            max_body: 1_000_000,
            max_requests: 8,
            partial: Partial::Auto,
            ack: None,
            compat: false,
            transport: None,
            tls: TlsConnectors::default(),
        }
    }
}

/// One collector of those that events can go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberConfig {
    /// `https://splunk.example:8088`, without a path: `/services/collector` is added.
    pub url: String,
    /// Its weight relative to the others. Not 0.
    pub weight: u32,
}

/// The origin of the token.
#[derive(Debug, Clone)]
pub enum Token {
    /// Given in the environment or the settings.
    Fixed(Secret),
    /// Read from files, and read again when their content changes. The first one that the collector accepts is used:
    /// with two files, a token can be replaced without refused requests.
    Files(Vec<PathBuf>),
}
