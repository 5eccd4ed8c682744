//! The writer's side of a directory of dead letters.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;

use super::journal::{Journal, Limit, StoreError};
use super::missed::{DirectoryMissed, MissedLetters};
use super::replay_claim::ClaimError;
use super::{DeadLetterStore, FILE, Record, codec};
use crate::core::destination_name::DestinationName;
use crate::core::named_file;

/// Locked by the forwarder that writes in a directory; it stays behind.
const LOCK_FILE: &str = "dead-letters.lock";

/// Most forwarders that may share a place for dead letters.
const MOST_BESIDE: u32 = 64;

/// Where dead letters go, and how many.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory. It and its missing parents are created with mode 0700: dead letters hold whole logs.
    pub dir: PathBuf,
    /// Most bytes that the file may have.
    pub max_bytes: u64,
}

/// The dead letters of this process. All shards write through one of it; the directory is locked while it lives.
#[derive(Debug)]
pub struct DirectoryStore {
    path: PathBuf,
    max_bytes: u64,
    /// Absent after a fault, and at start if the disk was full. A lock of the standard library: it is held while the
    /// disk works, never across an await.
    journal: Mutex<Option<Journal>>,
    /// Its lock goes when it is closed, by us or by the system at our end.
    _lock: File,
}

impl DirectoryStore {
    /// Takes the directory, and mends the end of its file after a crash. A full disk is no error
    /// where the directory is there: it matters only once there is something to write.
    ///
    /// # Errors
    /// [`OpenError`]: somebody else has the directory, or it cannot be used.
    pub fn open(config: Config) -> Result<Self, OpenError> {
        let dir = std::path::absolute(&config.dir).map_err(OpenError::of("use", &config.dir))?;
        named_file::create_dir(&dir).map_err(OpenError::of("create", &dir))?;
        named_file::check_dir(&dir).map_err(OpenError::of("keep dead letters in", &dir))?;
        let lock = lock(&dir)?;
        let path = dir.join(FILE);
        let journal = match Journal::open(&path) {
            Ok(journal) => Some(journal),
            Err(fault @ StoreError::Full { .. }) => {
                tracing::warn!(%fault, "shards that need to write a dead letter are paused until there is room");
                None
            }
            Err(StoreError::Io { doing, path, cause }) => return Err(OpenError::of(doing, &path)(cause)),
        };
        Ok(Self { path, max_bytes: config.max_bytes, journal: Mutex::new(journal), _lock: lock })
    }

    /// Takes the directory, or, while another process has it, the first free one of the directories `2`, `3`, … in it:
    /// so forwarders that are started side by side with equal settings do not get into each other's way, and one that
    /// comes back finds a directory that was used before.
    ///
    /// # Errors
    /// As for [`DirectoryStore::open`]; [`OpenError::Locked`] when all of them are taken.
    pub fn open_free(config: &Config) -> Result<Self, OpenError> {
        let open = |dir: PathBuf| Self::open(Config { dir, ..*config });
        let mut opened = open(config.dir.clone());
        for number in 2..=MOST_BESIDE {
            if !matches!(opened, Err(OpenError::Locked { .. })) {
                break;
            }
            opened = open(config.dir.join(number.to_string()));
        }
        opened
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.path.parent().expect("the letters' file is in a directory")
    }

    /// Writes all of the records, or none. When it returns `Ok` they are on the disk: a checkpoint may pass them.
    ///
    /// Blocks for as long as the disk takes, and for the writes of other shards before it: in async code call it
    /// through `tokio::task::spawn_blocking`.
    ///
    /// The file may be moved away or removed at any time: then a new one is begun.
    ///
    /// # Errors
    /// [`StoreError`]: nothing may pass these records. What the failed write left is taken back; bring the same records
    /// again later. (Should that be impossible, or a crash come between, some of them are in the file twice, with the
    /// same id.)
    pub fn append(&self, records: &[Record]) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for record in records {
            codec::encode(record, &mut lines);
        }
        // Whoever panicked in here has taken the journal out and left `None`, which is a good state.
        let mut slot = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let journal = match slot.take() {
            Some(journal) if journal.is_current().map_err(StoreError::of("look at", &self.path))? => journal,
            _ => Journal::open(&self.path)?,
        };
        let (used, more) = (journal.len(), lines.len() as u64);
        if used.saturating_add(more) > self.max_bytes {
            *slot = Some(journal);
            let limit = Limit::Cap { used, more, cap: self.max_bytes };
            return Err(StoreError::Full { path: self.path.clone(), limit });
        }
        *slot = Some(journal.append(&lines)?);
        Ok(())
    }
}

impl DeadLetterStore for Arc<DirectoryStore> {
    fn keep(&self, letters: Arc<[Record]>) -> BoxFuture<'static, Result<(), StoreError>> {
        let store = Self::clone(self);
        let written = tokio::task::spawn_blocking(move || store.append(&letters));
        // A panic of the thread is the caller's; nothing was reported as written.
        Box::pin(async move { written.await.unwrap_or_else(|panic| panic!("{panic}")) })
    }

    fn missed(&self, destination: &DestinationName) -> BoxFuture<'static, Result<Box<dyn MissedLetters>, ClaimError>> {
        let taken = DirectoryMissed::take(self.dir().to_owned(), destination.clone());
        Box::pin(async move { Ok(Box::new(taken.await?) as Box<dyn MissedLetters>) })
    }
}

/// The directories of dead letters that [`DirectoryStore::open_free`] may have made of `dir`: itself, and its numbered
/// directories that are there, in their order.
#[must_use]
pub fn directories(dir: &Path) -> Vec<PathBuf> {
    let beside = (2..=MOST_BESIDE).map(|number| dir.join(number.to_string())).filter(|dir| dir.is_dir());
    std::iter::once(dir.to_owned()).chain(beside).collect()
}

/// Whether a forwarder ever kept dead letters in `dir`, even if there is none left.
#[must_use]
pub fn was_used(dir: &Path) -> bool {
    dir.join(LOCK_FILE).exists()
}

/// Whether a forwarder that runs keeps dead letters in `dir`. Nothing is made by asking.
#[must_use]
pub fn is_in_use(dir: &Path) -> bool {
    was_used(dir) && matches!(named_file::lock(&dir.join(LOCK_FILE)), Ok(None))
}

/// Why a directory cannot take dead letters.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process writes there. Two would tear each other's lines.
    #[error(
        "another process uses the dead letters in {} (`lsof {}` shows which): give each forwarder its own directory",
        dir.display(),
        lock.display()
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The file that is locked.
        lock: PathBuf,
    },
    /// This user may not, or nobody may: a read-only file system.
    #[error(
        "cannot {doing} {}: {cause} (running as uid {uid}): make the directory writable for that user, or choose \
         another",
        path.display()
    )]
    Denied {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// The effective user.
        uid: u32,
        /// What the system says.
        cause: io::Error,
    },
    /// Anything else that the system says.
    #[error("cannot {doing} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

impl OpenError {
    fn of(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| match cause.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Denied { doing, path, uid: named_file::user(), cause }
            }
            _ => Self::Io { doing, path, cause },
        }
    }
}

/// Locks the directory until the file is closed. The lock is on a file of its own: the letters may be moved away.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(LOCK_FILE);
    match named_file::lock(&path) {
        Ok(Some(file)) => Ok(file),
        Ok(None) => Err(OpenError::Locked { dir: dir.to_owned(), lock: path }),
        Err(error) => Err(OpenError::of("lock", &path)(error)),
    }
}
