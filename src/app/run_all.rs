//! Runs all sources until they end or are asked to stop.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::error::Error;
use super::pattern_run::PatternRun;
use super::shared::Shared;
use super::source_run::{Common, SourceRun};
use crate::core::stop::{Stop, stop};
use crate::group::{Drained, SourcePlaces};
use crate::script::Hooks;
use crate::settings::SourceSettings;
use crate::sls::api::MAX_SHARDS;

/// A source of the settings, ready to work.
#[derive(Debug)]
pub(super) enum Work {
    /// One logstore.
    One(Box<SourceRun>),
    /// All logstores that match a pattern.
    Pattern(PatternRun),
}

impl Work {
    /// The source at this position in the settings.
    ///
    /// # Errors
    /// A setting of the source is wrong, or a file that it names.
    pub(super) fn new(
        at: usize,
        settings: &SourceSettings,
        hooks: Arc<Hooks>,
        shared: &Arc<Shared>,
    ) -> Result<Self, Error> {
        Ok(match settings.is_pattern() {
            true => Self::Pattern(PatternRun::new(at, settings, hooks, shared)?),
            false => Self::One(Box::new(SourceRun::new(settings, hooks, shared)?)),
        })
    }

    /// The script for its logs.
    pub(super) fn hooks(&self) -> &Arc<Hooks> {
        match self {
            Self::One(source) => &source.pipeline.hooks,
            Self::Pattern(pattern) => &pattern.hooks,
        }
    }

    async fn run(self, common: Common, places: SourcePlaces, leave: Stop) -> Result<Drained, Error> {
        match self {
            Self::One(source) => source.run(common, places, leave).await,
            Self::Pattern(pattern) => pattern.run(common, places, leave).await,
        }
    }
}

/// Runs every source until `leave` is raised, or until one panics: a bug ends all of them in order. Returns the worst
/// of their results.
pub(super) async fn run_all(sources: Vec<Work>, common: Common, leave: Stop) -> Result<Drained, Error> {
    let (stopper, stopped) = stop();
    let mut running = JoinSet::new();
    for source in sources {
        running.spawn(source.run(common.clone(), common.places.source(MAX_SHARDS), stopped.clone()));
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
