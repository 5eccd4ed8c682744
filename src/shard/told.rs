//! What was said of the script's errors: each in full when it is new, and then now and then.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::script::HookError;

/// How often one error is spoken of while it goes on.
const REMINDER: Duration = Duration::from_secs(60);

/// Errors that are told apart; more are spoken of as one.
const MOST: usize = 64;

/// The errors of one shard's script: by its version and the line.
#[derive(Debug, Default)]
pub(super) struct Told {
    said: BTreeMap<(String, u32), Instant>,
}

impl Told {
    /// What to say of an error at `now`: all that is known when it is new, its message after a while, else nothing.
    pub(super) fn words(&mut self, error: &HookError, now: Instant) -> Option<String> {
        let line = error.place.as_ref().map_or(0, |place| place.line);
        let mut key = (error.version.clone(), line);
        if self.said.len() >= MOST && !self.said.contains_key(&key) {
            key = Default::default();
        }
        match self.said.insert(key.clone(), now) {
            None => Some(error.line()),
            Some(said) if now >= said + REMINDER => Some(error.to_string()),
            Some(said) => {
                self.said.insert(key, said);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Fault, Place};

    fn error(version: &str, line: u32) -> HookError {
        let place = Place {
            file: "s.lua".to_owned(),
            line,
            column: None,
            width: 0,
            text: "  x()".to_owned(),
            calls: Vec::new(),
        };
        let fault = Fault::Runtime(format!("s.lua:{line}: no"));
        HookError { place: Some(Box::new(place)), hint: Some("h".into()), ..HookError::new(version, fault) }
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_told_in_full_once_and_then_now_and_then() {
        let mut told = Told::default();
        let now = Instant::now();
        let full = |line| Some(format!("s.lua:{line}: no (script version v); code: x(); hint: h"));
        assert_eq!(told.words(&error("v", 1), now), full(1));
        assert_eq!(told.words(&error("v", 1), now + REMINDER / 2), None);
        assert_eq!(told.words(&error("v", 2), now), full(2));
        assert_eq!(told.words(&error("v", 1), now + REMINDER), Some("s.lua:1: no (script version v)".to_owned()));
        assert_eq!(told.words(&error("v", 1), now + REMINDER), None);
    }

    #[tokio::test(start_paused = true)]
    async fn errors_without_end_take_no_memory_and_no_room_in_the_log() {
        let mut told = Told::default();
        let now = Instant::now();
        let said = (0..1_000).filter(|line| told.words(&error("v", *line), now).is_some()).count();
        assert_eq!((said, told.said.len()), (MOST + 1, MOST + 1));
    }
}
