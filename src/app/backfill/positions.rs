//! The positions of a backfill, in a file of the state directory. They take the place of the group's checkpoints.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

use crate::core::cursor::{Cursor, ShardId};
use crate::core::named_file;
use crate::core::state_dir::StateDir;

/// Maximum size of the file: a position takes less than a hundred bytes, and a source has at most ten thousand
/// shards.
const MAX_BYTES: u64 = 4 << 20;

/// Identifies a backfill when its command is repeated: all options as typed.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The project.
    pub project: &'a str,
    /// The logstore.
    pub logstore: &'a str,
    /// Where it begins, as typed.
    pub from: &'a str,
    /// Where it ends, as typed.
    pub to: &'a str,
    /// The script option, or empty.
    pub script: &'a str,
    /// The destination option, or empty.
    pub destination: &'a str,
}

impl Job<'_> {
    /// The name of its file.
    fn name(&self) -> String {
        let Self { project, logstore, from, to, script, destination } = self;
        let digest = Sha256::digest([*project, logstore, from, to, script, destination].join("\0"));
        let digits: String = digest[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("backfill-{digits}")
    }
}

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    project: String,
    logstore: String,
    /// Unix seconds, as they were when it began: a span such as `-2h` means a different time later. `None`: the
    /// oldest log.
    from: Option<i64>,
    to: i64,
    /// Cursors by shard.
    positions: BTreeMap<u32, String>,
}

/// The range of a backfill, by the time at which SLS received the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Unix seconds; `None` from the oldest log on.
    pub from: Option<i64>,
    /// Unix seconds, exclusive.
    pub to: i64,
}

/// The positions of one backfill.
#[derive(Debug)]
pub struct Positions {
    state: StateDir,
    name: String,
    /// The written content.
    kept: Mutex<Kept>,
    /// The positions to write.
    wanted: Mutex<BTreeMap<u32, String>>,
    /// Locked by the task that makes the next write.
    turn: tokio::sync::Mutex<()>,
    /// Locked while the file is written, even if the caller has given up.
    writing: Mutex<()>,
    /// Whether it resumes the work of another process.
    is_resumed: bool,
    /// Locks the backfill while it runs.
    _claim: File,
}

/// Why the positions cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum PositionsError {
    /// The state directory cannot be used.
    #[error(
        "the positions of a backfill cannot be kept in the state directory: {0}; set state.dir to a directory that the program can write to"
    )]
    Io(#[from] io::Error),
    /// Another process runs the same backfill.
    #[error("the same backfill is running already")]
    Taken,
    /// The file is not valid.
    #[error(
        "the positions in {name} of the state directory cannot be read: {problem}; remove the file to start from the \
         beginning"
    )]
    Damaged {
        /// The file.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

impl Positions {
    /// Opens the positions of an earlier process, or creates empty ones for `range`.
    ///
    /// # Errors
    /// [`PositionsError`]
    pub fn open(state: &StateDir, job: &Job<'_>, range: Range) -> Result<Self, PositionsError> {
        let name = job.name();
        let path = state.path(&format!("{name}.lock")).ok_or_else(|| io::Error::other("there is none"))?;
        let claim = named_file::lock(&path)?.ok_or(PositionsError::Taken)?;
        let fresh = || Kept {
            project: job.project.to_owned(),
            logstore: job.logstore.to_owned(),
            from: range.from,
            to: range.to,
            positions: BTreeMap::new(),
        };
        let damaged =
            |error: serde_json::Error| PositionsError::Damaged { name: name.clone(), problem: error.to_string() };
        let found = state.read(&name, MAX_BYTES)?;
        let (kept, is_resumed) = match found {
            Some(content) => (serde_json::from_slice(&content).map_err(damaged)?, true),
            None => (fresh(), false),
        };
        let positions = Self {
            state: state.clone(),
            name,
            kept: Mutex::new(kept),
            wanted: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            writing: Mutex::default(),
            is_resumed,
            _claim: claim,
        };
        if !is_resumed {
            // The range is fixed from now on, whatever the clock says at a resume.
            positions.write(&lock(&positions.kept))?;
        }
        Ok(positions)
    }

    /// Whether another process began it.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// The range, as it was when the backfill began.
    #[must_use]
    pub fn range(&self) -> Range {
        let kept = lock(&self.kept);
        Range { from: kept.from, to: kept.to }
    }

    /// The position of a shard, from the file.
    #[must_use]
    pub fn get(&self, shard: ShardId) -> Option<Cursor> {
        lock(&self.kept).positions.get(&shard.0).map(Cursor::new)
    }

    /// Everything before `cursor` is durable. Returns when this is written and fsynced.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn save(self: &Arc<Self>, shard: ShardId, cursor: &Cursor) -> io::Result<()> {
        lock(&self.wanted).insert(shard.0, cursor.as_str().to_owned());
        // One write for all positions that arrived during the last write.
        let _turn = self.turn.lock().await;
        if self.get(shard).as_ref() == Some(cursor) {
            return Ok(());
        }
        let mut next = lock(&self.kept).clone();
        next.positions.extend(lock(&self.wanted).clone());
        let (this, written) = (Arc::clone(self), next.clone());
        let outcome = spawn_blocking(move || this.write(&written)).await;
        outcome.unwrap_or_else(|panic| Err(io::Error::other(panic)))?;
        *lock(&self.kept) = next;
        Ok(())
    }

    fn write(&self, kept: &Kept) -> io::Result<()> {
        let _writing = lock(&self.writing);
        let content = serde_json::to_vec_pretty(kept).expect("numbers and text have a JSON form");
        self.state.write(&self.name, &content)
    }

    /// Removes the file when all is done: the same command then starts from the beginning.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        self.state.remove(&self.name)
    }
}

/// Every writer leaves the value consistent before it can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: Job<'_> = Job { project: "p", logstore: "l", from: "-2h", to: "end", script: "", destination: "" };
    const RANGE: Range = Range { from: Some(10), to: 20 };

    fn state() -> (tempfile::TempDir, StateDir) {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("state")).unwrap();
        (dir, state)
    }

    #[tokio::test]
    async fn the_same_command_continues_with_its_range_and_positions() {
        let (_dir, state) = state();
        let positions = Arc::new(Positions::open(&state, &JOB, RANGE).unwrap());
        assert!(!positions.is_resumed());
        assert!(matches!(Positions::open(&state, &JOB, RANGE), Err(PositionsError::Taken)));
        positions.save(ShardId(3), &Cursor::from_number(7)).await.unwrap();
        drop(positions);
        let again = Positions::open(&state, &JOB, Range { from: Some(15), to: 25 }).unwrap();
        assert_eq!((again.is_resumed(), again.range()), (true, RANGE), "-2h was another time then");
        assert_eq!((again.get(ShardId(3)), again.get(ShardId(4))), (Some(Cursor::from_number(7)), None));
        let other = Positions::open(&state, &Job { script: "other.lua", ..JOB }, RANGE).unwrap();
        assert_eq!(other.get(ShardId(3)), None, "another script is another backfill");
        again.remove().unwrap();
        drop(again);
        assert!(!Positions::open(&state, &JOB, RANGE).unwrap().is_resumed());
    }

    #[tokio::test]
    async fn concurrent_saves_are_all_in_the_file_when_they_return() {
        let (_dir, state) = state();
        let positions = Arc::new(Positions::open(&state, &JOB, RANGE).unwrap());
        let saves = (0..50).map(|shard| {
            let (positions, state) = (Arc::clone(&positions), state.clone());
            async move {
                positions.save(ShardId(shard), &Cursor::from_number(shard.into())).await.unwrap();
                let kept: Kept =
                    serde_json::from_slice(&state.read(&positions.name, MAX_BYTES).unwrap().unwrap()).unwrap();
                assert!(kept.positions.contains_key(&shard));
            }
        });
        futures_util::future::join_all(saves).await;
    }

    #[tokio::test]
    async fn a_position_that_could_not_be_written_does_not_count_as_saved() {
        let (dir, state) = state();
        let positions = Arc::new(Positions::open(&state, &JOB, RANGE).unwrap());
        std::fs::remove_dir_all(dir.path().join("state")).unwrap();
        positions.save(ShardId(3), &Cursor::from_number(7)).await.unwrap_err();
        assert_eq!(positions.get(ShardId(3)), None);
        StateDir::open(&dir.path().join("state")).unwrap();
        positions.save(ShardId(3), &Cursor::from_number(7)).await.unwrap();
        assert_eq!(positions.get(ShardId(3)), Some(Cursor::from_number(7)));
    }

    #[test]
    fn a_damaged_file_and_a_directory_that_is_not_one_are_errors() {
        let (_dir, state) = state();
        state.write(&JOB.name(), b"{").unwrap();
        assert!(matches!(Positions::open(&state, &JOB, RANGE), Err(PositionsError::Damaged { .. })));
        assert!(matches!(Positions::open(&StateDir::none(), &JOB, RANGE), Err(PositionsError::Io(_))));
    }
}
