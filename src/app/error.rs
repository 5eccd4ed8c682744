//! Why the program ends without being asked to.

use crate::core::cause::Cause;
use crate::dead_letter::OpenError;
use crate::script::HookError;

/// Why the program ends without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The script cannot be used.
    #[error("{0}")]
    Script(#[from] HookError),
    /// A part cannot be built from the settings.
    #[error("{0}")]
    Settings(String),
    /// Dead letters cannot be written.
    #[error("{0}; set dead_letters.dir to a directory that the program can write to")]
    DeadLetters(#[from] OpenError),
    /// No provider gave a signing key at the start.
    #[error("no credentials for SLS: {0}")]
    NoCredentials(Cause),
    /// SLS rejected the requests at the start.
    #[error("SLS refuses the start: {0}")]
    Refused(Cause),
    /// Not everything could be delivered and saved before the drain deadline.
    #[error(
        "not everything in flight was delivered and saved in time; nothing is lost: those logs will be pulled again"
    )]
    Cut,
    /// A bug.
    #[error("bug: {0}")]
    Internal(String),
}

impl Error {
    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::DeadLetters(OpenError::Denied { .. }) => 77,
            Self::Script(_) | Self::Settings(_) | Self::DeadLetters(_) => 2,
            Self::Internal(_) => 70,
            Self::Cut => 75,
            Self::NoCredentials(_) | Self::Refused(_) => 77,
        }
    }
}
