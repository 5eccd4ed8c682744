//! A file of lines that only grows, and holds whole lines only.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::codec;
use crate::core::line_file::{end_of_lines, sync_parent};
use crate::core::named_file;

/// What crashes have left of lines.
const TORN_FILE: &str = "dead-letters.torn";

/// The open file. It belongs to the one who holds the directory's lock.
///
/// A write that fails uses it up: whoever writes next opens the file anew and so starts from what the disk holds, not
/// from what was believed about it.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    len: u64,
}

impl Journal {
    /// Opens the file, or makes it (mode 0600), and mends its end: see [`Journal::mend`].
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let file = named_file::append(path).map_err(StoreError::of("open", path))?;
        let len = file.metadata().map_err(StoreError::of("read the size of", path))?.len();
        let mut journal = Self { path: path.to_owned(), file, len };
        journal.mend().map_err(StoreError::of("mend the end of", path))?;
        // The name has to last as the content does, else a power cut leaves fsynced bytes that nobody finds.
        sync_parent(path).map_err(StoreError::of("sync the directory of", path))?;
        Ok(journal)
    }

    /// How long it is.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Whether the path still leads to this file, as it was left: nobody moved, removed, cut or edited it meanwhile.
    pub(super) fn is_current(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        match fs::symlink_metadata(&self.path) {
            Ok(found) => Ok((found.dev(), found.ino(), found.len()) == (ours.dev(), ours.ino(), self.len)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Appends whole lines. When it returns `Ok` they are on the disk, in the file that the path leads to.
    pub(super) fn append(mut self, lines: &[u8]) -> Result<Self, StoreError> {
        let outcome = self.file.write_all(lines).and_then(|()| self.file.sync_data());
        if let Err(error) = outcome {
            // The caller will bring the same lines again. What is left of these would be a second copy, and a torn last
            // line. After a failed sync the kernel may also take the pages for clean, and would never write them.
            if let Err(undo) = self.file.set_len(self.len) {
                let file = self.path.display();
                tracing::warn!(%file, error = %undo, "cannot undo a failed write; the next write repairs the end of the file");
            }
            return Err(StoreError::of("write to", &self.path)(error));
        }
        self.len += lines.len() as u64;
        if self.is_current().map_err(StoreError::of("look at", &self.path))? {
            Ok(self)
        } else {
            Err(StoreError::of("write to", &self.path)(io::Error::other("the file was replaced meanwhile")))
        }
    }

    /// Makes sure that the file ends with a whole line.
    ///
    /// A crash in the middle of a write leaves a torn last line. It was never reported as written, so its log comes
    /// again; still it is moved to a file beside this one, for whoever wants to see it. A line that lacks only its
    /// line feed is whole, and gets it. A file that does not begin as ours do is somebody else's, and stays as it is.
    fn mend(&mut self) -> io::Result<()> {
        let whole = end_of_lines(&self.file, self.len)?;
        if whole == self.len {
            return Ok(());
        }
        if !self.begins_as_ours()? {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it does not begin with a dead letter: it is some other file; move it away, or name another directory",
            ));
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
            // This is tried again and again while the disk is full: a part each time would keep it so.
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

    /// Whether the file begins as a record does, or as what a power cut can leave of one: a part of it, or zeros.
    fn begins_as_ours(&self) -> io::Result<bool> {
        let mut head = [0; codec::START.len()];
        let head = &mut head[..codec::START.len().min(usize::try_from(self.len).unwrap_or(usize::MAX))];
        self.file.read_exact_at(head, 0)?;
        Ok(codec::START.starts_with(head) || head.iter().all(|byte| *byte == 0))
    }
}

/// Why nothing was written. The shard is held in any case: nothing passes what is not on the disk. The same call may
/// succeed later, when there is room again or the disk has recovered.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no room.
    #[error("no room for dead letters in {}: {limit}", path.display())]
    Full {
        /// The letters' file.
        path: PathBuf,
        /// What is exhausted.
        limit: Limit,
    },
    /// The disk, or the way to it, fails.
    #[error("cannot {doing} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The letters' file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

/// Which room is exhausted.
#[derive(Debug, thiserror::Error)]
pub enum Limit {
    /// The file may not grow further.
    #[error(
        "the file has {used} bytes, {more} more would exceed its limit of {cap}; look at it (`forwarder dlq list`), \
         then move it away (no restart needed) or raise the limit"
    )]
    Cap {
        /// Bytes in the file.
        used: u64,
        /// Bytes that were to be added.
        more: u64,
        /// Most bytes that it may have.
        cap: u64,
    },
    /// The disk, a quota, or the size that the system allows for a file.
    #[error("{0}; free some space, then the shard resumes by itself")]
    Disk(io::Error),
}

impl StoreError {
    /// Sorts an error of the system by what it means for whoever wants to write.
    pub(super) fn of(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let path = path.to_owned();
        move |cause| match cause.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Self::Full { path, limit: Limit::Disk(cause) },
            _ => Self::Io { doing, path, cause },
        }
    }
}
