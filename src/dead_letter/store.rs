//! Writes dead letters to a directory.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;

use super::journal::{Journal, Limit, StoreError};
use super::missed::{DirectoryMissed, MissedDeadLetters};
use super::replay_claim::ClaimError;
use super::shared_claim::{MissedInDirectory, SharedClaim};
use super::take_over::{MAX_FORWARDERS, take_over_all};
use super::write_queue::{QueuedWrite, WriteQueue};
use super::{DeadLetterStore, FILE, LOCK_FILE, Record, codec, delivered};
use crate::core::destination_name::DestinationName;
use crate::core::named_file;

/// How often a write is done again at once because the file was moved during it.
const MAX_MOVES: u32 = 3;

/// Where dead letters are written, and the size limit.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory. It and its missing parents are created with mode 0700, because dead letters contain complete
    /// logs.
    pub dir: PathBuf,
    /// Maximum number of bytes of all dead letters in the directory, those that a replay has set aside included.
    pub max_bytes: u64,
}

/// The dead letters of this process. All shards write through the same store; the directory is locked while it
/// exists.
#[derive(Debug)]
pub struct DirectoryStore {
    path: PathBuf,
    max_bytes: u64,
    /// `None` after an error, and after a start with a full disk. A standard mutex: it is held during disk
    /// operations, never across an await.
    journal: Mutex<Option<Journal>>,
    queue: WriteQueue,
    /// The claim of the dead letters that isolated destinations missed.
    replay: Arc<Mutex<SharedClaim>>,
    /// Released when the file is closed, at the latest when the process ends.
    _lock: File,
}

impl DirectoryStore {
    /// Locks the directory, and repairs the end of its file after a crash. A full disk is not an error if the
    /// directory exists: it matters only when there is something to write.
    ///
    /// # Errors
    /// [`OpenError`]: another process uses the directory, or it cannot be used.
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
        let (queue, replay) = (WriteQueue::default(), Arc::default());
        Ok(Self { path, max_bytes: config.max_bytes, journal: Mutex::new(journal), queue, replay, _lock: lock })
    }

    /// Opens the directory or, if another process uses it, the first free one of its subdirectories `2`, `3`, …. So
    /// forwarders with equal settings can run side by side. Dead letters in those of these directories that no process
    /// uses any more are moved to the opened one.
    ///
    /// # Errors
    /// As for [`DirectoryStore::open`]; [`OpenError::Locked`] if all of them are in use.
    pub fn open_free(config: &Config) -> Result<Self, OpenError> {
        let open = |dir: PathBuf| Self::open(Config { dir, ..*config });
        let mut opened = open(config.dir.clone());
        for number in 2..=MAX_FORWARDERS {
            if !matches!(opened, Err(OpenError::Locked { .. })) {
                break;
            }
            opened = open(config.dir.join(number.to_string()));
        }
        let opened = opened?;
        take_over_all(&config.dir, opened.dir());
        Ok(opened)
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.path.parent().expect("the file of dead letters is in a directory")
    }

    /// Writes all of the records or none. When it returns `Ok` they are on disk, and a checkpoint may move past them.
    /// Concurrent writes share one sync.
    ///
    /// Blocks for the disk and for the writes of other shards. In async code, call it through
    /// `tokio::task::spawn_blocking`.
    ///
    /// The file may be moved or removed at any time; then a new one is started.
    ///
    /// # Errors
    /// [`StoreError`]: no checkpoint may move past these records. The failed write is undone; retry later with the
    /// same records. (If it cannot be undone, or after a crash, some records may be in the file twice, with the same
    /// id.)
    pub fn append<'a>(&self, records: impl IntoIterator<Item = &'a Record>) -> Result<(), StoreError> {
        let mut lines = Vec::new();
        for record in records {
            codec::encode(record, &mut lines);
        }
        if lines.is_empty() {
            return Ok(());
        }
        let result = self.queue.push(lines);
        // A panic while the lock is held leaves `None`, which is a valid state.
        let mut slot = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        self.queue.write_all(|writes| self.write(&mut slot, writes));
        drop(slot);
        result.recv().expect("a thread that writes for others does not panic")
    }

    /// Claims the events that a destination missed. Blocks for the disk.
    ///
    /// # Errors
    /// [`ClaimError`]: a replay of another process uses the directory, or it cannot be read.
    pub fn missed_by(&self, destination: &DestinationName) -> Result<MissedInDirectory, ClaimError> {
        MissedInDirectory::take(&self.replay, self.dir(), destination.clone(), |claim| {
            // Nobody writes while the file is renamed: no line can end up in a file that was already read.
            let _no_writes = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
            claim.set_aside()
        })
    }

    fn write(&self, slot: &mut Option<Journal>, writes: &[QueuedWrite]) -> Result<(), StoreError> {
        for _ in 0..=MAX_MOVES {
            let journal = match slot.take() {
                Some(journal) if journal.is_current().map_err(StoreError::of("look at", &self.path))? => journal,
                _ => Journal::open(&self.path)?,
            };
            let set_aside = delivered::bytes(self.dir()).map_err(StoreError::of("look at", self.dir()))?;
            let more = writes.iter().map(|write| write.lines.len() as u64).sum();
            let (used, cap) = (journal.len().saturating_add(set_aside), self.max_bytes);
            if used.saturating_add(more) > cap {
                *slot = Some(journal);
                let limit = if more > cap { Limit::Together { more, cap } } else { Limit::Cap { used, more, cap } };
                return Err(StoreError::Full { path: self.dir().to_owned(), limit });
            }
            *slot = journal.append(writes.iter().map(|write| write.lines.as_slice()))?;
            if slot.is_some() {
                return Ok(());
            }
        }
        Err(StoreError::of("write to", &self.path)(io::Error::other("the file is moved again and again")))
    }
}

impl DeadLetterStore for Arc<DirectoryStore> {
    fn keep(&self, letters: Vec<Arc<[Record]>>) -> BoxFuture<'static, Result<(), StoreError>> {
        let store = Self::clone(self);
        let written = tokio::task::spawn_blocking(move || store.append(letters.iter().flat_map(|batch| &**batch)));
        // A panic of the thread is passed on to the caller; nothing was reported as written.
        Box::pin(async move { written.await.unwrap_or_else(|panic| panic!("{panic}")) })
    }

    fn missed(
        &self,
        destination: &DestinationName,
    ) -> BoxFuture<'static, Result<Box<dyn MissedDeadLetters>, ClaimError>> {
        let (store, destination) = (Self::clone(self), destination.clone());
        let taken = DirectoryMissed::take(move || store.missed_by(&destination));
        Box::pin(async move { Ok(Box::new(taken.await?) as Box<dyn MissedDeadLetters>) })
    }
}

/// Whether a forwarder has ever used `dir` for dead letters, even if none are left.
#[must_use]
pub fn was_used(dir: &Path) -> bool {
    dir.join(LOCK_FILE).exists()
}

/// Whether a running forwarder uses `dir` for dead letters. Creates nothing.
#[must_use]
pub fn is_in_use(dir: &Path) -> bool {
    was_used(dir) && matches!(named_file::lock(&dir.join(LOCK_FILE)), Ok(None))
}

/// Why a directory cannot be used for dead letters.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process writes there. Two writers would mix their lines.
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
    /// This user has no permission, or the file system is read-only.
    #[error(
        "cannot {doing} {}: {cause} (running as uid {uid}): make the directory writable for that user, or choose \
         another",
        path.display()
    )]
    Denied {
        /// The operation.
        doing: &'static str,
        /// The path.
        path: PathBuf,
        /// The effective user id.
        uid: u32,
        /// The error of the system.
        cause: io::Error,
    },
    /// Another error of the system.
    #[error("cannot {doing} {}: {cause}", path.display())]
    Io {
        /// The operation.
        doing: &'static str,
        /// The path.
        path: PathBuf,
        /// The error of the system.
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

/// Locks the directory until the file is closed. The lock is on a separate file, because the file of dead letters may
/// be moved.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(LOCK_FILE);
    match named_file::lock(&path) {
        Ok(Some(file)) => Ok(file),
        Ok(None) => Err(OpenError::Locked { dir: dir.to_owned(), lock: path }),
        Err(error) => Err(OpenError::of("lock", &path)(error)),
    }
}
