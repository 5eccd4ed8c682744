//! The hook: a Lua script that turns each log into events.
//!
//! ```text
//! Page ──▶ Logs ──▶ log, a table that stays in the page ──process(log)──▶ what it returned ──▶ Format ──▶ Events
//! ```
//!
//! * [`Script`] is the text, [`Hook`] a text that was loaded, with a Lua state of its own.
//! * `sandbox` lists what a script may use, `watch` stops what takes too long.
//! * `log` and `json` are the two kinds of tables that cost nothing until a script looks at them.
//! * `returned` checks what came back, `write` writes it.
//!
//! Only `raw` touches the Lua stack. What is unsafe is there, in `watch`, and where the two are set up.

use std::path::Path;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

mod current;
mod error;
mod escape;
mod hook;
mod hooks;
mod json;
mod log;
mod marks;
mod pass;
pub(crate) mod pattern;
mod raw;
mod returned;
mod sandbox;
mod stdlib;
mod threads;
mod time;
mod watch;
mod write;

#[cfg(test)]
mod tests;

pub use error::{Fault, HookError};
pub use hook::{Failed, Hook, Made, Meta};
pub use hooks::Hooks;
pub use threads::{HookPanic, HookThreads, Ran};

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

/// The text of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// What it is called in messages: the path it was read from.
    pub name: String,
    /// The text.
    pub text: Vec<u8>,
    /// The first 12 hex digits of the text's SHA-256.
    pub version: String,
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// [`Fault::Unreadable`].
    pub fn read(path: &Path) -> Result<Self, HookError> {
        let text = std::fs::read(path).map_err(|error| HookError {
            version: String::new(),
            fault: Fault::Unreadable { path: path.to_owned(), cause: error.to_string() },
        })?;
        Ok(Self::from_text(&path.display().to_string(), text))
    }

    /// A script that is not in a file.
    #[must_use]
    pub fn from_text(name: &str, text: impl Into<Vec<u8>>) -> Self {
        let text = text.into();
        let digest = Sha256::digest(&text);
        Self { name: name.to_owned(), version: digest[..6].iter().map(|byte| format!("{byte:02x}")).collect(), text }
    }

    fn error(&self, fault: Fault) -> HookError {
        HookError { version: self.version.clone(), fault }
    }

    /// `script:line`
    fn place(&self, line: Option<u32>) -> String {
        match line {
            Some(line) => format!("{}:{line}", self.name),
            None => self.name.clone(),
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
        let name = self.name.as_bytes();
        let end = &name[name.len().saturating_sub(30)..];
        let placed =
            text.split_once(": ").is_some_and(|(place, _)| memchr::memmem::find(place.as_bytes(), end).is_some());
        if placed { text.to_owned() } else { format!("{}: {text}", self.place(line)) }
    }
}
