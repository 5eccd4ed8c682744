//! The current file, which has only complete lines, and the rotated files.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use super::Config;
use crate::core::batch::Events;
use crate::core::line_file::{beside, end_of_lines, rotate, sync_parent};
use crate::core::named_file;

/// Appends bytes to a file: [`io::Write::write_all`], except that a test can simulate a disk that fails.
pub(super) type WriteFn = dyn Fn(&mut File, &[u8]) -> io::Result<()> + Send + Sync;

/// The current file and the rotated ones.
///
/// A failed write closes the file: the next write opens it again and starts from the actual content on the disk.
pub(super) struct RotatingFile {
    config: Config,
    write: Box<WriteFn>,
    open: Option<OpenFile>,
    /// A lock, taken when the file is first opened. It is a separate file, because the others are renamed.
    lock: Option<File>,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    len: u64,
}

impl RotatingFile {
    /// Nothing is opened yet.
    pub(super) fn new(config: Config, write: Box<WriteFn>) -> Self {
        Self { config, write, open: None, lock: None }
    }

    /// Appends the events from `next` on, and moves `next` past the stored ones.
    ///
    /// # Errors
    /// Events from `next` on are not stored, or not known to be. The same call may succeed later.
    pub(super) fn append(&mut self, events: &Events, next: &mut usize) -> io::Result<()> {
        while *next < events.len() {
            let OpenFile { mut file, len } = self.take_open()?;
            let start = events.range(*next).start;
            let room = self.config.max_size.saturating_sub(len);
            let fits =
                (*next..events.len()).take_while(|event| (events.range(*event).end - start) as u64 <= room).count();
            if fits == 0 && len > 0 {
                self.rotate(file)?;
                continue;
            }
            let behind = *next + fits.max(1);
            let lines = &events.bytes()[start..events.range(behind - 1).end];
            let sync = |file: &File| if self.config.fsync { file.sync_data() } else { Ok(()) };
            if let Err(error) = (self.write)(&mut file, lines).and_then(|()| sync(&file)) {
                // The same lines will be written again: a rest of this attempt would leave a copy and an incomplete
                // last line.
                if let Err(undo) = file.set_len(len) {
                    let file = self.config.path.display();
                    tracing::warn!(%file, error = %undo, "cannot undo a failed write; the incomplete line is cut off later");
                }
                return Err(error);
            }
            self.open = Some(OpenFile { file, len: len + lines.len() as u64 });
            *next = behind;
        }
        Ok(())
    }

    /// Makes sure that the file exists and belongs to us.
    ///
    /// # Errors
    /// It cannot be opened, is not a regular file, or another process writes to it.
    pub(super) fn open(&mut self) -> io::Result<()> {
        self.open = Some(self.take_open()?);
        Ok(())
    }

    /// The open file if it is still the one at the path and unchanged; otherwise opens the file at the path.
    fn take_open(&mut self) -> io::Result<OpenFile> {
        if let Some(open) = self.open.take()
            && open.is_at(&self.config.path)?
        {
            return Ok(open);
        }
        if self.lock.is_none() {
            let locked = lock(&self.config.path)?;
            self.lock = Some(locked.ok_or_else(|| {
                io::Error::new(io::ErrorKind::ResourceBusy, "another process writes to it; give each a path of its own")
            })?);
        }
        let open = OpenFile::open(&self.config.path)?;
        if self.config.fsync {
            // The directory entry must be durable too.
            sync_parent(&self.config.path)?;
        }
        Ok(open)
    }

    /// Renames every file to the next number, and removes the oldest.
    fn rotate(&self, file: File) -> io::Result<()> {
        file.sync_data()?;
        rotate(&self.config.path, self.config.keep.max(1))?;
        sync_parent(&self.config.path)
    }
}

/// Locks the file for one writer. `None`: another process has it.
fn lock(path: &Path) -> io::Result<Option<File>> {
    named_file::lock(&beside(path, "lock"))
}

/// Whether another process writes to this file now. A file that cannot be examined is not in use: its first write shows
/// the error.
#[must_use]
pub fn is_in_use(path: &Path) -> bool {
    path.exists() && matches!(lock(path), Ok(None))
}

impl OpenFile {
    /// Opens the file, or creates it with mode 0600. Cuts off an incomplete last line after a crash or a full disk:
    /// it was never reported as stored, so its event is sent again. A file that begins with anything else is some other
    /// file, and is refused.
    fn open(path: &Path) -> io::Result<Self> {
        let file = named_file::append(path)?;
        let found = file.metadata()?.len();
        let len = end_of_lines(&file, found)?;
        if !begins_as_ours(&file, found)? {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it does not begin with an event: it is some other file; move it away, or set another file.path",
            ));
        }
        if len < found {
            file.set_len(len)?;
        }
        Ok(Self { file, len })
    }

    /// Whether this file is still at the path and has the length that we left: it was not moved, removed or truncated
    /// meanwhile.
    fn is_at(&self, path: &Path) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        match fs::symlink_metadata(path) {
            Ok(found) => Ok((found.dev(), found.ino(), found.len()) == (ours.dev(), ours.ino(), self.len)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Whether a file of `len` bytes begins as an event does, or as what a power cut can leave of one: a part of it, or zeros.
fn begins_as_ours(file: &File, len: u64) -> io::Result<bool> {
    const START: &[u8] = b"{\"";
    let mut head = [0; START.len()];
    let head = &mut head[..START.len().min(usize::try_from(len).unwrap_or(usize::MAX))];
    file.read_exact_at(head, 0)?;
    Ok(START.starts_with(head) || head.iter().all(|byte| *byte == 0))
}
