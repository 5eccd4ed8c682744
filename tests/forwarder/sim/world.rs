//! What the members act on, and the oracle that watches them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use forwarder::dead_letter::{Reader, directories};
use forwarder::emulator::sls::state::{Logstore, Shape, State};
use forwarder::sls::proto::{Log, LogGroup, Pair};
use prost::Message as _;
use tempfile::TempDir;
use tokio::time::Instant;

use super::rng::Rng;

pub const GROUP: &str = "group";

/// What becomes of a log in the script of the simulation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Keep,
    Drop,
    /// Becomes two events.
    Two,
    /// The script fails on it.
    Bad,
    /// Its event is refused for good.
    Poison,
    /// Becomes two events, of which the second is refused for good.
    Half,
}

/// Shared by all members of one simulation.
#[derive(Clone)]
pub struct World(Arc<Mutex<Inner>>);

pub struct Inner {
    state: State,
    epoch: Instant,
    pub rng: Rng,
    /// The logs of each group, by shard and cursor number.
    written: BTreeMap<(u32, i64), Vec<(String, Kind)>>,
    /// How often each event arrived.
    pub arrived: BTreeMap<String, u32>,
    /// The directory of the dead letters of all members.
    pub letters: TempDir,
    /// What the files of dead letters hold, as far as it was read: log, and event of it.
    pub on_disk: BTreeSet<(String, Option<u32>)>,
    pub disk_full_until: Instant,
    pub full_disks: u64,
    /// The saves that the oracle has seen, by shard.
    saved: BTreeMap<u32, i64>,
    /// Members cut off from everything, until when.
    pub cut_off: BTreeMap<String, Instant>,
    /// Members that the server threw out of itself: they cannot know before their next heartbeat, until when.
    pub thrown_out: BTreeMap<String, Instant>,
    pub siem_down_until: Instant,
    /// Calls fail and replies get lost.
    pub trouble: bool,
    pub lost_replies: u64,
    pub logs: u64,
    pub violations: Vec<String>,
    pub trace: Vec<String>,
}

impl World {
    pub fn new(seed: u64, shards: u32) -> Self {
        let shape =
            Shape { shards, retention: Duration::from_secs(86_400), shard_bytes: usize::MAX, logstores: Vec::new() };
        let now = Instant::now();
        Self(Arc::new(Mutex::new(Inner {
            state: State::new(shape),
            epoch: now,
            rng: Rng::new(seed),
            written: BTreeMap::new(),
            arrived: BTreeMap::new(),
            letters: directory(),
            on_disk: BTreeSet::new(),
            disk_full_until: now,
            full_disks: 0,
            saved: BTreeMap::new(),
            cut_off: BTreeMap::new(),
            thrown_out: BTreeMap::new(),
            siem_down_until: now,
            trouble: true,
            lost_replies: 0,
            logs: 0,
            violations: Vec::new(),
            trace: Vec::new(),
        })))
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no member panics while it holds the world")
    }
}

impl Inner {
    /// Server time since the Unix epoch.
    pub fn now(&self) -> Duration {
        Duration::from_secs(1_700_000_000) + self.epoch.elapsed()
    }

    pub fn logstore(&mut self) -> &mut Logstore {
        let now = self.now();
        self.state.logstore("project", "logstore", now).expect("every logstore is there")
    }

    pub fn note(&mut self, what: impl Into<String>) {
        let at = self.epoch.elapsed().as_millis();
        self.trace.push(format!("{at:>7} {}", what.into()));
    }

    pub fn violation(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.note(format!("VIOLATION {what}"));
        self.violations.push(what);
    }

    /// Appends a group of `count` logs to a shard that still takes writes.
    pub fn write(&mut self, count: u64) {
        let open: Vec<u32> = self.logstore().shards().values().filter(|shard| !shard.readonly).map(|s| s.id).collect();
        let shard = open[self.rng.below(open.len() as u64) as usize];
        let number = self.logstore().shards()[&shard].end();
        let logs: Vec<(String, Kind)> = (0..count)
            .map(|index| {
                let kind = match self.rng.below(30) {
                    0..3 => Kind::Drop,
                    3..6 => Kind::Two,
                    6 => Kind::Bad,
                    7 => Kind::Poison,
                    8 => Kind::Half,
                    _ => Kind::Keep,
                };
                (format!("{shard}-{number}-{index}"), kind)
            })
            .collect();
        let now = self.now();
        let group = LogGroup {
            logs: logs.iter().map(|(id, kind)| log(id, *kind, now)).collect(),
            topic: Some(b"sim".to_vec()),
            ..LogGroup::default()
        };
        self.logstore().append(shard, &group.encode_to_vec(), now).expect("the shard takes writes");
        self.logs += count;
        self.written.insert((shard, number), logs);
    }

    /// A member begins to send or to save: the shard must not be another's.
    pub fn acts(&mut self, member: &str, shard: u32, doing: &str) {
        let now = self.now();
        let holder = self
            .logstore()
            .groups(now)
            .get(GROUP)
            .and_then(|group| group.slots().get(&shard).and_then(|slot| slot.holder().map(str::to_owned)));
        let cannot_know = self.thrown_out.get(member).is_some_and(|until| Instant::now() < *until);
        if let Some(holder) = holder
            && holder != member
            && !cannot_know
        {
            self.violation(format!("{member} {doing} shard {shard}, which is {holder}'s"));
        }
    }

    /// A save was accepted: everything before it must have arrived.
    pub fn accepted(&mut self, member: &str, shard: u32, cursor: i64) {
        self.note(format!("{member} saved {shard} at {cursor}"));
        let before = self.saved.insert(shard, cursor).unwrap_or(i64::MIN);
        if cursor < before {
            self.violation(format!("{member} moved the checkpoint of shard {shard} back from {before} to {cursor}"));
        }
        let groups: Vec<Vec<(String, Kind)>> =
            self.written.range((shard, before)..(shard, cursor)).map(|(_, logs)| logs.clone()).collect();
        for (id, kind) in groups.into_iter().flatten() {
            for end in ends(&id, kind) {
                if !self.is_reached(&end) {
                    self.violation(format!("{member} saved shard {shard} at {cursor}, but {end:?} is not so"));
                }
            }
        }
    }

    pub fn arrives(&mut self, event: &str) {
        *self.arrived.entry(event.to_owned()).or_default() += 1;
    }

    /// Whether an event arrived, or a letter is in the files at this moment.
    fn is_reached(&mut self, end: &End) -> bool {
        if !self.is_known(end) && matches!(end, End::OnDisk(..)) {
            self.read_letters();
        }
        self.is_known(end)
    }

    fn is_known(&self, end: &End) -> bool {
        match end {
            End::Arrived(event) => self.arrived.contains_key(event),
            End::OnDisk(log, event) => self.on_disk.contains(&(log.clone(), *event)),
        }
    }

    fn read_letters(&mut self) {
        for dir in directories(self.letters.path()) {
            for letter in Reader::open(&dir).expect("it is there") {
                let Ok(letter) = letter else { continue };
                let id = letter.record.log.iter().find(|(key, _)| key == b"id").expect("every log has one").1.clone();
                self.on_disk.insert((String::from_utf8(id).expect("ids are text"), letter.record.origin.event));
            }
        }
    }

    /// How many events have not arrived, and how many letters are not on disk.
    pub fn missing(&mut self) -> usize {
        self.read_letters();
        let ends = self.written.values().flatten().flat_map(|(id, kind)| ends(id, *kind));
        ends.filter(|end| !self.is_known(end)).count()
    }

    /// Whether every shard's checkpoint is at its end.
    pub fn all_saved(&mut self) -> bool {
        let ends: Vec<(u32, i64)> = self.logstore().shards().values().map(|shard| (shard.id, shard.end())).collect();
        ends.into_iter().all(|(shard, end)| {
            let group = self.logstore().group(GROUP);
            let slot = group.ok().and_then(|group| group.slots().get(&shard).cloned());
            slot.and_then(|slot| slot.checkpoint).is_some_and(|checkpoint| checkpoint.cursor == end)
        })
    }
}

/// How a log, or an event made of it, may end.
#[derive(Debug)]
enum End {
    Arrived(String),
    OnDisk(String, Option<u32>),
}

/// Every end that has to be reached before a checkpoint may pass a log.
fn ends(id: &str, kind: Kind) -> Vec<End> {
    let arrived = |suffix: &str| End::Arrived(format!("{id}{suffix}"));
    let on_disk = |event| End::OnDisk(id.to_owned(), event);
    match kind {
        Kind::Keep => vec![arrived("")],
        Kind::Drop => Vec::new(),
        Kind::Two => vec![arrived("a"), arrived("b")],
        Kind::Bad => vec![on_disk(None)],
        Kind::Poison => vec![on_disk(Some(0))],
        Kind::Half => vec![arrived("a"), on_disk(Some(1))],
    }
}

/// In memory where there is such a thing: what a simulation writes need not outlive it.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.expect("there is room for a directory")
}

fn log(id: &str, kind: Kind, now: Duration) -> Log {
    let kind = match kind {
        Kind::Keep => "keep",
        Kind::Drop => "drop",
        Kind::Two => "two",
        Kind::Bad => "bad",
        Kind::Poison => "poison",
        Kind::Half => "half",
    };
    let pair = |key: &str, value: &str| Pair { key: key.into(), value: value.into() };
    Log { time: now.as_secs() as u32, contents: vec![pair("id", id), pair("kind", kind)], time_ns: None }
}
