//! Where a log is in its logstore.

use std::fmt;

use crate::core::cursor::ShardId;

/// A log's position in a logstore. Its text, `shard|cursor|index`, is the part of `meta.id` that identifies a log
/// within a logstore.
///
/// The cursor is the number of the log's own group, and the index is the index in the group: this does not depend on
/// where a pull started. If the page has no group numbers (under a query), they are the page's cursor and the index
/// in the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPosition {
    /// The shard.
    pub shard: ShardId,
    /// Number of the group, or the page's cursor as sent by SLS.
    pub cursor: String,
    /// Index from 0, in the group or after the page's cursor.
    pub index: u32,
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}|{}|{}", self.shard, self.cursor, self.index)
    }
}
