//! Counts of sent requests and events.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::core::histogram::{Buckets, Histogram};
use crate::destination::{Counter, Figures, Outage};

/// Counts since the start. Cheap to write from many tasks.
#[derive(Debug, Default)]
pub struct Counters {
    requests: AtomicU64,
    retries: AtomicU64,
    bytes: AtomicU64,
    possible_duplicates: AtomicU64,
    rerouted: AtomicU64,
    replies: Mutex<BTreeMap<Option<u16>, u64>>,
    times: Histogram,
    rejected: Mutex<BTreeMap<String, u64>>,
}

/// The counts at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HecCounts {
    /// Requests that were sent, including failed ones.
    pub requests: u64,
    /// Requests that must be sent again unchanged.
    pub retries: u64,
    /// Bytes of request bodies, as they went over the wire.
    pub bytes: u64,
    /// Events that were sent again although they may have been accepted before.
    pub possible_duplicates: u64,
    /// Events that were accepted for the fallback index.
    pub rerouted: u64,
    /// Replies by HTTP status; requests without a reply have none.
    pub replies: BTreeMap<Option<u16>, u64>,
    /// How long the replies took.
    pub times: Buckets,
    /// Events that are refused for good, by the collector's code.
    pub rejected: BTreeMap<String, u64>,
}

impl HecCounts {
    /// The same in the form common to all destinations.
    pub(super) fn to_figures(&self, outages: Vec<Outage>) -> Figures {
        let counter = |name, help, value| Counter { name, help, value };
        let replies = self.replies.iter().map(|(status, count)| {
            let code = status.map_or_else(|| "no_reply".to_owned(), |status| status.to_string());
            (code, *count)
        });
        let counters = vec![
            counter("requests", "Requests sent, including failed ones", self.requests),
            counter("retries", "Requests sent again", self.retries),
            counter("request_bytes", "Bytes of request bodies on the wire", self.bytes),
            counter(
                "possible_repeats",
                "Events sent again that may already have been accepted",
                self.possible_duplicates,
            ),
            counter("fallback_index_events", "Events sent to hec.fallback_index", self.rerouted),
        ];
        Figures { counters, replies: replies.collect(), requests: self.times, outages, ..Figures::default() }
    }
}

impl Counters {
    /// The counts now.
    #[must_use]
    pub fn snapshot(&self) -> HecCounts {
        HecCounts {
            requests: self.requests.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            possible_duplicates: self.possible_duplicates.load(Ordering::Relaxed),
            rerouted: self.rerouted.load(Ordering::Relaxed),
            replies: self.replies.lock().expect("counting cannot panic").clone(),
            times: self.times.read(),
            rejected: self.rejected.lock().expect("counting cannot panic").clone(),
        }
    }

    pub(super) fn request(&self, bytes: usize) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A request was answered with this HTTP status, or not at all, after this time.
    pub(super) fn answered(&self, status: Option<u16>, took: Duration) {
        *self.replies.lock().expect("counting cannot panic").entry(status).or_default() += 1;
        self.times.observe(took, 1);
    }

    pub(super) fn retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn maybe_taken(&self, events: usize) {
        self.possible_duplicates.fetch_add(events as u64, Ordering::Relaxed);
    }

    pub(super) fn rerouted(&self, events: usize) {
        self.rerouted.fetch_add(events as u64, Ordering::Relaxed);
    }

    pub(super) fn rejected(&self, code: &str) {
        let mut rejected = self.rejected.lock().expect("counting cannot panic");
        *rejected.entry(code.to_owned()).or_default() += 1;
    }
}
