//! Taps: a view of the logs and events of a running process, limited to some lines per second.
//!
//! A tap never blocks the pipeline. A tap drops what does not fit into its queue and reports how many entries it
//! dropped. While no tap is open, a page costs one relaxed load. A tap holds at most `MAX_LINES` lines of about
//! `MAX_TEXT` bytes; with at most [`MAX_TAPS`] taps that is 2 MB.

mod bucket;
mod wanted;

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::core::batch::Batch;
use crate::core::cursor::ShardName;
use crate::core::destination_name::DestinationName;
use crate::core::printable::printable;
use crate::dead_letter::Record;
use crate::loggroup::Logs;
use crate::script::Failed;
use bucket::Bucket;
pub use wanted::{Kind, MAX_RATE, TapQuery, USUAL_RATE, query};

/// Maximum number of open taps.
pub const MAX_TAPS: usize = 4;

/// Maximum number of lines that wait for a slow reader.
const MAX_LINES: usize = 64;

/// Maximum number of bytes of a text that are shown.
const MAX_TEXT: usize = 8 << 10;

/// Maximum number of entries, and of their bytes, that a tap examines per page. This bounds the cost of a tap.
const MAX_EXAMINED: usize = 1_000;
const MAX_EXAMINED_BYTES: usize = 1 << 20;

/// Minimum time between two reports of missed entries.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The taps of a process.
#[derive(Debug, Default)]
pub struct Taps {
    /// A bit for each kind that at least one tap shows.
    wanted: AtomicU8,
    next: AtomicU64,
    open: Mutex<Vec<Tap>>,
}

#[derive(Debug)]
struct Tap {
    id: u64,
    wanted: TapQuery,
    bucket: Bucket,
    lines: mpsc::Sender<Vec<u8>>,
    missed: u64,
    reported: Instant,
}

/// [`MAX_TAPS`] taps are already open.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_TAPS} taps are open already")]
pub struct TooManyTaps;

/// The lines of a tap, one JSON object each. Dropping it closes the tap.
#[derive(Debug)]
pub struct Tapped {
    /// Receives the lines.
    pub lines: mpsc::Receiver<Vec<u8>>,
    id: u64,
    taps: Arc<Taps>,
}

impl Drop for Tapped {
    fn drop(&mut self) {
        self.taps.change(|open| open.retain(|tap| tap.id != self.id));
    }
}

impl Taps {
    /// Opens a tap.
    ///
    /// # Errors
    /// [`TooManyTaps`]
    pub fn open(self: &Arc<Self>, wanted: TapQuery) -> Result<Tapped, TooManyTaps> {
        let (lines, receiver) = mpsc::channel(MAX_LINES);
        let (id, now) = (self.next.fetch_add(1, Ordering::Relaxed), Instant::now());
        let bucket = Bucket::new(wanted.rate, now);
        let tap = Tap { id, wanted, bucket, lines, missed: 0, reported: now };
        self.change(|open| {
            if open.len() >= MAX_TAPS {
                return Err(TooManyTaps);
            }
            open.push(tap);
            Ok(())
        })?;
        Ok(Tapped { lines: receiver, id, taps: Arc::clone(self) })
    }

    /// Whether a tap shows this kind.
    #[inline]
    pub(super) fn wants(&self, kind: Kind) -> bool {
        self.wanted.load(Ordering::Relaxed) & kind.bit() != 0
    }

    /// Shows a batch that is sent to the destinations with these names: its logs and its events.
    pub(super) fn passes<'a>(
        &self,
        shard: &ShardName,
        batch: &Batch,
        names: impl Iterator<Item = &'a DestinationName> + Clone,
    ) {
        let wanted = self.wanted.load(Ordering::Relaxed);
        if wanted & Kind::Log.bit() != 0 {
            self.each(Kind::Log, |tap, now| logs(tap, now, shard, batch));
        }
        if wanted & Kind::Event.bit() != 0 {
            self.each(Kind::Event, |tap, now| events(tap, now, shard, batch, names.clone()));
        }
    }

    /// Shows the script errors of a batch.
    pub(super) fn fails(&self, shard: &ShardName, batch: &Batch, failed: &[Failed]) {
        if failed.is_empty() || !self.wants(Kind::Failure) {
            return;
        }
        self.each(Kind::Failure, |tap, now| {
            let fitting = Fitting::of(tap, batch);
            let mut looks = Looks::default();
            for Failed { log, error } in failed {
                if fitting.has(*log) {
                    let text = error.to_string();
                    let at = error.place.as_ref().map(|place| format!("{}:{}", place.file, place.line));
                    tap.look(now, &mut looks, text.as_bytes(), || {
                        let mut line = line(Kind::Failure, shard, text.as_bytes());
                        line.insert("at".to_owned(), at.into());
                        line
                    });
                }
            }
        });
    }

    /// Shows dead letters that were written.
    pub(super) fn keeps(&self, shard: &ShardName, records: &[Record]) {
        if !self.wants(Kind::Letter) {
            return;
        }
        self.each(Kind::Letter, |tap, now| {
            let mut looks = Looks::default();
            for record in records {
                let fields = record.log.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
                if !tap.wanted.fits(fields) {
                    continue;
                }
                let event = record.event.as_deref().unwrap_or_default();
                let text = [record.message.as_bytes(), b" ", event].concat();
                tap.look(now, &mut looks, &text, || {
                    let mut line = line(Kind::Letter, shard, event);
                    let more = [
                        ("destination", record.destination.as_ref().map(|name| json!(name.as_str()))),
                        ("id", Some(record.id().into())),
                        ("reason", Some(record.reason.as_str().into())),
                        ("message", Some(cut(record.message.as_bytes()).into())),
                    ];
                    line.extend(more.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
                    line
                });
            }
        });
    }

    fn each(&self, kind: Kind, mut show: impl FnMut(&mut Tap, Instant)) {
        let now = Instant::now();
        for tap in self.lock().iter_mut().filter(|tap| tap.wanted.wants(kind)) {
            show(tap, now);
            tap.tell(now);
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<Tap>) -> T) -> T {
        let mut open = self.lock();
        let changed = change(&mut open);
        let wanted = open.iter().fold(0, |wanted, tap| wanted | tap.wanted.kinds);
        self.wanted.store(wanted, Ordering::Relaxed);
        changed
    }

    /// A poisoned lock is usable: every writer leaves the list complete before it can panic.
    fn lock(&self) -> MutexGuard<'_, Vec<Tap>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much of a page a tap has examined.
#[derive(Default)]
struct Looks {
    things: usize,
    bytes: usize,
}

impl Looks {
    fn are_enough(&self) -> bool {
        self.things >= MAX_EXAMINED || self.bytes >= MAX_EXAMINED_BYTES
    }
}

impl Tap {
    /// Shows an entry if it matches and the limits allow it; counts it as missed if they do not.
    fn look(&mut self, now: Instant, looks: &mut Looks, text: &[u8], line: impl FnOnce() -> Map<String, Value>) {
        if looks.are_enough() {
            self.missed += 1;
            return;
        }
        looks.things += 1;
        looks.bytes = looks.bytes.saturating_add(text.len());
        if !self.wanted.matches(text) {
            return;
        }
        if !self.bucket.take(now) || !self.send(line()) {
            self.missed += 1;
        }
    }

    fn send(&self, line: Map<String, Value>) -> bool {
        let mut line = Value::Object(line).to_string().into_bytes();
        line.push(b'\n');
        self.lines.try_send(line).is_ok()
    }

    /// Reports the number of missed entries, at most once per [`REPORT_INTERVAL`].
    fn tell(&mut self, now: Instant) {
        if self.missed == 0 || now.saturating_duration_since(self.reported) < REPORT_INTERVAL {
            return;
        }
        let reported = Map::from_iter([("missed".to_owned(), json!(self.missed))]);
        if self.send(reported) {
            (self.missed, self.reported) = (0, now);
        }
    }
}

/// Which logs of a page have the field that a tap filters by.
enum Fitting {
    All,
    These(std::collections::BTreeSet<u32>),
}

impl Fitting {
    fn of(tap: &Tap, batch: &Batch) -> Self {
        if !tap.wanted.asks_for_field() {
            return Self::All;
        }
        let mut these = std::collections::BTreeSet::new();
        read_logs(batch, |log, fields| {
            if tap.wanted.fits(fields.iter().copied()) {
                these.insert(log);
            }
            true
        });
        Self::These(these)
    }

    fn has(&self, log: u32) -> bool {
        match self {
            Self::All => true,
            Self::These(these) => these.contains(&log),
        }
    }
}

/// Calls `each` for the logs of a batch until it returns false.
fn read_logs(batch: &Batch, mut each: impl FnMut(u32, &[(&[u8], &[u8])]) -> bool) {
    let range = batch.part.first..batch.part.first + batch.logs;
    let mut logs = Logs::default();
    if logs.open(batch.page.body.clone()).is_err() {
        return;
    }
    // The script has read this part, so a decode error can only come after it.
    while let Ok(Some(log)) = logs.read() {
        let index = log.index();
        if index >= range.end {
            return;
        }
        if range.contains(&index) && !each(index, &log.fields().collect::<Vec<_>>()) {
            return;
        }
    }
}

fn logs(tap: &mut Tap, now: Instant, shard: &ShardName, batch: &Batch) {
    let mut looks = Looks::default();
    let mut seen = 0;
    read_logs(batch, |_, fields| {
        if looks.are_enough() {
            return false;
        }
        seen += 1;
        if tap.wanted.fits(fields.iter().copied()) {
            let text = fields.iter().map(|(key, value)| (printable(key), Value::from(printable(value))));
            let text = Value::Object(text.collect()).to_string();
            tap.look(now, &mut looks, text.as_bytes(), || line(Kind::Log, shard, text.as_bytes()));
        }
        true
    });
    tap.missed += u64::from(batch.logs - seen);
}

fn events<'a>(
    tap: &mut Tap,
    now: Instant,
    shard: &ShardName,
    batch: &Batch,
    names: impl Iterator<Item = &'a DestinationName>,
) {
    let fitting = Fitting::of(tap, batch);
    let mut looks = Looks::default();
    for (output, name) in batch.outputs.iter().zip(names) {
        let output = output.output();
        let events = &output.events;
        for event in (0..events.len()).filter(|event| fitting.has(events.log_of(*event))) {
            let text = events.get(event);
            tap.look(now, &mut looks, text, || {
                let mut line = line(Kind::Event, shard, text);
                line.insert("destination".to_owned(), name.as_str().into());
                line
            });
        }
    }
}

fn line(kind: Kind, shard: &ShardName, text: &[u8]) -> Map<String, Value> {
    Map::from_iter([
        ("kind".to_owned(), kind.name().into()),
        ("shard".to_owned(), shard.to_string().into()),
        ("text".to_owned(), cut(text).into()),
    ])
}

/// A text that is safe to show, cut to [`MAX_TEXT`] bytes.
fn cut(text: &[u8]) -> String {
    let text = text.trim_ascii_end();
    match text.get(..MAX_TEXT) {
        Some(start) if text.len() > MAX_TEXT => printable(start) + "…",
        _ => printable(text),
    }
}

#[cfg(test)]
mod tests;
