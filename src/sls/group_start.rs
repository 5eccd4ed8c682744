//! Which shards `start = "end"` means the end of: those that were there when the consumer group began. Pure.
//!
//! A shard that a split or a merge made later holds only logs that were written since the group began, so it starts with
//! its oldest log, whoever acquires it and whenever. What cannot be told is decided for no loss.

use std::collections::{BTreeMap, BTreeSet};

use super::api::{SavedAt, Shard};
use crate::core::cursor::ShardId;

/// The shards that were there when the group began, going by the checkpoints that it has saved by now.
///
/// A shard without a checkpoint came later when it is younger than the group's first checkpoint, or when a read-only
/// shard whose keys overlap with its own, its parent or an older forebear, has one.
#[must_use]
pub fn shards_at_the_start(shards: &[Shard], checkpoints: &[SavedAt]) -> BTreeSet<ShardId> {
    let saved: BTreeMap<u32, i64> = checkpoints.iter().map(|saved| (saved.shard, saved.micros)).collect();
    let first = saved.values().copied().filter(|micros| *micros > 0).min();
    let came_later = |shard: &Shard| {
        let is_younger = first.is_some_and(|micros| shard.created > micros / 1_000_000);
        let has_forebear = shards.iter().any(|other| {
            other.id != shard.id && other.is_read_only() && saved.contains_key(&other.id) && other.overlaps(shard)
        });
        is_younger || has_forebear
    };
    let old = shards.iter().filter(|shard| saved.contains_key(&shard.id) || !came_later(shard));
    old.map(|shard| ShardId(shard.id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGAN: i64 = 1_700_000_000;

    fn shard(id: u32, keys: (&str, &str), read_only: bool, created: i64) -> Shard {
        let status = if read_only { "readonly" } else { "readwrite" };
        Shard { id, status: status.to_owned(), begin_key: keys.0.to_owned(), end_key: keys.1.to_owned(), created }
    }

    fn saved(shard: u32, second: i64) -> SavedAt {
        SavedAt { shard, micros: second * 1_000_000 }
    }

    #[track_caller]
    fn check(shards: &[Shard], checkpoints: &[SavedAt], expected: &[u32]) {
        let old = shards_at_the_start(shards, checkpoints);
        assert_eq!(old, expected.iter().map(|id| ShardId(*id)).collect());
    }

    #[test]
    fn a_group_that_begins_now_means_every_shard_there_is() {
        let shards = [shard(0, ("00", "80"), false, BEGAN - 100), shard(1, ("80", "ff"), false, BEGAN - 100)];
        check(&shards, &[], &[0, 1]);
    }

    #[test]
    fn another_member_that_was_quicker_changes_nothing_for_the_shards_that_it_has_not_got() {
        let shards = [shard(0, ("00", "80"), false, BEGAN - 100), shard(1, ("80", "ff"), false, BEGAN - 100)];
        check(&shards, &[saved(0, BEGAN)], &[0, 1]);
    }

    #[test]
    fn a_child_whose_parent_has_a_checkpoint_came_later_and_so_did_its_own_children() {
        let shards = [
            shard(0, ("00", "80"), true, BEGAN - 100),
            shard(1, ("80", "ff"), false, BEGAN - 100),
            shard(2, ("00", "40"), true, BEGAN + 50),
            shard(3, ("40", "80"), false, BEGAN + 50),
            shard(4, ("00", "20"), false, BEGAN + 60),
        ];
        // The members save all the time, so that no shard is younger than the first checkpoint that is left.
        check(&shards, &[saved(0, BEGAN + 90), saved(1, BEGAN + 90)], &[0, 1]);
    }

    #[test]
    fn a_shard_younger_than_the_first_checkpoint_came_later_even_if_its_parent_is_gone() {
        let shards = [shard(1, ("80", "ff"), false, BEGAN - 100), shard(2, ("00", "80"), false, BEGAN + 50)];
        check(&shards, &[saved(1, BEGAN)], &[1]);
    }

    #[test]
    fn keys_of_another_part_are_no_parent() {
        let shards = [shard(0, ("00", "80"), true, BEGAN - 900), shard(1, ("80", "ff"), false, BEGAN - 100)];
        check(&shards, &[saved(0, BEGAN)], &[0, 1]);
    }
}
