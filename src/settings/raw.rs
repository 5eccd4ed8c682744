//! A typed value, before validation.

use std::path::PathBuf;

use super::problem::Complaint;

/// A typed value. It may be a secret, so it has no `Debug`.
#[derive(Clone)]
pub(super) enum Raw {
    Text(String),
    /// A path of the settings file, under that file's directory.
    Path(PathBuf),
    Integer(i64),
    Switch(bool),
    /// A value that no setting accepts: "an array".
    Other(&'static str),
}

impl Raw {
    /// Any text; a number counts as its digits, except for a secret.
    pub(super) fn text(&self, is_secret: bool) -> Result<String, Complaint> {
        match self {
            Self::Text(text) if text.contains(|c: char| c.is_control() && c != '\n' && c != '\t') => {
                Err(Complaint::new("it contains control characters", "leave them out"))
            }
            Self::Text(text) => Ok(text.clone()),
            Self::Integer(number) if !is_secret => Ok(number.to_string()),
            raw => Err(Complaint::new(format!("{} is not text", raw.kind()), "write it in quotes: \"…\"")),
        }
    }

    /// The value in a message. Secrets never reach this: their only problem does not show the value.
    pub(super) fn show(&self) -> String {
        match self {
            Self::Text(text) => format!("{text:?}"),
            Self::Path(path) => format!("{path:?}"),
            Self::Integer(number) => number.to_string(),
            Self::Switch(switch) => switch.to_string(),
            Self::Other(kind) => (*kind).to_owned(),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Path(_) => "a path",
            Self::Integer(_) => "a number",
            Self::Switch(_) => "true or false",
            Self::Other(kind) => kind,
        }
    }
}
