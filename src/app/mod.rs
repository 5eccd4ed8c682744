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
mod observe;
mod reload;
pub mod replay;
mod retention;
pub mod seek;
mod side_tasks;
pub mod summary;
mod waiting;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use super::admin;
use super::dead_letter;
use super::group;
use super::sls;
use crate::admin::Identity;
use crate::core::budget::Budget;
use crate::core::cursor::SourceName;
use crate::core::event::{DestinationFormat, Formats};
use crate::core::ledger::Ledger;
use crate::core::state_dir::StateDir;
use crate::core::stop::{Stop, stop};
use crate::dead_letter::DirectoryStore;
use crate::destination::Destination as _;
use crate::destination::registry::AnyDestination;
use crate::group::Drained;
use crate::group::membership::Membership;
use crate::pipeline::{DeadLetterPolicy, Pace, PartSize, Pipeline, Route, bring_back};
use crate::script::{HookThreads, Hooks};
use crate::settings::start::StartPosition;
use crate::settings::{DestinationSettings, Settings, SourceSettings};
use crate::sls::Sls;
use consumer::ConsumerId;
pub use error::Error;
use gaps::Gaps;
use group_state::GroupState;
use heartbeat_thread::HeartbeatThread;
use join::join_group;
use last_good::Started;
use letter_count::LetterCount;
use observe::{Observed, say_how_the_destinations_are, sum_up_now_and_then, summary_of};
use reload::{Saved, ScriptWatch, Wake};
use retention::Retention;
use side_tasks::breakdown;
use waiting::say_who_has_the_shards;

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
    pipeline: Arc<Pipeline<Sls, AnyDestination>>,
    /// Where this process keeps dead letters.
    letters: PathBuf,
    /// Where the last good version of the script is kept.
    kept: StateDir,
    /// Gaps that nobody has acknowledged.
    gaps: Arc<Gaps>,
    /// What the script's file had at the start, if that is not what runs.
    refused: Option<String>,
    /// Our name in the group, kept for the next start.
    consumer: Option<ConsumerId>,
}

impl App {
    /// Builds the parts: everything that can be wrong without a network is found here.
    ///
    /// # Errors
    /// The script does not load, or a file or directory that the settings name cannot be used.
    pub fn new(mut settings: Settings) -> Result<Self, Error> {
        let state = open_state(&settings.state_dir);
        let (destinations, formats) = destinations(&settings.destinations, settings.run.memory, &state)?;
        let [from] = &mut settings.sources[..] else {
            let count = settings.sources.len();
            return Err(Error::Settings(format!(
                "there are {count} sources, and this version reads one: run a process for each"
            )));
        };
        let consumer = take_name(from, &state);
        let source = Sls::new(&from.sls).map_err(|error| Error::Settings(error.to_string()))?;
        let file = Saved::read(&from.script).map_err(Error::Settings)?;
        let gaps = Gaps::new(state.clone(), &from.sls.consumer);
        let kept = if settings.reload.last_good { state } else { StateDir::none() };
        let threads = HookThreads::start(settings.run.hook_threads)
            .map_err(|error| Error::Internal(format!("cannot start the threads for the script: {error}")))?;
        let names = (from.sls.project.as_str(), from.sls.logstore.as_str());
        let Started { hooks, refused } =
            last_good::start(file, &kept, |script| Hooks::new(script, settings.hook.clone(), formats.clone(), names))?;
        let hooks = hooks.with_rules(settings.reload.rules).with_threads(threads);
        let script = hooks.script();
        info!(script = %script.name, version = %script.version, "script loaded");
        let wanted = &settings.dead_letters;
        let store =
            DirectoryStore::open_free(&dead_letter::Config { dir: wanted.dir.clone(), max_bytes: wanted.max_bytes })?;
        let letters = store.dir().to_owned();
        info!(dir = %letters.display(), "logs that cannot be delivered are written as dead letters");
        let pipeline = Pipeline {
            source,
            source_name: SourceName::new(&from.sls.logstore),
            destinations,
            hooks,
            budget: Budget::new(settings.run.memory),
            ledger: Ledger::default(),
            dead_letters: DeadLetterPolicy {
                keep: Box::new(Arc::new(store)),
                project: from.sls.project.clone(),
                logstore: from.sls.logstore.clone(),
                on_error: wanted.on_error,
                max_share: wanted.max_share,
            },
            pace: Pace {
                start: from.start.start,
                until: from.until.as_ref().map(|until| until.start),
                fetch_interval: from.fetch_interval,
                save_interval: from.save_interval,
                page_groups: from.sls.page_groups,
                part: PartSize::default(),
            },
        };
        Ok(Self { settings, pipeline: Arc::new(pipeline), letters, kept, gaps: Arc::new(gaps), refused, consumer })
    }

    /// The pipeline, for whoever watches the program run.
    #[must_use]
    pub fn pipeline(&self) -> Arc<Pipeline<Sls, AnyDestination>> {
        Arc::clone(&self.pipeline)
    }

    /// Where this process keeps dead letters.
    #[must_use]
    pub fn letters(&self) -> &Path {
        &self.letters
    }

    /// Runs until `leave` is raised.
    ///
    /// # Errors
    /// SLS rejected our requests before anything began; the drain deadline came first; or a bug.
    pub async fn run(self, leave: Stop) -> Result<(), Error> {
        let Self { settings, pipeline, letters, kept, gaps, refused, consumer } = self;
        let from = &settings.sources[0];
        let sls::Config { endpoint, project, logstore, group, consumer: name, .. } = &from.sls;
        let addresses: Vec<String> = pipeline.destinations.iter().map(|route| route.destination.address()).collect();
        let destination = addresses.join(", ");
        info!(endpoint, project, logstore, group, consumer = name, destination, "forwarding");
        let wake = Wake::listen();
        let mut side = JoinSet::new();
        let group_state = Arc::<GroupState>::default();
        let letter_count = Arc::<LetterCount>::default();
        if let Some(address) = settings.admin {
            let refused = |error| {
                Error::Settings(format!(
                    "can't listen on {address}: {error}; give admin.listen an address of this machine and a free port"
                ))
            };
            let listener = TcpListener::bind(address).await.map_err(refused)?;
            let address = listener.local_addr().map_err(refused)?;
            info!(
                "status page at http://{address}/, Prometheus metrics at http://{address}/metrics; no authentication: bind it to localhost"
            );
            let (count, dir) = (Arc::clone(&letter_count), letters.clone());
            side.spawn(async move { count.watch(&dir).await });
            let retention = Arc::<Retention>::default();
            let (kept, watched) = (Arc::clone(&retention), Arc::clone(&pipeline));
            side.spawn(async move { kept.watch(&watched.source).await });
            let sls::Config { endpoint, project, logstore, group, consumer, .. } = from.sls.clone();
            let observed = Observed {
                pipeline: Arc::clone(&pipeline),
                gaps: Arc::clone(&gaps),
                who: Identity { endpoint, project, logstore, group, consumer },
                group: Arc::clone(&group_state),
                letters: letter_count,
                retention,
                letters_dir: letters.display().to_string(),
                started: Instant::now(),
            };
            side.spawn(admin::serve(listener, observed));
        }
        side.spawn(say_how_the_destinations_are(Arc::clone(&pipeline)));
        for number in 0..pipeline.destinations.len() {
            side.spawn(bring_back(Arc::clone(&pipeline), number));
        }
        let watched = Arc::clone(&pipeline);
        side.spawn(async move { gaps.remember(&watched.ledger).await });

        let start = from.start.start;
        let Some(timeout) = leave.or(join_group(&pipeline.source, start, from.wait, &group_state)).await else {
            return Ok(());
        };
        let timeout = timeout?;
        info!(
            timeout_seconds = timeout.as_secs(),
            "joined the consumer group; a shard without a checkpoint starts at {}{}",
            from.start,
            from.until.as_ref().map(|until| format!(", and every shard ends at {until}")).unwrap_or_default()
        );
        let leave = match from.until.clone() {
            Some(until) => {
                let (stopper, ended) = stop();
                let pipeline = Arc::clone(&pipeline);
                side.spawn(async move {
                    if leave.or(all_past(&pipeline, &until)).await.is_some() {
                        info!("every shard of the group is past sls.until, {until}: that is all");
                    }
                    stopper.raise();
                });
                ended
            }
            None => leave,
        };
        let most = group::most_shards(settings.run.memory);
        let (beats, tasks) = group::line(Membership::new(timeout, most, Instant::now()));
        group_state.joined(tasks.watch());
        let beats = HeartbeatThread::start(&pipeline.source, beats, from.heartbeat_interval)?;
        side.spawn(say_who_has_the_shards(Arc::clone(&pipeline), group_state, tasks.watch(), timeout));
        side.spawn(sum_up_now_and_then(Arc::clone(&pipeline)));
        let watch = ScriptWatch {
            path: from.script.clone(),
            interval: reload::POLL_INTERVAL,
            force: settings.reload.force,
            refused,
        };
        let watched = Arc::clone(&pipeline);
        side.spawn(async move { watch.run(&watched.hooks, wake).await });
        let running = Arc::clone(&pipeline);
        side.spawn(async move { last_good::keep(&running.hooks, kept).await });

        let drained = tokio::select! {
            drained = group::run(Arc::clone(&pipeline), tasks, leave, settings.run.drain_timeout) => drained,
            broken = breakdown(&mut side) => return Err(Error::Internal(broken)),
        };
        beats.join()?;
        drop(consumer);
        side.shutdown().await;
        for line in summary::shards(&pipeline.ledger, summary::unix_now()) {
            info!("{line}");
        }
        info!("{}", summary_of(&pipeline));
        if let Some(hint) = summary::dead_letters(&pipeline.ledger, &letters) {
            warn!("{hint}");
        }
        match drained {
            Drained::Clean => Ok(()),
            Drained::Cut => Err(Error::Cut),
            Drained::Broken => Err(Error::Internal("every acquired shard fails at once; the log has the cause".into())),
        }
    }
}

/// Resolves when every shard of the group is past `until`.
async fn all_past(pipeline: &Pipeline<Sls, AnyDestination>, until: &StartPosition) {
    let holds = || pipeline.ledger.read().values().any(|entry| entry.held);
    group::all_past(&pipeline.source, until.start, holds).await;
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

/// Completes the consumer name with an id that is kept for the next start, if the name is not given and there is a place to
/// keep it.
fn take_name(settings: &mut SourceSettings, state: &StateDir) -> Option<ConsumerId> {
    let prefix = settings.consumer_prefix.as_ref()?;
    match ConsumerId::take(state) {
        Ok(consumer) => {
            let consumer = consumer?;
            settings.sls.consumer = format!("{prefix}-{}", consumer.id);
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
