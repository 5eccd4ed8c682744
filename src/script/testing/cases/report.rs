//! The report of test cases.

use std::fmt::{self, Write as _};

use serde_json::Value;

use super::Difference;
use crate::core::count::count;
use crate::core::printable::is_unprintable;
use crate::script::HookError;

/// Explains [`Why::TooDeep`].
pub const TOO_DEEP: &str = "an event is nested deeper than a case can hold; send it as text, or a part of it";

/// The report of a file of cases.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// The number of passed cases.
    pub passed: usize,
    /// The failed cases, in the order of the file.
    pub failures: Vec<Failure>,
}

/// A failed case. Displays as one line, for a log.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// Its line in the file, from 1.
    pub line: usize,
    /// Its name; empty when the line is not a case.
    pub name: String,
    /// The reason.
    pub why: Why,
}

/// Why a case failed.
#[derive(Debug, Clone, PartialEq)]
pub enum Why {
    /// The line is not a case; the text is the reason.
    NotACase(String),
    /// The events differ from the expected ones.
    Differs(Vec<Difference>),
    /// The script failed unexpectedly.
    Failed(Box<HookError>),
    /// The script failed with another error than expected; the first value is the expected text.
    OtherError(String, Box<HookError>),
    /// The script should have failed with the first value, but returned these events.
    NoError(String, Vec<String>),
    /// An event is nested too deeply to be compared.
    TooDeep,
    /// The script does not load with the settings of the case.
    Unloaded(Box<HookError>),
}

impl Report {
    /// Whether every case passed.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.failures.is_empty()
    }

    /// The number of cases.
    #[must_use]
    pub fn cases(&self) -> usize {
        self.passed + self.failures.len()
    }
}

/// One line: "2 of 5 cases failed: …" with the first of them.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cases = count(self.cases(), "case");
        match self.failures.first() {
            None => write!(f, "{cases} passed"),
            Some(first) => write!(f, "{} of {cases} failed: {first}", self.failures.len()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Why::NotACase(why) => write!(f, "line {}: {why}", self.line),
            Why::Differs(differences) => {
                write!(f, "line {}, {:?}: ", self.line, self.name)?;
                match differences.first() {
                    Some(first) => write!(f, "{first}"),
                    None => Ok(()),
                }
            }
            Why::Failed(error) | Why::Unloaded(error) => write!(f, "line {}, {:?}: {error}", self.line, self.name),
            Why::TooDeep => write!(f, "line {}, {:?}: {TOO_DEEP}", self.line, self.name),
            Why::OtherError(part, error) => {
                write!(f, "line {}, {:?}: expected an error with {part:?}, got {error}", self.line, self.name)
            }
            Why::NoError(part, _) => {
                write!(f, "line {}, {:?}: expected an error with {part:?}, and there was none", self.line, self.name)
            }
        }
    }
}

/// `events[1].event.user: expected "alice", got "bob"`, truncated to fit on a line.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (expected, got) = (shown(self.expected.as_ref(), 200), shown(self.got.as_ref(), 200));
        write!(f, "{}: expected {expected}, got {got}", self.path)
    }
}

/// A value on one line, of at most `most` characters.
fn shown(value: Option<&Value>, most: usize) -> String {
    let Some(value) = value else { return "nothing".to_owned() };
    let text = value.to_string();
    let mut shown = String::new();
    for c in text.chars().take(most) {
        if is_unprintable(c) {
            write!(shown, "{}", c.escape_default()).expect("writing to a String cannot fail");
        } else {
            shown.push(c);
        }
    }
    if text.chars().count() > most {
        shown.push('…');
    }
    shown
}
