//! Events ready to deliver, and the batch that holds them with the checkpoint interval that they cover.

use std::sync::Arc;

use super::cursor::{Interval, Place, ShardId};
use super::drop_reasons::DropReasons;
use super::page::Page;

/// Spare memory of this part of the events is not worth asking the allocator to take it back.
const SLACK_PART: usize = 8;

/// Events ready to send, back to back in one buffer, each with the log it was made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Events {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    logs: Vec<u32>,
}

impl Events {
    /// How many events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no events.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All of them, back to back.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where the `event`th starts and ends in [`Events::bytes`].
    #[must_use]
    pub fn range(&self, event: usize) -> std::ops::Range<usize> {
        let start = if event == 0 { 0 } else { self.ends[event - 1] };
        start..self.ends[event]
    }

    /// The bytes of the `event`th.
    #[must_use]
    pub fn get(&self, event: usize) -> &[u8] {
        &self.bytes[self.range(event)]
    }

    /// Which log of the page (counted from 0) the `event`th was made of.
    #[must_use]
    pub fn log_of(&self, event: usize) -> u32 {
        self.logs[event]
    }

    /// Bytes of memory that they hold.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>() + self.logs.capacity() * size_of::<u32>()
    }

    /// Frees memory that was reserved for events that did not come.
    pub fn shrink(&mut self) {
        if self.bytes.capacity() - self.bytes.len() > self.bytes.len() / SLACK_PART {
            self.bytes.shrink_to_fit();
        }
        self.ends.shrink_to_fit();
        self.logs.shrink_to_fit();
    }

    /// Reserves memory for `bytes` more, so that the buffer need not grow step by step.
    pub fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// Appends an event made of log number `log` by letting `write` fill the buffer. When it fails, nothing is added.
    ///
    /// # Errors
    /// The error that `write` returns.
    pub fn push<E>(&mut self, log: u32, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let start = self.bytes.len();
        if let Err(error) = write(&mut self.bytes) {
            self.bytes.truncate(start);
            return Err(error);
        }
        self.ends.push(self.bytes.len());
        self.logs.push(log);
        Ok(())
    }

    /// Whether any of them was made of log number `log`, the last one that events were made of.
    #[must_use]
    pub fn has_of_last(&self, log: u32) -> bool {
        self.logs.last() == Some(&log)
    }

    /// Removes the events of log number `log`, the last one that events were made of.
    pub fn drop_of_last(&mut self, log: u32) {
        let kept = self.logs.iter().rposition(|of| *of != log).map_or(0, |last| last + 1);
        self.truncate(kept);
    }

    /// Cuts the events back to the first `len`, as when a later event of the same log turned out to be unusable.
    pub fn truncate(&mut self, len: usize) {
        if len < self.ends.len() {
            self.bytes.truncate(if len == 0 { 0 } else { self.ends[len - 1] });
            self.ends.truncate(len);
            self.logs.truncate(len);
        }
    }
}

/// The part of a batch for one destination.
#[derive(Debug, Clone)]
pub struct Output {
    /// The shard whose logs the events were made of.
    pub shard: ShardId,
    /// What to deliver, laid out for that destination.
    pub events: Events,
}

/// Which logs of a page a batch is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// How many logs of the page come before it.
    pub first: u32,
    /// It ends where the page ends.
    pub is_last: bool,
}

impl Part {
    /// The whole page.
    pub const WHOLE: Self = Self { first: 0, is_last: true };
}

/// The events made of one page or of a part of it, together with the interval that is durable once they are.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The page: its bytes for whoever has to show an original log.
    pub page: Page,
    /// Which logs of the page it is made of.
    pub part: Part,
    /// What to deliver: one output for each destination of the process, in their order. The batch is durable when every
    /// output is.
    pub outputs: Vec<Arc<Output>>,
    /// Logs that it is made of.
    pub logs: u32,
    /// Among them: dropped by the script on purpose.
    pub dropped: u32,
    /// Why these were dropped, where the script says it.
    pub drop_reasons: DropReasons,
}

impl Batch {
    /// The batch of these events, one [`Events`] for each destination.
    #[must_use]
    pub fn new(page: Page, part: Part, outputs: Vec<Events>, logs: u32, dropped: u32) -> Self {
        let shard = page.shard;
        let outputs = outputs.into_iter().map(|events| Arc::new(Output { shard, events })).collect();
        Self { page, part, outputs, logs, dropped, drop_reasons: DropReasons::default() }
    }

    /// A page of which nothing is to be delivered: a gap, or logs that a query left out.
    #[must_use]
    pub fn empty(page: Page) -> Self {
        Self::new(page, Part::WHOLE, Vec::new(), 0, 0)
    }

    /// Events in all outputs.
    #[must_use]
    pub fn events(&self) -> usize {
        self.outputs.iter().map(|output| output.events.len()).sum()
    }

    /// The interval that it covers. The last part of a page ends at the cursor behind the page, and all parts before it at
    /// the cursor of the page: the checkpoint moves only when the whole page is durable.
    #[must_use]
    pub fn interval(&self) -> Interval {
        let Part { first, is_last } = self.part;
        let inside = |logs| Place { cursor: self.page.cursor.clone(), logs };
        let to = if is_last { self.page.next.clone().into() } else { inside(first + self.logs) };
        Interval { from: inside(first), to }
    }

    /// When SLS received the newest log that is durable once this batch is, unix seconds: known at the end of a page.
    #[must_use]
    pub fn received_at(&self) -> Option<i64> {
        self.page.received_at.filter(|_| self.part.is_last)
    }

    /// Bytes of memory that its events hold. All parts of a page share the page.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.outputs.iter().map(|output| output.events.weight()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goes red when what a vector grew to in steps stays: `run.memory` counts it, and it is of use to nobody.
    #[test]
    fn events_that_are_shrunk_hold_little_more_memory_than_they_need() {
        let mut events = Events::default();
        events.reserve(100_000);
        for log in 0..110 {
            let push = |out: &mut Vec<u8>| {
                out.extend_from_slice(&[b'x'; 1000]);
                Ok::<(), std::convert::Infallible>(())
            };
            let Ok(()) = events.push(log, push);
        }
        assert!(events.weight() > 150_000, "it grew in steps: {}", events.weight());
        events.shrink();
        assert_eq!(events.weight(), 110 * (1000 + size_of::<usize>() + size_of::<u32>()));
        assert_eq!((events.len(), events.get(109)), (110, &[b'x'; 1000][..]));
    }
}
