//! A consumer group: the owners of shards, and the checkpoints.
//!
//! The states and their changes are those of the server side as the README of the vendor's Java consumer library
//! (`aliyun-log-consumer-java`) describes them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::Serialize;

use super::refusal::Refusal;
use super::shard::Shard;
use crate::emulator::server_clock::server_time;

/// Saves that are remembered; older ones are forgotten, so that an emulator left running does not grow.
const SAVES_KEPT: usize = 100_000;

/// A consumer group. Durations that represent times count from the Unix epoch.
#[derive(Debug)]
pub struct ConsumerGroup {
    timeout: Duration,
    order: bool,
    /// The time of each consumer's last heartbeat.
    consumers: BTreeMap<String, Duration>,
    slots: BTreeMap<u32, Slot>,
    saves: VecDeque<Save>,
}

/// The state of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its owner.
    pub phase: Phase,
    /// Its checkpoint.
    pub checkpoint: Option<Checkpoint>,
}

/// The owner of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The group is ordered and an ancestor is not finished.
    Wait,
    /// No owner.
    NotAlloc,
    /// Owned by this consumer.
    AlreadyAlloc(String),
    /// Owned by `from` until it stops listing the shard, then by `to`.
    Transfer {
        /// The owner, which is asked to release the shard by no longer being assigned it.
        from: String,
        /// The next owner.
        to: String,
    },
    /// Read-only and read to its end, last by this consumer: never assigned again.
    Over(Option<String>),
}

/// A checkpoint as it was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Number of the next cursor to read.
    pub cursor: i64,
    /// When it was saved.
    pub updated: Duration,
    /// The consumer that saved it; empty for a forced save without a name.
    pub consumer: String,
}

/// A save that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Save {
    /// The shard.
    pub shard: u32,
    /// Cursor number that was saved.
    pub cursor: i64,
    /// The consumer that saved; empty for a forced save without a name.
    pub consumer: String,
    /// Whether it came with `forceSuccess`, past the check of ownership.
    pub forced: bool,
}

/// How a save is refused if another consumer owns the shard. The reference lists the codes, but not when each is
/// used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fence {
    /// 400 `ConsumerNotMatch`.
    #[default]
    NotMatch,
    /// 404 `ConsumerNotExist`.
    NotExist,
}

/// The shards of the logstore, which decide what is finished and what descends from what.
pub type Shards = BTreeMap<u32, Shard>;

impl ConsumerGroup {
    /// A group without consumers.
    #[must_use]
    pub fn new(timeout: Duration, order: bool, shards: &Shards) -> Self {
        let mut group =
            Self { timeout, order, consumers: BTreeMap::new(), slots: BTreeMap::new(), saves: VecDeque::new() };
        group.settle(shards);
        group
    }

    /// How long a consumer may be silent.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether children wait for their parents.
    #[must_use]
    pub fn order(&self) -> bool {
        self.order
    }

    /// The state of each shard.
    #[must_use]
    pub fn slots(&self) -> &BTreeMap<u32, Slot> {
        &self.slots
    }

    /// The consumers, and the last heartbeat of each.
    #[must_use]
    pub fn consumers(&self) -> &BTreeMap<String, Duration> {
        &self.consumers
    }

    /// The accepted saves, oldest first.
    pub fn saves(&self) -> impl Iterator<Item = &Save> {
        self.saves.iter()
    }

    /// Changes the settings. Turning order off frees waiting shards; turning it on affects only later shards.
    pub fn update(&mut self, timeout: Option<Duration>, order: Option<bool>, shards: &Shards) {
        self.settle(shards);
        self.timeout = timeout.unwrap_or(self.timeout);
        self.order = order.unwrap_or(self.order);
        self.settle(shards);
    }

    /// Handles a heartbeat of `consumer`, which lists its shards; returns the assigned shards.
    ///
    /// # Errors
    /// `NotExistConsumerWithBody`: the consumer is unknown (any more) and claims to hold something.
    pub fn heartbeat(
        &mut self,
        consumer: &str,
        held: &BTreeSet<u32>,
        shards: &Shards,
        now: Duration,
    ) -> Result<Vec<u32>, Refusal> {
        self.evict_silent(now);
        if !self.consumers.contains_key(consumer) && !held.is_empty() {
            self.settle(shards);
            return Err(Refusal::new(
                400,
                "NotExistConsumerWithBody",
                "non-exist consumer with non-empty body of heartbeat message",
            ));
        }
        self.consumers.insert(consumer.to_owned(), now);
        for (id, slot) in &mut self.slots {
            if let Phase::Transfer { from, to } = &slot.phase
                && from == consumer
                && !held.contains(id)
            {
                slot.phase = Phase::AlreadyAlloc(to.clone());
            }
        }
        self.settle(shards);
        Ok(self.owned_by(consumer))
    }

    /// Saves a checkpoint: without force only for the holder. A shard in transfer still belongs to the old holder.
    ///
    /// # Errors
    /// `ShardNotExist`; without force `ConsumerNotExist` for a consumer that is unknown (any more), and as `fence`
    /// says when the shard is not the consumer's.
    pub fn save(&mut self, save: Save, fence: Fence, shards: &Shards, now: Duration) -> Result<(), Refusal> {
        self.evict_silent(now);
        self.settle(shards);
        let known = self.consumers.contains_key(&save.consumer);
        let slot = self.slots.get_mut(&save.shard).ok_or(Refusal::shard(save.shard))?;
        if !save.forced {
            let unknown = || {
                let message = format!("consumer {} does not exist", save.consumer);
                Refusal::new(404, "ConsumerNotExist", message)
            };
            if !known {
                return Err(unknown());
            }
            if !slot.admits(&save) {
                return Err(match fence {
                    Fence::NotExist => unknown(),
                    Fence::NotMatch => Refusal::new(
                        400,
                        "ConsumerNotMatch",
                        format!("shard {} does not belong to consumer {}", save.shard, save.consumer),
                    ),
                });
            }
        }
        slot.checkpoint = Some(Checkpoint { cursor: save.cursor, updated: now, consumer: save.consumer.clone() });
        if self.saves.len() == SAVES_KEPT {
            self.saves.pop_front();
        }
        self.saves.push_back(save);
        self.settle(shards);
        Ok(())
    }

    /// Removes a consumer, as if it had been silent for too long.
    pub fn evict(&mut self, consumer: &str, shards: &Shards) {
        self.consumers.remove(consumer);
        self.release_the_gone();
        self.settle(shards);
    }

    /// Reassigns a shard at once, without waiting for its owner. The new owner counts as just heard.
    ///
    /// # Errors
    /// `ShardNotExist`.
    pub fn assign(&mut self, shard: u32, consumer: &str, shards: &Shards, now: Duration) -> Result<(), Refusal> {
        self.settle(shards);
        let slot = self.slots.get_mut(&shard).ok_or(Refusal::shard(shard))?;
        slot.phase = Phase::AlreadyAlloc(consumer.to_owned());
        self.consumers.entry(consumer.to_owned()).or_insert(now);
        Ok(())
    }

    /// Asks the owner of a shard to hand it over to another consumer, which counts as just heard.
    ///
    /// # Errors
    /// `ShardNotExist`, or `ParameterInvalid` when nobody holds it.
    pub fn hand_over(&mut self, shard: u32, to: &str, shards: &Shards, now: Duration) -> Result<(), Refusal> {
        self.settle(shards);
        let slot = self.slots.get_mut(&shard).ok_or(Refusal::shard(shard))?;
        let from =
            slot.holder().ok_or_else(|| Refusal::parameter(format!("emulator: no consumer holds shard {shard}")))?;
        slot.phase = Phase::Transfer { from: from.to_owned(), to: to.to_owned() };
        self.consumers.entry(to.to_owned()).or_insert(now);
        Ok(())
    }

    /// The clock was set ahead by this many seconds: the last heartbeats are as long ago as before.
    pub(super) fn clock_moves(&mut self, by: i64) {
        self.consumers.values_mut().for_each(|heard| *heard = server_time(*heard, by));
    }

    /// Brings the group up to date with the clock and the shards.
    pub fn refresh(&mut self, shards: &Shards, now: Duration) {
        self.evict_silent(now);
        self.settle(shards);
    }

    fn owned_by(&self, consumer: &str) -> Vec<u32> {
        let owned = |slot: &Slot| matches!(&slot.phase, Phase::AlreadyAlloc(owner) if owner == consumer);
        self.slots.iter().filter(|(_, slot)| owned(slot)).map(|(id, _)| *id).collect()
    }

    fn evict_silent(&mut self, now: Duration) {
        let timeout = self.timeout;
        self.consumers.retain(|_, heard| now.saturating_sub(*heard) <= timeout);
        self.release_the_gone();
    }

    /// Takes shards from removed consumers. An owner whose successor was removed keeps its shard.
    fn release_the_gone(&mut self) {
        let here = &self.consumers;
        for slot in self.slots.values_mut() {
            match &slot.phase {
                Phase::AlreadyAlloc(owner) if !here.contains_key(owner) => slot.phase = Phase::NotAlloc,
                Phase::Transfer { from, .. } if !here.contains_key(from) => slot.phase = Phase::NotAlloc,
                Phase::Transfer { from, to } if !here.contains_key(to) => {
                    slot.phase = Phase::AlreadyAlloc(from.clone());
                }
                _ => {}
            }
        }
    }

    /// Everything that follows from the shards and the checkpoints: new shards, finished ones, waiting ones; then the
    /// balance.
    fn settle(&mut self, shards: &Shards) {
        for (id, shard) in shards {
            let finished = |slot: &Slot| {
                let at_end = |saved: &Checkpoint| saved.cursor == shard.end();
                shard.readonly && slot.checkpoint.as_ref().is_some_and(at_end)
            };
            let waits = self.order && self.has_unfinished_ancestor(*id, shards);
            let slot = self
                .slots
                .entry(*id)
                .or_insert_with(|| Slot { phase: if waits { Phase::Wait } else { Phase::NotAlloc }, checkpoint: None });
            slot.phase = match std::mem::replace(&mut slot.phase, Phase::NotAlloc) {
                Phase::Over(last) if finished(slot) => Phase::Over(last),
                Phase::Over(_) => Phase::NotAlloc,
                _ if finished(slot) => {
                    let saved = slot.checkpoint.as_ref().map(|saved| saved.consumer.clone());
                    Phase::Over(saved.filter(|consumer| !consumer.is_empty()))
                }
                Phase::Wait if !waits => Phase::NotAlloc,
                phase => phase,
            };
        }
        self.balance();
    }

    fn has_unfinished_ancestor(&self, shard: u32, shards: &Shards) -> bool {
        let parents = shards.get(&shard).map_or(&[][..], |shard| &shard.parents);
        let is_over = |id: &u32| matches!(self.slots.get(id), Some(slot) if matches!(slot.phase, Phase::Over(_)));
        parents.iter().any(|parent| !is_over(parent) || self.has_unfinished_ancestor(*parent, shards))
    }

    /// Gives free shards to the consumer with the fewest, and moves shards until no two consumers differ by more than
    /// one. Shards in transfer are moved before held ones.
    fn balance(&mut self) {
        let mut counts: BTreeMap<String, usize> = self.consumers.keys().map(|name| (name.clone(), 0)).collect();
        for slot in self.slots.values() {
            if let Phase::AlreadyAlloc(next) | Phase::Transfer { to: next, .. } = &slot.phase
                && let Some(count) = counts.get_mut(next)
            {
                *count += 1;
            }
        }
        for slot in self.slots.values_mut() {
            if slot.phase == Phase::NotAlloc
                && let Some(taker) = least(&counts)
            {
                step(&mut counts, &taker, 1);
                slot.phase = Phase::AlreadyAlloc(taker);
            }
        }
        while let (Some(least), Some(most)) = (least(&counts), most(&counts))
            && counts[&most] - counts[&least] > 1
        {
            let promised = |slot: &Slot| matches!(&slot.phase, Phase::Transfer { to, .. } if *to == most);
            let held = |slot: &Slot| matches!(&slot.phase, Phase::AlreadyAlloc(owner) if *owner == most);
            let last = |of: &dyn Fn(&Slot) -> bool| self.slots.iter().rfind(|(_, slot)| of(slot)).map(|(id, _)| *id);
            let moved = last(&promised).or_else(|| last(&held));
            let slot = moved.and_then(|id| self.slots.get_mut(&id));
            let slot = slot.expect("a consumer with more than one shard can give one away");
            let from = slot.holder().expect("a counted shard is held").to_owned();
            slot.phase =
                if from == least { Phase::AlreadyAlloc(from) } else { Phase::Transfer { from, to: least.clone() } };
            step(&mut counts, &most, -1);
            step(&mut counts, &least, 1);
        }
    }
}

impl Slot {
    /// The consumer that may read the shard now.
    #[must_use]
    pub fn holder(&self) -> Option<&str> {
        match &self.phase {
            Phase::AlreadyAlloc(holder) | Phase::Transfer { from: holder, .. } => Some(holder),
            Phase::Wait | Phase::NotAlloc | Phase::Over(_) => None,
        }
    }

    /// Whether the consumer may make an unforced save. The last save may be repeated after the end of the shard, for
    /// example if its answer was lost.
    fn admits(&self, save: &Save) -> bool {
        match &self.phase {
            Phase::Over(last) => {
                last.as_ref() == Some(&save.consumer)
                    && self.checkpoint.as_ref().map(|saved| saved.cursor) == Some(save.cursor)
            }
            _ => self.holder() == Some(&save.consumer),
        }
    }
}

fn least(counts: &BTreeMap<String, usize>) -> Option<String> {
    counts.iter().min_by_key(|(_, count)| **count).map(|(name, _)| name.clone())
}

fn most(counts: &BTreeMap<String, usize>) -> Option<String> {
    counts.iter().max_by_key(|(_, count)| **count).map(|(name, _)| name.clone())
}

fn step(counts: &mut BTreeMap<String, usize>, name: &str, by: isize) {
    if let Some(count) = counts.get_mut(name) {
        *count = count.saturating_add_signed(by);
    }
}

#[cfg(test)]
mod tests;
