//! Dead letters: logs and events that cannot be delivered. They are on disk before a checkpoint moves past them.
//!
//! A directory holds one append-only file of JSON lines, `dead-letters.jsonl`. Version 1 of its format:
//!
//! * One record per line: a JSON object with the keys `v` (the version), `id`, `at` (RFC 3339, UTC), `reason`,
//!   `destination` (if one refused the event), `code`, `message`, `project`, `logstore`, `shard`, `cursor`,
//!   `log_index`, `event_index` (if there is an event), `script`, `log`, `log_base64`, `event` or `event_base64`,
//!   `crc`, in this order.
//! * `log` is the original log: an object of strings in the log's order, with all pairs that fit into JSON. A pair
//!   whose key or value is not UTF-8, or whose key is repeated, is in `log_base64` instead: an array of
//!   `[position, key, value]`, with key and value in base64. `position` counts from 0 in the whole log. Inserting the entries one
//!   after the other into the pairs of `log` restores the log byte for byte.
//! * `event` is the encoded event as text, or `event_base64` if it is not UTF-8. Both are absent if there is no
//!   event.
//! * `crc` is the CRC-32 (as in gzip) of all bytes of the line before `,"crc"`, as 8 hexadecimal digits.
//! * No line contains a control character, or a character that reorders text or breaks lines: the file is safe to
//!   `cat`.
//!
//! Version 2 adds one reason, `destination_down`. Only lines with this reason have version 2.
//!
//! Every later version keeps `v` first, and `crc` last and computed in the same way, so that a program can
//! distinguish a newer record from a damaged one. A new [`Reason`] is a new version. One file may contain lines of
//! several versions.
//!
//! Dead letters are removed only after a replay has delivered them: see `replay_claim`.

mod codec;
mod delivered;
mod journal;
mod missed;
mod open_dead_letters;
mod reader;
mod record;
mod replay_claim;
mod shared_claim;
mod store;
mod take_over;
#[cfg(test)]
mod tests;
mod write_queue;

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::core::destination_name::DestinationName;

pub use codec::{Defect, encode};
pub use journal::{Limit, StoreError};
pub use missed::MissedDeadLetters;
pub use open_dead_letters::{DeadLettersOnDisk, OpenDeadLetters};
pub use reader::{Letter, ReadError, Reader, Unreadable};
pub use record::{LogOrigin, Reason, Record, UnknownReason};
pub use replay_claim::{ClaimError, ReplayClaim};
pub use shared_claim::MissedInDirectory;
pub use store::{Config, DirectoryStore, OpenError, is_in_use, was_used};
pub use take_over::{Neighbours, directories};

/// The file of dead letters in its directory.
const FILE: &str = "dead-letters.jsonl";

/// Locked by the forwarder that writes to the directory. The file is not removed.
const LOCK_FILE: &str = "dead-letters.lock";

/// A store for dead letters: a disk, or a model of one in tests.
pub trait DeadLetterStore: fmt::Debug + Send + Sync {
    /// Stores all of the dead letters of one or several batches, in this order, or none. After `Ok`, a checkpoint may
    /// move past them.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was stored, so no checkpoint may move past them. Retry later with the same dead
    /// letters.
    fn keep(&self, letters: Vec<Arc<[Record]>>) -> BoxFuture<'static, Result<(), StoreError>>;

    /// Claims the events that this destination missed while it was down.
    ///
    /// # Errors
    /// [`ClaimError`]: a replay of another process uses this store, or the dead letters cannot be read.
    fn missed(
        &self,
        destination: &DestinationName,
    ) -> BoxFuture<'static, Result<Box<dyn MissedDeadLetters>, ClaimError>>;
}
