//! Events ready to deliver, and the batch that holds them with the checkpoint interval that they cover.

use std::sync::Arc;

use super::cursor::{Interval, Place, ShardId};
use super::drop_reasons::DropReasons;
use super::page::Page;

/// Unused capacity up to this fraction of the events is kept: freeing it is not worth the call.
const SLACK_PART: usize = 8;

/// Encoded events, back to back in one buffer. Each has the index of the log it was made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Events {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    logs: Vec<u32>,
}

impl Events {
    /// Number of events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no events.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of all events, back to back.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The byte range of event number `event` in [`Events::bytes`].
    #[must_use]
    pub fn range(&self, event: usize) -> std::ops::Range<usize> {
        let start = if event == 0 { 0 } else { self.ends[event - 1] };
        start..self.ends[event]
    }

    /// The bytes of event number `event`.
    #[must_use]
    pub fn get(&self, event: usize) -> &[u8] {
        &self.bytes[self.range(event)]
    }

    /// The index (from 0) of the log in the page from which event number `event` was made.
    #[must_use]
    pub fn log_of(&self, event: usize) -> u32 {
        self.logs[event]
    }

    /// Bytes of memory that the events hold.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>() + self.logs.capacity() * size_of::<u32>()
    }

    /// Frees unused capacity.
    pub fn shrink(&mut self) {
        if self.bytes.capacity() - self.bytes.len() > self.bytes.len() / SLACK_PART {
            self.bytes.shrink_to_fit();
        }
        self.ends.shrink_to_fit();
        self.logs.shrink_to_fit();
    }

    /// Reserves capacity for `bytes` more bytes, so that the buffer does not grow in steps.
    pub fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// Appends an event made from log number `log`. `write` writes it into the buffer. If `write` fails, nothing is
    /// added.
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

    /// Whether there is an event of log number `log`. Checks only the last event.
    #[must_use]
    pub fn has_of_last(&self, log: u32) -> bool {
        self.logs.last() == Some(&log)
    }

    /// Removes the events of log number `log` from the end.
    pub fn drop_of_last(&mut self, log: u32) {
        let kept = self.logs.iter().rposition(|of| *of != log).map_or(0, |last| last + 1);
        self.truncate(kept);
    }

    /// Shortens the events to the first `len`, for example when a later event of the same log is unusable.
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
    /// The shard of the logs.
    pub shard: ShardId,
    /// The events, encoded for that destination.
    pub events: Events,
}

/// The range of a page's logs that a batch is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Number of logs of the page before the range.
    pub first: u32,
    /// Whether the range ends at the end of the page.
    pub is_last: bool,
}

impl Part {
    /// The whole page.
    pub const WHOLE: Self = Self { first: 0, is_last: true };
}

/// The events of a page or of a part of it, and the interval that is durable once they are.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The page. Its bytes are needed to write an original log as a dead letter.
    pub page: Page,
    /// The range of the page's logs.
    pub part: Part,
    /// One output for each destination, in the order of the destinations. The batch is durable when every output is.
    pub outputs: Vec<Arc<Output>>,
    /// Number of logs in the range.
    pub logs: u32,
    /// How many of them the script dropped on purpose.
    pub dropped: u32,
    /// Reasons of the dropped logs, if the script gave any.
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

    /// A batch without events: a gap, or logs that a query filtered out.
    #[must_use]
    pub fn empty(page: Page) -> Self {
        Self::new(page, Part::WHOLE, Vec::new(), 0, 0)
    }

    /// Events in all outputs.
    #[must_use]
    pub fn events(&self) -> usize {
        self.outputs.iter().map(|output| output.events.len()).sum()
    }

    /// The interval that the batch covers. The last part of a page ends at the cursor after the page; all earlier
    /// parts end at the cursor of the page. So the checkpoint moves only when the whole page is durable.
    #[must_use]
    pub fn interval(&self) -> Interval {
        let Part { first, is_last } = self.part;
        let inside = |logs| Place { cursor: self.page.cursor.clone(), logs };
        let to = if is_last { self.page.next.clone().into() } else { inside(first + self.logs) };
        Interval { from: inside(first), to }
    }

    /// When SLS received the newest log that is durable once this batch is, in unix seconds. Known only at the end of
    /// a page.
    #[must_use]
    pub fn received_at(&self) -> Option<i64> {
        self.page.received_at.filter(|_| self.part.is_last)
    }

    /// Bytes of memory that its events hold. Excludes the page, which all its parts share.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.outputs.iter().map(|output| output.events.weight()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if a vector keeps unused capacity: `run.memory` would count memory that nothing uses.
    #[test]
    fn shrunk_events_use_little_more_memory_than_they_need() {
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
