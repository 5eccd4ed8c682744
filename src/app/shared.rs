//! What all sources of a process share.

use std::sync::Arc;

use super::source_list::SourceList;
use crate::core::budget::SharedBudget;
use crate::core::ledger::Ledger;
use crate::dead_letter::{DirectoryStore, OpenDeadLetters};
use crate::destination::registry::AnyDestination;
use crate::pipeline::tap::Taps;
use crate::pipeline::{Copies, Route};
use crate::script::TotalMemory;
use crate::settings::{DeadLetterSettings, SourceNames};
use crate::sls::Connections;

/// What all sources share, also for code that reports the state of the process.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) destinations: Arc<[Route<AnyDestination>]>,
    pub(super) ledger: Arc<Ledger>,
    /// `run.memory`.
    pub(super) budget: SharedBudget,
    /// `script.total_memory`.
    pub(super) vms: Arc<TotalMemory>,
    /// Where logs that cannot be delivered are stored.
    pub(super) letters: Arc<DirectoryStore>,
    /// Where copies of them go, if anywhere.
    pub(super) copies: Option<Copies>,
    /// When logs become dead letters.
    pub(super) dead_letter_rules: DeadLetterSettings,
    /// To SLS, for everything except heartbeats.
    pub(super) connections: Connections,
    /// To SLS for heartbeats, on a separate runtime: they are on time whatever happens to the other connections.
    pub(super) beating: Connections,
    /// The sources at work.
    pub(super) sources: SourceList,
    /// The sources of the settings.
    pub(super) names: SourceNames,
    /// The open taps.
    pub(super) taps: Arc<Taps>,
}

impl Shared {
    /// Counts the open dead letters of this process, and apart from them what isolated destinations missed.
    pub(super) fn open_dead_letters(&self) -> OpenDeadLetters {
        let isolated = self.destinations.iter().filter(|route| route.isolation.is_some());
        OpenDeadLetters::new(self.letters.dir(), isolated.map(|route| route.name.to_string()).collect())
    }
}
