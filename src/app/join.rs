//! Joining the consumer group.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::warn;

use super::error::Error;
use super::group_state::GroupState;
use crate::core::cursor::{SourceName, Start};
use crate::core::retry_log::RetryLog;
use crate::core::source::{Source as _, SourceError};
use crate::destination::registry::AnyDestination;
use crate::pipeline::Pipeline;
use crate::sls::Sls;

/// How often to check whether there is a key.
const SIGN_IN_PAUSE: Duration = Duration::from_millis(500);

/// Sources that are refused before they have joined. A wrong name or a missing right is noticed at once if the
/// program ends with it, but it must not end while another source works.
#[derive(Debug)]
pub(super) struct Refusals {
    /// The sources in the settings. Sources that a pattern finds later do not end the program.
    sources: BTreeSet<SourceName>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    refused: BTreeSet<SourceName>,
    any_joined: bool,
}

impl Refusals {
    /// Nothing is known about these sources yet.
    pub(super) fn new(sources: impl IntoIterator<Item = SourceName>) -> Self {
        Self { sources: sources.into_iter().collect(), known: Mutex::default() }
    }

    fn joined(&self) {
        self.lock().any_joined = true;
    }

    /// A source is refused. Returns whether the program ends: all are refused, and none has ever joined.
    pub(super) fn refused(&self, source: &SourceName) -> bool {
        let mut known = self.lock();
        known.refused.insert(source.clone());
        !known.any_joined && known.refused.is_superset(&self.sources)
    }

    /// A source is no longer refused, even if it has other errors.
    pub(super) fn meets_something_else(&self, source: &SourceName) {
        self.lock().refused.remove(source);
    }

    /// Every writer leaves the value consistent before it can panic.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds or creates the group; returns its timeout. Transient errors are retried, and so is a refusal, unless
/// [`Refusals`] says that it ends the program. With `wait`, waits for a project or logstore that does not exist yet.
pub(super) async fn join_group(
    pipeline: &Pipeline<Sls, AnyDestination>,
    start: Start,
    wait: bool,
    state: &GroupState,
    refusals: &Refusals,
) -> Result<Duration, Error> {
    let (source, name) = (&pipeline.source, &pipeline.source_name);
    sign_in(source, name, state, refusals).await?;
    let mut retry_log = RetryLog::new(format!("source {name}: cannot join the consumer group"), 0);
    loop {
        let joined = async {
            let timeout = source.ensure_group().await?;
            learn_shards(source, name, start).await?;
            // The first heartbeat lists no shards. The next one returns the assigned shards again.
            source.heartbeat(&BTreeSet::new()).await?;
            Ok(timeout)
        };
        let fault = match joined.await {
            Ok(timeout) => {
                refusals.joined();
                return Ok(timeout);
            }
            Err(SourceError::Absent(cause)) => SourceError::Absent(source.whereabouts(cause).await),
            Err(fault) => fault,
        };
        match &fault {
            SourceError::Absent(_) if wait => refusals.meets_something_else(name),
            SourceError::Refused(cause) | SourceError::Absent(cause) => {
                if refusals.refused(name) {
                    return Err(Error::Refused(cause.clone()));
                }
            }
            _ => refusals.meets_something_else(name),
        }
        state.failed(&fault, Instant::now());
        retry_log.pause_after(&fault).await;
    }
}

/// Waits for the first signing key. The renewal task logs failures meanwhile.
async fn sign_in(source: &Sls, name: &SourceName, state: &GroupState, refusals: &Refusals) -> Result<(), Error> {
    loop {
        let fault = match source.sign_in().await {
            Ok(()) => return Ok(()),
            Err(fault) => fault,
        };
        match &fault {
            SourceError::Refused(cause) if refusals.refused(name) => return Err(Error::NoCredentials(cause.clone())),
            SourceError::Refused(_) => {}
            _ => refusals.meets_something_else(name),
        }
        state.failed(&fault, Instant::now());
        sleep(SIGN_IN_PAUSE).await;
    }
}

/// Reads the state of the group, so that shards of a later split or merge start with their oldest log, and that a
/// logstore that was deleted and created again is noticed. Without the permission, the program works but logs the
/// consequences.
async fn learn_shards(source: &Sls, name: &SourceName, start: Start) -> Result<(), SourceError> {
    match source.learn_shards().await {
        Err(SourceError::Refused(_)) if start != Start::End => Ok(()),
        Err(SourceError::Refused(cause)) => {
            warn!(
                source = %name,
                "the shards cannot be listed, so a shard of a later split or merge will also start at its end, and \
                the logs written to it before it is acquired will be missed: grant log:ListShards on the logstore; {cause}"
            );
            Ok(())
        }
        learnt => learnt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_ends_the_program_only_when_no_source_works_or_can_still_start_to() {
        let [a, b] = ["a", "b"].map(SourceName::new);
        let only = Refusals::new([a.clone()]);
        assert!(only.refused(&a), "there is no other");

        let pair = || [a.clone(), b.clone()];
        let both = Refusals::new(pair());
        assert!(!both.refused(&a) && !both.refused(&a), "nothing is known of the other");
        assert!(both.refused(&b));

        let late = Refusals::new(pair());
        assert!(!late.refused(&a));
        late.meets_something_else(&a);
        assert!(!late.refused(&b), "the first is not refused any more");

        let found = Refusals::new([a.clone()]);
        assert!(!found.refused(&b), "a pattern found it");

        let working = Refusals::new(pair());
        working.joined();
        assert!(!working.refused(&a) && !working.refused(&b), "one has joined");
    }
}
