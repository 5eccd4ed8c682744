//! The second half of a shard: deliver → save.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::OptionFuture;
use futures_util::stream::FuturesOrdered;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, error, warn};

use super::dead_letters::logs_of;
use super::{DelivererEnd, OnReject, PAUSED_RETRY_INTERVAL, Shard, StartPoint};
use crate::core::batch::{Batch, Events};
use crate::core::budget::Credit;
use crate::core::cause::Cause;
use crate::core::cursor::Cursor;
use crate::core::ledger::{Settled, Wait};
use crate::core::source::{Checkpoint, Source, SourceError};
use crate::destination::{Destination, Outcome, Rejected};
use crate::script::Failed;

/// Batches of one shard that may be in flight. The byte budget is the real bound; this one keeps many small pages from
/// piling up behind one slow request.
const MOST_IN_FLIGHT: usize = 32;

/// How often the checkpoint is looked at while there is nothing to save: an operator may have set it elsewhere, or a twin
/// may be at work.
const CHECKPOINT_CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Saves of unknown outcome that are remembered.
const MOST_ATTEMPTED: usize = 32;

/// What the first half sends.
pub(super) enum FromReader {
    /// The next of the shard.
    Batch(Parcel),
    /// There is nothing new in the shard.
    Idle,
}

/// A page on its way to its end.
pub(super) struct Parcel {
    /// What to deliver.
    pub(super) batch: Arc<Batch>,
    /// Version of the script that made it; another may be in force by now.
    pub(super) script: String,
    /// Logs that the script failed on, which are to become dead letters.
    pub(super) failed: Vec<Failed>,
    /// The bytes of the budget that it holds.
    pub(super) credit: Credit,
}

/// How the way of a batch ended.
enum Finished {
    /// Every log is delivered, dropped, or on disk.
    Durable(Settled),
    /// The destination refuses events for good, and the settings want the shard to stand still then.
    Rejected(Vec<Rejected>),
    /// It was held and the shard was asked to stop.
    GivenUp,
    /// The tenure ended first.
    Abandoned,
}

/// What can happen to the second half.
enum DelivererEvent {
    Finished(Arc<Batch>, Finished),
    Saved(Cursor, Result<(), SaveFault>),
    FromReader(Option<FromReader>),
    SaveDue,
}

/// Why a checkpoint was not saved.
enum SaveFault {
    Lost,
    Moved,
    /// It may or may not have been saved; or it was refused for the time being.
    Unknown(SourceError),
}

impl<S: Source, K: Destination> Shard<S, K> {
    /// Delivers what comes out of the slot, and saves the end of what is durable.
    pub(super) async fn run_behind(&self, place: StartPoint, mut batches: mpsc::Receiver<FromReader>) -> DelivererEnd {
        let mut in_flight = FuturesOrdered::new();
        let mut saving = pin!(OptionFuture::default());
        let mut is_saving = false;
        let mut marks = CheckpointState::new(place);
        let mut trouble = self.trouble("save the checkpoint");
        let mut open = true;
        let mut halted = false;
        loop {
            let quiet = in_flight.is_empty();
            if quiet && marks.idle {
                self.account.caught_up();
            }
            if !open && quiet && !is_saving && marks.is_saved() {
                return if halted { DelivererEnd::Halted } else { DelivererEnd::Drained };
            }
            // In a hurry when nothing else is to come: at the end of the shard, at a hand-over, at a stop.
            let due = marks.save_due(quiet && (marks.idle || !open), self.parts.pace.save_interval);
            let event = tokio::select! {
                biased;
                Some((batch, finished)) = in_flight.next(), if !quiet => DelivererEvent::Finished(batch, finished),
                Some((cursor, saved)) = &mut saving, if is_saving => DelivererEvent::Saved(cursor, saved),
                flow = batches.recv(), if open && in_flight.len() < MOST_IN_FLIGHT => DelivererEvent::FromReader(flow),
                () = sleep_until(due), if !is_saving => DelivererEvent::SaveDue,
            };
            match event {
                DelivererEvent::Finished(batch, Finished::Durable(settled)) => {
                    self.account.settled(settled, batch.page.received_at);
                    marks.durable = batch.earns().clone();
                }
                DelivererEvent::Finished(batch, held @ (Finished::Rejected(_) | Finished::GivenUp)) => {
                    if let Finished::Rejected(rejected) = held {
                        self.halt_rejected(&batch, &rejected);
                    }
                    halted = true;
                    open = false;
                    batches.close();
                    in_flight = FuturesOrdered::new();
                }
                DelivererEvent::Finished(_, Finished::Abandoned) => return DelivererEnd::Lost,
                DelivererEvent::FromReader(Some(FromReader::Batch(parcel))) => {
                    marks.idle = false;
                    in_flight.push_back(self.deliver(parcel));
                }
                DelivererEvent::FromReader(Some(FromReader::Idle)) => marks.idle = true,
                DelivererEvent::FromReader(None) => open = false,
                DelivererEvent::SaveDue => {
                    saving.set(Some(self.save(marks.durable.clone(), marks.expected())).into());
                    is_saving = true;
                }
                DelivererEvent::Saved(cursor, saved) => {
                    is_saving = false;
                    saving.set(OptionFuture::default());
                    let now = Instant::now();
                    match saved {
                        Ok(()) => {
                            trouble.over();
                            if marks.saved.as_ref() != Some(&cursor) {
                                self.account.saved();
                                debug!(shard = %self.id, %cursor, "checkpoint saved");
                            }
                            marks.saved = Some(cursor);
                            marks.saved_at = Some(now);
                        }
                        Err(SaveFault::Lost) => return DelivererEnd::Lost,
                        Err(SaveFault::Moved) => return DelivererEnd::Moved,
                        Err(SaveFault::Unknown(fault)) => {
                            marks.attempted(cursor);
                            marks.not_before = now + trouble.next(&fault, now);
                        }
                    }
                }
            }
        }
    }

    async fn deliver(&self, parcel: Parcel) -> (Arc<Batch>, Finished) {
        let Parcel { batch, script, failed, credit } = parcel;
        let finished = self.finish(&batch, &script, &failed).await;
        drop(credit);
        (batch, finished)
    }

    /// Brings every log of the batch to its end: its events are durable, or its dead letter is.
    async fn finish(&self, batch: &Arc<Batch>, script: &str, failed: &[Failed]) -> Finished {
        let rejected = match self.send(batch).await {
            Outcome::Abandoned => return Finished::Abandoned,
            Outcome::Done(rejected) => rejected,
        };
        if !rejected.is_empty() && self.parts.letters.on_reject == OnReject::Halt {
            return Finished::Rejected(rejected);
        }
        let rejected = match self.admit(batch, rejected).await {
            Ok(rejected) => rejected,
            Err(finished) => return finished,
        };
        let records = self.records(batch, script, failed, &rejected);
        if self.keep(records).await.is_none() {
            return Finished::GivenUp;
        }
        let dead_lettered = u32::try_from(failed.len()).unwrap_or(u32::MAX) + logs_of(batch, &rejected);
        Finished::Durable(Settled {
            delivered: batch.logs - batch.dropped - dead_lettered,
            dropped: batch.dropped,
            dead_lettered,
            events: u32::try_from(batch.events.len() - rejected.len()).unwrap_or(u32::MAX),
        })
    }

    async fn send(&self, batch: &Arc<Batch>) -> Outcome {
        if batch.events.is_empty() {
            return Outcome::Done(Vec::new());
        }
        self.parts.sink.deliver(Arc::clone(batch), self.tenure.clone()).await
    }

    /// Waits until no more of the shard would become dead letters than may. Meanwhile the events that were refused are
    /// sent again now and then; returns those that still are.
    async fn admit(&self, batch: &Batch, mut rejected: Vec<Rejected>) -> Result<Vec<Rejected>, Finished> {
        let mut trouble = self.trouble("go past events that the destination refuses");
        loop {
            let now = Instant::now();
            let verdict = {
                let mut breaker = self.rejects.lock().unwrap_or_else(PoisonError::into_inner);
                breaker.admit(now, batch.logs, logs_of(batch, &rejected))
            };
            let Err(excess) = verdict else {
                trouble.over();
                self.account.goes_on(Wait::Destination);
                return Ok(rejected);
            };
            let first = &rejected[0];
            let why = format!(
                "the destination refuses events of {excess}, too many for dead letters; the position is held and they \
                 are sent again every {PAUSED_RETRY_INTERVAL:?}; the first: {}: {}",
                first.code, first.reason
            );
            self.account.waits(Wait::Destination, why.clone());
            let _ = trouble.next(&SourceError::Refused(Cause::new(why)), now);
            if self.stop.or(sleep(PAUSED_RETRY_INTERVAL)).await.is_none() {
                return Err(Finished::GivenUp);
            }
            rejected = match self.send(&Arc::new(only(batch, &rejected))).await {
                Outcome::Abandoned => return Err(Finished::Abandoned),
                Outcome::Done(still) => {
                    still.into_iter().map(|again| Rejected { event: rejected[again.event].event, ..again }).collect()
                }
            };
        }
    }

    /// Saves `cursor`, unless the checkpoint is something that we did not write: none of `expected`.
    async fn save(&self, cursor: Cursor, expected: Vec<Option<Cursor>>) -> (Cursor, Result<(), SaveFault>) {
        if !self.tenure.holds() {
            return (cursor, Err(SaveFault::Lost));
        }
        let found = match self.parts.source.checkpoint(self.id).await {
            Ok(found) => found,
            Err(SourceError::Lost(_)) => return (cursor, Err(SaveFault::Lost)),
            Err(fault) => return (cursor, Err(SaveFault::Unknown(fault))),
        };
        let found_cursor = found.as_ref().map(|checkpoint| checkpoint.cursor.clone());
        if found_cursor.as_ref() == Some(&cursor) {
            return (cursor, Ok(()));
        }
        if !expected.contains(&found_cursor) {
            self.say_moved(found.as_ref(), &cursor);
            return (cursor, Err(SaveFault::Moved));
        }
        if !self.tenure.holds() {
            return (cursor, Err(SaveFault::Lost));
        }
        let saved = match self.parts.source.save(self.id, &cursor).await {
            Ok(()) => Ok(()),
            Err(SourceError::Lost(cause)) => {
                warn!(shard = %self.id, %cause, "checkpoint refused, the shard is lost");
                Err(SaveFault::Lost)
            }
            Err(fault) => Err(SaveFault::Unknown(fault)),
        };
        (cursor, saved)
    }

    /// Somebody else changed the checkpoint while the shard is ours: an operator, or a twin.
    fn say_moved(&self, found: Option<&Checkpoint>, ours: &Cursor) {
        let found_cursor = found.map_or("none", |checkpoint| checkpoint.cursor.as_str());
        let by = found.map_or("", |checkpoint| checkpoint.consumer.as_str());
        if by == self.parts.source.consumer() {
            error!(
                shard = %self.id, found = %found_cursor, %ours, consumer = by,
                "another process uses our consumer name, and both deliver the same logs: give each a name of its own \
                 (sls.consumer); going on from the checkpoint found"
            );
        } else {
            warn!(
                shard = %self.id, found = %found_cursor, %ours, by,
                "somebody else changed the checkpoint: going on from there"
            );
        }
    }

    fn halt_rejected(&self, batch: &Batch, rejected: &[Rejected]) {
        let first = &rejected[0];
        let why = format!(
            "the destination refuses log {} of the page at {} for good ({}: {})",
            batch.events.log_of(first.event),
            batch.page.cursor,
            first.code,
            first.reason
        );
        self.halt(logs_of(batch, rejected), why);
    }
}

/// A batch of these events alone.
fn only(batch: &Batch, rejected: &[Rejected]) -> Batch {
    let mut events = Events::default();
    for event in rejected {
        let bytes = batch.events.get(event.event);
        let Ok(()) = events.push(batch.events.log_of(event.event), |out| {
            out.extend_from_slice(bytes);
            Ok::<(), Infallible>(())
        });
    }
    Batch { page: batch.page.clone(), events, logs: batch.logs, dropped: batch.dropped }
}

/// How far the shard has come.
struct CheckpointState {
    /// Everything before it is durable.
    durable: Cursor,
    /// The checkpoint, as far as we know.
    saved: Option<Cursor>,
    /// What saves of unknown outcome tried to write, oldest first. A request may arrive long after nobody waits for it:
    /// all of these are ours, and behind what is durable.
    attempted: Vec<Cursor>,
    began: Instant,
    /// When the checkpoint was last saved, or found to be what we saved.
    saved_at: Option<Instant>,
    /// No save before then: the last one failed.
    not_before: Instant,
    /// The shard had nothing new when it was last asked.
    idle: bool,
}

impl CheckpointState {
    fn new(place: StartPoint) -> Self {
        let now = Instant::now();
        Self {
            durable: place.cursor,
            saved: place.saved,
            attempted: Vec::new(),
            began: now,
            saved_at: None,
            not_before: now,
            idle: false,
        }
    }

    /// What the checkpoint can be if nobody else touched it.
    fn expected(&self) -> Vec<Option<Cursor>> {
        std::iter::once(self.saved.clone()).chain(self.attempted.iter().cloned().map(Some)).collect()
    }

    /// A save came to no known end.
    fn attempted(&mut self, cursor: Cursor) {
        if self.attempted.contains(&cursor) {
            return;
        }
        if self.attempted.len() == MOST_ATTEMPTED {
            self.attempted.remove(0);
        }
        self.attempted.push(cursor);
    }

    fn is_saved(&self) -> bool {
        self.saved.as_ref() == Some(&self.durable)
    }

    fn save_due(&self, hurry: bool, interval: Duration) -> Instant {
        if self.is_saved() {
            return self.not_before.max(self.saved_at.unwrap_or(self.began) + CHECKPOINT_CHECK_INTERVAL);
        }
        match self.saved_at {
            Some(at) if !hurry => self.not_before.max(at + interval),
            _ => self.not_before,
        }
    }
}
