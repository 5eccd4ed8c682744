//! Counts failed calls by call and code, for metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::message::Call;

/// Maximum number of distinct kinds of failure, because a code is text from the server.
const MAX_KINDS: usize = 100;

/// Maximum length of a code.
const MAX_CODE_LEN: usize = 40;

/// Code of failures beyond the maximum number of kinds.
const OTHER: &str = "other";

/// The failures so far, shared by all clients of a source.
#[derive(Debug, Default)]
pub struct CallErrors {
    sent: Mutex<BTreeMap<&'static str, u64>>,
    counts: Mutex<BTreeMap<(&'static str, String), u64>>,
    possible_new_groups: AtomicU64,
    missing_logstores: AtomicU64,
}

/// Failures of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// The call, lower case with underscores: `save_checkpoint`.
    pub call: &'static str,
    /// The server's error code, its HTTP status if it has none, or `no_reply`, `unreadable`.
    pub code: String,
    /// How many.
    pub count: u64,
}

impl CallErrors {
    /// Counts a request.
    pub(super) fn sends(&self, call: Call) {
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner).entry(label(call)).or_default() += 1;
    }

    /// The number of requests by call, including failed ones.
    #[must_use]
    pub fn sent(&self) -> Vec<(&'static str, u64)> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(call, count)| (*call, *count)).collect()
    }

    /// Counts a failure. Only letters, digits and underscores of the code are kept, because it becomes a label.
    pub(super) fn count(&self, call: Call, code: &str) {
        let code: String = code.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(MAX_CODE_LEN).collect();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (label(call), code);
        let key = if counts.len() < MAX_KINDS || counts.contains_key(&key) { key } else { (key.0, OTHER.to_owned()) };
        *counts.entry(key).or_default() += 1;
    }

    /// Counts a reply after which the consumer group may have been created again.
    pub(super) fn count_possible_new_group(&self) {
        self.possible_new_groups.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the consumer group may have been created again. This is not derived from the failures by code, which
    /// may have too many kinds.
    pub(super) fn possible_new_groups(&self) -> u64 {
        self.possible_new_groups.load(Ordering::Relaxed)
    }

    /// Counts a reply that shows that the logstore was deleted.
    pub(super) fn count_missing_logstore(&self) {
        self.missing_logstores.fetch_add(1, Ordering::Relaxed);
    }

    /// How often a reply showed that the logstore was deleted.
    pub(super) fn missing_logstores(&self) -> u64 {
        self.missing_logstores.load(Ordering::Relaxed)
    }

    /// All of them.
    #[must_use]
    pub fn read(&self) -> Vec<CallError> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let error = |((call, code), count): (&(&'static str, String), &u64)| CallError {
            call,
            code: code.clone(),
            count: *count,
        };
        counts.iter().map(error).collect()
    }
}

fn label(call: Call) -> &'static str {
    match call {
        Call::ListGroups => "list_groups",
        Call::CreateGroup => "create_group",
        Call::UpdateGroup => "update_group",
        Call::Heartbeat => "heartbeat",
        Call::Checkpoint => "get_checkpoint",
        Call::Save => "save_checkpoint",
        Call::Cursor => "get_cursor",
        Call::CursorTime => "get_cursor_time",
        Call::Pull => "pull",
        Call::ListShards => "list_shards",
        Call::Project => "get_project",
        Call::Logstore => "get_logstore",
        Call::Put => "put_logs",
        Call::ListLogstores => "list_logstores",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_by_call_and_code_in_bounded_number() {
        let errors = CallErrors::default();
        (0..3).for_each(|_| errors.sends(Call::Pull));
        errors.sends(Call::Heartbeat);
        assert_eq!(errors.sent(), [("heartbeat", 1), ("pull", 3)]);
        errors.count(Call::Pull, "Unauthorized");
        errors.count(Call::Pull, "Unauthorized");
        errors.count(Call::Pull, "a\"} b\n");
        let read = errors.read();
        let found: Vec<_> = read.iter().map(|error| (error.call, error.code.as_str(), error.count)).collect();
        assert_eq!(found, [("pull", "Unauthorized", 2), ("pull", "ab", 1)]);
        (0..10 * MAX_KINDS).for_each(|number| errors.count(Call::Pull, &number.to_string()));
        assert!(errors.read().len() <= MAX_KINDS + 1);
    }
}
