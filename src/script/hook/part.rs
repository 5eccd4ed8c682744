//! The input of a hook, the limits of a part, and its result.

use std::sync::Arc;
use std::time::Duration;

use crate::core::batch::Events;
use crate::core::budget::Buffers;
use crate::core::drop_reasons::DropReasons;
use crate::core::page::Page;
use crate::script::HookError;

/// A page from one of its logs on, up to a bound or to its end.
#[derive(Debug, Clone)]
pub struct Stretch {
    /// The page.
    pub page: Page,
    /// The number of its logs that are already processed.
    pub from: u32,
    /// The bounds.
    pub bounds: Bounds,
}

impl Stretch {
    /// The whole page, without bounds.
    #[must_use]
    pub fn whole(page: Page) -> Self {
        Self { page, from: 0, bounds: Bounds::NONE }
    }
}

/// When a hook stops in the middle of a page: after the log that reaches one of these bounds, so at least one log is
/// done.
#[derive(Clone)]
pub struct Bounds {
    /// Bytes of events, and of the errors of logs that the script failed on.
    pub bytes: usize,
    /// CPU time.
    pub time: Duration,
    /// Called after a log that broke a limit of the script.
    pub gives_up: Option<Arc<GivesUp>>,
    /// The buffers of the events.
    pub buffers: Option<Buffers>,
    /// Called before the first log, on the thread of the hook: whether there is memory for the result.
    pub begins: Option<Arc<Begins>>,
}

/// Whether to stop in a page after this many logs, of which this many failed: too many fail, and the others would
/// only take time.
pub type GivesUp = dyn Fn(u32, u32) -> bool + Send + Sync;

/// Whether a part may begin.
pub type Begins = dyn Fn() -> bool + Send + Sync;

impl Bounds {
    /// To the end of the page.
    pub const NONE: Self = Self { bytes: usize::MAX, time: Duration::MAX, gives_up: None, buffers: None, begins: None };
}

impl std::fmt::Debug for Bounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bounds").field("bytes", &self.bytes).field("time", &self.time).finish_non_exhaustive()
    }
}

/// The result of a hook for a page or a part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookOutput {
    /// The formatted events for each destination, in order.
    pub outputs: Vec<Events>,
    /// Number of processed logs.
    pub logs: u32,
    /// Dropped logs.
    pub dropped: u32,
    /// Reasons of these drops, where the script gives one.
    pub drop_reasons: DropReasons,
    /// Logs that the script failed on; none of them has an event.
    pub failed: Vec<Failed>,
    /// Whether the page is complete.
    pub is_last: bool,
}

impl HookOutput {
    /// The events for the first destination.
    ///
    /// # Panics
    /// When the hook has no format.
    #[must_use]
    pub fn events(&self) -> &Events {
        self.outputs.first().expect("a hook has a format for each destination, and there is one")
    }
}

/// A log that the script failed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Number of the log in the page, from 0.
    pub log: u32,
    /// The error.
    pub error: HookError,
}

impl Failed {
    /// Approximate memory use, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let error = &self.error;
        let place = error.place.as_ref().map_or(0, |place| {
            size_of_val(&**place) + place.text.len() + place.calls.iter().map(size_of_val).sum::<usize>()
        });
        size_of::<Self>() + error.fault.to_string().len() + error.hint.as_ref().map_or(0, |hint| hint.len()) + place
    }
}
