//! An append-only file of complete lines.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::codec;
use crate::core::line_file::{end_of_lines, sync_parent};
use crate::core::named_file;

/// Collects incomplete lines that crashes have left.
const TORN_FILE: &str = "dead-letters.torn";

/// The open file. It is used only by the owner of the directory's lock.
///
/// A failed write consumes it. The next write opens the file again, and so starts from what is on disk and not from
/// outdated state.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    len: u64,
}

impl Journal {
    /// Opens the file, or creates it (mode 0600), and repairs its end: see [`Journal::mend`].
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let file = named_file::append(path).map_err(StoreError::of("open", path))?;
        let len = file.metadata().map_err(StoreError::of("read the size of", path))?.len();
        let mut journal = Self { path: path.to_owned(), file, len };
        journal.mend().map_err(StoreError::of("repair the end of", path))?;
        // The name must be durable too. Otherwise a power failure could leave synced bytes without a name.
        sync_parent(path).map_err(StoreError::of("sync the directory of", path))?;
        Ok(journal)
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Whether the path still leads to this file, and the file is unchanged: not moved, removed, truncated or edited.
    pub(super) fn is_current(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        match fs::symlink_metadata(&self.path) {
            Ok(found) => Ok((found.dev(), found.ino(), found.len()) == (ours.dev(), ours.ino(), self.len)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Appends complete lines with one sync. When it returns `Some`, they are on disk in the file at the path. `None`:
    /// the file was moved or changed meanwhile, and the lines may be where nobody reads them.
    pub(super) fn append<'a>(mut self, lines: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<Self>, StoreError> {
        let mut added = 0;
        let written = lines.into_iter().try_for_each(|lines| {
            added += lines.len() as u64;
            self.file.write_all(lines)
        });
        let outcome = written.and_then(|()| self.file.sync_data());
        if let Err(error) = outcome {
            // The caller retries with the same lines, so the rest of this write would be a duplicate with an
            // incomplete last line. After a failed sync, the kernel may also treat the pages as clean and never write
            // them.
            if let Err(undo) = self.file.set_len(self.len) {
                let file = self.path.display();
                tracing::warn!(%file, error = %undo, "cannot undo a failed write; the next write repairs the end of the file");
            }
            return Err(StoreError::of("write to", &self.path)(error));
        }
        self.len += added;
        let is_current = self.is_current().map_err(StoreError::of("look at", &self.path))?;
        Ok(is_current.then_some(self))
    }

    /// Makes sure that the file ends with a complete line.
    ///
    /// A crash during a write leaves an incomplete last line. It was never reported as written, so its log is pulled
    /// again. The line is still moved to a separate file for inspection. A line that lacks only its line feed is
    /// complete: the line feed is added. A file that does not begin like ours belongs to another program and is not
    /// changed.
    fn mend(&mut self) -> io::Result<()> {
        if !self.begins_as_ours()? {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it does not begin with a dead letter: it is some other file; move it away, or name another directory",
            ));
        }
        let whole = end_of_lines(&self.file, self.len)?;
        if whole == self.len {
            return Ok(());
        }
        let mut tail = vec![0; usize::try_from(self.len - whole).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut tail, whole)?;
        if codec::is_sound(&tail) {
            self.file.write_all(b"\n")?;
            self.file.sync_data()?;
            self.len += 1;
            return Ok(());
        }
        let torn = self.path.with_file_name(TORN_FILE);
        tail.push(b'\n');
        let mut keep = named_file::append(&torn)?;
        let before = keep.metadata()?.len();
        if let Err(error) = keep.write_all(&tail).and_then(|()| keep.sync_data()) {
            // The write is retried while the disk is full: a partial copy each time would keep the disk full.
            keep.set_len(before)?;
            return Err(error);
        }
        sync_parent(&torn)?;
        self.file.set_len(whole)?;
        self.file.sync_data()?;
        self.len = whole;
        tracing::warn!(
            file = %self.path.display(),
            offset = whole,
            bytes = tail.len() - 1,
            moved_to = %torn.display(),
            "the last dead letter was cut off by a crash; no checkpoint had passed its log, so it is sent again",
        );
        Ok(())
    }

    /// Whether the file begins like a record, or like what a power failure can leave of one: a part of it, or zeros.
    fn begins_as_ours(&self) -> io::Result<bool> {
        let mut head = [0; codec::START.len()];
        let head = &mut head[..codec::START.len().min(usize::try_from(self.len).unwrap_or(usize::MAX))];
        self.file.read_exact_at(head, 0)?;
        Ok(codec::START.starts_with(head) || head.iter().all(|byte| *byte == 0))
    }
}

/// Why nothing was written. The shard is paused in any case: no checkpoint moves past a record that is not on disk.
/// The same call may succeed later, when there is room again or the disk has recovered.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no room.
    #[error("no room for dead letters in {}: {limit}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// The exhausted limit.
        limit: Limit,
    },
    /// The disk, or the access to it, fails.
    #[error("cannot {doing} {}: {cause}", path.display())]
    Io {
        /// The operation.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the system.
        cause: io::Error,
    },
}

/// The exhausted limit.
#[derive(Debug, thiserror::Error)]
pub enum Limit {
    /// The maximum size of the dead letters.
    #[error(
        "its files have {used} bytes, {more} more would exceed the limit of {cap}; look at them (`forwarder dlq list`), \
         then replay them or move them away (no restart needed), or raise dead_letters.max_size"
    )]
    Cap {
        /// Bytes in the files.
        used: u64,
        /// Bytes that were to be added.
        more: u64,
        /// Maximum number of bytes of all files.
        cap: u64,
    },
    /// The dead letters of one batch, which are written together, are larger than the maximum size.
    #[error(
        "the dead letters of one page have {more} bytes, more than the limit of {cap}: correct the script, or raise \
         dead_letters.max_size"
    )]
    Together {
        /// Bytes that were to be added.
        more: u64,
        /// Maximum number of bytes of all files.
        cap: u64,
    },
    /// The disk, a quota, or the system's limit on file sizes.
    #[error("{0}; free some space, then the shard resumes by itself")]
    Disk(io::Error),
}

impl StoreError {
    /// Classifies a system error for a writer.
    pub(super) fn of(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let path = path.to_owned();
        move |cause| match cause.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Self::Full { path, limit: Limit::Disk(cause) },
            _ => Self::Io { doing, path, cause },
        }
    }
}
