//! The signals that end the demo.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::error::DemoError;
use crate::cli::signals::Signals;

/// The signals that end the demo. The main job uses SIGHUP for reloads; the demo ends with its terminal.
pub(super) struct EndSignals {
    asked: Signals,
    hangup: Signal,
}

impl EndSignals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self { asked: Signals::listen()?, hangup: signal(SignalKind::hangup())? })
    }

    /// Waits for the next signal; returns how the demo ends.
    pub(super) async fn next(&mut self) -> DemoError {
        tokio::select! {
            name = self.asked.next() => DemoError::Asked(name),
            _ = self.hangup.recv() => DemoError::TerminalGone,
        }
    }
}
