//! Takes over the dead letters that other processes with the same base directory have left.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::delivered::{bytes, files, number};
use super::journal::StoreError;
use super::replay_claim::{ClaimError, ReplayClaim};
use super::{FILE, LOCK_FILE};
use crate::core::line_file::sync_parent;
use crate::core::named_file;

/// Maximum number of forwarders that may share a base directory.
pub(super) const MAX_FORWARDERS: u32 = 64;

/// The directories of other processes, while this one runs.
#[derive(Debug)]
pub struct Neighbours {
    base: PathBuf,
    own: PathBuf,
    /// Maximum number of bytes in our directory.
    max_bytes: u64,
    /// Directories with dead letters that no process used at the last look. A process that restarts uses its directory
    /// again, so what it left is taken over only at the next look.
    left: BTreeSet<PathBuf>,
    /// Those for which a warning was logged.
    warned: BTreeSet<PathBuf>,
}

impl Neighbours {
    /// The directories that [`DirectoryStore::open_free`](super::DirectoryStore::open_free) may have used for `base`,
    /// except for `own`.
    #[must_use]
    pub fn new(base: &Path, own: &Path, max_bytes: u64) -> Self {
        let base = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
        Self { base, own: own.to_owned(), max_bytes, left: BTreeSet::new(), warned: BTreeSet::new() }
    }

    /// Moves dead letters that were left before the last look to our directory, as far as they fit into it. Returns
    /// whether there were any. Blocks for the disk.
    pub fn look(&mut self) -> bool {
        let (mut is_taken, mut left) = (false, BTreeSet::new());
        for dir in directories(&self.base).into_iter().filter(|dir| *dir != self.own && is_left(dir)) {
            if !self.left.contains(&dir) {
                left.insert(dir);
                continue;
            }
            match self.fits(&dir).and_then(|()| take_over(&dir, &self.own).map_err(|fault| fault.to_string())) {
                Ok(taken) => {
                    is_taken |= taken;
                    self.warned.remove(&dir);
                }
                Err(fault) => {
                    if self.warned.insert(dir.clone()) {
                        warn_of_left(&dir, &fault);
                    }
                    left.insert(dir);
                }
            }
        }
        self.left = left;
        is_taken
    }

    /// More than the limit would pause our own shards.
    fn fits(&self, from: &Path) -> Result<(), String> {
        let size = |dir: &Path| -> io::Result<u64> {
            Ok(bytes(dir)? + fs::metadata(dir.join(FILE)).map_or(0, |file| file.len()))
        };
        let more = size(from).map_err(|error| error.to_string())?;
        let used = size(&self.own).map_err(|error| error.to_string())?;
        match used.saturating_add(more) <= self.max_bytes {
            true => Ok(()),
            false => {
                Err(format!("its {more} bytes do not fit beside the {used} of this process (dead_letters.max_size)"))
            }
        }
    }
}

/// Moves to `own` what other processes with the same base directory have left. Logs what cannot be moved.
pub(super) fn take_over_all(base: &Path, own: &Path) {
    for left in directories(base).iter().filter(|left| left.as_path() != own) {
        if let Err(fault) = take_over(left, own) {
            warn_of_left(left, &fault.to_string());
        }
    }
}

/// The directories that [`DirectoryStore::open_free`](super::DirectoryStore::open_free) may have used for `dir`: `dir`
/// itself, and its existing numbered subdirectories in order.
#[must_use]
pub fn directories(dir: &Path) -> Vec<PathBuf> {
    let beside = (2..=MAX_FORWARDERS).map(|number| dir.join(number.to_string())).filter(|dir| dir.is_dir());
    std::iter::once(dir.to_owned()).chain(beside).collect()
}

/// Whether a directory has dead letters, and no process uses it.
fn is_left(dir: &Path) -> bool {
    let path = dir.join(LOCK_FILE);
    let is_empty = || {
        files(dir).is_ok_and(|files| files.is_empty()) && fs::metadata(dir.join(FILE)).map_or(0, |file| file.len()) == 0
    };
    path.exists() && !is_empty() && matches!(named_file::lock(&path), Ok(Some(_)))
}

/// Moves the dead letters of `from`, if no process uses that directory, to the directory `to` of this process, where
/// they are counted and replayed. Returns whether there were any.
///
/// # Errors
/// [`ClaimError`]: the remaining ones stay where they are.
fn take_over(from: &Path, to: &Path) -> Result<bool, ClaimError> {
    let path = from.join(LOCK_FILE);
    if !path.exists() {
        return Ok(false);
    }
    let lock = named_file::lock(&path).map_err(StoreError::of("lock", &path))?;
    let Some(_unused) = lock else { return Ok(false) };
    // The claims keep replays away, which rename the same files.
    let theirs = ReplayClaim::take(from)?;
    let left = files(from).map_err(StoreError::of("list", from))?;
    if left.is_empty() {
        return Ok(false);
    }
    let ours = ReplayClaim::take(to)?;
    let last = files(to).map_err(StoreError::of("list", to))?.last().and_then(|path| number(path)).unwrap_or(0);
    for (path, number) in left.iter().zip(last + 1..) {
        let taken = to.join(format!("dead-letters.{number}.jsonl"));
        let moved: io::Result<()> =
            fs::rename(path, &taken).and_then(|()| sync_parent(&taken)).and_then(|()| sync_parent(path));
        moved.map_err(StoreError::of("move", path))?;
    }
    drop((theirs, ours));
    tracing::info!(
        from = %from.display(), to = %to.display(), "took over the dead letters that another process left"
    );
    Ok(true)
}

fn warn_of_left(dir: &Path, fault: &str) {
    tracing::warn!(
        dir = %dir.display(), fault,
        "dead letters that another process left cannot be taken over; replay them with `forwarder dlq replay`"
    );
}
