//! How often to poll for acknowledgements. Pure.
//!
//! Memory is held until a poll has the acknowledgement, so the pause between polls costs throughput when the indexers
//! are fast. When they need long, or when few requests wait, polling more often would only cost requests.

use std::time::Duration;

/// The pause is this fraction of the time that the indexers need.
const PART: u32 = 8;

/// Shortest pause.
const MIN_PAUSE: Duration = Duration::from_millis(100);

/// Only if so many requests wait for an acknowledgement is the pause shorter than usual. So there are fewer polls than
/// requests.
const MANY: usize = 16;

/// How many measured times the average goes back, about.
const SPAN: u32 = 4;

/// The pause between polls of one member.
#[derive(Debug)]
pub(super) struct PollPace {
    usual: Duration,
    /// How long the indexers need, on average.
    need: Option<Duration>,
}

impl PollPace {
    /// The pause is `usual` until it is known how long the indexers need, and never longer.
    pub(super) fn new(usual: Duration) -> Self {
        Self { usual, need: None }
    }

    /// A poll had acknowledgements; the last accepted of these requests had waited this long. The others had waited
    /// for the poll.
    pub(super) fn acknowledged(&mut self, waited: Duration) {
        self.need = Some(self.need.map_or(waited, |need| (need * (SPAN - 1) + waited) / SPAN));
    }

    /// The pause before the next polls, while so many requests wait.
    pub(super) fn pause(&self, waiting: usize) -> Duration {
        match self.need {
            Some(need) if waiting >= MANY => (need / PART).max(MIN_PAUSE).min(self.usual),
            _ => self.usual,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pause(needs: &[Duration], waiting: usize) -> Duration {
        let mut pace = PollPace::new(SECOND);
        needs.iter().for_each(|need| pace.acknowledged(*need));
        pace.pause(waiting)
    }

    #[test]
    fn the_pause_is_an_eighth_of_what_the_indexers_need_and_at_most_a_second() {
        assert_eq!(pause(&[], 100), SECOND, "it is not known yet");
        assert_eq!(pause(&[2 * SECOND], 100), SECOND / 4);
        assert_eq!(pause(&[60 * SECOND], 100), SECOND);
        assert_eq!(pause(&[Duration::ZERO], 100), MIN_PAUSE);
    }

    #[test]
    fn few_requests_are_not_polled_for_sooner() {
        assert_eq!([MANY - 1, MANY].map(|waiting| pause(&[2 * SECOND], waiting)), [SECOND, SECOND / 4]);
    }

    #[test]
    fn one_slow_acknowledgement_changes_the_pause_by_a_quarter() {
        assert_eq!(pause(&[SECOND, 5 * SECOND], 100), SECOND / 4);
        assert_eq!(pause(&[SECOND, 5 * SECOND, SECOND], 100), SECOND * 7 / 32);
    }
}
