//! What can go wrong with a script.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Something is wrong with a script, or with what it made of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookError {
    /// Which text of the script: the first 12 hex digits of its SHA-256; empty when it could not be read.
    pub version: String,
    /// What is wrong.
    pub fault: Fault,
}

impl fmt::Display for HookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)?;
        if self.version.is_empty() {
            return Ok(());
        }
        write!(f, " (script version {})", self.version)
    }
}

impl std::error::Error for HookError {}

/// What is wrong with a script. Messages begin with `script:line:` where a line is to blame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The file cannot be read.
    #[error("the script {} cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        cause: String,
    },
    /// The text is no Lua.
    #[error("{0}")]
    Syntax(String),
    /// An error outside of `process`, when the script was loaded.
    #[error("while the script was loaded: {0}")]
    TopLevel(String),
    /// There is no function `process`.
    #[error("{script}: there is no function `process`: write `function process(log) … end`")]
    NoProcess {
        /// The script's name.
        script: String,
    },
    /// `process` raised an error.
    #[error("{0}")]
    Runtime(String),
    /// One log took too long, or loading did.
    #[error("{at}: stopped after {limit:?} of computing (script.timeout)")]
    Timeout {
        /// `script:line`, or the script when the line cannot be told.
        at: String,
        /// The limit.
        limit: Duration,
    },
    /// The script needed more memory than it may have.
    #[error("{script}: out of memory: it may use {limit} bytes (script.memory)")]
    Memory {
        /// The script's name.
        script: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// `process` returned what cannot be sent.
    #[error("{script}: process returned what cannot be sent: {path}: {problem}")]
    BadReturn {
        /// The script's name.
        script: String,
        /// Where in the returned value: `event.a.b[3]`.
        path: String,
        /// What is wrong there, and what to do.
        problem: String,
    },
}
