//! What the client and the thread that sends both see.

use std::sync::atomic::{AtomicBool, AtomicU64};

use tokio::sync::Notify;

use super::Config;
use super::dial::Dial;
use super::findings::Findings;
use crate::core::budget::SharedBudget;
use crate::destination::health::HealthTracker;

/// What the client and its thread both see.
pub(super) struct SyslogShared {
    pub(super) config: Config,
    pub(super) dial: Dial,
    pub(super) standing: HealthTracker,
    /// Told when somebody stopped waiting for a batch.
    pub(super) left: Notify,
    pub(super) written_only: AtomicBool,
    /// Connections whose close proved what they carried.
    pub(super) proofs: AtomicU64,
    /// The memory in which events wait for their proof, which all shards and destinations share.
    pub(super) budget: SharedBudget,
    pub(super) findings: Findings,
}

impl std::fmt::Debug for SyslogShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyslogShared").field("config", &self.config).finish_non_exhaustive()
    }
}
