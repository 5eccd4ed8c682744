//! The events of a batch for one destination, from the script until they are durable.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::budget::Credit;
use super::cursor::ShardId;
use super::events::{Events, Output};
use super::page::Packed;

/// An output, and the memory that it takes.
///
/// Events that a destination has accepted, but that are not durable, are needed again only if they are lost there. A
/// destination may keep them packed meanwhile ([`PendingOutput::pack`]), which returns the rest of their memory to the
/// budget.
#[derive(Debug)]
pub struct PendingOutput(Mutex<Held>);

#[derive(Debug)]
struct Held {
    /// Dropped before the events, so that the budget has room for their buffer.
    credit: Option<Credit>,
    /// `None` while only the packed events are held.
    plain: Option<Arc<Output>>,
    packed: Option<PackedOutput>,
}

#[derive(Debug)]
struct PackedOutput {
    bytes: Packed,
    /// The output without the bytes of its events.
    outline: Output,
}

impl PendingOutput {
    /// These events of a shard. Their memory is counted elsewhere until [`PendingOutput::hold`].
    #[must_use]
    pub fn new(shard: ShardId, events: Events) -> Self {
        Self::from(Arc::new(Output { shard, events }))
    }

    /// Takes the memory of the output out of `credit`, and returns what it does not need any more since it is packed.
    pub fn hold(&self, credit: &mut Credit) {
        let mut held = self.lock();
        let own = credit.split(credit.bytes().saturating_sub(held.plain_weight()));
        held.credit = Some(own);
        held.account();
    }

    /// Number of bytes of its events.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &*self.lock() {
            Held { packed: Some(packed), .. } => packed.bytes.unpacked,
            held => held.outline().events.bytes().len(),
        }
    }

    /// The output with all its events. If they are packed, this unpacks them, which takes milliseconds per megabyte. The
    /// memory that it needs may become a debt of the budget.
    ///
    /// # Panics
    /// Never: what was packed can be unpacked.
    #[must_use]
    pub fn output(&self) -> Arc<Output> {
        let mut held = self.lock();
        if let Held { plain: None, packed: Some(packed), .. } = &*held {
            held.plain = Some(Arc::new(packed.unpack()));
            held.account();
        }
        Arc::clone(held.plain.as_ref().expect("an output is plain or packed"))
    }

    /// Keeps only `bytes`, which are the bytes of all its events, packed.
    pub fn pack(&self, bytes: Packed) {
        let mut held = self.lock();
        let Some(plain) = held.plain.take() else { return };
        let outline = Output { shard: plain.shard, events: plain.events.outline() };
        held.packed = Some(PackedOutput { bytes, outline });
        held.account();
    }

    /// Keeps only the packed events, if they were packed before.
    pub fn pack_again(&self) {
        let mut held = self.lock();
        if held.packed.is_some() {
            held.plain = None;
            held.account();
        }
    }

    /// Number of events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().outline().events.len()
    }

    /// Whether there are no events.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The index of the log in the page from which event number `event` was made.
    #[must_use]
    pub fn log_of(&self, event: usize) -> u32 {
        self.lock().outline().events.log_of(event)
    }

    /// Bytes of memory that the events hold.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.lock().weight()
    }

    /// A poisoned lock is usable: every writer leaves the state complete before it can panic.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Arc<Output>> for PendingOutput {
    fn from(output: Arc<Output>) -> Self {
        Self(Mutex::new(Held { plain: Some(output), packed: None, credit: None }))
    }
}

impl Held {
    /// The output, possibly without the bytes of its events.
    fn outline(&self) -> &Output {
        match (&self.plain, &self.packed) {
            (Some(plain), _) => plain,
            (None, Some(packed)) => &packed.outline,
            (None, None) => unreachable!("an output is plain or packed"),
        }
    }

    /// The weight before it was packed, or unpacked again.
    fn plain_weight(&self) -> usize {
        let Self { plain, packed, .. } = self;
        match packed {
            Some(packed) => packed.bytes.unpacked + packed.outline.events.weight(),
            None => plain.as_ref().map_or(0, |plain| plain.events.weight()),
        }
    }

    fn weight(&self) -> usize {
        let packed = |packed: &PackedOutput| packed.bytes.bytes.len() + packed.outline.events.weight();
        let plain = self.plain.as_ref().map_or(0, |plain| plain.events.weight());
        plain + self.packed.as_ref().map_or(0, packed)
    }

    fn account(&mut self) {
        let weight = self.weight();
        if let Some(credit) = &mut self.credit {
            credit.resize(weight);
        }
    }
}

impl PackedOutput {
    fn unpack(&self) -> Output {
        let Packed { bytes, unpacked, unpack } = &self.bytes;
        let events = self.outline.events.with_bytes(unpack(bytes, *unpacked).into());
        Output { shard: self.outline.shard, events }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::core::budget::Budget;

    fn events() -> Events {
        let mut events = Events::default();
        for log in [3, 5] {
            let Ok(()) = events.push(log, |out| {
                out.extend_from_slice(&[b'x'; 1000]);
                Ok::<(), std::convert::Infallible>(())
            });
        }
        events.shrink();
        events
    }

    #[tokio::test(start_paused = true)]
    async fn packed_events_return_their_memory_and_are_the_same_when_they_are_needed_again() {
        let budget = Budget::new(10_000);
        let pending = PendingOutput::new(ShardId(1), events());
        let (plain, outline) = (pending.weight(), 2 * (size_of::<usize>() + size_of::<u32>()));
        assert_eq!(plain, 2000 + outline);
        let mut credit = budget.take(plain + 100).await;
        pending.hold(&mut credit);
        assert_eq!((credit.bytes(), budget.used()), (100, plain + 100));
        drop(credit);
        let weak = Arc::downgrade(&pending.output());
        pending.pack_again();
        assert_eq!(budget.used(), plain, "they were not packed before");
        let bytes = Bytes::from_static(b"x");
        pending.pack(Packed { bytes, unpacked: 2000, unpack: |bytes, times| bytes.repeat(times).into() });
        assert_eq!((budget.used(), weak.strong_count()), (1 + outline, 0));
        assert_eq!((pending.len(), pending.log_of(1)), (2, 5));
        assert_eq!(budget.used(), 1 + outline, "their number and their logs are known without them");
        let again = pending.output();
        assert_eq!((&again.events, again.shard), (&events(), ShardId(1)));
        assert_eq!(budget.used(), plain + 1 + outline);
        drop(again);
        pending.pack_again();
        assert_eq!(budget.used(), 1 + outline);
        drop(pending);
        assert_eq!(budget.used(), 0);
    }
}
