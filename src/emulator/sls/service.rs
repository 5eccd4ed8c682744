//! What the connections of the emulator share.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::faults::Faults;
use super::group::Save;
use super::state::{SlsState, lock};
use super::verify::Verifier;
use crate::emulator::server_clock::server_time;

/// What the connections share.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) state: Mutex<SlsState>,
    pub(super) faults: Faults,
    pub(super) verifier: Option<Verifier>,
    pub(super) tap: Option<Arc<dyn Tap>>,
    /// Requests so far; their ids count up.
    pub(super) requests: AtomicU64,
}

impl Service {
    /// The service's time since the Unix epoch.
    pub(super) fn now(&self) -> Duration {
        let machine = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ahead = self.faults.current_skew();
        lock(&self.state).set_clock(ahead);
        server_time(machine, ahead)
    }
}

/// Observes what the consumers of all groups do, after it is done and before they have their answer. It must be
/// quick, because it blocks everything else.
pub trait Tap: Send + Sync {
    /// A heartbeat was taken.
    fn beat(&self, consumer: &str);

    /// A save was accepted.
    fn saved(&self, save: &Save);
}

impl fmt::Debug for dyn Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap")
    }
}
