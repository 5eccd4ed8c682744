//! Divides a batch into requests, and tracks what remains to be sent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use super::reply::index_of;
use super::verdict::{Before, Verdict};
use crate::core::batch::Events;
use crate::destination::{Rejected, Rejection};

/// Maximum number of events in one request.
pub const MAX_EVENTS: usize = 5_000;

/// The remaining work of a batch. Every event is in exactly one state: to be sent, in flight, accepted, or rejected.
#[derive(Debug)]
pub struct Plan<'a> {
    events: &'a Events,
    /// Ranges to send, in order. They may be divided further, but are never joined.
    todo: VecDeque<Range<usize>>,
    rejected: Vec<Rejected>,
    /// Refused indexes, with the code and the reason.
    refused: BTreeMap<Option<String>, (String, String)>,
    /// Whether there is a fallback index.
    has_fallback: bool,
    /// Events for the fallback index.
    rerouted: BTreeSet<usize>,
    /// Halved requests without an answer, for whose halves no result is known yet or one was accepted.
    halved: Vec<Halved>,
}

/// A request that was halved because it got no answer.
#[derive(Debug)]
struct Halved {
    range: Range<usize>,
    middle: usize,
    one_passed: bool,
}

impl Halved {
    fn is_half(&self, range: &Range<usize>) -> bool {
        *range == (self.range.start..self.middle) || *range == (self.middle..self.range.end)
    }
}

impl<'a> Plan<'a> {
    /// All events are still to be sent.
    #[must_use]
    pub fn new(events: &'a Events) -> Self {
        Self::knowing(events, 0..events.len(), BTreeMap::new(), false)
    }

    /// The events of a range are to be sent. Those of indexes that are known to refuse events are rejected, or go to
    /// the fallback index if there is one ([`Plan::is_rerouted`]).
    #[must_use]
    pub fn knowing(
        events: &'a Events,
        range: Range<usize>,
        refused: BTreeMap<Option<String>, (String, String)>,
        has_fallback: bool,
    ) -> Self {
        let (todo, rejected, rerouted, halved) = Default::default();
        let mut plan = Self { events, todo, rejected, refused, has_fallback, rerouted, halved };
        plan.again(range);
        plan
    }

    /// Whether the events of a request go to the fallback index: all of them, or none.
    #[must_use]
    pub fn is_rerouted(&self, range: &Range<usize>) -> bool {
        self.rerouted.contains(&range.start)
    }

    /// Takes the events of the next request out of the plan: at most `max_body` bytes, but at least one event.
    pub fn next(&mut self, max_body: usize) -> Option<Range<usize>> {
        let range = self.todo.pop_front()?;
        let start = self.events.range(range.start).start;
        let fits = range
            .clone()
            .take(MAX_EVENTS)
            .take_while(|event| self.events.range(*event).end - start <= max_body)
            .count();
        let end = range.start + fits.max(1);
        if end < range.end {
            self.todo.push_front(end..range.end);
        }
        Some(range.start..end)
    }

    /// Records the verdict on a request from [`Plan::next`]. If a request without an answer turns out to have been
    /// too large, returns the size that succeeds: both halves succeeded. If one event was the cause, one half always
    /// fails.
    pub fn settle(&mut self, range: Range<usize>, verdict: Verdict) -> Option<usize> {
        match verdict {
            Verdict::Accepted { .. } => return self.passed(&range),
            Verdict::Event { before, bad, rejection, code, reason, .. } => {
                self.again(range.start + bad + 1..range.end);
                if before == Before::Unknown {
                    self.again(range.start..range.start + bad);
                }
                self.rejected.push(Rejected { event: range.start + bad, rejection, code, reason });
            }
            Verdict::Index { index, code, reason } => {
                if self.is_rerouted(&range) {
                    self.reject_for_its_index(range.start, &code, &reason);
                } else {
                    self.refused.insert(index, (code, reason));
                    self.again(range);
                }
            }
            Verdict::Alone { before, suspect, .. } => {
                let suspect = range.start + suspect;
                self.again(suspect + 1..range.end);
                self.again(suspect..suspect + 1);
                if before == Before::Unknown {
                    self.again(range.start..suspect);
                }
            }
            Verdict::Bisect | Verdict::Split | Verdict::Halve => {
                let middle = range.start + range.len() / 2;
                self.again(middle..range.end);
                self.again(range.start..middle);
                if verdict == Verdict::Halve {
                    self.halved.retain(|halved| !halved.is_half(&range));
                    self.halved.push(Halved { range, middle, one_passed: false });
                }
            }
            Verdict::Retry { .. } | Verdict::Hold { .. } | Verdict::GzipOff => self.again(range),
        }
        None
    }

    /// Whether each event that is not to be sent was accepted as it is in the output.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.rejected.is_empty() && self.rerouted.is_empty()
    }

    /// Events that were accepted, but not acknowledged in time.
    pub fn send_again(&mut self, range: Range<usize>) {
        self.again(range);
    }

    /// The rejected events, in batch order, once nothing remains to be sent.
    #[must_use]
    pub fn into_rejected(mut self) -> Vec<Rejected> {
        self.rejected.sort_by_key(|rejected| rejected.event);
        self.rejected
    }
}

impl Plan<'_> {
    /// Queues events again, except those whose index is known to be refused, which would each cost a request. Those are
    /// rejected, or sent in separate requests to the fallback index.
    fn again(&mut self, range: Range<usize>) {
        if self.refused.is_empty() {
            self.push(range);
            return;
        }
        let mut end = range.end;
        for event in range.clone().rev() {
            let index = (!self.rerouted.contains(&event)).then(|| index_of(self.events.get(event)));
            match index.and_then(|index| self.refused.get(&index).cloned()) {
                None => {}
                Some(_) if self.has_fallback => {
                    self.rerouted.insert(event);
                }
                Some((code, reason)) => {
                    self.push(event + 1..end);
                    self.reject_for_its_index(event, &code, &reason);
                    end = event;
                    continue;
                }
            }
            let next = event + 1;
            if next < end && self.rerouted.contains(&event) != self.rerouted.contains(&next) {
                self.push(next..end);
                end = next;
            }
        }
        self.push(range.start..end);
    }

    fn passed(&mut self, range: &Range<usize>) -> Option<usize> {
        let at = self.halved.iter().position(|halved| halved.is_half(range))?;
        if !std::mem::replace(&mut self.halved[at].one_passed, true) {
            return None;
        }
        let Halved { range, middle, .. } = self.halved.swap_remove(at);
        Some(self.bytes(range.start..middle).max(self.bytes(middle..range.end)))
    }

    fn bytes(&self, range: Range<usize>) -> usize {
        self.events.range(range.end - 1).end - self.events.range(range.start).start
    }

    fn push(&mut self, range: Range<usize>) {
        if !range.is_empty() {
            self.todo.push_front(range);
        }
    }

    fn reject_for_its_index(&mut self, event: usize, code: &str, reason: &str) {
        let (code, reason) = (code.to_owned(), reason.to_owned());
        self.rejected.push(Rejected { event, rejection: Rejection::Refused, code, reason });
    }
}

#[cfg(test)]
mod tests;
