//! The memory budget: how many bytes may be in flight, from pull to durable, over all shards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes per unit of the semaphore, whose permits are 32 bits wide.
const UNIT: usize = 1024;

/// A number of bytes that all shards share.
///
/// The size of a page is not known before it is pulled, so credit is taken for an estimate. When SLS announces the size, and
/// before the body is read, the credit grows to it, or the page is pulled later. The events that the script makes of the page
/// may exceed what is free: the difference is a debt, which the next credits to be returned pay. So no holder of a page ever
/// waits for another.
#[derive(Debug, Clone)]
pub struct Budget {
    free: Arc<Semaphore>,
    debt: Arc<AtomicU32>,
    total: u32,
}

impl Budget {
    /// A budget of `bytes`.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let total = units(bytes).max(1);
        Self { free: Arc::new(Semaphore::new(total as usize)), debt: Arc::default(), total }
    }

    /// Takes credit for `bytes`, or for the whole budget if that is less. Waits its turn.
    pub async fn take(&self, bytes: usize) -> Credit {
        let units = units(bytes).clamp(1, self.total);
        let permit = Arc::clone(&self.free).acquire_many_owned(units).await.expect("the semaphore is never closed");
        Credit { permit, owed: 0, debt: Arc::clone(&self.debt), total: self.total }
    }

    /// Bytes that may be in flight.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.total as usize * UNIT
    }

    /// Bytes in flight.
    #[must_use]
    pub fn used(&self) -> usize {
        let free = self.free.available_permits();
        ((self.total as usize).saturating_sub(free) + self.debt.load(Ordering::Relaxed) as usize) * UNIT
    }
}

/// Bytes taken from a [`Budget`]; dropping it returns them.
#[derive(Debug)]
pub struct Credit {
    permit: OwnedSemaphorePermit,
    /// Units held beyond the permit: the part of the debt that this credit made.
    owed: u32,
    debt: Arc<AtomicU32>,
    /// The whole budget.
    total: u32,
}

impl Credit {
    /// Grows to `bytes`, if that much is free now. Never waits: a holder that waited for another could wait for ever. A
    /// credit for the whole budget is always enough, because its holder is the only one.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let want = units(bytes).clamp(1, self.total);
        let missing = want.saturating_sub(self.permit.num_permits() as u32 + self.owed);
        let more = Arc::clone(self.permit.semaphore()).try_acquire_many_owned(missing);
        more.map(|more| self.permit.merge(more)).is_ok()
    }

    /// How many bytes it is for.
    #[must_use]
    pub fn bytes(&self) -> usize {
        (self.permit.num_permits() + self.owed as usize) * UNIT
    }

    /// Grows to `bytes`, if that much is free. Never waits and makes no debt.
    pub fn widen(&mut self, bytes: usize) {
        let missing = bytes.saturating_sub(self.bytes());
        if missing > 0
            && let Ok(more) = Arc::clone(self.permit.semaphore()).try_acquire_many_owned(units(missing))
        {
            self.permit.merge(more);
        }
    }

    /// Keeps `bytes` and splits off the rest. What is missing becomes a debt, as in [`Credit::resize`].
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Self {
        let rest = (self.permit.num_permits() as u32).saturating_sub(units(bytes).max(1));
        let permit = self.permit.split(rest as usize).expect("the rest is less than all");
        self.resize(bytes);
        Self { permit, owed: 0, debt: Arc::clone(&self.debt), total: self.total }
    }

    /// Replaces the estimate by what is really held. Never waits.
    pub fn resize(&mut self, bytes: usize) {
        let want = units(bytes).max(1);
        let have = self.permit.num_permits() as u32 + self.owed;
        if want < have {
            self.give_back(have - want);
            return;
        }
        let missing = want - have;
        match Arc::clone(self.permit.semaphore()).try_acquire_many_owned(missing) {
            Ok(more) => self.permit.merge(more),
            Err(_) => {
                self.owed += missing;
                self.debt.fetch_add(missing, Ordering::Relaxed);
            }
        }
    }

    /// Pays debts first, whoever made them; the rest is free again.
    fn give_back(&mut self, units: u32) {
        let mut paid = 0;
        let _ = self.debt.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |debt| {
            paid = debt.min(units);
            Some(debt - paid)
        });
        let unowed = self.owed.min(units);
        self.owed -= unowed;
        let taken = self.permit.split((units - unowed) as usize);
        if let Some(permit) = taken {
            permit.forget();
        }
        self.permit.semaphore().add_permits((units - paid) as usize);
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        self.give_back(self.permit.num_permits() as u32 + self.owed);
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(Semaphore::MAX_PERMITS as u32)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn credit_is_refused_until_some_comes_back() {
        let budget = Budget::new(10 * UNIT);
        let first = budget.take(8 * UNIT).await;
        assert!(timeout(SOON, budget.take(4 * UNIT)).await.is_err());
        drop(first);
        assert!(timeout(SOON, budget.take(4 * UNIT)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_larger_than_its_estimate_is_a_debt_that_the_next_to_finish_pays() {
        let budget = Budget::new(10 * UNIT);
        let mut large = budget.take(2 * UNIT).await;
        let small = budget.take(6 * UNIT).await;
        large.resize(20 * UNIT);
        assert_eq!(budget.used(), 26 * UNIT);
        drop(small);
        assert!(timeout(SOON, budget.take(3 * UNIT)).await.is_err(), "the debt has to be paid first");
        drop(large);
        assert_eq!(budget.used(), 0);
        assert!(timeout(SOON, budget.take(10 * UNIT)).await.is_ok(), "nothing was lost on the way");
    }

    #[tokio::test(start_paused = true)]
    async fn credit_grows_to_what_is_free_and_the_whole_budget_is_enough_for_everything() {
        let budget = Budget::new(10 * UNIT);
        let other = budget.take(6 * UNIT).await;
        let mut credit = budget.take(2 * UNIT).await;
        assert!(credit.grow(UNIT) && credit.grow(4 * UNIT));
        assert_eq!(budget.used(), 10 * UNIT);
        assert!(!credit.grow(5 * UNIT), "the other holds the rest");
        assert_eq!(budget.used(), 10 * UNIT, "nothing is taken in vain");
        drop(other);
        assert!(credit.grow(1000 * UNIT));
        assert_eq!(budget.used(), 10 * UNIT);
        drop(credit);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_smaller_than_its_estimate_gives_the_rest_back_at_once() {
        let budget = Budget::new(10 * UNIT);
        let mut credit = budget.take(10 * UNIT).await;
        credit.resize(UNIT);
        assert_eq!(budget.used(), UNIT);
    }

    #[tokio::test(start_paused = true)]
    async fn credit_can_be_parted_and_grows_only_by_what_is_free() {
        let budget = Budget::new(10 * UNIT);
        let mut page = budget.take(6 * UNIT).await;
        let mut room = page.split(2 * UNIT);
        assert_eq!((page.bytes(), room.bytes(), budget.used()), (2 * UNIT, 4 * UNIT, 6 * UNIT));
        room.widen(9 * UNIT);
        assert_eq!((room.bytes(), budget.used()), (4 * UNIT, 6 * UNIT), "there is not so much");
        room.widen(8 * UNIT);
        assert_eq!((room.bytes(), budget.used()), (8 * UNIT, 10 * UNIT));
        let nothing = page.split(5 * UNIT);
        assert_eq!((page.bytes(), nothing.bytes(), budget.used()), (5 * UNIT, 0, 13 * UNIT), "a debt");
        drop((page, room, nothing));
        assert_eq!(budget.used(), 0);
        assert!(timeout(SOON, budget.take(10 * UNIT)).await.is_ok(), "nothing was lost on the way");
    }

    #[tokio::test(start_paused = true)]
    async fn an_estimate_above_the_whole_budget_takes_the_whole_budget() {
        let budget = Budget::new(10 * UNIT);
        assert!(timeout(SOON, budget.take(1000 * UNIT)).await.is_ok());
    }
}
