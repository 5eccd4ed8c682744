//! Writes batches to the disk, retrying until that works.

use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::Config;
use super::rotating::{RotatingFile, WriteFn};
use crate::core::backoff::Backoff;
use crate::core::batch::Output;
use crate::core::cause::Cause;
use crate::core::lease::Tenure;
use crate::destination::health::HealthTracker;
use crate::destination::{CheckError, Checked, Destination, Figures, Health, Outcome, Promise};

/// A rotating file as a destination. A write that fails, as on a full disk, is retried until it works.
#[derive(Debug)]
pub struct FileDestination {
    fsync: bool,
    /// The path, for messages.
    path: String,
    writer: Arc<Writer>,
    health: HealthTracker,
}

/// Works on the disk, on blocking threads. One batch at a time, so that lines of two batches do not mix.
struct Writer(Mutex<RotatingFile>);

impl FileDestination {
    /// The file is opened at the first write or by [`Destination::check`].
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self::with_write(config, Box::new(|file, bytes| file.write_all(bytes)))
    }

    /// With a disk that fails on demand, for tests.
    pub(super) fn with_write(config: &Config, write: Box<WriteFn>) -> Self {
        let path = config.path.display().to_string();
        let writer = Writer(Mutex::new(RotatingFile::new(config.clone(), write)));
        let health = HealthTracker::new("file", path.clone());
        Self { fsync: config.fsync, path, writer: Arc::new(writer), health }
    }

    async fn write(&self, batch: &Arc<Output>, tenure: &Tenure) -> Outcome {
        let mut backoff = Backoff::usual(u64::from(batch.shard.0));
        let mut next = 0;
        loop {
            let began = Instant::now();
            let (writer, work, mine) = (Arc::clone(&self.writer), Arc::clone(batch), tenure.clone());
            let (behind, written) = spawn_blocking(move || writer.append(&work, next, &mine))
                .await
                .expect("writing to a file does not panic");
            next = behind;
            let now = Instant::now();
            match written {
                Ok(Some(())) => {
                    self.health.up(now);
                    return Outcome::Done(Vec::new());
                }
                Ok(None) => return Outcome::Abandoned,
                Err(error) => self.health.failed(began, now, &self.cause(&error)),
            }
            sleep(backoff.next(None)).await;
        }
    }

    fn cause(&self, error: &io::Error) -> Cause {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        let hint = match error.kind() {
            StorageFull | QuotaExceeded => Some("free some space, then delivery resumes by itself"),
            _ => None,
        };
        Cause { what: format!("cannot write to {}: {error}", self.path), hint }
    }
}

impl Destination for FileDestination {
    async fn deliver(&self, batch: Arc<Output>, tenure: Tenure) -> Outcome {
        if batch.events.is_empty() {
            return Outcome::Done(Vec::new());
        }
        tenure.or(self.write(&batch, &tenure)).await.unwrap_or(Outcome::Abandoned)
    }

    /// Opens the file, or creates it.
    async fn check(&self) -> Result<Checked, CheckError> {
        let began = Instant::now();
        let writer = Arc::clone(&self.writer);
        let opened = spawn_blocking(move || writer.lock().open()).await.expect("opening a file does not panic");
        let now = Instant::now();
        match opened {
            Ok(()) => {
                self.health.up(now);
                Ok(Checked { url: self.path.clone(), took: now - began, agrees: "can be written to" })
            }
            Err(error) => {
                let error = CheckError::Down(self.cause(&error));
                self.health.check_failed(began, now, &error);
                Err(error)
            }
        }
    }

    fn address(&self) -> String {
        self.path.clone()
    }

    fn promise(&self) -> Promise {
        let sentence = if self.fsync {
            "delivered means stored: the events are in the file, and fsynced"
        } else {
            "delivered means stored: the events are in the file, but a power cut can lose the last ones"
        };
        Promise { label: "stored", sentence }
    }

    fn health(&self) -> Health {
        self.health.health()
    }

    fn figures(&self) -> Figures {
        Figures { outages: self.health.outages(Instant::now()), ..Figures::default() }
    }
}

impl Writer {
    /// Appends the events from `next` on, unless the tenure has ended meanwhile. Returns the next position, after a
    /// failure too.
    fn append(&self, batch: &Output, mut next: usize, tenure: &Tenure) -> (usize, io::Result<Option<()>>) {
        let mut file = self.lock();
        if !tenure.holds() {
            return (next, Ok(None));
        }
        let written = file.append(&batch.events, &mut next);
        (next, written.map(Some))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, RotatingFile> {
        // A panic closes the file, as an error does.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}
