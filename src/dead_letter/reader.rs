//! Reads dead letters. Works while a writer is active, on a copy, and on a damaged file.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use memchr::memmem;

use super::codec;
use super::codec::Defect;
use super::delivered::{self, Delivered};
use super::{FILE, Record};
use crate::core::named_file;

/// Reads the dead letters of a directory in the order in which they were written, and stops at the current end. Files
/// that a replay has set aside come first. Skips dead letters that a replay has delivered.
///
/// Changes nothing and takes no lock. A line that is not a record is reported with its position, and reading
/// continues after it.
#[derive(Debug)]
pub struct Reader {
    /// The file that is being read.
    file: FileReader,
    /// Files that are not read yet. The last one is the file that is being written.
    rest: VecDeque<PathBuf>,
    delivered: Delivered,
}

/// Reads the dead letters of one file.
#[derive(Debug)]
pub(super) struct FileReader {
    path: PathBuf,
    /// `None` if there is no file, or if the rest cannot be read.
    input: Option<BufReader<File>>,
    /// The current line without its line feed, and how much of it was returned. A damaged line can also contain the
    /// next record, if the line feed between them was damaged.
    line: Vec<u8>,
    given: usize,
    /// Offset of `line` in the file.
    offset: u64,
    /// Number of bytes of `line` in the file: one more than its length if it ended with a line feed.
    taken: u64,
}

/// A dead letter in a file.
#[derive(Debug)]
pub struct Letter {
    /// The decoded record.
    pub record: Record,
    /// Its line in the file, without the line feed. Safe to print.
    pub line: String,
}

/// A part of the file that is not a record.
#[derive(Debug, thiserror::Error)]
#[error("{} at byte {offset} ({bytes} bytes): {defect}", path.display())]
pub struct Unreadable {
    /// The file.
    pub path: PathBuf,
    /// Its offset, from 0.
    pub offset: u64,
    /// Its length in bytes.
    pub bytes: usize,
    /// The fault.
    pub defect: Defect,
}

/// Why dead letters cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The directory does not exist.
    #[error(
        "there is no directory {}: no forwarder has written dead letters there yet, or they are elsewhere (--dir, or dead_letters.dir in the settings)",
        .0.display()
    )]
    Missing(PathBuf),
    /// The path is a file.
    #[error("{} is not a directory: name the directory with dead-letters.jsonl", .0.display())]
    NoDirectory(PathBuf),
    /// This user may not read it.
    #[error("cannot read {}: {cause}: run this as the user that the forwarder runs as", path.display())]
    Denied {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        cause: io::Error,
    },
    /// Another error of the system.
    #[error("cannot read {}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        cause: io::Error,
    },
}

impl Reader {
    /// Opens the dead letters of a directory. A directory without any is an empty reader.
    ///
    /// # Errors
    /// [`ReadError`]: there is no such directory, or it cannot be read.
    pub fn open(dir: &Path) -> Result<Self, ReadError> {
        let mut rest: VecDeque<PathBuf> = delivered::files(dir).map_err(ReadError::of(dir))?.into();
        rest.push_back(dir.join(FILE));
        let delivered = Delivered::read(dir).map_err(ReadError::of(dir))?;
        let first = rest.pop_front().expect("an element was just pushed");
        Ok(Self { file: FileReader::open(&first)?, rest, delivered })
    }

    /// Whether a replay has delivered this dead letter. Applies only to files that were set aside, because the same
    /// log can become a dead letter again later.
    fn is_settled(&self, letter: &Letter) -> bool {
        !self.rest.is_empty() && self.delivered.has(&letter.record)
    }
}

impl Iterator for Reader {
    type Item = Result<Letter, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.file.next() {
                Some(Ok(letter)) if self.is_settled(&letter) => {}
                Some(found) => return Some(found),
                None => {
                    let path = self.rest.pop_front()?;
                    match FileReader::open(&path) {
                        Ok(file) => self.file = file,
                        Err(ReadError::Denied { cause, .. } | ReadError::Io { cause, .. }) => {
                            return Some(Err(Unreadable { path, offset: 0, bytes: 0, defect: Defect::Io(cause) }));
                        }
                        // The directory was removed in the meantime.
                        Err(ReadError::Missing(_) | ReadError::NoDirectory(_)) => return None,
                    }
                }
            }
        }
    }
}

impl ReadError {
    pub(super) fn of(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| match cause.kind() {
            io::ErrorKind::NotFound => Self::Missing(path),
            io::ErrorKind::NotADirectory => Self::NoDirectory(path),
            io::ErrorKind::PermissionDenied => Self::Denied { path, cause },
            _ => Self::Io { path, cause },
        }
    }
}

impl FileReader {
    /// Opens the dead letters of a file. If the directory exists and the file does not, there are none.
    pub(super) fn open(path: &Path) -> Result<Self, ReadError> {
        let dir = path.parent().unwrap_or(path);
        let input = match named_file::open(path) {
            Ok(file) => Some(BufReader::new(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && dir.exists() => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ReadError::of(dir)(error)),
            Err(error) => return Err(ReadError::of(path)(error)),
        };
        Ok(Self { path: path.to_owned(), input, line: Vec::new(), given: 0, offset: 0, taken: 0 })
    }

    fn unreadable(&self, bytes: usize, defect: Defect) -> Unreadable {
        Unreadable { path: self.path.clone(), offset: self.offset + self.given as u64, bytes, defect }
    }

    /// Reads the next line. Returns whether there is one.
    fn advance(&mut self) -> Result<bool, Unreadable> {
        self.offset += self.taken;
        (self.given, self.taken) = (0, 0);
        self.line.clear();
        let Some(input) = &mut self.input else { return Ok(false) };
        let defect = match input.read_until(b'\n', &mut self.line) {
            Ok(0) => return Ok(false),
            Ok(taken) if self.line.pop_if(|last| *last == b'\n').is_some() => {
                self.taken = taken as u64;
                return Ok(true);
            }
            Ok(_) => Defect::Unfinished,
            Err(error) => Defect::Io(error),
        };
        self.input = None;
        let bytes = std::mem::take(&mut self.line).len();
        Err(self.unreadable(bytes, defect))
    }
}

impl Iterator for FileReader {
    type Item = Result<Letter, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.given == self.line.len() {
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(unreadable) => return Some(Err(unreadable)),
            }
        }
        let rest = &self.line[self.given..];
        let (piece, found) = match codec::decode(rest) {
            Err(Defect::Damaged) => {
                let piece = &rest[..next_start(rest)];
                (piece, codec::decode(piece))
            }
            found => (rest, found),
        };
        let found = match found {
            Ok(record) => Ok(Letter { record, line: String::from_utf8_lossy(piece).into_owned() }),
            Err(defect) => Err(self.unreadable(piece.len(), defect)),
        };
        self.given += piece.len();
        Some(found)
    }
}

/// Start of the next record in the rest of a damaged line, or the end. Only a record can start like this: quotes in
/// its texts are escaped, and the values of a log are texts.
fn next_start(rest: &[u8]) -> usize {
    memmem::find_iter(rest, codec::START)
        .find(|&at| at > 0 && rest.get(at + codec::START.len()).is_some_and(u8::is_ascii_digit))
        .unwrap_or(rest.len())
}
