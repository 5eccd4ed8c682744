//! Builds the concrete pipeline, owns every task, and stops them in order.

pub mod backfill;
mod consumer;
mod dead_letter_count;
mod error;
mod gaps;
mod group_look;
mod group_state;
mod heartbeat_thread;
mod join;
mod last_good;
mod left_letters;
mod listening;
mod logstore_changes;
mod observe;
mod pattern_run;
mod probe_writer;
mod reload;
pub mod replay;
mod retention;
mod run_all;
mod scripts;
pub mod seek;
mod shard_holders;
mod shared;
mod side_tasks;
mod source_list;
mod source_run;
pub mod summary;
mod wait_log;
mod waiting;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::Instant;
use tracing::{info, warn};

use super::admin;
use super::dead_letter;
use super::group;
use crate::core::budget::SharedBudget;
use crate::core::cursor::{ShardId, SourceName};
use crate::core::event::{DestinationFormat, Formats};
use crate::core::ledger::Ledger;
use crate::core::named_socket::NamedSocket;
use crate::core::state_dir::StateDir;
use crate::core::stop::Stop;
use crate::core::tls_connectors::TlsConnectors;
use crate::dead_letter::DirectoryStore;
use crate::destination::registry::AnyDestination;
use crate::group::{Drained, Places};
use crate::pipeline::{Copies, MissedEvents, Route, bring_back};
use crate::script::{HookThreads, Hooks, Meta};
use crate::settings::{DeadLetterSettings, DestinationSettings, Settings, SourceNames, SourceSettings};
use crate::sls::Connections;
use consumer::ConsumerId;
use dead_letter_count::DeadLetterCount;
pub use error::Error;
use gaps::Gaps;
use heartbeat_thread::HeartbeatThread;
use join::Refusals;
use left_letters::take_over_left_letters;
use listening::Listening;
use observe::{Observed, destinations_of, log_destination_health, sum_up_now_and_then, summary_of};
use run_all::{Work, run_all};
use scripts::Scripts;
use shared::Shared;
use side_tasks::breakdown;
use source_list::SourceList;
use source_run::Common;
use wait_log::log_waits;

/// Isolated destinations may use this fraction of the memory for waiting events: the others need the rest.
const ISOLATED_SHARE: usize = 4;

/// Destinations and their formats.
pub type Destinations = (Arc<[Route<AnyDestination>]>, Formats);

/// The destinations in the settings, and the formats of their events. The isolated ones share a part of `budget` for
/// waiting events. `tls` is shared with other clients.
///
/// # Errors
/// A file that the settings name cannot be used.
pub fn destinations(
    settings: &[DestinationSettings],
    budget: &SharedBudget,
    state: &StateDir,
    tls: &TlsConnectors,
) -> Result<Destinations, Error> {
    let (mut routes, mut formats) = (Vec::new(), Vec::new());
    let isolated = settings.iter().filter(|one| one.isolate).count();
    for DestinationSettings { name, config, on_reject, isolate } in settings {
        let opened = config.open(state, budget, tls);
        let (destination, format) = opened.map_err(|error| Error::Settings(error.to_string()))?;
        let route = Route::new(name.clone(), destination, *on_reject);
        routes.push(if *isolate { route.isolated(budget.limit() / ISOLATED_SHARE / isolated) } else { route });
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
    sources: Vec<Work>,
    scripts: Scripts,
    /// Gaps that are not acknowledged yet.
    gaps: Arc<Gaps>,
    /// Our name in the groups, kept for the next start.
    consumer: Option<ConsumerId>,
    /// The directory for small files that outlive the process.
    state: StateDir,
    /// Open once [`App::listen`] was called.
    listening: Option<Listening>,
    /// The state in a sentence.
    headline: watch::Sender<String>,
}

impl App {
    /// Builds the parts. All mistakes that can be found without a network are found here.
    ///
    /// # Errors
    /// A script does not load, or a file or directory that the settings name cannot be used.
    pub fn new(mut settings: Settings) -> Result<Self, Error> {
        let state = open_state(&settings.state_dir);
        let budget = SharedBudget::new(settings.run.memory);
        let tls = TlsConnectors::default();
        let (destinations, formats) = destinations(&settings.destinations, &budget, &state, &tls)?;
        let consumer = take_name(&mut settings.sources, &state);
        // Not named after a source: the sources may change from one start to the next.
        let process = consumer.as_ref().map_or("unnamed", |consumer| &consumer.id);
        let gaps = Gaps::new(state.clone(), process);
        let threads = HookThreads::start(settings.run.hook_threads)
            .map_err(|error| Error::Internal(format!("cannot start the threads for the script: {error}")))?;
        let threads = Arc::new(threads);
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
        let dead_letter_rules = settings.dead_letters.clone();
        let DeadLetterSettings { dir, max_bytes, .. } = dead_letter_rules.clone();
        let letters = DirectoryStore::open_free(&dead_letter::Config { dir, max_bytes })?;
        info!(dir = %letters.dir().display(), "logs that cannot be delivered are written as dead letters");
        let (ledger, letters, sources) = (Arc::default(), Arc::new(letters), SourceList::default());
        let copies = dead_letter_rules.to.as_ref().and_then(|to| Copies::to(to, &formats));
        let copies = copies.map(|copies| copies.instead_of_disk(!dead_letter_rules.disk));
        let (connections, beating) = (Connections::with(tls.clone()), Connections::with(tls));
        let taps = Arc::default();
        let shared = Shared {
            destinations,
            ledger,
            budget,
            vms: Arc::clone(&settings.hook.total),
            letters,
            copies,
            dead_letter_rules,
            connections,
            beating,
            sources,
            names: SourceNames::of(&settings.sources),
            taps,
        };
        let shared = Arc::new(shared);
        let work = settings.sources.iter().zip(made).enumerate();
        let sources = work.map(|(at, (source, hooks))| Work::new(at, source, hooks, &shared));
        let sources = sources.collect::<Result<_, _>>()?;
        let (gaps, headline) = (Arc::new(gaps), watch::Sender::default());
        Ok(Self { settings, shared, sources, scripts, gaps, consumer, state, listening: None, headline })
    }

    /// The ledger, for code that watches the program run.
    #[must_use]
    pub fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.shared.ledger)
    }

    /// The hooks of the first source, for code that watches the program run.
    #[must_use]
    pub fn hooks(&self) -> Arc<Hooks> {
        Arc::clone(self.sources[0].hooks())
    }

    /// Directory of this process's dead letters.
    #[must_use]
    pub fn letters(&self) -> &Path {
        self.shared.letters.dir()
    }

    /// Opens the admin listener before [`App::run`] does; returns the address that it has, if it has one.
    ///
    /// # Errors
    /// An address or socket in the settings cannot be opened.
    pub async fn listen(&mut self) -> Result<Option<SocketAddr>, Error> {
        let listening = Listening::open(&self.settings.admin, &self.state).await?;
        let address = listening.address();
        self.listening = Some(listening);
        Ok(address)
    }

    /// The socket of the admin listener, once [`App::listen`] has opened it.
    #[must_use]
    pub fn socket(&self) -> Option<&Path> {
        self.listening.as_ref()?.socket.as_ref().map(NamedSocket::path)
    }

    /// The state of the running program in a sentence, and its worst problem.
    #[must_use]
    pub fn headline(&self) -> watch::Receiver<String> {
        self.headline.subscribe()
    }

    /// Runs until `leave` is raised.
    ///
    /// # Errors
    /// SLS rejected the requests of every source at the start; the drain deadline passed first; or a bug.
    pub async fn run(self, leave: Stop) -> Result<(), Error> {
        let Self { settings, shared, sources, scripts, gaps, consumer, state, listening, headline } = self;
        let letters = shared.letters.dir().to_owned();
        let mut side = JoinSet::new();
        let scripts_watch = Arc::new(scripts.watch());
        let listening = match listening {
            Some(listening) => listening,
            None => Listening::open(&settings.admin, &state).await?,
        };
        let Listening { tcp, unix, socket } = listening;
        let is_watched = tcp.is_some() || unix.is_some() || !headline.is_closed();
        if is_watched {
            let count = Arc::<DeadLetterCount>::default();
            let (counted, dir) = (Arc::clone(&count), letters.clone());
            let open = shared.open_dead_letters();
            side.spawn(async move { counted.watch(open, &dir).await });
            let observed = Observed {
                shared: Arc::clone(&shared),
                scripts: Arc::clone(&scripts_watch),
                gaps: Arc::clone(&gaps),
                letters: count,
                letters_dir: letters.display().to_string(),
                started: Instant::now(),
            };
            side.spawn(admin::serve(tcp, unix, observed, headline));
        }
        side.spawn(log_destination_health(Arc::clone(&shared)));
        side.spawn(shared.budget.buffers().trim());
        for number in 0..shared.destinations.len() {
            let shared = Arc::clone(&shared);
            side.spawn(async move {
                let Shared { destinations, letters, copies, .. } = &*shared;
                bring_back(MissedEvents { destinations, letters, copies: copies.as_ref() }, number).await;
            });
        }
        let watched = Arc::clone(&shared);
        side.spawn(async move { gaps.remember(&watched.ledger).await });
        side.spawn(log_waits(Arc::clone(&shared)));
        let taking = Arc::clone(&shared);
        side.spawn(async move { take_over_left_letters(&taking).await });
        side.spawn(sum_up_now_and_then(Arc::clone(&shared), Arc::clone(&scripts_watch)));
        scripts.follow(settings.reload.force, &mut side);

        let (beats, heartbeats) = HeartbeatThread::start()?;
        let common = Common {
            heartbeats,
            refusals: Arc::new(Refusals::new(settings.sources.iter().map(|source| SourceName::new(&source.name)))),
            places: Places::new(group::most_shards(settings.run.memory)),
            is_watched,
            drain: settings.run.drain_timeout,
        };
        let drained = tokio::select! {
            drained = run_all(sources, common, leave) => drained?,
            broken = breakdown(&mut side) => return Err(Error::Internal(broken)),
        };
        beats.join()?;
        drop((consumer, socket));
        side.shutdown().await;
        for line in summary::shards(&shared.ledger) {
            info!("{line}");
        }
        for line in summary::sources(&shared.ledger) {
            info!("{line}");
        }
        for line in summary::destinations(&destinations_of(&shared)) {
            info!("{line}");
        }
        info!("{}", summary_of(&shared, &scripts_watch));
        // Nothing was written to most of them.
        if shared.ledger.total().dead_lettered > 0 {
            let mut open = shared.open_dead_letters();
            match spawn_blocking(move || open.look()).await.unwrap_or_else(|panic| panic!("{panic}")) {
                Ok(found) => summary::say_dead_letters(&found, &letters),
                Err(error) => warn!(dir = %letters.display(), "the dead letters cannot be counted: {error}"),
            }
        }
        match drained {
            Drained::Clean => Ok(()),
            Drained::Cut => Err(Error::Cut),
            Drained::Broken => Err(Error::Internal("every acquired shard fails at once; the log has the cause".into())),
        }
    }
}

/// The state directory; a disabled one, with a warning, if it cannot be used.
fn open_state(dir: &Path) -> StateDir {
    StateDir::open(dir).unwrap_or_else(|error| {
        warn!(
            "the state directory {} cannot be used ({error}): after a restart, the shards wait for the group's \
            timeout, a script that does not load prevents the start, and a syslog receiver that proves nothing gets \
            some messages twice; set \
             state.dir to a directory that the program can write to",
            dir.display()
        );
        StateDir::none()
    })
}

/// Takes the id of this process, which is kept for the next start if there is a place to keep it, and completes the
/// consumer names that are not set. All groups of the process use the same id.
fn take_name(sources: &mut [SourceSettings], state: &StateDir) -> Option<ConsumerId> {
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
                "no name for this process can be kept in the state directory ({error}): after a restart the shards wait for the \
                 group's timeout, unless sls.consumer is set, and gaps may be forgotten; set state.dir to another directory"
            );
            None
        }
    }
}
