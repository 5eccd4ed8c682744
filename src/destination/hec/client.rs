//! Delivers batches to a collector, whatever it takes.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::body::{BodyLimit, body, compress};
use super::concurrency::{Admit, ConcurrencyLimit};
use super::counters::{Counters, HecCounts};
use super::flow::{Flow, Permit};
use super::member::{ConfigError, Member};
use super::plan::Plan;
use super::reply::{Sent, Verdict, classify, classify_empty, ended_by_its_event, foreign, takes_no_events};
use super::suspicion::{Failure, Next, Suspicion};
use super::tally::{FirstFailure, Suspects, Tally};
use super::{Config, Partial};
use crate::core::backoff::Backoff;
use crate::core::batch::Output;
use crate::core::lease::Tenure;
use crate::destination::health::HealthTracker;
use crate::destination::{CheckError, Checked, Counter, Destination, Health, Outcome, Promise};

/// How often it is said that requests are halved: an event that kills its request is looked for by many of them.
const HALVING_REMINDER: Duration = Duration::from_secs(60);

/// Splunk's HTTP Event Collector as a destination. *Delivered* means *accepted*: parsed and queued by the collector.
#[derive(Debug)]
pub struct Hec {
    endpoint: Member,
    index: Option<String>,
    partial: Partial,
    timing: Timing,
    flow: Flow,
    standing: HealthTracker,
    counters: Counters,
    gzip: AtomicBool,
    max_body: Mutex<BodyLimit>,
    said_no_acks: AtomicBool,
    /// When it was last said that a request is halved.
    said_halving: Mutex<Option<Instant>>,
    tally: Tally,
}

/// What became of a request.
#[derive(Debug)]
struct Settled {
    range: Range<usize>,
    verdict: Verdict,
    /// Its first failure to get an answer.
    failed: Option<FirstFailure>,
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
    /// How soon a collector that is well answers an empty request.
    probe: Duration,
    /// When nothing was accepted for so long, requests that fail are an outage, even if empty ones are answered.
    patience: Duration,
}

const RETRY_TIMING: Timing = Timing {
    first: Duration::from_millis(250),
    most: Duration::from_secs(30),
    hold: Duration::from_secs(10),
    hold_jitter: Duration::from_secs(20),
    token_poll: Duration::from_secs(1),
    probe: Duration::from_secs(10),
    patience: Duration::from_secs(10),
};

impl Hec {
    /// Checks the settings and reads the files that they name. Nothing is sent.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        Self::with_timing(config, RETRY_TIMING)
    }

    fn with_timing(config: &Config, timing: Timing) -> Result<Self, ConfigError> {
        let endpoint = Member::new(config, &guid(random(), random()))?;
        let busy = Backoff::new(timing.first, timing.most, random());
        let hold = Backoff::new(timing.hold_jitter, timing.hold_jitter, random());
        Ok(Self {
            index: config.index.clone().filter(|index| !index.is_empty()),
            partial: config.partial,
            timing,
            flow: Flow::new(ConcurrencyLimit::new(config.max_requests, busy, hold, timing.hold)),
            standing: HealthTracker::new("Splunk HEC", endpoint.url().to_owned()),
            counters: Counters::default(),
            gzip: AtomicBool::new(config.gzip),
            max_body: Mutex::new(BodyLimit::new(config.max_body)),
            said_no_acks: AtomicBool::new(false),
            said_halving: Mutex::new(None),
            tally: Tally::default(),
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
        let mut suspects = Suspects::default();
        let mut plan = Plan::new(&batch.events);
        let mut under_way = FuturesUnordered::new();
        loop {
            while let Some(range) = plan.next(self.body_limit().bytes(Instant::now())) {
                let failed = suspects.of(&range);
                under_way.push(self.deliver_some(batch, range, failed, tenure));
            }
            match under_way.next().await {
                Some(settled) => {
                    let Settled { range, verdict, failed } = settled?;
                    if let (Verdict::Halve, Some(failed)) = (&verdict, failed) {
                        suspects.add(range.clone(), failed);
                    }
                    if let Some(bytes) = plan.settle(range, verdict) {
                        self.learn(bytes, "requests that are larger get no answer; sending no larger ones for now");
                    }
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

    /// Sends these events again and again, until there is a verdict that is about them. `failed`: the first failure of
    /// the request that they are a part of.
    async fn deliver_some(
        &self,
        batch: &Arc<Output>,
        range: Range<usize>,
        mut failed: Option<FirstFailure>,
        tenure: &Tenure,
    ) -> Option<Settled> {
        let plain = body(batch, &range);
        let mut packed = None;
        let mut suspicion = Suspicion::default();
        let mut pause = Backoff::new(self.timing.first, self.timing.most, random());
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
            let sent = Sent {
                events: &batch.events,
                range: range.clone(),
                gzip,
                index: self.index.as_deref(),
                partial: self.partial,
            };
            let sent_at = Instant::now();
            self.counters.request(body.len());
            let (verdict, failure) = match self.endpoint.post(body, gzip).await {
                Ok(reply) => (classify(&reply, &sent), foreign(&reply)),
                Err(fault) => {
                    let failure = fault.failure();
                    (fault.verdict(range.len()), failure)
                }
            };
            match failure {
                Some(how) if self.answers_empty().await => {
                    let first = *failed.get_or_insert_with(|| self.tally.first_failure(sent_at));
                    let evidence = self.tally.since(first, Instant::now());
                    let next = suspicion.failed(how, range.len(), evidence);
                    match next {
                        Next::Again => {}
                        Next::Halve => self.say_halving(&verdict, plain.len(), range.len()),
                        Next::Reject(times) => {
                            self.blame_request(&verdict, how, permit);
                            let verdict = self.reject_unanswered(batch, &range, &verdict, times);
                            return Some(Settled { range, verdict, failed });
                        }
                    }
                    if evidence.is_outage(self.timing.patience) {
                        self.note(takes_no_events(verdict), permit, sent_at, plain.len(), range.len());
                    } else {
                        self.blame_request(&verdict, how, permit);
                        tokio::time::sleep(pause.next(None)).await;
                    }
                    if next == Next::Halve {
                        return Some(Settled { range, verdict: Verdict::Halve, failed });
                    }
                }
                _ => {
                    suspicion.clear();
                    failed = None;
                    if let Some(verdict) = self.note(verdict, permit, sent_at, plain.len(), range.len()) {
                        return Some(Settled { range, verdict, failed });
                    }
                }
            }
            // Whoever else waits for the next try comes first: that they pass, or don't, tells what is wrong.
            tokio::task::yield_now().await;
        }
    }

    /// Whether the collector answers a request without events as it should.
    async fn answers_empty(&self) -> bool {
        let answer = tokio::time::timeout(self.timing.probe, self.endpoint.post(Bytes::new(), false)).await;
        matches!(answer, Ok(Ok(reply)) if classify_empty(&reply).is_ok())
    }

    /// A failure that says nothing about the destination: it answers others.
    fn blame_request(&self, failed: &Verdict, how: Failure, permit: Permit<'_>) {
        permit.settle(|flow, ticket| match how {
            Failure::Ended => flow.answered(ticket),
            // A collector that is slow with large requests is given fewer at once.
            Failure::Silence => flow.taken(ticket, true),
        });
        self.counters.retry();
        if let Verdict::Retry { maybe_taken, .. } = failed {
            self.counters.maybe_taken(*maybe_taken);
        }
    }

    fn say_halving(&self, failed: &Verdict, bytes: usize, events: usize) {
        let (Verdict::Retry { cause, .. } | Verdict::Hold { cause }) = failed else { return };
        let now = Instant::now();
        let mut said = self.said_halving.lock().expect("nothing panics while it holds a time");
        if said.is_none_or(|at| now >= at + HALVING_REMINDER) {
            *said = Some(now);
            let what = &cause.what;
            tracing::warn!(
                url = self.endpoint.url(),
                events,
                bytes,
                what,
                "a request fails again and again while the collector answers; sending its events in halves"
            );
        }
    }

    fn reject_unanswered(&self, batch: &Output, range: &Range<usize>, failed: &Verdict, times: u32) -> Verdict {
        self.tally.unanswered();
        let verdict = ended_by_its_event(failed, times);
        if let Verdict::Event { reason, .. } = &verdict {
            tracing::warn!(event = range.start, shard = %batch.shard, "HEC: an event is refused for good: {reason}");
        }
        verdict
    }

    /// No more than so many bytes pass at once.
    fn learn(&self, bytes: usize, what: &str) {
        if let Some(most) = self.body_limit().lower(bytes, Instant::now()) {
            tracing::warn!(url = self.endpoint.url(), most, "{what}");
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
                    self.tally.accepted(count, now);
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
            Verdict::Split => self.learn(bytes / 10 * 9, "the collector found a request too large"),
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
            let changed = self.flow.changed();
            let admitted = self.flow.limit().admit();
            match admitted {
                Admit::Go(ticket) => return Permit::new(&self.flow, ticket),
                Admit::Probe(ticket, at) => {
                    let permit = Permit::new(&self.flow, ticket);
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

    fn body_limit(&self) -> MutexGuard<'_, BodyLimit> {
        self.max_body.lock().expect("the limit does not panic")
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
            Ok(reply) => classify_empty(&reply).map(|()| reply.is_splunk),
            Err(fault) => Err(fault.check_error()),
        };
        let now = Instant::now();
        match checked {
            Ok(is_splunk) => {
                self.standing.up(now);
                let agrees = match (self.partial, is_splunk) {
                    (Partial::Auto, true) => "accepted the HEC token, and names itself Splunk",
                    (Partial::Auto, false) => {
                        "accepted the HEC token, and does not name itself Splunk: beside a bad event, the good ones of a \
                         request are sent again (hec.partial)"
                    }
                    (Partial::Kept | Partial::Refused, _) => "accepted the HEC token",
                };
                Ok(Checked { url: self.endpoint.url().to_owned(), took: now - began, agrees })
            }
            Err(error) => {
                self.standing.check_failed(began, now, &error);
                Err(error)
            }
        }
    }

    fn address(&self) -> String {
        self.endpoint.url().to_owned()
    }

    fn promise(&self) -> Promise {
        let sentence = match self.partial {
            Partial::Auto => {
                "delivered means accepted: Splunk has put the events into its queue; those before a bad event count \
                 when the collector names itself Splunk, and are sent again to any other"
            }
            Partial::Kept => {
                "delivered means accepted: the collector has put the events into its queue; those before a bad event \
                 count, since hec.partial = \"kept\""
            }
            Partial::Refused => {
                "delivered means accepted: the collector has put the events into its queue; those before a bad event \
                 are sent again, since hec.partial = \"refused\""
            }
        };
        Promise { label: "accepted", sentence }
    }

    fn health(&self) -> Health {
        self.standing.health()
    }

    fn counters(&self) -> Vec<Counter> {
        self.counters.snapshot().to_counters()
    }
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
