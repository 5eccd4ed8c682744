//! Counts the undelivered dead letters of a directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::delivered::{DELIVERED_FILE, files};
use super::{FILE, Reason};
use crate::core::named_file;

/// Counts dead letters repeatedly, and reads only new lines each time.
#[derive(Debug)]
pub struct OpenDeadLetters {
    dir: PathBuf,
    /// The isolated destinations, whose missed events the program replays.
    isolated: BTreeSet<String>,
    /// What was read of each file, by path.
    read: BTreeMap<PathBuf, Lines>,
}

/// What was read of a file so far.
#[derive(Debug, Clone, Default)]
struct Lines {
    inode: u64,
    bytes: u64,
    count: u64,
    reasons: BTreeMap<String, u64>,
    /// Missed events by destination.
    missed: BTreeMap<String, u64>,
    newest: Option<String>,
    /// The first bytes of the current line.
    head: Vec<u8>,
}

/// The undelivered dead letters, and what is on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLettersOnDisk {
    /// Number of undelivered dead letters that wait for an operator: those that were written, minus those that a replay
    /// has delivered, without `missed`.
    pub open: u64,
    /// Number of undelivered events that isolated destinations missed. The program delivers them by itself.
    pub missed: u64,
    /// Size of their files in bytes.
    pub bytes: u64,
    /// When the newest was written (RFC 3339, UTC).
    pub newest: Option<String>,
    /// Number of dead letters in the files by reason, including those that were delivered.
    pub reasons: BTreeMap<String, u64>,
}

/// Bytes of a line that are enough for its time, reason and destination, which are near its start.
const MAX_HEAD: usize = 512;

impl OpenDeadLetters {
    /// For the dead letters of this directory. Events that one of the `isolated` destinations missed are counted apart.
    #[must_use]
    pub fn new(dir: &Path, isolated: BTreeSet<String>) -> Self {
        Self { dir: dir.to_owned(), isolated, read: BTreeMap::new() }
    }

    /// The current state. Blocks while it reads the disk.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn look(&mut self) -> io::Result<DeadLettersOnDisk> {
        let mut paths = files(&self.dir)?;
        paths.push(self.dir.join(FILE));
        let delivered = self.dir.join(DELIVERED_FILE);
        self.read.retain(|path, _| *path == delivered || paths.contains(path));
        let isolated = self.isolated.clone();
        let missed = |lines: &Lines| -> u64 { isolated.iter().filter_map(|name| lines.missed.get(name)).sum() };
        let mut found = DeadLettersOnDisk::default();
        for path in paths {
            let Some(lines) = self.lines(path)? else { continue };
            found.open += lines.count - missed(lines);
            found.missed += missed(lines);
            found.bytes += lines.bytes;
            found.newest = found.newest.max(lines.newest.clone());
            for (reason, count) in &lines.reasons {
                *found.reasons.entry(reason.clone()).or_default() += count;
            }
        }
        if let Some(lines) = self.lines(delivered)? {
            found.open = found.open.saturating_sub(lines.count - missed(lines));
            found.missed = found.missed.saturating_sub(missed(lines));
        }
        Ok(found)
    }

    /// What was read of a file, including new lines; `None` if there is no such file.
    fn lines(&mut self, path: PathBuf) -> io::Result<Option<&Lines>> {
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let lines = self.read.entry(path.clone()).or_default();
        if (lines.inode, lines.bytes) == (metadata.ino(), metadata.len()) {
            return Ok(Some(lines));
        }
        if lines.inode != metadata.ino() || metadata.len() < lines.bytes {
            *lines = Lines { inode: metadata.ino(), ..Lines::default() };
        }
        let mut file = named_file::open(&path)?;
        file.seek(SeekFrom::Start(lines.bytes))?;
        let mut file = BufReader::new(file);
        loop {
            let chunk = file.fill_buf()?;
            if chunk.is_empty() {
                return Ok(Some(lines));
            }
            lines.read(chunk);
            let taken = chunk.len();
            file.consume(taken);
        }
    }
}

impl Lines {
    fn read(&mut self, chunk: &[u8]) {
        self.bytes += chunk.len() as u64;
        let mut rest = chunk;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.keep_head(&rest[..end]);
            self.end_line();
            rest = &rest[end + 1..];
        }
        self.keep_head(rest);
    }

    fn keep_head(&mut self, part: &[u8]) {
        let room = MAX_HEAD - self.head.len();
        self.head.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn end_line(&mut self) {
        self.count += 1;
        let head = String::from_utf8_lossy(&self.head);
        // In a string, a quote follows a backslash, so these matches are keys.
        let value = |key: &str| Some(head.split_once(key)?.1.split_once('"')?.0.to_owned());
        if let Some(reason) = value("\"reason\":\"") {
            if let Some(destination) =
                value("\"destination\":\"").filter(|_| reason == Reason::DestinationDown.as_str())
            {
                *self.missed.entry(destination).or_default() += 1;
            }
            *self.reasons.entry(reason).or_default() += 1;
        }
        self.newest = value("\"at\":\"").max(self.newest.take());
        self.head.clear();
    }
}
