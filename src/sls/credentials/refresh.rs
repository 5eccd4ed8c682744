//! Decides when a session is renewed. Pure.

use std::time::Duration;

/// How often a provider of keys without expiry is asked again: its file may have changed.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Minimum time between two renewals, so that sessions about to expire are not requested in a loop.
const SHORTEST: Duration = Duration::from_secs(1);

/// Maximum time between two renewals: the role of a machine can get new keys before the old ones expire.
const LONGEST: Duration = Duration::from_secs(3600);

/// How long after the receipt of a session the next one is requested; `left` is its lifetime.
///
/// A third of its lifetime: with the default of one hour, 40 minutes are left to survive an outage of STS.
pub(super) fn due_in(left: Option<Duration>) -> Duration {
    left.map_or(LOOK_AGAIN, |left| (left / 3).clamp(SHORTEST, LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_thirds_of_a_session_are_left_when_it_is_renewed() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert_eq!(due_in(Some(minutes(60))), minutes(20));
        assert_eq!(due_in(Some(minutes(15))), minutes(5));
        assert_eq!(due_in(Some(minutes(60 * 12))), minutes(60));
        assert_eq!(due_in(Some(Duration::from_millis(300))), SHORTEST);
        assert_eq!(due_in(None), LOOK_AGAIN);
    }

    #[test]
    fn an_outage_of_half_an_hour_is_shorter_than_what_is_left_of_an_hour() {
        let hour = Duration::from_secs(3600);
        assert!(hour - due_in(Some(hour)) > Duration::from_secs(30 * 60));
    }
}
