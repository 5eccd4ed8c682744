//! One emulated logstore: its shards and its consumer groups. `now` is the time since the Unix epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::group::{ConsumerGroup, Fence, Save, Shards};
use super::refusal::Refusal;
use super::shard::Shard;

/// Consumer groups that a logstore may have.
const GROUPS: usize = 30;

/// One logstore.
#[derive(Debug)]
pub struct Logstore {
    shards: Shards,
    groups: BTreeMap<String, ConsumerGroup>,
    retention: Duration,
    shard_bytes: usize,
    /// The number of writes spread over the shards so far.
    spread: usize,
}

/// Which shard a write is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Any: the shards take turns.
    Any,
    /// The shard with this hash key.
    Key(u128),
}

impl Logstore {
    /// A logstore with this many shards and no logs.
    pub(super) fn new(shards: u32, retention: Duration, shard_bytes: usize, now: Duration) -> Self {
        let shards = cut(0, u128::MAX, shards.max(1))
            .zip(0..)
            .map(|((begin, end), id)| (id, Shard::new(id, begin, end, Vec::new(), now)))
            .collect();
        Self { shards, groups: BTreeMap::new(), retention, shard_bytes, spread: 0 }
    }

    /// How long a log is kept.
    #[must_use]
    pub fn retention(&self) -> Duration {
        self.retention
    }

    /// Removes logs that are older than the retention.
    pub(super) fn forget(&mut self, now: Duration) {
        for shard in self.shards.values_mut() {
            shard.expire_received_before(now.saturating_sub(self.retention));
        }
    }

    /// The shards by id.
    #[must_use]
    pub fn shards(&self) -> &Shards {
        &self.shards
    }

    /// One shard.
    ///
    /// # Errors
    /// `ShardNotExist`.
    pub fn shard(&self, id: u32) -> Result<&Shard, Refusal> {
        self.shards.get(&id).ok_or(Refusal::shard(id))
    }

    /// Removes every group of a shard before this cursor.
    ///
    /// # Errors
    /// `ShardNotExist`.
    pub fn expire(&mut self, id: u32, cursor: i64) -> Result<(), Refusal> {
        self.shards.get_mut(&id).ok_or(Refusal::shard(id))?.expire(cursor);
        Ok(())
    }

    /// Appends a serialised log group from the wire, if there is room.
    ///
    /// # Errors
    /// `ShardNotExist` when no shard takes the write, `ShardWriteQuotaExceed` when the shard is full.
    pub fn put(&mut self, route: Route, group: &[u8], now: Duration) -> Result<(), Refusal> {
        let turn = self.spread;
        self.spread = turn.wrapping_add(1);
        let limit = self.shard_bytes;
        let mut open: Vec<&mut Shard> = self.shards.values_mut().filter(|shard| !shard.readonly).collect();
        let index = match route {
            Route::Any => Some(turn % open.len().max(1)),
            Route::Key(key) => open.iter().position(|shard| shard.takes(key)),
        };
        let shard = index
            .and_then(|index| open.get_mut(index))
            .ok_or_else(|| Refusal::new(404, "ShardNotExist", "no shard takes this write"))?;
        if shard.bytes() + group.len() > limit {
            let message = format!("emulator: shard {} holds {} bytes, and takes {limit}", shard.id, shard.bytes());
            return Err(Refusal::new(403, "ShardWriteQuotaExceed", message));
        }
        shard.append(group, now);
        Ok(())
    }

    /// Appends a serialised log group to one shard, however full it is.
    ///
    /// # Errors
    /// `ShardNotExist`; `ParameterInvalid` for a read-only shard.
    pub fn append(&mut self, id: u32, group: &[u8], now: Duration) -> Result<(), Refusal> {
        self.writable(id)?.append(group, now);
        Ok(())
    }

    /// Splits a shard, at a hash key or evenly, into `count` children.
    ///
    /// # Errors
    /// `ShardNotExist`; `ParameterInvalid` for a read-only shard, a key outside of it, fewer than 2 children.
    pub fn split(&mut self, id: u32, key: Option<u128>, count: u32, now: Duration) -> Result<Vec<u32>, Refusal> {
        let parent = self.writable(id)?;
        let (begin, end) = (parent.begin_key, parent.end_key);
        let ranges: Vec<_> = match key {
            Some(key) if key <= begin || key >= end => {
                return Err(Refusal::parameter(format!("The key {key:032x} is outside of shard {id}")));
            }
            Some(key) => vec![(begin, key), (key, end)],
            None if !(2..=64).contains(&count) => {
                return Err(Refusal::parameter("shardCount has to be 2 to 64"));
            }
            None => cut(begin, end, count).collect(),
        };
        parent.readonly = true;
        let children = ranges.into_iter().map(|range| self.add(range, vec![id], now)).collect();
        self.refresh(now);
        Ok(children)
    }

    /// Merges a shard with the one that takes the keys after its own.
    ///
    /// # Errors
    /// `ShardNotExist`; `ParameterInvalid` when the shard is read-only or there is no writable shard after it.
    pub fn merge(&mut self, id: u32, now: Duration) -> Result<[u32; 3], Refusal> {
        let left = self.writable(id)?;
        let (begin, middle) = (left.begin_key, left.end_key);
        let right = self
            .shards
            .values()
            .find(|shard| !shard.readonly && shard.begin_key == middle)
            .map(|shard| (shard.id, shard.end_key));
        let (right, end) =
            right.ok_or_else(|| Refusal::parameter(format!("shard {id} has no writable shard after it")))?;
        for id in [id, right] {
            self.writable(id)?.readonly = true;
        }
        let merged = self.add((begin, end), vec![id, right], now);
        self.refresh(now);
        Ok([merged, id, right])
    }

    fn add(&mut self, (begin, end): (u128, u128), parents: Vec<u32>, now: Duration) -> u32 {
        let id = self.shards.keys().next_back().map_or(0, |last| last + 1);
        self.shards.insert(id, Shard::new(id, begin, end, parents, now));
        id
    }

    fn writable(&mut self, id: u32) -> Result<&mut Shard, Refusal> {
        let shard = self.shards.get_mut(&id).ok_or(Refusal::shard(id))?;
        if shard.readonly {
            return Err(Refusal::parameter(format!("shard {id} is readonly")));
        }
        Ok(shard)
    }

    /// The clock was set ahead by this many seconds.
    pub(super) fn clock_moves(&mut self, by: i64) {
        self.groups.values_mut().for_each(|group| group.clock_moves(by));
    }

    /// The consumer groups by name, up to date.
    pub fn groups(&mut self, now: Duration) -> &BTreeMap<String, ConsumerGroup> {
        self.refresh(now);
        &self.groups
    }

    fn refresh(&mut self, now: Duration) {
        for group in self.groups.values_mut() {
            group.refresh(&self.shards, now);
        }
    }

    /// A consumer group as it was left by the last call.
    ///
    /// # Errors
    /// `ConsumerGroupNotExist`.
    pub fn group(&self, name: &str) -> Result<&ConsumerGroup, Refusal> {
        self.groups.get(name).ok_or_else(|| Refusal::group(name))
    }

    /// A consumer group to change, with the shards of its logstore.
    ///
    /// # Errors
    /// `ConsumerGroupNotExist`.
    pub fn group_mut(&mut self, name: &str) -> Result<(&mut ConsumerGroup, &Shards), Refusal> {
        let group = self.groups.get_mut(name).ok_or_else(|| Refusal::group(name))?;
        Ok((group, &self.shards))
    }

    /// Creates a consumer group.
    ///
    /// # Errors
    /// `ConsumerGroupAlreadyExist`, `ConsumerGroupQuotaExceed`.
    pub fn create_group(&mut self, name: &str, timeout: Duration, order: bool) -> Result<(), Refusal> {
        if self.groups.contains_key(name) {
            let message = "consumer group already exist";
            return Err(Refusal::new(400, "ConsumerGroupAlreadyExist", message));
        }
        if self.groups.len() == GROUPS {
            let message = format!("a logstore has at most {GROUPS} consumer groups");
            return Err(Refusal::new(400, "ConsumerGroupQuotaExceed", message));
        }
        let group = ConsumerGroup::new(timeout, order, &self.shards);
        self.groups.insert(name.to_owned(), group);
        Ok(())
    }

    /// Removes a consumer group.
    ///
    /// # Errors
    /// `ConsumerGroupNotExist`.
    pub fn delete_group(&mut self, name: &str) -> Result<(), Refusal> {
        self.groups.remove(name).map(|_| ()).ok_or_else(|| Refusal::group(name))
    }

    /// Handles a heartbeat: see [`ConsumerGroup::heartbeat`].
    ///
    /// # Errors
    /// `ConsumerGroupNotExist`, and those of the group.
    pub fn heartbeat(
        &mut self,
        group: &str,
        consumer: &str,
        held: &BTreeSet<u32>,
        now: Duration,
    ) -> Result<Vec<u32>, Refusal> {
        let (group, shards) = self.group_mut(group)?;
        group.heartbeat(consumer, held, shards, now)
    }

    /// Saves a checkpoint: see [`ConsumerGroup::save`].
    ///
    /// # Errors
    /// `ConsumerGroupNotExist`, and those of the group.
    pub fn save(&mut self, group: &str, save: Save, fence: Fence, now: Duration) -> Result<(), Refusal> {
        let (group, shards) = self.group_mut(group)?;
        group.save(save, fence, shards, now)
    }
}

/// Splits a range of hash keys into `count` even ranges.
fn cut(begin: u128, end: u128, count: u32) -> impl Iterator<Item = (u128, u128)> {
    let width = (end - begin) / u128::from(count);
    (0..count).map(move |index| {
        let from = begin + width * u128::from(index);
        let to = if index + 1 == count { end } else { from + width };
        (from, to)
    })
}
