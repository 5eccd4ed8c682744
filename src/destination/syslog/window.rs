//! Tracks which events are written but not proven, which are proven, and which must be written again. A pure state
//! machine.
//!
//! Batches are written in the order of arrival, on one connection after the other. A connection that was closed
//! strictly proves the events written on it, once its successor, which was opened before the close, has stayed
//! connected for the lag. Batches continue on the successor during the close. After any error, all unproven events
//! are written again.
//!
//! The number of events on a connection before a proof is limited by the *room*, which is small until the receiver
//! has proved something. The bytes that are not proven are limited by the *allowance*: what the receiver reads in about
//! an interval. So a receiver that dies gets only about that much again.
//!
//! If the connection repeatedly fails before the same first event is proven, although connecting works, an event may
//! be the cause. Then groups of events are sent and proven separately; a failing group is halved, until one event is
//! left. That event is refused only if another event was proven since the last refusal: a receiver that fails on
//! everything is broken. Without such evidence, the event is set aside until a later one is accepted, and is then
//! tried again.

mod allowance;

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;

use allowance::Allowance;

/// Failures at the same position after which an event is suspected, and failures of a single event after which it
/// counts as the cause.
const DEATHS_TO_SUSPECT: u32 = 3;

/// Bytes after which a proof is worthwhile, like a whole interval.
const PROOF_BYTES: u32 = 20_000_000;

/// Bytes that are worth a proof at once when memory is short.
const MIN_PROOF_BYTES: usize = PROOF_BYTES as usize / 8;

/// This fraction of the allowance is worth a proof.
const ALLOWANCE_PART: usize = 4;

/// If nothing more waits, this fraction of an interval without a new message is enough for a proof.
const QUIET_PART: u32 = 4;

/// A batch in the window. Later ones are larger.
pub(super) type Id = u64;

/// Events of one batch to be written consecutively.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) id: Id,
    pub(super) events: Range<usize>,
}

/// Why a connection ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Break {
    /// The peer ended it while it carried unproven events: one of them may be the cause.
    ByPeer,
    /// A timeout, the network, or our own decision.
    Other,
}

/// The progress of batches.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct WindowProgress {
    /// Events that make the receiver fail.
    pub(super) rejected: Vec<(Id, usize)>,
    /// Batches of which every event is proven or rejected.
    pub(super) finished: Vec<Id>,
    /// Whether anything was proven.
    pub(super) proven: bool,
}

#[derive(Debug, Clone)]
struct WindowEntry {
    id: Id,
    events: usize,
    bytes: usize,
    /// Events before this one are proven or rejected.
    done: usize,
    /// This many from there on are set aside: each made the connection fail alone, and nothing was proven since.
    aside: usize,
    /// Events before this one are written.
    sent: usize,
}

impl WindowEntry {
    /// Number of written and unproven events.
    fn under_way(&self) -> usize {
        self.sent - self.done - self.aside
    }
}

/// The search for an event that kills the connection.
#[derive(Debug, Clone)]
struct Search {
    /// Events in a group.
    size: usize,
    /// Something was proven since the last event was refused.
    evidence: bool,
    /// The last batch that may contain the cause.
    last: Id,
}

/// The events on a connection.
#[derive(Debug, Default, Clone, Copy)]
struct Load {
    events: usize,
    bytes: usize,
    /// When its first and its last event were begun.
    times: Option<(Instant, Instant)>,
    /// The last batch on it, and how many events of that batch are written by then. All earlier batches are.
    end: (Id, usize),
}

/// A connection that was closed strictly, and whose lag is waited for.
#[derive(Debug, Clone, Copy)]
struct ClosedLink {
    at: Instant,
    load: Load,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Window {
    interval: Duration,
    lag: Duration,
    /// Maximum number of events on connections that are not closed.
    room: usize,
    /// How many bytes may be unproven.
    allowance: Allowance,
    /// Half of the memory for what is under way is in use, over all shards and destinations.
    crowded: bool,
    entries: VecDeque<WindowEntry>,
    load: Load,
    /// The events on the previous connection, during its close.
    closing: Option<Load>,
    rotated: Option<Instant>,
    /// Connections that were closed strictly, oldest first.
    closed: VecDeque<ClosedLink>,
    /// Failures in a row while this event was the first unproven one.
    deaths: Option<((Id, usize), u32)>,
    search: Option<Search>,
}

impl Window {
    /// Nothing is written yet. A proof begins once per `interval`, and is valid after `lag`.
    pub(super) fn new(interval: Duration, lag: Duration) -> Self {
        Self {
            interval,
            lag,
            room: usize::MAX,
            allowance: Allowance::new(interval + lag),
            crowded: false,
            entries: VecDeque::new(),
            load: Load::default(),
            closing: None,
            rotated: None,
            closed: VecDeque::new(),
            deaths: None,
            search: None,
        }
    }

    /// A batch of this many events arrived; `id` is larger than all before.
    pub(super) fn push(&mut self, id: Id, events: usize, bytes: usize) {
        self.entries.push_back(WindowEntry { id, events, bytes, done: 0, aside: 0, sent: 0 });
    }

    /// Sets how many events may be written, at least one, before their connection must be proven.
    pub(super) fn set_room(&mut self, events: usize) {
        self.room = events.max(1);
    }

    /// Whether half of the memory is in use in which events wait for their proof.
    pub(super) fn set_crowded(&mut self, crowded: bool) {
        self.crowded = crowded;
    }

    /// Whether there is no batch.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the current connection, or an earlier closed one, has unproven events.
    pub(super) fn is_unproven(&self) -> bool {
        self.load.times.is_some() || self.closing.is_some() || !self.closed.is_empty()
    }

    /// The next events to write, which count as begun; `None` while a proof must come first.
    pub(super) fn begin(&mut self, now: Instant) -> Option<Span> {
        if self.is_full() {
            return None;
        }
        if self.is_stepping_over() && self.is_all_sent() {
            // None is left to compare to.
            self.put_back();
        }
        let group = self.search.as_ref().map_or(usize::MAX, |search| search.size - self.under_way());
        let room = group.min(self.room - self.carried());
        let bytes = self.free_bytes();
        let entry = self.entries.iter_mut().find(|entry| entry.sent < entry.events)?;
        let room = room.min(bytes.div_ceil((entry.bytes / entry.events).max(1)));
        let end = entry.events.min(entry.sent.saturating_add(room));
        let span = Span { id: entry.id, events: entry.sent..end };
        entry.sent = end;
        self.load.events += span.events.len();
        self.load.bytes += entry.bytes / entry.events * span.events.len();
        self.load.times = Some((self.load.times.map_or(now, |(first, _)| first), now));
        self.load.end = (span.id, end);
        Some(span)
    }

    /// Events on connections that are not closed.
    fn carried(&self) -> usize {
        self.load.events + self.closing.map_or(0, |load| load.events)
    }

    /// Bytes that were written on earlier connections, and are not proven.
    fn closing_bytes(&self) -> usize {
        self.closing.map_or(0, |load| load.bytes) + self.closed.iter().map(|closed| closed.load.bytes).sum::<usize>()
    }

    fn under_way(&self) -> usize {
        self.entries.iter().map(WindowEntry::under_way).sum()
    }

    /// Whether there is nothing to write at present.
    fn is_idle(&self) -> bool {
        self.is_full() || self.is_all_sent()
    }

    /// Whether a proof is required before more is written.
    fn is_full(&self) -> bool {
        self.is_group_full() || self.is_room_full() || self.free_bytes() == 0
    }

    /// Bytes that may be written now. At most half of the allowance is on one connection, so that the receiver reads the
    /// other half while the first is being proven.
    fn free_bytes(&self) -> usize {
        let allowed = self.allowance.bytes();
        let on_one = allowed.div_ceil(2).saturating_sub(self.load.bytes);
        on_one.min(allowed.saturating_sub(self.load.bytes + self.closing_bytes()))
    }

    fn is_room_full(&self) -> bool {
        self.carried() >= self.room
    }

    fn is_all_sent(&self) -> bool {
        self.entries.iter().all(|entry| entry.sent == entry.events)
    }

    /// A group is written: the next waits for its proof.
    fn is_group_full(&self) -> bool {
        self.search.as_ref().is_some_and(|search| self.under_way() >= search.size)
    }

    fn is_stepping_over(&self) -> bool {
        self.entries.iter().any(|entry| entry.aside > 0)
    }

    /// Events that were set aside are tried again. Nothing may be in flight.
    fn put_back(&mut self) {
        for entry in &mut self.entries {
            entry.aside = 0;
            entry.sent = entry.done;
        }
    }

    /// When the present connection is to be proven: at once when nothing may be written before that, and when it carries so
    /// much that a proof is worth it; else an interval after it began to carry, and after the last proof, or sooner, by the
    /// part of [`PROOF_BYTES`] that it carries. When there is nothing more to write, what it began to carry lately need not
    /// be waited for, nor the interval when it is quiet for a part of it, nor that quiet when nothing more can come before
    /// a proof because memory is short.
    pub(super) fn rotate_at(&self) -> Option<Instant> {
        let (first, last) = self.load.times?;
        if self.search.is_some() || self.is_room_full() {
            return self.is_idle().then_some(first);
        }
        if self.load.bytes >= self.worth_a_proof() {
            return Some(first);
        }
        let spent = u32::try_from(self.load.bytes).map_or(PROOF_BYTES, |bytes| bytes.min(PROOF_BYTES));
        let wait = self.interval * (PROOF_BYTES - spent) / PROOF_BYTES;
        let earliest = self.rotated.map_or(first, |rotated| rotated + wait);
        let quiet = self.interval / QUIET_PART;
        Some(match self.is_idle() {
            true if self.crowded => self.rotated.map_or(first, |rotated| rotated + quiet).min(earliest).max(first),
            true => earliest.min(last + quiet).max(first),
            false => earliest.max(first + wait),
        })
    }

    /// Whether a proof by the bytes that are carried is half-way: its witness can be asked for, to be there in time.
    pub(super) fn nears_a_proof(&self) -> bool {
        self.search.is_none() && self.load.bytes >= self.worth_a_proof() / 2
    }

    /// Bytes that the present connection carries before it is proven at once. When memory is short they are as many as wait
    /// for their lag: so half of what fits is written while the other half waits.
    fn worth_a_proof(&self) -> usize {
        let most = (PROOF_BYTES as usize).min(self.allowance.bytes() / ALLOWANCE_PART);
        if self.crowded { self.closing_bytes().clamp(MIN_PROOF_BYTES.min(most), most) } else { most }
    }

    /// The current connection is being closed; later events use its successor.
    pub(super) fn closes(&mut self) {
        self.closing = Some(std::mem::take(&mut self.load));
    }

    /// The connection that was being closed is proven to have been read to its end.
    pub(super) fn closed(&mut self, now: Instant) {
        let load = self.closing.take().unwrap_or_default();
        if let Some((began, _)) = load.times {
            self.allowance.proven(load.bytes, began, now);
        }
        self.closed.push_back(ClosedLink { at: now, load });
        self.rotated = Some(now);
    }

    /// The current connection counts as read so far; later events count as on a new one.
    pub(super) fn rotated(&mut self, now: Instant) {
        self.closes();
        self.closed(now);
    }

    /// When the next proof is valid, if the current connection stays up until then.
    pub(super) fn due(&self) -> Option<Instant> {
        self.closed.front().map(|closed| closed.at + self.lag)
    }

    /// The current connection is up at `now`.
    pub(super) fn prove(&mut self, now: Instant) -> WindowProgress {
        let mut settled = WindowProgress::default();
        let is_stepping_over = self.is_stepping_over();
        while let Some(closed) = self.closed.front().copied().filter(|closed| closed.at + self.lag <= now) {
            self.closed.pop_front();
            let (last, written) = closed.load.end;
            for entry in self.entries.iter_mut().filter(|entry| entry.id <= last) {
                let written = if entry.id == last { written } else { entry.sent };
                if written > entry.done + entry.aside {
                    settled.proven = true;
                    if !is_stepping_over {
                        entry.done = written;
                    }
                }
            }
        }
        if !settled.proven {
            return settled;
        }
        self.deaths = None;
        if is_stepping_over {
            self.put_back();
        }
        if let Some(search) = &mut self.search {
            search.evidence = true;
            if !is_stepping_over {
                search.size = search.size.saturating_mul(2);
            }
        }
        self.collect(&mut settled);
        settled
    }

    /// Whether a search is running, in which events are proven in groups.
    pub(super) fn is_searching(&self) -> bool {
        self.search.is_some()
    }

    /// The receiver answered for all events of a batch before this one. Adds to `settled`.
    pub(super) fn advance(&mut self, id: Id, done: usize, settled: &mut WindowProgress) {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id && entry.done < done) else { return };
        entry.done = done.min(entry.sent);
        settled.proven = true;
        self.deaths = None;
        if entry.done == entry.events {
            self.collect(settled);
        }
    }

    /// The connection ended before its events were proven: all of them must be written again.
    pub(super) fn broke(&mut self, how: Break) -> WindowProgress {
        let mut settled = WindowProgress::default();
        let first = self.entries.iter().find(|entry| entry.under_way() > 0);
        let first = first.map(|entry| (entry.id, entry.done + entry.aside));
        if let (Break::ByPeer, Some(first)) = (how, first) {
            if self.search.is_some() {
                self.halve(first, &mut settled);
            } else if self.is_suspect(first) {
                self.start_search();
            }
        }
        self.closed.clear();
        self.allowance.reset();
        (self.load, self.closing) = (Load::default(), None);
        for entry in &mut self.entries {
            entry.sent = entry.done + entry.aside;
        }
        self.collect(&mut settled);
        settled
    }

    /// Counts a failure while this event was the first unproven one; returns whether it is suspected now.
    fn is_suspect(&mut self, first: (Id, usize)) -> bool {
        let deaths = self.deaths.filter(|(at, _)| *at == first).map_or(1, |(_, deaths)| deaths + 1);
        self.deaths = (deaths < DEATHS_TO_SUSPECT).then_some((first, deaths));
        deaths == DEATHS_TO_SUSPECT
    }

    fn start_search(&mut self) {
        let last = self.entries.iter().rfind(|entry| entry.under_way() > 0).map_or(0, |entry| entry.id);
        self.search = Some(Search { size: (self.under_way() / 2).max(1), evidence: false, last });
    }

    /// The connection failed while it carried the current group.
    fn halve(&mut self, first: (Id, usize), settled: &mut WindowProgress) {
        let group = self.under_way();
        let is_culprit = group == 1 && self.is_suspect(first);
        let Some(search) = &mut self.search else { return };
        search.size = (group / 2).max(1);
        let Some(entry) = self.entries.iter_mut().find(|entry| is_culprit && entry.id == first.0) else { return };
        if std::mem::take(&mut search.evidence) {
            settled.rejected.push(first);
            entry.done += 1;
        } else {
            entry.aside += 1;
        }
    }

    /// A batch is no longer needed.
    pub(super) fn forget(&mut self, id: Id) {
        self.entries.retain(|entry| entry.id != id);
        self.end_search();
    }

    fn collect(&mut self, settled: &mut WindowProgress) {
        self.entries.retain(|entry| {
            let finished = entry.done == entry.events;
            if finished {
                settled.finished.push(entry.id);
            }
            !finished
        });
        self.end_search();
    }

    /// The search ends when no batch is left that may contain the cause, and no group is in flight.
    fn end_search(&mut self) {
        let over = |search: &Search| self.entries.front().is_none_or(|entry| entry.id > search.last);
        if self.search.as_ref().is_some_and(over) && self.under_way() == 0 {
            self.search = None;
            self.put_back();
        }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod pace;
#[cfg(test)]
mod tests;
