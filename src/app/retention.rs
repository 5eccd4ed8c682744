//! How long the logstore keeps logs: what is later than that is lost.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::sleep;
use tracing::{debug, info};

use crate::sls::Sls;
use crate::sls::api::kept_for;

/// Time between two looks: somebody may change it.
const INTERVAL: Duration = Duration::from_secs(3_600);

/// Time to the next look after one that showed nothing.
const RETRY_INTERVAL: Duration = Duration::from_secs(300);

/// The days that were found last; 0 as long as none were.
#[derive(Debug, Default)]
pub(super) struct Retention(AtomicU32);

impl Retention {
    /// How long logs are kept, when that is known and there is an end to it.
    pub(super) fn read(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            days => kept_for(days),
        }
    }

    /// Looks now and then; never returns. Without the right to look everything works, and the time to loss is not known.
    pub(super) async fn watch(&self, source: &Sls) {
        let mut is_told = false;
        loop {
            let pause = match source.look_at_retention().await {
                Ok(days) => {
                    self.0.store(days, Ordering::Relaxed);
                    INTERVAL
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_told, true) {
                        info!(
                            "how long SLS keeps logs is not known, and so not when they are lost: log:GetLogStore tells"
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
    fn logs_that_are_kept_for_ever_are_never_lost() {
        let read = |days| Retention(AtomicU32::new(days)).read().map(|kept| kept.as_secs());
        assert_eq!([0, 1, 7, 3_649, 3_650].map(read), [None, Some(86_400), Some(604_800), Some(315_273_600), None]);
    }
}
