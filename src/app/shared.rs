//! What all sources of a process share.

use std::sync::Arc;

use super::source_list::SourceList;
use crate::core::budget::SharedBudget;
use crate::core::ledger::Ledger;
use crate::dead_letter::DirectoryStore;
use crate::destination::registry::AnyDestination;
use crate::pipeline::tap::Taps;
use crate::pipeline::{Copies, Route};
use crate::settings::DeadLetterSettings;
use crate::sls::Connections;

/// What all sources share, for them and for whoever tells how the process does.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) destinations: Arc<[Route<AnyDestination>]>,
    pub(super) ledger: Arc<Ledger>,
    /// `run.memory`.
    pub(super) budget: SharedBudget,
    /// Where logs go that cannot be delivered.
    pub(super) letters: Arc<DirectoryStore>,
    /// Where copies of them go, if anywhere.
    pub(super) copies: Option<Copies>,
    /// When logs go there.
    pub(super) letter_rules: DeadLetterSettings,
    /// To SLS, for all but heartbeats.
    pub(super) connections: Connections,
    /// To SLS for heartbeats, which have a runtime of their own: whatever happens to the other connections, they are on time.
    pub(super) beating: Connections,
    /// The sources that are at work.
    pub(super) sources: SourceList,
    /// Who looks at what passes.
    pub(super) taps: Arc<Taps>,
}
