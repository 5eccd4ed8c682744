//! What a hook is to run over, when it leaves a page half-way, and what it made.

use std::sync::Arc;
use std::time::Duration;

use crate::core::batch::Events;
use crate::core::drop_reasons::DropReasons;
use crate::core::page::Page;
use crate::script::HookError;

/// A page from one of its logs on, up to one of the bounds or to its end.
#[derive(Debug, Clone)]
pub struct Stretch {
    /// The page.
    pub page: Page,
    /// How many of its logs are behind us already.
    pub from: u32,
    /// When to leave it.
    pub bounds: Bounds,
}

impl Stretch {
    /// All of a page, however long that takes.
    #[must_use]
    pub fn whole(page: Page) -> Self {
        Self { page, from: 0, bounds: Bounds::NONE }
    }
}

/// When a hook leaves a page half-way: behind the log with which it reaches one of them, so at least one log is done.
#[derive(Clone)]
pub struct Bounds {
    /// Bytes of events, and of the errors of logs that the script failed on.
    pub bytes: usize,
    /// Computing.
    pub time: Duration,
    /// What to ask after a log that broke a limit of the script.
    pub gives_up: Option<Arc<GivesUp>>,
}

/// Whether to leave a page, after so many logs of which so many failed: too many fail, and the rest only costs time.
pub type GivesUp = dyn Fn(u32, u32) -> bool + Send + Sync;

impl Bounds {
    /// To the end of the page.
    pub const NONE: Self = Self { bytes: usize::MAX, time: Duration::MAX, gives_up: None };
}

impl std::fmt::Debug for Bounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bounds").field("bytes", &self.bytes).field("time", &self.time).finish_non_exhaustive()
    }
}

/// What a hook made of a page, or of a part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    /// The events, laid out for each destination, in their order.
    pub outputs: Vec<Events>,
    /// Logs that it ran over.
    pub logs: u32,
    /// Logs of which no event was to be made.
    pub dropped: u32,
    /// Among them: why, where the script says it.
    pub drop_reasons: DropReasons,
    /// Logs that the script failed on; none of them has an event.
    pub failed: Vec<Failed>,
    /// Whether nothing of the page is left.
    pub is_last: bool,
}

impl Made {
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
    /// Which log of the page, from 0.
    pub log: u32,
    /// Why.
    pub error: HookError,
}

impl Failed {
    /// About how many bytes of memory it holds.
    #[must_use]
    pub fn weight(&self) -> usize {
        let error = &self.error;
        let place = error.place.as_ref().map_or(0, |place| {
            size_of_val(&**place) + place.text.len() + place.calls.iter().map(size_of_val).sum::<usize>()
        });
        size_of::<Self>() + error.fault.to_string().len() + error.hint.as_ref().map_or(0, |hint| hint.len()) + place
    }
}
