//! What a destination promises.

mod health;
pub mod hec;
pub mod registry;
pub mod syslog;
use std::sync::Arc;

use tokio::time::Instant;

use crate::core::batch::Output;
use crate::core::lease::Tenure;

/// A destination. Requests, concurrency, partial refusals and endless retry are its own business.
pub trait Destination: Send + Sync + 'static {
    /// Delivers every event of the output, as long as it takes.
    ///
    /// Asks `tenure` before every send. Resolves when every event is durable or refused for good, or when the tenure
    /// ended.
    fn deliver(&self, output: Arc<Output>, tenure: Tenure) -> impl Future<Output = Outcome> + Send;

    /// How it does at the moment.
    fn health(&self) -> Health;
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
    /// The destination's code: "hec 6".
    pub code: String,
    /// The destination's words, bounded and without secrets.
    pub reason: String,
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
