//! The second half of a shard: deliver → save.

use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::OptionFuture;
use futures_util::stream::FuturesOrdered;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, warn};

use super::{Place, Right, Shard};
use crate::budget::Credit;
use crate::event::Batch;
use crate::ledger::Settled;
use crate::model::Cursor;
use crate::sink::{Outcome, Rejected, Sink};
use crate::source::{Checkpoint, Source, SourceError};

/// Batches of one shard that may be in flight. The byte budget is the real bound; this one keeps many small pages from
/// piling up behind one slow request.
const MOST_IN_FLIGHT: usize = 32;

/// What the first half sends.
pub(super) enum Flow {
    /// A batch, with the bytes of the budget that it holds.
    Batch(Arc<Batch>, Credit),
    /// There is nothing new in the shard.
    Idle,
}

/// What can happen to the second half.
enum Event {
    Finished(Arc<Batch>, Outcome),
    Saved(Cursor, Result<(), SaveFault>),
    Flow(Option<Flow>),
    SaveDue,
}

/// Why a checkpoint was not saved.
enum SaveFault {
    Lost,
    Moved,
    /// It may or may not have been saved; or it was refused for the time being.
    Unknown(SourceError),
}

impl<S: Source, K: Sink> Shard<S, K> {
    /// Delivers what comes out of the slot, and saves the end of what is durable.
    pub(super) async fn run_behind(&self, place: Place, mut batches: mpsc::Receiver<Flow>) -> Right {
        let mut in_flight = FuturesOrdered::new();
        let mut saving = pin!(OptionFuture::default());
        let mut is_saving = false;
        let mut marks = Marks::new(place);
        let mut trouble = self.trouble("save the checkpoint");
        let mut open = true;
        let mut halted = false;
        loop {
            let quiet = in_flight.is_empty();
            if quiet && marks.idle {
                self.account.caught_up();
            }
            if !open && quiet && !is_saving && marks.is_saved() {
                return if halted { Right::Halted } else { Right::Drained };
            }
            // In a hurry when nothing else is to come: at the end of the shard, at a hand-over, at a stop.
            let due = marks.save_due(quiet && (marks.idle || !open), self.parts.pace.save_interval);
            let event = tokio::select! {
                biased;
                Some((batch, outcome)) = in_flight.next(), if !quiet => Event::Finished(batch, outcome),
                Some((cursor, saved)) = &mut saving, if is_saving => Event::Saved(cursor, saved),
                flow = batches.recv(), if open && in_flight.len() < MOST_IN_FLIGHT => Event::Flow(flow),
                () = sleep_until(due), if !is_saving && !marks.is_saved() => Event::SaveDue,
            };
            match event {
                Event::Finished(batch, Outcome::Done(rejected)) if rejected.is_empty() => {
                    self.settle(&batch);
                    marks.durable = batch.earns().clone();
                }
                Event::Finished(batch, Outcome::Done(rejected)) => {
                    self.halt_rejected(&batch, &rejected);
                    halted = true;
                    open = false;
                    batches.close();
                    in_flight = FuturesOrdered::new();
                }
                Event::Finished(_, Outcome::Abandoned) => {
                    self.tenure.ended().await;
                    return Right::Lost;
                }
                Event::Flow(Some(Flow::Batch(batch, credit))) => {
                    marks.idle = false;
                    in_flight.push_back(self.deliver(batch, credit));
                }
                Event::Flow(Some(Flow::Idle)) => marks.idle = true,
                Event::Flow(None) => open = false,
                Event::SaveDue => {
                    let cursor = marks.durable.clone();
                    let expected = [marks.saved.clone(), marks.attempted.replace(cursor.clone())];
                    saving.set(Some(self.save(cursor, expected)).into());
                    is_saving = true;
                }
                Event::Saved(cursor, saved) => {
                    is_saving = false;
                    saving.set(OptionFuture::default());
                    let now = Instant::now();
                    match saved {
                        Ok(()) => {
                            trouble.over();
                            self.account.saved();
                            debug!(shard = %self.id, %cursor, "checkpoint saved");
                            marks.saved = Some(cursor);
                            marks.attempted = None;
                            marks.saved_at = Some(now);
                        }
                        Err(SaveFault::Lost) => return Right::Lost,
                        Err(SaveFault::Moved) => return Right::Moved,
                        Err(SaveFault::Unknown(fault)) => marks.not_before = now + trouble.next(&fault, now),
                    }
                }
            }
        }
    }

    async fn deliver(&self, batch: Arc<Batch>, credit: Credit) -> (Arc<Batch>, Outcome) {
        let outcome = if batch.events.is_empty() {
            Outcome::Done(Vec::new())
        } else {
            self.parts.sink.deliver(Arc::clone(&batch), self.tenure.clone()).await
        };
        drop(credit);
        (batch, outcome)
    }

    /// Saves `cursor`, unless the checkpoint is something that we did not write: neither of `expected`.
    async fn save(&self, cursor: Cursor, expected: [Option<Cursor>; 2]) -> (Cursor, Result<(), SaveFault>) {
        if !self.tenure.holds() {
            self.tenure.ended().await;
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
            self.tenure.ended().await;
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

    fn settle(&self, batch: &Batch) {
        let settled = Settled {
            delivered: batch.logs - batch.dropped,
            dropped: batch.dropped,
            dead_lettered: 0,
            events: u32::try_from(batch.events.len()).unwrap_or(u32::MAX),
        };
        self.account.settled(settled, batch.page.received_at);
    }

    fn halt_rejected(&self, batch: &Batch, rejected: &[Rejected]) {
        let mut logs: Vec<u32> = rejected.iter().map(|event| batch.events.log_of(event.event)).collect();
        logs.dedup();
        let first = &rejected[0];
        let why = format!(
            "the destination refuses log {} of the page at {} for good ({}: {})",
            logs[0], batch.page.cursor, first.code, first.reason
        );
        self.halt(u32::try_from(logs.len()).unwrap_or(u32::MAX), why);
    }
}

/// How far the shard has come.
struct Marks {
    /// Everything before it is durable.
    durable: Cursor,
    /// The checkpoint, as far as we know.
    saved: Option<Cursor>,
    /// What a save of unknown outcome tried to write.
    attempted: Option<Cursor>,
    saved_at: Option<Instant>,
    /// No save before then: the last one failed.
    not_before: Instant,
    /// The shard had nothing new when it was last asked.
    idle: bool,
}

impl Marks {
    fn new(place: Place) -> Self {
        Self {
            durable: place.cursor,
            saved: place.saved,
            attempted: None,
            saved_at: None,
            not_before: Instant::now(),
            idle: false,
        }
    }

    fn is_saved(&self) -> bool {
        self.saved.as_ref() == Some(&self.durable)
    }

    fn save_due(&self, hurry: bool, interval: std::time::Duration) -> Instant {
        match self.saved_at {
            Some(at) if !hurry => self.not_before.max(at + interval),
            _ => self.not_before,
        }
    }
}
