//! The batch: events ready to deliver, with the checkpoint interval that they cover.

use std::sync::Arc;

use super::cursor::{Interval, Place};
use super::drop_reasons::DropReasons;
pub use super::events::{Events, Output};
use super::page::Page;
use super::pending_output::PendingOutput;

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
    pub outputs: Vec<Arc<PendingOutput>>,
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
        let outputs = outputs.into_iter().map(|events| Arc::new(PendingOutput::new(shard, events))).collect();
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
        self.outputs.iter().map(|output| output.len()).sum()
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
        self.outputs.iter().map(|output| output.weight()).sum()
    }
}
