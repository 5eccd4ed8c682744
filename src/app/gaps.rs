//! Gaps that are not acknowledged yet. They are kept in the state directory, because a restart does not recover the
//! logs.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;
use tracing::warn;

use crate::core::ledger::Ledger;
use crate::core::state_dir::StateDir;

/// Time between two checks of the ledger.
const INTERVAL: Duration = Duration::from_secs(5);

/// Maximum size of the file: a number.
const MAX_BYTES: u64 = 32;

/// Open gaps of this run and of earlier ones.
#[derive(Debug)]
pub(super) struct Gaps {
    state: StateDir,
    /// The file's name: each process has its own.
    file: String,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Open since an earlier run.
    carried: u64,
    /// Acknowledged gaps of this run.
    acknowledged: u64,
    /// The number in the file.
    written: u64,
}

impl Gaps {
    /// Restores the gaps that the process of the same name left in the state directory.
    pub(super) fn new(state: StateDir, process: &str) -> Self {
        let name: String = process.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let file = format!("gaps-{name}");
        let text = state.read(&file, MAX_BYTES).ok().flatten().and_then(|text| String::from_utf8(text).ok());
        let carried = text.and_then(|text| text.trim().parse().ok()).unwrap_or_default();
        let known = Known { carried, acknowledged: 0, written: carried };
        Self { state, file, known: Mutex::new(known) }
    }

    /// The number of open gaps.
    pub(super) fn open(&self, ledger: &Ledger) -> u64 {
        self.lock().open(ledger.total().gaps)
    }

    /// Acknowledges all open gaps. Returns how many there were.
    ///
    /// # Errors
    /// The file cannot be written; the gaps stay open.
    pub(super) fn acknowledge(&self, ledger: &Ledger) -> io::Result<u64> {
        let gaps = ledger.total().gaps;
        let mut known = self.lock();
        let open = known.open(gaps);
        self.state.write(&self.file, b"0\n")?;
        *known = Known { carried: 0, acknowledged: gaps, written: 0 };
        Ok(open)
    }

    /// Keeps the file in step with the ledger; never returns.
    pub(super) async fn remember(&self, ledger: &Ledger) {
        let mut is_logged = false;
        loop {
            sleep(INTERVAL).await;
            if let Err(error) = self.note(ledger)
                && !std::mem::replace(&mut is_logged, true)
            {
                warn!("cannot save gaps in the state directory; they will be forgotten at the next start: {error}");
            }
        }
    }

    fn note(&self, ledger: &Ledger) -> io::Result<()> {
        let gaps = ledger.total().gaps;
        let mut known = self.lock();
        let open = known.open(gaps);
        if open != known.written {
            self.state.write(&self.file, format!("{open}\n").as_bytes())?;
            known.written = open;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn open(&self, gaps: u64) -> u64 {
        self.carried + gaps.saturating_sub(self.acknowledged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::cursor::{ShardId, ShardName, SourceName};

    #[test]
    fn a_gap_stays_open_across_restarts_until_it_is_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let start = || Gaps::new(StateDir::open(dir.path()).unwrap(), "siem-host:1");
        let ledger = Ledger::default();
        let missed = || ledger.account(&ShardName { source: SourceName::new("audit"), shard: ShardId(3) }).missed();
        let gaps = start();
        missed();
        missed();
        gaps.note(&ledger).unwrap();
        assert_eq!((gaps.open(&ledger), start().open(&Ledger::default())), (2, 2));
        let gaps = start();
        let later = Ledger::default();
        assert_eq!(gaps.acknowledge(&later).unwrap(), 2);
        assert_eq!((gaps.open(&later), start().open(&later)), (0, 0));
        gaps.acknowledge(&ledger).unwrap();
        missed();
        gaps.note(&ledger).unwrap();
        assert_eq!((gaps.open(&ledger), start().open(&Ledger::default())), (1, 1), "only what came since");
    }
}
