//! How often calls failed, by call and code, for whoever watches.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::message::Call;

/// Most kinds of failure that are told apart: a code is the server's text.
const MOST_KINDS: usize = 100;

/// Longest code that is kept.
const LONGEST_CODE: usize = 40;

/// What the failures are counted under that are one kind too many.
const OTHER: &str = "other";

/// The failures so far. The clients of a process share one.
#[derive(Debug, Default)]
pub struct CallErrors {
    sent: Mutex<BTreeMap<&'static str, u64>>,
    counts: Mutex<BTreeMap<(&'static str, String), u64>>,
    missing_groups: AtomicU64,
}

/// Failures of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// The call, lower case with underscores: `save_checkpoint`.
    pub call: &'static str,
    /// The server's error code, its HTTP status where it gave none, or `no_reply`, `unreadable`.
    pub code: String,
    /// How many.
    pub count: u64,
}

impl CallErrors {
    /// A request is sent.
    pub(super) fn sends(&self, call: Call) {
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner).entry(label(call)).or_default() += 1;
    }

    /// How many requests were sent, by call, the failed ones too.
    #[must_use]
    pub fn sent(&self) -> Vec<(&'static str, u64)> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(call, count)| (*call, *count)).collect()
    }

    /// One more that failed. Of the code only letters, digits and underscores stay: it becomes a label.
    pub(super) fn count(&self, call: Call, code: &str) {
        let code: String = code.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(LONGEST_CODE).collect();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (label(call), code);
        let key = if counts.len() < MOST_KINDS || counts.contains_key(&key) { key } else { (key.0, OTHER.to_owned()) };
        *counts.entry(key).or_default() += 1;
    }

    /// A call was told that the consumer group is not there.
    pub(super) fn count_missing_group(&self) {
        self.missing_groups.fetch_add(1, Ordering::Relaxed);
    }

    /// How often that was so. Not read from the failures by code, of which there may be too many kinds.
    pub(super) fn missing_groups(&self) -> u64 {
        self.missing_groups.load(Ordering::Relaxed)
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
    fn failures_are_counted_by_call_and_code_and_a_server_cannot_make_up_codes_without_end() {
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
        (0..10 * MOST_KINDS).for_each(|number| errors.count(Call::Pull, &number.to_string()));
        assert!(errors.read().len() <= MOST_KINDS + 1);
    }
}
