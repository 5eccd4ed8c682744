//! The thread of the heartbeats.

use std::thread;
use std::time::Duration;

use super::error::Error;
use crate::group::{self, HeartbeatEnd};
use crate::sls::Sls;

/// The thread of the heartbeats, with a runtime and connections of its own: whatever happens elsewhere in the program,
/// a heartbeat is on time.
pub(super) struct HeartbeatThread {
    thread: thread::JoinHandle<()>,
}

impl HeartbeatThread {
    pub(super) fn start(source: &Sls, end: HeartbeatEnd, interval: Duration) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::Internal(format!("cannot start the runtime for heartbeats: {error}")))?;
        let source = source.beside().map_err(|error| Error::Settings(error.to_string()))?;
        let thread = thread::Builder::new()
            .name("heartbeat".into())
            .spawn(move || {
                runtime.block_on(group::beat(&source, end, interval));
                // A resolver or a disk that hangs must not keep the program from its end.
                runtime.shutdown_background();
            })
            .map_err(|error| Error::Internal(format!("cannot start the thread for heartbeats: {error}")))?;
        Ok(Self { thread })
    }

    pub(super) fn join(self) -> Result<(), Error> {
        self.thread.join().map_err(|_| Error::Internal("BUG: the heartbeat thread panicked".into()))
    }
}
