//! Decides when a session is renewed. Pure.

use std::time::Duration;

/// Interval of requests to a provider of keys without expiry: its file may have changed.
const RECHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Minimum time between two renewals, so that sessions about to expire are not requested in a loop.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum time between two renewals: the role of a machine can get new keys before the old ones expire.
const MAX_INTERVAL: Duration = Duration::from_secs(3600);

/// How long after the receipt of a session the next one is requested; `left` is its lifetime.
///
/// A third of its lifetime: with the default of one hour, 40 minutes are left to survive an outage of STS.
pub(super) fn due_in(left: Option<Duration>) -> Duration {
    left.map_or(RECHECK_INTERVAL, |left| (left / 3).clamp(MIN_INTERVAL, MAX_INTERVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_renewed_after_a_third_of_its_life_and_at_most_an_hour() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert_eq!(due_in(Some(minutes(60))), minutes(20));
        assert_eq!(due_in(Some(minutes(15))), minutes(5));
        assert_eq!(due_in(Some(minutes(60 * 12))), minutes(60));
        assert_eq!(due_in(Some(Duration::from_millis(300))), MIN_INTERVAL);
        assert_eq!(due_in(None), RECHECK_INTERVAL);
    }

    #[test]
    fn a_session_of_an_hour_outlasts_an_outage_of_half_an_hour() {
        let hour = Duration::from_secs(3600);
        assert!(hour - due_in(Some(hour)) > Duration::from_secs(30 * 60));
    }
}
