//! The hook: a Lua script that turns each log into events.
//!
//! ```text
//! Page ──▶ Logs ──▶ log, a table that stays in the page ──process(log)──▶ what it returned ──▶ Format ──▶ Events
//! ```
//!
//! * [`Script`] is the text with the files that it names, [`Hook`] a text that was loaded, with a Lua state of its own.
//! * `sandbox` lists what a script may use, `watch` stops what takes too long.
//! * `log` and `json` are the two kinds of tables that cost nothing until a script looks at them.
//! * `returned` checks what came back, `write` writes it.
//! * [`HookError`] says what is wrong and where; `excerpt`, `hint` and `render` make it something to act on.
//! * [`Sample`] is a log that somebody typed, [`cases`] are the tests beside a script, [`coverage`] what they ran.
//!
//! Only `raw` touches the Lua stack. What is unsafe is there, in `watch`, and where the two are set up.

use std::path::Path;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

pub mod cases;
pub mod coverage;
mod current;
mod error;
mod escape;
mod excerpt;
mod explain;
mod files;
mod hint;
mod hook;
mod hooks;
mod json;
mod log;
mod marks;
mod pass;
pub(crate) mod pattern;
mod raw;
mod render;
mod returned;
mod sample;
mod sandbox;
mod state;
pub(crate) mod stdlib;
mod threads;
mod time;
mod tokens;
mod trace;
mod watch;
mod write;

#[cfg(test)]
mod tests;

pub use error::{Called, Fault, HookError, Place};
pub use files::Files;
pub use hint::returns_nothing;
pub use hook::{Cost, Failed, Hook, Made, Meta};
pub use hooks::{Dried, Figures, Hooks, Passed, Refused, Reloads, Rules, Trial};
pub use pass::PassedOn;
pub use render::{Beside, Paint, printable};
pub use sample::{Sample, SampleError};
pub use threads::{HookPanic, HookThreads, Ran};

/// The comment that asks for a version to be put in force whatever it does.
const FORCE: &[u8] = b"forwarder: force-reload";

/// What a script may use, and what it may see of the settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Longest time for one log: of computing, not on the wall.
    pub timeout: Duration,
    /// Most memory for one VM, in bytes.
    pub memory: usize,
    /// `[script.vars]` of the settings: the global `settings` of the script.
    pub vars: toml::Table,
}

/// The text of a script, with the files that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// What it is called in messages: the path it was read from.
    pub name: String,
    /// The text.
    pub text: Vec<u8>,
    /// What it names: `require "mask"`, `lookup.csv("hosts.csv", …)`.
    pub files: Files,
    /// The first 12 hex digits of the SHA-256 of the text, and of the files when it names any.
    pub version: String,
}

impl Script {
    /// Reads a script and the files that it names. These are looked for beside the file that the path leads to, through
    /// all links, so that a directory that is replaced by a link to another is seen as one or the other.
    ///
    /// # Errors
    /// [`Fault::Unreadable`]. A file that it names and that cannot be read is an error of the line that asks for it.
    pub fn read(path: &Path) -> Result<Self, HookError> {
        let read = path.canonicalize().and_then(|resolved| Ok((std::fs::read(&resolved)?, resolved)));
        let (text, resolved) = read.map_err(|error| {
            HookError::new("", Fault::Unreadable { path: path.to_owned(), cause: error.to_string() })
        })?;
        let files = Files::read(resolved.parent().unwrap_or(Path::new("/")), &text);
        Ok(Self::new(&path.display().to_string(), text, files))
    }

    /// A script that is not in a file, and has no files to name.
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

    /// Whether a comment at the top asks for this version to be put in force without being compared with the one before:
    /// `-- forwarder: force-reload`.
    fn forces_reload(&self) -> bool {
        let lines = self.text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let mut comments = lines.take_while(|line| line.is_empty() || line.starts_with(b"--"));
        comments.any(|line| line.strip_prefix(b"--").is_some_and(|text| text.trim_ascii() == FORCE))
    }

    /// What a file that the script names is called in messages.
    fn name_of(&self, file: &str) -> String {
        Path::new(&self.name).with_file_name(file).display().to_string()
    }

    /// `script:line`
    fn place(&self, line: Option<u32>) -> String {
        match line {
            Some(line) => format!("{}:{line}", self.name),
            None => self.name.clone(),
        }
    }

    /// Where the last error was, in the script or a module.
    fn place_at(&self, current: &current::Current) -> String {
        match current.calls.first() {
            Some(call) if call.file != self.name => format!("{}:{}", call.file, call.line),
            _ => self.place(current.error_line),
        }
    }

    /// The text of an error that is on top of the stack.
    fn raised(&self, stack: raw::Stack, line: Option<u32>) -> String {
        let text = String::from_utf8_lossy(stack.bytes(-1).unwrap_or(b"an error in the handling of an error"));
        self.words(&text, line)
    }

    /// An error's text without what Lua or the binding adds, and with the place in front if it has none.
    fn words(&self, text: &str, line: Option<u32>) -> String {
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
