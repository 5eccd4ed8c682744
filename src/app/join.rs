//! Joining the consumer group.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::warn;

use super::error::Error;
use super::group_state::GroupState;
use crate::core::cursor::Start;
use crate::core::retry_log::RetryLog;
use crate::core::source::{Source as _, SourceError};
use crate::sls::Sls;

/// How often it is looked whether there is a key by now.
const SIGN_IN_PAUSE: Duration = Duration::from_millis(500);

/// Finds or creates the group; returns its timeout. Transient errors are retried; a refusal at this point is final, so
/// that a wrong name or permission is seen at once. With `wait` a project or logstore that is not there is waited for.
pub(super) async fn join_group(source: &Sls, start: Start, wait: bool, state: &GroupState) -> Result<Duration, Error> {
    sign_in(source, state).await?;
    let mut retry_log = RetryLog::new("cannot join the consumer group", 0);
    loop {
        let joined = async {
            let timeout = source.ensure_group().await?;
            if start == Start::End {
                learn_shards(source).await?;
            }
            // The first heartbeat lists nothing. What it gives us the next one gives us again.
            source.heartbeat(&BTreeSet::new()).await?;
            Ok(timeout)
        };
        match joined.await {
            Ok(timeout) => return Ok(timeout),
            Err(SourceError::Refused(cause)) => return Err(Error::Refused(cause)),
            Err(SourceError::Absent(cause)) => {
                let cause = source.whereabouts(cause).await;
                if !wait {
                    return Err(Error::Refused(cause));
                }
                let fault = SourceError::Absent(cause);
                state.failed(&fault, Instant::now());
                retry_log.pause_after(&fault).await;
            }
            Err(fault) => {
                state.failed(&fault, Instant::now());
                retry_log.pause_after(&fault).await;
            }
        }
    }
}

/// Waits for the first key to sign with. What fails meanwhile is logged by who fetches it.
async fn sign_in(source: &Sls, state: &GroupState) -> Result<(), Error> {
    loop {
        match source.sign_in().await {
            Ok(()) => return Ok(()),
            Err(SourceError::Refused(cause)) => return Err(Error::NoCredentials(cause)),
            Err(fault) => state.failed(&fault, Instant::now()),
        }
        sleep(SIGN_IN_PAUSE).await;
    }
}

/// Looks how far the group is, so that shards of a later split or merge start with their oldest log. Without the right to
/// look, the program works all the same and says what that costs.
async fn learn_shards(source: &Sls) -> Result<(), SourceError> {
    match source.learn_shards().await {
        Err(SourceError::Refused(cause)) => {
            warn!(
                "the shards cannot be listed, so one that comes later, of a split or a merge, will also start at its \
                 end, and what it got before it is acquired will be missed: grant log:ListShards on the logstore; {cause}"
            );
            Ok(())
        }
        learnt => learnt,
    }
}
