//! Syslog for QRadar, ArcSight, Sentinel and every other SIEM: RFC 5424 and RFC 3164 over UDP, TCP, TLS and RELP.

mod client;
mod connection;
mod dial;
mod findings;
pub mod format;
mod jobs;
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

/// What the messages look like and how they travel, checked: every field means something.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to, the first that works: the others are for when it does not.
    pub targets: Vec<Target>,
    /// How messages travel.
    pub transport: Transport,
    /// How messages are told apart on a TCP or TLS stream. UDP and RELP have a way of their own.
    pub framing: Framing,
    /// What a message looks like.
    pub layout: Layout,
    /// How long connecting may take, over all addresses of a target, TLS included.
    pub connect_timeout: Duration,
    /// How long the receiver may leave us waiting: for a write to be taken, for an answer, for the proof of a close.
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

/// How messages travel.
#[derive(Debug, Clone)]
pub enum Transport {
    /// One message a datagram, at most this many a second (RFC 5426).
    Udp {
        /// Messages a second.
        rate: u32,
        /// Most bytes in a datagram.
        max_datagram: usize,
    },
    /// A plain stream (RFC 6587).
    Tcp,
    /// A stream inside TLS (RFC 5425).
    Tls(Tls),
    /// rsyslog's acknowledged protocol, with or without TLS.
    Relp(Option<Tls>),
}

/// How TLS is spoken.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Verify the server's certificate and name. Off only when the settings say so.
    pub verify: bool,
    /// Certificates to trust besides the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and its PKCS #8 key, PEM.
    pub client_cert: Option<(PathBuf, PathBuf)>,
    /// The name to ask for (SNI) and to verify, when it is not the target's host.
    pub server_name: Option<String>,
}

/// How messages are told apart on a stream (RFC 6587).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// The length of each message goes before it (section 3.4.1).
    Octet,
    /// A line feed ends each message (section 3.4.2); control characters within are escaped.
    Lf,
}

/// What counts as delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// What the transport can prove at most. UDP can prove nothing: there it is the same as [`Delivery::Sent`].
    Confirmed {
        /// Time between two proofs.
        interval: Duration,
        /// How long the receiver must have lived on after it read the last byte.
        lag: Duration,
    },
    /// The operating system took it.
    Sent,
}

/// What a message looks like.
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
    /// What goes before every `key=value` when the event is the log itself.
    pub separator: String,
    /// SD-ELEMENTs of events that name none: id, then name and value pairs (RFC 5424).
    pub structured_data: Vec<Element>,
    /// Mark the message as UTF-8 by a byte order mark (RFC 5424 section 6.4).
    pub bom: bool,
    /// Lay messages out as the vendor's script did, as far as its bytes are valid, with the time in this zone (RFC 5424).
    pub compat: Option<jiff::tz::TimeZone>,
    /// Most bytes of a message, header included, framing not.
    pub max_message: usize,
    /// What becomes of a longer one.
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
        /// Write the time as RFC 3339 does, year and offset included: most receivers read it.
        full_time: bool,
        /// The zone that the time is written in.
        zone: jiff::tz::TimeZone,
    },
}

/// What becomes of a message that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oversize {
    /// It is cut, and says so: the original length and the SHA-256 of what was cut.
    Truncate,
    /// It is sent in parts that name each other.
    Split,
    /// It is written as a dead letter.
    DeadLetter,
}

impl Transport {
    /// As it is written before an address: `tls`.
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
