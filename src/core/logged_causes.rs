//! Which causes of a failure were logged, so that a new cause is logged at once and a known one from time to time.

use std::time::Duration;

use tokio::time::Instant;

use super::cause::Cause;

/// Maximum number of causes that are remembered.
const MAX_CAUSES: usize = 8;

/// Maximum number of characters of a cause that are compared.
const MAX_COMPARED_CHARS: usize = 256;

/// The logged causes of one kind of failure.
#[derive(Debug, Default)]
pub struct LoggedCauses {
    /// Each cause with the time when it was last logged; the latest is at the end.
    logged: Vec<(String, Instant)>,
}

impl LoggedCauses {
    /// Whether to log this cause at `now`; if so, it is recorded as logged. True unless it was the last cause logged,
    /// or was logged within `pause`. If there are too many different causes, only some are logged.
    pub fn is_news(&mut self, cause: &Cause, now: Instant, pause: Duration) -> bool {
        let gist = gist(&cause.what);
        if self.logged.last().is_some_and(|(last, _)| *last == gist) {
            return false;
        }
        let old = |at: Instant| now >= at + pause;
        match self.logged.iter().position(|(logged, _)| *logged == gist) {
            Some(known) if !old(self.logged[known].1) => return false,
            Some(known) => drop(self.logged.remove(known)),
            None if self.logged.len() < MAX_CAUSES => {}
            None if old(self.logged[0].1) => drop(self.logged.remove(0)),
            None => return false,
        }
        self.logged.push((gist, now));
        true
    }
}

/// The part of a text that is the same each time a failure recurs: without times, ports and request ids. A number of
/// three digits is kept, because it is a status.
fn gist(text: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        let is_status = bare.len() == 3 && bare.bytes().all(|byte| byte.is_ascii_digit());
        if bare.contains(|c: char| c.is_ascii_digit()) && !is_status { "#".to_owned() } else { bare.to_owned() }
    };
    text.split_whitespace().map(word).collect::<Vec<_>>().join(" ").chars().take(MAX_COMPARED_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(60);

    #[test]
    fn a_new_cause_is_logged_at_once_and_the_same_one_with_another_number_is_not() {
        let (mut logged, now) = (LoggedCauses::default(), Instant::now());
        let mut is_news =
            |what: &str, seconds| logged.is_news(&Cause::new(what), now + Duration::from_secs(seconds), PAUSE);
        assert!(is_news("a:514: cannot connect: refused [request 5F3]", 0));
        assert!(!is_news("a:514: cannot connect: refused [request 77AB]", 1));
        assert!(is_news("certificate has expired", 2));
        assert!(!is_news("b:9: cannot connect: refused [request 1]", 59) && !is_news("certificate has expired", 70));
        assert!(is_news("503 Busy", 71) && is_news("504 Busy", 72), "a status is no mere number");
        assert!(is_news("a:514: cannot connect: refused [request 5F3]", 80), "it was another in between");
    }

    #[test]
    fn endless_new_causes_are_logged_within_bounds() {
        let (mut logged, now) = (LoggedCauses::default(), Instant::now());
        let cause = |turn: u64| Cause::new("x".repeat(usize::try_from(turn).unwrap() + 1));
        let lines =
            (0..200).filter(|&turn| logged.is_news(&cause(turn), now + Duration::from_secs(turn), PAUSE)).count();
        assert!((MAX_CAUSES..=MAX_CAUSES * 4).contains(&lines), "{lines}");
    }
}
