//! State shared by the client and the sending thread.

use std::sync::atomic::{AtomicBool, AtomicU64};

use tokio::sync::Notify;

use super::Config;
use super::dial::Dial;
use super::findings::Findings;
use crate::core::budget::SharedBudget;
use crate::destination::health::HealthTracker;

/// State shared by the client and the sending thread.
pub(super) struct SyslogShared {
    pub(super) config: Config,
    pub(super) dial: Dial,
    pub(super) health: HealthTracker,
    /// Notified when a caller stops waiting for a batch.
    pub(super) left: Notify,
    pub(super) written_only: AtomicBool,
    /// Number of closes that proved the delivery of their connection.
    pub(super) proofs: AtomicU64,
    /// The memory in which events wait for their proof, shared by all shards and destinations.
    pub(super) budget: SharedBudget,
    pub(super) findings: Findings,
}

impl std::fmt::Debug for SyslogShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyslogShared").field("config", &self.config).finish_non_exhaustive()
    }
}
