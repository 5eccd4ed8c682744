//! Limits the log lines about script errors: each is logged in full when it is new, and later from time to time.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::script::{Beside, HookError};

/// How often a repeated error is logged.
const REMINDER_INTERVAL: Duration = Duration::from_secs(60);

/// Maximum number of distinct errors; further ones count as one.
const MAX_ERRORS: usize = 64;

/// The errors of one shard's script: by its version and the line.
#[derive(Debug, Default)]
pub(super) struct ErrorThrottle {
    logged: BTreeMap<(String, u32), Instant>,
}

impl ErrorThrottle {
    /// What to log at `now` about an error and its consequence: all details if the error is new, its message and the
    /// consequence after a while, otherwise nothing.
    pub(super) fn message(
        &mut self,
        error: &HookError,
        log: fmt::Arguments<'_>,
        fate: &str,
        now: Instant,
    ) -> Option<String> {
        let line = error.place.as_ref().map_or(0, |place| place.line);
        let mut key = (error.version.clone(), line);
        if self.logged.len() >= MAX_ERRORS && !self.logged.contains_key(&key) {
            key = Default::default();
        }
        match self.logged.insert(key.clone(), now) {
            None => {
                let beside = Beside { log: Some(&log.to_string()), fate: Some(fate), ..Beside::default() };
                Some(error.line(beside))
            }
            Some(logged) if now >= logged + REMINDER_INTERVAL => Some(format!("{error}; then: {fate}")),
            Some(logged) => {
                self.logged.insert(key, logged);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{ScriptFault, ScriptLocation};

    fn error(version: &str, line: u32) -> HookError {
        let place = ScriptLocation {
            file: "s.lua".to_owned(),
            line,
            column: None,
            width: 0,
            text: "  x()".to_owned(),
            calls: Vec::new(),
        };
        let fault = ScriptFault::Runtime(format!("s.lua:{line}: no"));
        HookError { place: Some(Box::new(place)), hint: Some("h".into()), ..HookError::new(version, fault) }
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_logged_in_full_once_and_then_occasionally() {
        let mut throttle = ErrorThrottle::default();
        let now = Instant::now();
        let mut words = |line, now| throttle.message(&error("v", line), format_args!("log 3"), "dropped", now);
        let full =
            |line| Some(format!("s.lua:{line}: no (script version v); code: x(); log: log 3; then: dropped; hint: h"));
        let short = Some("s.lua:1: no (script version v); then: dropped".to_owned());
        assert_eq!(words(1, now), full(1));
        assert_eq!(words(1, now + REMINDER_INTERVAL / 2), None);
        assert_eq!(words(2, now), full(2));
        assert_eq!(words(1, now + REMINDER_INTERVAL), short);
        assert_eq!(words(1, now + REMINDER_INTERVAL), None);
    }

    #[tokio::test(start_paused = true)]
    async fn endless_errors_use_bounded_memory_and_few_log_lines() {
        let mut throttle = ErrorThrottle::default();
        let now = Instant::now();
        let logged =
            (0..1_000).filter(|line| throttle.message(&error("v", *line), format_args!(""), "", now).is_some()).count();
        assert_eq!((logged, throttle.logged.len()), (MAX_ERRORS + 1, MAX_ERRORS + 1));
    }
}
