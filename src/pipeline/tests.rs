//! One shard with a script and a paused clock. Its source, its destinations and its store of dead letters are fakes.

mod checkpoint;
mod destinations;
mod failures;
mod fakes;
mod full_disk;
mod isolation;
mod memory;
mod parts;
mod surplus;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;
use fakes::{Memory, Pages, Siem, Texts};
use prost::Message as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::*;
use crate::core::destination_name::DestinationName;
use crate::core::event::DestinationFormat;
use crate::core::lease::Lease;
use crate::core::ledger::Counts;
use crate::core::stop::{Stopper, stop};
use crate::dead_letter::{Reason, Record};
use crate::loggroup::proto::{Log, LogGroup, LogGroupList, Pair};
use crate::script::{Config, Script};

const SCRIPT: &str = r#"
function process(log)
  if log.kind == "bad" then error("bad") end
  if log.kind == "drop" then return nil end
  if log.kind == "first" then return { event = log.id, to = "to0" } end
  if log.kind == "two" then return { log.id, log.id .. "!" } end
  if log.kind == "huge" then return ("x"):rep(2 << 20) end
  return log.id
end
"#;

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
    /// Whether dead letters of which it has a copy are on disk.
    disk: bool,
    budget: Budget,
    /// Number of pages that can be pulled at first.
    written: u32,
}

impl Plan {
    fn to(destinations: usize) -> Self {
        let (bytes, budget) = (PartSize::default().bytes, Budget::new(1 << 24));
        Self { destinations, bytes, until: None, isolated: None, copies: None, disk: true, budget, written: u32::MAX }
    }
}

fn start_with(plan: Plan, pages: &[Vec<String>], on_error: OnError, on_reject: OnReject) -> Bench {
    let Plan { destinations, bytes, until, isolated, copies, disk, budget, written } = plan;
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
    let config =
        Config { timeout: Duration::from_secs(1), memory: 16 << 20, total: Arc::default(), vars: toml::Table::new() };
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
            refuses_saves: AtomicBool::new(false),
            stale: Mutex::default(),
            oldest: AtomicI64::new(0),
            written: AtomicU32::new(written),
            deletions: AtomicU64::new(0),
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
        budget,
        ledger: Arc::default(),
        dead_letters: DeadLetterPolicy {
            keep: Box::new(memory.clone()),
            copies: copies
                .map(|number| Copies::to(&name(number), &formats.clone().into()).unwrap().instead_of_disk(!disk)),
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

fn numbered(from: usize, pages: usize) -> Vec<Vec<String>> {
    (from..from + pages).map(|number| vec![format!("{number:03}:keep")]).collect()
}
