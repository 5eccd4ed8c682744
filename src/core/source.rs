//! The port to a source of logs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::budget::Credit;
use super::cause::{Cause, Retry};
use super::cursor::{Bound, Cursor, ShardId, Start};
use super::page::Page;

/// A consumer group of a logstore, seen by one of its consumers.
pub trait Source: Send + Sync + 'static {
    /// Makes sure that the group exists, and creates it if it does not. Returns the group's timeout, after which the server
    /// reassigns the shards of a silent consumer. An existing group may have another timeout than we asked for.
    fn ensure_group(&self) -> impl Future<Output = Result<Duration, SourceError>> + Send;

    /// Reports the shards that we hold; returns those that we should hold.
    ///
    /// # Errors
    /// [`SourceError::Lost`]: the server no longer knows us, or the group; drop everything and join again with nothing.
    fn heartbeat(
        &self,
        held: &BTreeSet<ShardId>,
    ) -> impl Future<Output = Result<BTreeSet<ShardId>, SourceError>> + Send;

    /// The saved checkpoint of a shard, if it has one.
    fn checkpoint(&self, shard: ShardId) -> impl Future<Output = Result<Option<Checkpoint>, SourceError>> + Send;

    /// When the log group at `cursor` was received, unix seconds.
    ///
    /// # Errors
    /// [`SourceError::Stale`]: there is none (any more).
    fn received_at(&self, shard: ShardId, cursor: &Cursor) -> impl Future<Output = Result<i64, SourceError>> + Send;

    /// Our name in the group.
    fn consumer(&self) -> &str;

    /// Saves `cursor` as the checkpoint, only if we still hold the shard.
    ///
    /// # Errors
    /// [`SourceError::Lost`]: the shard is somebody else's. [`SourceError::Busy`]: it may or may not have been saved.
    fn save(&self, shard: ShardId, cursor: &Cursor) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// The cursor at a start position.
    fn cursor(&self, shard: ShardId, start: Start) -> impl Future<Output = Result<Cursor, SourceError>> + Send;

    /// The cursor at which a shard ends that is read until a position, by the time at which logs are received.
    fn bound(&self, shard: ShardId, until: Start) -> impl Future<Output = Result<Bound, SourceError>> + Send;

    /// Every shard that there is, and its checkpoint.
    fn progress(&self) -> impl Future<Output = Result<BTreeMap<ShardId, Option<Cursor>>, SourceError>> + Send;

    /// Reads on from `cursor`, at most `groups` log groups (1..=1000), and none at or behind `until`. `room` grows to the size that the page announces
    /// before its bytes are taken in.
    ///
    /// # Errors
    /// [`SourceError::Stale`]: the cursor is no longer retained, or never was one. [`SourceError::NoRoom`]: `room` cannot
    /// grow to the page now.
    fn pull(
        &self,
        shard: ShardId,
        cursor: &Cursor,
        groups: u32,
        until: Option<&Cursor>,
        room: &mut Credit,
    ) -> impl Future<Output = Result<Page, SourceError>> + Send;
}

/// A checkpoint as it is saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Where to read on.
    pub cursor: Cursor,
    /// Which consumer saved it; empty when nobody was named.
    pub consumer: String,
}

/// Why a call failed, by what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Transient: throttled, unreachable, overloaded, garbled. Wait and retry. The outcome of a write is unknown.
    #[error("{cause}")]
    Busy {
        /// How long the server asked us to wait.
        retry_after: Option<Duration>,
        /// What happened.
        cause: Cause,
    },
    /// What we worked on is no longer ours: drop it.
    #[error("{0}")]
    Lost(Cause),
    /// The cursor is not in the shard (any more): start at the oldest log, and say what was missed.
    #[error("{0}")]
    Stale(Cause),
    /// The page announces more bytes than there is room for at present: nothing of it was taken in. Ask for fewer log
    /// groups, or take room for it first.
    #[error("{cause}")]
    NoRoom {
        /// What the page takes while it is unpacked.
        bytes: usize,
        /// What happened.
        cause: Cause,
    },
    /// Somebody has to change a setting, a permission or a quota. Ask again slowly; say what to do.
    #[error("{0}")]
    Refused(Cause),
    /// What the settings name is not there: a slip in a name, or somebody has yet to make it. Ask again slowly.
    #[error("{0}")]
    Absent(Cause),
}

impl SourceError {
    /// How soon the call may work.
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
