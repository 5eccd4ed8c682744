//! The interface of a destination.

pub mod file;
mod health;
pub mod hec;
mod peers;
mod quoted_reply;
pub mod registry;
mod status;
pub mod syslog;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::core::batch::Output;
use crate::core::cause::Cause;
use crate::core::certificates::CertificateEnds;
use crate::core::event::Format;
use crate::core::histogram::Buckets;
use crate::core::lease::Tenure;
use crate::core::pending_output::PendingOutput;
pub use status::{DestinationStatus, IsolationMode, called};

/// A destination. It handles requests, concurrency, partial refusals and endless retries itself.
pub trait Destination: Send + Sync + 'static {
    /// Delivers every event of the output, retrying as long as necessary.
    ///
    /// Asks `tenure` before every send. Resolves when every event is durable or refused for good, or when the tenure
    /// ended.
    fn deliver(&self, output: Arc<Output>, tenure: Tenure) -> impl Future<Output = Outcome> + Send;

    /// The same for an output that may be packed while it waits for a proof of delivery.
    fn deliver_pending(&self, pending: Arc<PendingOutput>, tenure: Tenure) -> impl Future<Output = Outcome> + Send {
        self.deliver(pending.output(), tenure)
    }

    /// Checks once whether the destination would accept events; none is sent.
    ///
    /// # Errors
    /// It does not answer, is busy, or refuses requests.
    fn check(&self) -> impl Future<Output = Result<Checked, CheckError>> + Send;

    /// Its address for messages: a URL without secrets, or a path.
    fn address(&self) -> String;

    /// What *delivered* means there at present: it promises less when it turns out to prove less.
    fn promise(&self) -> Promise;

    /// Its current health.
    fn health(&self) -> Health;

    /// When its certificate ends, and ours that it asks for, as far as connections have shown it.
    fn certificates(&self) -> CertificateEnds {
        CertificateEnds::default()
    }

    /// Its own counts and measurements since the start, in addition to the ledger's.
    fn figures(&self) -> Figures;

    /// Its current gauges.
    fn gauges(&self) -> Vec<Gauge> {
        Vec::new()
    }

    /// Warnings while [`Destination::health`] is good: what slows delivery or is about to stop it, each as a sentence
    /// without a full stop, with its remedy.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A destination's format, which can also show an event as the destination will see it.
pub trait Preview: Format + std::fmt::Debug {
    /// One event of this format as the destination sees it, without framing. An event can be several messages.
    fn preview(&self, event: &[u8]) -> Vec<String>;
}

/// What *delivered* means at a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// In a word: `accepted`, `confirmed`, `sent`.
    pub label: &'static str,
    /// In a sentence: `delivered means sent: …`.
    pub sentence: &'static str,
}

/// The result of a check of a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Where it is.
    pub url: String,
    /// How long the answer took, including the connection.
    pub took: Duration,
    /// The result, as the end of a sentence: "accepted the HEC token".
    pub agrees: &'static str,
}

/// Why a destination does not accept events yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// It does not answer, or is busy: it may recover by itself.
    #[error("{0}")]
    Down(Cause),
    /// The operator must change something.
    #[error("{0}")]
    Refused(Cause),
}

/// A counter of a destination, from the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    /// Lower case with underscores, in the plural: "requests".
    pub name: &'static str,
    /// What is counted, as a sentence without a full stop.
    pub help: &'static str,
    /// The count so far.
    pub value: u64,
}

/// A value that rises and falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauge {
    /// Lower case with underscores: `unacknowledged_bytes`.
    pub name: &'static str,
    /// What is measured, as a sentence without a full stop.
    pub help: &'static str,
    /// The current value.
    pub value: u64,
}

/// Counts and measurements of a destination since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Counts of its own.
    pub counters: Vec<Counter>,
    /// Answers by code, including missing ones.
    pub replies: Vec<(String, u64)>,
    /// How long answers took; empty if the protocol has none.
    pub requests: Buckets,
    /// The time from the handover of a batch until it was durable.
    pub deliveries: Buckets,
    /// Past outages of the last day, oldest first.
    pub outages: Vec<Outage>,
}

/// A period in which it accepted nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// When it began.
    pub began: Instant,
    /// When it was over.
    pub ended: Instant,
    /// The last failure.
    pub cause: String,
}

/// How a delivery ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every event is durable in the destination's sense, except the listed ones, which it refuses for good.
    Done(Vec<Rejected>),
    /// The tenure ended first. Some events may have arrived; all of them will be delivered again by the next owner.
    Abandoned,
}

/// An event that the destination refuses for good because of its content, not because of load or settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its index in the output.
    pub event: usize,
    /// What is wrong with it.
    pub rejection: Rejection,
    /// The destination's code, for messages: "hec 6". No code depends on it.
    pub code: String,
    /// The destination's message, limited in length and without secrets.
    pub reason: String,
}

/// What is wrong with an event that a destination refuses for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// It is larger than the destination accepts.
    TooLarge,
    /// Any other reason, see the destination's message.
    Refused,
}

/// The current health of a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Unknown: nothing was sent yet.
    Unknown,
    /// The last request was accepted.
    Up {
        /// Since when, without an outage.
        since: Instant,
    },
    /// Unreachable or overloaded; it is retried.
    Down {
        /// Since when.
        since: Instant,
        /// The last failure.
        cause: String,
    },
    /// It refuses requests until the operator changes something: a token, an index, a URL. It is probed, and delivery
    /// resumes by itself.
    Refusing {
        /// Since when.
        since: Instant,
        /// Its message, and the remedy.
        cause: String,
    },
}
