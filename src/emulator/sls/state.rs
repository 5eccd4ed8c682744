//! The state of the emulated service. `now` is the time since the Unix epoch and always comes in as an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::group::{ConsumerGroup, Fence, Save, Shards};
use super::refusal::Refusal;
use super::shard::Shard;

/// Consumer groups that a logstore may have.
const GROUPS: usize = 30;

/// The configuration of the logstores.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Shards of a new logstore.
    pub shards: u32,
    /// How long a log is kept, by its receive time.
    pub retention: Duration,
    /// Maximum bytes of a shard written by `PutLogs`.
    pub shard_bytes: usize,
    /// Project and name of the existing logstores; if empty, every logstore exists.
    pub logstores: Vec<(String, String)>,
    /// Projects that are in another region, and that region: only `GetProject` knows them here.
    pub elsewhere: Vec<(String, String)>,
}

/// The region of the emulator.
const REGION: &str = "emulated";

/// The service.
#[derive(Debug)]
pub struct SlsState {
    shape: Shape,
    logstores: BTreeMap<(String, String), Logstore>,
}

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

impl SlsState {
    /// A service without any logs.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self { shape, logstores: BTreeMap::new() }
    }

    /// The region that a project is in.
    ///
    /// # Errors
    /// `ProjectNotExist`.
    pub fn region(&self, project: &str) -> Result<&str, Refusal> {
        let elsewhere = self.shape.elsewhere.iter().find(|(known, _)| known == project);
        match elsewhere {
            Some((_, region)) => Ok(region),
            None if self.shape.logstores.is_empty() => Ok(REGION),
            None if self.shape.logstores.iter().any(|(known, _)| known == project) => Ok(REGION),
            None => Err(no_project(project)),
        }
    }

    /// Finds a logstore; creates it unless the existing logstores were named.
    ///
    /// # Errors
    /// `ProjectNotExist`, `LogStoreNotExist`.
    pub fn logstore(&mut self, project: &str, name: &str, now: Duration) -> Result<&mut Logstore, Refusal> {
        if self.shape.elsewhere.iter().any(|(known, _)| known == project) {
            return Err(no_project(project));
        }
        let named = &self.shape.logstores;
        if !named.is_empty() {
            if !named.iter().any(|(known, _)| known == project) {
                return Err(no_project(project));
            }
            if !named.iter().any(|known| (&*known.0, &*known.1) == (project, name)) {
                let message = format!("logstore {name} does not exist");
                return Err(Refusal::new(404, "LogStoreNotExist", message));
            }
        }
        let logstore = self
            .logstores
            .entry((project.to_owned(), name.to_owned()))
            .or_insert_with(|| Logstore::new(&self.shape, now));
        logstore.forget(now);
        Ok(logstore)
    }

    /// The names of a project's logstores.
    ///
    /// # Errors
    /// `ProjectNotExist`.
    pub fn names(&self, project: &str) -> Result<BTreeSet<&str>, Refusal> {
        if self.shape.elsewhere.iter().any(|(known, _)| known == project) {
            return Err(no_project(project));
        }
        self.region(project)?;
        let named = self.shape.logstores.iter().filter(|(known, _)| known == project).map(|(_, name)| name.as_str());
        let used = self.logstores.keys().filter(|(known, _)| known == project).map(|(_, name)| name.as_str());
        Ok(named.chain(used).collect())
    }

    /// Creates a logstore, if the existing ones are named.
    pub fn create(&mut self, project: &str, name: &str) {
        self.shape.logstores.push((project.to_owned(), name.to_owned()));
    }

    /// Deletes a logstore with all that is in it.
    pub fn delete(&mut self, project: &str, name: &str) {
        self.shape.logstores.retain(|known| (&*known.0, &*known.1) != (project, name));
        self.logstores.remove(&(project.to_owned(), name.to_owned()));
    }

    /// A logstore that was already used. `None` otherwise.
    #[must_use]
    pub fn known(&self, project: &str, name: &str) -> Option<&Logstore> {
        self.logstores.get(&(project.to_owned(), name.to_owned()))
    }

    /// The logstores that were used: project, name, content.
    pub fn logstores(&mut self) -> impl Iterator<Item = (&str, &str, &mut Logstore)> {
        self.logstores.iter_mut().map(|((project, name), logstore)| (project.as_str(), name.as_str(), logstore))
    }
}

fn no_project(project: &str) -> Refusal {
    Refusal::new(404, "ProjectNotExist", format!("The Project does not exist : {project}"))
}

impl Logstore {
    fn new(shape: &Shape, now: Duration) -> Self {
        let count = shape.shards.max(1);
        let shards = cut(0, u128::MAX, count)
            .zip(0..)
            .map(|((begin, end), id)| (id, Shard::new(id, begin, end, Vec::new(), now)))
            .collect();
        Self { shards, groups: BTreeMap::new(), retention: shape.retention, shard_bytes: shape.shard_bytes, spread: 0 }
    }

    /// How long a log is kept.
    #[must_use]
    pub fn retention(&self) -> Duration {
        self.retention
    }

    /// Removes logs that are older than the retention.
    fn forget(&mut self, now: Duration) {
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

/// Locks the shared state.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no code panics while it holds the lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn state(logstores: &[(&str, &str)]) -> SlsState {
        SlsState::new(Shape {
            shards: 2,
            retention: at(100),
            shard_bytes: 10,
            logstores: logstores.iter().map(|(project, name)| ((*project).to_owned(), (*name).to_owned())).collect(),
            elsewhere: vec![("away".to_owned(), "cn-shanghai".to_owned())],
        })
    }

    fn written(logstore: &Logstore) -> Vec<i64> {
        logstore.shards().values().map(|shard| shard.end() - shard.begin()).collect()
    }

    fn code<T>(result: Result<T, Refusal>) -> String {
        result.map_or_else(|refusal| refusal.code.into_owned(), |_| "ok".to_owned())
    }

    #[test]
    fn logstores_are_created_on_demand_unless_they_were_named() {
        let mut any = state(&[]);
        assert_eq!(any.logstore("p", "l", at(0)).unwrap().shards().len(), 2);
        assert_eq!(code(any.logstore("away", "l", at(0))), "ProjectNotExist");
        assert_eq!((any.region("away"), any.region("p")), (Ok("cn-shanghai"), Ok("emulated")));
        let mut named = state(&[("p", "l")]);
        assert_eq!(code(named.region("x")), "ProjectNotExist");
        assert_eq!(code(named.logstore("p", "l", at(0))), "ok");
        assert_eq!(code(named.logstore("p", "x", at(0))), "LogStoreNotExist");
        assert_eq!(code(named.logstore("x", "l", at(0))), "ProjectNotExist");
    }

    #[test]
    fn writes_take_turns_or_follow_their_key_and_skip_read_only_shards() {
        let mut state = state(&[]);
        let logstore = state.logstore("p", "l", at(0)).unwrap();
        for _ in 0..4 {
            logstore.put(Route::Any, b"x", at(1)).unwrap();
        }
        logstore.put(Route::Key(u128::MAX), b"x", at(1)).unwrap();
        assert_eq!(written(logstore), [2, 3]);
        assert_eq!(logstore.split(1, None, 2, at(2)), Ok(vec![2, 3]));
        logstore.put(Route::Key(u128::MAX), b"x", at(2)).unwrap();
        assert_eq!(written(logstore), [2, 3, 0, 1]);
        assert_eq!(code(logstore.append(1, b"x", at(2))), "ParameterInvalid");
        assert_eq!(code(logstore.append(9, b"x", at(2))), "ShardNotExist");
    }

    #[test]
    fn a_full_shard_refuses_only_writes_over_http() {
        let mut state = state(&[]);
        let logstore = state.logstore("p", "l", at(0)).unwrap();
        assert_eq!(code(logstore.put(Route::Key(0), &[0; 11], at(0))), "ShardWriteQuotaExceed");
        assert_eq!(code(logstore.append(0, &[0; 11], at(0))), "ok");
    }

    #[test]
    fn logs_older_than_the_retention_are_removed() {
        let mut state = state(&[]);
        state.logstore("p", "l", at(0)).unwrap().append(0, b"x", at(10)).unwrap();
        assert_eq!(written(state.logstore("p", "l", at(110)).unwrap()), [1, 0]);
        assert_eq!(written(state.logstore("p", "l", at(111)).unwrap()), [0, 0]);
    }

    #[test]
    fn a_split_divides_the_whole_range_and_a_merge_restores_it() {
        let mut state = state(&[]);
        let logstore = state.logstore("p", "l", at(0)).unwrap();
        let (begin, end) = (logstore.shards()[&0].begin_key, logstore.shards()[&0].end_key);
        let children = logstore.split(0, None, 3, at(1)).unwrap();
        let ranges: Vec<_> =
            children.iter().map(|id| (logstore.shards()[id].begin_key, logstore.shards()[id].end_key)).collect();
        assert_eq!((ranges[0].0, ranges[2].1), (begin, end));
        assert_eq!((ranges[0].1, ranges[1].1), (ranges[1].0, ranges[2].0));
        let [merged, ..] = logstore.merge(children[0], at(2)).unwrap();
        let merged = &logstore.shards()[&merged];
        assert_eq!((merged.begin_key, merged.end_key), (begin, ranges[1].1));
        assert_eq!(merged.parents, children[..2]);
    }

    #[test]
    fn an_invalid_split_or_merge_is_refused() {
        let mut state = state(&[]);
        let logstore = state.logstore("p", "l", at(0)).unwrap();
        assert_eq!(code(logstore.split(7, None, 2, at(0))), "ShardNotExist");
        assert_eq!(code(logstore.split(0, None, 1, at(0))), "ParameterInvalid");
        assert_eq!(code(logstore.split(0, Some(u128::MAX), 2, at(0))), "ParameterInvalid");
        assert_eq!(code(logstore.merge(1, at(0))), "ParameterInvalid");
        assert_eq!(code(logstore.split(0, Some(5), 2, at(0))), "ok");
        assert_eq!(code(logstore.split(0, None, 2, at(0))), "ParameterInvalid");
    }

    #[test]
    fn a_logstore_has_at_most_thirty_groups_with_different_names() {
        let mut state = state(&[]);
        let logstore = state.logstore("p", "l", at(0)).unwrap();
        let mut create = |name: &str| code(logstore.create_group(name, at(10), false));
        assert_eq!([create("g0"), create("g0")], ["ok", "ConsumerGroupAlreadyExist"]);
        for index in 1..30 {
            assert_eq!(create(&format!("g{index}")), "ok");
        }
        assert_eq!(create("one-more"), "ConsumerGroupQuotaExceed");
        assert_eq!(code(logstore.delete_group("g0")), "ok");
        assert_eq!(code(logstore.delete_group("g0")), "ConsumerGroupNotExist");
        assert_eq!(code(logstore.heartbeat("g0", "c", &BTreeSet::new(), at(0))), "ConsumerGroupNotExist");
    }
}
