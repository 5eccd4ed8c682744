//! A value as it was typed, before it means anything.

use std::path::PathBuf;

use super::problem::Complaint;

/// A value as it was typed. It may be a secret, so it does not print.
#[derive(Clone)]
pub(super) enum Raw {
    Text(String),
    /// A path of the settings file, under that file's directory.
    Path(PathBuf),
    Integer(i64),
    Switch(bool),
    /// Something that no setting takes: "an array".
    Other(&'static str),
}

impl Raw {
    /// Any text; a number is as good as its digits, but for a secret.
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

    /// The value in a message. Secrets never get here: their one complaint names no value.
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
