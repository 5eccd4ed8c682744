//! How much of a shared memory limit each source holds, and which request is granted next. Pure.
//!
//! A quarter of the memory is reserved for the sources, in equal parts. A source can always get its reserved part.
//! Beyond that, it can take memory that is free and not reserved for another source. So a source whose logs are not
//! delivered blocks no other source, however many logs it has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One of this many parts of the memory is reserved, for all sources together.
const KEPT_PART: usize = 4;

/// A debt of up to one of this many parts of the memory stops no part of a page: small debts are usual while memory is
/// full.
const SMALL_DEBT_PART: usize = 8;

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
    /// Number of large parts of each source: those that may become larger than their room, or are.
    large: BTreeMap<ShareId, usize>,
    /// Waiting requests in order of arrival.
    requests: VecDeque<MemoryRequest>,
    next: u64,
}

#[derive(Debug)]
struct MemoryRequest {
    id: MemoryRequestId,
    share: ShareId,
    bytes: usize,
    need: Need,
}

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// All of its bytes.
    Whole,
    /// Whatever is free, and at least the reserved part of its source.
    About,
    /// No bytes: that a part of a page may begin.
    Begin,
}

impl Shares {
    /// Shares of `total` bytes.
    pub(super) fn new(total: usize) -> Self {
        Self {
            total,
            held: BTreeMap::new(),
            used: 0,
            claimed: 0,
            large: BTreeMap::new(),
            requests: VecDeque::new(),
            next: 0,
        }
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
        self.large.remove(&share);
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

    /// Adds a request for `bytes`, or for [`Shares::most`] if that is less.
    pub(super) fn request(&mut self, share: ShareId, bytes: usize, need: Need) -> MemoryRequestId {
        let id = self.next_id();
        self.requests.push_back(MemoryRequest { id, share, bytes, need });
        id
    }

    /// Begins to make a part of a page that may take `bytes` more than its room, which become a debt if they are not
    /// free. Returns whether the part counts as large until [`Shares::end_large`]. `None`: it must wait.
    ///
    /// While the source is overdrawn, it makes one part at a time, and none while it has a large one. So one log that
    /// needs more than all of the memory is delivered, and never two at once.
    pub(super) fn begin(&mut self, share: ShareId, bytes: usize) -> Option<bool> {
        if !self.may_begin(share) {
            return None;
        }
        let is_large = bytes > 0 || self.is_overdrawn(share);
        self.take_anyway(share, bytes);
        if is_large {
            self.begin_large(share);
        }
        Some(is_large)
    }

    /// Counts a large part.
    pub(super) fn begin_large(&mut self, share: ShareId) {
        *self.large.entry(share).or_default() += 1;
    }

    /// A large part is durable, or was not large.
    pub(super) fn end_large(&mut self, share: ShareId) {
        if let Some(large) = self.large.get_mut(&share) {
            *large = large.saturating_sub(1);
        }
    }

    fn may_begin(&self, share: ShareId) -> bool {
        !self.is_overdrawn(share) || self.large.get(&share).is_none_or(|large| *large == 0)
    }

    /// Whether more is in use than there is, and this source has more than what is reserved for it.
    fn is_overdrawn(&self, share: ShareId) -> bool {
        self.used() > self.total + self.total / SMALL_DEBT_PART && self.held(share) > self.kept()
    }

    /// Cancels a request.
    pub(super) fn forget(&mut self, request: MemoryRequestId) {
        self.requests.retain(|one| one.id != request);
    }

    /// Grants all requests that can be granted, and counts their bytes as held. Within a source, requests are granted
    /// in order. A request for more than the reserved part of its source also blocks later requests of other sources,
    /// except for their reserved parts. Parts that may begin wait for no other request: their pages are in memory.
    pub(super) fn grant(&mut self) -> Vec<(MemoryRequestId, usize)> {
        let mut granted = Vec::new();
        let mut waiting = BTreeSet::new();
        let mut common = self.common();
        let requests = std::mem::take(&mut self.requests);
        for request in requests {
            if request.need == Need::Begin {
                if self.may_begin(request.share) {
                    granted.push((request.id, 0));
                } else {
                    self.requests.push_back(request);
                }
                continue;
            }
            let least = self.least(&request);
            let own = self.own(request.share);
            if waiting.contains(&request.share) || least > own + common {
                if waiting.insert(request.share) && least > self.kept() {
                    common = 0;
                }
                self.requests.push_back(request);
                continue;
            }
            let bytes = request.bytes.min(own + common).max(least);
            common -= bytes.saturating_sub(own);
            self.set_held(request.share, self.held(request.share) + bytes);
            granted.push((request.id, bytes));
        }
        granted
    }

    /// Takes `bytes` if they are free now. Waiting requests for more than a reserved part have priority, except over the
    /// reserved part of this source.
    pub(super) fn take_now(&mut self, share: ShareId, bytes: usize) -> bool {
        let is_common_waited_for = self.requests.iter().any(|request| self.least(request) > self.kept());
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
    fn least(&self, request: &MemoryRequest) -> usize {
        request.bytes.min(if request.need == Need::About { self.kept() } else { self.most() })
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
mod tests;
