//! Syslog for QRadar, ArcSight, Sentinel and every other SIEM: RFC 5424 and RFC 3164 over UDP, TCP, TLS and RELP.

mod client;
mod connection;
mod dial;
mod findings;
pub mod format;
mod jobs;
mod number;
pub mod promise;
mod relp;
mod session;
mod shared;
mod socket;
mod stream;
mod targets;
mod tls;
mod udp;
mod window;

use std::path::PathBuf;
use std::time::Duration;

pub use client::Syslog;
pub use format::{SyslogFormat, frames};
pub use tls::ConfigError;

/// Format and transport of the messages; all fields are validated.
#[derive(Debug, Clone)]
pub struct Config {
    /// The targets: the first one that works is used.
    pub targets: Vec<Target>,
    /// The transport.
    pub transport: Transport,
    /// The framing on a TCP or TLS stream. UDP and RELP have their own.
    pub framing: Framing,
    /// The layout of a message.
    pub layout: Layout,
    /// Time limit for connecting, over all addresses of a target, including TLS.
    pub connect_timeout: Duration,
    /// Time limit for the receiver to accept a write, to answer, or to prove a close.
    pub timeout: Duration,
    /// What counts as delivered.
    pub delivery: Delivery,
}

/// One address to deliver to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// The transport.
#[derive(Debug, Clone)]
pub enum Transport {
    /// One message per datagram, at a limited rate (RFC 5426).
    Udp {
        /// Messages per second.
        rate: u32,
        /// Maximum size of a datagram, in bytes.
        max_datagram: usize,
    },
    /// A plain stream (RFC 6587).
    Tcp,
    /// A stream inside TLS (RFC 5425).
    Tls(Tls),
    /// rsyslog's acknowledged protocol, with or without TLS.
    Relp(Option<Tls>),
}

/// The TLS settings.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Whether to verify the server's certificate and name.
    pub verify: bool,
    /// Certificates to trust in addition to the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and its PKCS #8 key, PEM.
    pub client_cert: Option<(PathBuf, PathBuf)>,
    /// The name to send (SNI) and to verify, if it differs from the target's host.
    pub server_name: Option<String>,
}

/// The framing on a stream (RFC 6587).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Each message is preceded by its length (section 3.4.1).
    Octet,
    /// A line feed ends each message (section 3.4.2); control characters within are escaped.
    Lf,
}

/// What counts as delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The strongest proof of the transport. UDP has none: there it is the same as [`Delivery::Sent`].
    Confirmed {
        /// Time between two proofs.
        interval: Duration,
        /// How long the receiver must stay connected after it read the last byte.
        lag: Duration,
    },
    /// When the operating system has accepted it.
    Sent,
}

/// The layout of a message.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The standard it follows.
    pub standard: Standard,
    /// Facility of events that name none, 0..=23.
    pub facility: u8,
    /// Severity of events that name none, 0..=7.
    pub severity: u8,
    /// HOSTNAME of events that name none.
    pub hostname: String,
    /// APP-NAME (RFC 5424) or TAG (RFC 3164) of events that name none; empty: none.
    pub program: String,
    /// The text before every `key=value` if the event is the log itself.
    pub separator: String,
    /// SD-ELEMENTs of events that name none: id, then name and value pairs (RFC 5424).
    pub structured_data: Vec<Element>,
    /// Mark the message as UTF-8 by a byte order mark (RFC 5424 section 6.4).
    pub bom: bool,
    /// Format messages as the vendor's script does, as far as its bytes are valid, with the time in this zone (RFC
    /// 5424).
    pub compat: Option<jiff::tz::TimeZone>,
    /// Maximum size of a message in bytes, including the header but not the framing.
    pub max_message: usize,
    /// What to do with a longer message.
    pub oversize: Oversize,
}

/// An SD-ELEMENT: its id, then names and values.
pub type Element = (String, Vec<(String, String)>);

/// The standard that a message follows.
#[derive(Debug, Clone, PartialEq)]
pub enum Standard {
    /// RFC 5424.
    Rfc5424,
    /// RFC 3164, "BSD syslog".
    Rfc3164 {
        /// Write the time as in RFC 3339, with year and offset: most receivers accept it.
        full_time: bool,
        /// The zone that the time is written in.
        zone: jiff::tz::TimeZone,
    },
}

/// What to do with a message that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oversize {
    /// It is truncated, and has the original length and the SHA-256 of the removed part appended.
    Truncate,
    /// It is sent in numbered parts.
    Split,
    /// It is written as a dead letter.
    DeadLetter,
}

impl Transport {
    /// The scheme of an address: `tls`.
    fn scheme(&self) -> &'static str {
        match self {
            Self::Udp { .. } => "udp",
            Self::Tcp => "tcp",
            Self::Tls(_) => "tls",
            Self::Relp(None) => "relp",
            Self::Relp(Some(_)) => "relp+tls",
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
