//! Refused indexes, learned from replies.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a refusal is remembered: the index may be allowed later.
const TRUST: Duration = Duration::from_secs(300);

/// Maximum number of remembered indexes, because their names come from logs.
const MAX_INDEXES: usize = 1_000;

/// Refused indexes by name (`None` for events without one), each with the code and the reason.
pub(super) type Refused = BTreeMap<Option<String>, (String, String)>;

/// Shared by all batches.
#[derive(Debug)]
pub(super) struct BadIndexes {
    fallback: Option<String>,
    known: Mutex<BTreeMap<Option<String>, Bad>>,
}

#[derive(Debug)]
struct Bad {
    code: String,
    reason: String,
    since: Instant,
}

impl BadIndexes {
    /// Empty. `fallback`: the index for events of a refused index.
    pub(super) fn new(fallback: Option<String>) -> Self {
        Self { fallback, known: Mutex::default() }
    }

    /// The index for events of a refused index; `None`: they are refused for good.
    pub(super) fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }

    /// An index is refused. Logs it if that is new, and returns whether it is.
    pub(super) fn learn(&self, index: Option<&str>, code: &str, reason: &str, now: Instant) -> bool {
        let is_new = self.note(index, code, reason, now);
        if is_new {
            let then = match &self.fallback {
                Some(fallback) => format!("its events go to the index {fallback}"),
                None => "its events are refused for good (hec.fallback_index names another index)".to_owned(),
            };
            tracing::warn!(code, "HEC: an index is refused, {then}: {reason}");
        }
        is_new
    }

    fn note(&self, index: Option<&str>, code: &str, reason: &str, now: Instant) -> bool {
        let mut known = self.lock();
        let index = index.map(str::to_owned);
        let is_new = !known.contains_key(&index);
        if is_new && known.len() >= MAX_INDEXES {
            return false;
        }
        known.insert(index, Bad { code: code.to_owned(), reason: reason.to_owned(), since: now });
        is_new
    }

    /// The indexes that are known to be refused. An index that is tried again and refused again is not new.
    pub(super) fn refused(&self, now: Instant) -> Refused {
        let known = self.lock();
        let trusted = known.iter().filter(|(_, bad)| now < bad.since + TRUST);
        trusted.map(|(index, bad)| (index.clone(), (bad.code.clone(), bad.reason.clone()))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Option<String>, Bad>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_index_is_reported_once_and_probed_again_after_five_minutes() {
        let (bad, now) = (BadIndexes::new(None), Instant::now());
        let index = Some("x".to_owned());
        assert!(bad.learn(index.as_deref(), "hec 7", "Incorrect index", now));
        assert!(!bad.learn(index.as_deref(), "hec 7", "Incorrect index", now));
        assert_eq!(bad.refused(now + TRUST - Duration::from_secs(1)).len(), 1);
        assert!(bad.refused(now + TRUST).is_empty());
        assert!(!bad.learn(index.as_deref(), "hec 7", "Incorrect index", now + TRUST));
        assert_eq!(bad.refused(now + TRUST).len(), 1);
    }

    #[test]
    fn endless_index_names_use_bounded_memory() {
        let (bad, now) = (BadIndexes::new(None), Instant::now());
        for name in 0..2 * MAX_INDEXES {
            bad.learn(Some(&name.to_string()), "hec 7", "Incorrect index", now);
        }
        assert_eq!(bad.refused(now).len(), MAX_INDEXES);
    }
}
