//! The indexers behind an address: the accepted events of each, and whether it is alive.

use std::collections::BTreeMap;
use std::time::Instant;

use super::acks::Acks;
use super::received::Received;

/// All of them, at least one.
#[derive(Debug)]
pub(super) struct Indexers {
    list: Vec<Indexer>,
    /// The one that got the last request without a cookie.
    last: usize,
}

#[derive(Debug, Default)]
struct Indexer {
    acks: Acks,
    /// What it has accepted and not indexed, each with the time when that will be; `None` is never.
    queue: Vec<(Option<Instant>, Vec<Received<'static>>)>,
    /// A dead one gets no requests before this.
    dead_until: Option<Instant>,
}

impl Indexer {
    fn is_alive(&self, now: Instant) -> bool {
        self.dead_until.is_none_or(|until| until <= now)
    }
}

impl Indexers {
    /// Creates this many, but at least one.
    pub(super) fn new(count: usize) -> Self {
        Self { list: (0..count.max(1)).map(|_| Indexer::default()).collect(), last: 0 }
    }

    /// The indexer of a request: the one named by its cookie, if it is alive, else the next live one.
    pub(super) fn reached(&mut self, named: Option<usize>, now: Instant) -> usize {
        let is_alive = |indexer: &usize| self.list.get(*indexer).is_some_and(|indexer| indexer.is_alive(now));
        if let Some(indexer) = named.filter(is_alive) {
            return indexer;
        }
        let mut turns = (1..=self.list.len()).map(|turn| (self.last + turn) % self.list.len());
        let next = turns.clone().find(is_alive).or(turns.next());
        self.last = next.unwrap_or_default();
        self.last
    }

    /// One has accepted events that it will index then; `None` is never.
    pub(super) fn queue(&mut self, indexer: usize, events: Vec<Received<'_>>, ready: Option<Instant>) {
        let events = events.into_iter().map(Received::into_owned).collect();
        self.list[indexer].queue.push((ready, events));
    }

    /// Gives a request its ack id.
    pub(super) fn accept(&mut self, indexer: usize, channel: &str, ready: Option<Instant>, now: Instant) -> u64 {
        self.list[indexer].acks.accept(channel, ready, now)
    }

    /// Which of the ids of a channel are safe.
    pub(super) fn poll(&mut self, indexer: usize, channel: &str, ids: &[u64], now: Instant) -> BTreeMap<u64, bool> {
        self.list[indexer].acks.poll(channel, ids, now)
    }

    /// Removes the events that are due to be indexed.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Received<'static>> {
        let mut due = Vec::new();
        for indexer in &mut self.list {
            let events = indexer.queue.extract_if(.., |(at, _)| at.is_some_and(|at| at <= now));
            due.extend(events.flat_map(|(_, events)| events));
        }
        due
    }

    /// One dies, loses its acks and its queue, and restarts empty. Returns whether another one is alive.
    pub(super) fn kill(&mut self, indexer: usize, until: Instant, now: Instant) -> bool {
        let count = self.list.len();
        self.list[indexer % count] = Indexer { dead_until: Some(until), ..Indexer::default() };
        self.list.iter().any(|indexer| indexer.is_alive(now))
    }
}
