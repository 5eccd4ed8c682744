//! The text of a script and of the files that it names.

pub(crate) mod files;
mod kept;
pub(crate) mod tokens;

use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::diagnostics::error::{HookError, ScriptFault};
use crate::core::named_file;
pub use files::Files;

/// The comment that forces a version to be loaded.
const FORCE: &[u8] = b"forwarder: force-reload";

/// Maximum size of a script's text, in bytes.
pub const MAX_TEXT: u64 = 16 << 20;

/// The text of a script, with the files that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Its name in messages: the path it was read from.
    pub name: String,
    /// The text.
    pub text: Vec<u8>,
    /// The files that it names: `require "mask"`, `lookup.csv("hosts.csv", …)`.
    pub files: Files,
    /// The first 12 hex digits of the SHA-256 of the text, and of the files when it names any.
    pub version: String,
}

impl Script {
    /// Reads a script and the files that it names. They are read from the directory of the resolved path, so that a
    /// directory that is replaced by a link is seen either before or after the change.
    ///
    /// # Errors
    /// [`ScriptFault::Unreadable`]. A named file that cannot be read is an error at the line that uses it.
    pub fn read(path: &Path) -> Result<Self, HookError> {
        let read =
            path.canonicalize().and_then(|resolved| Ok((named_file::read_trusted(&resolved, MAX_TEXT)?, resolved)));
        let (text, resolved) = read.map_err(|error| {
            HookError::new("", ScriptFault::Unreadable { path: path.to_owned(), cause: error.to_string() })
        })?;
        let files = Files::read(resolved.parent().unwrap_or(Path::new("/")), &text);
        Ok(Self::new(&path.display().to_string(), text, files))
    }

    /// A script without a file, which names no files.
    #[must_use]
    pub fn from_text(name: &str, text: impl Into<Vec<u8>>) -> Self {
        Self::new(name, text.into(), Files::default())
    }

    fn new(name: &str, mut text: Vec<u8>, files: Files) -> Self {
        files::drop_mark(&mut text);
        let mut hash = Sha256::new_with_prefix(&text);
        files.digest(&mut hash);
        let version = hash.finalize()[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { name: name.to_owned(), text, files, version }
    }

    /// Whether a comment at the top requests that this version is loaded without a comparison with the last one:
    /// `-- forwarder: force-reload`.
    pub(crate) fn forces_reload(&self) -> bool {
        let lines = self.text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let mut comments = lines.take_while(|line| line.is_empty() || line.starts_with(b"--"));
        comments.any(|line| line.strip_prefix(b"--").is_some_and(|text| text.trim_ascii() == FORCE))
    }

    /// The name of one of the script's files, as used in messages.
    pub(crate) fn name_of(&self, file: &str) -> String {
        Path::new(&self.name).with_file_name(file).display().to_string()
    }

    /// `script:line`
    pub(crate) fn place(&self, line: Option<u32>) -> String {
        match line {
            Some(line) => format!("{}:{line}", self.name),
            None => self.name.clone(),
        }
    }

    /// An error's text without the additions of Lua or the binding, and with the place in front if it has none.
    pub(crate) fn words(&self, text: &str, line: Option<u32>) -> String {
        let text = text.strip_prefix("runtime error: ").unwrap_or(text);
        let text = text.split("\nstack traceback:").next().unwrap_or(text);
        // Lua shortens long names from the left.
        let is_named = |name: &str| {
            let end = &name.as_bytes()[name.len().saturating_sub(30)..];
            text.split_once(": ").is_some_and(|(place, _)| memchr::memmem::find(place.as_bytes(), end).is_some())
        };
        let placed = is_named(&self.name) || self.files.names().any(|file| is_named(&self.name_of(file)));
        if placed { text.to_owned() } else { format!("{}: {text}", self.place(line)) }
    }
}
