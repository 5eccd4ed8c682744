//! A member of the group: the program's own loops over the models.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forwarder::core::budget::Budget;
use forwarder::core::cursor::{ShardId, SourceName, Start};
use forwarder::core::destination_name::DestinationName;
use forwarder::core::event::DestinationFormat;
use forwarder::core::ledger::Counts;
use forwarder::core::source::{Source as _, SourceError};
use forwarder::core::stop::{Stopper, stop};
use forwarder::group;
use forwarder::group::Drained;
use forwarder::group::membership::Membership;
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
use super::world::World;

/// How long a member has to deliver what it is to give up.
pub const DRAIN: Duration = Duration::from_secs(20);

/// What may wait for an isolated archive: a few pages.
const ARCHIVE_BYTES: usize = 2_000;

/// Bytes of events in a part of a page: an event has about seven, a page up to twenty-four logs.
const PART_BYTES: [usize; 4] = [1, 10, 40, usize::MAX];

const SCRIPT: &str = r#"
function process(log)
  if log.kind == "drop" then return nil end
  if log.kind == "bad" then error("bad") end
  if log.kind == "poison" then return log.id .. "!" end
  if log.kind == "half" then return { log.id .. "a", log.id .. "b!" } end
  if log.kind == "two" then return { log.id .. "a", log.id .. "b" } end
  return log.id
end
"#;

/// Dropping it kills the member where it stands.
pub struct Member {
    pub name: String,
    parts: Arc<Pipeline<SimSource, SimDestination>>,
    tasks: JoinSet<()>,
    _side: JoinSet<()>,
    leave: Stopper,
    drained: Arc<Mutex<Option<Drained>>>,
    joined: Arc<AtomicBool>,
}

impl Member {
    pub fn start(world: &World, name: &str) -> Self {
        let (on_error, start, until, bytes, archive) = {
            let mut world = world.lock();
            world.note(format!("{name} starts"));
            // The same page is cut elsewhere by the next member that gets it.
            let bytes = if world.trouble { PART_BYTES[world.rng.below(4) as usize] } else { world.part_bytes };
            (world.on_error, world.start, world.until.map(Start::Time), bytes, world.archive)
        };
        let config = Config { timeout: Duration::from_secs(1), memory: 16 << 20, vars: toml::Table::new() };
        let script = Script::from_text("sim.lua", SCRIPT);
        let source = SimSource {
            world: world.clone(),
            member: name.to_owned(),
            group_start: Arc::default(),
            group_missing: Arc::default(),
        };
        let is_cluster = world.lock().cluster.is_some();
        let name_of = |text| DestinationName::new(text).expect("it is a name");
        let route = |text, is_archive: bool| {
            let destination = match is_cluster && !is_archive {
                true => {
                    let client = Box::new(collectors::client(world, name));
                    SimDestination::Hec { world: world.clone(), client }
                }
                false => SimDestination::Model(SimSink { world: world.clone(), member: name.to_owned(), is_archive }),
            };
            Route::new(name_of(text), destination, OnReject::DeadLetter)
        };
        let mut routes = vec![route("siem", false)];
        match archive {
            None => {}
            Some(false) => routes.push(route("archive", true)),
            Some(true) => routes.push(route("archive", true).isolated(ARCHIVE_BYTES)),
        }
        let format = |name| DestinationFormat { name: Some(name), format: Arc::new(IdFormat) };
        let formats: Vec<_> = routes.iter().map(|route| format(route.name.clone())).collect();
        let [name_of_it, project, logstore] = ["logstore", "project", "logstore"].map(str::to_owned);
        let meta = Meta { source: name_of_it, project, logstore, shard: ShardId(0) };
        let parts = Arc::new(Pipeline {
            source_name: SourceName::new("logstore"),
            source: source.clone(),
            destinations: routes.into(),
            hooks: Arc::new(Hooks::new(script, config, formats, meta).expect("it loads")),
            // Room for many parts of a page: they wait for their acknowledgement side by side.
            budget: Budget::new(64 << 20),
            ledger: Arc::default(),
            dead_letters: DeadLetterPolicy {
                keep: Box::new(SimLetters::new(world.clone(), name)),
                copies: None,
                project: "project".to_owned(),
                logstore: "logstore".to_owned(),
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
        let (mut tasks, mut side) = (JoinSet::new(), JoinSet::new());
        let running = Arc::clone(&parts);
        let has_joined = Arc::clone(&joined);
        for number in 0..parts.destinations.len() {
            let parts = Arc::clone(&parts);
            side.spawn(async move {
                let DeadLetterPolicy { keep, copies, .. } = &parts.dead_letters;
                let lost =
                    MissedEvents { destinations: &parts.destinations, letters: &**keep, copies: copies.as_ref() };
                bring_back(lost, number).await;
            });
        }
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
            let (beats, line) =
                group::line(SourceName::new("logstore"), Membership::new(timeout, usize::MAX, Instant::now()));
            // As their own thread in the program: they break down alone.
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
        Self { name: name.to_owned(), parts, tasks, _side: side, leave, drained, joined }
    }

    /// Asks it to stop; it has ended when [`Member::has_ended`].
    pub fn leave(&self) {
        self.leave.raise();
    }

    /// Whether it has joined the group, and was not asked to leave it.
    pub fn stays(&self) -> bool {
        self.joined.load(Ordering::Relaxed) && !self.leave.is_raised()
    }

    /// How its work ended, if it did.
    pub fn drained(&self) -> Option<Drained> {
        *self.drained.lock().unwrap()
    }

    pub fn has_ended(&mut self) -> bool {
        while self.tasks.try_join_next().is_some() {}
        self.tasks.is_empty()
    }

    /// What its books say.
    pub fn counts(&self) -> Counts {
        self.parts.ledger.total()
    }
}
