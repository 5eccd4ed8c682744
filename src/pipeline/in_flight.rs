//! What the reader of a shard passes to its deliverer.

use std::sync::Arc;

use super::room::Room;
use crate::core::batch::Batch;
use crate::script::Failed;

/// A message from the reader.
pub(super) enum FromReader {
    /// The next batch of the shard.
    Batch(InFlight),
    /// The shard has no new logs.
    Idle,
}

/// A batch, from the hook until all its logs are completed.
pub(super) struct InFlight {
    /// What to deliver, and the interval that it covers.
    pub(super) batch: Arc<Batch>,
    /// Version of the script that made it; a newer one may run by now.
    pub(super) script: String,
    /// Logs that the script failed on, which become dead letters.
    pub(super) dead_letters: Vec<Failed>,
    /// Its share of the budget, without the outputs that hold their own.
    pub(super) room: Room,
}
