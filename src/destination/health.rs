//! The health of a destination, and the log lines when it changes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::peers::Peer;
use super::{CheckError, Health, Outage as PastOutage};
use crate::core::cause::Cause;
use crate::core::duration::in_words;
use crate::core::logged_causes::LoggedCauses;

/// A failure is logged at once if it took this long, together with the pause that the destination asked for; a quicker
/// one only if the next try fails too.
const SLOW_FAILURE: Duration = Duration::from_secs(5);

/// How often a refusal is logged whose text changes from try to try, such as a page with a number in it.
const REMINDER_INTERVAL: Duration = Duration::from_secs(60);

/// How often an outage is logged that returns to an earlier cause.
const RETURN_INTERVAL: Duration = Duration::from_secs(600);

/// Past outages are kept for a day, and at most this many.
const OUTAGE_AGE: Duration = Duration::from_secs(24 * 3_600);
const MAX_OUTAGES: usize = 50;

/// The health of a destination. A change is logged once, not once per try; a new cause is a change.
#[derive(Debug)]
pub struct HealthTracker {
    /// What it is: "Splunk HEC".
    name: &'static str,
    /// Where it is.
    url: String,
    /// If it is about a member of the destination: which, and what happens to its events while other members work.
    member: Option<(Arc<Peer>, &'static str)>,
    state: Mutex<TrackedHealth>,
}

#[derive(Debug)]
struct TrackedHealth {
    health: Health,
    trouble: Outage,
    /// Oldest first.
    past: VecDeque<PastOutage>,
}

/// The current series of failures, and what was logged about it.
#[derive(Debug, Default)]
struct Outage {
    since: Option<Instant>,
    logged_down: LoggedCauses,
    is_said_down: bool,
    /// The last logged refusal, and when.
    logged_refusal: Option<(String, Instant)>,
    held_causes: LoggedCauses,
}

impl HealthTracker {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(name: &'static str, url: String) -> Self {
        let state = TrackedHealth { health: Health::Unknown, trouble: Outage::default(), past: VecDeque::new() };
        Self { name, url, member: None, state: Mutex::new(state) }
    }

    /// The same for a member of a destination. `meanwhile`: what happens to its events while other members work.
    #[must_use]
    pub fn of_member(name: &'static str, url: String, member: Arc<Peer>, meanwhile: &'static str) -> Self {
        Self { member: Some((member, meanwhile)), ..Self::new(name, url) }
    }

    /// What happens to the events of this member, if others work.
    #[must_use]
    pub fn meanwhile(&self) -> Option<&'static str> {
        self.member.as_ref().filter(|(member, _)| member.others_work()).map(|(_, meanwhile)| *meanwhile)
    }

    /// The current health.
    #[must_use]
    pub fn health(&self) -> Health {
        self.lock().health.clone()
    }

    /// The outages of the last day that are over.
    #[must_use]
    pub fn outages(&self, now: Instant) -> Vec<PastOutage> {
        let recent = |outage: &&PastOutage| now.saturating_duration_since(outage.ended) < OUTAGE_AGE;
        self.lock().past.iter().filter(recent).cloned().collect()
    }

    /// A request succeeded.
    pub fn up(&self, now: Instant) {
        let name = self.name;
        let mut state = self.lock();
        state.trouble = Outage::default();
        match &state.health {
            Health::Up { .. } => return,
            Health::Unknown => tracing::info!(url = self.url, "{name} is up"),
            Health::Down { since, cause } | Health::Refusing { since, cause } => {
                let past = PastOutage { began: *since, ended: now, cause: cause.clone() };
                let after = in_words(now - *since);
                tracing::info!(url = self.url, "{name} is up again after {after}");
                if state.past.len() >= MAX_OUTAGES {
                    state.past.pop_front();
                }
                state.past.push_back(past);
            }
        }
        state.health = Health::Up { since: now };
        if let Some((member, _)) = &self.member {
            member.works(name);
        }
    }

    /// A request that began at `began` failed, and is retried. One quick failure is not an outage yet.
    pub fn failed(&self, began: Instant, now: Instant, cause: &Cause) {
        self.failed_until(began, now, now, cause);
    }

    /// The same, where the next request is sent at `next` at the earliest.
    pub fn failed_until(&self, began: Instant, now: Instant, next: Instant, cause: &Cause) {
        let TrackedHealth { health, trouble, .. } = &mut *self.lock();
        let first = trouble.since.is_none();
        let since = *trouble.since.get_or_insert(began);
        if first && next - began < SLOW_FAILURE {
            return;
        }
        *health = Health::Down { since, cause: cause.to_string() };
        self.fails();
        if trouble.logged_down.is_news(cause, now, RETURN_INTERVAL) {
            let name = self.name;
            if std::mem::replace(&mut trouble.is_said_down, true) {
                tracing::warn!(url = self.url, %cause, "{name} is still down, now for another cause");
            } else {
                let so = self.meanwhile().unwrap_or("nothing is lost");
                tracing::warn!(url = self.url, %cause, "{name} is down; {so}, trying until it is back");
            }
        }
    }

    /// It refuses requests until the operator changes something.
    pub fn held(&self, now: Instant, cause: &Cause) {
        let TrackedHealth { health, trouble, .. } = &mut *self.lock();
        let since = *trouble.since.get_or_insert(now);
        let is_other = trouble.held_causes.is_news(cause, now, REMINDER_INTERVAL);
        let cause = cause.to_string();
        *health = Health::Refusing { since, cause: cause.clone() };
        self.fails();
        let is_news = match &trouble.logged_refusal {
            Some((logged, at)) => *logged != cause && now >= *at + REMINDER_INTERVAL,
            None => true,
        };
        if is_news || is_other {
            let name = self.name;
            let so = self.meanwhile().unwrap_or("checkpoint not moved");
            tracing::warn!(url = self.url, cause, "{name} rejects our requests; {so}, probing");
            trouble.logged_refusal = Some((cause, now));
        }
    }

    /// A check that began at `began` failed. If the first delivery fails too, that is not logged again.
    pub fn check_failed(&self, began: Instant, now: Instant, error: &CheckError) {
        match error {
            CheckError::Down(cause) => {
                // A failed check is an outage from its beginning, however quick it was.
                self.lock().trouble.since.get_or_insert(began);
                self.failed(began, now, cause);
            }
            CheckError::Refused(cause) => self.held(now, cause),
        }
    }

    fn fails(&self) {
        if let Some((member, _)) = &self.member {
            member.fails(self.name);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, TrackedHealth> {
        self.state.lock().expect("no code panics while it holds the lock")
    }
}

#[cfg(test)]
mod tests {
    use super::super::peers::Peers;
    use super::*;
    use crate::core::test_log::log;

    fn tracker() -> (HealthTracker, Instant) {
        (HealthTracker::new("Splunk HEC", "https://splunk.example:8088".to_owned()), Instant::now())
    }

    #[test]
    fn one_quick_failure_is_no_outage_and_two_are() {
        let (tracker, now) = tracker();
        tracker.up(now);
        tracker.failed(now, now, &Cause::new("503"));
        assert_eq!(tracker.health(), Health::Up { since: now });
        let later = now + Duration::from_secs(1);
        tracker.failed(later, later, &Cause::new("504"));
        let cause = "504".to_owned();
        assert_eq!(tracker.health(), Health::Down { since: now, cause });
    }

    #[test]
    fn a_failure_that_took_long_is_an_outage_at_once() {
        let (tracker, now) = tracker();
        tracker.failed(now, now + SLOW_FAILURE, &Cause::new("no reply in time"));
        assert!(matches!(tracker.health(), Health::Down { since, .. } if since == now));
    }

    #[test]
    fn a_quick_failure_whose_next_try_is_far_away_is_an_outage_at_once() {
        let (tracker, now) = tracker();
        tracker.up(now);
        tracker.failed_until(now, now, now + SLOW_FAILURE, &Cause::new("503"));
        assert!(matches!(tracker.health(), Health::Down { since, .. } if since == now));
    }

    #[test]
    fn an_outage_and_a_refusal_are_logged_once_each_even_when_they_alternate() {
        let lines = logged(|tracker, now| {
            for turn in 0..20 {
                let now = now + turn * Duration::from_secs(20);
                tracker.failed(now, now + SLOW_FAILURE, &Cause::new(format!("HTTP 503, request {turn}")));
                tracker.held(now + SLOW_FAILURE, &Cause::new("HTTP 403"));
            }
            tracker.up(now + Duration::from_secs(3_725));
        });
        let words: Vec<_> = lines.lines().map(|line| line.split("Splunk HEC ").nth(1).unwrap()).collect();
        assert_eq!(words.len(), 3, "{lines}");
        assert!(words[0].starts_with("is down; nothing is lost"), "{lines}");
        assert!(words[1].starts_with("rejects our requests; checkpoint not moved"), "{lines}");
        assert!(words[2].starts_with("is up again after 1h 2m 5s"), "{lines}");
    }

    #[test]
    fn while_another_member_works_a_failure_is_not_described_as_an_outage() {
        let (_log, lines) = log();
        let (peers, now) = (Peers::default(), Instant::now());
        let tracker = |number| {
            let url = format!("https://splunk-{number}.example:8088");
            HealthTracker::of_member("Splunk HEC", url, Arc::new(peers.join()), "the others have its events")
        };
        let (one, other) = (tracker(1), tracker(2));
        one.held(now, &Cause::new("HTTP 403"));
        other.failed(now, now + SLOW_FAILURE, &Cause::new("no reply in time"));
        other.up(now);
        one.failed(now, now + SLOW_FAILURE, &Cause::new("refused"));
        let lines = lines.text();
        let words: Vec<_> = lines.lines().map(|line| line.split("Splunk HEC ").nth(1).unwrap()).collect();
        assert_eq!(words.len(), 4, "{lines}");
        assert!(words[0].starts_with("rejects our requests; the others have its events, probing"), "{lines}");
        assert!(words[1].starts_with("is down; nothing is lost, trying"), "it is the last one: {lines}");
        assert!(words[3].starts_with("is down; the others have its events, trying"), "{lines}");
    }

    #[test]
    fn a_new_cause_is_logged_at_once() {
        let lines = logged(|tracker, now| {
            let at = |seconds| now + Duration::from_secs(seconds);
            for (seconds, cause) in [(0, "cannot connect"), (6, "cannot connect"), (12, "certificate has expired")] {
                tracker.failed(at(seconds), at(seconds), &Cause::new(cause));
            }
            assert!(matches!(tracker.health(), Health::Down { cause, .. } if cause == "certificate has expired"));
            for (seconds, cause) in [(18, "HTTP 403"), (20, "HTTP 403"), (22, "HTTP 404")] {
                tracker.held(at(seconds), &Cause::new(cause));
            }
        });
        let words: Vec<_> = lines.lines().map(|line| line.split("Splunk HEC ").nth(1).unwrap()).collect();
        assert_eq!(words.len(), 4, "{lines}");
        assert!(words[0].starts_with("is down") && words[0].contains("cannot connect"), "{lines}");
        assert!(words[1].starts_with("is still down") && words[1].contains("certificate has expired"), "{lines}");
        assert!(words[2].contains("HTTP 403") && words[3].contains("HTTP 404"), "{lines}");
    }

    #[test]
    fn a_failed_check_is_logged_and_not_again_by_the_first_delivery() {
        let lines = logged(|tracker, now| {
            tracker.check_failed(now, now, &CheckError::Down(Cause::new("refused")));
            for turn in 1..5 {
                let now = now + Duration::from_secs(turn);
                tracker.failed(now, now, &Cause::new("refused"));
            }
            assert!(matches!(tracker.health(), Health::Down { since, .. } if since == now));
            tracker.up(now + Duration::from_secs(10));
            tracker.failed(now + Duration::from_secs(20), now + Duration::from_secs(30), &Cause::new("refused"));
        });
        assert_eq!(lines.matches("is down; nothing is lost").count(), 2, "once for each outage: {lines}");
    }

    #[test]
    fn a_changed_refusal_is_logged_again_at_most_once_a_minute() {
        let lines = logged(|tracker, now| {
            for turn in 0..=10 {
                let page = Cause::new(format!("HTTP 403, not from a collector: blocked, request {turn}"));
                tracker.held(now + turn * Duration::from_secs(15), &page);
            }
        });
        assert_eq!(lines.matches("rejects our requests").count(), 3, "at 0, 60 and 120 s: {lines}");
        for turn in [0, 4, 8] {
            assert!(lines.contains(&format!("request {turn}")), "{lines}");
        }
    }

    /// What is logged while `work` runs.
    fn logged(work: impl FnOnce(&HealthTracker, Instant)) -> String {
        let (_log, lines) = log();
        let (tracker, now) = tracker();
        work(&tracker, now);
        lines.text()
    }

    #[test]
    fn a_success_in_between_resets_the_count_of_failures() {
        let (tracker, began) = tracker();
        tracker.up(began);
        for seconds in 1..5 {
            let now = began + Duration::from_secs(seconds);
            tracker.failed(now, now, &Cause::new("reset"));
            tracker.up(now);
        }
        assert_eq!(tracker.health(), Health::Up { since: began });
    }

    #[test]
    fn past_outages_are_remembered_for_a_day_in_bounded_number() {
        let (tracker, start) = tracker();
        let at = |seconds| start + Duration::from_secs(seconds);
        let hour = 3_600;
        for turn in 0..100 {
            tracker.held(at(turn * hour), &Cause::new(format!("HTTP {turn}")));
            tracker.up(at(turn * hour + 60));
            tracker.up(at(turn * hour + 61));
        }
        let outages = tracker.outages(at(100 * hour));
        assert_eq!(outages.len(), 24);
        let last = PastOutage { began: at(99 * hour), ended: at(99 * hour + 60), cause: "HTTP 99".into() };
        assert_eq!(outages.last(), Some(&last));
        assert!(tracker.lock().past.len() <= MAX_OUTAGES);
    }

    #[test]
    fn a_refusal_has_a_remedy_and_keeps_the_time_at_which_it_began() {
        let (tracker, now) = tracker();
        tracker.failed(now, now, &Cause::new("503"));
        let cause = Cause { what: "HTTP 403".to_owned(), hint: Some("enable the token") };
        tracker.held(now + SLOW_FAILURE, &cause);
        let cause = "HTTP 403 (enable the token)".to_owned();
        assert_eq!(tracker.health(), Health::Refusing { since: now, cause });
    }
}
