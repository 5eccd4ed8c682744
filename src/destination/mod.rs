//! What a destination promises.

pub mod file;
mod health;
pub mod hec;
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
pub use status::{DestinationStatus, IsolationMode, called};

/// A destination. Requests, concurrency, partial refusals and endless retry are its own business.
pub trait Destination: Send + Sync + 'static {
    /// Delivers every event of the output, as long as it takes.
    ///
    /// Asks `tenure` before every send. Resolves when every event is durable or refused for good, or when the tenure
    /// ended.
    fn deliver(&self, output: Arc<Output>, tenure: Tenure) -> impl Future<Output = Outcome> + Send;

    /// Asks the destination once whether it would take our events; none is sent.
    ///
    /// # Errors
    /// It is not there, is busy, or refuses us.
    fn check(&self) -> impl Future<Output = Result<Checked, CheckError>> + Send;

    /// Where it is, for people: a URL without secrets, or a path.
    fn address(&self) -> String;

    /// What *delivered* means there at the moment: a destination that turns out to prove less promises less.
    fn promise(&self) -> Promise;

    /// How it does at the moment.
    fn health(&self) -> Health;

    /// When its certificate ends, and ours that it asks for, as far as connections have shown it.
    fn certificates(&self) -> CertificateEnds {
        CertificateEnds::default()
    }

    /// What it has counted and measured since the start, besides what the ledger counts for every destination.
    fn figures(&self) -> Figures;

    /// What it holds at the moment, in numbers.
    fn gauges(&self) -> Vec<Gauge> {
        Vec::new()
    }

    /// What slows delivery or is about to stop it while [`Destination::health`] is good: each as a sentence without a full
    /// stop, with its remedy.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A destination's format, which can also show an event as the destination will see it.
pub trait Preview: Format + std::fmt::Debug {
    /// One event of this format as the destination sees it, without what only tells one event from the next. An event
    /// can be several messages.
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

/// What is learnt about a destination before there is anything to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Where it is.
    pub url: String,
    /// How long the answer took, connecting included.
    pub took: Duration,
    /// What it agreed to, as a sentence ends: "accepted the HEC token".
    pub agrees: &'static str,
}

/// Why a destination does not take events yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// It is not there, or busy: it may come back by itself.
    #[error("{0}")]
    Down(Cause),
    /// Somebody has to change something.
    #[error("{0}")]
    Refused(Cause),
}

/// A number that a destination counts up from the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    /// Lower case with underscores, in the plural: "requests".
    pub name: &'static str,
    /// What is counted, as a sentence without a full stop.
    pub help: &'static str,
    /// How many so far.
    pub value: u64,
}

/// A number that goes up and down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauge {
    /// Lower case with underscores: `unacknowledged_bytes`.
    pub name: &'static str,
    /// What is measured, as a sentence without a full stop.
    pub help: &'static str,
    /// How much it is now.
    pub value: u64,
}

/// What a destination has counted and measured since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Counts of its own.
    pub counters: Vec<Counter>,
    /// Answers by code, those that did not come included.
    pub replies: Vec<(String, u64)>,
    /// How long answers took; empty where there are none.
    pub requests: Buckets,
    /// How long batches took from when they were handed over until they were durable.
    pub deliveries: Buckets,
    /// Outages of the last day that are over, oldest first.
    pub outages: Vec<Outage>,
}

/// A time in which it took nothing.
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
    /// Every event is durable in the destination's sense, but for the ones listed, which it will never take.
    Done(Vec<Rejected>),
    /// The tenure ended first. Some events may have arrived; all of them will be delivered again by the next holder.
    Abandoned,
}

/// An event that the destination refuses for good: not for load, not for settings, but for what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its number in the output's events.
    pub event: usize,
    /// What is wrong with it.
    pub rejection: Rejection,
    /// The destination's code, for people: "hec 6". Nothing is decided by it.
    pub code: String,
    /// The destination's words, bounded and without secrets.
    pub reason: String,
}

/// What is wrong with an event that a destination refuses for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// It is larger than the destination takes.
    TooLarge,
    /// Anything else: the destination's words say what.
    Refused,
}

/// How a destination does at the moment, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Nothing is known yet: nothing was sent.
    Unknown,
    /// The last request was taken.
    Up {
        /// Since when, without an outage.
        since: Instant,
    },
    /// It is being tried again and again: unreachable, overloaded.
    Down {
        /// Since when.
        since: Instant,
        /// The last failure.
        cause: String,
    },
    /// It refuses us until somebody changes something: a token, an index, a URL. It is probed, and goes on by itself.
    Held {
        /// Since when.
        since: Instant,
        /// What it said and what to do.
        cause: String,
    },
}
