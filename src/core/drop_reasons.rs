//! The reasons for which a script dropped logs: `return drop "reason"`.

use std::collections::BTreeMap;

use super::printable::printable;

/// Maximum number of distinct reasons; logs with further reasons count as [`OTHER`]. A script may build reasons from
/// log values, and each reason is a time series of the metrics.
const MAX_REASONS: usize = 30;

/// Maximum number of characters of a reason; the rest is cut off.
const MAX_CHARS: usize = 60;

/// The reason of logs beyond [`MAX_REASONS`].
const OTHER: &str = "other";

/// The number of dropped logs by reason. The number of reasons is bounded, and each is safe to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DropReasons(BTreeMap<Box<str>, u64>);

impl DropReasons {
    /// Counts `logs` more logs with this reason.
    pub fn add(&mut self, reason: &[u8], logs: u64) {
        // The usual case: the reason is known and needs no escapes.
        let known = std::str::from_utf8(reason).ok().and_then(|reason| self.0.get_mut(reason));
        if let Some(count) = known {
            *count += logs;
            return;
        }
        let start = &reason[..reason.len().min(MAX_CHARS * 4)];
        let reason: String = printable(start).chars().take(MAX_CHARS).collect();
        let is_known = self.0.contains_key(reason.as_str());
        let reason = if is_known || self.0.len() < MAX_REASONS { reason.as_str() } else { OTHER };
        *self.0.entry(reason.into()).or_default() += logs;
    }

    /// Adds the counts of `others`.
    pub fn add_all(&mut self, others: &Self) {
        for (reason, logs) in &others.0 {
            self.add(reason.as_bytes(), *logs);
        }
    }

    /// Whether no log was dropped with a reason.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reasons with their number of logs, sorted by reason.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(reason, logs)| (&**reason, *logs))
    }

    /// Reasons with their number of logs, the most frequent first.
    #[must_use]
    pub fn by_count(&self) -> Vec<(&str, u64)> {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_by_key(|(_, logs)| std::cmp::Reverse(*logs));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_bounded_in_number_and_length_and_every_drop_is_counted() {
        let mut reasons = DropReasons::default();
        for number in 0..1_000 {
            reasons.add(format!("user {number} {}", "x".repeat(1_000)).as_bytes(), 1);
        }
        reasons.add(b"user 0 ", 1);
        assert_eq!(reasons.iter().count(), MAX_REASONS + 1);
        assert!(reasons.iter().all(|(reason, _)| reason.chars().count() <= MAX_CHARS));
        assert_eq!(reasons.iter().map(|(_, logs)| logs).sum::<u64>(), 1_001);
        assert_eq!(reasons.by_count()[0], ("other", 1_001 - MAX_REASONS as u64));
    }

    #[test]
    fn a_reason_cannot_break_out_of_its_context() {
        let mut reasons = DropReasons::default();
        for _ in 0..2 {
            reasons.add(b"a\n\x1b[2J\xff", 1);
        }
        assert_eq!(reasons.iter().collect::<Vec<_>>(), [(r"a\n\u{1b}[2J\xff", 2)]);
    }
}
