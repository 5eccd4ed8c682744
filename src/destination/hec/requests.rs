//! Sends a request until a reply decides about its events, to whichever member is available.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::ack_probes::PROBE_BYTES;
use super::body::{body, body_for_index, compress};
use super::config_error::ConfigError;
use super::counters::Counters;
use super::doubts::Doubts;
use super::exchange::{Answer, exchange, kept};
use super::failures::Failures;
use super::indexing::{AckProbe, Acknowledgement};
use super::member::{Load, Member};
use super::members::{Members, Permit, Wanted};
use super::notices::Notices;
use super::reply::Sent;
use super::roster::{LookUp, Roster};
use super::suspicion::{Failure, Next, Suspicion};
use super::timing::Timing;
use super::verdict::{Verdict, ended_by_its_event, takes_no_events};
use super::{Config, Partial};
use crate::core::backoff::Backoff;
use crate::core::batch::Output;
use crate::core::cause::Cause;
use crate::core::lease::Tenure;

/// State shared by all requests.
#[derive(Debug)]
pub(super) struct Requests {
    /// Where they go.
    pub(super) members: Members,
    /// Their counts.
    pub(super) counters: Counters,
    /// What the receiver does with events before a bad one.
    pub(super) partial: Partial,
    /// Whether delivered means indexed.
    pub(super) waits_for_acks: bool,
    index: Option<String>,
    timing: Timing,
    notices: Notices,
}

/// The result of a request.
#[derive(Debug)]
pub(super) struct Settled {
    /// Its events.
    pub(super) range: Range<usize>,
    /// The verdict on them.
    pub(super) verdict: Verdict,
    /// The member that decided.
    pub(super) member: Arc<Member>,
    /// Where it got no answer.
    pub(super) failures: Failures,
    /// Its pending acknowledgement.
    pub(super) waits: Option<Waits>,
}

/// The wait for the acknowledgement of events that were accepted.
#[derive(Debug)]
pub(super) struct Waits {
    /// Resolves when it arrives, or will not arrive any more.
    pub(super) acknowledgement: Acknowledgement,
    /// The events before the bad one, if there is one; otherwise all of the request.
    pub(super) range: Range<usize>,
    /// Held meanwhile.
    pub(super) load: Load,
    /// The compressed body of the request, if all its events were accepted as they are in the batch.
    pub(super) body: Option<Bytes>,
}

impl Requests {
    /// Checks the settings and reads the files that they name. It sends nothing yet.
    ///
    /// # Errors
    /// A setting is wrong.
    pub(super) fn new(config: &Config, timing: Timing, look_up: LookUp) -> Result<Self, ConfigError> {
        Ok(Self {
            members: Members::new(Roster::new(config, timing, look_up)?, timing.token_poll),
            counters: Counters::default(),
            partial: config.partial,
            waits_for_acks: config.ack.is_some(),
            index: config.index.clone().filter(|index| !index.is_empty()),
            timing,
            notices: Notices::default(),
        })
    }

    /// Sends these events until there is a verdict on them. `fallback`: the index that they go to instead of their
    /// own. `failures`: where the request that they are a part of failed.
    pub(super) async fn send(
        &self,
        batch: &Arc<Output>,
        range: Range<usize>,
        fallback: Option<&str>,
        mut failures: Failures,
        tenure: &Tenure,
    ) -> Option<Settled> {
        let plain = plain_body(batch, &range, fallback);
        let mut packed = None;
        let bytes = batch.events.range(range.end - 1).end - batch.events.range(range.start).start;
        let events = range.len();
        let mut suspicion = Suspicion::default();
        let mut doubts = Doubts::default();
        let mut pause = Backoff::new(self.timing.first, self.timing.most, fastrand::u64(..));
        loop {
            let wanted = Wanted { bytes, events, failures: &failures };
            let mut permit = doubts.beside(self.members.turn(&wanted)).await;
            let member = permit.member();
            if let Some(probe) = permit.take_ack_probe() {
                let probed = doubts.beside(self.probe_acks(permit, probe, batch, &range, fallback, tenure)).await?;
                let Some(verdict) = probed else { continue };
                return Some(Settled { range, verdict, member, failures, waits: None });
            }
            if !wanted.fits(&member, Instant::now()) {
                return Some(Settled { range, verdict: Verdict::Split, member, failures, waits: None });
            }
            if failures.go_to(&member) {
                suspicion.clear();
            }
            let gzip = member.gzip();
            let body = match &packed {
                _ if !gzip => plain.clone(),
                Some(packed) => Bytes::clone(packed),
                None => packed.insert(compress(plain.clone()).await).clone(),
            };
            let load = Load::new(&member, plain.len());
            let sent = Sent {
                events: &batch.events,
                range: range.clone(),
                gzip,
                index: self.index.as_deref(),
                partial: self.partial,
            };
            let sent_at = Instant::now();
            let hangs = self.hangs(&member, bytes, events, &failures);
            let exchange = exchange(&member, &self.counters, body, &sent, None, hangs, tenure);
            let Answer { verdict, failure, acknowledgement } = doubts.beside(exchange).await?;
            let verdict = of_fallback(verdict, fallback);
            let successes = member.tally.successes();
            if failure.is_some() {
                failures.add(&member);
            }
            match failure {
                Some(how) if self.goes_elsewhere(bytes, events, &failures) => {
                    failures.suspect(false, &member, sent_at);
                    self.count_retry(&verdict);
                    if permit.is_probe() {
                        permit.fail(&verdict, sent_at);
                    } else {
                        doubts.add(permit, how, verdict, sent_at, self.timing.probe);
                    }
                }
                Some(how) if doubts.beside(member.answers_empty(self.timing.probe)).await => {
                    let first = failures.suspect(true, &member, sent_at);
                    let evidence = member.tally.between(first, successes, Instant::now());
                    let next = suspicion.failed(how, events, evidence);
                    match next {
                        Next::Again => {}
                        Next::Halve => self.notices.halving(member.url(), &verdict, plain.len(), events),
                        Next::Reject(times) => {
                            self.blame_request(&verdict, how, permit);
                            let verdict = reject_unanswered(&member, &verdict, times);
                            return Some(Settled { range, verdict, member, failures, waits: None });
                        }
                    }
                    if evidence.is_outage(self.timing.patience) {
                        self.note(takes_no_events(verdict), permit, sent_at, bytes, events);
                    } else {
                        self.blame_request(&verdict, how, permit);
                        drop(load);
                        tokio::time::sleep(pause.next(None)).await;
                    }
                    if next == Next::Halve {
                        return Some(Settled { range, verdict: Verdict::Halve, member, failures, waits: None });
                    }
                }
                _ => {
                    suspicion.clear();
                    failures.clear();
                    let noted = self.note(verdict, permit, sent_at, bytes, events);
                    let wanted = Wanted { bytes, events, failures: &failures };
                    let fits = wanted.fits(&member, Instant::now());
                    if noted == Some(Verdict::Split) && !fits && !self.members.others_for(&wanted).is_empty() {
                        // Too large for this member only.
                        self.counters.retry();
                    } else if let Some(verdict) = noted {
                        doubts.confirm();
                        let waits = acknowledgement.map(|acknowledgement| {
                            let kept = kept(&verdict, events);
                            let body = packed.filter(|_| gzip && fallback.is_none() && kept == events);
                            let range = range.start..range.start + kept;
                            Waits { acknowledgement, range, load: load.accepted(), body }
                        });
                        return Some(Settled { range, verdict, member, failures, waits });
                    }
                }
            }
            // Other waiting requests go first: their results show the cause.
            tokio::task::yield_now().await;
        }
    }

    /// Sends the first of these events to a member whose indexers acknowledge nothing, to learn whether they do again.
    /// Accepted events are sent to another member anyway. Returns the verdict if one of the events was refused: it would
    /// be refused in every later probe, and if no member acknowledges, probes are all that is sent. `None`: the tenure
    /// was over before the send.
    async fn probe_acks(
        &self,
        permit: Permit<'_>,
        probe: AckProbe,
        batch: &Arc<Output>,
        range: &Range<usize>,
        fallback: Option<&str>,
        tenure: &Tenure,
    ) -> Option<Option<Verdict>> {
        let start = batch.events.range(range.start).start;
        let fits = range.clone().take_while(|event| batch.events.range(*event).end - start <= PROBE_BYTES).count();
        let range = range.start..range.start + fits.max(1);
        let body = plain_body(batch, &range, fallback);
        let (member, bytes, events) = (permit.member(), body.len(), range.len());
        let sent =
            Sent { events: &batch.events, range, gzip: false, index: self.index.as_deref(), partial: self.partial };
        let _load = Load::new(&member, bytes);
        let sent_at = Instant::now();
        let to_its_end = std::future::pending();
        let answer = exchange(&member, &self.counters, body, &sent, Some(probe), to_its_end, tenure).await?;
        self.counters.maybe_taken(kept(&answer.verdict, events));
        let noted = self.note(of_fallback(answer.verdict, fallback), permit, sent_at, bytes, events);
        let refused = noted.filter(|verdict| !matches!(verdict, Verdict::Accepted { .. }));
        if let (Some(_), Some(acks)) = (&refused, &member.acks) {
            acks.probe_again();
        }
        Some(refused.map(Verdict::with_all_others_to_send))
    }

    /// A failure of only this request: the destination answers others.
    fn blame_request(&self, failed: &Verdict, how: Failure, permit: Permit<'_>) {
        permit.settle(|flow, ticket| match how {
            Failure::Ended => flow.answered(ticket),
            // A collector that is slow with large requests gets fewer at once.
            Failure::Silence => flow.taken(ticket, true),
        });
        self.count_retry(failed);
    }

    /// Whether a request that failed goes to another member before it is suspected.
    fn goes_elsewhere(&self, bytes: usize, events: usize, failures: &Failures) -> bool {
        failures.may_go_elsewhere() && !self.members.others_for(&Wanted { bytes, events, failures }).is_empty()
    }

    /// Resolves when this member, to which a request is sent now, hangs and another works that takes it: the one answers
    /// nothing, not even an empty request, and the other answers an empty request sent at the same time. A slow member
    /// answers empty requests, and members that stall together are waited for.
    async fn hangs(&self, member: &Arc<Member>, bytes: usize, events: usize, failures: &Failures) {
        let mut failures = failures.clone();
        failures.add(member);
        loop {
            let since = Instant::now();
            tokio::time::sleep(self.timing.silence).await;
            if !failures.may_go_elsewhere() || !member.tally.is_silent_since(since) {
                continue;
            }
            let others = self.members.others_for(&Wanted { bytes, events, failures: &failures });
            if others.is_empty() {
                continue;
            }
            let others = join_all(others.iter().map(|other| other.answers_empty(self.timing.silence)));
            let (answers, others_answer) = tokio::join!(member.answers_empty(self.timing.silence), others);
            if !answers && others_answer.contains(&true) && member.tally.is_silent_since(since) {
                return;
            }
        }
    }

    fn count_retry(&self, failed: &Verdict) {
        self.counters.retry();
        if let Verdict::Retry { maybe_taken, .. } = failed {
            self.counters.maybe_taken(*maybe_taken);
        }
    }

    /// Applies the consequences for all requests; the returned verdict concerns only the events of this one.
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
            Verdict::Retry { .. } | Verdict::Hold { .. } => {
                permit.fail(&verdict, began);
                self.count_retry(&verdict);
                return None;
            }
            verdict => {
                let open = permit.settle(|flow, ticket| match verdict {
                    Verdict::Accepted { slow_down, .. } => flow.taken(ticket, *slow_down),
                    _ => flow.answered(ticket),
                });
                if open {
                    member.request_health.up(now);
                }
                member.tally.answered(began, now);
                if matches!(verdict, Verdict::Accepted { .. }) {
                    member.tally.accepted(count, now);
                }
            }
        }
        match &verdict {
            Verdict::GzipOff => {
                if member.no_gzip() {
                    tracing::warn!(url = member.url(), "the collector does not accept gzip; sending without it");
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
                self.notices.no_acks(member.url());
            }
            _ => {}
        }
        Some(verdict)
    }
}

fn plain_body(batch: &Arc<Output>, range: &Range<usize>, fallback: Option<&str>) -> Bytes {
    match fallback {
        Some(index) => body_for_index(batch, range, index),
        None => body(batch, range),
    }
}

/// The verdict, unless the fallback index of the settings is refused too.
fn of_fallback(verdict: Verdict, fallback: Option<&str>) -> Verdict {
    let (Verdict::Index { reason, .. }, Some(index)) = (&verdict, fallback) else { return verdict };
    let what = format!("the fallback index {index:?} is refused: {reason}");
    Verdict::Hold {
        cause: Cause { what, hint: Some("allow it for the token in Splunk, or correct hec.fallback_index") },
    }
}

fn reject_unanswered(member: &Member, failed: &Verdict, times: u32) -> Verdict {
    member.tally.unanswered();
    ended_by_its_event(failed, times)
}
