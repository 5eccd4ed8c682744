//! Delivers a time range of a logstore. A backfill does not join or change the consumer group: its positions are in a
//! file of the state directory, and it owns every shard. Otherwise it uses the pipeline of the live logs, so that
//! ids, dead letters and the meaning of *delivered* are the same.

mod estimate;
mod positions;
mod progress;
mod rate;
mod source;
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, interval};
use tracing::{info, warn};

use super::error::Error;
use super::reload;
use super::reload::{ScriptWatch, Wake};
use super::side_tasks::breakdown;
use crate::core::budget::SharedBudget;
use crate::core::cursor::{ShardId, SourceName, Start};
use crate::core::event::{DestinationFormat, Formats};
use crate::core::ledger::Counts;
use crate::core::retry_log::RetryLog;
use crate::core::source::{Source as _, SourceError};
use crate::core::state_dir::StateDir;
use crate::core::stop::{Stop, stop};
use crate::core::tls_connectors::TlsConnectors;
use crate::dead_letter;
use crate::dead_letter::DirectoryStore;
use crate::destination::Destination as _;
use crate::group;
use crate::group::membership::Membership;
use crate::group::{Drained, Places};
use crate::pipeline::{Copies, DeadLetterPolicy, Pace, PartSize, Pipeline, Route};
use crate::script::{HookThreads, Hooks, Meta, Script};
use crate::settings::start::StartPosition;
use crate::settings::{DestinationSettings, Settings, SourceSettings};
use crate::sls::Sls;
use crate::sls::api::MAX_SHARDS;
pub use estimate::{Estimate, estimate};
use positions::{Job, Positions, Range};
pub use progress::{Extent, Progress};
use rate::Rate;
use source::{Beside, TENURE};
use target::{Target, refuse_file_in_use};

/// Time between two reports of the progress.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Time between two heartbeats, which only renew the local lease.
const BEAT_INTERVAL: Duration = Duration::from_secs(20);

/// The range to read, and options.
#[derive(Debug, Clone)]
pub struct BackfillRequest {
    /// Where the range begins.
    pub from: StartPosition,
    /// Where the range ends.
    pub to: StartPosition,
    /// The only destination that gets the events; `None` means all.
    pub destination: Option<String>,
    /// A script to use instead of the source's.
    pub script: Option<PathBuf>,
    /// Maximum bytes of logs per second.
    pub bytes_a_second: Option<usize>,
}

/// How a backfill ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackfillEnd {
    /// All logs of the range are delivered, dropped or dead-lettered.
    Done,
    /// It was asked to stop; the same command resumes.
    Stopped,
}

/// A backfill, ready to run.
#[derive(Debug)]
pub struct Backfill {
    pipeline: Arc<Pipeline<Beside, Target>>,
    extents: BTreeMap<ShardId, Extent>,
    range: Range,
    script: PathBuf,
    force_reload: bool,
    drain: Duration,
    /// Directory of the dead letters.
    letters: PathBuf,
    most_shards: usize,
    done_before: u64,
}

/// Looks up the logstore of a source, and the part of each shard in a range.
///
/// # Errors
/// A client cannot be created from the settings, or SLS refuses.
pub async fn look(from: &SourceSettings, wanted: &BackfillRequest) -> Result<(Sls, BTreeMap<ShardId, Extent>), Error> {
    let sls = Sls::new(&from.sls).map_err(|error| Error::Settings(error.to_string()))?;
    let extents = extents(&sls, range_of(wanted)).await?;
    Ok((sls, extents))
}

fn range_of(wanted: &BackfillRequest) -> Range {
    let second = |position: &StartPosition| match position.start {
        Start::Time(second) => Some(second),
        Start::Begin | Start::End => None,
    };
    Range { from: second(&wanted.from), to: second(&wanted.to).expect("an end is a time") }
}

/// The part of each shard in the range. Transient errors are retried.
async fn extents(sls: &Sls, range: Range) -> Result<BTreeMap<ShardId, Extent>, Error> {
    let mut retry_log = RetryLog::new("cannot look at the shards", 0);
    loop {
        match try_extents(sls, range).await {
            Ok(extents) => return Ok(extents),
            Err(SourceError::Refused(cause)) => return Err(Error::Refused(cause)),
            Err(SourceError::Absent(cause)) => return Err(Error::Refused(sls.whereabouts(cause).await)),
            Err(fault) => retry_log.pause_after(&fault).await,
        }
    }
}

async fn try_extents(sls: &Sls, range: Range) -> Result<BTreeMap<ShardId, Extent>, SourceError> {
    let mut extents = BTreeMap::new();
    for shard in sls.shards().await? {
        let shard = ShardId(shard.id);
        let from = sls.cursor(shard, range.from.map_or(Start::Begin, Start::Time)).await?;
        let to = sls.bound(shard, Start::Time(range.to)).await?.cursor;
        extents.insert(shard, Extent { from, to });
    }
    Ok(extents)
}

/// The destinations of the settings; with `only`, the others get no events.
fn targets(
    settings: &Settings,
    only: Option<&str>,
    budget: &SharedBudget,
) -> Result<(Vec<Route<Target>>, Formats), Error> {
    let names = || settings.destinations.iter().map(|one| one.name.to_string()).collect::<Vec<_>>().join(", ");
    if let Some(only) = only
        && settings.destinations.iter().all(|one| one.name.as_str() != only)
    {
        return Err(Error::Settings(format!(
            "there is no destination {only:?}: --destination takes one of {}",
            names()
        )));
    }
    let (mut routes, mut formats, tls) = (Vec::new(), Vec::new(), TlsConnectors::default());
    // None is isolated: a backfill has no deadline, so it waits for all destinations.
    for DestinationSettings { name, config, on_reject, .. } in &settings.destinations {
        let opened = config.open(&StateDir::none(), budget, &tls);
        let (destination, format) = opened.map_err(|error| Error::Settings(error.to_string()))?;
        let target = match only.is_none_or(|only| name.as_str() == only) {
            true => Target::Taken(destination),
            false => Target::LeftOut(destination),
        };
        routes.push(Route::new(name.clone(), target, *on_reject));
        formats.push(DestinationFormat { name: Some(name.clone()), format });
    }
    Ok((routes, formats.into()))
}

impl Backfill {
    /// Builds the parts, and looks up the work to do.
    ///
    /// # Errors
    /// The script does not load, a file or directory that the settings name cannot be used, the same backfill is running, or
    /// SLS refuses.
    pub async fn new(settings: &Settings, from: &SourceSettings, wanted: &BackfillRequest) -> Result<Self, Error> {
        refuse_file_in_use(&settings.destinations, wanted.destination.as_deref())?;
        let state = StateDir::open(&settings.state_dir).map_err(|error| {
            let dir = settings.state_dir.display();
            Error::Settings(format!(
                "the positions of a backfill cannot be kept in the state directory {dir}: {error}; set state.dir to a directory \
                 that the program can write to"
            ))
        })?;
        let config = &from.sls;
        let script = wanted.script.as_ref().unwrap_or(&from.script);
        let job = Job {
            project: &config.project,
            logstore: &config.logstore,
            from: &wanted.from.typed,
            to: &wanted.to.typed,
            script: &wanted.script.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
            destination: wanted.destination.as_deref().unwrap_or_default(),
        };
        let positions = Positions::open(&state, &job, range_of(wanted));
        let positions = Arc::new(positions.map_err(|error| Error::Settings(error.to_string()))?);
        let range = positions.range();
        let budget = SharedBudget::new(settings.run.memory);
        let (destinations, formats) = targets(settings, wanted.destination.as_deref(), &budget)?;
        let threads = HookThreads::start(settings.run.hook_threads)
            .map_err(|error| Error::Internal(format!("cannot start the threads for the script: {error}")))?;
        let meta = Meta {
            source: from.name.clone(),
            project: config.project.clone(),
            logstore: config.logstore.clone(),
            shard: ShardId(0),
        };
        let copies = settings.dead_letters.to.as_ref().and_then(|to| Copies::to(to, &formats));
        let copies = copies.map(|copies| copies.instead_of_disk(!settings.dead_letters.disk));
        let hooks = Hooks::new(Script::read(script)?, settings.hook.clone(), formats, meta)?;
        let hooks = hooks.with_rules(settings.reload.rules).with_threads(threads);
        let kept = &settings.dead_letters;
        let store =
            DirectoryStore::open_free(&dead_letter::Config { dir: kept.dir.clone(), max_bytes: kept.max_bytes })?;
        let letters = store.dir().to_owned();
        let sls = Sls::new(config).map_err(|error| Error::Settings(error.to_string()))?;
        let extents = extents(&sls, range).await?;
        let source = Beside {
            sls: Arc::new(sls),
            positions,
            shards: Arc::new(extents.keys().copied().collect::<BTreeSet<_>>()),
            rate: Arc::new(Rate::new(wanted.bytes_a_second)),
        };
        let pipeline = Pipeline {
            source,
            source_name: SourceName::new(&from.name),
            destinations: destinations.into(),
            hooks: Arc::new(hooks),
            budget: budget.for_source(),
            ledger: Arc::default(),
            dead_letters: DeadLetterPolicy {
                keep: Box::new(Arc::new(store)),
                copies,
                project: config.project.clone(),
                logstore: config.logstore.clone(),
                on_error: kept.on_error,
                max_share: kept.max_share,
            },
            taps: Arc::default(),
            pace: Pace {
                start: range.from.map_or(Start::Begin, Start::Time),
                until: Some(Start::Time(range.to)),
                fetch_interval: from.fetch_interval,
                save_interval: from.save_interval,
                page_groups: config.page_groups,
                part: PartSize::default(),
            },
        };
        let mut made = Self {
            pipeline: Arc::new(pipeline),
            extents,
            range,
            script: script.clone(),
            force_reload: settings.reload.force,
            drain: settings.run.drain_timeout,
            letters,
            most_shards: group::most_shards(settings.run.memory),
            done_before: 0,
        };
        made.done_before = made.done();
        Ok(made)
    }

    /// The range, unix seconds, as it was when the backfill began; no start means from the oldest log on.
    #[must_use]
    pub fn range(&self) -> (Option<i64>, i64) {
        (self.range.from, self.range.to)
    }

    /// Whether it resumes the work of another process.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.pipeline.source.positions.is_resumed()
    }

    /// Shards of the logstore.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.extents.len()
    }

    /// The destinations, and what *delivered* means there: `delivered to splunk means accepted`.
    #[must_use]
    pub fn promise(&self) -> String {
        let taken = self.pipeline.destinations.iter().filter(|route| matches!(route.destination, Target::Taken(_)));
        let parts =
            taken.map(|route| format!("delivered to {} means {}", route.name, route.destination.promise().label));
        parts.collect::<Vec<_>>().join(", ")
    }

    /// The counts of the logs that this process pulled.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.pipeline.ledger.total()
    }

    /// The progress after this time.
    #[must_use]
    pub fn progress(&self, took: Duration) -> Progress {
        let Counts { delivered, dropped, dead_lettered, .. } = self.counts();
        Progress {
            groups: self.extents.values().map(Extent::groups).sum(),
            done: self.done(),
            done_before: self.done_before,
            logs: delivered + dropped + dead_lettered,
            took,
            debt: self.pipeline.source.rate.debt(),
        }
    }

    fn done(&self) -> u64 {
        let positions = &self.pipeline.source.positions;
        let done = |(shard, extent): (&ShardId, &Extent)| positions.get(*shard).map_or(0, |at| extent.before(&at));
        self.extents.iter().map(done).sum()
    }

    /// Reads the range until all of it is done, or `leave` is raised; reports the progress once a second.
    ///
    /// # Errors
    /// Not everything could be delivered before the drain deadline, or a bug.
    pub async fn run(&self, leave: Stop, mut tell: impl FnMut(&Progress)) -> Result<BackfillEnd, Error> {
        let began = Instant::now();
        let until = Start::Time(self.range.to);
        let (stopper, stopped) = stop();
        let is_done = Arc::<AtomicBool>::default();
        let places = Places::new(self.most_shards).source(MAX_SHARDS);
        let (beats, tasks) =
            group::line(self.pipeline.source_name.clone(), Membership::new(TENURE, places.logstore(), began));
        let mut side = JoinSet::new();
        side.spawn(self.pipeline.budget.buffers().trim());
        let beating = Arc::clone(&self.pipeline);
        side.spawn(async move { group::beat(&beating.source, beats, BEAT_INTERVAL).await });
        let (watched, done) = (Arc::clone(&self.pipeline), Arc::clone(&is_done));
        side.spawn(async move {
            let holds = || watched.ledger.read().values().any(|entry| entry.held);
            let past = leave.or(group::all_past(&watched.source, until, holds)).await;
            done.store(past.is_some(), Ordering::Relaxed);
            stopper.raise();
        });
        let running = Arc::clone(&self.pipeline);
        let (path, force) = (self.script.clone(), self.force_reload);
        let watch = ScriptWatch { path, interval: reload::POLL_INTERVAL, force, refused: None };
        let wake = Wake::listen();
        side.spawn(async move { watch.run(&running.hooks, wake).await });

        let work = group::run(Arc::clone(&self.pipeline), tasks, stopped, self.drain);
        tokio::pin!(work);
        let mut ticks = interval(REPORT_INTERVAL);
        let drained = loop {
            tokio::select! {
                drained = &mut work => break drained,
                broken = breakdown(&mut side) => return Err(Error::Internal(broken)),
                _ = ticks.tick() => tell(&self.progress(began.elapsed())),
            }
        };
        side.shutdown().await;
        tell(&self.progress(began.elapsed()));
        self.log_dead_letters();
        match drained {
            Drained::Clean if is_done.load(Ordering::Relaxed) => {
                info!("every shard is past the end of the range");
                if let Err(error) = self.pipeline.source.positions.remove() {
                    warn!(
                        "the positions cannot be removed from the state directory, so the same command will find \
                        nothing to do: {error}"
                    );
                }
                Ok(BackfillEnd::Done)
            }
            Drained::Clean => Ok(BackfillEnd::Stopped),
            Drained::Cut => Err(Error::Cut),
            Drained::Broken => Err(Error::Internal("every shard fails at once; the log has the cause".into())),
        }
    }

    fn log_dead_letters(&self) {
        if let Some(hint) = super::summary::dead_letters(self.pipeline.ledger.total().dead_lettered, &self.letters) {
            warn!("{hint}");
        }
    }
}
