//! When a session is renewed. Pure.

use std::time::Duration;

/// How often a provider is asked whose keys have no end: a file may have another by now.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Least time between two renewals, so that a session that is about to end is not asked for in a loop.
const SHORTEST: Duration = Duration::from_secs(1);

/// Most time between two renewals: the role of a machine can be given other keys before the old ones end.
const LONGEST: Duration = Duration::from_secs(3600);

/// How long after a session was given the next is asked for; `left` is how long it is valid.
///
/// A third of its life: of the hour that sessions last by default, 40 minutes are left to survive an outage of STS.
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
