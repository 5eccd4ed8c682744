//! What all sources of a process share.

use std::sync::Arc;

use crate::core::budget::Budget;
use crate::core::ledger::Ledger;
use crate::destination::registry::AnyDestination;
use crate::pipeline::Route;

/// What all sources share, for them and for whoever tells how the process does.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) destinations: Arc<[Route<AnyDestination>]>,
    pub(super) ledger: Arc<Ledger>,
    /// `run.memory`.
    pub(super) budget: Budget,
}
