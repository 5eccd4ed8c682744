//! Memory for events that are larger than the room of their part.
//!
//! One log may become more events than any room has. Before a part of a page is made, the budget is therefore asked
//! whether it may begin, with what it may take beyond its room. That is counted until the part is measured.

use std::sync::Arc;

use super::shares::Need;
use super::{Budget, Credit, Share};

impl Budget {
    /// Begins to make a part of a page that may take `bytes` more than its room. `None`: too much is in use, see
    /// [`Budget::until_a_part_may_begin`].
    #[must_use]
    pub fn begin_part(&self, bytes: usize) -> Option<PartBegun> {
        let Self(share) = self;
        let is_large = share.memory.lock().shares.begin(share.id, bytes)?;
        let large = is_large.then(|| LargePart(Arc::clone(share)));
        Some(PartBegun { extra: Credit { share: Arc::clone(share), bytes }, large })
    }

    /// Waits until [`Budget::begin_part`] may succeed. Another part may be quicker.
    pub async fn until_a_part_may_begin(&self) {
        self.wait_for(0, Need::Begin).await;
    }
}

/// A part that is being made.
#[derive(Debug)]
pub struct PartBegun {
    /// What it may take beyond its room.
    extra: Credit,
    large: Option<LargePart>,
}

impl PartBegun {
    /// The part is made. Gives its memory to `room`, which then has `bytes`. If the part is larger than its room was,
    /// the result must be kept until it is durable.
    #[must_use]
    pub fn measured(mut self, room: &mut Credit, bytes: usize, is_large: bool) -> Option<LargePart> {
        room.bytes += std::mem::take(&mut self.extra.bytes);
        let large = is_large.then(|| self.large.take().unwrap_or_else(|| LargePart::new(&room.share)));
        room.resize(bytes);
        large
    }
}

/// A part that is larger than its room, or may become so. Dropping it allows the next one.
#[derive(Debug)]
pub struct LargePart(Arc<Share>);

impl LargePart {
    fn new(share: &Arc<Share>) -> Self {
        share.memory.lock().shares.begin_large(share.id);
        Self(Arc::clone(share))
    }
}

impl Drop for LargePart {
    fn drop(&mut self) {
        let Self(share) = self;
        share.memory.lock().shares.end_large(share.id);
        share.memory.grant();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_next_part_begins_when_the_large_one_is_durable() {
        let budget = Budget::new(80);
        let mut room = budget.take(60).await;
        let begun = budget.begin_part(50).expect("nothing else is under way");
        assert_eq!(budget.used(), 110, "it may take so much");
        assert!(budget.begin_part(0).is_none());
        let large = begun.measured(&mut room, 100, true);
        assert_eq!(budget.used(), 100);
        assert!(budget.begin_part(0).is_none() && timeout(SOON, budget.until_a_part_may_begin()).await.is_err());
        let next = timeout(SOON, budget.until_a_part_may_begin());
        let durable = async {
            tokio::task::yield_now().await;
            drop((large, room));
        };
        assert!(tokio::join!(next, durable).0.is_ok());
        assert!(budget.begin_part(0).is_some());
        assert_eq!((budget.used(), budget.of_source().waiting_since), (0, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_fits_its_room_returns_what_was_counted_for_it() {
        let budget = Budget::new(80);
        let mut room = budget.take(60).await;
        let begun = budget.begin_part(50).expect("nothing else is under way");
        assert!(begun.measured(&mut room, 40, false).is_none());
        assert_eq!(budget.used(), 40);
        assert!(budget.begin_part(0).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_a_part_is_shown_as_a_wait_for_memory() {
        let budget = Budget::new(80);
        let _large = budget.begin_part(100);
        let waiting = timeout(SOON, budget.until_a_part_may_begin());
        let look = async {
            tokio::task::yield_now().await;
            budget.of_source().waiting_since
        };
        assert!(tokio::join!(waiting, look).1.is_some());
    }
}
