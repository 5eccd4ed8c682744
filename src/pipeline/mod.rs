//! One shard: its reader (pull → hook) runs ahead, its deliverer (deliver → save) follows, with one slot between them.
//!
//! ```text
//! reader:    reserve memory ──▶ pull a page ──▶ run the hook ──▶ slot
//! deliverer: slot ──▶ deliver every output ──▶ write dead letters ──▶ advance(from, to) ──▶ save
//! ```
//!
//! While a batch is delivered, the next page is read. Batches are delivered in parallel and awaited in shard order.
//! Each covers an interval, and the checkpoint advances only over an interval that begins where it stands, so that a
//! saved checkpoint is always the end of a contiguous durable prefix. A batch has the events of a page, or of a part
//! of it when that becomes large or takes long; only the last part of a page ends at a different cursor than it
//! begins at. A batch that is paused, because its dead letters cannot be written or would be too many, blocks all
//! later ones.

mod breaker;
mod checkpoint;
mod copies;
mod course;
mod dead_letters;
mod deliverer;
mod error_throttle;
mod fetch_interval;
mod in_flight;
mod isolation;
mod late;
mod letter_queue;
mod letter_turn;
mod page_size;
mod parts;
mod reader;
mod rejection_throttle;
mod returning;
mod room;
mod route;
mod surplus;
pub mod tap;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::core::budget::Budget;
use crate::core::cursor::{Cursor, ShardId, ShardName, SourceName, Start};
use crate::core::lease::Tenure;
use crate::core::ledger::{Account, Ask, Ledger, Position, Wait};
use crate::core::retry_log::RetryLog;
use crate::core::source::{Checkpoint, Source, SourceError};
use crate::core::stop::Stop;
use crate::destination::Destination;
use crate::script::{Hook, HookError, Hooks, Meta};

use breaker::Breaker;
pub use copies::Copies;
pub use dead_letters::{DeadLetterPolicy, OnError};
pub use fetch_interval::FetchInterval;
pub use isolation::Isolation;
use late::LateStep;
use letter_queue::LetterQueue;
pub use parts::SLOW_PAGE;
use rejection_throttle::RejectionThrottle;
pub use returning::{MissedEvents, bring_back};
pub use route::{OnReject, Route};
use tap::Taps;

/// Pause before a page is retried if too many of its logs would become dead letters.
const PAUSED_RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// What all shards of a source share. The fields behind a pointer and the budget are also shared between sources.
#[derive(Debug)]
pub struct Pipeline<S, K> {
    /// Where logs come from.
    pub source: S,
    /// The name of that source.
    pub source_name: SourceName,
    /// Where events go. A batch has one output for each, in this order.
    pub destinations: Arc<[Route<K>]>,
    /// Makes events from logs.
    pub hooks: Arc<Hooks>,
    /// Limits the bytes in flight.
    pub budget: Budget,
    /// Counts the result of every log.
    pub ledger: Arc<Ledger>,
    /// What to do with logs that cannot be delivered.
    pub dead_letters: DeadLetterPolicy,
    /// The open taps.
    pub taps: Arc<Taps>,
    /// Times and sizes.
    pub pace: Pace,
}

/// Times and sizes of the work on a shard.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Where a shard without a checkpoint starts.
    pub start: Start,
    /// Where every shard ends, if it has an end.
    pub until: Option<Start>,
    /// Pause after a pull that reached the end of the shard.
    pub fetch_interval: FetchInterval,
    /// Minimum time between two saves while logs flow.
    pub save_interval: Duration,
    /// Maximum number of log groups in a page.
    pub page_groups: u32,
    /// When the hook stops in the middle of a page.
    pub part: PartSize,
}

/// When the hook stops in the middle of a page: after the log that reaches one of these limits. The events made so
/// far are delivered, and the hook continues with the rest.
#[derive(Debug, Clone, Copy)]
pub struct PartSize {
    /// Bytes of events.
    pub bytes: usize,
    /// Computing time. After it, other shards get their turn.
    pub time: Duration,
}

impl Default for PartSize {
    fn default() -> Self {
        Self { bytes: 4 << 20, time: Duration::from_millis(250) }
    }
}

/// How the work on a shard ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardEnd {
    /// Stopped in order: all pulled logs are durable, and the checkpoint is saved.
    Released,
    /// Read to its end, and saved there.
    Past,
    /// Stopped while it was halted or paused: undelivered logs will be pulled again.
    GivenBack,
    /// The tenure ended; logs in flight are abandoned.
    Over,
    /// The same during a stop, usually because its time limit was reached.
    CutShort,
    /// Stopped with all pulled logs durable, and a checkpoint that could not be saved.
    Unsaved,
    /// Stopped before anything was pulled.
    Unread,
    /// The shard belongs to another consumer, or no longer exists.
    Lost,
    /// The checkpoint was changed from outside: the shard must restart from there.
    Moved,
    /// It was halted, and a different version of the script runs now: the shard must restart from the checkpoint.
    Reloaded,
}

impl fmt::Display for ShardEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Released => "all pulled logs are delivered and saved",
            Self::Past => "it was read to its end",
            Self::GivenBack => "it was paused or halted; undelivered logs will be pulled again",
            Self::Over => "SLS took it away; logs in flight will be pulled again",
            Self::CutShort => "stopped with logs in flight, which will be pulled again",
            Self::Unsaved => {
                "all pulled logs are delivered, but the checkpoint could not be saved: they may be delivered again"
            }
            Self::Unread => "stopped before anything was pulled",
            Self::Lost => "it belongs to another consumer, or no longer exists",
            Self::Moved => "its checkpoint was changed from outside; it starts again from there",
            Self::Reloaded => "it was halted, and another version of the script runs; it starts again",
        })
    }
}

/// Works on a shard until `stop` is raised and everything in flight is durable and saved, or until the tenure ends.
pub async fn run<S: Source, K: Destination>(
    pipeline: Arc<Pipeline<S, K>>,
    id: ShardId,
    stop: Stop,
    tenure: Tenure,
) -> ShardEnd {
    let name = ShardName { source: pipeline.source_name.clone(), shard: id };
    let account = pipeline.ledger.account(&name);
    account.acquired();
    let shard = Shard {
        rejects: Mutex::new(Breaker::new(pipeline.dead_letters.max_share)),
        rejections: Mutex::default(),
        letter_queue: LetterQueue::default(),
        writing: tokio::sync::Mutex::new(retry_log(&name, "write dead letters")),
        id,
        name: name.clone(),
        paused: watch::Sender::new(0),
        in_flight: AtomicUsize::new(0),
        late_copies: LateStep::new(Wait::Copies, &account),
        late_writes: LateStep::new(Wait::Write, &account),
        deletions: pipeline.source.deletions(),
        pipeline,
        stop,
        tenure: tenure.clone(),
        account: Arc::clone(&account),
    };
    // A lost shard drops everything at once: its next owner starts at the checkpoint.
    let ended = tenure.or(shard.work()).await;
    let ended = ended.unwrap_or_else(|| match shard.stop.is_raised() {
        true if account.read().counts.in_flight == 0 => ShardEnd::Unsaved,
        true => ShardEnd::CutShort,
        false => ShardEnd::Over,
    });
    account.released();
    info!(shard = %name, "shard released: {ended}");
    ended
}

/// One shard's own view of the pipeline.
#[derive(Debug)]
struct Shard<S, K> {
    pipeline: Arc<Pipeline<S, K>>,
    /// Its number, for the source.
    id: ShardId,
    /// Its name, for people.
    name: ShardName,
    stop: Stop,
    tenure: Tenure,
    account: Arc<Account>,
    /// How often the logstore had been deleted when the work began.
    deletions: u64,
    /// Tracks refused events. A standard mutex, because it is never held across an await.
    rejects: Mutex<Breaker>,
    /// The logged rejections.
    rejections: Mutex<RejectionThrottle>,
    /// How many batches are paused: no later batch is sent.
    paused: watch::Sender<u32>,
    /// Number of batches in flight.
    in_flight: AtomicUsize,
    /// The delivery of copies of dead letters.
    late_copies: LateStep,
    /// The write of dead letters, and the wait for it.
    late_writes: LateStep,
    /// Dead letters that wait to be written.
    letter_queue: LetterQueue,
    /// Locked by the batch that writes dead letters: its own, and those that wait behind it.
    writing: tokio::sync::Mutex<RetryLog>,
}

/// Where to start, and the saved checkpoint.
#[derive(Debug)]
struct StartPoint {
    cursor: Cursor,
    saved: Option<Cursor>,
}

/// Why the reader ended.
#[derive(Debug, PartialEq, Eq)]
enum ReaderEnd {
    Stopped,
    /// The shard was read to its end.
    Past,
    Lost,
    /// The script failed on a log, and the settings halt the shard then.
    Halted,
}

/// Why the deliverer ended.
#[derive(Debug, PartialEq, Eq)]
enum DelivererEnd {
    /// All received batches are durable and saved.
    Drained,
    Lost,
    Moved,
    /// The shard is paused or halted, and earlier batches are saved.
    Halted,
}

impl<S: Source, K: Destination> Shard<S, K> {
    async fn work(&self) -> ShardEnd {
        let place = match self.stop.or(self.locate()).await {
            None => return ShardEnd::Unread,
            Some(None) => return ShardEnd::Lost,
            Some(Some(place)) => place,
        };
        let version = self.pipeline.hooks.script().version.clone();
        let hook = match self.stop.or(self.begin()).await {
            None => return ShardEnd::Unread,
            Some(Ok(hook)) => hook,
            Some(Err(fault)) => {
                self.halt(0, format!("the script does not load: {fault}"));
                return self.stay_halted(&version, ShardEnd::Unread).await;
            }
        };

        match self.run_both(place, hook).await {
            (_, DelivererEnd::Moved) => ShardEnd::Moved,
            (ReaderEnd::Lost, _) | (_, DelivererEnd::Lost) => ShardEnd::Lost,
            (ReaderEnd::Halted, _) | (_, DelivererEnd::Halted) => self.stay_halted(&version, ShardEnd::GivenBack).await,
            (ReaderEnd::Past, DelivererEnd::Drained) => ShardEnd::Past,
            (ReaderEnd::Stopped, DelivererEnd::Drained) => ShardEnd::Released,
        }
    }

    /// Waits until the shard is stopped, which ends it as `stopped`, or until a different version of the script runs,
    /// which may make different events from the same logs.
    async fn stay_halted(&self, version: &str, stopped: ShardEnd) -> ShardEnd {
        match self.stop.or(self.pipeline.hooks.differs_from(version)).await {
            None => stopped,
            Some(()) => {
                info!(shard = %self.name, "another version of the script runs: continuing from the checkpoint");
                ShardEnd::Reloaded
            }
        }
    }

    /// A hook with a fresh Lua state.
    async fn begin(&self) -> Result<Hook, HookError> {
        // A panic of a hook thread is passed on to this task: the group restarts the shard from its checkpoint.
        self.pipeline.hooks.begin(self.meta()).await.unwrap_or_else(|panic| panic!("{panic}"))
    }

    /// Reader and deliverer, until the deliverer has ended. Both are gone then: a halted shard holds no memory.
    async fn run_both(&self, place: StartPoint, hook: Hook) -> (ReaderEnd, DelivererEnd) {
        // One slot: while a batch waits for delivery, no further page is pulled.
        let (slot, batches) = mpsc::channel(1);
        let reader = self.run_reader(place.cursor.clone(), hook, slot);
        let deliverer = self.run_deliverer(place, batches);
        tokio::pin!(reader, deliverer);
        tokio::select! {
            biased;
            right = &mut deliverer => (ReaderEnd::Stopped, right),
            left = &mut reader => (left, deliverer.await),
        }
    }

    /// The checkpoint, or the start position. `None`: the shard does not belong to us.
    async fn locate(&self) -> Option<StartPoint> {
        let mut retry_log = self.retry_log("look up the checkpoint");
        loop {
            let fault = match self.pipeline.source.checkpoint(self.id).await {
                Ok(Some(Checkpoint { cursor, consumer })) => {
                    info!(shard = %self.name, at = cursor.when(), saved_by = %consumer, "goes on from the checkpoint");
                    debug!(shard = %self.name, %cursor, "starts");
                    self.stands_at(&cursor);
                    self.account.works(Ask::Locate);
                    return Some(StartPoint { saved: Some(cursor.clone()), cursor });
                }
                Ok(None) => match self.without_checkpoint().await {
                    Ok(cursor) => {
                        self.stands_at(&cursor);
                        self.account.works(Ask::Locate);
                        return Some(StartPoint { cursor, saved: None });
                    }
                    Err(fault) => fault,
                },
                Err(fault) => fault,
            };
            if let SourceError::Lost(cause) = &fault {
                warn!(shard = %self.name, %cause, "shard lost");
                return None;
            }
            self.account.fails(Ask::Locate, &fault, Instant::now());
            retry_log.pause_after(&fault).await;
        }
    }

    /// Everything before `cursor` is durable.
    fn stands_at(&self, cursor: &Cursor) {
        self.account.stands_at(Position { cursor: cursor.clone(), deletions: self.deletions });
    }

    /// Where a shard without a checkpoint starts. A shard that this process has worked on had a checkpoint, which was
    /// deleted with its group. Everything before this process's position is still durable, unless the logstore was
    /// deleted, too: then all logs are new.
    async fn without_checkpoint(&self) -> Result<Cursor, SourceError> {
        if let Some(Position { cursor, deletions }) = self.account.read().position {
            if deletions != self.deletions {
                let cursor = self.pipeline.source.cursor(self.id, Start::Begin).await?;
                info!(shard = %self.name, at = cursor.when(), "the logstore was created again: starts with its oldest log");
                return Ok(cursor);
            }
            let at = cursor.when();
            warn!(shard = %self.name, at, "there is no checkpoint any more: continuing from where this process was");
            debug!(shard = %self.name, %cursor, "starts");
            return Ok(cursor);
        }
        let start = self.pipeline.pace.start;
        let cursor = self.pipeline.source.cursor(self.id, start).await?;
        info!(shard = %self.name, at = cursor.when(), "no checkpoint yet: starts at {start}");
        debug!(shard = %self.name, %cursor, "starts");
        Ok(cursor)
    }

    /// The origin of the logs, as the script sees it.
    fn meta(&self) -> Meta {
        let DeadLetterPolicy { project, logstore, .. } = &self.pipeline.dead_letters;
        let source = self.name.source.as_str().to_owned();
        Meta { source, project: project.clone(), logstore: logstore.clone(), shard: self.id }
    }

    /// Marks a batch as paused until the returned value is dropped.
    fn pause(&self) -> Paused<'_> {
        self.paused.send_modify(|paused| *paused += 1);
        Paused(&self.paused)
    }

    /// Halts the shard: logs the reason once as an error, and shows it in the ledger.
    fn halt(&self, logs: u32, why: String) {
        error!(shard = %self.name, logs, "shard halted; its checkpoint is not moved and nothing is lost: {why}");
        self.account.halted(logs, why);
    }

    fn retry_log(&self, doing: &'static str) -> RetryLog {
        retry_log(&self.name, doing)
    }
}

/// Blocks later batches while a batch is paused.
struct Paused<'a>(&'a watch::Sender<u32>);

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|paused| *paused -= 1);
    }
}

fn retry_log(shard: &ShardName, doing: &'static str) -> RetryLog {
    RetryLog::new(format!("shard {shard}: cannot {doing}"), u64::from(shard.shard.0))
}
