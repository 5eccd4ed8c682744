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
    is_logged_down: bool,
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
            if std::mem::replace(&mut trouble.is_logged_down, true) {
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
mod tests;
