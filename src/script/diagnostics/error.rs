//! Errors of a script.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::core::event::BodyError;

/// An error of a script, or of its result for one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookError {
    /// The version of the script: the first 12 hex digits of its SHA-256; empty if it could not be read.
    pub version: String,
    /// What is wrong.
    pub fault: ScriptFault,
    /// The place in the script, as far as known.
    pub place: Option<Box<ScriptLocation>>,
    /// The probable cause, and the remedy.
    pub hint: Option<Box<str>>,
}

/// A place in a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptLocation {
    /// The file: the script's name, or a module's.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1: known if the message names something that occurs once on the line.
    pub column: Option<u32>,
    /// The length of the subject at the column, in characters.
    pub width: u32,
    /// The text of the line; empty if not known.
    pub text: String,
    /// The call stack, innermost first.
    pub calls: Vec<Called>,
}

/// A function on the call stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// Its name: "process", "the top level", or "the function of line 7".
    pub function: String,
    /// Its file.
    pub file: String,
    /// The current line.
    pub line: u32,
}

impl HookError {
    /// An error without details.
    #[must_use]
    pub fn new(version: impl Into<String>, fault: ScriptFault) -> Self {
        Self { version: version.into(), fault, place: None, hint: None }
    }

    /// The error and its place without log text, for a public status.
    #[must_use]
    pub fn without_text(&self) -> String {
        let what = match &self.fault {
            ScriptFault::Runtime(_) => "the script raised an error",
            ScriptFault::BadReturn { .. } => "process returned what cannot be sent",
            _ => return self.to_string(),
        };
        match &self.place {
            Some(place) => format!("{}:{}: {what} (script version {})", place.file, place.line, self.version),
            None => format!("{what} (script version {})", self.version),
        }
    }

    /// The script, for an error of the whole script.
    pub(crate) fn script(&self) -> Option<&str> {
        match &self.fault {
            ScriptFault::BadReturn { script, .. }
            | ScriptFault::NoProcess { script }
            | ScriptFault::Memory { script, .. } => Some(script),
            _ => None,
        }
    }

    /// What is wrong, without the file and the line in front.
    #[must_use]
    pub fn message(&self) -> String {
        let text = self.fault.to_string();
        if let Some(script) = self.script() {
            return text.strip_prefix(&format!("{script}: ")).unwrap_or(&text).to_owned();
        }
        let Some(place) = &self.place else { return text };
        let (lead, text) = match &self.fault {
            ScriptFault::TopLevel(text) => ("while the script was loaded: ", text.as_str()),
            _ => ("", text.as_str()),
        };
        let message = split(text, &place.file).map_or(text, |(_, message)| message);
        format!("{lead}{message}")
    }
}

/// Maximum size of an error's text, in bytes. A script can raise megabytes, and each error is stored, logged and
/// shown.
pub(crate) const MAX_ERROR_BYTES: usize = 4096;

/// The text, cut to [`MAX_ERROR_BYTES`] at a character boundary. Invalid UTF-8 is replaced.
pub(crate) fn bounded(text: &[u8]) -> String {
    const MARK: &str = "…";
    // The replacement of a cut character, and the text after it, are dropped.
    let mut bounded = String::from_utf8_lossy(&text[..text.len().min(MAX_ERROR_BYTES + 4)]).into_owned();
    if bounded.len() > MAX_ERROR_BYTES {
        let end = (0..=MAX_ERROR_BYTES - MARK.len()).rev().find(|&end| bounded.is_char_boundary(end));
        bounded.truncate(end.unwrap_or_default());
        bounded.push_str(MARK);
    }
    bounded
}

/// Splits `file:line: message`, where the file may be shortened from the left, as Lua does it.
pub(crate) fn split<'a>(text: &'a str, file: &str) -> Option<(u32, &'a str)> {
    let end = &file.as_bytes()[file.len().saturating_sub(30)..];
    // One of two names may end with the other.
    let begins = |before: &[u8]| end.len() < file.len() || before.is_empty() || before.ends_with(b" ");
    let mut from = 0;
    while let Some(colon) = text[from..].find(':').map(|at| from + at) {
        from = colon + 1;
        let digits = text[from..].bytes().take_while(u8::is_ascii_digit).count();
        let (line, rest) = text[from..].split_at(digits);
        if text.as_bytes()[..colon].strip_suffix(end).is_some_and(begins)
            && let (Ok(line), Some(message)) = (line.parse(), rest.strip_prefix(':'))
        {
            return Some((line, message.trim_start()));
        }
    }
    None
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

/// The kinds of errors. Messages begin with `script:line:` if they concern a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptFault {
    /// The file cannot be read.
    #[error("the script {} cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The message of the operating system.
        cause: String,
    },
    /// The text is not valid Lua.
    #[error("{0}")]
    Syntax(String),
    /// An error outside of `process`, while the script was loaded.
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
        /// `script:line`, or the script if the line is not known.
        at: String,
        /// The limit.
        limit: Duration,
    },
    /// The script needed more memory than it may have.
    #[error(
        "{script}: out of memory: one Lua VM may use {limit} bytes (script.memory), and all together {total} \
         (script.total_memory)"
    )]
    Memory {
        /// The script's name.
        script: String,
        /// The limit of one VM in bytes.
        limit: usize,
        /// The limit of all VMs together in bytes.
        total: usize,
    },
    /// `process` returned a value that cannot be sent.
    #[error("{script}: process returned a value that cannot be sent: {error}")]
    BadReturn {
        /// The script's name.
        script: String,
        /// The problem, its place, and the remedy.
        error: Box<BodyError>,
    },
}
