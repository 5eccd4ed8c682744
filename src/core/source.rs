//! The interface to a source of logs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::budget::Credit;
use super::cause::{Cause, Retry};
use super::cursor::{Bound, Cursor, ShardId, Start};
use super::page::Page;

/// A consumer group of a logstore, used as one of its consumers.
pub trait Source: Send + Sync + 'static {
    /// Creates the group if it does not exist. Returns the timeout of the group, after which the server reassigns the
    /// shards of a silent consumer. The timeout of an existing group may differ from the one we requested.
    fn ensure_group(&self) -> impl Future<Output = Result<Duration, SourceError>> + Send;

    /// Reports the shards that we hold; returns the shards that are assigned to us.
    ///
    /// # Errors
    /// [`SourceError::Lost`]: the server no longer knows us or the group. Drop all shards and join again without
    /// shards.
    fn heartbeat(
        &self,
        held: &BTreeSet<ShardId>,
    ) -> impl Future<Output = Result<BTreeSet<ShardId>, SourceError>> + Send;

    /// The saved checkpoint of a shard, if it has one.
    fn checkpoint(&self, shard: ShardId) -> impl Future<Output = Result<Option<Checkpoint>, SourceError>> + Send;

    /// When the log group at `cursor` was received, in unix seconds.
    ///
    /// # Errors
    /// [`SourceError::Stale`]: there is no such group, or no longer.
    fn received_at(&self, shard: ShardId, cursor: &Cursor) -> impl Future<Output = Result<i64, SourceError>> + Send;

    /// Our name in the group.
    fn consumer(&self) -> &str;

    /// How often the logstore was found to be deleted. If it is created again under its name, it has other logs: a
    /// position that was remembered before does not apply to them, even if its cursor is valid.
    fn deletions(&self) -> u64;

    /// Saves `cursor` as the checkpoint, if we still hold the shard.
    ///
    /// # Errors
    /// [`SourceError::Lost`]: the shard belongs to another consumer. [`SourceError::Busy`]: it may or may not have
    /// been saved.
    fn save(&self, shard: ShardId, cursor: &Cursor) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// The cursor at a start position.
    fn cursor(&self, shard: ShardId, start: Start) -> impl Future<Output = Result<Cursor, SourceError>> + Send;

    /// The cursor at which a shard ends if it is read up to `until`, by the time at which logs are received.
    fn bound(&self, shard: ShardId, until: Start) -> impl Future<Output = Result<Bound, SourceError>> + Send;

    /// All existing shards, with their checkpoints.
    fn progress(&self) -> impl Future<Output = Result<BTreeMap<ShardId, Option<Cursor>>, SourceError>> + Send;

    /// Pulls from `cursor` at most `groups` log groups (1..=1000), all of them before `until`. `room` grows to the
    /// announced size of the page before its bytes are received.
    ///
    /// # Errors
    /// [`SourceError::Stale`]: the cursor has expired or never existed. [`SourceError::NoRoom`]: `room` cannot grow
    /// to the size of the page now.
    fn pull(
        &self,
        shard: ShardId,
        cursor: &Cursor,
        groups: u32,
        until: Option<&Cursor>,
        room: &mut Credit,
    ) -> impl Future<Output = Result<Page, SourceError>> + Send;
}

/// A saved checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The position to continue from.
    pub cursor: Cursor,
    /// The consumer that saved it; empty if none was named.
    pub consumer: String,
}

/// Why a call failed, by what the caller must do.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Transient: throttled, unreachable, overloaded, or an invalid reply. Wait and retry. The outcome of a write is
    /// unknown.
    #[error("{cause}")]
    Busy {
        /// The wait that the server asked for.
        retry_after: Option<Duration>,
        /// What happened.
        cause: Cause,
    },
    /// The shard or the membership is no longer ours: drop it.
    #[error("{0}")]
    Lost(Cause),
    /// The cursor is not in the shard, or no longer: start at the oldest log, and report what was missed.
    #[error("{0}")]
    Stale(Cause),
    /// The page announces more bytes than can be reserved now; nothing of it was received. Ask for fewer log groups,
    /// or reserve memory for it first.
    #[error("{cause}")]
    NoRoom {
        /// Bytes that the page needs while it is unpacked.
        bytes: usize,
        /// What happened.
        cause: Cause,
    },
    /// A person must change a setting, a permission or a quota. Retry slowly, and say what to change.
    #[error("{0}")]
    Refused(Cause),
    /// Something that the settings name does not exist: the name is wrong, or it is not created yet. Retry slowly.
    #[error("{0}")]
    Absent(Cause),
}

impl SourceError {
    /// When the call may be retried.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Busy { retry_after, .. } => Retry::Soon { not_before: *retry_after },
            Self::Lost(_) | Self::Stale(_) | Self::NoRoom { .. } => Retry::SOON,
            Self::Refused(_) | Self::Absent(_) => Retry::AfterChange,
        }
    }

    /// What happened, for people.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        match self {
            Self::Busy { cause, .. } | Self::NoRoom { cause, .. } => cause,
            Self::Lost(cause) | Self::Stale(cause) | Self::Refused(cause) | Self::Absent(cause) => cause,
        }
    }
}
