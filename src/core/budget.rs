//! The memory budget: how many bytes may be in flight, from pull to durable, over all shards of all sources.

mod buffers;
mod part;
mod shares;
mod unused;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;

pub use buffers::{Buffer, Buffers};
pub use part::{LargePart, PartBegun};
use shares::{MemoryRequestId, Need, ShareId, Shares};
use unused::Unused;

/// A memory limit in bytes, shared by the sources of a process. A quarter of it is reserved for the sources in equal
/// parts; no other source can take a source's part.
#[derive(Debug, Clone)]
pub struct SharedBudget(Arc<Memory>);

impl SharedBudget {
    /// A budget of `bytes`.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let known = Known { shares: Shares::new(bytes.max(1)), waiting: BTreeMap::new(), granted: BTreeMap::new() };
        Self(Arc::new(Memory { known: Mutex::new(known), unused: Mutex::default() }))
    }

    /// Adds a source and returns its budget. The source counts until the budget and all its credits are dropped.
    #[must_use]
    pub fn for_source(&self) -> Budget {
        let id = self.0.lock().shares.join();
        Budget(Arc::new(Share { id, memory: Arc::clone(&self.0) }))
    }

    /// Large buffers, which are used again.
    #[must_use]
    pub fn buffers(&self) -> Buffers {
        Buffers(Arc::clone(&self.0))
    }

    /// Maximum number of bytes in flight.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.0.lock().shares.total()
    }

    /// Whether at least half of the limit is in flight.
    #[must_use]
    pub fn is_half_used(&self) -> bool {
        let known = self.0.lock();
        known.shares.used() * 2 >= known.shares.total()
    }

    /// Bytes in flight.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.lock().shares.used()
    }
}

/// The bytes that all shards of a source may have in flight.
///
/// The size of a page is not known before it is pulled, so credit is taken for an estimate. SLS announces the size
/// before the body is read: then the credit grows to it, or the page is pulled later. The events that the script
/// makes may need more memory than is free. The difference is a debt: until it is paid back, each source gets only
/// what is reserved for it, and no other part of a page is made that may need more than its room. So a holder of a page
/// waits only for events that are being delivered.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Share>);

impl Budget {
    /// The budget of a single source with `bytes` bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        SharedBudget::new(bytes).for_source()
    }

    /// Large buffers, which are used again.
    #[must_use]
    pub fn buffers(&self) -> Buffers {
        Buffers(Arc::clone(&self.0.memory))
    }

    /// Takes credit for `bytes`, or for the maximum of a source if that is less. Waits in order of arrival.
    pub async fn take(&self, bytes: usize) -> Credit {
        self.wait_for(bytes, Need::Whole).await
    }

    /// Takes credit for `bytes`, or for less if less is free. Waits in order of arrival, but never for other sources.
    pub async fn take_about(&self, bytes: usize) -> Credit {
        self.wait_for(bytes, Need::About).await
    }

    async fn wait_for(&self, bytes: usize, need: Need) -> Credit {
        let memory = &self.0.memory;
        let (sender, receiver) = oneshot::channel();
        let request = {
            let mut known = memory.lock();
            let request = known.shares.request(self.0.id, bytes, need);
            known.waiting.insert(request, Waiter { share: Arc::clone(&self.0), since: Instant::now(), sender });
            request
        };
        let _waiting = Waiting { memory, request };
        memory.grant();
        receiver.await.expect("a request is kept until it is granted or its caller is gone")
    }

    /// Whether at least half of the shared limit is in flight.
    #[must_use]
    pub fn is_half_used(&self) -> bool {
        SharedBudget(Arc::clone(&self.0.memory)).is_half_used()
    }

    /// What this source holds of the limit, and whether it waits for more.
    #[must_use]
    pub fn of_source(&self) -> SourceMemory {
        let known = self.0.memory.lock();
        // The ids of requests grow, so this is the oldest one.
        let first = known.waiting.values().find(|waiter| waiter.share.id == self.0.id);
        let granted = known.granted.get(&self.0.id).copied();
        SourceMemory {
            held: known.shares.held(self.0.id),
            waiting_since: first.map(|first| granted.map_or(first.since, |granted| granted.max(first.since))),
        }
    }

    /// Bytes that all sources have in flight.
    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.0.memory.lock().shares.used()
    }
}

/// The part of the shared limit that one source has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourceMemory {
    /// Bytes in flight.
    pub held: usize,
    /// While requests wait: since when none was granted.
    pub waiting_since: Option<Instant>,
}

/// The memory that all sources share.
#[derive(Debug)]
struct Memory {
    known: Mutex<Known>,
    unused: Mutex<Unused>,
}

#[derive(Debug)]
struct Known {
    shares: Shares,
    waiting: BTreeMap<MemoryRequestId, Waiter>,
    /// When a request of each source was last granted.
    granted: BTreeMap<ShareId, Instant>,
}

/// A request that is not granted yet.
#[derive(Debug)]
struct Waiter {
    share: Arc<Share>,
    since: Instant,
    sender: oneshot::Sender<Credit>,
}

impl Memory {
    /// Grants waiting requests from the free memory.
    fn grant(&self) {
        let granted: Vec<_> = {
            let mut known = self.lock();
            let granted = known.shares.grant();
            let waiting = &mut known.waiting;
            let granted = granted.into_iter().filter_map(|(request, bytes)| Some((waiting.remove(&request)?, bytes)));
            let granted: Vec<_> = granted.collect();
            let now = Instant::now();
            known.granted.extend(granted.iter().map(|(waiter, _)| (waiter.share.id, now)));
            granted
        };
        for (Waiter { share, sender, .. }, bytes) in granted {
            // If the receiver is gone, the credit is dropped, which returns it.
            let _ = sender.send(Credit { share, bytes });
        }
    }

    /// A poisoned lock is usable: every writer leaves the state complete before it can panic.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One source's part of the memory.
#[derive(Debug)]
struct Share {
    id: ShareId,
    memory: Arc<Memory>,
}

impl Drop for Share {
    fn drop(&mut self) {
        {
            let mut known = self.memory.lock();
            known.shares.leave(self.id);
            known.granted.remove(&self.id);
        }
        self.memory.grant();
    }
}

/// A waiting request; dropping it cancels it.
struct Waiting<'a> {
    memory: &'a Memory,
    request: MemoryRequestId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let forgotten = {
            let mut known = self.memory.lock();
            known.shares.forget(self.request);
            known.waiting.remove(&self.request)
        };
        if forgotten.is_some() {
            self.memory.grant();
        }
    }
}

/// Bytes taken from a [`Budget`]; dropping it returns them.
#[derive(Debug)]
pub struct Credit {
    share: Arc<Share>,
    bytes: usize,
}

impl Credit {
    /// Grows to `bytes`, if that much is free now. Never waits, because two holders that wait for each other would
    /// never finish. A credit for the maximum of a source needs no growth.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let mut known = self.share.memory.lock();
        let missing = bytes.min(known.shares.most()).saturating_sub(self.bytes);
        let is_free = missing == 0 || known.shares.take_now(self.share.id, missing);
        self.bytes += if is_free { missing } else { 0 };
        is_free
    }

    /// The number of bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Large buffers of its budget, which are used again.
    #[must_use]
    pub fn buffers(&self) -> Buffers {
        Buffers(Arc::clone(&self.share.memory))
    }

    /// Grows to `bytes`, if that much is free. Never waits, and never makes a debt.
    pub fn widen(&mut self, bytes: usize) {
        let missing = bytes.saturating_sub(self.bytes);
        if missing > 0 && self.share.memory.lock().shares.take_now(self.share.id, missing) {
            self.bytes += missing;
        }
    }

    /// Keeps `bytes` and returns the rest. If the credit has fewer bytes, the difference becomes a debt, as in
    /// [`Credit::resize`].
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Self {
        let rest = Self { share: Arc::clone(&self.share), bytes: self.bytes.saturating_sub(bytes) };
        self.bytes -= rest.bytes;
        self.resize(bytes);
        rest
    }

    /// Replaces the estimate by the actual number of bytes. Never waits; an increase that is not free becomes a debt.
    pub fn resize(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        if bytes > before {
            self.share.memory.lock().shares.take_anyway(self.share.id, bytes - before);
        } else {
            self.give_back(before - bytes);
        }
    }

    fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            self.share.memory.lock().shares.give_back(self.share.id, bytes);
            self.share.memory.grant();
        }
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn memory_is_refused_until_some_is_released() {
        let budget = Budget::new(10);
        let first = budget.take(8).await;
        assert!(timeout(SOON, budget.take(4)).await.is_err());
        drop(first);
        assert!(timeout(SOON, budget.take(4)).await.is_ok());
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_larger_than_its_estimate_overdraws_the_budget_until_others_release() {
        let budget = Budget::new(10);
        let mut large = budget.take(2).await;
        let small = budget.take(6).await;
        large.resize(20);
        assert_eq!(budget.used(), 26);
        drop(small);
        assert!(timeout(SOON, budget.take(3)).await.is_err(), "the debt has to be paid first");
        drop(large);
        assert_eq!(budget.used(), 0);
        assert!(timeout(SOON, budget.take(10)).await.is_ok(), "nothing was lost on the way");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reservation_grows_by_the_free_memory_and_the_whole_budget_always_suffices() {
        let budget = Budget::new(10);
        let other = budget.take(6).await;
        let mut credit = budget.take(2).await;
        assert!(credit.grow(1) && credit.grow(4));
        assert_eq!(budget.used(), 10);
        assert!(!credit.grow(5), "the other holds the rest");
        assert_eq!(budget.used(), 10, "nothing is taken in vain");
        drop(other);
        assert!(credit.grow(1000));
        assert_eq!(budget.used(), 10);
        drop(credit);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_smaller_than_its_estimate_releases_the_rest_at_once() {
        let budget = Budget::new(10);
        let mut credit = budget.take(10).await;
        credit.resize(1);
        assert_eq!(budget.used(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reservation_can_be_split_and_grows_only_by_the_free_memory() {
        let budget = Budget::new(10);
        let mut page = budget.take(6).await;
        let mut room = page.split(2);
        assert_eq!((page.bytes(), room.bytes(), budget.used()), (2, 4, 6));
        room.widen(9);
        assert_eq!((room.bytes(), budget.used()), (4, 6), "there is not so much");
        room.widen(8);
        assert_eq!((room.bytes(), budget.used()), (8, 10));
        let nothing = page.split(5);
        assert_eq!((page.bytes(), nothing.bytes(), budget.used()), (5, 0, 13), "a debt");
        drop((page, room, nothing));
        assert_eq!(budget.used(), 0);
        assert!(timeout(SOON, budget.take(10)).await.is_ok(), "nothing was lost on the way");
    }

    #[tokio::test(start_paused = true)]
    async fn an_estimate_above_the_whole_budget_takes_the_whole_budget() {
        let budget = Budget::new(10);
        assert!(timeout(SOON, budget.take(1000)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_wait_does_not_block_those_behind_it() {
        let budget = Budget::new(10);
        let held = budget.take(6).await;
        let first = timeout(SOON, budget.take(8));
        let second = async {
            tokio::time::sleep(SOON / 2).await;
            budget.take(3).await
        };
        let (first, second) = tokio::join!(first, timeout(2 * SOON, second));
        assert!(first.is_err() && second.is_ok());
        drop((held, second));
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_takes_all_it_can_leaves_the_others_their_shares() {
        let shared = SharedBudget::new(80);
        let [stuck, well] = [shared.for_source(), shared.for_source()];
        let _held = stuck.take(1000).await;
        let all = timeout(SOON, well.take_about(40)).await.expect("its part is kept for it");
        assert_eq!((all.bytes(), shared.used()), (10, 80));
        assert!(timeout(SOON, well.take_about(1)).await.is_err(), "it has all of it");
        drop(all);
        assert!(timeout(SOON, well.take_about(1)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_waits_since_it_last_got_memory_however_many_requests_it_has() {
        let shared = SharedBudget::new(80);
        let [stuck, well] = [shared.for_source(), shared.for_source()];
        let held = stuck.take(1000).await;
        assert_eq!(stuck.of_source(), SourceMemory { held: 70, waiting_since: None });
        let own = well.take_about(10).await;
        let begun = Instant::now();
        let requests = async { tokio::join!(well.take_about(10), well.take_about(10)) };
        let watch = async {
            tokio::time::sleep(SOON).await;
            assert_eq!(well.of_source(), SourceMemory { held: 10, waiting_since: Some(begun) });
            drop(own);
            tokio::time::sleep(SOON).await;
            assert_eq!(well.of_source().waiting_since, Some(begun + SOON), "the second request still waits");
            drop(held);
        };
        let (credits, ()) = tokio::join!(requests, watch);
        assert_eq!(well.of_source(), SourceMemory { held: 20, waiting_since: None });
        drop(credits);
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_ended_leaves_its_share_to_the_others() {
        let shared = SharedBudget::new(80);
        let [one, other] = [shared.for_source(), shared.for_source()];
        let credit = other.take(5).await;
        drop(other);
        let most = timeout(SOON, one.take(80)).await.map(|most| most.bytes());
        assert_eq!(most, Ok(70), "a credit of it is left");
        drop(credit);
        assert_eq!(timeout(SOON, one.take(80)).await.map(|all| all.bytes()), Ok(80));
    }
}
