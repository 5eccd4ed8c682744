//! Signs that the consumer group was deleted and created again, although no call was told so: a consumer without shards
//! is silently taken into the new group. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::core::cursor::ShardId;

/// What one consumer has seen of its group.
#[derive(Debug, Default)]
pub struct GroupSigns {
    /// The shards with a checkpoint.
    saved: BTreeSet<ShardId>,
    /// When the last heartbeat was answered.
    heartbeat: Option<Instant>,
}

impl GroupSigns {
    /// The shards that are known to have a checkpoint. To be asked before a look at the checkpoints is requested: what
    /// is saved meanwhile may be missing in the reply.
    #[must_use]
    pub fn known(&self) -> BTreeSet<ShardId> {
        self.saved.clone()
    }

    /// Whether no checkpoint is known. A consumer without shards then looks for one beside its heartbeats: only a known
    /// checkpoint can be missing later.
    #[must_use]
    pub fn has_seen_none(&self) -> bool {
        self.saved.is_empty()
    }

    /// A look found these checkpoints. Returns whether there is a sign: one of the `known` ones is missing.
    #[must_use]
    pub fn look(&mut self, known: &BTreeSet<ShardId>, found: impl IntoIterator<Item = ShardId>) -> bool {
        let found: BTreeSet<_> = found.into_iter().collect();
        let is_one_missing = !known.is_subset(&found);
        self.saved.retain(|shard| found.contains(shard) || !known.contains(shard));
        self.saved.extend(found);
        is_one_missing
    }

    /// A checkpoint was saved.
    pub fn save(&mut self, shard: ShardId) {
        self.saved.insert(shard);
    }

    /// A heartbeat was answered. Returns whether there is a sign: for longer than the group's timeout, none was.
    #[must_use]
    pub fn heartbeat(&mut self, now: Instant, group_timeout: Duration) -> bool {
        self.heartbeat.replace(now).is_some_and(|last| now.saturating_duration_since(last) > group_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ShardId = ShardId(0);
    const B: ShardId = ShardId(1);

    #[test]
    fn a_known_checkpoint_that_is_no_longer_there_is_a_sign() {
        let mut signs = GroupSigns::default();
        let look = |signs: &mut GroupSigns, found: &[ShardId]| signs.look(&signs.known(), found.iter().copied());
        assert!(!look(&mut signs, &[]), "there was none");
        assert!(!look(&mut signs, &[B]));
        signs.save(A);
        assert!(!look(&mut signs, &[A, B]));
        assert!(look(&mut signs, &[B]));
        assert!(!look(&mut signs, &[B]), "that was noticed");
        assert!(look(&mut signs, &[]));
    }

    #[test]
    fn a_checkpoint_that_is_saved_during_a_look_is_not_missing() {
        let mut signs = GroupSigns::default();
        let known = signs.known();
        signs.save(A);
        assert!(!signs.look(&known, []));
        assert_eq!(signs.known(), [A].into());
    }

    #[test]
    fn a_time_without_heartbeats_that_is_longer_than_the_timeout_of_the_group_is_a_sign() {
        let began = Instant::now();
        let mut signs = GroupSigns::default();
        let timeout = Duration::from_secs(60);
        let beats = [0, 20, 80, 141, 150].map(|second| signs.heartbeat(began + Duration::from_secs(second), timeout));
        assert_eq!(beats, [false, false, false, true, false]);
    }
}
