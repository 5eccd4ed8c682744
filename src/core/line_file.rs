//! Operations on files of whole lines.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Syncs the directory of `path`, so that new and renamed files survive a crash.
///
/// # Errors
/// The directory cannot be opened or synced.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// Renames `path` to `path.1`, `path.1` to `path.2`, and so on. The old `path.keep` is removed.
///
/// # Errors
/// A file cannot be renamed. Those with higher numbers were.
pub fn rotate(path: &Path, keep: u32) -> io::Result<()> {
    let numbered = |number: u32| if number == 0 { path.to_owned() } else { beside(path, &number.to_string()) };
    for number in (0..keep).rev() {
        match fs::rename(numbered(number), numbered(number + 1)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed?,
        }
    }
    Ok(())
}

/// `path` with a dot and `end` appended.
#[must_use]
pub fn beside(path: &Path, end: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(format!(".{end}"));
    path.into()
}

/// The end of the last line feed in a file of `len` bytes, searched backwards from the end.
///
/// # Errors
/// The file cannot be read.
pub fn end_of_lines(file: &File, len: u64) -> io::Result<u64> {
    const BLOCK: u64 = 64 * 1024;
    let mut block = vec![0; BLOCK as usize];
    let mut end = len;
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        let block = &mut block[..(end - start) as usize];
        file.read_exact_at(block, start)?;
        if let Some(at) = memchr::memrchr(b'\n', block) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}
