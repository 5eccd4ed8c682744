//! Why the demo ends early.

use std::io;

use crate::app;

/// Why the demo ended early.
pub(super) enum DemoError {
    Failed(String),
    /// A signal asked it to end.
    Asked(&'static str),
    /// Its terminal was closed.
    TerminalGone,
    /// The output cannot be written.
    Unwritten(io::Error),
}

impl From<String> for DemoError {
    fn from(error: String) -> Self {
        Self::Failed(error)
    }
}

/// Only the output fails with such an error.
impl From<io::Error> for DemoError {
    fn from(error: io::Error) -> Self {
        Self::Unwritten(error)
    }
}

/// Describes how the program ended before it was asked to.
pub(super) fn ended_early(ended: Option<Result<Result<(), app::Error>, tokio::task::JoinError>>) -> String {
    match ended {
        Some(Ok(Err(error))) => error.to_string(),
        Some(Err(error)) => error.to_string(),
        Some(Ok(Ok(()))) | None => "the program ended by itself".into(),
    }
}
