//! Who holds how much of a memory that several sources share, and who may take more: pure.
//!
//! A quarter of the memory is kept for the sources, the same part for each. A source always gets what is kept for it; beyond that it
//! takes what is free and not kept for another. So a source whose logs go nowhere stops no other, however many it has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The part of the memory that is kept, all sources together: one of so many.
const KEPT_PART: usize = 4;

/// A source, as the shares know it.
pub(super) type ShareId = u64;

/// Somebody who waits for memory.
pub(super) type WishId = u64;

/// What all sources hold, and who waits for more.
#[derive(Debug)]
pub(super) struct Shares {
    total: usize,
    /// Bytes that each source holds.
    held: BTreeMap<ShareId, usize>,
    /// In the order in which they came.
    wishes: VecDeque<Wish>,
    next: u64,
}

#[derive(Debug)]
struct Wish {
    id: WishId,
    share: ShareId,
    bytes: usize,
    /// Less is of no use.
    whole: bool,
}

impl Shares {
    /// Of `total` bytes.
    pub(super) fn new(total: usize) -> Self {
        Self { total, held: BTreeMap::new(), wishes: VecDeque::new(), next: 0 }
    }

    /// One source more. What is kept for each becomes less.
    pub(super) fn join(&mut self) -> ShareId {
        let share = self.next_id();
        self.held.insert(share, 0);
        share
    }

    /// A source that holds nothing has gone.
    pub(super) fn leave(&mut self, share: ShareId) {
        self.held.remove(&share);
    }

    /// Bytes of all.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Bytes that are held.
    pub(super) fn used(&self) -> usize {
        self.held.values().sum()
    }

    /// Most bytes that one source can get.
    pub(super) fn most(&self) -> usize {
        self.total - self.kept() * self.held.len().saturating_sub(1)
    }

    /// Bytes that are kept for each source.
    fn kept(&self) -> usize {
        self.total / KEPT_PART / self.held.len().max(1)
    }

    /// Somebody waits for `bytes`, or for [`Shares::most`] if that is less. Who does not want the `whole` of it takes what there is, and
    /// waits only for what is kept for its source.
    pub(super) fn wish(&mut self, share: ShareId, bytes: usize, whole: bool) -> WishId {
        let id = self.next_id();
        self.wishes.push_back(Wish { id, share, bytes, whole });
        id
    }

    /// Nobody waits for that any more.
    pub(super) fn forget(&mut self, wish: WishId) {
        self.wishes.retain(|one| one.id != wish);
    }

    /// Grants what can be granted: bytes that are held from now on. Within a source nobody is overtaken, and nobody is
    /// overtaken who waits for more than is kept for its source: the others get by with what is kept for theirs meanwhile.
    pub(super) fn grant(&mut self) -> Vec<(WishId, usize)> {
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
            *self.held.entry(wish.share).or_default() += bytes;
            granted.push((wish.id, bytes));
        }
        granted
    }

    /// Takes `bytes` if they are free now, behind all who wait.
    pub(super) fn take_now(&mut self, share: ShareId, bytes: usize) -> bool {
        let is_common_waited_for = self.wishes.iter().any(|wish| self.least(wish) > self.kept());
        let common = if is_common_waited_for { 0 } else { self.common() };
        let is_free = bytes <= self.own(share) + common;
        if is_free {
            self.take_anyway(share, bytes);
        }
        is_free
    }

    /// Takes `bytes`, even if they are not free: then nobody gets more than what is kept for it, until as much came back.
    pub(super) fn take_anyway(&mut self, share: ShareId, bytes: usize) {
        *self.held.entry(share).or_default() += bytes;
    }

    /// `bytes` came back.
    pub(super) fn give_back(&mut self, share: ShareId, bytes: usize) {
        if let Some(held) = self.held.get_mut(&share) {
            *held = held.saturating_sub(bytes);
        }
    }

    /// The least that a wish can do with.
    fn least(&self, wish: &Wish) -> usize {
        wish.bytes.min(if wish.whole { self.most() } else { self.kept() })
    }

    /// What is left of what is kept for a source.
    fn own(&self, share: ShareId) -> usize {
        self.kept().saturating_sub(self.held.get(&share).copied().unwrap_or_default())
    }

    /// What is free and kept for nobody.
    fn common(&self) -> usize {
        let kept = self.kept();
        let held: usize = self.held.values().map(|held| (*held).max(kept)).sum();
        self.total.saturating_sub(held)
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

    /// Shares of some sources, and what each credit holds.
    struct Model {
        shares: Shares,
        sources: Vec<ShareId>,
        wishes: BTreeMap<WishId, ShareId>,
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

        /// Something that a source may do.
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
    fn the_sum_is_never_more_than_there_is() {
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
    fn a_source_always_gets_what_is_kept_for_it_whatever_the_others_hold_and_wait_for() {
        for (mut rng, mut model) in histories() {
            let (quiet, others) = model.sources.split_last().expect("there is a source");
            let (quiet, others) = (*quiet, others.to_vec());
            let kept = TOTAL / 4 / model.sources.len();
            for _ in 0..100 {
                if let Some(other) = rng.choice(&others) {
                    model.step(&mut rng, *other);
                    // A log that becomes more than is free.
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
    fn sources_that_never_give_anything_back_stop_no_other() {
        for (mut rng, mut model) in histories() {
            for _ in 0..100 {
                let share = model.sources[rng.usize(..model.sources.len())];
                model.step(&mut rng, share);
            }
            let well = model.sources[0];
            // From here on it asks as the shards do that have nothing larger than what is kept for it.
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
    fn a_source_alone_takes_all_and_one_of_two_all_but_what_is_kept_for_the_other() {
        let mut model = Model::new(1);
        assert!(model.shares.take_now(model.sources[0], TOTAL));
        let mut model = Model::new(2);
        assert_eq!(model.shares.most(), 875);
        assert!(!model.shares.take_now(model.sources[0], 876));
        assert!(model.shares.take_now(model.sources[0], 875) && model.shares.take_now(model.sources[1], 125));
    }

    #[test]
    fn a_large_wish_is_not_overtaken_by_small_ones() {
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
