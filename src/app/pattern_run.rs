//! A source whose logstore is a pattern: looks up logstores, and reads each match as a separate source.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::error::Error;
use super::logstore_changes::{Changes, changes};
use super::reload::Wake;
use super::shared::Shared;
use super::source_list::{Listed, Watched};
use super::source_run::{Common, SourceRun, identity};
use crate::admin::{GroupHealth, SourceSnapshot};
use crate::core::budget::SourceMemory;
use crate::core::cause::Cause;
use crate::core::cursor::SourceName;
use crate::core::failing::Failing;
use crate::core::retry_log::RetryLog;
use crate::core::source::SourceError;
use crate::core::stop::{Stop, Stopper, stop};
use crate::core::timings::TimingsRead;
use crate::core::wildcard;
use crate::group::{Drained, SourcePlaces};
use crate::script::Hooks;
use crate::settings::SourceSettings;
use crate::sls;
use crate::sls::Sls;

/// Time between two lookups. SIGHUP starts the next one at once.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(60);

/// Time between the lookup that misses a logstore and the one that confirms it: a list in pages may skip a logstore
/// while others are deleted.
const SECOND_CHECK_DELAY: Duration = Duration::from_secs(1);

/// A pattern, ready to work.
#[derive(Debug)]
pub(super) struct PatternRun {
    /// The script for all logstores that it finds.
    pub(super) hooks: Arc<Hooks>,
    shared: Arc<Shared>,
    state: Arc<PatternState>,
    _listed: Listed,
}

/// The state of the lookups.
#[derive(Debug)]
struct PatternState {
    settings: SourceSettings,
    /// Its position in the settings.
    at: usize,
    sls: Sls,
    lookups: Mutex<Lookups>,
}

/// What the lookups have shown.
#[derive(Debug, Default)]
struct Lookups {
    /// The current failure.
    failing: Option<Failing>,
    /// Why the last one found nothing.
    nothing: Option<String>,
    /// Whether the log says that there is nothing.
    is_said: bool,
    /// Whether a logstore was found: the sources then report their own state.
    has_found: bool,
}

/// The result of a lookup.
enum LookupOutcome {
    /// There are logstores to read, or there were.
    Found,
    /// Other sources read all logstores that match.
    ReadByOthers,
    /// There have been none yet.
    Nothing,
}

impl PatternRun {
    /// # Errors
    /// A setting of the source is wrong, or a file that it names.
    pub(super) fn new(
        at: usize,
        settings: &SourceSettings,
        hooks: Arc<Hooks>,
        shared: &Arc<Shared>,
    ) -> Result<Self, Error> {
        let sls = Sls::over(&settings.sls, &settings.name, &shared.connections);
        let sls = sls.map_err(|error| Error::Settings(error.to_string()))?;
        let state = Arc::new(PatternState { settings: settings.clone(), at, sls, lookups: Mutex::default() });
        let listed = shared.sources.add(&settings.name, Arc::clone(&state) as _);
        Ok(Self { hooks, shared: Arc::clone(shared), state, _listed: listed })
    }

    /// Runs until `leave` is raised, or until everything that it found has been read to its end. Returns the worst
    /// result of its sources. All of them share `places`.
    ///
    /// # Errors
    /// SLS rejected the requests of every source before anything began, or a bug.
    pub(super) async fn run(self, common: Common, places: SourcePlaces, leave: Stop) -> Result<Drained, Error> {
        let PatternState { settings, .. } = &*self.state;
        let mut found = Found::new(&self, common.clone(), places);
        let mut retry_log = RetryLog::new(format!("source {}: cannot find logstores", settings.name), 0);
        let (mut wake, mut next_look) = (Wake::listen(), Instant::now());
        loop {
            tokio::select! {
                () = leave.raised() => return found.end(Drained::Clean).await,
                Some(ended) = found.running.join_next() => {
                    let drained = found.has_ended(ended)?;
                    if drained != Drained::Clean || found.is_all_read() {
                        return found.end(drained).await;
                    }
                }
                () = wake.comes() => next_look = Instant::now(),
                () = sleep_until(next_look) => {
                    let Some(looked) = leave.or(found.look()).await else { continue };
                    let pause = match looked {
                        Ok(LookupOutcome::ReadByOthers) if settings.until.is_some() => return Ok(Drained::Clean),
                        Ok(LookupOutcome::Found | LookupOutcome::ReadByOthers) => {
                            self.state.finds();
                            retry_log.recovered();
                            LOOKUP_INTERVAL
                        }
                        Ok(LookupOutcome::Nothing) => {
                            retry_log.recovered();
                            let nothing = nothing(&settings.sls);
                            if self.state.finds_nothing(&nothing) {
                                warn!(source = settings.name, "{nothing}");
                            }
                            LOOKUP_INTERVAL
                        }
                        Err(fault) if self.is_the_end(&fault, &common) => {
                            return Err(Error::Refused(fault.cause().clone()));
                        }
                        Err(fault) => {
                            self.state.fails(&fault);
                            retry_log.next(fault.cause(), fault.retry(), Instant::now())
                        }
                    };
                    next_look = Instant::now() + pause.min(LOOKUP_INTERVAL);
                }
            }
        }
    }

    /// Whether a refusal ends the program, as for a source that cannot join.
    fn is_the_end(&self, fault: &SourceError, common: &Common) -> bool {
        let PatternState { settings, .. } = &*self.state;
        let name = SourceName::new(&settings.name);
        match fault {
            SourceError::Absent(_) if settings.wait => {}
            SourceError::Refused(_) | SourceError::Absent(_) => return common.refusals.refused(&name),
            _ => {}
        }
        common.refusals.meets_something_else(&name);
        false
    }
}

fn nothing(config: &sls::Config) -> String {
    format!(
        "no logstore of project {} matches {} yet; the logstores are looked up again every minute",
        config.project, config.logstore
    )
}

/// A source that has ended.
struct EndedSource {
    logstore: String,
    name: SourceName,
    drained: Result<Drained, Error>,
}

/// The sources that a pattern found.
struct Found<'a> {
    pattern: &'a PatternRun,
    common: Common,
    places: SourcePlaces,
    running: JoinSet<EndedSource>,
    /// By logstore; raised to end its source.
    stops: BTreeMap<String, Stopper>,
    /// Logstores that were read to their end.
    read: BTreeSet<String>,
}

impl<'a> Found<'a> {
    fn new(pattern: &'a PatternRun, common: Common, places: SourcePlaces) -> Self {
        Self { pattern, common, places, running: JoinSet::new(), stops: BTreeMap::new(), read: BTreeSet::new() }
    }

    /// Lists the logstores, starts sources for those that are new, and ends the sources of those that are gone.
    async fn look(&mut self) -> Result<LookupOutcome, SourceError> {
        let PatternRun { shared, state, .. } = self.pattern;
        let PatternState { settings, at, sls, .. } = &**state;
        let listed = match sls.logstores().await {
            Err(SourceError::Absent(cause)) => return Err(SourceError::Absent(sls.whereabouts(cause).await)),
            listed => listed?,
        };
        self.common.refusals.meets_something_else(&SourceName::new(&settings.name));
        let known = self.stops.keys().chain(&self.read).cloned().collect();
        let matching = || listed.iter().filter(|logstore| wildcard::matches(&settings.sls.logstore, logstore));
        let meant = matching().filter(|logstore| shared.names.is_read_by(*at, logstore)).cloned().collect();
        let Changes { new, gone } = changes(&known, &meant);
        if !gone.is_empty() {
            sleep(SECOND_CHECK_DELAY).await;
            let again = sls.logstores().await?;
            gone.difference(&again).for_each(|logstore| self.is_gone(logstore));
        }
        for logstore in new {
            self.start(&logstore)?;
        }
        Ok(match self.stops.is_empty() && self.read.is_empty() {
            false => LookupOutcome::Found,
            true if matching().next().is_some() => LookupOutcome::ReadByOthers,
            true => LookupOutcome::Nothing,
        })
    }

    fn start(&mut self, logstore: &str) -> Result<(), SourceError> {
        let PatternRun { hooks, shared, state, .. } = self.pattern;
        let settings = &state.settings;
        let sls = sls::Config { logstore: logstore.to_owned(), ..settings.sls.clone() };
        let name = shared.names.name_of(state.at, logstore);
        let source = SourceRun::new(&SourceSettings { name, sls, ..settings.clone() }, Arc::clone(hooks), shared);
        let source = source.map_err(|error| {
            SourceError::Refused(Cause::new(format!("logstore {logstore} cannot be read: {error}")))
        })?;
        info!(source = %source.name(), pattern = settings.sls.logstore, "found a logstore");
        let (stopper, stopped) = stop();
        let (logstore, common, places) = (logstore.to_owned(), self.common.clone(), self.places.clone());
        let name = SourceName::new(source.name());
        self.stops.insert(logstore.clone(), stopper);
        self.running.spawn(async move {
            let drained = source.run(common, places, stopped).await;
            EndedSource { logstore, name, drained }
        });
        Ok(())
    }

    fn is_gone(&mut self, logstore: &str) {
        self.read.remove(logstore);
        if let Some(stop) = self.stops.get(logstore).filter(|stop| !stop.is_raised()) {
            warn!(logstore, "the logstore was deleted: its source ends; its undelivered logs are lost");
            stop.raise();
        }
    }

    /// Records the end of a source. Undelivered logs of a deleted logstore are no failure: nothing can recover them.
    fn has_ended(&mut self, ended: Result<EndedSource, JoinError>) -> Result<Drained, Error> {
        let EndedSource { logstore, name, drained } = ended.map_err(|panic| Error::Internal(panic.to_string()))?;
        let drained = drained?;
        let was_gone = self.stops.remove(&logstore).is_some_and(|stop| stop.is_raised());
        if was_gone {
            // A logstore that is created again under this name has other logs.
            self.pattern.shared.ledger.forget_positions(&name);
        }
        if was_gone && drained != Drained::Broken {
            return Ok(Drained::Clean);
        }
        self.read.insert(logstore);
        Ok(drained)
    }

    /// Whether everything was read to its end.
    fn is_all_read(&self) -> bool {
        self.running.is_empty() && !self.read.is_empty()
    }

    /// Ends all sources in order; returns the worst of `worst` and their results.
    async fn end(mut self, mut worst: Drained) -> Result<Drained, Error> {
        self.stops.values().for_each(Stopper::raise);
        while let Some(ended) = self.running.join_next().await {
            let EndedSource { drained, .. } = ended.map_err(|panic| Error::Internal(panic.to_string()))?;
            worst = worst.max(drained?);
        }
        Ok(worst)
    }
}

impl PatternState {
    fn finds(&self) {
        *self.lock() = Lookups { has_found: true, ..Lookups::default() };
    }

    /// Returns whether this is news: failed lookups in between change nothing.
    fn finds_nothing(&self, nothing: &str) -> bool {
        let mut lookups = self.lock();
        lookups.failing = None;
        lookups.nothing = Some(format!("waiting: {nothing}"));
        !std::mem::replace(&mut lookups.is_said, true)
    }

    fn fails(&self, fault: &SourceError) {
        let mut lookups = self.lock();
        lookups.failing = Some(Failing::again(lookups.failing.as_ref(), fault, Instant::now()));
        lookups.nothing = None;
    }

    /// Every writer leaves the value consistent before it can panic.
    fn lock(&self) -> MutexGuard<'_, Lookups> {
        self.lookups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched for PatternState {
    fn read(&self, _: &mut BTreeMap<SourceName, TimingsRead>) -> Option<SourceSnapshot> {
        let (failing, waiting) = {
            let lookups = self.lock();
            if lookups.has_found && lookups.failing.is_none() && lookups.nothing.is_none() {
                return None;
            }
            (lookups.failing.clone(), lookups.nothing.clone())
        };
        Some(SourceSnapshot {
            name: self.settings.name.clone(),
            who: identity(&self.settings.sls),
            group: GroupHealth { failing, waiting, ..GroupHealth::default() },
            credentials: self.sls.key_status(),
            certificate_end: self.sls.certificate_end(),
            retention: None,
            owners: Vec::new(),
            unread: Vec::new(),
            listed_shards: None,
            calls: self.sls.errors().sent(),
            errors: self.sls.errors().read(),
            probe: None,
            timings: TimingsRead::default(),
            memory: SourceMemory::default(),
        })
    }
}
