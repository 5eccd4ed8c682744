//! Counts the open dead letters periodically, because another process may replay them.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::warn;

use crate::dead_letter::{DeadLettersOnDisk, OpenDeadLetters};

/// Time between two checks.
const INTERVAL: Duration = Duration::from_secs(5);

/// The last count; `None` before the first one, or while the files cannot be read.
#[derive(Debug, Default)]
pub(super) struct DeadLetterCount(Mutex<Option<DeadLettersOnDisk>>);

impl DeadLetterCount {
    pub(super) fn read(&self) -> Option<DeadLettersOnDisk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts with `letters`, which counts those in `dir`; never returns.
    pub(super) async fn watch(&self, mut letters: OpenDeadLetters, dir: &Path) {
        let mut warned = false;
        loop {
            let counted = spawn_blocking(move || {
                let found = letters.look();
                (letters, found)
            });
            let (again, count) = counted.await.unwrap_or_else(|panic| panic!("counting dead letters failed: {panic}"));
            letters = again;
            if let Err(error) = &count
                && !std::mem::replace(&mut warned, true)
            {
                warn!(dir = %dir.display(), "the dead letters cannot be counted: {error}");
            }
            warned &= count.is_err();
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = count.ok();
            sleep(INTERVAL).await;
        }
    }
}
