//! The deliverer of a shard: deliver → save.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, PoisonError};

use futures_util::StreamExt as _;
use futures_util::future::{OptionFuture, join_all};
use futures_util::stream::FuturesOrdered;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, error, warn};

use super::checkpoint::CheckpointState;
use super::dead_letters::{OnReject, RejectedEvent, logs_of};
use super::in_flight::{FromReader, InFlight};
use super::{DelivererEnd, PAUSED_RETRY_INTERVAL, Route, Shard, StartPoint};
use crate::core::batch::{Batch, Events, Output};
use crate::core::cause::{Cause, Retry};
use crate::core::cursor::Cursor;
use crate::core::ledger::{Ask, Settled, Wait};
use crate::core::source::{Checkpoint, Source, SourceError};
use crate::destination::{Destination, Outcome, called};
use crate::script::Failed;

/// Batches of one shard that may be in flight. The byte budget is the real bound; this one keeps small pages from piling up
/// without end. A shard that is pulled once a second gets on while each waits minutes for a proof of its delivery.
const MOST_IN_FLIGHT: usize = 512;

/// How the way of a batch ended.
enum Finished {
    /// Every log is delivered, dropped, or on disk.
    Durable(Settled),
    /// The destination refuses events for good, and the settings want the shard halted then.
    Rejected(Vec<RejectedEvent>),
    /// It was paused, and the shard was asked to stop.
    GivenUp,
    /// The tenure ended first.
    Abandoned,
}

/// What can happen to the deliverer.
enum DelivererEvent {
    Finished(Arc<Batch>, Finished),
    Saved(Cursor, Result<(), SaveFault>),
    FromReader(Option<FromReader>),
    /// A batch was paused, or goes on.
    PauseChanged,
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
    /// Delivers what comes from the reader, and saves the end of what is durable.
    pub(super) async fn run_deliverer(
        &self,
        start: StartPoint,
        mut batches: mpsc::Receiver<FromReader>,
    ) -> DelivererEnd {
        let mut in_flight = FuturesOrdered::new();
        let mut saving = pin!(OptionFuture::default());
        let mut is_saving = false;
        let mut checkpoint = CheckpointState::new(start, Instant::now());
        let mut save_log = self.retry_log("save the checkpoint");
        let mut paused = self.paused.subscribe();
        let (mut open, mut idle, mut halted) = (true, false, false);
        loop {
            let quiet = in_flight.is_empty();
            if quiet && idle {
                self.account.caught_up();
            }
            if !open && quiet && !is_saving && checkpoint.is_saved() {
                return if halted { DelivererEnd::Halted } else { DelivererEnd::Drained };
            }
            // In a hurry when nothing else is to come: at the end of the shard, at a hand-over, at a stop.
            let due = checkpoint.save_due(quiet && (idle || !open), self.pipeline.pace.save_interval);
            // What would be sent behind a batch that is paused would be sent again after a restart.
            let takes_more = open && in_flight.len() < MOST_IN_FLIGHT && *paused.borrow_and_update() == 0;
            let event = tokio::select! {
                biased;
                Some((batch, finished)) = in_flight.next(), if !quiet => DelivererEvent::Finished(batch, finished),
                Some((cursor, saved)) = &mut saving, if is_saving => DelivererEvent::Saved(cursor, saved),
                _ = paused.changed() => DelivererEvent::PauseChanged,
                sent = batches.recv(), if takes_more => DelivererEvent::FromReader(sent),
                () = sleep_until(due), if !is_saving => DelivererEvent::SaveDue,
            };
            match event {
                DelivererEvent::Finished(batch, finished) => {
                    match finished {
                        Finished::Durable(settled) => match checkpoint.advance(batch.interval()) {
                            Ok(()) => {
                                self.account.settled(settled, batch.received_at());
                                self.account.stands_at(checkpoint.durable().clone());
                                continue;
                            }
                            Err(skipped) => self.halt(batch.logs, format!("BUG, please report it: {skipped}")),
                        },
                        Finished::Rejected(rejected) => self.halt_rejected(&batch, &rejected),
                        Finished::GivenUp => {}
                        Finished::Abandoned => return DelivererEnd::Lost,
                    }
                    // Nothing behind this batch may be delivered or saved.
                    halted = true;
                    open = false;
                    batches.close();
                    in_flight = FuturesOrdered::new();
                }
                DelivererEvent::FromReader(Some(FromReader::Batch(batch))) => {
                    idle = false;
                    in_flight.push_back(self.deliver(batch));
                }
                DelivererEvent::FromReader(Some(FromReader::Idle)) => idle = true,
                DelivererEvent::FromReader(None) => open = false,
                DelivererEvent::PauseChanged => {}
                DelivererEvent::SaveDue => {
                    saving.set(Some(self.save(checkpoint.durable().clone(), checkpoint.expected())).into());
                    is_saving = true;
                }
                DelivererEvent::Saved(cursor, saved) => {
                    is_saving = false;
                    saving.set(OptionFuture::default());
                    let now = Instant::now();
                    match saved {
                        Ok(()) => {
                            save_log.recovered();
                            self.account.works(Ask::Save);
                            if checkpoint.on_saved(cursor, now) {
                                self.account.saved();
                                debug!(shard = %self.name, "checkpoint saved");
                            }
                        }
                        Err(SaveFault::Lost) => return DelivererEnd::Lost,
                        Err(SaveFault::Moved) => return DelivererEnd::Moved,
                        Err(SaveFault::Unknown(error)) => {
                            self.account.fails(Ask::Save, &error, now);
                            let pause = save_log.next(error.cause(), error.retry(), now);
                            checkpoint.on_unknown(cursor, now + pause);
                        }
                    }
                }
            }
        }
    }

    async fn deliver(&self, in_flight: InFlight) -> (Arc<Batch>, Finished) {
        let InFlight { batch, script, dead_letters, room } = in_flight;
        let finished = self.finish(&batch, &script, &dead_letters).await;
        drop(room);
        (batch, finished)
    }

    /// Brings every log of the batch to its end: its events are durable, or its dead letter is.
    async fn finish(&self, batch: &Arc<Batch>, script: &str, failed: &[Failed]) -> Finished {
        let Some(rejected) = self.send(&batch.outputs).await else { return Finished::Abandoned };
        let halts = |event: &RejectedEvent| self.pipeline.destinations[event.output].on_reject == OnReject::Halt;
        if rejected.iter().any(halts) {
            return Finished::Rejected(rejected.into_iter().filter(halts).collect());
        }
        let rejected = match self.admit(batch, rejected).await {
            Ok(rejected) => rejected,
            Err(finished) => return finished,
        };
        let records = self.records(batch, script, failed, &rejected);
        if self.keep(records).await.is_none() {
            return Finished::GivenUp;
        }
        self.count_events(batch, &rejected);
        let dead_lettered = u32::try_from(failed.len()).unwrap_or(u32::MAX) + logs_of(batch, &rejected);
        Finished::Durable(Settled {
            delivered: batch.logs - batch.dropped - dead_lettered,
            dropped: batch.dropped,
            dead_lettered,
            events: u32::try_from(batch.events() - rejected.len()).unwrap_or(u32::MAX),
        })
    }

    /// Delivers every output to its destination, side by side; returns the events that will never be taken. `None`: the
    /// tenure ended first.
    async fn send(&self, outputs: &[Arc<Output>]) -> Option<Vec<RejectedEvent>> {
        let deliver = async |(number, output): (usize, &Arc<Output>)| {
            if output.events.is_empty() {
                return Some(Vec::new());
            }
            let Route { destination, account, .. } = &self.pipeline.destinations[number];
            let _in_flight = account.sends(output.events.len());
            match destination.deliver(Arc::clone(output), self.tenure.clone()).await {
                Outcome::Abandoned => None,
                Outcome::Done(rejected) => {
                    Some(rejected.into_iter().map(|rejected| RejectedEvent { output: number, rejected }).collect())
                }
            }
        };
        let delivered = join_all(outputs.iter().enumerate().map(deliver)).await;
        let rejected: Option<Vec<Vec<RejectedEvent>>> = delivered.into_iter().collect();
        rejected.map(|rejected| rejected.concat())
    }

    /// Counts what became of the events of a batch, for each destination.
    fn count_events(&self, batch: &Batch, rejected: &[RejectedEvent]) {
        for (number, output) in batch.outputs.iter().enumerate() {
            let refused = rejected.iter().filter(|event| event.output == number).count();
            self.pipeline.destinations[number].account.settled(output.events.len() - refused, refused);
        }
    }

    /// Waits until no more of the shard would become dead letters than may. Meanwhile the events that were refused are
    /// sent again now and then; returns those that still are.
    async fn admit(&self, batch: &Batch, mut rejected: Vec<RejectedEvent>) -> Result<Vec<RejectedEvent>, Finished> {
        let mut retry_log = self.retry_log("go past events that the destination refuses");
        let mut paused = None;
        loop {
            let now = Instant::now();
            let verdict = {
                let mut breaker = self.rejects.lock().unwrap_or_else(PoisonError::into_inner);
                breaker.admit(now, batch.logs, logs_of(batch, &rejected))
            };
            let Err(excess) = verdict else {
                retry_log.recovered();
                self.account.goes_on(Wait::Destination);
                return Ok(rejected);
            };
            paused.get_or_insert_with(|| self.pause());
            let (first, who) = (&rejected[0].rejected, self.called(rejected[0].output));
            let why = format!(
                "{who} refuses events of {excess}, too many for dead letters; the checkpoint is not moved, and \
                 they are sent again every {PAUSED_RETRY_INTERVAL:?}; the first: {}",
                first.code
            );
            let cause = Cause::new(format!("{why}: {}", first.reason));
            self.account.waits(Wait::Destination, why);
            retry_log.next(&cause, Retry::AfterChange, now);
            if self.stop.or(sleep(PAUSED_RETRY_INTERVAL)).await.is_none() {
                return Err(Finished::GivenUp);
            }
            let (outputs, sent) = only(batch, &rejected);
            let still = self.send(&outputs).await.ok_or(Finished::Abandoned)?;
            rejected = still.into_iter().map(|again| again.of(&sent)).collect();
        }
    }

    /// Saves `cursor`, unless the checkpoint is something that we did not write: none of `expected`.
    async fn save(&self, cursor: Cursor, expected: Vec<Option<Cursor>>) -> (Cursor, Result<(), SaveFault>) {
        if !self.tenure.holds() {
            return (cursor, Err(SaveFault::Lost));
        }
        let found = match self.pipeline.source.checkpoint(self.id).await {
            Ok(found) => found,
            Err(SourceError::Lost(_)) => return (cursor, Err(SaveFault::Lost)),
            Err(fault) => return (cursor, Err(SaveFault::Unknown(fault))),
        };
        let found_cursor = found.as_ref().map(|checkpoint| checkpoint.cursor.clone());
        if found_cursor.as_ref() == Some(&cursor) {
            return (cursor, Ok(()));
        }
        // A group that was deleted and made anew has none: it gets what this process holds.
        if found.is_some() && !expected.contains(&found_cursor) {
            self.say_moved(found.as_ref(), &cursor);
            return (cursor, Err(SaveFault::Moved));
        }
        if !self.tenure.holds() {
            return (cursor, Err(SaveFault::Lost));
        }
        let saved = match self.pipeline.source.save(self.id, &cursor).await {
            Ok(()) => Ok(()),
            Err(SourceError::Lost(cause)) => {
                warn!(shard = %self.name, %cause, "checkpoint refused, the shard is lost");
                Err(SaveFault::Lost)
            }
            Err(fault) => Err(SaveFault::Unknown(fault)),
        };
        (cursor, saved)
    }

    /// Somebody else changed the checkpoint while the shard is ours: an operator, or a twin.
    fn say_moved(&self, found: Option<&Checkpoint>, ours: &Cursor) {
        let at = found.map_or_else(|| "none".to_owned(), |checkpoint| checkpoint.cursor.when());
        let (ours, cursor) = (ours.when(), found.map_or("", |checkpoint| checkpoint.cursor.as_str()));
        debug!(shard = %self.name, cursor, "the checkpoint is another one");
        let by = found.map_or("", |checkpoint| checkpoint.consumer.as_str());
        if by == self.pipeline.source.consumer() {
            error!(
                shard = %self.name, found = at, ours, consumer = by,
                "another process uses the same consumer name, and both deliver the same logs: give each process its own name (sls.consumer); going on from the checkpoint found"
            );
        } else {
            warn!(
                shard = %self.name, found = at, ours, by,
                "the checkpoint was changed from outside: going on from there"
            );
        }
    }

    /// The destination of an output, for people.
    fn called(&self, output: usize) -> String {
        let all = &self.pipeline.destinations;
        called(&all[output].name, all.len() == 1)
    }

    fn halt_rejected(&self, batch: &Batch, rejected: &[RejectedEvent]) {
        let log = rejected[0].log(batch);
        let first = &rejected[0].rejected;
        let who = self.called(rejected[0].output);
        warn!(shard = %self.name, log, code = first.code, reason = first.reason, "{who} refuses a log for good");
        // Its words may quote the log: they are for the log of the program and for dead letters, not for the status.
        let why =
            format!("{who} refuses log {log} of the page at {} for good ({})", batch.page.cursor.when(), first.code);
        self.halt(logs_of(batch, rejected), why);
    }
}

/// Outputs of these events alone, and for each output the numbers that its events have in the batch.
fn only(batch: &Batch, rejected: &[RejectedEvent]) -> (Vec<Arc<Output>>, Vec<Vec<usize>>) {
    let outputs = batch.outputs.iter().enumerate().map(|(number, output)| {
        let (mut events, mut sent) = (Events::default(), Vec::new());
        for RejectedEvent { rejected, .. } in rejected.iter().filter(|event| event.output == number) {
            let bytes = output.events.get(rejected.event);
            let Ok(()) = events.push(output.events.log_of(rejected.event), |out| {
                out.extend_from_slice(bytes);
                Ok::<(), Infallible>(())
            });
            sent.push(rejected.event);
        }
        (Arc::new(Output { shard: output.shard, events }), sent)
    });
    outputs.unzip()
}
