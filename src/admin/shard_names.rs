//! The names of shards in a sentence.

use crate::core::cursor::ShardName;

/// Maximum number of shards that are named.
const MAX_NAMED: usize = 5;

/// `shard a/1`, `shards a/1, a/2`, `shards a/1, a/2, a/3, a/4, a/5 and 3 more`.
pub(super) fn names<'a>(shards: impl ExactSizeIterator<Item = &'a ShardName>) -> String {
    let all = shards.len();
    let named: Vec<String> = shards.take(MAX_NAMED).map(ToString::to_string).collect();
    let more = if all > named.len() { format!(" and {} more", all - named.len()) } else { String::new() };
    format!("{} {}{more}", if all == 1 { "shard" } else { "shards" }, named.join(", "))
}
