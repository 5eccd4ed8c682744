//! What the reader of a shard hands to its deliverer.

use std::sync::Arc;

use super::room::Room;
use crate::core::batch::Batch;
use crate::script::Failed;

/// What the reader sends.
pub(super) enum FromReader {
    /// The next batch of the shard.
    Batch(InFlight),
    /// There is nothing new in the shard.
    Idle,
}

/// A batch from the hook until every log of it has found its end.
pub(super) struct InFlight {
    /// What to deliver, and the interval that it covers.
    pub(super) batch: Arc<Batch>,
    /// Version of the script that made it; another may run by now.
    pub(super) script: String,
    /// Logs that the script failed on, which are to become dead letters.
    pub(super) dead_letters: Vec<Failed>,
    /// The bytes of the budget that it holds.
    pub(super) room: Room,
}
