//! How much of a shared memory limit each source holds, and which request is granted next. Pure.
//!
//! A quarter of the memory is reserved for the sources, in equal parts. A source can always get its reserved part.
//! Beyond that, it can take memory that is free and not reserved for another source. So a source whose logs are not
//! delivered blocks no other source, however many logs it has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One of this many parts of the memory is reserved, for all sources together.
const KEPT_PART: usize = 4;

/// The id of a source.
pub(super) type ShareId = u64;

/// The id of a waiting request.
pub(super) type MemoryRequestId = u64;

/// What all sources hold, and the waiting requests.
#[derive(Debug)]
pub(super) struct Shares {
    total: usize,
    /// Bytes that each source holds.
    held: BTreeMap<ShareId, usize>,
    /// The sum of `held`. Both sums are kept, because every pull of every source needs them.
    used: usize,
    /// The sum of what each source holds or has reserved, whichever is more.
    claimed: usize,
    /// Waiting requests in order of arrival.
    wishes: VecDeque<Wish>,
    next: u64,
}

#[derive(Debug)]
struct Wish {
    id: MemoryRequestId,
    share: ShareId,
    bytes: usize,
    /// Whether the request needs all of its bytes.
    whole: bool,
}

impl Shares {
    /// Shares of `total` bytes.
    pub(super) fn new(total: usize) -> Self {
        Self { total, held: BTreeMap::new(), used: 0, claimed: 0, wishes: VecDeque::new(), next: 0 }
    }

    /// Adds a source. The reserved part of each source becomes smaller.
    pub(super) fn join(&mut self) -> ShareId {
        let share = self.next_id();
        self.set_held(share, 0);
        share
    }

    /// Removes a source that holds nothing.
    pub(super) fn leave(&mut self, share: ShareId) {
        self.held.remove(&share);
        self.count();
    }

    /// Number of bytes in total.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Number of bytes that are held.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Number of bytes that a source holds.
    pub(super) fn held(&self, share: ShareId) -> usize {
        self.held.get(&share).copied().unwrap_or_default()
    }

    /// Maximum number of bytes that one source can get.
    pub(super) fn most(&self) -> usize {
        self.total - self.kept() * self.held.len().saturating_sub(1)
    }

    /// Bytes that are reserved for each source.
    fn kept(&self) -> usize {
        self.total / KEPT_PART / self.held.len().max(1)
    }

    /// Adds a request for `bytes`, or for [`Shares::most`] if that is less. Without `whole`, the request is granted
    /// whatever is free, and waits only for the reserved part of its source.
    pub(super) fn wish(&mut self, share: ShareId, bytes: usize, whole: bool) -> MemoryRequestId {
        let id = self.next_id();
        self.wishes.push_back(Wish { id, share, bytes, whole });
        id
    }

    /// Cancels a request.
    pub(super) fn forget(&mut self, wish: MemoryRequestId) {
        self.wishes.retain(|one| one.id != wish);
    }

    /// Grants all requests that can be granted, and counts their bytes as held. Within a source, requests are granted
    /// in order. A request for more than the reserved part of its source also blocks later requests of other sources,
    /// except for their reserved parts.
    pub(super) fn grant(&mut self) -> Vec<(MemoryRequestId, usize)> {
        let mut granted = Vec::new();
        let mut waiting = BTreeSet::new();
        let mut common = self.common();
        let wishes = std::mem::take(&mut self.wishes);
        for wish in wishes {
            let least = self.least(&wish);
            let own = self.own(wish.share);
            if waiting.contains(&wish.share) || least > own + common {
                if waiting.insert(wish.share) && least > self.kept() {
                    common = 0;
                }
                self.wishes.push_back(wish);
                continue;
            }
            let bytes = wish.bytes.min(own + common).max(least);
            common -= bytes.saturating_sub(own);
            self.set_held(wish.share, self.held(wish.share) + bytes);
            granted.push((wish.id, bytes));
        }
        granted
    }

    /// Takes `bytes` if they are free now. Waiting requests for more than a reserved part have priority, except over the
    /// reserved part of this source.
    pub(super) fn take_now(&mut self, share: ShareId, bytes: usize) -> bool {
        let is_common_waited_for = self.wishes.iter().any(|wish| self.least(wish) > self.kept());
        let common = if is_common_waited_for { 0 } else { self.common() };
        let is_free = bytes <= self.own(share) + common;
        if is_free {
            self.take_anyway(share, bytes);
        }
        is_free
    }

    /// Takes `bytes` even if they are not free. Until they are returned, each source gets only its reserved part.
    pub(super) fn take_anyway(&mut self, share: ShareId, bytes: usize) {
        self.set_held(share, self.held(share) + bytes);
    }

    /// Returns `bytes`.
    pub(super) fn give_back(&mut self, share: ShareId, bytes: usize) {
        if self.held.contains_key(&share) {
            self.set_held(share, self.held(share).saturating_sub(bytes));
        }
    }

    /// The minimum number of bytes that satisfies a request.
    fn least(&self, wish: &Wish) -> usize {
        wish.bytes.min(if wish.whole { self.most() } else { self.kept() })
    }

    /// The unused rest of a source's reserved part.
    fn own(&self, share: ShareId) -> usize {
        self.kept().saturating_sub(self.held(share))
    }

    /// Bytes that are free and reserved for no source.
    fn common(&self) -> usize {
        self.total.saturating_sub(self.claimed)
    }

    /// Records how much a source holds now.
    fn set_held(&mut self, share: ShareId, bytes: usize) {
        match self.held.insert(share, bytes) {
            Some(before) => {
                let kept = self.kept();
                self.used = self.used - before + bytes;
                self.claimed = self.claimed - before.max(kept) + bytes.max(kept);
            }
            None => self.count(),
        }
    }

    /// Counts both sums anew: the reserved parts depend on the number of sources.
    fn count(&mut self) {
        let kept = self.kept();
        self.used = self.held.values().sum();
        self.claimed = self.held.values().map(|held| (*held).max(kept)).sum();
    }

    fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: usize = 1_000;

    /// Shares of some sources, and the bytes of each credit.
    struct Model {
        shares: Shares,
        sources: Vec<ShareId>,
        wishes: BTreeMap<MemoryRequestId, ShareId>,
        credits: Vec<(ShareId, usize)>,
    }

    impl Model {
        fn new(sources: usize) -> Self {
            let mut shares = Shares::new(TOTAL);
            let sources = (0..sources).map(|_| shares.join()).collect();
            Self { shares, sources, wishes: BTreeMap::new(), credits: Vec::new() }
        }

        fn settle(&mut self) {
            for (wish, bytes) in self.shares.grant() {
                let share = self.wishes.remove(&wish).expect("it is granted once");
                self.credits.push((share, bytes));
            }
        }

        /// A random operation of a source.
        fn step(&mut self, rng: &mut fastrand::Rng, share: ShareId) {
            let bytes = rng.usize(1..TOTAL / 2);
            let own: Vec<usize> = (0..self.credits.len()).filter(|at| self.credits[*at].0 == share).collect();
            match rng.u32(..4) {
                0 | 1 => {
                    let wish = self.shares.wish(share, bytes, rng.bool());
                    self.wishes.insert(wish, share);
                }
                2 if self.shares.take_now(share, bytes) => self.credits.push((share, bytes)),
                _ if !own.is_empty() => self.give_back(own[rng.usize(..own.len())]),
                _ => {}
            }
            self.settle();
        }

        fn give_back(&mut self, at: usize) {
            let (share, bytes) = self.credits.swap_remove(at);
            self.shares.give_back(share, bytes);
        }
    }

    fn histories() -> impl Iterator<Item = (fastrand::Rng, Model)> {
        (0..300).map(|seed| {
            let mut rng = fastrand::Rng::with_seed(seed);
            let sources = rng.usize(1..6);
            (rng, Model::new(sources))
        })
    }

    #[test]
    fn the_shares_never_exceed_the_budget() {
        for (mut rng, mut model) in histories() {
            for _ in 0..200 {
                let share = model.sources[rng.usize(..model.sources.len())];
                model.step(&mut rng, share);
                let sum: usize = model.credits.iter().map(|(_, bytes)| bytes).sum();
                assert_eq!(model.shares.used(), sum);
                assert!(sum <= TOTAL, "{sum}");
            }
        }
    }

    #[test]
    fn the_sums_are_exact_while_sources_come_and_go() {
        for (mut rng, mut model) in histories() {
            for _ in 0..100 {
                let share = model.sources[rng.usize(..model.sources.len())];
                model.step(&mut rng, share);
                if rng.u32(..10) == 0 {
                    let guest = model.shares.join();
                    assert!(!model.shares.take_now(guest, TOTAL));
                    model.shares.leave(guest);
                    model.sources.push(model.shares.join());
                }
                let Shares { used, claimed, .. } = model.shares;
                model.shares.count();
                assert_eq!((used, claimed), (model.shares.used, model.shares.claimed));
            }
        }
    }

    #[test]
    fn a_source_always_gets_its_reserved_share_whatever_others_hold_or_wait_for() {
        for (mut rng, mut model) in histories() {
            let (quiet, others) = model.sources.split_last().expect("there is a source");
            let (quiet, others) = (*quiet, others.to_vec());
            let kept = TOTAL / 4 / model.sources.len();
            for _ in 0..100 {
                if let Some(other) = rng.choice(&others) {
                    model.step(&mut rng, *other);
                    // A log whose events need more than is free.
                    if rng.u32(..20) == 0 {
                        model.shares.take_anyway(*other, TOTAL);
                        model.credits.push((*other, TOTAL));
                    }
                }
                assert!(model.shares.take_now(quiet, kept), "{:?}", model.shares);
                model.shares.give_back(quiet, kept);
            }
        }
    }

    #[test]
    fn sources_that_never_release_memory_stop_no_other() {
        for (mut rng, mut model) in histories() {
            for _ in 0..100 {
                let share = model.sources[rng.usize(..model.sources.len())];
                model.step(&mut rng, share);
            }
            let well = model.sources[0];
            // From here on, this source requests only what its reserved part can satisfy.
            let of_it = model.wishes.iter().filter(|(_, share)| **share == well).map(|(wish, _)| *wish);
            for wish in of_it.collect::<Vec<_>>() {
                model.wishes.remove(&wish);
                model.shares.forget(wish);
            }
            let mut left = 50;
            for _ in 0..left {
                let wish = model.shares.wish(well, rng.usize(1..TOTAL), false);
                model.wishes.insert(wish, well);
            }
            while left > 0 {
                let all = std::mem::take(&mut model.credits);
                for (share, bytes) in all {
                    if share == well {
                        model.shares.give_back(share, bytes);
                    } else {
                        model.credits.push((share, bytes));
                    }
                }
                model.settle();
                let of_it = model.credits.iter().filter(|(share, _)| *share == well).count();
                assert!(of_it > 0, "it waits for the others: {:?}", model.shares);
                left -= of_it;
            }
        }
    }

    #[test]
    fn a_single_source_can_take_everything_and_one_of_two_all_but_the_others_share() {
        let mut model = Model::new(1);
        assert!(model.shares.take_now(model.sources[0], TOTAL));
        let mut model = Model::new(2);
        assert_eq!(model.shares.most(), 875);
        assert!(!model.shares.take_now(model.sources[0], 876));
        assert!(model.shares.take_now(model.sources[0], 875) && model.shares.take_now(model.sources[1], 125));
    }

    #[test]
    fn a_large_request_is_not_overtaken_by_small_ones() {
        let mut model = Model::new(2);
        let [first, second] = model.sources[..] else { panic!() };
        assert!(model.shares.take_now(first, 500) && model.shares.take_now(second, 300));
        let large = model.shares.wish(first, 800, true);
        let small = model.shares.wish(second, 50, false);
        assert!(model.shares.grant().is_empty(), "200 are free, and wait for the large one");
        assert!(!model.shares.take_now(second, 50));
        model.shares.give_back(first, 500);
        assert!(model.shares.grant().is_empty());
        model.shares.give_back(second, 200);
        assert_eq!(model.shares.grant(), [(large, 800), (small, 50)]);
    }
}
