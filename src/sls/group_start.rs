//! Where a shard without a checkpoint starts with `start = "end"`, whichever process acquires it and when. Pure.
//!
//! `end` is the time at which the consumer group was created. A shard of a later split or merge has only logs written
//! since, so it starts with its oldest log. A checkpoint that was seen and no longer exists was deleted with the
//! group, which was created again: the shard continues from there, because everything before it had been delivered. A
//! shard of such a group whose checkpoint was not seen starts with its oldest log: another process may have held it
//! before this look. In case of doubt, no log is lost. [`GroupSigns`](super::group_signs::GroupSigns) recognizes a
//! group that was created again.

use std::collections::{BTreeMap, BTreeSet};

use super::api::{SavedAt, Shard};
use crate::core::cursor::{Cursor, ShardId, Start};

/// The state of a group after one look at its shards and checkpoints.
#[derive(Debug)]
pub struct GroupStart {
    /// When the shards were created, unix seconds; 0 if the server does not say.
    created: BTreeMap<ShardId, i64>,
    /// The shards that existed when the group was created.
    old: BTreeSet<ShardId>,
    /// The checkpoints that were saved by the look.
    saved: BTreeMap<ShardId, Cursor>,
    /// The group was created at this time or before, unix seconds by the server's clock, if known.
    began_by: Option<i64>,
}

/// Where a shard starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShardStart {
    /// At this cursor.
    At(Cursor),
    /// At this position, for which the server knows the cursor.
    Position(Start),
}

impl GroupStart {
    /// The state after a look at `looked_at`, unix seconds by the server's clock if known.
    ///
    /// A shard without a checkpoint was created later if it is younger than the group's first checkpoint, or if a
    /// read-only shard with overlapping keys (an ancestor) has one.
    #[must_use]
    pub fn new(shards: &[Shard], checkpoints: &[SavedAt], looked_at: Option<i64>) -> Self {
        let saved: BTreeMap<ShardId, Cursor> =
            checkpoints.iter().map(|saved| (ShardId(saved.shard), saved.cursor.clone())).collect();
        let first = checkpoints.iter().map(|saved| saved.micros).filter(|micros| *micros > 0).min();
        let first = first.map(|micros| micros / 1_000_000);
        let came_later = |shard: &Shard| {
            let is_younger = first.is_some_and(|first| shard.created > first);
            let has_forebear = shards.iter().any(|other| {
                other.id != shard.id
                    && other.is_read_only()
                    && saved.contains_key(&ShardId(other.id))
                    && other.overlaps(shard)
            });
            is_younger || has_forebear
        };
        let old = shards.iter().filter(|shard| saved.contains_key(&ShardId(shard.id)) || !came_later(shard));
        Self {
            created: shards.iter().map(|shard| (ShardId(shard.id), shard.created)).collect(),
            old: old.map(|shard| ShardId(shard.id)).collect(),
            saved,
            began_by: first.into_iter().chain(looked_at).min(),
        }
    }

    /// Whether a later look saw these shards of another logstore of the same name: a shard never changes its creation
    /// time.
    #[must_use]
    pub fn is_of_another_logstore(&self, later: &[Shard]) -> bool {
        // 0 is unknown.
        let before = |shard: &Shard| self.created.get(&ShardId(shard.id)).copied().filter(|created| *created != 0);
        later.iter().any(|shard| shard.created != 0 && before(shard).is_some_and(|before| before != shard.created))
    }

    /// Where a shard without a checkpoint starts; `is_remade` if the group may have been deleted and created again
    /// since the look.
    #[must_use]
    pub fn of(&self, shard: ShardId, is_remade: bool) -> ShardStart {
        if let Some(cursor) = self.saved.get(&shard) {
            return ShardStart::At(cursor.clone());
        }
        ShardStart::Position(match self.began_by {
            _ if is_remade || !self.old.contains(&shard) => Start::Begin,
            Some(second) => Start::Time(second),
            None => Start::End,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGAN: i64 = 1_700_000_000;

    const OLD: ShardStart = ShardStart::Position(Start::Time(BEGAN));
    const LATER: ShardStart = ShardStart::Position(Start::Begin);

    fn shard(id: u32, keys: (&str, &str), read_only: bool, created: i64) -> Shard {
        let status = if read_only { "readonly" } else { "readwrite" };
        Shard { id, status: status.to_owned(), begin_key: keys.0.to_owned(), end_key: keys.1.to_owned(), created }
    }

    fn cursor(shard: u32) -> Cursor {
        Cursor::from_number(shard.into())
    }

    fn saved(shard: u32, second: i64) -> SavedAt {
        SavedAt { shard, cursor: cursor(shard), consumer: String::new(), micros: second * 1_000_000 }
    }

    fn seen(shard: u32) -> ShardStart {
        ShardStart::At(cursor(shard))
    }

    #[track_caller]
    fn check(shards: &[Shard], checkpoints: &[SavedAt], looked_at: i64, expected: &[ShardStart]) {
        let group = GroupStart::new(shards, checkpoints, Some(looked_at));
        let starts: Vec<ShardStart> = shards.iter().map(|shard| group.of(ShardId(shard.id), false)).collect();
        assert_eq!(starts, expected);
    }

    #[test]
    fn a_new_group_starts_every_existing_shard_at_its_creation_however_late_it_is_acquired() {
        let shards = [shard(0, ("00", "80"), false, BEGAN - 100), shard(1, ("80", "ff"), false, BEGAN - 100)];
        check(&shards, &[], BEGAN, &[OLD, OLD]);
        let group = GroupStart::new(&shards, &[], None);
        assert_eq!(group.of(ShardId(0), false), ShardStart::Position(Start::End), "the server said no time");
        assert_eq!(group.of(ShardId(2), false), LATER, "it was not there");
    }

    #[test]
    fn checkpoints_of_another_member_do_not_affect_other_shards() {
        let shards = [shard(0, ("00", "80"), false, BEGAN - 100), shard(1, ("80", "ff"), false, BEGAN - 100)];
        check(&shards, &[saved(0, BEGAN)], BEGAN + 30, &[seen(0), OLD]);
    }

    #[test]
    fn a_shard_whose_checkpoint_disappeared_continues_from_it() {
        let shards = [shard(0, ("00", "80"), false, BEGAN - 100), shard(1, ("80", "ff"), false, BEGAN - 100)];
        check(&shards, &[saved(0, BEGAN + 50), saved(1, BEGAN + 60)], BEGAN + 70, &[seen(0), seen(1)]);
    }

    #[test]
    fn a_shard_with_another_creation_time_is_of_another_logstore() {
        let first = GroupStart::new(&[shard(0, ("00", "80"), false, BEGAN)], &[], Some(BEGAN));
        let split = [shard(0, ("00", "80"), true, BEGAN), shard(1, ("00", "40"), false, BEGAN + 9)];
        assert!(!first.is_of_another_logstore(&split));
        assert!(!first.is_of_another_logstore(&split[1..]), "shards of which all logs expired are gone");
        assert!(!first.is_of_another_logstore(&[shard(0, ("00", "80"), false, 0)]), "the server does not say");
        assert!(first.is_of_another_logstore(&[shard(0, ("00", "80"), false, BEGAN + 9)]));
    }

    #[test]
    fn in_a_recreated_group_a_shard_without_a_known_checkpoint_starts_with_its_oldest_log() {
        let shards = [shard(0, ("00", "80"), false, BEGAN - 100), shard(1, ("80", "ff"), false, BEGAN - 100)];
        let group = GroupStart::new(&shards, &[saved(0, BEGAN)], Some(BEGAN));
        assert_eq!([0, 1].map(|id| group.of(ShardId(id), true)), [seen(0), LATER]);
    }

    #[test]
    fn a_child_of_a_shard_with_a_checkpoint_is_newer_than_the_group_as_are_its_children() {
        let shards = [
            shard(0, ("00", "80"), true, BEGAN - 100),
            shard(1, ("80", "ff"), false, BEGAN - 100),
            shard(2, ("00", "40"), true, BEGAN + 50),
            shard(3, ("40", "80"), false, BEGAN + 50),
            shard(4, ("00", "20"), false, BEGAN + 60),
        ];
        // The members save continuously, so that no shard is younger than the first remaining checkpoint.
        let checkpoints = [saved(0, BEGAN + 90), saved(1, BEGAN + 90)];
        check(&shards, &checkpoints, BEGAN + 95, &[seen(0), seen(1), LATER, LATER, LATER]);
    }

    #[test]
    fn a_shard_created_after_the_first_checkpoint_is_newer_even_if_its_parent_is_gone() {
        let shards = [shard(1, ("80", "ff"), false, BEGAN - 100), shard(2, ("00", "80"), false, BEGAN + 50)];
        check(&shards, &[saved(1, BEGAN)], BEGAN + 60, &[seen(1), LATER]);
    }

    #[test]
    fn a_shard_with_another_key_range_is_not_a_parent() {
        let shards = [shard(0, ("00", "80"), true, BEGAN - 900), shard(1, ("80", "ff"), false, BEGAN - 100)];
        check(&shards, &[saved(0, BEGAN)], BEGAN, &[seen(0), OLD]);
    }
}
