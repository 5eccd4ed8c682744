//! Why a provider gave no session.

use crate::core::cause::{Cause, Retry};
use crate::core::source::SourceError;

/// Why a provider gave no session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FetchError {
    pub(super) cause: Cause,
    pub(super) retry: Retry,
    /// The provider seems not to be set up: in a chain, the next one is tried.
    pub(super) is_absent: bool,
}

impl FetchError {
    /// It may work soon.
    pub(super) fn busy(what: impl Into<String>, hint: Option<&'static str>) -> Self {
        Self { cause: Cause { what: what.into(), hint }, retry: Retry::SOON, is_absent: false }
    }

    /// It works only after a change by the operator.
    pub(super) fn refused(what: impl Into<String>, hint: Option<&'static str>) -> Self {
        Self { cause: Cause { what: what.into(), hint }, retry: Retry::AfterChange, is_absent: false }
    }

    /// The same, as if there were no such provider.
    pub(super) fn absent(self) -> Self {
        Self { is_absent: true, ..self }
    }

    /// Converts it to the error of the call that could not be signed.
    pub(super) fn to_source_error(&self) -> SourceError {
        match self.retry {
            Retry::Soon { not_before } => SourceError::Busy { retry_after: not_before, cause: self.cause.clone() },
            Retry::AfterChange => SourceError::Refused(self.cause.clone()),
        }
    }
}
