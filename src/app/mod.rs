//! Picks the concrete pipeline, owns every task, and stops them in order.

pub mod backfill;
mod consumer;
mod error;
mod gaps;
mod group_state;
mod heartbeat_thread;
mod join;
mod last_good;
mod letter_count;
mod listening;
mod observe;
mod owners;
mod probe_writer;
mod reload;
pub mod replay;
mod retention;
mod scripts;
pub mod seek;
mod shared;
mod side_tasks;
mod source_run;
pub mod summary;
mod waiting;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use super::admin;
use super::dead_letter;
use super::group;
use crate::core::budget::Budget;
use crate::core::cursor::ShardId;
use crate::core::event::{DestinationFormat, Formats};
use crate::core::ledger::Ledger;
use crate::core::state_dir::StateDir;
use crate::core::stop::{Stop, stop};
use crate::dead_letter::DirectoryStore;
use crate::destination::registry::AnyDestination;
use crate::group::Drained;
use crate::pipeline::{Copies, DeadLetterPolicy, Route, bring_back};
use crate::script::{HookThreads, Hooks, Meta};
use crate::settings::{DestinationSettings, Settings, SourceSettings};
use consumer::ConsumerId;
pub use error::Error;
use gaps::Gaps;
use heartbeat_thread::HeartbeatThread;
use join::Refusals;
use letter_count::LetterCount;
use listening::Listening;
use observe::{Observed, say_how_the_destinations_are, sum_up_now_and_then, summary_of};
use scripts::Scripts;
use shared::Shared;
use side_tasks::breakdown;
use source_run::{Common, SourceRun, SourceWatch};

/// What may wait for isolated destinations is this part of the memory: the others need the rest to go on.
const ISOLATED_SHARE: usize = 4;

/// Destinations, and how events are laid out for them.
pub type Destinations = (Arc<[Route<AnyDestination>]>, Formats);

/// The destinations that the settings name, and how events are laid out for them. The isolated ones share a part of `memory`
/// bytes for what waits for them.
///
/// # Errors
/// A file that the settings name cannot be used.
pub fn destinations(settings: &[DestinationSettings], memory: usize, state: &StateDir) -> Result<Destinations, Error> {
    let (mut routes, mut formats) = (Vec::new(), Vec::new());
    let isolated = settings.iter().filter(|one| one.isolate).count();
    for DestinationSettings { name, config, on_reject, isolate } in settings {
        let (destination, format) = config.open(state).map_err(|error| Error::Settings(error.to_string()))?;
        let route = Route::new(name.clone(), destination, *on_reject);
        routes.push(if *isolate { route.isolated(memory / ISOLATED_SHARE / isolated) } else { route });
        formats.push(DestinationFormat { name: Some(name.clone()), format });
    }
    Ok((routes.into(), formats.into()))
}

/// Builds the program and runs it until `leave` is raised.
///
/// # Errors
/// As for [`App::new`] and [`App::run`].
pub async fn run(settings: Settings, leave: Stop) -> Result<(), Error> {
    App::new(settings)?.run(leave).await
}

/// The program, ready to run.
#[derive(Debug)]
pub struct App {
    settings: Settings,
    shared: Arc<Shared>,
    sources: Vec<SourceRun>,
    scripts: Scripts,
    /// Where this process keeps dead letters.
    letters: PathBuf,
    /// Gaps that nobody has acknowledged.
    gaps: Arc<Gaps>,
    /// Our name in the groups, kept for the next start.
    consumer: Option<ConsumerId>,
    /// The directory for small files that outlive the process.
    state: StateDir,
}

impl App {
    /// Builds the parts: everything that can be wrong without a network is found here.
    ///
    /// # Errors
    /// A script does not load, or a file or directory that the settings name cannot be used.
    pub fn new(mut settings: Settings) -> Result<Self, Error> {
        let state = open_state(&settings.state_dir);
        let (destinations, formats) = destinations(&settings.destinations, settings.run.memory, &state)?;
        let consumer = take_name(&mut settings.sources, &state);
        let gaps = Gaps::new(state.clone(), &settings.sources[0].sls.consumer);
        let threads = HookThreads::start(settings.run.hook_threads)
            .map_err(|error| Error::Internal(format!("cannot start the threads for the script: {error}")))?;
        let threads = Arc::new(threads);
        let wanted = &settings.dead_letters;
        let shared = Shared { destinations, ledger: Arc::default(), budget: Budget::new(settings.run.memory) };
        let kept = if settings.reload.last_good { state.clone() } else { StateDir::none() };
        let files: BTreeSet<_> = settings.sources.iter().map(|source| &source.script).collect();
        let mut scripts = Scripts::new(kept, files.len());
        let mut made = Vec::new();
        for source in &settings.sources {
            let meta = Meta {
                source: source.name.clone(),
                project: source.sls.project.clone(),
                logstore: source.sls.logstore.clone(),
                shard: ShardId(0),
            };
            let hooks = scripts.hooks(&source.script, |script| {
                let hooks = Hooks::new(script, settings.hook.clone(), formats.clone(), meta.clone())?;
                Ok(hooks.with_rules(settings.reload.rules).with_threads(Arc::clone(&threads)))
            })?;
            made.push(hooks);
        }
        let store =
            DirectoryStore::open_free(&dead_letter::Config { dir: wanted.dir.clone(), max_bytes: wanted.max_bytes })?;
        let letters = store.dir().to_owned();
        info!(dir = %letters.display(), "logs that cannot be delivered are written as dead letters");
        let store = Arc::new(store);
        let mut sources = Vec::new();
        for (source, hooks) in settings.sources.iter().zip(made) {
            let letters = DeadLetterPolicy {
                keep: Box::new(Arc::clone(&store)),
                copies: wanted.to.as_ref().and_then(|to| Copies::to(to, &formats)),
                project: source.sls.project.clone(),
                logstore: source.sls.logstore.clone(),
                on_error: wanted.on_error,
                max_share: wanted.max_share,
            };
            sources.push(SourceRun::new(source, hooks, letters, &shared)?);
        }
        let (shared, gaps) = (Arc::new(shared), Arc::new(gaps));
        Ok(Self { settings, shared, sources, scripts, letters, gaps, consumer, state })
    }

    /// What became of every log, for whoever watches the program run.
    #[must_use]
    pub fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.shared.ledger)
    }

    /// The hooks of the first source, for whoever watches the program run.
    #[must_use]
    pub fn hooks(&self) -> Arc<Hooks> {
        Arc::clone(&self.sources[0].pipeline.hooks)
    }

    /// Where this process keeps dead letters.
    #[must_use]
    pub fn letters(&self) -> &Path {
        &self.letters
    }

    /// Runs until `leave` is raised.
    ///
    /// # Errors
    /// SLS rejected the requests of every source before anything began; the drain deadline came first; or a bug.
    pub async fn run(self, leave: Stop) -> Result<(), Error> {
        let Self { settings, shared, sources, scripts, letters, gaps, consumer, state } = self;
        let mut side = JoinSet::new();
        let scripts_watch = Arc::new(scripts.watch());
        let Listening { tcp, unix, socket } = Listening::open(&settings.admin, &state).await?;
        if tcp.is_some() || unix.is_some() {
            let count = Arc::<LetterCount>::default();
            let (counted, dir) = (Arc::clone(&count), letters.clone());
            side.spawn(async move { counted.watch(&dir).await });
            let watches: Vec<SourceWatch> = sources.iter().map(SourceRun::watch).collect();
            for source in &watches {
                side.spawn(source.look_at_retention());
                side.spawn(source.look_at_owners());
            }
            let observed = Observed {
                shared: Arc::clone(&shared),
                sources: watches,
                scripts: Arc::clone(&scripts_watch),
                gaps: Arc::clone(&gaps),
                letters: count,
                letters_dir: letters.display().to_string(),
                started: Instant::now(),
            };
            side.spawn(admin::serve(tcp, unix, observed));
        }
        side.spawn(say_how_the_destinations_are(Arc::clone(&shared)));
        for number in 0..shared.destinations.len() {
            // All sources have the same destinations and the same dead letters.
            side.spawn(bring_back(Arc::clone(&sources[0].pipeline), number));
        }
        let watched = Arc::clone(&shared);
        side.spawn(async move { gaps.remember(&watched.ledger).await });
        side.spawn(sum_up_now_and_then(Arc::clone(&shared), Arc::clone(&scripts_watch)));
        scripts.follow(settings.reload.force, &mut side);

        let (beats, heartbeats) = HeartbeatThread::start()?;
        let common = Common {
            heartbeats,
            refusals: Arc::new(Refusals::new(sources.len())),
            most_shards: (group::most_shards(settings.run.memory) / sources.len()).max(1),
            drain: settings.run.drain_timeout,
        };
        let drained = tokio::select! {
            drained = run_all(sources, common, leave) => drained?,
            broken = breakdown(&mut side) => return Err(Error::Internal(broken)),
        };
        beats.join()?;
        drop((consumer, socket));
        side.shutdown().await;
        for line in summary::shards(&shared.ledger, summary::unix_now()) {
            info!("{line}");
        }
        for line in summary::sources(&shared.ledger) {
            info!("{line}");
        }
        info!("{}", summary_of(&shared, &scripts_watch));
        if let Some(hint) = summary::dead_letters(&shared.ledger, &letters) {
            warn!("{hint}");
        }
        match drained {
            Drained::Clean => Ok(()),
            Drained::Cut => Err(Error::Cut),
            Drained::Broken => Err(Error::Internal("every acquired shard fails at once; the log has the cause".into())),
        }
    }
}

/// Runs every source until `leave` is raised, or until one breaks down: a bug ends all of them in good order. Returns the worst
/// of their ends.
async fn run_all(sources: Vec<SourceRun>, common: Common, leave: Stop) -> Result<Drained, Error> {
    let (stopper, stopped) = stop();
    let mut running = JoinSet::new();
    for source in sources {
        running.spawn(source.run(common.clone(), stopped.clone()));
    }
    drop(common);
    let mut worst = Drained::Clean;
    loop {
        let ended = tokio::select! {
            ended = running.join_next() => ended,
            () = leave.raised(), if !stopper.is_raised() => {
                stopper.raise();
                continue;
            }
        };
        let Some(ended) = ended else { return Ok(worst) };
        let drained = ended.map_err(|panic| Error::Internal(panic.to_string()))??;
        if drained != Drained::Clean {
            stopper.raise();
        }
        worst = worst.max(drained);
    }
}

/// The state directory; none, with a warning, if it cannot be used.
fn open_state(dir: &Path) -> StateDir {
    StateDir::open(dir).unwrap_or_else(|error| {
        warn!(
            "the state directory {} cannot be used ({error}): after a restart the shards wait for the group's timeout, a \
             script that does not load is an outage, and a syslog receiver that proves nothing gets some messages again; set \
             state.dir to a directory that the program can write to",
            dir.display()
        );
        StateDir::none()
    })
}

/// Completes the consumer names with an id that is kept for the next start, where the name is not given and there is a place
/// to keep it. All groups of the process know it under the same id.
fn take_name(sources: &mut [SourceSettings], state: &StateDir) -> Option<ConsumerId> {
    if sources.iter().all(|source| source.consumer_prefix.is_none()) {
        return None;
    }
    match ConsumerId::take(state) {
        Ok(consumer) => {
            let consumer = consumer?;
            for source in sources {
                if let Some(prefix) = &source.consumer_prefix {
                    source.sls.consumer = format!("{prefix}-{}", consumer.id);
                }
            }
            Some(consumer)
        }
        Err(error) => {
            warn!(
                "no consumer name can be kept in the state directory ({error}): after a restart the shards wait for the \
                 group's timeout; set sls.consumer, or state.dir to another directory"
            );
            None
        }
    }
}
