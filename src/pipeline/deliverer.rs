//! The deliverer of a shard: deliver → save.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{OptionFuture, join_all};
use futures_util::stream::FuturesOrdered;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, error, warn};

use super::checkpoint::CheckpointState;
use super::dead_letters::{UndeliveredEvent, logs_of};
use super::in_flight::{FromReader, InFlight};
use super::isolation::{Missing, WaitLimits};
use super::letter_turn::{Earlier, LetterTurn};
use super::{DelivererEnd, OnReject, PAUSED_RETRY_INTERVAL, Route, Shard, StartPoint};
use crate::core::batch::{Batch, Events};
use crate::core::cause::{Cause, Retry};
use crate::core::cursor::{Cursor, Interval};
use crate::core::drop_reasons::DropReasons;
use crate::core::ledger::{Ask, Settled, Wait};
use crate::core::pending_output::PendingOutput;
use crate::core::source::{Checkpoint, Source, SourceError};
use crate::dead_letter::Reason;
use crate::destination::{Destination, Health, Outcome, called};
use crate::script::Failed;

/// Batches of one shard that may be in flight. The byte budget is the real limit; this one bounds the number of small
/// pages. A shard that is pulled once a second makes progress even if each batch waits minutes for its proof of
/// delivery.
const MAX_IN_FLIGHT: usize = 512;

/// How the delivery of a batch ended.
enum Finished {
    /// Every log is delivered, dropped, or on disk.
    Durable(Durable),
    /// The destination refuses events for good, and the settings halt the shard then.
    Rejected(Arc<Batch>, Vec<UndeliveredEvent>),
    /// The batch was paused, and the shard was asked to stop.
    GivenUp,
    /// The tenure ended first.
    Abandoned,
}

/// What remains of a batch when it is durable. The batch itself takes no memory any more, although the checkpoint may
/// have to wait for earlier batches.
struct Durable {
    interval: Interval,
    settled: Settled,
    logs: u32,
    received_at: Option<i64>,
    drop_reasons: DropReasons,
}

/// The results of the outputs of a batch.
struct Sent<'a> {
    /// Events that a destination refuses for good.
    rejected: Vec<UndeliveredEvent>,
    /// Outputs that become dead letters, because their isolated destination is down.
    missing: Vec<(usize, Missing<'a>)>,
}

/// Events that the deliverer waits for.
enum DelivererEvent {
    Finished(Finished),
    Saved(Cursor, Result<(), SaveFault>),
    FromReader(Option<FromReader>),
    /// A batch was paused or resumed.
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
    /// Delivers the batches of the reader, and saves the end of the durable prefix.
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
        let mut earlier = Earlier::default();
        loop {
            let quiet = in_flight.is_empty();
            if quiet && idle {
                self.account.caught_up();
            }
            if !open && quiet && !is_saving && checkpoint.is_saved() {
                return if halted { DelivererEnd::Halted } else { DelivererEnd::Drained };
            }
            // Saves at once if no more batches are expected: at the end of the shard, at a hand-over, at a stop.
            let due = checkpoint.save_due(quiet && (idle || !open), self.pipeline.pace.save_interval);
            // Batches sent after a paused one would be sent again after a restart.
            let takes_more = open && in_flight.len() < MAX_IN_FLIGHT && *paused.borrow_and_update() == 0;
            let event = tokio::select! {
                biased;
                Some(finished) = in_flight.next(), if !quiet => DelivererEvent::Finished(finished),
                Some((cursor, saved)) = &mut saving, if is_saving => DelivererEvent::Saved(cursor, saved),
                _ = paused.changed() => DelivererEvent::PauseChanged,
                sent = batches.recv(), if takes_more => DelivererEvent::FromReader(sent),
                () = sleep_until(due), if !is_saving => DelivererEvent::SaveDue,
            };
            match event {
                DelivererEvent::Finished(finished) => {
                    match finished {
                        Finished::Durable(durable) => match checkpoint.advance(durable.interval) {
                            Ok(()) => {
                                self.account.settled(durable.settled, durable.received_at);
                                self.account.dropped_for(&durable.drop_reasons);
                                self.stands_at(checkpoint.durable());
                                continue;
                            }
                            Err(skipped) => self.halt(durable.logs, format!("BUG, please report it: {skipped}")),
                        },
                        Finished::Rejected(batch, rejected) => self.halt_rejected(&batch, &rejected),
                        Finished::GivenUp => {}
                        Finished::Abandoned => return DelivererEnd::Lost,
                    }
                    // No later batch may be delivered or saved.
                    halted = true;
                    open = false;
                    batches.close();
                    in_flight = FuturesOrdered::new();
                }
                DelivererEvent::FromReader(Some(FromReader::Batch(batch))) => {
                    idle = false;
                    in_flight.push_back(self.deliver(batch, LetterTurn::next(&mut earlier)));
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

    /// Records the time from the receipt of the logs by SLS until now.
    fn time(&self, batch: &Batch) {
        let Some(received_at) = batch.page.received_at else { return };
        let seconds = u64::try_from(jiff::Timestamp::now().as_second() - received_at).unwrap_or(0);
        self.account.timings.end_to_end.observe(Duration::from_secs(seconds), u64::from(batch.logs));
    }

    /// Delivers a batch, and frees its memory.
    async fn deliver(&self, in_flight: InFlight, turn: LetterTurn) -> Finished {
        let InFlight { batch, script, dead_letters, room } = in_flight;
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let finished = self.finish(&batch, &script, &dead_letters, turn).await;
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        if matches!(finished, Finished::Durable(_)) {
            if batch.part.is_last {
                self.account.passed(&self.name, || batch.page.unpacked());
            }
            self.time(&batch);
        }
        drop((batch, room));
        finished
    }

    /// Completes every log of the batch: its events are durable, or its dead letter is.
    async fn finish(&self, batch: &Arc<Batch>, script: &str, failed: &[Failed], turn: LetterTurn) -> Finished {
        let Some(Sent { rejected, missing }) = self.send_all(batch).await else { return Finished::Abandoned };
        let turn = if missing.is_empty() {
            turn.pass();
            None
        } else {
            Some(turn)
        };
        let halts = |event: &UndeliveredEvent| self.pipeline.destinations[event.output].on_reject == OnReject::Halt;
        if rejected.iter().any(halts) {
            return Finished::Rejected(Arc::clone(batch), rejected.into_iter().filter(halts).collect());
        }
        let mut undelivered = match self.admit(batch, rejected).await {
            Ok(rejected) => rejected,
            Err(finished) => return finished,
        };
        // Missed events are written in shard order.
        let queued = OptionFuture::from(turn.map(LetterTurn::comes)).await;
        let mut rooms = Vec::new();
        for (output, missing) in &missing {
            let room = missing.room(batch.outputs[*output].bytes());
            let why = || "its dead letters wait until those of other shards are written".to_owned();
            rooms.push(self.late_writes.run(room, why).await);
            let health = self.pipeline.destinations[*output].destination.health();
            undelivered.extend(UndeliveredEvent::missed(*output, batch.outputs[*output].len(), &health));
        }
        let mut records: Arc<[_]> = self.records(batch, script, failed, &undelivered).into();
        if self.copies_first() {
            let Some(left) = self.copy(&records).await else { return Finished::Abandoned };
            records = left.into();
        }
        if self.keep(&records, queued).await.is_none() {
            return Finished::GivenUp;
        }
        drop((rooms, missing));
        if !self.copies_first() && self.copy(&records).await.is_none() {
            return Finished::Abandoned;
        }
        self.count_undelivered(&undelivered);
        let dead_lettered = u32::try_from(failed.len()).unwrap_or(u32::MAX) + logs_of(batch, &undelivered);
        let settled = Settled {
            delivered: batch.logs - batch.dropped - dead_lettered,
            dropped: batch.dropped,
            dead_lettered,
            events: u32::try_from(batch.events() - undelivered.len()).unwrap_or(u32::MAX),
        };
        Finished::Durable(Durable {
            interval: batch.interval(),
            settled,
            logs: batch.logs,
            received_at: batch.received_at(),
            drop_reasons: batch.drop_reasons.clone(),
        })
    }

    /// Delivers every output of a batch to its destination, in parallel. `None`: the tenure ended first.
    async fn send_all(&self, batch: &Batch) -> Option<Sent<'_>> {
        let bytes = batch.page.weight() + batch.weight();
        let deliver = async |(number, output): (usize, &Arc<PendingOutput>)| {
            let route = &self.pipeline.destinations[number];
            let Some(isolation) = route.isolation.as_ref().filter(|_| !output.is_empty()) else {
                return self.send_one(number, output).await.map(Ok);
            };
            let waiting = isolation.waits(bytes);
            let is_down = || matches!(route.destination.health(), Health::Down { .. } | Health::Refusing { .. });
            let is_pressed = || self.in_flight.load(Ordering::Relaxed) >= MAX_IN_FLIGHT || self.stop.is_raised();
            let limits = WaitLimits { is_down: &is_down, is_pressed: &is_pressed };
            let send = async {
                isolation.is_direct().await;
                self.send_one(number, output).await
            };
            tokio::select! {
                biased;
                rejected = send => rejected.map(Ok),
                missing = waiting.is_given_up(limits) => Some(Err((number, missing))),
            }
        };
        let mut sent = Sent { rejected: Vec::new(), missing: Vec::new() };
        for output in join_all(batch.outputs.iter().enumerate().map(deliver)).await {
            match output? {
                Ok(rejected) => sent.rejected.extend(rejected),
                Err(missing) => sent.missing.push(missing),
            }
        }
        Some(sent)
    }

    /// The same without isolation; returns the events that are refused for good.
    async fn send(&self, outputs: &[Arc<PendingOutput>]) -> Option<Vec<UndeliveredEvent>> {
        let deliver = |(number, output)| self.send_one(number, output);
        let delivered = join_all(outputs.iter().enumerate().map(deliver)).await;
        let rejected: Option<Vec<Vec<UndeliveredEvent>>> = delivered.into_iter().collect();
        rejected.map(|rejected| rejected.concat())
    }

    /// Delivers an output; returns the events that are refused for good. `None`: the tenure ended first.
    async fn send_one(&self, number: usize, output: &Arc<PendingOutput>) -> Option<Vec<UndeliveredEvent>> {
        if output.is_empty() {
            return Some(Vec::new());
        }
        let Route { destination, account, .. } = &self.pipeline.destinations[number];
        let _in_flight = account.sends(output.len());
        match destination.deliver_pending(Arc::clone(output), self.tenure.clone()).await {
            Outcome::Abandoned => None,
            Outcome::Done(rejected) => {
                account.delivered(output.len() - rejected.len());
                Some(rejected.into_iter().map(|rejected| UndeliveredEvent::rejected(number, rejected)).collect())
            }
        }
    }

    /// Counts the events that became dead letters, for each destination.
    fn count_undelivered(&self, undelivered: &[UndeliveredEvent]) {
        for event in undelivered {
            let is_missed = event.reason == Reason::DestinationDown;
            let (rejected, missed) = (usize::from(!is_missed), usize::from(is_missed));
            self.pipeline.destinations[event.output].account.undelivered(rejected, missed);
        }
    }

    /// Waits until the breaker admits the dead letters. Meanwhile the refused events are sent again from time to
    /// time; returns those that are still refused.
    async fn admit(
        &self,
        batch: &Batch,
        mut rejected: Vec<UndeliveredEvent>,
    ) -> Result<Vec<UndeliveredEvent>, Finished> {
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
                self.tell_rejected(batch, &rejected);
                return Ok(rejected);
            };
            paused.get_or_insert_with(|| self.pause());
            let (first, who) = (&rejected[0], self.called(rejected[0].output));
            let why = format!(
                "{who} refuses events of {excess}, too many for dead letters; the checkpoint is not moved, and \
                 they are sent again every {PAUSED_RETRY_INTERVAL:?}; the first: {}",
                first.code
            );
            let cause = Cause::new(format!("{why}: {}", first.message));
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

    /// Saves `cursor`, unless the checkpoint in SLS was not written by us: it is none of `expected`.
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
        // A group that was deleted and created again has no checkpoint: it gets that of this process.
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

    /// The checkpoint was changed while we hold the shard: by an operator, or by another process with our name.
    fn say_moved(&self, found: Option<&Checkpoint>, ours: &Cursor) {
        let at = found.map_or_else(|| "none".to_owned(), |checkpoint| checkpoint.cursor.when_beside(ours));
        let ours = found.map_or_else(|| ours.when(), |checkpoint| ours.when_beside(&checkpoint.cursor));
        let cursor = found.map_or("", |checkpoint| checkpoint.cursor.as_str());
        debug!(shard = %self.name, cursor, "the checkpoint is another one");
        let by = found.map_or("", |checkpoint| checkpoint.consumer.as_str());
        if by == self.pipeline.source.consumer() {
            error!(
                shard = %self.name, found = at, ours, consumer = by,
                "another process uses the same consumer name, and both deliver the same logs: give each process its own name (sls.consumer); continuing from the checkpoint found"
            );
        } else {
            warn!(
                shard = %self.name, found = at, ours, by,
                "the checkpoint was changed from outside: continuing from there"
            );
        }
    }

    /// The destination of an output, for people.
    fn called(&self, output: usize) -> String {
        let all = &self.pipeline.destinations;
        called(&all[output].name, all.len() == 1)
    }

    /// Logs rejected events, of many with the same code only some.
    fn tell_rejected(&self, batch: &Batch, rejected: &[UndeliveredEvent]) {
        let now = Instant::now();
        let mut throttle = self.rejections.lock().unwrap_or_else(PoisonError::into_inner);
        for event in rejected {
            if let Some(more) = throttle.due(event.output, &event.code, now) {
                self.warn_rejected(batch, event, more);
            }
        }
    }

    /// Logs a rejected event, and how many `more` there were since the last such line.
    fn warn_rejected(&self, batch: &Batch, event: &UndeliveredEvent, more: u64) {
        let (log, who) = (event.log(batch), self.called(event.output));
        let (code, reason, more) = (&event.code, &event.message, (more > 0).then_some(more));
        warn!(shard = %self.name, log, code, reason, more, "{who} refuses a log for good");
    }

    fn halt_rejected(&self, batch: &Batch, rejected: &[UndeliveredEvent]) {
        let first = &rejected[0];
        let (log, who) = (first.log(batch), self.called(first.output));
        self.warn_rejected(batch, first, 0);
        // The message may quote the log: it is for the program's log and for dead letters, not for the status.
        let why =
            format!("{who} refuses log {log} of the page at {} for good ({})", batch.page.cursor.when(), first.code);
        self.halt(logs_of(batch, rejected), why);
    }
}

/// Outputs with only these events, and for each output the indexes of its events in the batch.
fn only(batch: &Batch, rejected: &[UndeliveredEvent]) -> (Vec<Arc<PendingOutput>>, Vec<Vec<usize>>) {
    let outputs = batch.outputs.iter().enumerate().map(|(number, output)| {
        let (mut events, mut sent) = (Events::default(), Vec::new());
        let output = output.output();
        for UndeliveredEvent { event, .. } in rejected.iter().filter(|event| event.output == number) {
            let bytes = output.events.get(*event);
            let Ok(()) = events.push(output.events.log_of(*event), |out| {
                out.extend_from_slice(bytes);
                Ok::<(), Infallible>(())
            });
            sent.push(*event);
        }
        (Arc::new(PendingOutput::new(output.shard, events)), sent)
    });
    outputs.unzip()
}
