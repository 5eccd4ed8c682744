//! A log file that is rotated when it is full.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::core::line_file::rotate;
use crate::core::named_file;

/// A file of lines, with rotated ones beside it: `.1` is the newest of them.
#[derive(Debug)]
pub(super) struct RollingFile {
    path: PathBuf,
    most_bytes: u64,
    keep: u32,
    file: BufWriter<File>,
    len: u64,
}

impl RollingFile {
    /// Opens the file, or creates it with mode 0600, and its directory with mode 0700. A file that has reached
    /// `most_bytes` is rotated at the next line, and `keep` rotated files are kept.
    pub(super) fn open(path: &Path, most_bytes: u64, keep: u32) -> io::Result<Self> {
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            named_file::create_dir(dir)?;
        }
        let (file, len) = open(path)?;
        Ok(Self { path: path.to_owned(), most_bytes, keep, file, len })
    }

    /// Rotates the file, and starts a new one.
    fn roll(&mut self) -> io::Result<()> {
        self.file.flush()?;
        if fs::symlink_metadata(&self.path).is_ok() {
            rotate(&self.path, self.keep)?;
        }
        (self.file, self.len) = open(&self.path)?;
        Ok(())
    }
}

impl Write for RollingFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.len >= self.most_bytes {
            self.roll()?;
        }
        let written = self.file.write(line)?;
        self.len += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn open(path: &Path) -> io::Result<(BufWriter<File>, u64)> {
    let file = named_file::append(path)?;
    let len = file.metadata()?.len();
    Ok((BufWriter::new(file), len))
}
