//! Picks the concrete parts, owns every task, and stops them in order.

use crate::settings::Settings;
use crate::stop::Stop;

/// Runs until told to stop.
///
/// # Errors
/// Why it ended otherwise.
pub async fn run(_settings: Settings, stop: Stop) -> Result<(), Error> {
    stop.raised().await;
    Ok(())
}

/// Why the program ends, by the exit code it ends with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings or the script must be changed.
    #[error("{0}")]
    Settings(String),
    /// A bug of ours.
    #[error("{0}")]
    Internal(String),
    /// A stop took longer than `run.drain_timeout`; what was not delivered is delivered again by the next holder.
    #[error("{0}")]
    Drain(String),
    /// SLS or the destination refuses us.
    #[error("{0}")]
    Denied(String),
}

impl Error {
    /// The exit code: 2 usage, settings or script; 70 internal; 75 drain deadline; 77 permission.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_) => 2,
            Self::Internal(_) => 70,
            Self::Drain(_) => 75,
            Self::Denied(_) => 77,
        }
    }
}
