//! Dead letters of a batch: they are on disk before the checkpoint moves past their logs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::Shard;
use super::copies::Copies;
use crate::core::batch::Batch;
use crate::core::cause::{Cause, Retry};
use crate::core::cursor::Cursor;
use crate::core::destination_name::DestinationName;
use crate::core::ledger::Wait;
use crate::core::source::Source;
use crate::dead_letter::{DeadLetterStore, LogOrigin, Reason, Record};
use crate::destination::{Destination, Health, Rejected, Rejection};
use crate::loggroup::Logs;
use crate::script::{Failed, ScriptFault};

/// What to do with logs that cannot be delivered.
#[derive(Debug)]
pub struct DeadLetterPolicy {
    /// Stores the dead letters.
    pub keep: Box<dyn DeadLetterStore>,
    /// Where copies of them are sent, if anywhere. A log counts as dead-lettered when its copies are durable.
    pub copies: Option<Copies>,
    /// The project of the logstore, for the records.
    pub project: String,
    /// The logstore, for the records.
    pub logstore: String,
    /// What to do with a log that the script fails on.
    pub on_error: OnError,
    /// Maximum share of a shard's logs, in percent, that may become dead letters. Above it, the shard is paused.
    pub max_share: u32,
}

/// What to do with a log that the script fails on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// Write it as a dead letter, and continue.
    DeadLetter,
    /// Halt the shard until the script or the settings are corrected.
    Halt,
    /// Send the log unchanged.
    Pass,
    /// Drop it, count it, and continue.
    Drop,
}

impl<S: Source, K: Destination> Shard<S, K> {
    /// Writes the records to disk, retrying until that works, and with them those of later batches that wait for the
    /// disk. Drops `queued` once later batches may add theirs. `None`: it did not work and the shard must stop.
    pub(super) async fn keep(&self, records: &Arc<[Record]>, queued: impl Sized) -> Option<()> {
        if records.is_empty() {
            return Some(());
        }
        let number = self.letter_queue.push(Arc::clone(records));
        drop(queued);
        // One batch of the shard at a time: what blocks one blocks all of them, and it is logged once.
        let mut retry_log = self.writing.lock().await;
        let mut paused = None;
        // After a failure the first batch is written alone: it needs less room.
        while let Some(batches) = self.letter_queue.next(number, paused.is_some()) {
            let count = batches.len();
            let write = self.pipeline.dead_letters.keep.keep(batches);
            match self.late_writes.run(write, || "a write of its dead letters takes long".to_owned()).await {
                Ok(()) => {
                    self.letter_queue.wrote(count);
                    retry_log.recovered();
                    self.account.goes_on(Wait::Disk);
                    paused = None;
                }
                Err(error) => {
                    paused.get_or_insert_with(|| self.pause());
                    self.account.waits(Wait::Disk, error.to_string());
                    self.stop.or(retry_log.pause(&Cause::new(error.to_string()), Retry::SOON)).await?;
                }
            }
        }
        self.pipeline.taps.keeps(&self.name, records);
        Some(())
    }

    /// Whether only dead letters that the destination for copies does not take are on disk.
    pub(super) fn copies_first(&self) -> bool {
        self.pipeline.dead_letters.copies.as_ref().is_some_and(Copies::is_instead_of_disk)
    }

    /// Sends copies of records, if the settings want them; returns the records that were not taken. `None`: the tenure
    /// ended first.
    pub(super) async fn copy(&self, records: &[Record]) -> Option<Vec<Record>> {
        let Some(copies) = &self.pipeline.dead_letters.copies else { return Some(records.to_vec()) };
        let routes = &self.pipeline.destinations;
        let why = || {
            let to = &copies.route(routes).name;
            format!("the destination {to} does not take the copies of dead letters (dead_letters.to)")
        };
        self.late_copies.run(copies.send(routes, records, &self.tenure), why).await
    }

    /// A record for each log that the script failed on, and for each event that does not reach a destination, in page
    /// order. `script` is the version that made the batch.
    pub(super) fn records(
        &self,
        batch: &Batch,
        script: &str,
        failed: &[Failed],
        rejected: &[UndeliveredEvent],
    ) -> Vec<Record> {
        let mut wanted = BTreeMap::<u32, DeadLetterCause<'_>>::new();
        for failed in failed {
            wanted.insert(failed.log, DeadLetterCause::Failed(failed));
        }
        for event in rejected {
            match wanted.entry(event.log(batch)).or_insert_with(|| DeadLetterCause::Rejected(Vec::new())) {
                DeadLetterCause::Rejected(events) => events.push(event),
                DeadLetterCause::Failed(_) => unreachable!("a log that the script failed on has no event"),
            }
        }
        let Some(last) = wanted.keys().next_back() else { return Vec::new() };

        let at = Timestamp::now();
        let mut records = Vec::new();
        let mut logs = Logs::default();
        let readable = "the hook has read this page to its end";
        logs.open(batch.page.unpacked()).expect(readable);
        while let Some(log) = logs.read().expect(readable) {
            let index = log.index();
            if let Some(why) = wanted.get(&index) {
                let (cursor, number) = match batch.page.group_number(log.group()) {
                    Some(number) => (Cursor::from_number(number), log.index_in_group()),
                    None => (batch.page.cursor.clone(), index),
                };
                let policy = &self.pipeline.dead_letters;
                let record = Record {
                    at,
                    reason: Reason::Rejected,
                    destination: None,
                    code: String::new(),
                    message: String::new(),
                    origin: LogOrigin {
                        project: policy.project.clone(),
                        logstore: policy.logstore.clone(),
                        shard: self.id,
                        cursor,
                        log: number,
                        event: None,
                    },
                    script: script.to_owned(),
                    log: log.fields().map(|(key, value)| (key.to_vec(), value.to_vec())).collect(),
                    event: None,
                };
                match why {
                    DeadLetterCause::Failed(failed) => records.push(of_failed(record, failed)),
                    DeadLetterCause::Rejected(events) => {
                        let names = |output: usize| self.pipeline.destinations[output].name.clone();
                        of_rejected(record, names, batch, index, events, &mut records);
                    }
                }
            }
            if index == *last {
                break;
            }
        }
        records
    }
}

/// An event that does not reach a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UndeliveredEvent {
    /// Which output of the batch it is in.
    pub(super) output: usize,
    /// Its index in that output.
    pub(super) event: usize,
    /// Why it becomes a dead letter.
    pub(super) reason: Reason,
    /// The destination's code, for people.
    pub(super) code: String,
    /// The reason as text, without secrets.
    pub(super) message: String,
}

impl UndeliveredEvent {
    /// The index of its log in the page.
    pub(super) fn log(&self, batch: &Batch) -> u32 {
        batch.outputs[self.output].log_of(self.event)
    }

    /// An event of an output that the destination refuses for good.
    pub(super) fn rejected(output: usize, rejected: Rejected) -> Self {
        let Rejected { event, rejection, code, reason } = rejected;
        Self { output, event, reason: reason_of(rejection), code, message: reason }
    }

    /// All events of an output that an isolated destination misses.
    pub(super) fn missed(output: usize, events: usize, health: &Health) -> impl Iterator<Item = Self> {
        let message = match health {
            Health::Down { cause, .. } => format!("the destination was down: {cause}"),
            Health::Refusing { cause, .. } => format!("the destination rejected our requests: {cause}"),
            Health::Unknown | Health::Up { .. } => "the destination was still receiving missed events".to_owned(),
        };
        let (reason, code) = (Reason::DestinationDown, "down");
        (0..events).map(move |event| Self { output, event, reason, code: code.to_owned(), message: message.clone() })
    }

    /// The same event with its index in the batch; `sent` has the indexes for each output.
    pub(super) fn of(mut self, sent: &[Vec<usize>]) -> Self {
        self.event = sent[self.output][self.event];
        self
    }
}

/// Why a log becomes a dead letter.
enum DeadLetterCause<'a> {
    Failed(&'a Failed),
    Rejected(Vec<&'a UndeliveredEvent>),
}

fn of_failed(record: Record, failed: &Failed) -> Record {
    let (reason, code) = match &failed.error.fault {
        ScriptFault::Runtime(_) => (Reason::ScriptError, "runtime"),
        ScriptFault::Timeout { .. } => (Reason::ScriptTimeout, "timeout"),
        ScriptFault::Memory { .. } => (Reason::ScriptMemory, "memory"),
        ScriptFault::BadReturn { .. } => (Reason::BadReturn, "return"),
        ScriptFault::Syntax(_)
        | ScriptFault::TopLevel(_)
        | ScriptFault::NoProcess { .. }
        | ScriptFault::Unreadable { .. } => (Reason::ScriptError, "load"),
    };
    let message = failed.error.fault.to_string();
    Record { reason, code: code.to_owned(), message, script: failed.error.version.clone(), ..record }
}

/// A dead letter for each event. Other events of the same log, which were delivered, are only mentioned.
fn of_rejected(
    record: Record,
    name: impl Fn(usize) -> DestinationName,
    batch: &Batch,
    log: u32,
    rejected: &[&UndeliveredEvent],
    records: &mut Vec<Record>,
) {
    for UndeliveredEvent { output, event, reason, code, message } in rejected {
        let of_log = &batch.outputs[*output].output().events;
        let events = of_log.of_log(log);
        let delivered = events.len() - rejected.iter().filter(|other| other.output == *output).count();
        let number = event - events.start;
        let mut message = message.clone();
        if delivered > 0 {
            let of = events.len();
            message += &format!(" (event {} of the {of} of this log, of which {delivered} were delivered)", number + 1);
        }
        let mut record = Record {
            reason: *reason,
            destination: Some(name(*output)),
            code: code.clone(),
            message,
            event: Some(of_log.get(*event).to_vec()),
            ..record.clone()
        };
        record.origin.event = Some(u32::try_from(number).unwrap_or(u32::MAX));
        records.push(record);
    }
}

/// Why an event that a destination refuses becomes a dead letter.
pub(super) fn reason_of(rejection: Rejection) -> Reason {
    match rejection {
        Rejection::TooLarge => Reason::TooLarge,
        Rejection::Refused => Reason::Rejected,
    }
}

/// The number of logs that the events were made from.
pub(super) fn logs_of(batch: &Batch, rejected: &[UndeliveredEvent]) -> u32 {
    let logs: BTreeSet<u32> = rejected.iter().map(|event| event.log(batch)).collect();
    u32::try_from(logs.len()).unwrap_or(u32::MAX)
}
