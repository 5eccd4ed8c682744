//! The calls that read and save the checkpoints of a consumer group.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::paths::group_path;
use super::reading::{ReadError, read_json, read_list};
use crate::core::cursor::{Cursor, ShardId};
use crate::core::source::Checkpoint;
use crate::sls::Config;
use crate::sls::message::{Call, Method, Reply, Request};

/// "GetCheckPoint" of one shard.
#[must_use]
pub fn build_checkpoint(config: &Config, shard: ShardId) -> Request {
    let query = vec![("shard", shard.to_string())];
    Request::new(Call::Checkpoint, Method::Get, group_path(config), query)
}

/// A shard's checkpoint, and when it was last saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedAt {
    /// Number of the shard.
    pub shard: u32,
    /// The next cursor to read.
    pub cursor: Cursor,
    /// The consumer that saved it; empty if none was named.
    pub consumer: String,
    /// `updateTime`, unix microseconds; 0 when the server does not say.
    pub micros: i64,
}

impl SavedAt {
    /// Time since it was saved, if the server says when. `now` is in unix seconds by the server's clock.
    #[must_use]
    pub fn age(&self, now: i64) -> Option<Duration> {
        let saved_at = Some(self.micros).filter(|micros| *micros > 0)?.div_euclid(1_000_000);
        Some(Duration::from_secs(u64::try_from(now - saved_at).unwrap_or(0)))
    }
}

/// "GetCheckPoint" without a shard: for all shards.
#[must_use]
pub fn build_checkpoints(config: &Config) -> Request {
    Request::new(Call::Checkpoint, Method::Get, group_path(config), vec![])
}

/// "GetCheckPoint" without a shard: all checkpoints that were ever saved.
///
/// # Errors
/// The body is not the array that the reference shows.
pub fn read_checkpoints(reply: &Reply) -> Result<Vec<SavedAt>, ReadError> {
    #[derive(Deserialize)]
    struct Entry {
        shard: u32,
        checkpoint: String,
        #[serde(default)]
        consumer: String,
        #[serde(rename = "updateTime", default)]
        update_time: i64,
    }
    let entries: Vec<Entry> = read_list(&reply.body)?;
    let saved = entries.into_iter().filter(|entry| !entry.checkpoint.is_empty());
    let saved = saved.map(|entry| SavedAt {
        shard: entry.shard,
        cursor: Cursor::new(entry.checkpoint),
        consumer: entry.consumer,
        micros: entry.update_time,
    });
    Ok(saved.collect())
}

/// "GetCheckPoint": `None` when the shard was never saved, which is an empty text or no entry.
///
/// # Errors
/// The body is not the array that the reference shows.
pub fn read_checkpoint(reply: &Reply, shard: ShardId) -> Result<Option<Checkpoint>, ReadError> {
    #[derive(Deserialize)]
    struct Entry {
        shard: u32,
        checkpoint: String,
        #[serde(default)]
        consumer: String,
    }
    let entries: Vec<Entry> = read_json(&reply.body)?;
    Ok(entries
        .into_iter()
        .find(|entry| entry.shard == shard.0)
        .filter(|entry| !entry.checkpoint.is_empty())
        .map(|entry| Checkpoint { cursor: Cursor::new(entry.checkpoint), consumer: entry.consumer }))
}

/// "ConsumerGroupUpdateCheckPoint", with our name and not forced: the server accepts it only from the shard's owner.
/// The reply has no body.
#[must_use]
pub fn build_save(config: &Config, shard: ShardId, cursor: &Cursor) -> Request {
    save(config, shard, cursor, &config.consumer, false)
}

/// The same in the name of another consumer: accepted only while that consumer holds the shard.
#[must_use]
pub fn build_save_of(config: &Config, saved: &SavedAt) -> Request {
    save(config, ShardId(saved.shard), &saved.cursor, &saved.consumer, false)
}

/// The same without the check of ownership, for an operator.
#[must_use]
pub fn build_forced_save(config: &Config, shard: ShardId, cursor: &Cursor) -> Request {
    save(config, shard, cursor, OPERATOR, true)
}

/// Consumer name of a forced save.
const OPERATOR: &str = "forwarder-seek";

fn save(config: &Config, shard: ShardId, cursor: &Cursor, consumer: &str, is_forced: bool) -> Request {
    #[derive(Serialize)]
    struct Body<'a> {
        shard: u32,
        checkpoint: &'a str,
    }
    let query =
        vec![("type", "checkpoint".into()), ("consumer", consumer.into()), ("forceSuccess", is_forced.to_string())];
    Request::new(Call::Save, Method::Post, group_path(config), query)
        .json(&Body { shard: shard.0, checkpoint: cursor.as_str() })
}
