//! Renews a session in the background.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};
use tracing::{debug, info};

use super::fetch::Fetch;
use super::fetch_error::FetchError;
use super::refresh::due_in;
use super::session::Session;
use crate::core::failing::Failing;
use crate::core::retry_log::RetryLog;

/// Minimum time between two tries that are requested because SLS refused a key: a new key does not help if a permission is
/// missing.
const ASKED_PAUSE: Duration = Duration::from_secs(10);

/// The current session, and the state of its renewal.
#[derive(Debug)]
pub(super) struct SharedSession {
    state: watch::Sender<RenewalState>,
    asked: Notify,
}

/// The session at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct RenewalState {
    pub(super) session: Option<Arc<Session>>,
    /// When it expires.
    pub(super) valid_until: Option<Instant>,
    /// The last try failed.
    pub(super) failing: Option<(Failing, FetchError)>,
    /// Failed tries since the start.
    pub(super) failures: u64,
}

impl SharedSession {
    pub(super) fn new() -> Self {
        Self { state: watch::Sender::new(RenewalState::default()), asked: Notify::new() }
    }

    /// The current state.
    pub(super) fn state(&self) -> RenewalState {
        self.state.borrow().clone()
    }

    /// The changes from now on.
    pub(super) fn watch(&self) -> watch::Receiver<RenewalState> {
        self.state.subscribe()
    }

    /// Requests a renewal before it is due.
    pub(super) fn ask(&self) {
        self.asked.notify_one();
    }

    fn take(&self, source: &str, session: Session, now: Instant) {
        self.state.send_modify(|state| {
            if state.session.as_ref().is_none_or(|held| held.provider != session.provider) {
                match session.end {
                    Some(end) => info!(source, valid_until = %end.at, "SLS credentials: {}", session.provider),
                    None => info!(source, "SLS credentials: {}", session.provider),
                }
            }
            state.valid_until = session.end.map(|end| now + end.within);
            state.session = Some(Arc::new(session));
            state.failing = None;
        });
    }

    fn fail(&self, error: FetchError, now: Instant) {
        self.state.send_modify(|state| {
            let before = state.failing.take();
            let failing = Failing::again(before.as_ref().map(|(failing, _)| failing), &error.to_source_error(), now);
            state.failing = Some((failing, error));
            state.failures += 1;
        });
    }
}

/// Gets a session, and a new one before each expires. Runs until it is dropped. `source` names it in the log.
pub(super) async fn renew(fetch: Arc<impl Fetch>, held: Arc<SharedSession>, source: String) {
    let seed = source.bytes().fold(0, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let mut retry_log = RetryLog::new(format!("source {source}: cannot get credentials"), seed);
    loop {
        let fetched = fetch.fetch().await;
        let now = Instant::now();
        let wait = match fetched {
            Ok(session) => {
                retry_log.recovered();
                let wait = due_in(session.end.map(|end| end.within));
                debug!(provider = %session.provider, next_in = ?wait, "SLS credentials renewed");
                held.take(&source, session, now);
                wait
            }
            Err(error) => {
                let wait = retry_log.next(&error.cause, error.retry, now);
                held.fail(error, now);
                wait
            }
        };
        let asked = async {
            sleep(ASKED_PAUSE).await;
            held.asked.notified().await;
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = asked => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use jiff::{SignedDuration, Timestamp};

    use super::super::access_key::AccessKey;
    use super::super::session::End;
    use super::*;
    use crate::core::secret::Secret;
    use crate::core::test_log::log;

    const MINUTE: Duration = Duration::from_secs(60);

    /// An STS that issues numbered sessions of one hour, and is unavailable between two times.
    struct Sts {
        began: Instant,
        away: (Duration, Duration),
        life: Duration,
        given: Mutex<u64>,
    }

    impl Fetch for Sts {
        async fn fetch(&self) -> Result<Session, FetchError> {
            let now = self.began.elapsed();
            if now >= self.away.0 && now < self.away.1 {
                return Err(FetchError::busy("AssumeRole of r by b: no answer", None));
            }
            let mut given = self.given.lock().unwrap();
            *given += 1;
            let key = AccessKey { id: format!("STS.{given}"), secret: Secret::new("s"), token: None };
            let at = Timestamp::UNIX_EPOCH + SignedDuration::try_from(now + self.life).unwrap();
            Ok(Session { key, provider: "role r".to_owned(), end: Some(End { at, within: self.life }) })
        }
    }

    fn sts(away: (Duration, Duration), life: Duration) -> Arc<Sts> {
        Arc::new(Sts { began: Instant::now(), away, life, given: Mutex::default() })
    }

    /// Checks every second for `time` whether the held session is valid.
    async fn watch(held: &SharedSession, time: Duration) -> Vec<RenewalState> {
        let end = Instant::now() + time;
        let mut seen = Vec::new();
        while Instant::now() < end {
            sleep(Duration::from_secs(1)).await;
            let state = held.state();
            assert!(state.valid_until.unwrap() > Instant::now(), "the session that is held has ended");
            seen.push(state);
        }
        seen
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_of_sts_of_half_an_hour_is_survived_whenever_it_begins() {
        for begins in [1, 7, 19, 20, 21, 39, 45, 61].map(|minutes| minutes * MINUTE) {
            let (_log, lines) = log();
            let held = Arc::new(SharedSession::new());
            let away = (begins, begins + 30 * MINUTE);
            tokio::select! {
                () = renew(sts(away, 60 * MINUTE), held.clone(), "l".to_owned()) => unreachable!(),
                seen = watch(&held, 180 * MINUTE) => {
                    let failing = seen.iter().filter(|state| state.failing.is_some()).count();
                    assert!(failing > 9 * 60, "the outage was seen for {failing} s");
                    let last = seen.last().unwrap();
                    assert!(last.failing.is_none() && last.failures < 200, "{last:?}");
                }
            }
            let lines = lines.text();
            let warnings = lines.lines().filter(|line| line.contains("cannot get credentials, retrying")).count();
            assert!((1..=31).contains(&warnings), "once, and a reminder a minute: {lines}");
            assert_eq!(lines.matches("recovered").count(), 1, "{lines}");
            assert_eq!(lines.matches("source l: cannot get credentials").count(), warnings + 1, "{lines}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_requested_renewal_comes_early_but_not_repeatedly() {
        let held = Arc::new(SharedSession::new());
        let never = (Duration::MAX, Duration::MAX);
        let sts = sts(never, 60 * MINUTE);
        let ask = async {
            for _ in 0..100 {
                held.ask();
                sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = renew(sts.clone(), held.clone(), "l".to_owned()) => unreachable!(),
            () = ask => {}
        }
        let given = *sts.given.lock().unwrap();
        assert!((9..=11).contains(&given), "{given}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_provider_of_the_key_is_logged_once_and_when_it_changes() {
        let (_log, lines) = log();
        let held = Arc::new(SharedSession::new());
        let never = (Duration::MAX, Duration::MAX);
        tokio::select! {
            () = renew(sts(never, 60 * MINUTE), held.clone(), "l".to_owned()) => unreachable!(),
            _ = watch(&held, 120 * MINUTE) => {}
        }
        assert_eq!(lines.text().matches("SLS credentials: role r").count(), 1, "{}", lines.text());
        let key = AccessKey { id: "other".to_owned(), secret: Secret::new("s"), token: None };
        held.take("l", Session { key, provider: "role other".to_owned(), end: None }, Instant::now());
        assert!(lines.text().contains("SLS credentials: role other"), "{}", lines.text());
        assert_eq!(lines.text().matches("source=\"l\"").count(), 2, "each names the source: {}", lines.text());
    }
}
