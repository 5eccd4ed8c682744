//! Delivers batches to a collector, whatever it takes.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::Write as _;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Config;
use super::concurrency::{Admit, ConcurrencyLimit, Ticket};
use super::counters::{Counters, HecCounts};
use super::member::{ConfigError, Member, RequestFault};
use super::plan::Plan;
use super::reply::{RequestHistory, Sent, Verdict, classify, classify_empty, is_no_collectors, suspect};
use crate::core::backoff::Backoff;
use crate::core::batch::Output;
use crate::core::lease::Tenure;
use crate::destination::health::HealthTracker;
use crate::destination::{CheckError, Checked, Counter, Destination, Health, Outcome, Promise};

/// Requests do not shrink below this for good, however small one was that the collector found too large.
const LEAST_BODY: usize = 64 * 1024;

/// Splunk's HTTP Event Collector as a destination. *Delivered* means *accepted*: parsed and queued by the collector.
#[derive(Debug)]
pub struct Hec {
    endpoint: Member,
    index: Option<String>,
    timing: Timing,
    flow: Mutex<ConcurrencyLimit>,
    /// Told whenever somebody who waits for the flow should ask it again.
    flow_changed: Notify,
    standing: HealthTracker,
    counters: Counters,
    gzip: AtomicBool,
    max_body: AtomicUsize,
    said_no_acks: AtomicBool,
    /// Requests that were taken so far.
    taken: AtomicU64,
}

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
struct Timing {
    /// Longest first wait after a failure.
    first: Duration,
    /// Longest wait after any failure.
    most: Duration,
    /// Shortest wait after a refusal.
    hold: Duration,
    /// Longest time on top of it.
    hold_jitter: Duration,
    /// How often the token's file is looked at after a refusal.
    token_poll: Duration,
}

const RETRY_TIMING: Timing = Timing {
    first: Duration::from_millis(250),
    most: Duration::from_secs(30),
    hold: Duration::from_secs(10),
    hold_jitter: Duration::from_secs(20),
    token_poll: Duration::from_secs(1),
};

impl Hec {
    /// Checks the settings and reads the files that they name. Nothing is sent.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let hec = Self::with_timing(config, RETRY_TIMING)?;
        if hec.endpoint.is_plain_and_remote() {
            tracing::warn!(url = hec.endpoint.url(), "the HEC token travels unencrypted; use https if you can");
        }
        if !config.verify {
            tracing::warn!(
                url = hec.endpoint.url(),
                "the collector's certificate is not verified, as the settings say"
            );
        }
        Ok(hec)
    }

    fn with_timing(config: &Config, timing: Timing) -> Result<Self, ConfigError> {
        let endpoint = Member::new(config, &guid(random(), random()))?;
        let busy = Backoff::new(timing.first, timing.most, random());
        let hold = Backoff::new(timing.hold_jitter, timing.hold_jitter, random());
        Ok(Self {
            index: config.index.clone().filter(|index| !index.is_empty()),
            timing,
            flow: Mutex::new(ConcurrencyLimit::new(config.max_requests, busy, hold, timing.hold)),
            flow_changed: Notify::new(),
            standing: HealthTracker::new("Splunk HEC", endpoint.url().to_owned()),
            counters: Counters::default(),
            gzip: AtomicBool::new(config.gzip),
            max_body: AtomicUsize::new(config.max_body),
            said_no_acks: AtomicBool::new(false),
            taken: AtomicU64::new(0),
            endpoint,
        })
    }

    /// What was sent so far, in numbers.
    #[must_use]
    pub fn snapshot(&self) -> HecCounts {
        self.counters.snapshot()
    }

    /// Sends everything; nothing comes back when the tenure turned out to be over before a send.
    async fn deliver_all(&self, batch: &Arc<Output>, tenure: &Tenure) -> Option<Outcome> {
        let mut plan = Plan::new(&batch.events);
        let mut under_way = FuturesUnordered::new();
        loop {
            while let Some(range) = plan.next(self.max_body.load(Ordering::Relaxed)) {
                under_way.push(self.deliver_some(batch, range, tenure));
            }
            match under_way.next().await {
                Some(settled) => {
                    let (range, verdict) = settled?;
                    plan.settle(range, verdict);
                }
                None => break,
            }
        }
        let rejected = plan.into_rejected();
        for rejected in &rejected {
            self.counters.rejected(&rejected.code);
        }
        Some(Outcome::Done(rejected))
    }

    /// Sends these events again and again, until there is a verdict that is about them.
    async fn deliver_some(
        &self,
        batch: &Arc<Output>,
        range: Range<usize>,
        tenure: &Tenure,
    ) -> Option<(Range<usize>, Verdict)> {
        let plain = body(batch, &range);
        let mut packed = None;
        let taken_before = self.taken.load(Ordering::Relaxed);
        let mut times = 0;
        loop {
            let permit = self.permit().await;
            let gzip = self.gzip.load(Ordering::Relaxed);
            let body = match &packed {
                _ if !gzip => plain.clone(),
                Some(packed) => Bytes::clone(packed),
                None => packed.insert(compress(plain.clone()).await).clone(),
            };
            if !tenure.holds() {
                return None;
            }
            let sent = Sent { events: &batch.events, range: range.clone(), gzip, index: self.index.as_deref() };
            let began = Instant::now();
            self.counters.request(body.len());
            let verdict = match self.endpoint.post(body, gzip).await {
                Ok(reply) => {
                    times += u32::from(is_no_collectors(&reply));
                    let others_pass = self.taken.load(Ordering::Relaxed) > taken_before;
                    suspect(&reply, &sent, RequestHistory { times, others_pass })
                        .unwrap_or_else(|| classify(&reply, &sent))
                }
                Err(fault) => fault.verdict(range.len()),
            };
            if let Some(verdict) = self.note(verdict, permit, began, plain.len(), range.len()) {
                return Some((range, verdict));
            }
            // Whoever else waits for the next try comes first: that they pass, or don't, tells what is wrong.
            tokio::task::yield_now().await;
        }
    }

    /// Draws the conclusions that concern all requests; what is left concerns the events of this one.
    fn note(
        &self,
        verdict: Verdict,
        permit: Permit<'_>,
        began: Instant,
        bytes: usize,
        count: usize,
    ) -> Option<Verdict> {
        let now = Instant::now();
        match &verdict {
            Verdict::Retry { floor, maybe_taken, cause } => {
                if permit.settle(|flow, ticket| flow.failed(ticket, now, *floor)) {
                    self.standing.failed(began, now, cause);
                }
                self.counters.retry();
                self.counters.maybe_taken(*maybe_taken);
                return None;
            }
            Verdict::Hold { cause } => {
                if permit.settle(|flow, ticket| flow.held(ticket, now)) {
                    self.standing.held(now, cause);
                }
                self.counters.retry();
                return None;
            }
            verdict => {
                let open = permit.settle(|flow, ticket| match verdict {
                    Verdict::Accepted { slow_down, .. } => flow.taken(ticket, *slow_down),
                    _ => flow.answered(ticket),
                });
                if open {
                    self.standing.up(now);
                }
                if matches!(verdict, Verdict::Accepted { .. }) {
                    self.taken.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        match &verdict {
            Verdict::GzipOff => {
                if self.gzip.swap(false, Ordering::Relaxed) {
                    tracing::warn!(url = self.endpoint.url(), "the collector reads no gzip; sending without");
                }
                self.counters.retry();
                return None;
            }
            Verdict::Split => {
                let most = (bytes / 10 * 9).max(LEAST_BODY);
                if self.max_body.fetch_min(most, Ordering::Relaxed) > most {
                    tracing::warn!(url = self.endpoint.url(), bytes, most, "the collector found a request too large");
                }
            }
            Verdict::Bisect => self.counters.maybe_taken(count),
            Verdict::Accepted { ack_id: Some(_), .. }
            | Verdict::Event { ack_id: Some(_), .. }
            | Verdict::Alone { ack_id: Some(_), .. } => self.say_no_acks(),
            _ => {}
        }
        Some(verdict)
    }

    fn say_no_acks(&self) {
        if !self.said_no_acks.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                url = self.endpoint.url(),
                "the token asks for indexer acknowledgement, which is not waited for: delivered means accepted, not \
                 indexed"
            );
        }
    }

    /// Waits for the turn to send one request.
    async fn permit(&self) -> Permit<'_> {
        loop {
            // Listens before it asks, so that no change is missed in between.
            let changed = self.flow_changed.notified();
            let admitted = self.flow().admit();
            match admitted {
                Admit::Go(ticket) => return Permit::new(self, ticket),
                Admit::Probe(ticket, at) => {
                    let permit = Permit::new(self, ticket);
                    let refused = matches!(self.standing.health(), Health::Held { .. });
                    tokio::select! {
                        () = tokio::time::sleep_until(at) => {}
                        () = self.endpoint.token_changed(self.timing.token_poll), if refused => {}
                    }
                    return permit;
                }
                Admit::Wait => changed.await,
            }
        }
    }

    fn flow(&self) -> MutexGuard<'_, ConcurrencyLimit> {
        self.flow.lock().expect("the flow does not panic")
    }
}

impl Destination for Hec {
    async fn deliver(&self, batch: Arc<Output>, tenure: Tenure) -> Outcome {
        match tenure.or(self.deliver_all(&batch, &tenure)).await {
            Some(Some(outcome)) => outcome,
            Some(None) | None => Outcome::Abandoned,
        }
    }

    /// Asks the collector whether it is there and takes our token. Nothing is indexed by it: the request is empty,
    /// and a collector that likes the token complains that there is no data (code 5). An index cannot be checked this
    /// way.
    async fn check(&self) -> Result<Checked, CheckError> {
        let began = Instant::now();
        let checked = match self.endpoint.post(Bytes::new(), false).await {
            Ok(reply) => classify_empty(&reply),
            Err(RequestFault::Unreachable(cause) | RequestFault::Unanswered(cause)) => Err(CheckError::Down(cause)),
        };
        let now = Instant::now();
        match checked {
            Ok(()) => {
                self.standing.up(now);
                Ok(Checked { url: self.endpoint.url().to_owned(), took: now - began, agrees: "accepted the HEC token" })
            }
            Err(error) => {
                self.standing.check_failed(began, now, &error);
                Err(error)
            }
        }
    }

    fn promise(&self) -> Promise {
        Promise { label: "accepted", sentence: "delivered means accepted: Splunk has put the events into its queue" }
    }

    fn health(&self) -> Health {
        self.standing.health()
    }

    fn counters(&self) -> Vec<Counter> {
        self.counters.snapshot().to_counters()
    }
}

/// A ticket that finds its way back to the flow even when the request is thrown away half-way.
#[derive(Debug)]
struct Permit<'a> {
    hec: &'a Hec,
    ticket: Option<Ticket>,
}

impl<'a> Permit<'a> {
    fn new(hec: &'a Hec, ticket: Ticket) -> Self {
        Self { hec, ticket: Some(ticket) }
    }

    /// Tells the flow what became of the request; returns what the flow makes of it.
    fn settle(mut self, account: impl FnOnce(&mut ConcurrencyLimit, &Ticket) -> bool) -> bool {
        self.ticket.take().is_some_and(|ticket| account(&mut self.hec.flow(), &ticket))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.hec.flow().dropped(&ticket);
        }
        self.hec.flow_changed.notify_waiters();
    }
}

/// The events as they lie in the batch, not copied.
fn body(batch: &Arc<Output>, range: &Range<usize>) -> Bytes {
    struct Owner(Arc<Output>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            self.0.events.bytes()
        }
    }
    let bytes = batch.events.range(range.start).start..batch.events.range(range.end - 1).end;
    Bytes::from_owner(Owner(Arc::clone(batch))).slice(bytes)
}

/// A megabyte takes milliseconds: too long for a thread that others share.
async fn compress(body: Bytes) -> Bytes {
    let packed = tokio::task::spawn_blocking(move || {
        let mut encoder =
            flate2::write::GzEncoder::new(Vec::with_capacity(body.len() / 6), flate2::Compression::fast());
        encoder.write_all(&body).expect("a vector takes every byte");
        encoder.finish().expect("a vector takes every byte")
    });
    Bytes::from(packed.await.expect("compressing does not panic"))
}

/// A number that differs from process to process, even on machines that were started from one image: its keys come from
/// the operating system.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A version 4 UUID (RFC 9562 section 5.4) of these bits.
fn guid(high: u64, low: u64) -> String {
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0b11 << 62) | (0b10 << 62);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests;
