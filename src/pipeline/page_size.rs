//! How many log groups the next pull asks for, and how many bytes it reserves. Pure.

use crate::core::page::Page;

/// Target size of an unpacked page. Small enough that many shards fit into the budget and that a hook takes
/// milliseconds; large enough that one round trip per page reaches the rate at which SLS lets a shard be read.
pub(super) const PAGE_TARGET: usize = 2 << 20;

/// Bytes reserved for the first page of a shard, before the size of its logs is known.
const FIRST_RESERVE: usize = 2 * PAGE_TARGET;

/// Minimum number of bytes to reserve.
const MIN_RESERVE: usize = PAGE_TARGET / 16;

/// While memory is short, a pull reserves and asks for this fraction of the usual size. A pulled page occupies memory
/// before it can be delivered, and pages that wait for delivery need that memory more.
pub(super) const SHORT_PART: usize = 4;

/// With this many batches of the shard in flight, pages have their usual size also while memory is short: the batches hold
/// far more memory than one page, and smaller pages would only cost more requests.
pub(super) const MANY_IN_FLIGHT: usize = 64;

/// Log groups asked for at first.
const FIRST_GROUPS: u32 = 64;

/// The size of one shard's pages.
#[derive(Debug)]
pub(super) struct PageSize {
    most: u32,
    /// Log groups that make a page of about [`PAGE_TARGET`], estimated from the last page with logs.
    fit: u32,
    groups: u32,
    /// Log groups of the last page that had any.
    came: u32,
    /// Estimated bytes for `groups` log groups.
    reserve: usize,
    /// Bytes that the next page needs. Set when that page is a single log group.
    single: Option<usize>,
    idle: bool,
}

/// How many bytes of the budget to reserve before a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reserve {
    /// An estimate: with less memory, a smaller page is pulled.
    About(usize),
    /// The announced size: with less memory, the page cannot be pulled.
    All(usize),
}

impl PageSize {
    /// At most `most` log groups a page.
    pub(super) fn new(most: u32) -> Self {
        let fit = FIRST_GROUPS.min(most);
        Self { most, fit, groups: fit, came: fit, reserve: FIRST_RESERVE, single: None, idle: false }
    }

    /// How many bytes of the budget to reserve before asking.
    pub(super) fn reserve(&self) -> Reserve {
        self.single.map_or(Reserve::About(self.reserve), Reserve::All)
    }

    /// How many log groups to ask for with `reserved` bytes.
    pub(super) fn groups(&self, reserved: usize) -> u32 {
        if reserved >= self.reserve {
            return self.groups;
        }
        u32::try_from(u64::from(self.groups) * reserved as u64 / self.reserve as u64).unwrap_or(self.groups).max(1)
    }

    /// An empty page arrived. Returns whether the shard has just become idle.
    ///
    /// The next page has only the logs written since: usually few, and hundreds of idle shards share the budget. If
    /// there are many, the first pulls ask for few groups, because the reserve is small.
    pub(super) fn on_idle(&mut self) -> bool {
        let was_busy = !self.idle;
        if was_busy {
            self.idle = true;
            self.single = None;
            self.reserve = MIN_RESERVE;
            self.groups = (self.fit / (PAGE_TARGET / MIN_RESERVE) as u32).clamp(1, self.groups);
        }
        was_busy
    }

    /// A page arrived. A page that was not full says little about the next ones, so the next is at most four times as
    /// large.
    pub(super) fn on_page(&mut self, page: &Page) {
        self.idle = false;
        self.single = None;
        self.fit = fitting_groups(page).unwrap_or(self.fit).min(self.most);
        self.groups = self.fit.min(self.groups.saturating_mul(4));
        self.came = page.groups.max(1);
    }

    /// A page of `groups` log groups announced `bytes`, which did not fit: only `reserved` bytes were reserved, and
    /// not enough more were free. The next page asks for fewer groups. If it was a single log group, the next pull
    /// reserves its announced size first.
    pub(super) fn on_no_room(&mut self, groups: u32, reserved: usize, bytes: usize) {
        if groups == 1 {
            self.single = Some(bytes);
            self.groups = 1;
            return;
        }
        let fit = u64::from(groups) * reserved as u64 / (bytes as u64).max(1);
        self.fit = u32::try_from(fit).unwrap_or(u32::MAX).clamp(1, groups - 1);
        self.groups = self.fit;
    }

    /// The page and its events (or those of its first part) took this many bytes.
    pub(super) fn on_batch(&mut self, weight: usize) {
        let next = weight as u64 * u64::from(self.groups) / u64::from(self.came);
        let next = usize::try_from(next).unwrap_or(usize::MAX).min(FIRST_RESERVE.max(weight));
        self.reserve = next.max(MIN_RESERVE);
    }
}

/// How many log groups like those of `page` make a page of about [`PAGE_TARGET`].
fn fitting_groups(page: &Page) -> Option<u32> {
    let fit = (PAGE_TARGET as u64 * u64::from(page.groups)).checked_div(page.body.len() as u64)?;
    (page.groups > 0).then(|| u32::try_from(fit).unwrap_or(u32::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::core::cursor::{Cursor, ShardId};

    fn page(groups: u32, bytes: usize) -> Page {
        let body = Bytes::from(vec![0; bytes]);
        Page { body, groups, ..Page::empty(ShardId(0), Cursor::from_number(0), Cursor::from_number(1)) }
    }

    /// How many log groups the next page asks for, and how many bytes it reserves if they are free.
    fn next(size: &PageSize) -> (u32, usize) {
        let (Reserve::About(bytes) | Reserve::All(bytes)) = size.reserve();
        (size.groups(bytes), bytes)
    }

    #[test]
    fn pages_grow_step_by_step_towards_the_target() {
        let mut size = PageSize::new(1000);
        assert_eq!(next(&size), (64, 2 * PAGE_TARGET));
        size.on_page(&page(64, 64 * 1024));
        assert_eq!(next(&size).0, 256);
        size.on_page(&page(256, 256 * 1024));
        assert_eq!(next(&size).0, 1000, "the most there may be, although 2048 would fit");
        size.on_page(&page(1000, 16 * PAGE_TARGET));
        assert_eq!(next(&size).0, 62, "shrinks at once");
        size.on_page(&page(1, 3 * PAGE_TARGET));
        assert_eq!(next(&size).0, 1, "a page has at least one group");
    }

    #[test]
    fn an_idle_shard_requests_and_reserves_little() {
        let mut size = PageSize::new(1000);
        size.on_page(&page(64, 64 * 1024));
        size.on_batch(3 * PAGE_TARGET);
        assert_eq!(next(&size).1, 3 * PAGE_TARGET);
        assert!(size.on_idle());
        assert!(!size.on_idle(), "it is idle already");
        assert_eq!(next(&size), (1000 / 16, MIN_RESERVE));
        size.on_page(&page(1, 100));
        assert!(size.on_idle(), "a page makes it busy");
    }

    #[test]
    fn a_page_without_room_is_requested_in_fewer_groups_and_a_single_group_gets_what_it_needs() {
        let mut size = PageSize::new(1000);
        let refuse = |size: &mut PageSize, bytes| {
            let (groups, reserved) = next(size);
            size.on_no_room(groups, reserved, bytes);
        };
        refuse(&mut size, 8 * PAGE_TARGET);
        assert_eq!(next(&size), (16, 2 * PAGE_TARGET));
        refuse(&mut size, 2 * PAGE_TARGET);
        assert_eq!(next(&size), (15, 2 * PAGE_TARGET), "it shrinks each time");
        refuse(&mut size, 100 * PAGE_TARGET);
        assert_eq!(next(&size), (1, 2 * PAGE_TARGET));
        refuse(&mut size, 20 * PAGE_TARGET);
        assert_eq!((next(&size).0, size.reserve()), (1, Reserve::All(20 * PAGE_TARGET)));
        size.on_page(&page(1, 20 * PAGE_TARGET));
        assert_eq!(size.reserve(), Reserve::About(2 * PAGE_TARGET), "it has come");
    }

    #[test]
    fn with_less_than_the_reserve_a_smaller_page_is_requested_and_its_refusal_counts_at_that_size() {
        let mut size = PageSize::new(1000);
        assert_eq!([2, 1, 0].map(|part| size.groups(part * PAGE_TARGET)), [64, 32, 1]);
        size.on_no_room(32, PAGE_TARGET, 4 * PAGE_TARGET);
        assert_eq!(next(&size), (8, 2 * PAGE_TARGET));
        size.on_no_room(1, PAGE_TARGET / 16, PAGE_TARGET);
        assert_eq!((size.reserve(), size.groups(PAGE_TARGET)), (Reserve::All(PAGE_TARGET), 1));
    }

    /// Fails if a quarter of a page is treated as a full page: the next pull would reserve only a quarter of its
    /// size.
    #[test]
    fn the_reserve_matches_the_number_of_groups_requested_next() {
        let mut size = PageSize::new(1000);
        assert_eq!(size.groups(2 * PAGE_TARGET / SHORT_PART), 16);
        size.on_page(&page(16, PAGE_TARGET / 4));
        size.on_batch(PAGE_TARGET / 2);
        assert_eq!((next(&size), size.groups(PAGE_TARGET / 2)), ((64, 2 * PAGE_TARGET), 16));
        size.on_page(&page(1, PAGE_TARGET / 4));
        size.on_batch(PAGE_TARGET);
        assert_eq!(next(&size), (4, 2 * PAGE_TARGET), "not more than for a first page");
    }

    #[test]
    fn an_empty_page_does_not_change_the_size() {
        let mut size = PageSize::new(10);
        size.on_page(&page(0, 0));
        assert_eq!(next(&size).0, 10);
        size.on_batch(0);
        assert_eq!(next(&size).1, MIN_RESERVE);
    }
}
