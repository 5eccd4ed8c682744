//! Events ready to deliver, and the batch that carries them together with the cursor that acknowledges them.

use std::sync::Arc;

use super::cursor::{Interval, ShardId};
use super::page::Page;

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

    /// Whether there is none.
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

    /// Takes memory for `bytes` more, so that it need not be moved from small to large while the events are written.
    pub fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// Appends an event made of log number `log` by letting `write` fill the buffer. When it fails, nothing is added.
    ///
    /// # Errors
    /// Whatever `write` returns.
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

    /// Takes out the events of log number `log`, the last one that events were made of.
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

/// What one destination gets of a batch.
#[derive(Debug, Clone)]
pub struct Output {
    /// The shard whose logs the events were made of.
    pub shard: ShardId,
    /// What to deliver, laid out for that destination.
    pub events: Events,
}

/// The events made of one page, together with the interval that the checkpoint may pass once they are durable.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The page: its bytes for whoever has to show an original log.
    pub page: Page,
    /// What to deliver: one output for each destination of the process, in their order. The batch is durable when every
    /// output is.
    pub outputs: Vec<Arc<Output>>,
    /// Logs in the page.
    pub logs: u32,
    /// Logs that the script dropped on purpose.
    pub dropped: u32,
}

impl Batch {
    /// The batch of these events, one [`Events`] for each destination.
    #[must_use]
    pub fn new(page: Page, outputs: Vec<Events>, logs: u32, dropped: u32) -> Self {
        let shard = page.shard;
        let outputs = outputs.into_iter().map(|events| Arc::new(Output { shard, events })).collect();
        Self { page, outputs, logs, dropped }
    }

    /// A page of which nothing is to be delivered: a gap, or logs that a query left out.
    #[must_use]
    pub fn empty(page: Page) -> Self {
        Self::new(page, Vec::new(), 0, 0)
    }

    /// Events in all outputs.
    #[must_use]
    pub fn events(&self) -> usize {
        self.outputs.iter().map(|output| output.events.len()).sum()
    }

    /// The interval that it covers: what the checkpoint may pass once this batch is durable.
    #[must_use]
    pub fn interval(&self) -> Interval {
        Interval { from: self.page.cursor.clone(), to: self.page.next.clone() }
    }

    /// Bytes of memory it holds.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.page.body.len() + self.outputs.iter().map(|output| output.events.bytes.capacity()).sum::<usize>()
    }
}
