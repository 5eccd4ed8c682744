//! Memory for the events of a page.
//!
//! A part of a page is made only when there is room for it in the budget. If every shard held a page and waited for
//! the others to free memory, none would make progress. Each page therefore has its own room, which is reserved
//! together with the page and is returned to it when the part in that room is durable. Other free memory allows the
//! next part earlier.
//!
//! One log may become more events than its room has. Before a part is made, the budget is asked whether it may begin.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::mpsc;

use super::PartSize;
use crate::core::budget::{Budget, Credit, LargePart, PartBegun};
use crate::core::pending_output::PendingOutput;

/// Minimum size of a part, however little is free. A part that is larger than its room by no more than this is not
/// counted as large.
const MIN_PART: usize = 64 << 10;

/// The rooms for the parts of one page.
pub(super) struct Rooms {
    budget: Budget,
    /// Memory of the page bytes that all its parts share, until the last part is durable.
    page: Arc<Credit>,
    /// Memory that is needed only until the last part is made.
    _unpacked: Credit,
    /// The page's own room, while no part is in it.
    own: Option<Credit>,
    home: Home,
    back: mpsc::Receiver<Credit>,
    /// The part in the page's own room, and its outputs.
    lent: Option<(Arc<PartCredit>, Vec<Weak<PendingOutput>>)>,
}

/// The memory of a part.
#[derive(Debug)]
struct PartCredit(Mutex<PartMemory>);

#[derive(Debug, Default)]
struct PartMemory {
    /// `None` once it is returned.
    credit: Option<Credit>,
    /// While it is being made.
    begun: Option<PartBegun>,
    /// If it is larger than its room.
    large: Option<LargePart>,
}

/// How a page's own room returns to it.
#[derive(Debug, Clone)]
struct Home {
    sender: mpsc::Sender<Credit>,
    /// Maximum size of the room.
    bytes: usize,
}

impl Rooms {
    /// For a page of `bytes` bytes, of which `packed` are still held after it was read. Takes the memory from
    /// `reserved`, which was reserved before the pull.
    pub(super) fn new(budget: &Budget, mut reserved: Credit, bytes: usize, packed: usize) -> Self {
        let mut own = reserved.split(bytes);
        let unpacked = reserved.split(packed);
        // The events of most hooks are about as large as the logs.
        own.widen(PartSize::default().bytes.min(2 * bytes + MIN_PART));
        let (sender, back) = mpsc::channel(1);
        let home = Home { sender, bytes: own.bytes().min(PartSize::default().bytes) };
        Self {
            budget: budget.clone(),
            page: Arc::new(reserved),
            _unpacked: unpacked,
            own: Some(own),
            home,
            back,
            lent: None,
        }
    }

    /// Memory for the next part. Waits until some is free.
    pub(super) async fn next(&mut self) -> Room {
        let room = |credit, home| {
            let memory = PartMemory { credit: Some(credit), ..PartMemory::default() };
            let credit = Arc::new(PartCredit(Mutex::new(memory)));
            Room { budget: self.budget.clone(), credit, home, _page: Arc::clone(&self.page) }
        };
        if let Some(own) = self.own.take() {
            return room(own, Some(self.home.clone()));
        }
        let bytes = PartSize::default().bytes;
        tokio::select! {
            biased;
            Some(own) = self.back.recv() => room(own, Some(self.home.clone())),
            credit = self.budget.take_about(bytes) => room(credit, None),
        }
    }

    /// Lets the outputs of a part hold its memory, so that they return what they do not need when they are packed. In
    /// the page's own room they do so from the end of the page on: until then, the room must return as a whole.
    pub(super) fn share(&mut self, room: &Room, outputs: &[Arc<PendingOutput>]) {
        let outputs: Vec<_> = outputs.iter().map(Arc::downgrade).collect();
        if room.home.is_none() {
            room.credit.share(&outputs);
        } else {
            self.lent = Some((Arc::clone(&room.credit), outputs));
        }
    }
}

impl Drop for Rooms {
    fn drop(&mut self) {
        if let Some((credit, outputs)) = self.lent.take() {
            credit.share(&outputs);
        }
    }
}

impl PartCredit {
    /// Lets these outputs hold their part of it, unless it is returned already.
    fn share(&self, outputs: &[Weak<PendingOutput>]) {
        if let Some(credit) = &mut self.lock().credit {
            outputs.iter().filter_map(Weak::upgrade).for_each(|output| output.hold(credit));
        }
    }

    /// A poisoned lock is usable: a credit is complete at all times.
    fn lock(&self) -> MutexGuard<'_, PartMemory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The memory for one part of a page, until it is durable.
#[derive(Debug)]
pub(super) struct Room {
    budget: Budget,
    credit: Arc<PartCredit>,
    /// Returns the page's own room to the page; `None` for a room that does not belong to the page.
    home: Option<Home>,
    /// Held as long as the part, which keeps the page in memory.
    _page: Arc<Credit>,
}

impl Room {
    /// Maximum number of bytes of a part in this room.
    pub(super) fn bytes(&self) -> usize {
        self.credit.lock().credit.as_ref().map_or(0, Credit::bytes).max(MIN_PART)
    }

    /// Begins a part that may take `surplus` bytes more than the room; returns whether it may. To be called where the
    /// part is made, so that waiting jobs count nothing.
    pub(super) fn begins(&self, surplus: usize) -> impl Fn() -> bool + Send + Sync + use<> {
        let (budget, credit) = (self.budget.clone(), Arc::clone(&self.credit));
        move || {
            // If the script was rolled back, the part is made again.
            drop(credit.lock().begun.take());
            let begun = budget.begin_part(surplus);
            let may_begin = begun.is_some();
            credit.lock().begun = begun;
            may_begin
        }
    }

    /// The part that was made is not used.
    pub(super) fn abandon(&self) {
        drop(self.credit.lock().begun.take());
    }

    /// Records a part of `weight` bytes. Frees the rest of the room, unless it is the page's own room and the page
    /// has more parts. Returns by how much the part is larger than the room, if that is much.
    pub(super) fn fill(&mut self, weight: usize, is_last: bool) -> usize {
        if is_last {
            self.home = None;
        }
        let surplus = Some(weight.saturating_sub(self.bytes())).filter(|surplus| *surplus > MIN_PART).unwrap_or(0);
        let memory = &mut *self.credit.lock();
        if let Some(credit) = &mut memory.credit {
            let kept = if self.home.is_some() { credit.bytes() } else { 0 };
            match memory.begun.take() {
                Some(begun) => memory.large = begun.measured(credit, weight.max(kept), surplus > 0),
                None => credit.resize(weight.max(kept)),
            }
        }
        surplus
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut memory = self.credit.lock();
        let (credit, large) = (memory.credit.take(), memory.large.take());
        drop(memory);
        if let (Some(mut credit), Some(home)) = (credit, self.home.take()) {
            credit.resize(credit.bytes().min(home.bytes));
            // If the page is complete, nobody receives the credit, and it returns to the budget.
            let _ = home.sender.try_send(credit);
        }
        drop(large);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use tokio::time::timeout;

    use super::*;
    use crate::core::batch::Events;
    use crate::core::cursor::ShardId;
    use crate::core::page::Packed;

    const MIB: usize = 1 << 20;
    const SOON: Duration = Duration::from_secs(1);

    async fn page(budget: &Budget, reserved: usize, bytes: usize) -> Rooms {
        Rooms::new(budget, timeout(SOON, budget.take(reserved)).await.expect("there is room"), bytes, bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_of_one_part_holds_what_it_needs() {
        let budget = Budget::new(64 * MIB);
        let mut rooms = page(&budget, 4 * MIB, 2 * MIB).await;
        let mut room = rooms.next().await;
        assert_eq!(room.bytes(), 4 * MIB, "twice the page, since so much was free");
        room.fill(MIB, true);
        drop(rooms);
        assert_eq!(budget.used(), 3 * MIB);
        drop(room);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_was_read_keeps_only_its_compressed_bytes() {
        let budget = Budget::new(64 * MIB);
        let reserved = timeout(SOON, budget.take(4 * MIB)).await.expect("there is room");
        let mut rooms = Rooms::new(&budget, reserved, 2 * MIB, MIB / 2);
        let mut room = rooms.next().await;
        room.fill(MIB, true);
        assert_eq!(budget.used(), 3 * MIB, "a part may still be made");
        drop(rooms);
        assert_eq!(budget.used(), 3 * MIB / 2);
        drop(room);
        assert_eq!(budget.used(), 0);
    }

    /// An output with one event of this many bytes.
    fn pending(bytes: usize) -> Arc<PendingOutput> {
        let mut events = Events::default();
        let Ok(()) = events.push(0, |out| {
            out.resize(bytes, b'x');
            Ok::<(), std::convert::Infallible>(())
        });
        events.shrink();
        Arc::new(PendingOutput::new(ShardId(0), events))
    }

    fn pack(output: &PendingOutput) {
        let unpacked = output.bytes();
        output.pack(Packed {
            bytes: Bytes::from_static(b"x"),
            unpacked,
            unpack: |bytes, times| bytes.repeat(times).into(),
        });
    }

    /// Fails if the part in the page's own room keeps its memory until it is durable: for minutes, if it waits for an
    /// acknowledgement.
    #[tokio::test(start_paused = true)]
    async fn packed_parts_return_their_memory_when_the_page_is_complete() {
        let budget = Budget::new(64 * MIB);
        let mut rooms = page(&budget, 3 * MIB, MIB).await;
        let outputs = [pending(2 * MIB), pending(MIB)];
        let mut first = rooms.next().await;
        first.fill(outputs[0].weight(), false);
        rooms.share(&first, &outputs[..1]);
        let mut last = rooms.next().await;
        last.fill(outputs[1].weight(), true);
        rooms.share(&last, &outputs[1..]);
        outputs.iter().for_each(|output| pack(output));
        let own = 2 * MIB + MIN_PART;
        assert!((MIB + own..MIB + own + 100).contains(&budget.used()), "the last part is packed: {}", budget.used());
        drop(rooms);
        assert!(budget.used() < MIB + MIN_PART + 100, "the first part is packed too: {}", budget.used());
        drop((first, last, outputs));
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn parts_are_prepared_ahead_while_the_budget_has_room() {
        let budget = Budget::new(14 * MIB);
        let mut rooms = page(&budget, 4 * MIB, 2 * MIB).await;
        let mut parts = Vec::new();
        for _ in 0..3 {
            let mut room = rooms.next().await;
            room.fill(4 * MIB, false);
            parts.push(room);
        }
        assert_eq!(budget.used(), 14 * MIB);
        assert!(timeout(SOON, rooms.next()).await.is_err(), "all of it is in use");
        parts.remove(1);
        assert_eq!(rooms.next().await.bytes(), 4 * MIB);
    }

    #[tokio::test(start_paused = true)]
    async fn pages_that_fill_the_budget_each_progress_in_their_own_room() {
        let budget = Budget::new(6 * MIB);
        let (first, second) = (budget.take(3 * MIB).await, budget.take(3 * MIB).await);
        let mut first = Rooms::new(&budget, first, 2 * MIB, 2 * MIB);
        let mut second = Rooms::new(&budget, second, 2 * MIB, 2 * MIB);
        for part in 0..5 {
            for rooms in [&mut first, &mut second] {
                let mut room = timeout(SOON, rooms.next()).await.unwrap_or_else(|_| panic!("part {part} has no room"));
                assert_eq!(room.bytes(), MIB);
                room.fill(MIB / 4, false);
                assert!(timeout(SOON, rooms.next()).await.is_err(), "not before that part is durable");
            }
        }
        drop((first, second));
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_whose_events_exceed_its_room_overdraws_the_budget_until_durable() {
        let budget = Budget::new(8 * MIB);
        let mut rooms = page(&budget, 4 * MIB, 2 * MIB).await;
        let mut room = rooms.next().await;
        room.fill(20 * MIB, false);
        assert_eq!(budget.used(), 22 * MIB);
        drop(room);
        assert_eq!((rooms.next().await.bytes(), budget.used()), (4 * MIB, 6 * MIB));
    }
}
