//! The call that lists the shards of a logstore.

use serde::Deserialize;

use super::paths::shards_path;
use super::reading::{ReadError, read_list};
use crate::sls::Config;
use crate::sls::message::{Call, Method, Reply, Request};

/// A shard as described by the server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Shard {
    /// Number.
    #[serde(rename = "shardID")]
    pub id: u32,
    /// `readwrite`, or `readonly` for one that was split or merged and is kept until its logs expire.
    pub status: String,
    /// Its first hash key, 32 hexadecimal digits.
    #[serde(rename = "inclusiveBeginKey", default)]
    pub begin_key: String,
    /// The first hash key after its range.
    #[serde(rename = "exclusiveEndKey", default)]
    pub end_key: String,
    /// When it was created, unix seconds.
    #[serde(rename = "createTime", default)]
    pub created: i64,
}

impl Shard {
    /// Whether it was split or merged.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.status == "readonly"
    }

    /// Whether the ranges of hash keys overlap. Keys of equal length compare as text.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.begin_key < other.end_key && other.begin_key < self.end_key
    }
}

/// "ListShards".
#[must_use]
pub fn build_list_shards(config: &Config) -> Request {
    Request::new(Call::ListShards, Method::Get, shards_path(config), vec![])
}

/// "ListShards".
///
/// # Errors
/// The body is not the array that the reference shows.
pub fn read_shards(reply: &Reply) -> Result<Vec<Shard>, ReadError> {
    read_list(&reply.body)
}
