//! Picks the concrete parts, owns every task, and stops them in order.

mod reload;
pub mod replay;
pub mod summary;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{error, info, warn};

use super::admin;
use super::dead_letter;
use super::group;
use super::sls;
use crate::admin::{Identity, Snapshot};
use crate::core::budget::Budget;
use crate::core::cause::Cause;
use crate::core::cursor::Start;
use crate::core::event::Format;
use crate::core::ledger::Ledger;
use crate::core::retry_log::RetryLog;
use crate::core::source::{Source, SourceError};
use crate::core::stop::Stop;
use crate::dead_letter::{DirectoryStore, OpenError};
use crate::destination::hec::{Hec, HecFormat};
use crate::destination::registry::AnyDestination;
use crate::destination::syslog::{Syslog, SyslogFormat};
use crate::destination::{Destination, Health};
use crate::group::membership::Membership;
use crate::group::{Drained, HeartbeatEnd};
use crate::pipeline::{DeadLetterPolicy, Pace, Pipeline};
use crate::script::{HookError, HookThreads, Hooks, Script};
use crate::settings::{DestinationSettings, Settings};
use crate::sls::Sls;
use reload::{ScriptWatch, Wake};

/// How often the books are summed up in the log.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(60);

/// Why the program ends other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The script cannot be used.
    #[error("{0}")]
    Script(#[from] HookError),
    /// A part cannot be built from the settings.
    #[error("{0}")]
    Settings(String),
    /// Dead letters cannot be kept.
    #[error("{0}; name a directory with dead_letters.dir that the program may write to")]
    DeadLetters(#[from] OpenError),
    /// SLS refuses us before anything began.
    #[error("SLS refuses to let us start: {0}")]
    Refused(Cause),
    /// Not everything could be delivered before the drain deadline.
    #[error("stopped before everything in flight was delivered; nothing is lost, it will be pulled again")]
    Cut,
    /// A bug.
    #[error("bug: {0}")]
    Internal(String),
}

impl Error {
    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::DeadLetters(OpenError::Denied { .. }) => 77,
            Self::Script(_) | Self::Settings(_) | Self::DeadLetters(_) => 2,
            Self::Internal(_) => 70,
            Self::Cut => 75,
            Self::Refused(_) => 77,
        }
    }
}

/// The destination that the settings name, and how events are laid out for it.
///
/// # Errors
/// A file that the settings name cannot be used.
pub fn destination(settings: &DestinationSettings) -> Result<(AnyDestination, Arc<dyn Format>), Error> {
    let unusable = |error: &dyn std::error::Error| Error::Settings(error.to_string());
    Ok(match settings {
        DestinationSettings::Hec(hec) => {
            let sink = Hec::new(hec).map_err(|error| unusable(&error))?;
            (AnyDestination::Hec(Box::new(sink)), Arc::new(HecFormat::new(hec)))
        }
        DestinationSettings::Syslog(syslog) => {
            let sink = Syslog::new(syslog).map_err(|error| unusable(&error))?;
            (AnyDestination::Syslog(sink), Arc::new(SyslogFormat::new(syslog)))
        }
    })
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
    parts: Arc<Pipeline<Sls, AnyDestination>>,
    /// Where this process keeps dead letters.
    letters: PathBuf,
}

impl App {
    /// Builds the parts: everything that can be wrong without a network is found here.
    ///
    /// # Errors
    /// The script does not load, or a file or directory that the settings name cannot be used.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let (sink, format) = destination(&settings.sink)?;
        let source = Sls::new(&settings.sls).map_err(|error| Error::Settings(error.to_string()))?;
        let script = Script::read(&settings.script)?;
        info!(script = %script.name, version = %script.version, "script read");
        let threads = HookThreads::start(settings.run.hook_threads)
            .map_err(|error| Error::Internal(format!("no threads for the script: {error}")))?;
        let hooks = Hooks::new(
            script,
            settings.hook.clone(),
            format,
            (&settings.sls.project, &settings.sls.logstore),
            Some(threads),
        )?
        .with_rules(settings.reload.rules);
        let wanted = &settings.dead_letters;
        let store =
            DirectoryStore::open_free(&dead_letter::Config { dir: wanted.dir.clone(), max_bytes: wanted.max_bytes })?;
        let letters = store.dir().to_owned();
        info!(dir = %letters.display(), "logs that can't be delivered are kept as dead letters");
        let parts = Pipeline {
            source,
            sink,
            hooks,
            budget: Budget::new(settings.run.memory),
            ledger: Ledger::default(),
            letters: DeadLetterPolicy {
                keep: Box::new(Arc::new(store)),
                project: settings.sls.project.clone(),
                logstore: settings.sls.logstore.clone(),
                on_error: wanted.on_error,
                on_reject: wanted.on_reject,
                max_share: wanted.max_share,
            },
            pace: Pace {
                start: settings.run.start.start,
                fetch_interval: settings.run.fetch_interval,
                save_interval: settings.run.save_interval,
                page_groups: settings.sls.page_groups,
            },
        };
        Ok(Self { settings, parts: Arc::new(parts), letters })
    }

    /// The parts, for whoever watches the program run.
    #[must_use]
    pub fn parts(&self) -> Arc<Pipeline<Sls, AnyDestination>> {
        Arc::clone(&self.parts)
    }

    /// Where this process keeps dead letters.
    #[must_use]
    pub fn letters(&self) -> &Path {
        &self.letters
    }

    /// Runs until `leave` is raised.
    ///
    /// # Errors
    /// SLS refuses us before anything began; the drain deadline came first; or a bug.
    pub async fn run(self, leave: Stop) -> Result<(), Error> {
        let Self { settings, parts, letters } = self;
        let wake = Wake::listen();
        let mut side = JoinSet::new();
        let joined = Arc::new(AtomicBool::new(false));
        if let Some(address) = settings.admin {
            let refused = |error| {
                Error::Settings(format!(
                    "can't listen on {address}: {error}; give admin.listen an address of this machine and a free port"
                ))
            };
            let listener = TcpListener::bind(address).await.map_err(refused)?;
            let address = listener.local_addr().map_err(refused)?;
            info!("http://{address}/ shows how the program does, /metrics tells Prometheus");
            let (parts, joined) = (Arc::clone(&parts), Arc::clone(&joined));
            let sls::Config { project, logstore, group, consumer, .. } = settings.sls.clone();
            let who = Identity { project, logstore, group, consumer };
            side.spawn(admin::serve(listener, move || snapshot_of(&parts, &who, joined.load(Ordering::Relaxed))));
        }
        side.spawn(say_how_the_destination_is(Arc::clone(&parts)));

        let start = settings.run.start.start;
        let Some(timeout) = leave.or(join_group(&parts.source, start)).await else { return Ok(()) };
        let timeout = timeout?;
        joined.store(true, Ordering::Relaxed);
        info!(
            group = %settings.sls.group, consumer = %settings.sls.consumer, ?timeout,
            "joined the consumer group; a shard without a checkpoint starts at {}", settings.run.start
        );
        let (beats, tasks) = group::line(Membership::new(timeout, Instant::now()));
        let beats = HeartbeatThread::start(settings.sls.clone(), beats, settings.run.heartbeat_interval)?;
        side.spawn(sum_up_now_and_then(Arc::clone(&parts)));
        let watch = ScriptWatch {
            path: settings.script.clone(),
            interval: reload::POLL_INTERVAL,
            force: settings.reload.force,
        };
        let watched = Arc::clone(&parts);
        side.spawn(async move { watch.run(&watched.hooks, wake).await });

        let drained = tokio::select! {
            drained = group::run(Arc::clone(&parts), tasks, leave, settings.run.drain_timeout) => drained,
            broken = breakdown(&mut side) => return Err(Error::Internal(broken)),
        };
        beats.join()?;
        side.shutdown().await;
        for line in summary::shards(&parts.ledger, summary::unix_now()) {
            info!("{line}");
        }
        info!("{}", summary_of(&parts));
        if let Some(hint) = summary::dead_letters(&parts.ledger, &letters) {
            warn!("{hint}");
        }
        match drained {
            Drained::Clean => Ok(()),
            Drained::Cut => Err(Error::Cut),
            Drained::Broken => {
                Err(Error::Internal("every shard that is taken up breaks down; the log tells why".into()))
            }
        }
    }
}

/// Finds or creates the group; returns its timeout. What may pass is tried again; a refusal at this point is final, so
/// that a wrong name or permission is seen at once.
async fn join_group(source: &Sls, start: Start) -> Result<Duration, Error> {
    let mut trouble = RetryLog::new("cannot join the consumer group", 0);
    loop {
        let joined = async {
            let timeout = source.ensure_group().await?;
            if start == Start::End {
                learn_shards(source).await?;
            }
            Ok(timeout)
        };
        match joined.await {
            Ok(timeout) => return Ok(timeout),
            Err(SourceError::Refused(cause) | SourceError::Lost(cause)) => return Err(Error::Refused(cause)),
            Err(fault) => trouble.pause(&fault).await,
        }
    }
}

/// Looks which shards there are now, so that those of a later split or merge start with their first log. Who may not
/// look can work all the same.
async fn learn_shards(source: &Sls) -> Result<(), SourceError> {
    match source.learn_shards().await {
        Err(SourceError::Refused(cause)) => {
            warn!(
                "the shards cannot be listed, so one that comes later, of a split or a merge, will also start at its \
                 end, and what it got before it is taken up will be missed: grant log:ListShards on the logstore; {cause}"
            );
            Ok(())
        }
        learnt => learnt,
    }
}

/// Resolves when a task that should go on as long as the program broke down instead.
async fn breakdown(side: &mut JoinSet<()>) -> String {
    loop {
        match side.join_next().await {
            // It had one thing to do, and has done it.
            Some(Ok(())) => {}
            Some(Err(panic)) => return panic.to_string(),
            None => std::future::pending().await,
        }
    }
}

/// Asks the destination once whether it would take our events. It need not: shards hold their position meanwhile.
async fn say_how_the_destination_is(parts: Arc<Pipeline<Sls, AnyDestination>>) {
    info!("{}", parts.sink.promises());
    match parts.sink.check().await {
        Ok(checked) => info!(url = checked.url, took = ?checked.took, "the destination {}", checked.agrees),
        // A refusal is in the log already.
        Err(_) if matches!(parts.sink.health(), Health::Held { .. }) => {}
        Err(cause) => warn!("the destination does not take events yet, logs wait in SLS until it does: {cause}"),
    }
}

async fn sum_up_now_and_then(parts: Arc<Pipeline<Sls, AnyDestination>>) {
    let mut ticks = interval_at(Instant::now() + SUMMARY_INTERVAL, SUMMARY_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let total = parts.ledger.total();
        if total.difference() != 0 {
            error!(difference = %total.difference(), "BUG: the books do not balance");
        }
        info!("{}", summary_of(&parts));
    }
}

fn summary_of(parts: &Pipeline<Sls, AnyDestination>) -> String {
    let books = summary::line(&parts.ledger, &parts.sink.promise(), &parts.sink.health(), summary::unix_now());
    books + &summary::script(&parts.hooks.script().version, &parts.hooks.reloads())
}

fn snapshot_of(parts: &Pipeline<Sls, AnyDestination>, who: &Identity, joined: bool) -> Snapshot {
    Snapshot {
        who: who.clone(),
        joined,
        promise: parts.sink.promise(),
        promises: parts.sink.promises(),
        health: parts.sink.health(),
        shards: parts.ledger.read(),
        script: parts.hooks.script().version.clone(),
        script_since: parts.hooks.since(),
        reloads: parts.hooks.reloads(),
        last_refused: parts.hooks.last_refused(),
        now: summary::unix_now(),
    }
}

/// The thread of the heartbeats, with a runtime and connections of its own: whatever happens elsewhere in the program,
/// a heartbeat is on time.
struct HeartbeatThread {
    thread: thread::JoinHandle<()>,
}

impl HeartbeatThread {
    fn start(config: sls::Config, end: HeartbeatEnd, interval: Duration) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::Internal(format!("no runtime for heartbeats: {error}")))?;
        let source = Sls::new(&config).map_err(|error| Error::Settings(error.to_string()))?;
        let thread = thread::Builder::new()
            .name("heartbeat".into())
            .spawn(move || {
                runtime.block_on(group::beat(&source, end, interval));
                // A resolver or a disk that hangs must not keep the program from its end.
                runtime.shutdown_background();
            })
            .map_err(|error| Error::Internal(format!("no thread for heartbeats: {error}")))?;
        Ok(Self { thread })
    }

    fn join(self) -> Result<(), Error> {
        self.thread.join().map_err(|_| Error::Internal("the heartbeat thread broke down".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn f83_a_side_task_may_end_but_not_break_down() {
        let mut side = JoinSet::new();
        side.spawn(async {});
        let later = Duration::from_secs(60);
        assert!(tokio::time::timeout(later, breakdown(&mut side)).await.is_err(), "it had one thing to do");
        side.spawn(std::future::pending());
        side.spawn(async { std::panic::resume_unwind(Box::new("a bug")) });
        let why = breakdown(&mut side).await;
        assert!(why.contains("a bug"), "{why}");
        assert_eq!(Error::Internal(why).exit_code(), 70);
    }
}
