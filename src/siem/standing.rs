//! How a destination does, and the log lines when that changes.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::sink::Health;
use crate::source::Cause;

/// A failure that took this long is worth a line at once; a quicker one only if the next try fails too.
const SLOW: Duration = Duration::from_secs(5);

/// How the destination does. A change is logged once, not once per try.
#[derive(Debug)]
pub struct Standing {
    /// What it is: "Splunk HEC".
    name: &'static str,
    /// Where it is.
    url: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    health: Health,
    /// When the present row of failures began.
    failing_since: Option<Instant>,
}

impl Standing {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(name: &'static str, url: String) -> Self {
        let state = State { health: Health::Unknown, failing_since: None };
        Self { name, url, state: Mutex::new(state) }
    }

    /// How it does.
    #[must_use]
    pub fn health(&self) -> Health {
        self.lock().health.clone()
    }

    /// It answered as it should.
    pub fn up(&self, now: Instant) {
        let name = self.name;
        let mut state = self.lock();
        state.failing_since = None;
        match state.health {
            Health::Up { .. } => return,
            Health::Unknown => tracing::info!(url = self.url, "{name} is up"),
            Health::Down { since, .. } | Health::Held { since, .. } => {
                let seconds = (now - since).as_secs_f64();
                tracing::info!(url = self.url, "{name} is up again after {seconds:.1} s");
            }
        }
        state.health = Health::Up { since: now };
    }

    /// It failed in a request that began at `began`, and is tried again. One quick failure is no outage yet.
    pub fn failed(&self, began: Instant, now: Instant, cause: &Cause) {
        let mut state = self.lock();
        let first = state.failing_since.is_none();
        let since = *state.failing_since.get_or_insert(began);
        let quick = now - began < SLOW;
        match &mut state.health {
            Health::Down { cause: last, .. } => *last = cause.to_string(),
            _ if first && quick => {}
            health => {
                let name = self.name;
                tracing::warn!(url = self.url, %cause, "{name} is down; nothing is lost, trying until it is back");
                *health = Health::Down { since, cause: cause.to_string() };
            }
        }
    }

    /// It refuses us until somebody changes something.
    pub fn held(&self, now: Instant, cause: &Cause) {
        let mut state = self.lock();
        let since = *state.failing_since.get_or_insert(now);
        let cause = cause.to_string();
        if !matches!(&state.health, Health::Held { cause: last, .. } if *last == cause) {
            let name = self.name;
            tracing::warn!(url = self.url, cause, "{name} refuses us; nothing is lost, asking again until it agrees");
        }
        state.health = Health::Held { since, cause };
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the health")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing() -> (Standing, Instant) {
        (Standing::new("Splunk HEC", "https://splunk.example:8088".to_owned()), Instant::now())
    }

    #[test]
    fn one_quick_failure_is_no_outage_and_two_are() {
        let (standing, now) = standing();
        standing.up(now);
        standing.failed(now, now, &Cause::new("503"));
        assert_eq!(standing.health(), Health::Up { since: now });
        let later = now + Duration::from_secs(1);
        standing.failed(later, later, &Cause::new("504"));
        let cause = "504".to_owned();
        assert_eq!(standing.health(), Health::Down { since: now, cause });
    }

    #[test]
    fn a_failure_that_took_long_is_an_outage_at_once() {
        let (standing, now) = standing();
        standing.failed(now, now + SLOW, &Cause::new("no reply in time"));
        assert!(matches!(standing.health(), Health::Down { since, .. } if since == now));
    }

    #[test]
    fn a_success_in_between_starts_the_count_anew_and_is_no_new_beginning() {
        let (standing, began) = standing();
        standing.up(began);
        for seconds in 1..5 {
            let now = began + Duration::from_secs(seconds);
            standing.failed(now, now, &Cause::new("reset"));
            standing.up(now);
        }
        assert_eq!(standing.health(), Health::Up { since: began });
    }

    #[test]
    fn a_refusal_says_what_to_do_and_keeps_the_beginning_of_the_trouble() {
        let (standing, now) = standing();
        standing.failed(now, now, &Cause::new("503"));
        let cause = Cause { what: "HTTP 403".to_owned(), hint: Some("enable the token") };
        standing.held(now + SLOW, &cause);
        let cause = "HTTP 403 (enable the token)".to_owned();
        assert_eq!(standing.health(), Health::Held { since: now, cause });
    }
}
