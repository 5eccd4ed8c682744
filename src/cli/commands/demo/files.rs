//! The files of the demo.

use std::io;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::core::named_file;
use crate::script::MAX_TEXT;

/// The shipped script.
const SCRIPT: &str = include_str!("../../../../scripts/transform.lua");

/// The script's file.
pub(super) struct DemoScript {
    pub(super) path: PathBuf,
    /// Where the embedded script was unpacked; removed when the demo ends.
    unpacked: bool,
}

impl DemoScript {
    pub(super) fn find(given: Option<&Path>) -> Result<Self, String> {
        // The shipped script is copied without its test cases, so that an edited copy is not refused because of them.
        let usual = Path::new("scripts/transform.lua");
        let is_changed = || named_file::read(usual, MAX_TEXT).is_ok_and(|text| text != SCRIPT.as_bytes());
        if let Some(path) = given.or_else(|| is_changed().then_some(usual)) {
            named_file::open(path).map_err(|error| format!("--script {} can't be read: {error}", path.display()))?;
            return Ok(Self { path: path.to_owned(), unpacked: false });
        }
        let path = std::env::temp_dir().join(format!("forwarder-demo-{}.lua", std::process::id()));
        // Left by a killed process with our id. A directory of another user cannot be removed from /tmp, and is not
        // used.
        let _ = std::fs::remove_file(&path);
        named_file::create(&path)
            .and_then(|mut file| file.write_all(SCRIPT.as_bytes()))
            .map_err(|error| format!("{} can't be written: {error}", path.display()))?;
        Ok(Self { path, unpacked: true })
    }
}

impl Drop for DemoScript {
    fn drop(&mut self) {
        if self.unpacked {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The directory of the dead letters; removed when the demo ends, unless there are some.
pub(super) struct DemoDeadLetters(PathBuf);

impl DemoDeadLetters {
    pub(super) fn new() -> Self {
        Self(std::env::temp_dir().join(format!("forwarder-demo-{}-dead-letters", std::process::id())))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for DemoDeadLetters {
    fn drop(&mut self) {
        let is_empty = |path: &Path| match std::fs::metadata(path) {
            Ok(file) => file.len() == 0,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if is_empty(&self.0.join("dead-letters.jsonl")) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
