//! The behaviour of the receiver, and its counts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// A stream; each message is octet-counted or ends with a line feed, distinguished by its first byte.
    Tcp,
    /// The same inside TLS.
    Tls,
    /// One message a datagram.
    Udp,
    /// rsyslog's acknowledged protocol.
    Relp,
    /// The same inside TLS.
    RelpTls,
}

/// The behaviour of the receiver without faults.
#[derive(Clone)]
pub struct Config {
    /// Where to listen; port 0 picks a free one.
    pub address: SocketAddr,
    /// The transport.
    pub protocol: Protocol,
    /// Certificate and PKCS #8 key, PEM, for the protocols inside TLS.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// Certificate of the authority, PEM, that must have issued the client certificates inside TLS; without it, no
    /// client certificate is requested.
    pub client_ca: Option<Vec<u8>>,
    /// How long a message stays in memory before it is stored.
    pub memory: Duration,
    /// How many of the last messages are kept for inspection.
    pub keep: usize,
    /// Observes every message as it is stored.
    pub tap: Option<Arc<dyn Tap>>,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("address", &self.address)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// On a free port of the loopback address; everything is kept.
    #[must_use]
    pub fn new(protocol: Protocol) -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            protocol,
            identity: None,
            client_ca: None,
            memory: Duration::ZERO,
            keep: usize::MAX,
            tap: None,
        }
    }
}

/// Sees messages.
pub trait Tap: Send + Sync {
    /// A message was stored.
    fn received(&self, message: &[u8]);
}

/// The counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Received messages, which are then stored or lost.
    pub read: u64,
    /// Stored messages.
    pub messages: u64,
    /// Bytes of the received messages.
    pub bytes: u64,
    /// Messages that were read and lost when the receiver died.
    pub forgotten: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Deaths.
    pub deaths: u64,
}
