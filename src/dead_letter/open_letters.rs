//! How many dead letters of a directory still wait for somebody.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::FILE;
use super::delivered::{DELIVERED_FILE, files};
use crate::core::named_file;

/// Counts letters again and again, and reads only what is new.
#[derive(Debug)]
pub struct OpenLetters {
    dir: PathBuf,
    /// How far each file was read, by its path.
    read: BTreeMap<PathBuf, Lines>,
}

/// What was read of a file.
#[derive(Debug, Clone, Copy, Default)]
struct Lines {
    inode: u64,
    bytes: u64,
    count: u64,
}

impl OpenLetters {
    /// The letters of this directory.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), read: BTreeMap::new() }
    }

    /// How many wait now: those that were written, less those that a replay has delivered. Blocks as long as the disk takes.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn count(&mut self) -> io::Result<u64> {
        let mut paths = files(&self.dir)?;
        paths.push(self.dir.join(FILE));
        let delivered = self.dir.join(DELIVERED_FILE);
        self.read.retain(|path, _| *path == delivered || paths.contains(path));
        let mut written = 0;
        for path in paths {
            written += self.lines(path)?;
        }
        Ok(written.saturating_sub(self.lines(delivered)?))
    }

    /// The lines of a file; none where there is no file.
    fn lines(&mut self, path: PathBuf) -> io::Result<u64> {
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => return Ok(0),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        let lines = self.read.entry(path.clone()).or_default();
        if (lines.inode, lines.bytes) == (metadata.ino(), metadata.len()) {
            return Ok(lines.count);
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
                return Ok(lines.count);
            }
            lines.count += memchr::memchr_iter(b'\n', chunk).count() as u64;
            lines.bytes += chunk.len() as u64;
            let taken = chunk.len();
            file.consume(taken);
        }
    }
}
