//! Why a call failed, as text, and when to retry it.

use std::time::Duration;

/// What happened, as text for people. The program makes no decisions based on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}{}", hint.map(|hint| format!(" ({hint})")).unwrap_or_default())]
pub struct Cause {
    /// The server's message or ours, without secrets: "404 LogStoreNotExist: logstore x does not exist [request
    /// 5F…]".
    pub what: String,
    /// What to do about it.
    pub hint: Option<&'static str>,
}

impl Cause {
    /// A cause without advice.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), hint: None }
    }
}

/// When something that failed may be retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Soon and automatically, but not before the time that the other side asked for.
    Soon {
        /// The minimum wait that the other side asked for.
        not_before: Option<Duration>,
    },
    /// Only after a person has changed something.
    AfterChange,
}

impl Retry {
    /// Soon, with no minimum wait.
    pub const SOON: Self = Self::Soon { not_before: None };
}
