//! Tests of pausing, halting and resuming a shard, with fakes and a paused clock.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use prost::Message as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::*;
use crate::core::batch::Output;
use crate::core::budget::Credit;
use crate::core::cause::Cause;
use crate::core::cursor::Bound;
use crate::core::destination_account::EventCounts;
use crate::core::destination_name::DestinationName;
use crate::core::event::{Body, BodyError, DestinationFormat, Format, Head};
use crate::core::lease::Lease;
use crate::core::ledger::Counts;
use crate::core::page::{Packed, Page};
use crate::core::stop::{Stopper, stop};
use crate::dead_letter::{ClaimError, DeadLetterStore, Limit, MissedDeadLetters, Reason, Record, StoreError};
use crate::destination::{CheckError, Checked, Figures, Health, IsolationMode, Outcome, Promise, Rejected, Rejection};
use crate::loggroup::proto::{Log, LogGroup, LogGroupList, Pair};
use crate::script::{Config, Script};

const SCRIPT: &str = r#"
function process(log)
  if log.kind == "bad" then error("bad") end
  if log.kind == "drop" then return nil end
  if log.kind == "two" then return { log.id, log.id .. "!" } end
  return log.id
end
"#;

/// A shard of pages with one group each. The checkpoint is the number of completed pages.
#[derive(Debug)]
struct Pages {
    bodies: Vec<Bytes>,
    saved: Mutex<Option<Cursor>>,
    /// Duration of a pull.
    trip: Mutex<Duration>,
    pulls: AtomicU64,
    /// Log groups that the last pull asked for.
    asked: AtomicU32,
    /// Each page begins one group after the cursor that was asked for.
    skips: AtomicBool,
    /// Every pull is refused.
    refuses: AtomicBool,
    /// The next pull from this page is refused as if its logs had expired.
    stale: Mutex<Option<i64>>,
    /// The oldest page that exists.
    oldest: AtomicI64,
    /// Number of pages that were received so far.
    written: AtomicU32,
    /// Returns pages after the end that was asked for.
    heeds_no_end: AtomicBool,
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

    async fn save(&self, _: ShardId, cursor: &Cursor) -> Result<(), SourceError> {
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
        let body = self.bodies.get(number as usize).filter(|_| until.is_none_or(is_before)).cloned();
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
            at_end: Some(next as usize == self.bodies.len()),
            packed: body.as_ref().map(packed),
            body: body.unwrap_or_default(),
            received_at: None,
            scanned_bytes: 0,
            wire_bytes: 0,
        })
    }
}

/// "Packed" means reversed, so that a reader of the body has to unpack it.
fn packed(body: &Bytes) -> Packed {
    let backwards = |bytes: &[u8]| bytes.iter().rev().copied().collect::<Bytes>();
    Packed { bytes: backwards(body), unpacked: body.len(), unpack: |bytes, _| bytes.iter().rev().copied().collect() }
}

/// A fake destination. While it is strict, it refuses events that end with `!`.
#[derive(Debug)]
struct Siem {
    strict: Mutex<bool>,
    taken: Mutex<Vec<String>>,
    /// Accepts nothing for the time being.
    down: Mutex<bool>,
    refuses_copies: Mutex<bool>,
    /// Duration of each batch, if batches are accepted one after the other; zero if they are accepted in parallel.
    each: Mutex<Duration>,
    turn: tokio::sync::Mutex<()>,
    /// The batch with this event is never answered.
    stuck: Mutex<Option<&'static str>>,
    /// All batches so far.
    came: Mutex<Vec<Weak<Output>>>,
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
struct Memory {
    kept: Arc<Mutex<Vec<Record>>>,
    full: Arc<Mutex<bool>>,
    /// Dead letters that were offered while it was full.
    refused: Arc<Mutex<BTreeSet<String>>>,
}

impl DeadLetterStore for Memory {
    fn keep(&self, letters: Arc<[Record]>) -> BoxFuture<'static, Result<(), StoreError>> {
        let memory = self.clone();
        Box::pin(async move {
            if *memory.full.lock().unwrap() {
                memory.refused.lock().unwrap().extend(letters.iter().map(Record::id));
                let limit = Limit::Disk(io::Error::from(io::ErrorKind::StorageFull));
                return Err(StoreError::Full { path: "/letters".into(), limit });
            }
            memory.kept.lock().unwrap().extend(letters.iter().cloned());
            Ok(())
        })
    }

    fn missed(&self, to: &DestinationName) -> BoxFuture<'static, Result<Box<dyn MissedDeadLetters>, ClaimError>> {
        let missed = MissedInMemory { kept: Arc::clone(&self.kept), to: to.clone(), given: 0 };
        Box::pin(std::future::ready(Ok(Box::new(missed) as _)))
    }
}

/// The missed events of a destination, from a store in memory.
struct MissedInMemory {
    kept: Arc<Mutex<Vec<Record>>>,
    to: DestinationName,
    given: usize,
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

struct Texts;

impl Format for Texts {
    fn write(&self, head: &Head<'_>, body: &mut dyn Body, out: &mut Vec<u8>) -> Result<(), BodyError> {
        if let Some(time) = &head.time {
            out.extend_from_slice(time.digits.as_bytes());
        }
        body.text(b"|", out)
    }
}

/// A shard that is being worked on.
struct Bench {
    pipeline: Arc<Pipeline<Pages, Siem>>,
    memory: Memory,
    stop: Stopper,
    over: Stopper,
    task: JoinSet<ShardEnd>,
    /// Delivers the missed events of isolated destinations.
    _side: JoinSet<()>,
}

/// Starts a shard with one page for each list of logs, written as `id:kind`.
fn start(pages: &[Vec<String>], on_error: OnError, on_reject: OnReject) -> Bench {
    start_to(1, pages, on_error, on_reject)
}

/// Like [`start`], with this many destinations.
fn start_to(destinations: usize, pages: &[Vec<String>], on_error: OnError, on_reject: OnReject) -> Bench {
    start_with(Plan::to(destinations), pages, on_error, on_reject)
}

/// Like [`start`], with one destination and parts of this many bytes.
fn start_in_parts(bytes: usize, pages: &[Vec<String>]) -> Bench {
    start_with(Plan { bytes, ..Plan::to(1) }, pages, OnError::DeadLetter, OnReject::DeadLetter)
}

/// Like [`start`], with one destination; the shard ends after this many pages.
fn start_until(until: i64, pages: &[Vec<String>]) -> Bench {
    let plan = Plan { until: Some(Start::Time(until)), ..Plan::to(1) };
    start_with(plan, pages, OnError::DeadLetter, OnReject::DeadLetter)
}

/// Like [`start`], with two destinations. The second is isolated; up to `bytes` bytes may wait for it.
fn start_isolated(bytes: usize, pages: &[Vec<String>]) -> Bench {
    let plan = Plan { isolated: Some(bytes), ..Plan::to(2) };
    start_with(plan, pages, OnError::DeadLetter, OnReject::DeadLetter)
}

/// The settings of a test shard.
struct Plan {
    destinations: usize,
    /// Maximum bytes of a part.
    bytes: usize,
    until: Option<Start>,
    /// Bytes that may wait for the second destination; set if it is isolated.
    isolated: Option<usize>,
    /// The destination that gets copies of dead letters.
    copies: Option<usize>,
}

impl Plan {
    fn to(destinations: usize) -> Self {
        Self { destinations, bytes: PartSize::default().bytes, until: None, isolated: None, copies: None }
    }
}

fn start_with(plan: Plan, pages: &[Vec<String>], on_error: OnError, on_reject: OnReject) -> Bench {
    let Plan { destinations, bytes, until, isolated, copies } = plan;
    let pair = |key: &str, value: &str| Pair { key: key.into(), value: value.into() };
    let log = |text: &String| {
        let (id, kind) = text.split_once(':').unwrap();
        Log { time: 1_700_000_000, contents: vec![pair("id", id), pair("kind", kind)], time_ns: None }
    };
    let body = |logs: &Vec<String>| {
        let group = LogGroup { logs: logs.iter().map(log).collect(), ..LogGroup::default() };
        Bytes::from(LogGroupList { groups: vec![group] }.encode_to_vec())
    };
    let memory = Memory::default();
    let config = Config { timeout: Duration::from_secs(1), memory: 16 << 20, vars: toml::Table::new() };
    let script = Script::from_text("t.lua", SCRIPT);
    let name = |number| DestinationName::new(&format!("to{number}")).unwrap();
    let format = |number| DestinationFormat { name: Some(name(number)), format: Arc::new(Texts) };
    let formats: Vec<_> = (0..destinations).map(format).collect();
    let [source, project, logstore] = ["logstore", "project", "logstore"].map(str::to_owned);
    let meta = Meta { source, project, logstore, shard: ShardId(0) };
    let pipeline = Arc::new(Pipeline {
        source: Pages {
            bodies: pages.iter().map(body).collect(),
            saved: Mutex::new(None),
            trip: Mutex::default(),
            pulls: AtomicU64::new(0),
            asked: AtomicU32::new(0),
            skips: AtomicBool::new(false),
            refuses: AtomicBool::new(false),
            stale: Mutex::default(),
            oldest: AtomicI64::new(0),
            written: AtomicU32::new(u32::MAX),
            heeds_no_end: AtomicBool::new(false),
        },
        source_name: SourceName::new("logstore"),
        destinations: (0..destinations)
            .map(|number| {
                let siem = Siem {
                    strict: Mutex::new(true),
                    taken: Mutex::new(Vec::new()),
                    down: Mutex::new(false),
                    refuses_copies: Mutex::default(),
                    each: Mutex::default(),
                    turn: tokio::sync::Mutex::default(),
                    stuck: Mutex::default(),
                    came: Mutex::default(),
                };
                let route = Route::new(name(number), siem, on_reject);
                match isolated {
                    Some(bytes) if number == 1 => route.isolated(bytes),
                    _ => route,
                }
            })
            .collect(),
        hooks: Arc::new(Hooks::new(script, config, formats.clone(), meta).unwrap()),
        budget: Budget::new(1 << 24),
        ledger: Arc::default(),
        dead_letters: DeadLetterPolicy {
            keep: Box::new(memory.clone()),
            copies: copies.map(|number| Copies::to(&name(number), &formats.clone().into()).unwrap()),
            project: "project".into(),
            logstore: "logstore".into(),
            on_error,
            max_share: 20,
        },
        taps: Arc::default(),
        pace: Pace {
            start: Start::Begin,
            until,
            fetch_interval: FetchInterval::fixed(Duration::from_secs(1)),
            save_interval: Duration::from_secs(1),
            page_groups: 10,
            part: PartSize { bytes, time: Duration::MAX },
        },
    });
    Bench::on(pipeline, memory)
}

impl Bench {
    fn on(pipeline: Arc<Pipeline<Pages, Siem>>, memory: Memory) -> Self {
        let lease = Lease::lapsed(Instant::now());
        lease.extend(Instant::now() + Duration::from_secs(1_000_000));
        let ((stopper, stopped), (over, is_over)) = (stop(), stop());
        let mut task = JoinSet::new();
        task.spawn(run(Arc::clone(&pipeline), ShardId(3), stopped, Tenure::new(lease, is_over)));
        let mut side = JoinSet::new();
        for number in 0..pipeline.destinations.len() {
            let pipeline = Arc::clone(&pipeline);
            side.spawn(async move {
                let DeadLetterPolicy { keep, copies, .. } = &pipeline.dead_letters;
                let lost =
                    MissedEvents { destinations: &pipeline.destinations, letters: &**keep, copies: copies.as_ref() };
                bring_back(lost, number).await;
            });
        }
        Self { pipeline, memory, stop: stopper, over, task, _side: side }
    }

    /// Drops all tasks, as a crash does, and starts the shard again.
    async fn killed_and_started_again(mut self) -> Self {
        self.task.shutdown().await;
        self.pipeline.ledger.account(&self.name()).released();
        Self::on(Arc::clone(&self.pipeline), self.memory.clone())
    }

    fn name(&self) -> ShardName {
        ShardName { source: SourceName::new("logstore"), shard: ShardId(3) }
    }

    /// The delivered events, sorted.
    fn taken(&self) -> Vec<String> {
        let mut taken = self.pipeline.destinations[0].destination.taken.lock().unwrap().clone();
        taken.sort();
        taken
    }

    /// Advances the clock by one millisecond at a time until `logs` logs are delivered, and checks the ledger at each
    /// step.
    async fn delivered(&self, logs: u64) {
        while self.counts().delivered < logs {
            assert_eq!(self.counts().difference(), 0);
            sleep(Duration::from_millis(1)).await;
        }
    }

    fn counts(&self) -> Counts {
        self.pipeline.ledger.total()
    }

    fn saved(&self) -> Option<i64> {
        self.pipeline.source.saved.lock().unwrap().as_ref().and_then(Cursor::number)
    }

    fn standstill(&self) -> Option<String> {
        let entries: BTreeMap<_, _> = self.pipeline.ledger.read();
        entries[&self.name()].standstill().map(str::to_owned)
    }

    fn letters(&self) -> Vec<Record> {
        self.memory.kept.lock().unwrap().clone()
    }

    async fn end(mut self) -> ShardEnd {
        self.stop.raise();
        self.task.join_next().await.unwrap().unwrap()
    }
}

fn seconds(seconds: u64) -> impl Future<Output = ()> {
    sleep(Duration::from_secs(seconds))
}

fn page(logs: &[&str]) -> Vec<String> {
    logs.iter().map(ToString::to_string).collect()
}

/// `bad` logs of `kind`, and good logs up to a total of `all`.
fn many(all: usize, bad: usize, kind: &str) -> Vec<String> {
    (0..all).map(|log| if log < bad { format!("{log}:{kind}") } else { format!("{log}:keep") }).collect()
}

#[tokio::test(start_paused = true)]
async fn a_failed_log_is_dead_lettered_and_its_neighbours_are_delivered() {
    let bench = start(&[page(&["a:keep", "b:bad", "c:drop", "d:keep"])], OnError::DeadLetter, OnReject::DeadLetter);
    seconds(5).await;
    let counts = bench.counts();
    assert_eq!((counts.delivered, counts.dropped, counts.dead_lettered, counts.difference()), (2, 1, 1, 0));
    assert_eq!((bench.saved(), counts.in_flight), (Some(1), 0));
    let letters = bench.letters();
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((letter.reason, letter.id()), (Reason::ScriptError, "project/logstore/3-0-1".to_owned()));
    assert!(letter.message.starts_with("t.lua:3: bad"), "{}", letter.message);
    assert_eq!(letter.script, bench.pipeline.hooks.script().version);
    let keys: Vec<_> = letter.log.iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect();
    assert_eq!(keys, ["__time__", "__topic__", "__source__", "id", "kind"]);
    assert_eq!(bench.end().await, ShardEnd::Released);
}

#[tokio::test(start_paused = true)]
async fn a_shard_stops_at_its_end_and_is_saved_there() {
    let pages = [page(&["a:keep"]), page(&["b:keep"]), page(&["c:keep"])];
    let mut bench = start_until(2, &pages);
    assert_eq!(bench.task.join_next().await.unwrap().unwrap(), ShardEnd::Past);
    assert_eq!((bench.taken(), bench.saved()), (vec!["a".to_owned(), "b".to_owned()], Some(2)));
    assert_eq!(bench.counts().difference(), 0);
    let mut again = bench.killed_and_started_again().await;
    assert_eq!(again.task.join_next().await.unwrap().unwrap(), ShardEnd::Past, "nothing is left");
    assert_eq!(again.counts().delivered, 2);
}

#[tokio::test(start_paused = true)]
async fn a_shard_whose_end_is_in_the_future_reads_what_is_written_until_then() {
    let pages = [page(&["a:keep"]), page(&["b:keep"]), page(&["c:keep"])];
    let mut bench = start_until(2, &pages);
    bench.pipeline.source.written.store(1, Ordering::Relaxed);
    seconds(5).await;
    assert_eq!((bench.taken(), bench.saved()), (vec!["a".to_owned()], Some(1)));
    assert!(bench.pipeline.ledger.read()[&bench.name()].caught_up);
    bench.pipeline.source.written.store(3, Ordering::Relaxed);
    assert_eq!(bench.task.join_next().await.unwrap().unwrap(), ShardEnd::Past);
    assert_eq!((bench.taken().len(), bench.saved()), (2, Some(2)));
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_after_the_end_stays_where_it_is() {
    let bench = start(&[page(&["a:keep"]), page(&["b:keep"])], OnError::DeadLetter, OnReject::DeadLetter);
    bench.delivered(2).await;
    let pipeline = Arc::clone(&bench.pipeline);
    assert_eq!(bench.end().await, ShardEnd::Released);
    let pipeline = Arc::into_inner(pipeline).expect("no other code has it");
    let pace = Pace { until: Some(Start::Time(1)), ..pipeline.pace };
    let mut late = Bench::on(Arc::new(Pipeline { pace, ..pipeline }), Memory::default());
    assert_eq!(late.task.join_next().await.unwrap().unwrap(), ShardEnd::Past);
    assert_eq!(late.saved(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn logs_after_the_end_are_not_delivered_whatever_the_source_sends() {
    let bench = start_until(1, &[page(&["a:keep"]), page(&["b:keep"])]);
    bench.pipeline.source.heeds_no_end.store(true, Ordering::Relaxed);
    bench.pipeline.source.skips.store(true, Ordering::Relaxed);
    seconds(60).await;
    assert_eq!((bench.taken(), bench.saved()), (Vec::new(), Some(0)));
}

#[tokio::test(start_paused = true)]
async fn a_page_larger_than_all_of_the_memory_waits_until_it_is_alone_and_is_delivered() {
    let large: Vec<String> = (0..2_000).map(|log| format!("{log:010000}:keep")).collect();
    let bench = start(&[large, page(&["a:keep"])], OnError::DeadLetter, OnReject::DeadLetter);
    let other = bench.pipeline.budget.take(1 << 20).await;
    seconds(5).await;
    assert_eq!(bench.counts().pulled, 0, "somebody else has some of the memory");
    drop(other);
    seconds(5).await;
    assert_eq!((bench.counts().delivered, bench.saved(), bench.pipeline.budget.used()), (2_001, Some(2), 0));
}

/// Fails if a batch whose memory was returned to the budget still takes it: one batch that is not acknowledged for
/// minutes would hold all later ones in memory.
#[tokio::test(start_paused = true)]
async fn a_delivered_batch_takes_no_memory_while_an_earlier_one_is_not_delivered() {
    let bench = start(&numbered(0, 10), OnError::DeadLetter, OnReject::DeadLetter);
    let siem = &bench.pipeline.destinations[0].destination;
    *siem.stuck.lock().unwrap() = Some("003");
    seconds(5).await;
    assert_eq!((siem.taken.lock().unwrap().len(), bench.saved()), (9, Some(3)));
    let kept: Vec<bool> = siem.came.lock().unwrap().iter().map(|batch| batch.strong_count() > 0).collect();
    assert_eq!(kept, (0..10).map(|number| number == 3).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn while_memory_is_short_pages_are_small_unless_many_batches_are_in_flight() {
    let bench = start(&numbered(0, 200), OnError::DeadLetter, OnReject::DeadLetter);
    let source = &bench.pipeline.source;
    *source.trip.lock().unwrap() = Duration::from_millis(100);
    *bench.pipeline.destinations[0].destination.down.lock().unwrap() = true;
    let _other = bench.pipeline.budget.take(9 << 20).await;
    seconds(4).await;
    // A pull takes 100 ms.
    assert_eq!(source.asked.load(Ordering::Relaxed), 2);
    assert!(bench.counts().in_flight < 64, "{:?}", bench.counts());
    seconds(4).await;
    assert_eq!(source.asked.load(Ordering::Relaxed), 10);
    assert!(bench.counts().in_flight > 64, "{:?}", bench.counts());
}

/// Fails if a page that is packed after the script has read it is searched for probe logs: they would never be found.
#[tokio::test(start_paused = true)]
async fn a_probe_log_is_found_in_a_page_that_is_kept_packed() {
    let bench = start(&numbered(0, 1), OnError::DeadLetter, OnReject::DeadLetter);
    let (probes, source) = (bench.pipeline.ledger.probes(), SourceName::new("logstore"));
    assert_eq!(probes.begin(&source, &[ShardId(3)], "000", Instant::now()), Some(ShardId(3)));
    seconds(5).await;
    let status = &probes.read(Instant::now())[&source];
    assert_eq!((status.waiting, status.took.is_some()), (None, true));
}

#[tokio::test(start_paused = true)]
async fn a_refused_pull_is_shown_for_its_shard_until_it_succeeds() {
    let bench = start(&[page(&["a:keep"])], OnError::DeadLetter, OnReject::DeadLetter);
    let failing = |bench: &Bench| {
        let entries = bench.pipeline.ledger.read();
        entries.values().next().unwrap().failing.keys().copied().collect::<Vec<_>>()
    };
    seconds(5).await;
    assert_eq!(failing(&bench), []);
    bench.pipeline.source.refuses.store(true, Ordering::Relaxed);
    seconds(95).await;
    assert_eq!(failing(&bench), [Ask::Pull]);
    bench.pipeline.source.refuses.store(false, Ordering::Relaxed);
    seconds(60).await;
    assert_eq!(failing(&bench), []);
}

/// Fails if a refused cursor always counts as expired: its logs would be called lost, and all older ones sent again.
#[tokio::test(start_paused = true)]
async fn a_refused_cursor_is_a_gap_only_if_its_logs_have_expired() {
    let pages = ["a:keep", "b:keep", "c:keep"].map(|log| page(&[log]));
    for (oldest, taken, gaps) in [(0, 3, 0), (1, 3, 0), (2, 2, 1)] {
        let bench = start(&pages, OnError::DeadLetter, OnReject::DeadLetter);
        *bench.pipeline.source.stale.lock().unwrap() = Some(1);
        bench.pipeline.source.oldest.store(oldest, Ordering::Relaxed);
        *bench.pipeline.source.saved.lock().unwrap() = Some(Cursor::from_number(0));
        seconds(60).await;
        let counts = bench.counts();
        assert_eq!((bench.taken().len(), counts.gaps, bench.saved()), (taken, gaps, Some(3)), "oldest {oldest}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_event_is_a_dead_letter_that_mentions_its_siblings() {
    let pages = [page(&["a:keep"]), page(&["b:keep", "c:two"])];
    let bench = start(&pages, OnError::DeadLetter, OnReject::DeadLetter);
    seconds(5).await;
    let counts = bench.counts();
    assert_eq!((counts.delivered, counts.dead_lettered, counts.events, counts.difference()), (2, 1, 3, 0));
    assert_eq!(bench.saved(), Some(2));
    let letters = bench.letters();
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!(
        (letter.reason, letter.code.as_str(), letter.id().as_str()),
        (Reason::Rejected, "fake 6", "project/logstore/3-1-1-1")
    );
    assert_eq!(letter.message, "no (event 2 of the 2 of this log, of which 1 were delivered)");
    assert_eq!(letter.event.as_deref(), Some(b"c!".as_slice()));
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_names_the_version_that_made_the_batch_and_not_the_current_one() {
    let bench = start(&[page(&["a:two"])], OnError::DeadLetter, OnReject::DeadLetter);
    sleep(Duration::from_millis(5)).await;
    let hooks = &bench.pipeline.hooks;
    let made_by = hooks.script().version.clone();
    let passed = hooks.trial(Script::from_text("t.lua", format!("{SCRIPT} "))).run("", true).unwrap();
    hooks.put_in_force(passed, Instant::now());
    assert_eq!((bench.letters().len(), bench.counts().in_flight), (0, 1), "the batch is on its way");
    seconds(5).await;
    let letters = bench.letters();
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!(letter.script, made_by);
    assert_ne!(hooks.script().version, made_by);
}

#[tokio::test(start_paused = true)]
async fn f75_a_full_disk_pauses_the_shard_until_there_is_room() {
    let pages = [page(&["a:keep"]), page(&["b:bad"]), page(&["c:keep"])];
    let bench = start(&pages, OnError::DeadLetter, OnReject::DeadLetter);
    *bench.memory.full.lock().unwrap() = true;
    seconds(600).await;
    assert_eq!(bench.saved(), Some(1), "nothing passes the letter that is not on disk");
    assert!(bench.standstill().unwrap().contains("no room"), "{:?}", bench.standstill());
    assert_eq!((bench.counts().in_flight, bench.counts().difference()), (2, 0));
    *bench.memory.full.lock().unwrap() = false;
    seconds(60).await;
    assert_eq!((bench.saved(), bench.standstill(), bench.letters().len()), (Some(3), None, 1));
    assert_eq!(bench.counts().delivered, 2);
}

#[tokio::test(start_paused = true)]
async fn while_the_disk_is_full_one_batch_of_a_shard_retries_for_all() {
    let bench = start(&[page(&["a:bad"]), page(&["b:bad"])], OnError::DeadLetter, OnReject::DeadLetter);
    *bench.memory.full.lock().unwrap() = true;
    seconds(600).await;
    assert_eq!(bench.counts().in_flight, 2);
    assert_eq!(bench.memory.refused.lock().unwrap().len(), 1, "{:?}", bench.memory.refused);
    *bench.memory.full.lock().unwrap() = false;
    seconds(60).await;
    assert_eq!((bench.saved(), bench.letters().len()), (Some(2), 2));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_after_a_batch_that_waits_for_the_disk() {
    let mut pages = vec![page(&["a:bad"])];
    pages.extend((0..30).map(|_| page(&["b:keep"])));
    let bench = start(&pages, OnError::DeadLetter, OnReject::DeadLetter);
    *bench.memory.full.lock().unwrap() = true;
    *bench.pipeline.source.trip.lock().unwrap() = Duration::from_millis(100);
    seconds(600).await;
    assert_eq!(
        bench.pipeline.destinations[0].destination.taken.lock().unwrap().len(),
        0,
        "it would be sent again after a restart"
    );
    *bench.memory.full.lock().unwrap() = false;
    seconds(60).await;
    assert_eq!((bench.saved(), bench.counts().delivered), (Some(31), 30));
    assert_eq!(bench.end().await, ShardEnd::Released);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_durable_when_every_destination_has_it() {
    let pages = [page(&["a:keep", "b:drop"]), page(&["c:keep"])];
    let bench = start_to(2, &pages, OnError::DeadLetter, OnReject::DeadLetter);
    let [first, second] = &*bench.pipeline.destinations else { panic!("two destinations") };
    let (first, second) = (&first.destination, &second.destination);
    *second.down.lock().unwrap() = true;
    seconds(60).await;
    assert_eq!(*first.taken.lock().unwrap(), ["a", "c"]);
    assert_eq!((bench.saved(), bench.counts().delivered), (Some(0), 0), "one of two has not got it");
    *second.down.lock().unwrap() = false;
    seconds(5).await;
    assert_eq!(*second.taken.lock().unwrap(), ["a", "c"]);
    assert_eq!((bench.saved(), bench.counts().delivered, bench.counts().events), (Some(2), 2, 4));
    assert_eq!((bench.counts().dropped, bench.counts().difference()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_event_rejected_by_one_of_two_destinations_is_dead_lettered_once() {
    let pages = [page(&["a:keep", "b:two", "c:keep"])];
    let bench = start_to(2, &pages, OnError::DeadLetter, OnReject::DeadLetter);
    *bench.pipeline.destinations[0].destination.strict.lock().unwrap() = false;
    seconds(5).await;
    let letters = bench.letters();
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((letter.id().as_str(), letter.event.as_deref()), ("project/logstore/3-0-1-1", Some(b"b!".as_slice())));
    assert_eq!(letter.destination.as_ref().map(DestinationName::as_str), Some("to1"), "and it says whose it is");
    let events = |at: usize| bench.pipeline.destinations[at].account.read();
    assert_eq!(events(0), EventCounts { delivered: 4, ..EventCounts::default() });
    assert_eq!(events(1), EventCounts { delivered: 3, rejected: 1, ..EventCounts::default() });
    let counts = bench.counts();
    assert_eq!((counts.delivered, counts.dead_lettered, counts.events, counts.difference()), (2, 1, 7, 0));
    assert_eq!(bench.saved(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_log_rejected_by_two_destinations_is_two_dead_letters_and_counts_once() {
    let bench = start_to(2, &[page(&["a:keep", "b:two"])], OnError::DeadLetter, OnReject::DeadLetter);
    seconds(5).await;
    let letters = bench.letters();
    let names: Vec<_> = letters.iter().map(|letter| letter.destination.as_ref().unwrap().as_str()).collect();
    assert_eq!((names.as_slice(), letters[0].id() == letters[1].id()), (["to0", "to1"].as_slice(), true));
    let counts = bench.counts();
    assert_eq!((counts.delivered, counts.dead_lettered, counts.events, counts.difference()), (1, 1, 4, 0));
}

/// Two destinations; the second gets copies of dead letters.
fn start_copied(pages: &[Vec<String>]) -> Bench {
    start_with(Plan { copies: Some(1), ..Plan::to(2) }, pages, OnError::DeadLetter, OnReject::DeadLetter)
}

/// The ids of the copies of dead letters that a destination accepted.
fn copies_at(bench: &Bench, number: usize) -> Vec<String> {
    let taken = bench.pipeline.destinations[number].destination.taken.lock().unwrap().clone();
    let copies = taken.iter().filter_map(|text| text.split_once('{'));
    copies
        .map(|(_, json)| serde_json::from_str::<serde_json::Value>(&format!("{{{json}")).unwrap()["id"].to_string())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_counts_once_the_copy_is_delivered_as_well() {
    let bench = start_copied(&[page(&["a:keep", "b:bad"]), page(&["c:two"])]);
    let [first, second] = &*bench.pipeline.destinations else { panic!("two destinations") };
    *second.destination.strict.lock().unwrap() = false;
    seconds(5).await;
    assert_eq!(copies_at(&bench, 1), ["\"project/logstore/3-0-1\"", "\"project/logstore/3-1-0-1\""]);
    assert_eq!(copies_at(&bench, 0), Vec::<String>::new());
    assert_eq!((bench.letters().len(), bench.saved(), bench.counts().dead_lettered), (2, Some(2), 2));
    assert_eq!(first.account.read().delivered, 2, "a, and one of c");
    assert_eq!(second.account.read().delivered, 5, "a, both of c, and two copies");
}

#[tokio::test(start_paused = true)]
async fn an_undelivered_copy_holds_the_checkpoint_back_and_is_delivered_once() {
    let bench = start_copied(&[page(&["b:bad"]), page(&["a:keep"])]);
    *bench.pipeline.destinations[1].destination.down.lock().unwrap() = true;
    seconds(600).await;
    assert_eq!((bench.letters().len(), bench.saved(), bench.counts().dead_lettered), (1, Some(0), 0));
    let standstill = |bench: &Bench| {
        let entries = bench.pipeline.ledger.read();
        entries.values().next().unwrap().standstill().map(str::to_owned)
    };
    assert!(standstill(&bench).unwrap().contains("does not take the copies of dead letters"));
    *bench.pipeline.destinations[1].destination.down.lock().unwrap() = false;
    seconds(5).await;
    assert_eq!(standstill(&bench), None);
    assert_eq!(copies_at(&bench, 1).len(), 1);
    assert_eq!((bench.letters().len(), bench.saved(), bench.counts().dead_lettered), (1, Some(2), 1));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_copy_stays_on_disk_and_delays_nothing() {
    let bench = start_copied(&[page(&["b:bad"]), page(&["a:keep"])]);
    *bench.pipeline.destinations[1].destination.refuses_copies.lock().unwrap() = true;
    seconds(5).await;
    assert_eq!((copies_at(&bench, 1).len(), bench.letters().len(), bench.saved()), (0, 1, Some(2)));
    assert_eq!(bench.pipeline.destinations[1].account.read().rejected, 1);
}

#[tokio::test(start_paused = true)]
async fn events_missed_by_an_isolated_destination_are_not_copied_and_no_copy_is_sent_after_the_tenure() {
    let plan = Plan { isolated: Some(10), copies: Some(0), ..Plan::to(2) };
    let bench = start_with(plan, &[page(&["a:keep"]), page(&["c:bad"])], OnError::DeadLetter, OnReject::DeadLetter);
    *bench.pipeline.destinations[1].destination.down.lock().unwrap() = true;
    seconds(600).await;
    assert_eq!((bench.letters().len(), copies_at(&bench, 0)), (2, vec!["\"project/logstore/3-1-0\"".to_owned()]));

    let mut bench = start_copied(&[page(&["b:bad"])]);
    *bench.pipeline.destinations[1].destination.down.lock().unwrap() = true;
    seconds(5).await;
    bench.over.raise();
    assert_eq!(bench.task.join_next().await.unwrap().unwrap(), ShardEnd::Over);
    assert_eq!(bench.saved(), Some(0));
}

fn numbered(from: usize, pages: usize) -> Vec<Vec<String>> {
    (from..from + pages).map(|number| vec![format!("{number:03}:keep")]).collect()
}

#[tokio::test(start_paused = true)]
async fn while_an_isolated_destination_is_down_the_others_continue_and_it_catches_up_in_order() {
    let bench = start_isolated(500, &numbered(0, 100));
    let [first, second] = &*bench.pipeline.destinations else { panic!("two destinations") };
    *second.destination.down.lock().unwrap() = true;
    seconds(600).await;
    assert_eq!(first.destination.taken.lock().unwrap().len(), 100, "the other one has everything");
    assert_eq!(bench.saved(), Some(100));
    assert_eq!((bench.letters().len(), second.destination.taken.lock().unwrap().len()), (100, 0));
    let counts = bench.counts();
    assert_eq!((counts.delivered, counts.dead_lettered, counts.difference()), (0, 100, 0));
    assert_eq!((second.account.read().missed, second.isolation.as_ref().unwrap().mode()), (100, IsolationMode::Aside));
    assert!(bench.letters()[0].message.contains("the destination was down: down"), "{:?}", bench.letters()[0]);
    *second.destination.down.lock().unwrap() = false;
    seconds(30).await;
    let expected: Vec<String> = (0..100).map(|number| format!("{number:03}")).collect();
    assert_eq!(*second.destination.taken.lock().unwrap(), expected, "in order, and each once");
    assert_eq!((bench.letters().len(), second.account.read().replayed), (0, 100));
    assert_eq!(second.isolation.as_ref().unwrap().mode(), IsolationMode::Direct);
    assert_eq!(bench.end().await, ShardEnd::Released);
}

#[tokio::test(start_paused = true)]
async fn events_wait_in_memory_for_an_isolated_destination_up_to_its_share() {
    let bench = start_isolated(1 << 20, &numbered(0, 5));
    let second = &bench.pipeline.destinations[1];
    *second.destination.down.lock().unwrap() = true;
    seconds(600).await;
    assert_eq!((bench.letters().len(), bench.saved()), (0, Some(0)), "there is room for five small pages");
    *second.destination.down.lock().unwrap() = false;
    seconds(5).await;
    assert_eq!((second.destination.taken.lock().unwrap().len(), bench.counts().delivered), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn a_stop_writes_what_waits_for_an_isolated_destination_and_ends_cleanly() {
    let bench = start_isolated(1 << 20, &numbered(0, 5));
    *bench.pipeline.destinations[1].destination.down.lock().unwrap() = true;
    seconds(10).await;
    let (pipeline, memory) = (Arc::clone(&bench.pipeline), bench.memory.clone());
    assert_eq!(bench.end().await, ShardEnd::Released);
    assert_eq!(pipeline.source.saved.lock().unwrap().as_ref().and_then(Cursor::number), Some(5));
    assert_eq!(memory.kept.lock().unwrap().len(), 5, "and is replayed after the next start");
    *pipeline.destinations[1].destination.down.lock().unwrap() = false;
    let again = Bench::on(pipeline, memory);
    seconds(10).await;
    assert_eq!(again.pipeline.destinations[1].destination.taken.lock().unwrap().len(), 5);
    assert!(again.letters().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_full_store_pauses_the_shard_rather_than_let_an_isolated_destination_lose_anything() {
    let bench = start_isolated(1, &numbered(0, 5));
    *bench.memory.full.lock().unwrap() = true;
    *bench.pipeline.destinations[1].destination.down.lock().unwrap() = true;
    seconds(600).await;
    assert_eq!((bench.saved(), bench.counts().dead_lettered), (Some(0), 0));
    *bench.memory.full.lock().unwrap() = false;
    seconds(120).await;
    assert_eq!((bench.saved(), bench.counts().dead_lettered), (Some(5), 5));
}

#[tokio::test(start_paused = true)]
async fn events_that_a_recovered_isolated_destination_rejects_become_its_dead_letters() {
    let bench = start_isolated(1, &[page(&["a:keep", "b:two"])]);
    *bench.pipeline.destinations[0].destination.strict.lock().unwrap() = false;
    *bench.pipeline.destinations[1].destination.down.lock().unwrap() = true;
    seconds(10).await;
    assert_eq!(bench.letters().len(), 3);
    *bench.pipeline.destinations[1].destination.down.lock().unwrap() = false;
    seconds(10).await;
    let letters = bench.letters();
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((letter.reason, letter.event.as_deref()), (Reason::Rejected, Some(b"b!".as_slice())));
    let events = bench.pipeline.destinations[1].account.read();
    assert_eq!((events.missed, events.replayed, events.rejected), (3, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_skips_logs_halts_the_shard_with_a_bug_report_and_moves_no_checkpoint() {
    let bench = start(&[page(&["a:keep"]), page(&["b:keep"])], OnError::DeadLetter, OnReject::DeadLetter);
    bench.pipeline.source.skips.store(true, Ordering::Relaxed);
    seconds(60).await;
    assert_eq!(bench.saved(), Some(0));
    let why = bench.standstill().unwrap();
    assert!(why.contains("BUG") && why.contains("durable only up to"), "{why}");
    assert_eq!(bench.end().await, ShardEnd::GivenBack);
}

/// Twelve logs of two bytes each, and a second page.
fn pages_of_twelve() -> [Vec<String>; 2] {
    [0, 1].map(|page| (10..22).map(|log| format!("{}:keep", log + 20 * page)).collect())
}

#[tokio::test(start_paused = true)]
async fn a_page_in_parts_is_delivered_part_by_part_and_moves_the_checkpoint_at_its_end() {
    let bench = start_in_parts(6, &pages_of_twelve());
    while bench.saved() != Some(2) {
        let counts = bench.counts();
        assert_eq!(counts.difference(), 0);
        assert!(counts.delivered >= 12 * bench.saved().unwrap_or(0).unsigned_abs(), "{counts:?}");
        sleep(Duration::from_millis(1)).await;
    }
    let counts = bench.counts();
    assert_eq!((counts.pulled, counts.delivered, counts.in_flight, counts.cuts), (24, 24, 0, 6));
    let all: Vec<String> = (10..22).chain(30..42).map(|log: u32| log.to_string()).collect();
    assert_eq!(bench.taken(), all);
}

#[tokio::test(start_paused = true)]
async fn a_kill_in_the_middle_of_a_page_repeats_its_parts_and_loses_nothing() {
    for logs in [3, 6, 9] {
        let bench = start_in_parts(6, &pages_of_twelve());
        *bench.pipeline.destinations[0].destination.each.lock().unwrap() = Duration::from_millis(100);
        bench.delivered(logs).await;
        assert_eq!(bench.saved(), Some(0));
        *bench.pipeline.destinations[0].destination.each.lock().unwrap() = Duration::ZERO;
        let bench = bench.killed_and_started_again().await;
        bench.delivered(logs + 24).await;
        seconds(2).await;
        assert_eq!((bench.saved(), bench.counts().difference()), (Some(2), 0));
        let mut taken = bench.taken();
        assert!(taken.len() > 24 && taken.len() <= 36, "{taken:?}");
        taken.dedup();
        assert_eq!(taken.len(), 24);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_end_of_a_page_with_a_part_in_flight() {
    // More parts than can be in flight at once.
    let bench = start_in_parts(1, &[many(900, 0, "keep"), many(900, 0, "keep")]);
    *bench.pipeline.destinations[0].destination.each.lock().unwrap() = Duration::from_millis(100);
    bench.delivered(3).await;
    assert!(bench.counts().pulled < 800);
    let pipeline = Arc::clone(&bench.pipeline);
    assert_eq!(bench.end().await, ShardEnd::Released);
    assert_eq!(*pipeline.source.saved.lock().unwrap(), Some(Cursor::from_number(1)));
    let counts = pipeline.ledger.total();
    assert_eq!((counts.delivered, counts.returned, counts.difference()), (900, 0, 0), "nothing comes twice");
}

#[tokio::test(start_paused = true)]
async fn a_script_that_fails_in_the_middle_of_a_page_pauses_it_there() {
    let mut logs = many(150, 0, "keep");
    logs.extend(many(300, 200, "bad"));
    let bench = start_in_parts(1_000, &[logs]);
    seconds(300).await;
    let counts = bench.counts();
    assert_eq!((counts.delivered, counts.difference()), (150, 0), "what was good before is there");
    assert!(counts.dead_lettered > 0 && counts.dead_lettered < 110 && counts.in_flight > 0, "{counts:?}");
    assert_eq!(bench.saved(), Some(0));
    assert!(bench.standstill().unwrap().contains("t.lua:3: "), "{:?}", bench.standstill());
    let pipeline = Arc::clone(&bench.pipeline);
    assert_eq!(bench.end().await, ShardEnd::GivenBack);
    assert_eq!((pipeline.ledger.total().difference(), pipeline.budget.used()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_too_large_is_dead_lettered_with_that_reason() {
    let bench = start(&[page(&["large:two"])], OnError::DeadLetter, OnReject::DeadLetter);
    seconds(5).await;
    let letters = bench.letters();
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((letter.reason, letter.code.as_str()), (Reason::TooLarge, "http 413"));
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_waits_for_the_disk_can_be_stopped_and_returns_its_logs() {
    let bench = start(&[page(&["a:bad"])], OnError::DeadLetter, OnReject::DeadLetter);
    *bench.memory.full.lock().unwrap() = true;
    seconds(60).await;
    let pipeline = Arc::clone(&bench.pipeline);
    assert_eq!(bench.end().await, ShardEnd::GivenBack);
    let counts = pipeline.ledger.total();
    assert_eq!((counts.pulled, counts.returned, counts.difference()), (0, 1, 0));
    assert_eq!(*pipeline.source.saved.lock().unwrap(), Some(Cursor::from_number(0)));
}

#[tokio::test(start_paused = true)]
async fn f38_a_script_that_fails_on_most_logs_pauses_the_shard_before_them() {
    let pages = [many(300, 0, "keep"), many(300, 200, "bad"), many(10, 0, "keep")];
    let bench = start(&pages, OnError::DeadLetter, OnReject::DeadLetter);
    seconds(300).await;
    assert_eq!((bench.saved(), bench.letters().len()), (Some(1), 0));
    let why = bench.standstill().unwrap();
    assert!(
        why.contains("200 of 300 logs within a minute (66 %)") && why.contains("t.lua:3: the script raised"),
        "{why}"
    );
    assert!(!why.contains("bad"), "the text of a log is in the status: {why}");
    assert_eq!((bench.counts().in_flight, bench.counts().difference()), (300, 0));
    assert_eq!(bench.end().await, ShardEnd::GivenBack);
}

#[tokio::test(start_paused = true)]
async fn f56_a_destination_that_rejects_most_events_pauses_the_shard_until_it_accepts_them() {
    let bench = start(&[many(300, 200, "two"), page(&["z:keep"])], OnError::DeadLetter, OnReject::DeadLetter);
    seconds(300).await;
    assert_eq!((bench.saved(), bench.letters().len()), (Some(0), 0));
    assert!(bench.standstill().unwrap().ends_with("fake 6"), "{:?}", bench.standstill());
    *bench.pipeline.destinations[0].destination.strict.lock().unwrap() = false;
    seconds(40).await;
    assert_eq!((bench.saved(), bench.standstill(), bench.letters().len()), (Some(2), None, 0));
    let mut taken = bench.pipeline.destinations[0].destination.taken.lock().unwrap().clone();
    taken.sort();
    assert_eq!(taken.len(), 501);
    taken.dedup();
    assert_eq!(taken.len(), 501, "what was taken is not sent again");
}

#[tokio::test(start_paused = true)]
async fn halt_stops_at_a_failed_log_and_at_a_rejected_event() {
    for kind in ["bad", "two"] {
        let pages = [page(&["a:keep"]), vec![format!("b:{kind}")], page(&["c:keep"])];
        let bench = start(&pages, OnError::Halt, OnReject::Halt);
        // The third pull is in progress when the second page is refused.
        *bench.pipeline.source.trip.lock().unwrap() = Duration::from_millis(100);
        seconds(300).await;
        assert_eq!((bench.saved(), bench.letters().len(), bench.counts().failed), (Some(1), 0, 1), "{kind}");
        assert!(bench.standstill().is_some());
        assert_eq!(bench.pipeline.budget.used(), 0, "a shard that stands still takes nothing from the others");
        assert_eq!(bench.end().await, ShardEnd::GivenBack);
    }
}

#[tokio::test(start_paused = true)]
async fn a_halted_shard_starts_again_when_another_version_of_the_script_runs() {
    for kind in ["bad", "two"] {
        let pages = [page(&["a:keep"]), vec![format!("b:{kind}")]];
        let mut bench = start(&pages, OnError::Halt, OnReject::Halt);
        seconds(300).await;
        assert!(bench.task.try_join_next().is_none(), "{kind}: it waits for somebody to act");
        let (hooks, mended) = (&bench.pipeline.hooks, Script::from_text("t.lua", format!("{SCRIPT}-- mended")));
        hooks.put_in_force(hooks.trial(mended).run("", true).unwrap(), tokio::time::Instant::now());
        assert_eq!(bench.task.join_next().await.unwrap().unwrap(), ShardEnd::Reloaded, "{kind}");
        assert_eq!(bench.saved(), Some(1), "{kind}: it goes on from the checkpoint");
    }
}

#[tokio::test(start_paused = true)]
async fn pass_sends_the_failed_log_unchanged_and_drop_counts_it() {
    let pages = [page(&["a:keep", "b:bad", "c:keep"])];
    let bench = start(&pages, OnError::Pass, OnReject::DeadLetter);
    seconds(5).await;
    let passed = "1700000000|__time__=1700000000|__topic__=|__source__=|id=b|kind=bad";
    assert_eq!(*bench.pipeline.destinations[0].destination.taken.lock().unwrap(), ["a", passed, "c"]);
    assert_eq!((bench.counts().delivered, bench.saved()), (3, Some(1)));

    let bench = start(&pages, OnError::Drop, OnReject::DeadLetter);
    seconds(5).await;
    assert_eq!(*bench.pipeline.destinations[0].destination.taken.lock().unwrap(), ["a", "c"]);
    let counts = bench.counts();
    assert_eq!((counts.delivered, counts.dropped, counts.difference(), bench.saved()), (2, 1, 0, Some(1)));
}

/// What a shard logs during five seconds of pages that each have a log on which the script fails.
async fn told(on_error: OnError, page: &[String]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    let log = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .with_writer(Mutex::new(file.reopen().unwrap()))
        .finish();
    // With only one subscriber, a call site that another thread reaches first stays disabled.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _set = tracing::subscriber::set_default(log);
    let bench = start(&[page.to_vec()], on_error, OnReject::DeadLetter);
    seconds(5).await;
    drop(bench);
    std::fs::read_to_string(file.path()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_failed_log_is_logged_once_with_its_fate() {
    let few: Vec<String> = page(&["a:keep", "b:bad", "c:bad", "d:keep"]);
    let many = (0..200).map(|log| format!("{log}:bad")).collect::<Vec<_>>();
    for (on_error, page, fate) in [
        (OnError::DeadLetter, &few, "written as a dead letter"),
        (OnError::Pass, &few, "sent unchanged"),
        (OnError::Drop, &few, "dropped"),
        (OnError::Halt, &few, "the shard is halted"),
        (OnError::DeadLetter, &many, "paused: the page is retried"),
    ] {
        let said = told(on_error, page).await;
        let at = if page.len() > 4 { 0 } else { 1 };
        let expected = format!("; log: log {at} of the page at MA== of shard logstore/3; then: {fate}");
        assert_eq!(said.matches("code: if log.kind == \"bad\"").count(), 1, "{on_error:?}: {said}");
        assert!(said.contains(&expected), "{on_error:?}: {said}");
    }
}

/// Each shard waits one second between two pulls of a tenth of a second: 54 pulls per minute.
#[tokio::test(start_paused = true)]
async fn a_hundred_idle_shards_do_not_wait_for_each_others_memory() {
    let bench = start(&[], OnError::DeadLetter, OnReject::DeadLetter);
    let source = &bench.pipeline.source;
    *source.trip.lock().unwrap() = Duration::from_millis(100);
    let lease = Lease::lapsed(Instant::now());
    lease.extend(Instant::now() + Duration::from_secs(1_000_000));
    let ((_stopper, stopped), (_over, over)) = (stop(), stop());
    let mut tasks = JoinSet::new();
    for shard in 0..100 {
        let tenure = Tenure::new(lease.clone(), over.clone());
        tasks.spawn(run(Arc::clone(&bench.pipeline), ShardId(shard), stopped.clone(), tenure));
    }
    seconds(10).await;
    let before = source.pulls.load(Ordering::Relaxed);
    seconds(60).await;
    let pulls = source.pulls.load(Ordering::Relaxed) - before;
    assert!(pulls >= 100 * 50, "{pulls} pulls of 101 idle shards within a minute");
}

/// Otherwise many shards that wake up at once would pull far more than the small credit that each has reserved.
#[tokio::test(start_paused = true)]
async fn an_idle_shard_requests_few_log_groups() {
    let bench = start(&[], OnError::DeadLetter, OnReject::DeadLetter);
    seconds(10).await;
    assert_eq!(bench.pipeline.source.asked.load(Ordering::Relaxed), 1, "of the ten at first");
}
