//! The retention of the logstore: logs that are delivered later than that are lost.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::sleep;
use tracing::{debug, info};

use crate::sls::Sls;
use crate::sls::api::kept_for;

/// Time between two reads: the retention may change.
const INTERVAL: Duration = Duration::from_secs(3_600);

/// Time to the next read after a failed one.
const RETRY_INTERVAL: Duration = Duration::from_secs(300);

/// The last known number of days; 0 if unknown.
#[derive(Debug, Default)]
pub(super) struct Retention(AtomicU32);

impl Retention {
    /// The retention, if it is known and limited.
    pub(super) fn read(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            days => kept_for(days),
        }
    }

    /// Reads it periodically; never returns. Without the permission to do this everything works, but the time to loss is
    /// not known.
    pub(super) async fn watch(&self, source: &Sls) {
        let mut is_logged = false;
        loop {
            let pause = match source.inspect_retention().await {
                Ok(days) => {
                    self.0.store(days, Ordering::Relaxed);
                    INTERVAL
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_logged, true) {
                        info!(
                            "the retention of the logstore is not known, so there is no warning before logs expire: \
                            grant log:GetLogStore"
                        );
                    }
                    debug!(?error, "the retention cannot be looked up");
                    RETRY_INTERVAL
                }
            };
            sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_that_are_kept_forever_never_expire() {
        let read = |days| Retention(AtomicU32::new(days)).read().map(|kept| kept.as_secs());
        assert_eq!([0, 1, 7, 3_649, 3_650].map(read), [None, Some(86_400), Some(604_800), Some(315_273_600), None]);
    }
}
