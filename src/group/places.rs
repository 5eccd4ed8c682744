//! How many shards the sources of a process work on at once: the sum is limited for the process, and for each source of
//! the settings, which may be a pattern for many logstores.
//!
//! A logstore takes any place that is free, unless logstores with less than an equal part wait for it. If such a
//! logstore waits and no place is free, the logstore with the most places gives some up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The places of a process.
#[derive(Debug, Clone)]
pub struct Places(Arc<Mutex<Known>>);

/// The places of one source of the settings.
#[derive(Debug, Clone)]
pub struct SourcePlaces {
    places: Places,
    source: u64,
}

/// The places of one logstore. Dropping it gives them back.
#[derive(Debug)]
pub struct LogstorePlaces {
    places: Places,
    source: u64,
    id: u64,
}

/// The limit that shards wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ShortOf {
    /// `run.memory`.
    #[default]
    Memory,
    /// The number of shards of one source.
    Source,
}

impl Places {
    /// At most `limit` shards in the process.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Mutex::new(Known { all: Part::new(limit), sources: BTreeMap::new(), next: 0 })))
    }

    /// Adds a source with at most `limit` shards.
    #[must_use]
    pub fn source(&self, limit: usize) -> SourcePlaces {
        let mut known = self.lock();
        let source = known.next_id();
        known.sources.insert(source, Part::new(limit));
        SourcePlaces { places: self.clone(), source }
    }

    /// Every writer leaves the value consistent before it can panic.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SourcePlaces {
    /// Adds a logstore of the source.
    #[must_use]
    pub fn logstore(&self) -> LogstorePlaces {
        let mut known = self.places.lock();
        let id = known.next_id();
        for part in known.parts(self.source) {
            part.uses.insert(id, Use::default());
        }
        LogstorePlaces { places: self.places.clone(), source: self.source, id }
    }
}

impl LogstorePlaces {
    /// Whether the logstore may work on one more shard.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.places.lock().parts(self.source).iter().all(|part| part.may_take(self.id))
    }

    /// Takes a place for one more shard if it may; returns whether it did.
    #[must_use]
    pub fn take(&self) -> bool {
        let mut known = self.places.lock();
        let mut parts = known.parts(self.source);
        let may = parts.iter().all(|part| part.may_take(self.id));
        for part in parts.iter_mut().filter(|_| may) {
            part.hold(self.id, |held| held + 1);
        }
        may
    }

    /// Gives back the places of `shards` shards.
    pub fn give_back(&self, shards: usize) {
        for part in self.places.lock().parts(self.source) {
            part.hold(self.id, |held| held - shards);
        }
    }

    /// So many shards wait for a place.
    pub fn wants(&self, shards: usize) {
        for part in self.places.lock().parts(self.source) {
            part.uses.entry(self.id).or_default().wanted = shards;
        }
    }

    /// The number of places to give up for logstores that have fewer.
    #[must_use]
    pub fn excess(&self) -> usize {
        self.places.lock().parts(self.source).iter().map(|part| part.excess(self.id)).max().unwrap_or_default()
    }

    /// The limit that shards without a place wait for.
    #[must_use]
    pub fn short_of(&self) -> ShortOf {
        let mut known = self.places.lock();
        let [_, source] = known.parts(self.source);
        if source.may_take(self.id) { ShortOf::Memory } else { ShortOf::Source }
    }
}

impl Drop for LogstorePlaces {
    fn drop(&mut self) {
        for part in self.places.lock().parts(self.source) {
            part.hold(self.id, |_| 0);
            part.uses.remove(&self.id);
        }
    }
}

#[derive(Debug)]
struct Known {
    all: Part,
    sources: BTreeMap<u64, Part>,
    next: u64,
}

impl Known {
    /// The limits that apply to a source: that of the process, and its own.
    fn parts(&mut self, source: u64) -> [&mut Part; 2] {
        [&mut self.all, self.sources.get_mut(&source).expect("a source is never removed")]
    }

    fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// Places under one limit.
#[derive(Debug)]
struct Part {
    limit: usize,
    held: usize,
    uses: BTreeMap<u64, Use>,
}

/// What one logstore has and wants.
#[derive(Debug, Default)]
struct Use {
    held: usize,
    wanted: usize,
}

impl Part {
    fn new(limit: usize) -> Self {
        Self { limit, held: 0, uses: BTreeMap::new() }
    }

    fn hold(&mut self, id: u64, change: impl Fn(usize) -> usize) {
        let one = self.uses.entry(id).or_default();
        let held = change(one.held);
        self.held = self.held - one.held + held;
        one.held = held;
    }

    /// An equal part for each logstore, at least one place.
    fn fair(&self) -> usize {
        (self.limit / self.uses.len().max(1)).max(1)
    }

    /// Places that logstores with less than an equal part wait for.
    fn owed(&self) -> usize {
        let fair = self.fair();
        self.uses.values().map(|one| one.wanted.min(fair.saturating_sub(one.held))).sum()
    }

    fn may_take(&self, id: u64) -> bool {
        let free = self.limit - self.held;
        free > 0 && (self.uses[&id].held < self.fair() || free > self.owed())
    }

    fn excess(&self, id: u64) -> usize {
        let held = self.uses[&id].held;
        let has_most = self.uses.iter().all(|(other, one)| (one.held, *other) <= (held, id));
        if !has_most {
            return 0;
        }
        held.saturating_sub(self.fair()).min(self.owed().saturating_sub(self.limit - self.held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes as many places as it may, up to `most`; returns how many.
    fn fill(logstore: &LogstorePlaces, most: usize) -> usize {
        let taken = (0..most).take_while(|_| logstore.take()).count();
        logstore.wants(most - taken);
        taken
    }

    #[test]
    fn the_logstores_of_a_pattern_together_have_no_more_than_a_source_may_have() {
        let places = Places::new(100);
        let pattern = places.source(10);
        let [first, second] = [pattern.logstore(), pattern.logstore()];
        assert_eq!((fill(&first, 4), fill(&second, 20)), (4, 6), "places that another leaves are used");
        assert_eq!((first.is_free(), second.short_of()), (false, ShortOf::Source));
        let other = places.source(10).logstore();
        assert_eq!(fill(&other, 20), 10);
        drop(first);
        assert_eq!(fill(&second, 20), 4);
    }

    #[test]
    fn all_sources_together_have_no_more_than_the_process_may_have() {
        let places = Places::new(10);
        let sources = [0, 1, 2].map(|_| places.source(10_000).logstore());
        let taken: Vec<usize> = sources.iter().map(|logstore| fill(logstore, 8)).collect();
        assert_eq!(taken, [8, 2, 0]);
        assert_eq!(sources[2].short_of(), ShortOf::Memory);
    }

    #[test]
    fn a_logstore_that_comes_later_gets_an_equal_part_from_the_one_with_the_most() {
        let places = Places::new(12);
        let [first, second, late] = [0, 1, 2].map(|_| places.source(10_000).logstore());
        assert_eq!((fill(&first, 20), fill(&late, 1)), (12, 0));
        assert_eq!((first.excess(), second.excess(), late.excess()), (1, 0, 0));
        late.wants(9);
        assert_eq!(first.excess(), 4, "an equal part, however much it wants");
        first.give_back(4);
        assert!(!first.take(), "the places are meant for the other");
        assert_eq!(fill(&late, 9), 4);
        assert_eq!((first.excess(), late.excess()), (0, 0));
        second.wants(1);
        assert_eq!((first.excess(), late.excess()), (1, 0));
    }

    #[test]
    fn with_more_logstores_than_places_the_sum_holds_and_none_gives_up_its_only_place() {
        let places = Places::new(3);
        let sources: Vec<LogstorePlaces> = (0..5).map(|_| places.source(10_000).logstore()).collect();
        let taken: Vec<usize> = sources.iter().map(|logstore| fill(logstore, 2)).collect();
        assert_eq!(taken.iter().sum::<usize>(), 3);
        for _ in 0..10 {
            for logstore in &sources {
                logstore.give_back(logstore.excess());
                let _ = logstore.take();
            }
        }
        let held: Vec<usize> = sources.iter().map(|logstore| places.lock().all.uses[&logstore.id].held).collect();
        assert_eq!((held.iter().sum::<usize>(), held.iter().max()), (3, Some(&1)), "{held:?}");
    }
}
