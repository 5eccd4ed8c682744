//! The state directory: small files that improve the next start. The program also works without it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::line_file::sync_parent;
use super::named_file;

/// A directory for small files that outlive the process, if there is one.
#[derive(Debug, Clone, Default)]
pub struct StateDir(Option<PathBuf>);

impl StateDir {
    /// A writable directory; creates it if it is missing.
    ///
    /// # Errors
    /// It cannot be created or written to, or others can write to it.
    pub fn open(dir: &Path) -> io::Result<Self> {
        named_file::create_dir(dir)?;
        named_file::check_dir(dir)?;
        let state = Self(Some(dir.to_owned()));
        state.write("writable", b"")?;
        Ok(state)
    }

    /// No directory: nothing is stored or found.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// The path of a file, if there is a directory.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.0.as_ref().map(|dir| dir.join(name))
    }

    /// The content stored under this name; `None` if there is none.
    ///
    /// # Errors
    /// It cannot be read, has more than `most` bytes, or others can write to it.
    pub fn read(&self, name: &str, most: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(path) = self.path(name) else { return Ok(None) };
        match named_file::read_trusted(&path, most) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the content under this name atomically, even if the machine fails.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let Some(path) = self.path(name) else { return Ok(()) };
        let unfinished = path.with_file_name(format!(".{name}.{}", std::process::id()));
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = named_file::create(&unfinished)?;
        io::Write::write_all(&mut file, content)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        sync_parent(&path)
    }

    /// Removes the content under this name, if there is any.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let Some(path) = self.path(name) else { return Ok(()) };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => sync_parent(&path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_state_is_there_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("a/state");
        let state = StateDir::open(&dir).unwrap();
        assert_eq!(state.read("x", 10).unwrap(), None);
        state.write("x", b"1").unwrap();
        state.write("x", b"22").unwrap();
        assert_eq!(StateDir::open(&dir).unwrap().read("x", 10).unwrap().unwrap(), b"22");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2, "nothing unfinished is left");
        state.write("y", b"1").unwrap();
        state.remove("y").unwrap();
        state.remove("y").unwrap();
        assert_eq!(state.read("y", 10).unwrap(), None);
        assert_eq!(state.read("x", 1).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn without_a_directory_nothing_is_kept_and_nothing_fails() {
        let state = StateDir::none();
        state.write("x", b"1").unwrap();
        assert_eq!(state.read("x", 10).unwrap(), None);
    }

    #[test]
    fn a_directory_that_is_a_file_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(StateDir::open(file.path()).is_err());
    }
}
