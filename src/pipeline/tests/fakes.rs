//! The fakes around a shard: a source of pages, a destination, and a store of dead letters.

use std::collections::BTreeSet;
use std::io;
use std::sync::Weak;

use futures_util::future::BoxFuture;

use super::*;
use crate::core::batch::Output;
use crate::core::budget::Credit;
use crate::core::cause::Cause;
use crate::core::cursor::Bound;
use crate::core::event::{Body, BodyError, Format, Head};
use crate::core::page::{Packed, Page};
use crate::dead_letter::{ClaimError, DeadLetterStore, Limit, MissedDeadLetters, StoreError};
use crate::destination::{CheckError, Checked, Figures, Health, Outcome, Promise, Rejected, Rejection};

/// A shard of pages with one group each. The checkpoint is the number of completed pages.
#[derive(Debug)]
pub(super) struct Pages {
    pub(super) bodies: Vec<Bytes>,
    pub(super) saved: Mutex<Option<Cursor>>,
    /// Duration of a pull.
    pub(super) trip: Mutex<Duration>,
    pub(super) pulls: AtomicU64,
    /// Log groups that the last pull asked for.
    pub(super) asked: AtomicU32,
    /// Each page begins one group after the cursor that was asked for.
    pub(super) skips: AtomicBool,
    /// Every pull is refused.
    pub(super) refuses: AtomicBool,
    /// Every save is refused, as if the logstore were deleted.
    pub(super) refuses_saves: AtomicBool,
    /// The next pull from this page is refused as if its logs had expired.
    pub(super) stale: Mutex<Option<i64>>,
    /// The oldest page that exists.
    pub(super) oldest: AtomicI64,
    /// Number of pages that were received so far.
    pub(super) written: AtomicU32,
    /// How often the logstore was deleted.
    pub(super) deletions: AtomicU64,
    /// Returns pages after the end that was asked for.
    pub(super) heeds_no_end: AtomicBool,
}

impl Source for Pages {
    async fn ensure_group(&self) -> Result<Duration, SourceError> {
        Ok(Duration::from_secs(60))
    }

    async fn heartbeat(&self, held: &BTreeSet<ShardId>) -> Result<BTreeSet<ShardId>, SourceError> {
        Ok(held.clone())
    }

    async fn checkpoint(&self, _: ShardId) -> Result<Option<Checkpoint>, SourceError> {
        let saved = self.saved.lock().unwrap().clone();
        Ok(saved.map(|cursor| Checkpoint { cursor, consumer: self.consumer().to_owned() }))
    }

    async fn received_at(&self, _: ShardId, _: &Cursor) -> Result<i64, SourceError> {
        Ok(0)
    }

    fn consumer(&self) -> &str {
        "c"
    }

    fn deletions(&self) -> u64 {
        self.deletions.load(Ordering::Relaxed)
    }

    async fn save(&self, _: ShardId, cursor: &Cursor) -> Result<(), SourceError> {
        if self.refuses_saves.load(Ordering::Relaxed) {
            return Err(SourceError::Absent(Cause::new("404")));
        }
        *self.saved.lock().unwrap() = Some(cursor.clone());
        Ok(())
    }

    async fn cursor(&self, _: ShardId, start: Start) -> Result<Cursor, SourceError> {
        Ok(Cursor::from_number(match start {
            Start::End => self.bodies.len() as i64,
            Start::Begin | Start::Time(_) => self.oldest.load(Ordering::Relaxed),
        }))
    }

    async fn bound(&self, _: ShardId, until: Start) -> Result<Bound, SourceError> {
        let Start::Time(number) = until else { panic!("positions are numbers here") };
        let written = i64::from(self.written.load(Ordering::Relaxed)).min(self.bodies.len() as i64);
        Ok(Bound { cursor: Cursor::from_number(number.min(written)), is_final: number <= written })
    }

    async fn progress(&self) -> Result<BTreeMap<ShardId, Option<Cursor>>, SourceError> {
        Ok([(ShardId(3), self.saved.lock().unwrap().clone())].into())
    }

    async fn pull(
        &self,
        shard: ShardId,
        cursor: &Cursor,
        groups: u32,
        until: Option<&Cursor>,
        room: &mut Credit,
    ) -> Result<Page, SourceError> {
        self.pulls.fetch_add(1, Ordering::Relaxed);
        self.asked.store(groups, Ordering::Relaxed);
        if self.refuses.load(Ordering::Relaxed) {
            return Err(SourceError::Refused(Cause::new("401")));
        }
        if self.stale.lock().unwrap().take_if(|stale| cursor.number() == Some(*stale)).is_some() {
            return Err(SourceError::Stale(Cause::new("InvalidCursor")));
        }
        let trip = *self.trip.lock().unwrap();
        if !trip.is_zero() {
            sleep(trip).await;
        }
        let number = cursor.number().unwrap() + i64::from(self.skips.load(Ordering::Relaxed));
        let is_before = |end: &Cursor| number < end.number().unwrap() || self.heeds_no_end.load(Ordering::Relaxed);
        let written = self.bodies.len().min(self.written.load(Ordering::Relaxed) as usize);
        let body = self.bodies[..written].get(number as usize).filter(|_| until.is_none_or(is_before)).cloned();
        let bytes = body.as_ref().map_or(0, Bytes::len);
        if !room.grow(bytes) {
            return Err(SourceError::NoRoom { bytes, cause: Cause::new("no room") });
        }
        let next = number + i64::from(body.is_some());
        Ok(Page {
            shard,
            cursor: Cursor::from_number(number),
            next: Cursor::from_number(next),
            groups: u32::from(body.is_some()),
            last_group: body.is_some().then_some(number),
            first_log: 0,
            at_end: Some(next as usize == written),
            packed: body.as_ref().map(packed),
            body: body.unwrap_or_default(),
            received_at: None,
            scanned_bytes: 0,
            wire_bytes: 0,
        })
    }
}

/// "Packed" means reversed, so that a reader of the body has to unpack it.
pub(super) fn packed(body: &Bytes) -> Packed {
    let backwards = |bytes: &[u8]| bytes.iter().rev().copied().collect::<Bytes>();
    Packed { bytes: backwards(body), unpacked: body.len(), unpack: |bytes, _| bytes.iter().rev().copied().collect() }
}

/// A fake destination. While it is strict, it refuses events that end with `!`.
#[derive(Debug)]
pub(super) struct Siem {
    pub(super) strict: Mutex<bool>,
    pub(super) taken: Mutex<Vec<String>>,
    /// Accepts nothing for the time being.
    pub(super) down: Mutex<bool>,
    pub(super) refuses_copies: Mutex<bool>,
    /// Duration of each batch, if batches are accepted one after the other; zero if they are accepted in parallel.
    pub(super) each: Mutex<Duration>,
    pub(super) turn: tokio::sync::Mutex<()>,
    /// The batch with this event is never answered.
    pub(super) stuck: Mutex<Option<&'static str>>,
    /// All batches so far.
    pub(super) came: Mutex<Vec<Weak<Output>>>,
}

impl Destination for Siem {
    async fn deliver(&self, batch: Arc<Output>, _: Tenure) -> Outcome {
        self.came.lock().unwrap().push(Arc::downgrade(&batch));
        sleep(Duration::from_millis(10)).await;
        if self.stuck.lock().unwrap().is_some_and(|event| batch.events.get(0) == event.as_bytes()) {
            return std::future::pending().await;
        }
        while *self.down.lock().unwrap() {
            sleep(Duration::from_secs(1)).await;
        }
        let each = *self.each.lock().unwrap();
        if !each.is_zero() {
            let _turn = self.turn.lock().await;
            sleep(each).await;
        }
        let strict = *self.strict.lock().unwrap();
        let mut rejected = Vec::new();
        for event in 0..batch.events.len() {
            let text = String::from_utf8(batch.events.get(event).to_vec()).unwrap();
            let is_copy = text.contains("\"id\":");
            if (strict && text.ends_with('!')) || (is_copy && *self.refuses_copies.lock().unwrap()) {
                let (rejection, code) = match text.starts_with("large") {
                    true => (Rejection::TooLarge, "http 413"),
                    false => (Rejection::Refused, "fake 6"),
                };
                rejected.push(Rejected { event, rejection, code: code.into(), reason: "no".into() });
            } else {
                self.taken.lock().unwrap().push(text);
            }
        }
        Outcome::Done(rejected)
    }

    async fn check(&self) -> Result<Checked, CheckError> {
        match *self.down.lock().unwrap() {
            true => Err(CheckError::Down(Cause::new("down"))),
            false => Ok(Checked { url: String::new(), took: Duration::ZERO, agrees: "is there" }),
        }
    }

    fn address(&self) -> String {
        "siem".to_owned()
    }

    fn promise(&self) -> Promise {
        Promise { label: "taken", sentence: "delivered means taken: the test has it" }
    }

    fn figures(&self) -> Figures {
        Figures::default()
    }

    fn health(&self) -> Health {
        match *self.down.lock().unwrap() {
            true => Health::Down { since: Instant::now(), cause: "down".into() },
            false => Health::Unknown,
        }
    }
}

/// A store in memory that can be full.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    pub(super) kept: Arc<Mutex<Vec<Record>>>,
    pub(super) full: Arc<Mutex<bool>>,
    /// Dead letters that were offered while it was full.
    pub(super) refused: Arc<Mutex<BTreeSet<String>>>,
    /// Duration of a write; zero if writes take no time.
    pub(super) each: Arc<Mutex<Duration>>,
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
    /// Number of writes so far.
    pub(super) writes: Arc<Mutex<u32>>,
    /// Another process replays its dead letters.
    pub(super) busy: Arc<Mutex<bool>>,
    /// Number of claims of missed events that exist.
    pub(super) claims: Arc<Mutex<u32>>,
}

impl DeadLetterStore for Memory {
    fn keep(&self, letters: Vec<Arc<[Record]>>) -> BoxFuture<'static, Result<(), StoreError>> {
        let memory = self.clone();
        Box::pin(async move {
            let letters = letters.iter().flat_map(|batch| &**batch);
            let each = *memory.each.lock().unwrap();
            if !each.is_zero() {
                let _turn = memory.turn.lock().await;
                sleep(each).await;
            }
            *memory.writes.lock().unwrap() += 1;
            if *memory.full.lock().unwrap() {
                memory.refused.lock().unwrap().extend(letters.map(Record::id));
                let limit = Limit::Disk(io::Error::from(io::ErrorKind::StorageFull));
                return Err(StoreError::Full { path: "/letters".into(), limit });
            }
            memory.kept.lock().unwrap().extend(letters.cloned());
            Ok(())
        })
    }

    fn missed(&self, to: &DestinationName) -> BoxFuture<'static, Result<Box<dyn MissedDeadLetters>, ClaimError>> {
        if *self.busy.lock().unwrap() {
            return Box::pin(std::future::ready(Err(ClaimError::Busy("/letters".into()))));
        }
        *self.claims.lock().unwrap() += 1;
        let claims = Arc::clone(&self.claims);
        let missed = MissedInMemory { kept: Arc::clone(&self.kept), to: to.clone(), given: 0, claims };
        Box::pin(std::future::ready(Ok(Box::new(missed) as _)))
    }
}

/// The missed events of a destination, from a store in memory.
pub(super) struct MissedInMemory {
    pub(super) kept: Arc<Mutex<Vec<Record>>>,
    pub(super) to: DestinationName,
    pub(super) given: usize,
    pub(super) claims: Arc<Mutex<u32>>,
}

impl Drop for MissedInMemory {
    fn drop(&mut self) {
        *self.claims.lock().unwrap() -= 1;
    }
}

impl MissedDeadLetters for MissedInMemory {
    fn next(&mut self, most: usize) -> BoxFuture<'_, Result<Vec<Record>, ClaimError>> {
        let kept = self.kept.lock().unwrap();
        let is_missed = |letter: &&Record| {
            letter.reason == Reason::DestinationDown && letter.destination.as_ref() == Some(&self.to)
        };
        let next: Vec<Record> = kept.iter().filter(is_missed).skip(self.given).take(most).cloned().collect();
        self.given += next.len();
        Box::pin(std::future::ready(Ok(next)))
    }

    fn settle(&mut self, letters: Arc<[Record]>) -> BoxFuture<'_, Result<(), ClaimError>> {
        self.kept.lock().unwrap().retain(|letter| !letters.contains(letter));
        self.given -= letters.len();
        Box::pin(std::future::ready(Ok(())))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), ClaimError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

pub(super) struct Texts;

impl Format for Texts {
    fn write(&self, head: &Head<'_>, body: &mut dyn Body, out: &mut Vec<u8>) -> Result<(), BodyError> {
        if let Some(time) = &head.time {
            out.extend_from_slice(time.digits.as_bytes());
        }
        body.text(b"|", out)
    }
}
