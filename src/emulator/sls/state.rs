//! The state of the emulated service. `now` is the time since the Unix epoch and always comes in as an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::logstore::Logstore;
use super::refusal::Refusal;

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
    /// Seconds that the service's clock is ahead of the machine's.
    ahead: i64,
}

impl SlsState {
    /// A service without any logs.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self { shape, logstores: BTreeMap::new(), ahead: 0 }
    }

    /// Sets the service's clock ahead of the machine's by this many seconds. No consumer becomes silent by that.
    pub fn set_clock(&mut self, ahead: i64) {
        let by = ahead.saturating_sub(std::mem::replace(&mut self.ahead, ahead));
        if by != 0 {
            self.logstores.values_mut().for_each(|logstore| logstore.clock_moves(by));
        }
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
        let shape = &self.shape;
        let logstore = self
            .logstores
            .entry((project.to_owned(), name.to_owned()))
            .or_insert_with(|| Logstore::new(shape.shards, shape.retention, shape.shard_bytes, now));
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

/// Locks the shared state.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no code panics while it holds the lock")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::sls::logstore::Route;

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
