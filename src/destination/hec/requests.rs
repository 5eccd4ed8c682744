//! Sends a request until a reply decides about its events, to whichever member is available.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::body::{body, body_for_index, compress};
use super::config_error::ConfigError;
use super::counters::Counters;
use super::exchange::{Answer, exchange, kept};
use super::indexing::Acknowledgement;
use super::member::{Load, Member};
use super::members::{Members, Permit};
use super::notices::Notices;
use super::reply::{Sent, Verdict, ended_by_its_event, takes_no_events};
use super::roster::{LookUp, Roster};
use super::suspicion::{Failure, Next, Suspicion};
use super::tally::FirstFailure;
use super::timing::Timing;
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
    /// Its first failure without an answer.
    pub(super) failed: Option<FailedAt>,
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

/// The first failure of a request, and where it failed.
#[derive(Debug, Clone)]
pub(super) struct FailedAt {
    /// Where.
    pub(super) member: Arc<Member>,
    first: FirstFailure,
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
    /// own. `failed`: the first failure of the request that they are a part of.
    pub(super) async fn send(
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
        let mut pause = Backoff::new(self.timing.first, self.timing.most, fastrand::u64(..));
        loop {
            let permit = self.members.turn(failed.as_ref().map(|failed| &failed.member)).await;
            let member = permit.member();
            if failed.as_ref().is_some_and(|failed| !Arc::ptr_eq(&failed.member, &member)) {
                // The cause at that member may not exist at this one.
                suspicion.clear();
                failed = None;
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
            let Answer { verdict, failure, acknowledgement } =
                exchange(&member, &self.counters, body, &sent, tenure).await?;
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
                        Next::Halve => self.notices.halving(member.url(), &verdict, plain.len(), range.len()),
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
                            let kept = kept(&verdict, range.len());
                            let body = packed.filter(|_| gzip && fallback.is_none() && kept == range.len());
                            let range = range.start..range.start + kept;
                            Waits { acknowledgement, range, load: load.accepted(), body }
                        });
                        return Some(Settled { range, verdict, failed, waits });
                    }
                }
            }
            // Other waiting requests go first: their results show the cause.
            tokio::task::yield_now().await;
        }
    }

    /// A failure of only this request: the destination answers others.
    fn blame_request(&self, failed: &Verdict, how: Failure, permit: Permit<'_>) {
        permit.settle(|flow, ticket| match how {
            Failure::Ended => flow.answered(ticket),
            // A collector that is slow with large requests gets fewer at once.
            Failure::Silence => flow.taken(ticket, true),
        });
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
            Verdict::Retry { floor, maybe_taken, cause } => {
                if permit.settle(|flow, ticket| flow.failed(ticket, now, *floor)) {
                    member.request_health.failed_until(began, now, now + floor.unwrap_or_default(), cause);
                }
                self.counters.retry();
                self.counters.maybe_taken(*maybe_taken);
                return None;
            }
            Verdict::Hold { cause } => {
                if permit.settle(|flow, ticket| flow.held(ticket, now)) {
                    member.request_health.held(now, cause);
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
                    member.request_health.up(now);
                }
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

/// The fallback index of the settings is refused too.
fn fallback_refused(index: &str, reason: &str) -> Verdict {
    let what = format!("the fallback index {index:?} is refused: {reason}");
    Verdict::Hold {
        cause: Cause { what, hint: Some("allow it for the token in Splunk, or correct hec.fallback_index") },
    }
}

fn reject_unanswered(member: &Member, batch: &Output, range: &Range<usize>, failed: &Verdict, times: u32) -> Verdict {
    member.tally.unanswered();
    let verdict = ended_by_its_event(failed, times);
    if let Verdict::Event { reason, .. } = &verdict {
        tracing::warn!(event = range.start, shard = %batch.shard, "HEC: an event is refused for good: {reason}");
    }
    verdict
}
