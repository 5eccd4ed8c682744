//! What was written but is not proven yet, what is proven, and what has to be written again: a pure machine.
//!
//! Batches are written in the order in which they came, on one connection after the other. A connection that was closed
//! strictly proves what was written on it, once its successor, opened before that close, has lived on for the lag. When
//! anything goes wrong, all that is not proven is written again.
//!
//! When the connection dies again and again before the same first event is proven, and connecting works, an event may
//! be what kills it. Then groups of events are sent alone, each proven alone; a group that dies is halved, until one
//! event is left. It is refused only if another was proven meanwhile: a receiver that dies of everything is just broken.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;

/// How often the connection dies at the same place before an event is suspected, and how often a lone event must kill
/// it before it is the culprit.
const STRIKES: u32 = 3;

/// A batch in the window. Later ones are larger.
pub(super) type Id = u64;

/// Events of one batch that are to be written back to back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) id: Id,
    pub(super) events: Range<usize>,
}

/// Why a connection ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Break {
    /// The peer ended it while it carried events that were not proven: one of them may be the cause.
    ByPeer,
    /// Time, network, or we ourselves.
    Other,
}

/// What became of batches.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// Events that the receiver dies of.
    pub(super) rejected: Vec<(Id, usize)>,
    /// Batches of which every event is proven or rejected.
    pub(super) finished: Vec<Id>,
    /// Whether anything was proven.
    pub(super) proven: bool,
}

#[derive(Debug)]
struct Entry {
    id: Id,
    events: usize,
    /// Events before this one are proven or rejected.
    done: usize,
    /// Events before this one were written since.
    sent: usize,
    /// The connection that the last of them went over.
    link: u64,
}

/// The search for an event that kills the connection.
#[derive(Debug)]
struct Search {
    /// Events in a group.
    size: usize,
    /// Events of the present group that were handed out.
    group: usize,
    /// How often a group of one has died.
    strikes: u32,
    /// Something was proven since the search began.
    evidence: bool,
    /// A culprit without evidence, stepped over to see whether the next event fares better.
    aside: Option<(Id, usize)>,
    /// The last batch that may hold the culprit.
    last: Id,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Window {
    interval: Duration,
    lag: Duration,
    entries: VecDeque<Entry>,
    link: u64,
    /// When the present connection first carried an event.
    carries_since: Option<Instant>,
    rotated: Option<Instant>,
    /// Connections that were closed strictly, and when.
    closed: VecDeque<(u64, Instant)>,
    /// How often in a row the connection died while this event was the first without proof.
    deaths: Option<((Id, usize), u32)>,
    search: Option<Search>,
}

impl Window {
    /// Nothing is written. A proof is begun at most once an `interval`, and good after `lag`.
    pub(super) fn new(interval: Duration, lag: Duration) -> Self {
        Self {
            interval,
            lag,
            entries: VecDeque::new(),
            link: 0,
            carries_since: None,
            rotated: None,
            closed: VecDeque::new(),
            deaths: None,
            search: None,
        }
    }

    /// A batch of so many events came; `id` is larger than all before.
    pub(super) fn push(&mut self, id: Id, events: usize) {
        self.entries.push_back(Entry { id, events, done: 0, sent: 0, link: 0 });
    }

    /// Whether there is no batch.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the present connection, or one closed before it, carried something that is not proven.
    pub(super) fn is_unproven(&self) -> bool {
        self.carries_since.is_some() || !self.closed.is_empty()
    }

    /// What to write next, and that its writing begins; nothing while a proof has to come first.
    pub(super) fn begin(&mut self, now: Instant) -> Option<Span> {
        if self.is_group_full() {
            return None;
        }
        let room = self.search.as_ref().map_or(usize::MAX, |search| search.size - search.group);
        let entry = self.entries.iter_mut().find(|entry| entry.sent < entry.events)?;
        let end = entry.events.min(entry.sent.saturating_add(room));
        let span = Span { id: entry.id, events: entry.sent..end };
        entry.sent = end;
        entry.link = self.link;
        self.carries_since.get_or_insert(now);
        if let Some(search) = &mut self.search {
            search.group += span.events.len();
        }
        Some(span)
    }

    /// Whether there is nothing to write at the moment.
    fn is_idle(&self) -> bool {
        self.is_group_full() || self.entries.iter().all(|entry| entry.sent == entry.events)
    }

    /// A group is written, or half a proof is there for it: the next waits for the whole.
    fn is_group_full(&self) -> bool {
        self.search.as_ref().is_some_and(|search| search.group >= search.size || !self.closed.is_empty())
    }

    /// When the present connection is to be proven: at once when there is nothing more to write, else after an interval
    /// of traffic; never sooner than an interval after the last.
    pub(super) fn rotate_at(&self) -> Option<Instant> {
        let since = self.carries_since?;
        if self.search.is_some() {
            return self.is_idle().then_some(since);
        }
        let earliest = self.rotated.map_or(since, |rotated| rotated + self.interval);
        Some(if self.is_idle() { earliest.max(since) } else { earliest.max(since + self.interval) })
    }

    /// The present connection is proven to have been read to its end; its successor lives and takes over.
    pub(super) fn rotated(&mut self, now: Instant) {
        self.closed.push_back((self.link, now));
        self.link += 1;
        self.carries_since = None;
        self.rotated = Some(now);
    }

    /// When the next proof is good, if the present connection lives until then.
    pub(super) fn due(&self) -> Option<Instant> {
        self.closed.front().map(|(_, at)| *at + self.lag)
    }

    /// The present connection is alive at `now`.
    pub(super) fn prove(&mut self, now: Instant) -> Settled {
        let mut settled = Settled::default();
        while let Some((link, _)) = self.closed.front().copied().filter(|(_, at)| *at + self.lag <= now) {
            self.closed.pop_front();
            let aside = self.search.as_ref().and_then(|search| search.aside);
            let carried = |entry: &&mut Entry| entry.link <= link && entry.sent > entry.done;
            // The one that was set aside was not sent.
            let is_proof =
                |entry: &mut Entry| entry.sent > entry.done + usize::from(aside == Some((entry.id, entry.done)));
            if self.entries.iter_mut().filter(carried).any(is_proof) {
                settled.proven = true;
                self.entries.iter_mut().filter(carried).for_each(|entry| entry.done = entry.sent);
            }
        }
        if !settled.proven {
            return settled;
        }
        self.deaths = None;
        if let Some(search) = &mut self.search {
            settled.rejected.extend(search.aside.take());
            search.evidence = true;
            search.strikes = 0;
            search.group = 0;
            search.size = search.size.saturating_mul(2);
        }
        self.collect(&mut settled);
        settled
    }

    /// Whether a culprit is searched for: then events are proven in groups.
    pub(super) fn is_searching(&self) -> bool {
        self.search.is_some()
    }

    /// The receiver answered for all events of a batch before this one.
    pub(super) fn advance(&mut self, id: Id, done: usize) -> Settled {
        let mut settled = Settled::default();
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id && entry.done < done) {
            entry.done = done.min(entry.sent);
            settled.proven = true;
            self.deaths = None;
        }
        self.collect(&mut settled);
        settled
    }

    /// The connection ended before what it carried was proven: all of that is to be written again.
    pub(super) fn broke(&mut self, how: Break) -> Settled {
        let mut settled = Settled::default();
        let first = self.entries.iter().find(|entry| entry.done < entry.sent).map(|entry| (entry.id, entry.done));
        if let (Break::ByPeer, Some(first), true) = (how, first, self.is_unproven()) {
            if self.search.is_some() {
                self.group_died(&mut settled);
            } else {
                self.strike(first);
            }
        }
        self.closed.clear();
        self.link += 1;
        self.carries_since = None;
        for entry in &mut self.entries {
            entry.sent = entry.done;
        }
        if let Some(search) = &mut self.search {
            search.group = 0;
            let aside = search.aside;
            if let Some(entry) = self.entries.iter_mut().find(|entry| Some((entry.id, entry.done)) == aside) {
                entry.sent += 1;
            }
        }
        self.collect(&mut settled);
        settled
    }

    /// Counts a death; after some, the search begins.
    fn strike(&mut self, first: (Id, usize)) {
        let deaths = match self.deaths {
            Some((at, deaths)) if at == first => deaths + 1,
            _ => 1,
        };
        self.deaths = Some((first, deaths));
        if deaths >= STRIKES {
            let sent = self.entries.iter().filter(|entry| entry.sent > entry.done);
            let (mut size, mut last) = (0, first.0);
            for entry in sent {
                size += entry.sent - entry.done;
                last = entry.id;
            }
            let size = (size / 2).max(1);
            self.search = Some(Search { size, group: 0, strikes: 0, evidence: false, aside: None, last });
        }
    }

    /// The connection died of the present group, or while it carried it.
    fn group_died(&mut self, settled: &mut Settled) {
        let Some(search) = &mut self.search else { return };
        if search.group > 1 {
            search.size = search.group / 2;
            search.strikes = 0;
            return;
        }
        search.size = 1;
        search.strikes += 1;
        if search.strikes < STRIKES {
            return;
        }
        search.strikes = 0;
        let aside = search.aside;
        // Where the lone event is: behind the one that was set aside, if there is one.
        let lone = self
            .entries
            .iter_mut()
            .find(|entry| entry.sent > entry.done + usize::from(aside == Some((entry.id, entry.done))));
        let Some(entry) = lone else { return };
        if search.evidence {
            settled.rejected.push((entry.id, entry.done));
            entry.done += 1;
            entry.sent = entry.done;
        } else if aside.is_some() {
            // Two events in a row and none that is taken: it is the receiver.
            self.search = None;
            self.deaths = None;
        } else {
            let aside = (entry.id, entry.done);
            let is_last = entry.done + 1 == entry.events && self.entries.back().is_none_or(|last| last.id == aside.0);
            // With nothing to compare it to, it is tried on and on.
            search.aside = (!is_last).then_some(aside);
        }
    }

    /// A batch is of no interest any more.
    pub(super) fn forget(&mut self, id: Id) {
        self.entries.retain(|entry| entry.id != id);
        if let Some(search) = &mut self.search
            && let Some((aside, event)) = search.aside
            && (aside == id || search.group == 0)
        {
            // The comparison may have gone with it: the one that was set aside is tried again.
            search.aside = None;
            if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == aside) {
                entry.sent = event;
            }
        }
        self.end_search();
    }

    fn collect(&mut self, settled: &mut Settled) {
        self.entries.retain(|entry| {
            let finished = entry.done == entry.events;
            if finished {
                settled.finished.push(entry.id);
            }
            !finished
        });
        self.end_search();
    }

    /// The search is over when no batch is left that may hold the culprit.
    fn end_search(&mut self) {
        let over = |search: &Search| self.entries.front().is_none_or(|entry| entry.id > search.last);
        if self.search.as_ref().is_some_and(over) {
            self.search = None;
        }
    }
}

#[cfg(test)]
mod tests;
