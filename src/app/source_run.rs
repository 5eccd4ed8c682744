//! One source: joins its consumer group, sends its heartbeats, and works on its shards until the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::info;

use super::error::Error;
use super::group_look::{Found, GroupLook};
use super::group_state::GroupState;
use super::heartbeat_thread::Heartbeats;
use super::join::{Refusals, join_group};
use super::probe_writer::write_probes;
use super::retention::Retention;
use super::shared::Shared;
use super::side_tasks::breakdown;
use super::source_list::{Listed, Watched};
use super::waiting::log_shard_owners;
use crate::admin::{Identity, SourceSnapshot};
use crate::core::cursor::SourceName;
use crate::core::stop::{Stop, stop};
use crate::core::timings::TimingsRead;
use crate::destination::Destination as _;
use crate::destination::registry::AnyDestination;
use crate::group;
use crate::group::membership::Membership;
use crate::group::{Drained, Places, SourcePlaces};
use crate::pipeline::{DeadLetterPolicy, Pace, PartSize, Pipeline};
use crate::script::Hooks;
use crate::settings::SourceSettings;
use crate::settings::start::StartPosition;
use crate::sls::{self, ConfigError, Sls};

/// One source, ready to work.
#[derive(Debug)]
pub(super) struct SourceRun {
    pub(super) settings: SourceSettings,
    pub(super) pipeline: Arc<Pipeline<Sls, AnyDestination>>,
    /// A separate client for the heartbeats: they are on time whatever happens to the other connections.
    pub(super) beating: Sls,
    watch: Arc<SourceWatch>,
    listed: Listed,
}

/// What the sources of a process have in common while they run.
#[derive(Debug, Clone)]
pub(super) struct Common {
    pub(super) heartbeats: Heartbeats,
    pub(super) refusals: Arc<Refusals>,
    /// The places of the shards that all sources work on at once.
    pub(super) places: Places,
    /// Whether the status can be viewed.
    pub(super) is_watched: bool,
    /// How long a stop may take.
    pub(super) drain: Duration,
}

impl SourceRun {
    /// # Errors
    /// A setting of the source is wrong, or a file that it names.
    pub(super) fn new(settings: &SourceSettings, hooks: Arc<Hooks>, shared: &Shared) -> Result<Self, Error> {
        let wrong = |error: ConfigError| Error::Settings(error.to_string());
        let source = Sls::over(&settings.sls, &settings.name, &shared.connections).map_err(wrong)?;
        let beating = source.beside(&shared.beating).map_err(wrong)?;
        let pipeline = Pipeline {
            source,
            source_name: SourceName::new(&settings.name),
            destinations: Arc::clone(&shared.destinations),
            hooks,
            budget: shared.budget.for_source(),
            ledger: Arc::clone(&shared.ledger),
            dead_letters: DeadLetterPolicy {
                keep: Box::new(Arc::clone(&shared.letters)),
                copies: shared.copies.clone(),
                project: settings.sls.project.clone(),
                logstore: settings.sls.logstore.clone(),
                on_error: shared.dead_letter_rules.on_error,
                max_share: shared.dead_letter_rules.max_share,
            },
            taps: Arc::clone(&shared.taps),
            pace: Pace {
                start: settings.start.start,
                until: settings.until.as_ref().map(|until| until.start),
                fetch_interval: settings.fetch_interval,
                save_interval: settings.save_interval,
                page_groups: settings.sls.page_groups,
                part: PartSize::default(),
            },
        };
        let (settings, pipeline) = (settings.clone(), Arc::new(pipeline));
        let who = identity(&settings.sls);
        let watch = Arc::new(SourceWatch {
            who,
            pipeline: Arc::clone(&pipeline),
            group: Arc::default(),
            retention: Retention::default(),
            look: GroupLook::default(),
        });
        let listed = shared.sources.add(&settings.name, Arc::clone(&watch) as _);
        Ok(Self { settings, pipeline, beating, watch, listed })
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.settings.name
    }

    /// Runs until `leave` is raised, on as many shards as `places` allows.
    ///
    /// # Errors
    /// SLS rejected the requests of every source before anything began, or a bug.
    pub(super) async fn run(self, common: Common, places: SourcePlaces, leave: Stop) -> Result<Drained, Error> {
        let Self { settings, pipeline, beating, watch, listed: _listed } = self;
        let state = Arc::clone(&watch.group);
        let sls::Config { endpoint, project, logstore, group, consumer, .. } = &settings.sls;
        let addresses: Vec<String> = pipeline.destinations.iter().map(|route| route.destination.address()).collect();
        let destination = addresses.join(", ");
        info!(source = %pipeline.source_name, endpoint, project, logstore, group, consumer, destination, "forwarding");
        let joined =
            leave.or(join_group(&pipeline, settings.start.start, settings.wait, &state, &common.refusals)).await;
        let Some(timeout) = joined else { return Ok(Drained::Clean) };
        let timeout = timeout?;
        info!(
            source = %pipeline.source_name, timeout_seconds = timeout.as_secs(),
            "joined the consumer group; a shard without a checkpoint starts at {}{}",
            settings.start,
            settings.until.as_ref().map(|until| format!(", and every shard ends at {until}")).unwrap_or_default()
        );
        let membership = Membership::new(timeout, places.logstore(), Instant::now());
        let (beats, tasks) = group::line(pipeline.source_name.clone(), membership);
        state.joined(tasks.watch());
        common.heartbeats.add(beating, beats, settings.heartbeat_interval).await?;
        let mut side = JoinSet::new();
        if common.is_watched {
            let looking = Arc::clone(&watch);
            side.spawn(async move { looking.retention.watch(&looking.pipeline.source).await });
            let view = tasks.watch();
            side.spawn(async move {
                let SourceWatch { look, pipeline, retention, .. } = &*watch;
                look.watch(&pipeline.source, &pipeline.pace, timeout, view, retention).await;
            });
        }
        let leave = match settings.until.clone() {
            Some(until) => {
                let (stopper, ended) = stop();
                let pipeline = Arc::clone(&pipeline);
                side.spawn(async move {
                    if leave.or(all_past(&pipeline, &until)).await.is_some() {
                        info!(
                            source = %pipeline.source_name,
                            "every shard of the group is past sls.until, {until}: ending"
                        );
                    }
                    stopper.raise();
                });
                ended
            }
            None => leave,
        };
        if settings.sls.probe {
            side.spawn(write_probes(Arc::clone(&pipeline)));
        }
        side.spawn(log_shard_owners(Arc::clone(&pipeline), state, tasks.watch(), timeout));
        tokio::select! {
            drained = group::run(pipeline, tasks, leave, common.drain) => Ok(drained),
            broken = breakdown(&mut side) => Err(Error::Internal(broken)),
        }
    }
}

/// Resolves when every shard of the group is past `until`.
async fn all_past(pipeline: &Pipeline<Sls, AnyDestination>, until: &StartPosition) {
    let holds =
        || pipeline.ledger.read().iter().any(|(shard, entry)| entry.held && shard.source == pipeline.source_name);
    group::all_past(&pipeline.source, until.start, holds).await;
}

/// The names of a source and of our consumer.
pub(super) fn identity(config: &sls::Config) -> Identity {
    let sls::Config { endpoint, project, logstore, group, consumer, .. } = config.clone();
    Identity { endpoint, project, logstore, group, consumer }
}

/// Reports the state of a running source.
#[derive(Debug)]
struct SourceWatch {
    who: Identity,
    pipeline: Arc<Pipeline<Sls, AnyDestination>>,
    group: Arc<GroupState>,
    retention: Retention,
    look: GroupLook,
}

impl Watched for SourceWatch {
    fn read(&self, timings: &mut BTreeMap<SourceName, TimingsRead>) -> Option<SourceSnapshot> {
        let Pipeline { source, source_name, budget, .. } = &*self.pipeline;
        let Found { listed_shards, owners, unread } = self.look.read();
        Some(SourceSnapshot {
            name: source_name.to_string(),
            who: self.who.clone(),
            group: self.group.read(),
            credentials: source.key_status(),
            certificate_end: source.certificate_end(),
            retention: self.retention.read(),
            owners,
            unread,
            listed_shards,
            calls: source.errors().sent(),
            errors: source.errors().read(),
            probe: self.pipeline.ledger.probes().read(Instant::now()).remove(source_name),
            timings: timings.remove(source_name).unwrap_or_default(),
            memory: budget.of_source(),
        })
    }
}
