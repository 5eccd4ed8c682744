//! A member of the group: the program's own loops, run against the models.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forwarder::core::budget::SharedBudget;
use forwarder::core::cursor::{ShardId, SourceName, Start};
use forwarder::core::destination_name::DestinationName;
use forwarder::core::event::DestinationFormat;
use forwarder::core::ledger::{Counts, Ledger};
use forwarder::core::source::{Source as _, SourceError};
use forwarder::core::stop::{Stopper, stop};
use forwarder::group;
use forwarder::group::membership::Membership;
use forwarder::group::{Drained, Places};
use forwarder::pipeline::{
    DeadLetterPolicy, FetchInterval, MissedEvents, OnReject, Pace, PartSize, Pipeline, Route, bring_back,
};
use forwarder::script::{Config, Hooks, Meta, Script};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::collectors;
use super::letters::SimLetters;
use super::sink::{IdFormat, SimDestination, SimSink};
use super::source::{GROUP_TIMEOUT, SimSource};
use super::world::{SIEM, World, Worlds};

/// How long a member may take to deliver the logs of shards that it must release.
pub const DRAIN: Duration = Duration::from_secs(20);

/// Maximum bytes that may wait for an isolated archive: a few pages.
const ARCHIVE_BYTES: usize = 2_000;

/// Bytes of events in a part of a page: an event has about seven bytes, a page has up to twenty-four logs.
const PART_BYTES: [usize; 4] = [1, 10, 40, usize::MAX];

const SCRIPT: &str = r#"
function process(log)
  if log.kind == "drop" then return nil end
  if log.kind == "bad" then error("bad") end
  local to = nil
  if log.to ~= "" then
    to = {}
    for name in log.to:gmatch("%S+") do to[#to + 1] = name end
  end
  local function event(suffix)
    return { event = log.id .. suffix, to = to }
  end
  if log.kind == "poison" then return event("!") end
  if log.kind == "half" then return { event("a"), event("b!") } end
  if log.kind == "two" then return { event("a"), event("b") } end
  return event("")
end
"#;

/// What the sources of one process share.
#[derive(Clone)]
pub struct Process {
    name: String,
    pub budget: SharedBudget,
    pub ledger: Arc<Ledger>,
    destinations: Arc<[Route<SimDestination>]>,
    hooks: Arc<Hooks>,
    letters: SimLetters,
    /// Deliver what isolated destinations missed.
    _side: Arc<JoinSet<()>>,
}

impl Process {
    /// A process with these sources and this much memory. Its destinations are those of the first world; the others
    /// must have the same.
    pub fn new(name: &str, bytes: usize, worlds: &[World]) -> Self {
        let sources = Worlds::new(worlds);
        let world = sources.any();
        let (is_cluster, archives) = {
            let world = world.lock();
            let archives = world.archives.iter().map(|archive| (archive.name, archive.isolated));
            (world.cluster.is_some(), archives.collect::<Vec<(&str, bool)>>())
        };
        let route = |text, archive: Option<usize>| {
            let destination = match is_cluster && archive.is_none() {
                true => {
                    let client = Box::new(collectors::client(world, name));
                    SimDestination::Hec { world: world.clone(), client }
                }
                false => SimDestination::Model(SimSink { worlds: sources.clone(), member: name.to_owned(), archive }),
            };
            Route::new(DestinationName::new(text).expect("it is a name"), destination, OnReject::DeadLetter)
        };
        let mut routes = vec![route(SIEM, None)];
        for (number, (name, isolated)) in archives.into_iter().enumerate() {
            let route = route(name, Some(number));
            routes.push(if isolated { route.isolated(ARCHIVE_BYTES) } else { route });
        }
        let format = |name| DestinationFormat { name: Some(name), format: Arc::new(IdFormat) };
        let formats: Vec<_> = routes.iter().map(|route| format(route.name.clone())).collect();
        let config = Config {
            timeout: Duration::from_secs(1),
            memory: 16 << 20,
            total: Arc::default(),
            vars: toml::Table::new(),
        };
        let script = Script::from_text("sim.lua", SCRIPT);
        let [source, project, logstore] = ["", "project", "logstore"].map(str::to_owned);
        let meta = Meta { source, project, logstore, shard: ShardId(0) };
        let hooks = Arc::new(Hooks::new(script, config, formats, meta).expect("it loads"));
        let destinations: Arc<[Route<SimDestination>]> = routes.into();
        let letters = SimLetters::new(sources, name);
        let mut side = JoinSet::new();
        for number in 0..destinations.len() {
            let (destinations, letters) = (Arc::clone(&destinations), letters.clone());
            side.spawn(async move {
                bring_back(MissedEvents { destinations: &destinations, letters: &letters, copies: None }, number).await;
            });
        }
        let (budget, ledger) = (SharedBudget::new(bytes), Arc::default());
        Self { name: name.to_owned(), budget, ledger, destinations, hooks, letters, _side: Arc::new(side) }
    }
}

/// A source of a process, as a member of its group; dropping it kills it at once.
pub struct Member {
    pub name: String,
    parts: Arc<Pipeline<SimSource, SimDestination>>,
    tasks: JoinSet<()>,
    _process: Process,
    leave: Stopper,
    drained: Arc<Mutex<Option<Drained>>>,
    joined: Arc<AtomicBool>,
}

impl Member {
    /// Starts a member in its own process, with room for many parts of a page, which wait for their acknowledgements
    /// concurrently.
    pub fn start(world: &World, name: &str) -> Self {
        Self::start_in(&Process::new(name, 64 << 20, std::slice::from_ref(world)), world)
    }

    /// One source of a process.
    pub fn start_in(process: &Process, world: &World) -> Self {
        let name = &*process.name;
        let (source_name, on_error, start, until, bytes) = {
            let mut world = world.lock();
            world.note(format!("{name} starts"));
            // The next member that gets the same page cuts it at other places.
            let bytes = if world.trouble { PART_BYTES[world.rng.below(4) as usize] } else { world.part_bytes };
            (world.source, world.on_error, world.start, world.until.map(Start::Time), bytes)
        };
        let source = SimSource {
            world: world.clone(),
            member: name.to_owned(),
            group_start: Arc::default(),
            signs: Arc::default(),
            group_missing: Arc::default(),
        };
        let parts = Arc::new(Pipeline {
            source_name: SourceName::new(source_name),
            source: source.clone(),
            destinations: Arc::clone(&process.destinations),
            hooks: Arc::clone(&process.hooks),
            budget: process.budget.for_source(),
            ledger: Arc::clone(&process.ledger),
            dead_letters: DeadLetterPolicy {
                keep: Box::new(process.letters.of(world)),
                copies: None,
                project: "project".to_owned(),
                // Dead letters are told apart by it.
                logstore: source_name.to_owned(),
                on_error,
                max_share: 20,
            },
            taps: Arc::default(),
            pace: Pace {
                start,
                until,
                fetch_interval: FetchInterval::fixed(Duration::from_secs(1)),
                save_interval: Duration::from_secs(1),
                page_groups: 4,
                part: PartSize { bytes, time: Duration::MAX },
            },
        });
        let (leave, left) = stop();
        let drained = Arc::default();
        let ended: Arc<Mutex<Option<Drained>>> = Arc::clone(&drained);
        let joined = Arc::<AtomicBool>::default();
        let mut tasks = JoinSet::new();
        let running = Arc::clone(&parts);
        let has_joined = Arc::clone(&joined);
        tasks.spawn(async move {
            let join = async || {
                let timeout = source.ensure_group().await?;
                if start == Start::End {
                    source.learn().await?;
                }
                Ok::<_, SourceError>(timeout)
            };
            let timeout = loop {
                match join().await {
                    Ok(timeout) => break timeout,
                    Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
                }
            };
            has_joined.store(true, Ordering::Relaxed);
            let places = Places::new(usize::MAX).source(usize::MAX);
            let (beats, line) =
                group::line(SourceName::new(source_name), Membership::new(timeout, places.logstore(), Instant::now()));
            // Heartbeats have their own thread in the program, so they panic alone.
            let mut heart = JoinSet::new();
            let source_of_ends = source.clone();
            heart.spawn(async move { group::beat(&source, beats, GROUP_TIMEOUT / 3).await });
            let (past, left) = (source_of_ends, left);
            let (stopper, stopped) = stop();
            let mut ends = JoinSet::new();
            let ledger = Arc::clone(&running);
            ends.spawn(async move {
                let holds = || ledger.ledger.read().values().any(|entry| entry.held);
                match until {
                    Some(until) => drop(left.or(group::all_past(&past, until, holds)).await),
                    None => left.raised().await,
                }
                stopper.raise();
            });
            *ended.lock().unwrap() = Some(group::run(running, line, stopped, DRAIN).await);
            heart.join_next().await;
        });
        Self { name: name.to_owned(), parts, tasks, _process: process.clone(), leave, drained, joined }
    }

    /// Asks it to stop; it has ended when [`Member::has_ended`].
    pub fn leave(&self) {
        self.leave.raise();
    }

    pub fn is_leaving(&self) -> bool {
        self.leave.is_raised()
    }

    /// Whether it has joined the group, and was not asked to leave it.
    pub fn stays(&self) -> bool {
        self.joined.load(Ordering::Relaxed) && !self.is_leaving()
    }

    /// The result of its work, if it has ended.
    pub fn drained(&self) -> Option<Drained> {
        *self.drained.lock().unwrap()
    }

    pub fn has_ended(&mut self) -> bool {
        while self.tasks.try_join_next().is_some() {}
        self.tasks.is_empty()
    }

    /// The counts of its source in the ledger.
    pub fn counts(&self) -> Counts {
        let shards = self.parts.ledger.read().into_iter();
        let of_source = shards.filter(|(shard, _)| shard.source == self.parts.source_name);
        of_source.fold(Counts::default(), |sum, (_, entry)| sum.plus(&entry.counts))
    }
}
