//! Calls that currently fail, for the status page and the metrics.

use std::time::Duration;

use tokio::time::Instant;

use super::source::SourceError;

/// A failure is reported after this time. A shorter one may be a single lost request.
const PATIENCE: Duration = Duration::from_secs(10);

/// A call whose last attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// When the current series of failures began.
    pub since: Instant,
    /// The cause of the last failure.
    pub cause: String,
    /// Whether a person must change something first.
    pub is_refused: bool,
}

impl Failing {
    /// Records a failure at `now`; `before` is the current series of failures, if any.
    #[must_use]
    pub fn again(before: Option<&Self>, error: &SourceError, now: Instant) -> Self {
        Self {
            since: before.map_or(now, |before| before.since),
            cause: error.cause().to_string(),
            is_refused: matches!(error, SourceError::Refused(_) | SourceError::Absent(_)),
        }
    }

    /// Whether to report it: it is refused, or it lasts longer than a single lost request.
    #[must_use]
    pub fn is_trouble(&self, now: Instant) -> bool {
        self.is_refused || now.saturating_duration_since(self.since) >= PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::cause::Cause;

    #[test]
    fn a_refusal_is_a_problem_at_once_and_a_transient_error_only_when_it_persists() {
        let now = Instant::now();
        let busy = |what: &str| SourceError::Busy { retry_after: None, cause: Cause::new(what) };
        let first = Failing::again(None, &busy("500"), now);
        assert!(!first.is_trouble(now));
        let later = now + PATIENCE;
        let again = Failing::again(Some(&first), &busy("503"), later);
        assert_eq!((again.since, again.cause.as_str(), again.is_trouble(later)), (now, "503", true));
        assert!(Failing::again(None, &SourceError::Refused(Cause::new("401")), now).is_trouble(now));
    }
}
