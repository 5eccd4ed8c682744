//! Dead letters: what cannot be delivered is on disk before a checkpoint may pass it.
//!
//! A directory holds one append-only file of JSON lines, `dead-letters.jsonl`. Its format, version 1:
//!
//! * One record a line: a JSON object with the keys `v` (the version), `id`, `at` (RFC 3339, UTC), `reason`, `destination` (if
//!   one refused the event), `code`, `message`, `project`, `logstore`, `shard`, `cursor`, `log_index`, `event_index` (if there is an event), `script`,
//!   `log`, `log_base64`, `event` or `event_base64`, `crc`, in this order.
//! * `log` is the original log: an object of strings in the log's order, with the pairs that JSON can carry as they
//!   are. A pair whose key or value is not UTF-8, or whose key was there before, is in `log_base64` instead, an array of
//!   `[position, key, value]` with both texts in base64. `position` counts from 0 in the whole log, so that inserting
//!   the entries one after the other into the pairs of `log` gives the log back byte for byte.
//! * `event` is what would have been sent, as text; `event_base64` when it is not UTF-8. Neither when there is none.
//! * `crc` is the CRC-32 (the one of gzip) of all bytes of the line before `,"crc"`, as 8 hexadecimal digits.
//! * No line holds a control character, nor one that reorders text or breaks lines: the file is safe to `cat`.
//!
//! Version 2 is the same with one more reason, `destination_down`; only lines with it have that version.
//!
//! Every later version keeps `v` first and `crc` last and computed like this, so that a program can tell a newer record
//! from a damaged one. A new [`Reason`] is a new version. Lines of several versions may stand in one file.
//!
//! Letters leave only once a replay has delivered them: see `aside`.

mod codec;
mod delivered;
mod journal;
mod missed;
mod open_letters;
mod reader;
mod record;
mod replay_claim;
mod store;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::core::destination_name::DestinationName;

pub use codec::{Defect, encode};
pub use journal::{Limit, StoreError};
pub use missed::MissedLetters;
pub use open_letters::{LettersOnDisk, OpenLetters};
pub use reader::{Letter, ReadError, Reader, Unreadable};
pub use record::{LogOrigin, Reason, Record, UnknownReason};
pub use replay_claim::{ClaimError, ReplayClaim};
pub use store::{Config, DirectoryStore, OpenError, directories, is_in_use, was_used};

/// The letters' file in their directory.
const FILE: &str = "dead-letters.jsonl";

/// Where dead letters are kept. What is behind it may be a disk, or a model of one.
pub trait DeadLetterStore: fmt::Debug + Send + Sync {
    /// Keeps all of the letters, or none. When it resolves to `Ok` a checkpoint may pass them.
    ///
    /// # Errors
    /// [`StoreError`]: nothing may pass them. Bring the same letters again later.
    fn keep(&self, letters: Arc<[Record]>) -> BoxFuture<'static, Result<(), StoreError>>;

    /// Takes what this destination missed while down.
    ///
    /// # Errors
    /// [`ClaimError`]: somebody else replays letters of this store, or they cannot be read.
    fn missed(&self, destination: &DestinationName) -> BoxFuture<'static, Result<Box<dyn MissedLetters>, ClaimError>>;
}
