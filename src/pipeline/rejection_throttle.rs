//! Limits the log lines about events that a destination refuses for good: the first is logged, and later ones from time
//! to time with their number.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// How often repeated rejections are logged.
const REMINDER_INTERVAL: Duration = Duration::from_secs(60);

/// Maximum number of distinct codes; further ones count as one.
const MAX_CODES: usize = 64;

/// The rejections of one shard's events, by the number of the output and the destination's code.
#[derive(Debug, Default)]
pub(super) struct RejectionThrottle {
    logged: BTreeMap<(usize, String), Logged>,
}

#[derive(Debug)]
struct Logged {
    at: Instant,
    since: u64,
}

impl RejectionThrottle {
    /// Whether to log this rejection at `now`; if so, the number of those before it that were not logged.
    pub(super) fn due(&mut self, output: usize, code: &str, now: Instant) -> Option<u64> {
        let mut key = (output, code.to_owned());
        if self.logged.len() >= MAX_CODES && !self.logged.contains_key(&key) {
            key = Default::default();
        }
        let Some(logged) = self.logged.get_mut(&key) else {
            self.logged.insert(key, Logged { at: now, since: 0 });
            return Some(0);
        };
        if now < logged.at + REMINDER_INTERVAL {
            logged.since += 1;
            return None;
        }
        logged.at = now;
        Some(std::mem::take(&mut logged.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_logged_at_once_and_then_each_minute_with_the_number_in_between() {
        let (mut throttle, start) = (RejectionThrottle::default(), Instant::now());
        let mut due = |output, code, second| throttle.due(output, code, start + Duration::from_secs(second));
        assert_eq!(due(0, "hec 6", 0), Some(0));
        assert_eq!((due(0, "hec 6", 0), due(0, "hec 6", 59)), (None, None));
        assert_eq!((due(0, "hec 7", 59), due(1, "hec 6", 59)), (Some(0), Some(0)));
        assert_eq!((due(0, "hec 6", 60), due(0, "hec 6", 120)), (Some(2), Some(0)));
    }

    #[test]
    fn endless_new_codes_are_logged_within_bounds() {
        let (mut throttle, now) = (RejectionThrottle::default(), Instant::now());
        let logged = (0..1_000).filter(|code| throttle.due(0, &format!("hec {code}"), now).is_some()).count();
        assert_eq!((logged, throttle.logged.len()), (MAX_CODES + 1, MAX_CODES + 1));
    }
}
