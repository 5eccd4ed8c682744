//! The thread of the heartbeats.

use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::error::Error;
use crate::group::{self, HeartbeatEnd};
use crate::sls::Sls;

/// Capacity of the channel to the thread.
const CAPACITY: usize = 16;

/// The thread for the heartbeats of all sources, with its own runtime and connections: heartbeats are on time
/// whatever happens elsewhere in the program. On the thread, they wait for each other no longer than it takes to
/// build a request.
#[derive(Debug)]
pub(super) struct HeartbeatThread {
    thread: thread::JoinHandle<bool>,
}

/// Adds sources to the thread. The thread ends when all of these are dropped and every source has ended.
#[derive(Debug, Clone)]
pub(super) struct Heartbeats(mpsc::Sender<Beat>);

/// The heartbeats of one source.
#[derive(Debug)]
struct Beat {
    source: Sls,
    end: HeartbeatEnd,
    interval: Duration,
}

impl HeartbeatThread {
    pub(super) fn start() -> Result<(Self, Heartbeats), Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::Internal(format!("cannot start the runtime for heartbeats: {error}")))?;
        let (sender, beats) = mpsc::channel(CAPACITY);
        let thread = thread::Builder::new()
            .name("heartbeat".into())
            .spawn(move || {
                let is_whole = runtime.block_on(beat_for_all(beats));
                // A hanging resolver or disk must not delay the end of the program.
                runtime.shutdown_background();
                is_whole
            })
            .map_err(|error| Error::Internal(format!("cannot start the thread for heartbeats: {error}")))?;
        Ok((Self { thread }, Heartbeats(sender)))
    }

    pub(super) fn join(self) -> Result<(), Error> {
        match self.thread.join() {
            Ok(true) => Ok(()),
            _ => Err(Error::Internal("BUG: the heartbeats panicked".into())),
        }
    }
}

impl Heartbeats {
    /// Sends heartbeats for one more source, until its tasks close the channel.
    pub(super) async fn add(&self, source: Sls, end: HeartbeatEnd, interval: Duration) -> Result<(), Error> {
        let gone = |_| Error::Internal("the heartbeat thread has ended".to_owned());
        self.0.send(Beat { source, end, interval }).await.map_err(gone)
    }
}

/// Returns, once all have ended, whether none panicked. If one panics, its tasks notice and drop their shards.
async fn beat_for_all(mut beats: mpsc::Receiver<Beat>) -> bool {
    let mut running = JoinSet::new();
    let mut is_open = true;
    let mut is_whole = true;
    while is_open || !running.is_empty() {
        tokio::select! {
            beat = beats.recv(), if is_open => match beat {
                Some(Beat { source, end, interval }) => {
                    running.spawn(async move { group::beat(&source, end, interval).await });
                }
                None => is_open = false,
            },
            Some(ended) = running.join_next() => is_whole &= ended.is_ok(),
        }
    }
    is_whole
}
