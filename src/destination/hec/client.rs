//! Delivers batches to a collector, whatever it takes.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::Instant;

use super::acks::{Fate, Waiting};
use super::body::{body, body_for_index, compress};
use super::channel::random;
use super::concurrency::ConcurrencyLimit;
use super::counters::{Counters, HecCounts};
use super::endpoint::ConfigError;
use super::indexes::BadIndexes;
use super::indexing::{Acknowledgement, Indexing, Sending};
use super::member::{Load, Member};
use super::members::{Members, Permit};
use super::plan::Plan;
use super::reply::{Before, Sent, Verdict, classify, ended_by_its_event, foreign, takes_no_events, with_acks};
use super::suspicion::{Failure, Next, Suspicion};
use super::tally::{FirstFailure, Suspects};
use super::{Config, MemberConfig, Partial};
use crate::core::backoff::Backoff;
use crate::core::batch::Output;
use crate::core::cause::Cause;
use crate::core::lease::Tenure;
use crate::destination::{CheckError, Checked, Destination, Figures, Gauge, Health, Outcome, Promise};

/// How often it is said that requests are halved: an event that kills its request is looked for by many of them.
const HALVING_REMINDER: Duration = Duration::from_secs(60);

/// Splunk's HTTP Event Collector as a destination. *Delivered* means *accepted*: parsed and queued by the collector; or
/// *indexed*, when acknowledgements are waited for.
#[derive(Debug)]
pub struct Hec {
    members: Members,
    index: Option<String>,
    /// Where events go that are refused for their index.
    fallback_index: Option<String>,
    bad_indexes: BadIndexes,
    partial: Partial,
    waits_for_acks: bool,
    timing: Timing,
    counters: Counters,
    said_no_acks: AtomicBool,
    /// When it was last said that a request is halved.
    said_halving: Mutex<Option<Instant>>,
}

/// What became of a request.
#[derive(Debug)]
struct Settled {
    range: Range<usize>,
    verdict: Verdict,
    /// Its first failure to get an answer.
    failed: Option<FailedAt>,
    /// What it still waits for.
    waits: Option<Waits>,
}

/// The wait for the acknowledgement of events that were accepted.
#[derive(Debug)]
struct Waits {
    acknowledgement: Acknowledgement,
    /// The events that stand before the bad one, where there is one; else all of the request.
    range: Range<usize>,
    /// Held meanwhile.
    load: Load,
}

/// The first failure of a request, and where it failed.
#[derive(Debug, Clone)]
struct FailedAt {
    member: Arc<Member>,
    first: FirstFailure,
}

/// What a batch waits for.
#[derive(Debug)]
enum Step {
    /// A request has an answer that is about its events.
    Settled(Settled),
    /// Events are acknowledged, or will not be.
    Acknowledged(Range<usize>, Fate),
    /// The tenure was over before a send.
    Over,
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
    /// How often acknowledgements are asked for.
    ack_poll: Duration,
}

const RETRY_TIMING: Timing = Timing {
    first: Duration::from_millis(250),
    most: Duration::from_secs(30),
    hold: Duration::from_secs(10),
    hold_jitter: Duration::from_secs(20),
    token_poll: Duration::from_secs(1),
    probe: Duration::from_secs(10),
    patience: Duration::from_secs(10),
    ack_poll: Duration::from_secs(1),
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
        let member = |member: &MemberConfig| {
            let busy = Backoff::new(timing.first, timing.most, random());
            let hold = Backoff::new(timing.hold_jitter, timing.hold_jitter, random());
            let limit = ConcurrencyLimit::new(config.max_requests, busy, hold, timing.hold);
            Member::new(config, member, limit, timing.ack_poll).map(Arc::new)
        };
        let members: Result<Vec<_>, _> = config.members.iter().map(member).collect();
        Ok(Self {
            members: Members::new(members?, timing.token_poll),
            index: config.index.clone().filter(|index| !index.is_empty()),
            fallback_index: config.fallback_index.clone().filter(|index| !index.is_empty()),
            bad_indexes: BadIndexes::default(),
            partial: config.partial,
            waits_for_acks: config.ack.is_some(),
            timing,
            counters: Counters::default(),
            said_no_acks: AtomicBool::new(false),
            said_halving: Mutex::new(None),
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
        let refused = self.bad_indexes.refused(Instant::now());
        let mut plan = Plan::knowing(&batch.events, refused, self.fallback_index.is_some());
        let mut under_way: FuturesUnordered<BoxFuture<'_, Step>> = FuturesUnordered::new();
        loop {
            while let Some(range) = plan.next(self.members.most_bytes(Instant::now())) {
                let failed = suspects.of(&range);
                let fallback = self.fallback_index.as_deref().filter(|_| plan.is_rerouted(&range));
                let sent = self.deliver_some(batch, range, fallback, failed, tenure);
                under_way.push(sent.map(|settled| settled.map_or(Step::Over, Step::Settled)).boxed());
            }
            match under_way.next().await {
                Some(Step::Settled(settled)) => {
                    let Settled { range, verdict, failed, waits } = settled;
                    match &verdict {
                        Verdict::Accepted { .. } if plan.is_rerouted(&range) => self.counters.rerouted(range.len()),
                        Verdict::Index { index, code, reason } => self.learn_index(index.as_deref(), code, reason),
                        _ => {}
                    }
                    let member = failed.as_ref().map(|failed| Arc::clone(&failed.member));
                    if let (Verdict::Halve, Some(failed)) = (&verdict, failed) {
                        suspects.add(range.clone(), failed);
                    }
                    if let Some(bytes) = plan.settle(range, verdict) {
                        let what = "requests that are larger get no answer; sending no larger ones for now";
                        let members = self.members.all().iter();
                        let learning =
                            members.filter(|one| member.as_ref().is_none_or(|member| Arc::ptr_eq(one, member)));
                        learning.for_each(|member| member.learn(bytes, Instant::now(), what));
                    }
                    under_way.extend(waits.map(|waits| acknowledged(waits).boxed()));
                }
                Some(Step::Acknowledged(_, Fate::Indexed)) => {}
                Some(Step::Acknowledged(range, Fate::Expired | Fate::Lost)) => {
                    self.counters.retry();
                    self.counters.maybe_taken(range.len());
                    plan.send_again(range);
                }
                Some(Step::Over) => return None,
                None => break,
            }
        }
        let rejected = plan.into_rejected();
        for rejected in &rejected {
            self.counters.rejected(&rejected.code);
        }
        Some(Outcome::Done(rejected))
    }

    /// Sends these events again and again, until there is a verdict that is about them. `fallback`: the index that they go to
    /// instead of their own. `failed`: the first failure of the request that they are a part of.
    async fn deliver_some(
        &self,
        batch: &Arc<Output>,
        range: Range<usize>,
        fallback: Option<&str>,
        mut failed: Option<FailedAt>,
        tenure: &Tenure,
    ) -> Option<Settled> {
        let plain = match fallback {
            Some(index) => body_for_index(batch, &range, index),
            None => body(batch, &range),
        };
        let mut packed = None;
        let mut suspicion = Suspicion::default();
        let mut pause = Backoff::new(self.timing.first, self.timing.most, random());
        loop {
            let permit = self.members.turn(failed.as_ref().map(|failed| &failed.member)).await;
            let member = permit.member();
            if failed.as_ref().is_some_and(|failed| !Arc::ptr_eq(&failed.member, &member)) {
                // Whatever that member has against it, this one may not.
                suspicion.clear();
                failed = None;
            }
            let gzip = member.gzip();
            let body = match &packed {
                _ if !gzip => plain.clone(),
                Some(packed) => Bytes::clone(packed),
                None => packed.insert(compress(plain.clone()).await).clone(),
            };
            if !tenure.holds() {
                return None;
            }
            let load = Load::new(&member, plain.len());
            let sent = Sent {
                events: &batch.events,
                range: range.clone(),
                gzip,
                index: self.index.as_deref(),
                partial: self.partial,
            };
            let sent_at = Instant::now();
            let Answer { verdict, failure, acknowledgement } = self.request(&member, body, &sent).await;
            let verdict = match (verdict, fallback) {
                (Verdict::Index { reason, .. }, Some(index)) => fallback_refused(index, &reason),
                (verdict, _) => verdict,
            };
            match failure {
                Some(how) if member.answers_empty(self.timing.probe).await => {
                    let first = || FailedAt { member: Arc::clone(&member), first: member.tally.first_failure(sent_at) };
                    let first = failed.get_or_insert_with(first).first;
                    let evidence = member.tally.since(first, Instant::now());
                    let next = suspicion.failed(how, range.len(), evidence);
                    match next {
                        Next::Again => {}
                        Next::Halve => self.say_halving(&member, &verdict, plain.len(), range.len()),
                        Next::Reject(times) => {
                            self.blame_request(&verdict, how, permit);
                            let verdict = reject_unanswered(&member, batch, &range, &verdict, times);
                            return Some(Settled { range, verdict, failed, waits: None });
                        }
                    }
                    if evidence.is_outage(self.timing.patience) {
                        self.note(takes_no_events(verdict), permit, sent_at, plain.len(), range.len());
                    } else {
                        self.blame_request(&verdict, how, permit);
                        drop(load);
                        tokio::time::sleep(pause.next(None)).await;
                    }
                    if next == Next::Halve {
                        return Some(Settled { range, verdict: Verdict::Halve, failed, waits: None });
                    }
                }
                _ => {
                    suspicion.clear();
                    failed = None;
                    if let Some(verdict) = self.note(verdict, permit, sent_at, plain.len(), range.len()) {
                        let waits = acknowledgement.map(|acknowledgement| {
                            let range = range.start..range.start + kept(&verdict, range.len());
                            Waits { acknowledgement, range, load: load.accepted() }
                        });
                        return Some(Settled { range, verdict, failed, waits });
                    }
                }
            }
            // Whoever else waits for the next try comes first: that they pass, or don't, tells what is wrong.
            tokio::task::yield_now().await;
        }
    }

    /// Sends one request, and says what its answer means.
    async fn request(&self, member: &Member, body: Bytes, sent: &Sent<'_>) -> Answer {
        let none = |verdict| Answer { verdict, failure: None, acknowledgement: None };
        let sending = match &member.acks {
            None => None,
            Some(acks) => match acks.confirm().await {
                Ok(()) => Some(acks.begin()),
                Err(CheckError::Down(cause)) => return none(Verdict::Retry { floor: None, maybe_taken: 0, cause }),
                Err(CheckError::Refused(cause)) => return none(Verdict::Hold { cause }),
            },
        };
        self.counters.request(body.len());
        let asked = Instant::now();
        let reply = member.endpoint.post(body, sent.gzip, sending.as_ref().map(Sending::channel)).await;
        self.counters.answered(reply.as_ref().ok().map(|reply| reply.status), asked.elapsed());
        let (verdict, failure) = match reply {
            Ok(reply) => (classify(&reply, sent), foreign(&reply)),
            Err(fault) => {
                let failure = fault.failure();
                (fault.verdict(sent.range.len()), failure)
            }
        };
        let (Some(acks), Some(sending)) = (&member.acks, sending) else {
            return Answer { verdict, failure, acknowledgement: None };
        };
        let is_unanswered = failure.is_some();
        let verdict = with_acks(verdict);
        let acknowledgement = match &verdict {
            Verdict::Accepted { ack_id: Some(id), .. } => sending.accepted(*id, true),
            Verdict::Event { ack_id: Some(id), .. } | Verdict::Alone { ack_id: Some(id), .. } => {
                sending.accepted(*id, kept(&verdict, sent.range.len()) > 0)
            }
            // Nobody knows what became of it.
            Verdict::Bisect | Verdict::Retry { maybe_taken: 1.., .. } => None,
            Verdict::Hold { .. } if is_unanswered => None,
            Verdict::Hold { .. } => {
                // Events may have been accepted without an id; before others are, the token has to show that it gives some.
                acks.doubt();
                None
            }
            _ => {
                sending.refused();
                None
            }
        };
        Answer { verdict, failure, acknowledgement }
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

    fn say_halving(&self, member: &Member, failed: &Verdict, bytes: usize, events: usize) {
        let (Verdict::Retry { cause, .. } | Verdict::Hold { cause }) = failed else { return };
        let now = Instant::now();
        let mut said = self.said_halving.lock().expect("nothing panics while it holds a time");
        if said.is_none_or(|at| now >= at + HALVING_REMINDER) {
            *said = Some(now);
            let what = &cause.what;
            tracing::warn!(
                url = member.url(),
                events,
                bytes,
                what,
                "a request fails again and again while the collector answers; sending its events in halves"
            );
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
        let member = permit.member();
        match &verdict {
            Verdict::Retry { floor, maybe_taken, cause } => {
                if permit.settle(|flow, ticket| flow.failed(ticket, now, *floor)) {
                    member.standing.failed(began, now, cause);
                }
                self.counters.retry();
                self.counters.maybe_taken(*maybe_taken);
                return None;
            }
            Verdict::Hold { cause } => {
                if permit.settle(|flow, ticket| flow.held(ticket, now)) {
                    member.standing.held(now, cause);
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
                    member.standing.up(now);
                }
                if matches!(verdict, Verdict::Accepted { .. }) {
                    member.tally.accepted(count, now);
                }
            }
        }
        match &verdict {
            Verdict::GzipOff => {
                if member.no_gzip() {
                    tracing::warn!(url = member.url(), "the collector reads no gzip; sending without");
                }
                self.counters.retry();
                return None;
            }
            Verdict::Split => member.learn(bytes / 10 * 9, now, "the collector found a request too large"),
            Verdict::Bisect => self.counters.maybe_taken(count),
            Verdict::Accepted { ack_id: Some(_), .. }
            | Verdict::Event { ack_id: Some(_), .. }
            | Verdict::Alone { ack_id: Some(_), .. }
                if !self.waits_for_acks =>
            {
                self.say_no_acks(&member);
            }
            _ => {}
        }
        Some(verdict)
    }

    /// An index is refused: it is not asked about in every batch, and said once.
    fn learn_index(&self, index: Option<&str>, code: &str, reason: &str) {
        if self.bad_indexes.learn(index, code, reason, Instant::now()) {
            let then = match &self.fallback_index {
                Some(fallback) => format!("its events go to the index {fallback}"),
                None => "its events are refused for good (hec.fallback_index names another index)".to_owned(),
            };
            tracing::warn!(code, "HEC: an index is refused, {then}: {reason}");
        }
    }

    fn acks(&self) -> impl Iterator<Item = &Indexing> {
        self.members.all().iter().filter_map(|member| member.acks.as_ref())
    }

    fn say_no_acks(&self, member: &Member) {
        if !self.said_no_acks.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                url = member.url(),
                "the token has indexer acknowledgement, which is not waited for: delivered means accepted, not indexed; \
                 hec.ack = true waits for it"
            );
        }
    }
}

/// What one request came to.
#[derive(Debug)]
struct Answer {
    verdict: Verdict,
    /// How it failed, when that may be the fault of this very request.
    failure: Option<Failure>,
    acknowledgement: Option<Acknowledgement>,
}

/// The settings name an index that is refused as well.
fn fallback_refused(index: &str, reason: &str) -> Verdict {
    let what = format!("the fallback index {index:?} is refused: {reason}");
    Verdict::Hold {
        cause: Cause { what, hint: Some("allow it for the token in Splunk, or correct hec.fallback_index") },
    }
}

/// How many of the events of a request, from the first one on, were taken and are not sent again.
fn kept(verdict: &Verdict, count: usize) -> usize {
    match verdict {
        Verdict::Accepted { .. } => count,
        Verdict::Event { before: Before::Taken, bad: kept, .. }
        | Verdict::Alone { before: Before::Taken, suspect: kept, .. } => *kept,
        _ => 0,
    }
}

async fn acknowledged(waits: Waits) -> Step {
    let Waits { acknowledgement, range, load } = waits;
    let fate = acknowledgement.fate().await;
    drop(load);
    Step::Acknowledged(range, fate)
}

fn reject_unanswered(member: &Member, batch: &Output, range: &Range<usize>, failed: &Verdict, times: u32) -> Verdict {
    member.tally.unanswered();
    let verdict = ended_by_its_event(failed, times);
    if let Verdict::Event { reason, .. } = &verdict {
        tracing::warn!(event = range.start, shard = %batch.shard, "HEC: an event is refused for good: {reason}");
    }
    verdict
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
        let (mut agreed, mut failed) = (Vec::new(), None);
        for (member, checked) in join_all(self.members.all().iter().map(|member| member.checked())).await {
            let now = Instant::now();
            match checked {
                Ok(reply) => {
                    member.standing.up(now);
                    agreed.push((member.url(), reply.is_splunk));
                }
                Err(error) => {
                    member.standing.check_failed(began, now, &error);
                    failed.get_or_insert(error);
                }
            }
        }
        if let (Some(error), []) = (failed, &agreed[..]) {
            return Err(error);
        }
        let agrees = match (self.partial, agreed.iter().all(|(_, is_splunk)| *is_splunk)) {
            _ if self.waits_for_acks => "accepted the HEC token, which has indexer acknowledgement",
            (Partial::Auto, true) => "accepted the HEC token, and names itself Splunk",
            (Partial::Auto, false) => {
                "accepted the HEC token, and does not name itself Splunk: beside a bad event, the good ones of a request are \
                 sent again (hec.partial)"
            }
            (Partial::Kept | Partial::Refused, _) => "accepted the HEC token",
        };
        let urls: Vec<&str> = agreed.iter().map(|(url, _)| *url).collect();
        Ok(Checked { url: urls.join(", "), took: began.elapsed(), agrees })
    }

    fn address(&self) -> String {
        let urls: Vec<&str> = self.members.all().iter().map(|member| member.url()).collect();
        urls.join(", ")
    }

    fn promise(&self) -> Promise {
        if self.waits_for_acks {
            let sentence = "delivered means indexed: the indexers have acknowledged the events, so the death of one of them \
                            loses none";
            return Promise { label: "indexed", sentence };
        }
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

    /// Up while any of the members is; what is wrong with the others is a warning.
    fn health(&self) -> Health {
        let mut all: Vec<Health> = self.members.all().iter().map(|member| member.health()).collect();
        let best = |health: &Health| match health {
            Health::Up { .. } => 0,
            Health::Unknown => 1,
            Health::Down { .. } => 2,
            Health::Held { .. } => 3,
        };
        all.sort_by_key(best);
        all.swap_remove(0)
    }

    fn figures(&self) -> Figures {
        let now = Instant::now();
        // While others take events, the outage of one is none of the destination's.
        let outages = match self.members.all() {
            [alone] => alone.standing.outages(now).into_iter().collect(),
            _ => Vec::new(),
        };
        self.counters.snapshot().to_figures(outages)
    }

    fn gauges(&self) -> Vec<Gauge> {
        let gauge = |name, help, value| Gauge { name, help, value };
        let members = self.members.all();
        let up = members.iter().filter(|member| matches!(member.health(), Health::Up { .. })).count();
        let mut gauges = vec![
            gauge("members", "Collectors that events can go to", members.len() as u64),
            gauge("members_up", "Collectors that took the last request", up as u64),
        ];
        let waiting: Vec<Waiting> = self.acks().map(Indexing::waiting).collect();
        if waiting.is_empty() {
            return gauges;
        }
        let oldest = waiting.iter().filter_map(|waiting| waiting.oldest).min();
        gauges.extend([
            gauge(
                "unacknowledged_requests",
                "Requests that were accepted and wait for an acknowledgement of the indexers",
                waiting.iter().map(|waiting| waiting.requests as u64).sum(),
            ),
            gauge(
                "unacknowledged_bytes",
                "Bytes of events that were accepted and wait for an acknowledgement of the indexers",
                self.members.all().iter().map(|member| member.unacked_bytes()).sum(),
            ),
            gauge(
                "oldest_unacknowledged_seconds",
                "How long the oldest of them has waited",
                oldest.map_or(0, |oldest| oldest.elapsed().as_secs()),
            ),
        ]);
        gauges
    }

    fn warnings(&self) -> Vec<String> {
        let scattered =
            self.members.all().iter().filter(|member| member.acks.as_ref().is_some_and(Indexing::is_scattered));
        let scattered = scattered.map(|member| {
                format!(
                    "a load balancer at {} sends requests of one channel to several indexers, so each request needs a poll of \
                     its own: turn on its sticky sessions (cookies), or name the indexers in hec.url",
                    member.url()
                )
            });
        let others_work = matches!(self.health(), Health::Up { .. } | Health::Unknown);
        let broken = self.members.all().iter().filter(|_| others_work).filter_map(|member| match member.health() {
            Health::Down { cause, .. } => Some(format!("{} is down: {cause}", member.url())),
            Health::Held { cause, .. } => Some(format!("{} rejects our requests: {cause}", member.url())),
            Health::Up { .. } | Health::Unknown => None,
        });
        scattered.chain(broken).collect()
    }
}

#[cfg(test)]
mod tests;
