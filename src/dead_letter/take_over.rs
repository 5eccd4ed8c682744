//! Takes over the dead letters that another process has left.

use std::fs;
use std::io;
use std::path::Path;

use super::LOCK_FILE;
use super::delivered::{files, number};
use super::journal::StoreError;
use super::replay_claim::{ClaimError, ReplayClaim};
use crate::core::line_file::sync_parent;
use crate::core::named_file;

/// Moves the dead letters of `from`, if no process uses that directory, to the directory `to` of this process, where
/// they are counted and replayed. Returns whether there were any.
///
/// # Errors
/// [`ClaimError`]: the remaining ones stay where they are.
pub(super) fn take_over(from: &Path, to: &Path) -> Result<bool, ClaimError> {
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
    Ok(true)
}
