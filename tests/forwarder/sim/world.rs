//! The world that the members act on. The oracle observes them.

mod oracle;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use forwarder::core::cursor::Start;
use forwarder::core::lease::Tenure;
use forwarder::emulator::sls::group::{Fence, Save};
use forwarder::emulator::sls::logstore::Logstore;
use forwarder::emulator::sls::state::{Shape, SlsState};
use forwarder::loggroup::proto::{Log, LogGroup, Pair};
use forwarder::pipeline::OnError;
use prost::Message as _;
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, advance, sleep};

use super::collectors::Cluster;
use super::rng::Rng;
use super::source::GROUP_TIMEOUT;

pub const GROUP: &str = "group";

/// The first destination.
pub const SIEM: &str = "siem";

/// What the script of the simulation does with a log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Keep,
    Drop,
    /// Becomes two events.
    Two,
    /// The script fails on it.
    Bad,
    /// Its event is rejected for good.
    Poison,
    /// Becomes two events; the second one is rejected for good.
    Half,
}

/// A kind of call to SLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    Group,
    Heartbeat,
    Checkpoint,
    Save,
    Cursor,
    Pull,
    /// Not to SLS: a request to the SIEM.
    Send,
    /// Not to SLS: an acknowledgement poll.
    Poll,
    /// Not to SLS: a write of dead letters to disk.
    Keep,
}

/// A fault of every call to SLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// Too many requests: retry later.
    Throttled,
    /// The credentials have expired.
    Expired,
    /// The logstore does not exist.
    Deleted,
    /// Each call takes ten seconds.
    Slow,
}

/// The state that all members of one simulation share: a logstore, and what its logs become. A process with several
/// sources has one for each.
#[derive(Clone)]
pub struct World {
    inner: Arc<Mutex<Inner>>,
    /// Ends every wait that is under way, as if all replies had arrived while the machine slept.
    thaw: Arc<Notify>,
    /// Requests whose senders no longer wait for them.
    on_the_way: Arc<Mutex<JoinSet<()>>>,
}

pub struct Inner {
    /// The name of the source.
    pub source: &'static str,
    /// The beginning of the ids of its logs: empty if it is the only source.
    prefix: String,
    state: SlsState,
    epoch: Instant,
    pub rng: Rng,
    /// Children of split and merged shards wait for their parents.
    pub ordered: bool,
    /// Whether the SIEM keeps the events before a bad one, as Splunk does, or refuses the whole request.
    pub keeps_prefix: bool,
    /// The members' reaction to a log that the script fails on.
    pub on_error: OnError,
    /// Where the members start in a shard without a checkpoint.
    pub start: Start,
    /// Where every shard ends, unix seconds.
    pub until: Option<i64>,
    /// Shards with a saved checkpoint, and their descendants by splits and merges: no log that is written to them may
    /// be missed, wherever their members start.
    begun: BTreeSet<u32>,
    /// Shards whose checkpoint was deleted with the group and has not been saved again yet.
    pub unsaved: BTreeSet<u32>,
    pub deletions: u64,
    /// Bytes of events in a part of a page, in a simulation without random faults.
    pub part_bytes: usize,
    /// How often each member stopped in the middle of a page, as far as observed.
    pub cuts: BTreeMap<String, u64>,
    /// The logs of each group, by shard and cursor number.
    written: BTreeMap<(u32, i64), Vec<(String, Kind)>>,
    /// How often each event arrived.
    pub arrived: BTreeMap<String, u32>,
    /// When each log was written.
    born: BTreeMap<String, Instant>,
    /// The longest time from the write of a log until an event of it was in the SIEM.
    pub slowest: Duration,
    /// The directory of the dead letters of all members, of all sources.
    pub letters: Arc<TempDir>,
    /// The content of the dead letter files that was read so far: destination, log, and event number.
    pub on_disk: BTreeSet<(Option<String>, String, Option<u32>)>,
    pub disk_full_until: Instant,
    pub full_disks: u64,
    /// The saves that the oracle has seen, by shard.
    saved: BTreeMap<u32, i64>,
    /// The same without late saves.
    saved_in_time: BTreeMap<u32, i64>,
    /// The times of each member's heartbeats.
    pub beats: BTreeMap<String, Vec<Instant>>,
    /// Events that arrived from each member, repeats included.
    pub taken_from: BTreeMap<String, u64>,
    pub outage: Option<Outage>,
    /// Calls of a member that are answered with 500, and until when.
    pub failing: BTreeMap<(String, Call), Instant>,
    /// Shards that SLS no longer knows, although the group still assigns them.
    pub gone: BTreeSet<u32>,
    /// Calls in which members panic, and how often they still will: simulated bugs of ours.
    pub breaking: BTreeMap<(String, Call), u32>,
    /// The number of next saves that take longer than their callers wait.
    pub slow_saves: u32,
    /// The offset of the next cursor of every page from the requested one.
    pub cursor_off: Option<i64>,
    /// The tenure of the last batch.
    pub last_tenure: Option<Tenure>,
    /// Members cut off from everything, until when.
    pub cut_off: BTreeMap<String, Instant>,
    /// Members that the server has evicted, until when: they cannot know before their next heartbeat.
    pub thrown_out: BTreeMap<String, Instant>,
    pub destination_down_until: Instant,
    /// The SIEM, when it is a cluster of collectors.
    pub cluster: Option<Cluster>,
    /// Events that a member gave up because the requests with them repeatedly ended without an answer.
    pub unanswered: BTreeSet<String>,
    /// The destinations beside the SIEM.
    pub archives: Vec<Archive>,
    /// Dead letters that isolated destinations got later.
    pub replayed: u64,
    /// Whether events go to the destinations that their log names, rather than to every one.
    pub routed: bool,
    /// The destinations of each log; a log without an entry goes to all.
    meant: BTreeMap<String, Vec<String>>,
    /// Whether calls fail and replies get lost at random.
    pub trouble: bool,
    /// Calls that members made.
    pub calls: BTreeMap<Call, u64>,
    pub lost_replies: u64,
    pub late_saves: u64,
    pub breakdowns: u64,
    pub logs: u64,
    pub violations: Vec<String>,
    pub trace: Vec<String>,
}

/// A destination beside the SIEM.
pub struct Archive {
    pub name: &'static str,
    pub isolated: bool,
    /// Whether it refuses the events that the SIEM refuses; otherwise it accepts everything while it is up.
    pub refuses: bool,
    pub down_until: Instant,
    pub slow_until: Instant,
    /// The events that it has, in the order of their first arrival.
    pub archived: Vec<String>,
    known: BTreeSet<String>,
    /// Events that it missed and that were in the dead letter files.
    pub missed: BTreeSet<String>,
}

impl Archive {
    pub fn new(name: &'static str, isolated: bool, refuses: bool) -> Self {
        let (now, archived) = (Instant::now(), Vec::new());
        let (known, missed) = (BTreeSet::new(), BTreeSet::new());
        Self { name, isolated, refuses, down_until: now, slow_until: now, archived, known, missed }
    }
}

impl World {
    /// The world of the only source.
    pub fn new(seed: u64, shards: u32) -> Self {
        Self::with(seed, shards, "logstore", String::new(), Arc::new(directory()))
    }

    /// The worlds of several sources, with these names and numbers of shards.
    pub fn several(seed: u64, sources: &[(&'static str, u32)]) -> Vec<Self> {
        let letters = Arc::new(directory());
        let world = |(number, (name, shards)): (u64, &(&'static str, u32))| {
            Self::with(seed ^ (number << 32), *shards, name, format!("{name}."), Arc::clone(&letters))
        };
        (0..).zip(sources).map(world).collect()
    }

    fn with(seed: u64, shards: u32, source: &'static str, prefix: String, letters: Arc<TempDir>) -> Self {
        let shape = Shape {
            shards,
            retention: Duration::from_secs(86_400),
            shard_bytes: usize::MAX,
            logstores: Vec::new(),
            elsewhere: Vec::new(),
        };
        let now = Instant::now();
        let inner = Inner {
            source,
            prefix,
            state: SlsState::new(shape),
            epoch: now,
            rng: Rng::new(seed),
            ordered: false,
            keeps_prefix: true,
            on_error: OnError::DeadLetter,
            start: Start::Begin,
            until: None,
            begun: BTreeSet::new(),
            unsaved: BTreeSet::new(),
            deletions: 0,
            part_bytes: usize::MAX,
            cuts: BTreeMap::new(),
            written: BTreeMap::new(),
            arrived: BTreeMap::new(),
            born: BTreeMap::new(),
            slowest: Duration::ZERO,
            letters,
            on_disk: BTreeSet::new(),
            disk_full_until: now,
            full_disks: 0,
            saved: BTreeMap::new(),
            saved_in_time: BTreeMap::new(),
            beats: BTreeMap::new(),
            taken_from: BTreeMap::new(),
            outage: None,
            failing: BTreeMap::new(),
            gone: BTreeSet::new(),
            breaking: BTreeMap::new(),
            slow_saves: 0,
            cursor_off: None,
            last_tenure: None,
            cut_off: BTreeMap::new(),
            thrown_out: BTreeMap::new(),
            destination_down_until: now,
            cluster: None,
            unanswered: BTreeSet::new(),
            archives: Vec::new(),
            replayed: 0,
            routed: false,
            meant: BTreeMap::new(),
            trouble: true,
            calls: BTreeMap::new(),
            lost_replies: 0,
            late_saves: 0,
            breakdowns: 0,
            logs: 0,
            violations: Vec::new(),
            trace: Vec::new(),
        };
        Self { inner: Arc::new(Mutex::new(inner)), thaw: Arc::default(), on_the_way: Arc::default() }
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no member panics while it holds the world")
    }

    /// Waits for this time, or until the machine wakes.
    pub async fn passes(&self, time: Duration) {
        tokio::select! {
            biased;
            () = sleep(time) => {}
            () = self.thaw.notified() => {}
        }
    }

    /// A place for a simulated bug: panics if the member is to panic here.
    pub fn bug(&self, member: &str, call: Call) {
        let breaks = {
            let mut world = self.lock();
            let left = world.breaking.get_mut(&(member.to_owned(), call)).filter(|left| **left > 0);
            let left_to_break = left.map(|left| *left -= 1).is_some();
            // Once all members that know the deleted checkpoints are gone, nobody can restore them.
            let chance = world.trouble && world.rng.one_in(3_000) && world.unsaved.is_empty();
            let breaks = left_to_break || chance;
            if breaks {
                world.breakdowns += 1;
                world.note(format!("{member} breaks down in {call:?}"));
            }
            breaks
        };
        if breaks {
            // Panics without a message, because there are thousands of panics.
            resume_unwind(Box::new("a bug of the simulation"));
        }
    }

    /// Starts a task that continues even if the member that started it ends.
    pub fn spawn(&self, what: impl Future<Output = ()> + Send + 'static) {
        let mut on_the_way = self.on_the_way.lock().expect("nobody panics in here");
        while on_the_way.try_join_next().is_some() {}
        on_the_way.spawn(what);
    }

    /// The machine of all members sleeps. Meanwhile their replies arrive, and SLS assigns every shard to another
    /// consumer. When the machine wakes, its clock has moved on, and no timer has fired yet.
    pub async fn sleeps(&self, time: Duration) {
        Self::all_sleep(std::slice::from_ref(self), time).await;
    }

    /// The same, for the members of all sources.
    pub async fn all_sleep(worlds: &[Self], time: Duration) {
        for world in worlds {
            {
                let mut world = world.lock();
                world.note(format!("the machine of all members sleeps for {time:?}"));
                let then = world.now() + time;
                let ghost = format!("ghost-{}", then.as_millis());
                // It does not matter whether the group exists.
                let _ = world.logstore().heartbeat(GROUP, &ghost, &BTreeSet::new(), then);
            }
            world.thaw.notify_waiters();
        }
        advance(time).await;
    }
}

/// The worlds of all sources of a process, which share its destinations and dead letters.
#[derive(Clone)]
pub struct Worlds(Vec<World>);

impl Worlds {
    pub fn new(worlds: &[World]) -> Self {
        Self(worlds.to_vec())
    }

    /// Any of them, for what they have in common.
    pub fn any(&self) -> &World {
        &self.0[0]
    }

    /// The world of a log or an event with this id.
    pub fn of(&self, id: &str) -> &World {
        let of_it = self.0.iter().find(|world| id.starts_with(&world.lock().prefix));
        of_it.expect("every log comes from a source")
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
        self.trace.push(format!("{at:>7} {}{}", self.prefix, what.into()));
    }

    pub fn violation(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.note(format!("VIOLATION {what}"));
        self.violations.push(what);
    }

    /// Appends a group of `count` logs to a writable shard.
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
                (format!("{}{shard}-{number}-{index}", self.prefix), kind)
            })
            .collect();
        let now = self.now();
        let to: Vec<Vec<String>> = logs.iter().map(|(_, kind)| self.any_destinations(*kind)).collect();
        let group = LogGroup {
            logs: logs.iter().zip(&to).map(|((id, kind), to)| log(id, *kind, to, now)).collect(),
            topic: Some(b"sim".to_vec()),
            ..LogGroup::default()
        };
        self.logstore().append(shard, &group.encode_to_vec(), now).expect("the shard takes writes");
        self.logs += count;
        self.born.extend(logs.iter().map(|(id, _)| (id.clone(), Instant::now())));
        self.meant.extend(logs.iter().map(|(id, _)| id.clone()).zip(to));
        self.written.insert((shard, number), logs);
    }

    /// The destinations that the script names for a log: none, which means all, or some.
    fn any_destinations(&mut self, kind: Kind) -> Vec<String> {
        // A log that the script fails on names no destination.
        if !self.routed || kind == Kind::Bad || self.rng.one_in(3) {
            return Vec::new();
        }
        let all = [SIEM].into_iter().chain(self.archives.iter().map(|archive| archive.name));
        let all: Vec<String> = all.map(str::to_owned).collect();
        let some: Vec<String> = all.iter().filter(|_| self.rng.one_in(2)).cloned().collect();
        if some.is_empty() { vec![all[self.rng.below(all.len() as u64) as usize].clone()] } else { some }
    }

    /// Splits a writable shard, or merges it with the next one, if there is one.
    pub fn reshard(&mut self, merge: bool) {
        let open: Vec<u32> = self.logstore().shards().values().filter(|shard| !shard.readonly).map(|s| s.id).collect();
        let shard = open[self.rng.below(open.len() as u64) as usize];
        let now = self.now();
        if merge {
            let merged = self.logstore().merge(shard, now);
            self.note(format!("shard {shard} is merged with the next: {merged:?}"));
            if let Ok([merged, left, right]) = merged
                && (self.begun.contains(&left) || self.begun.contains(&right))
            {
                self.begun.insert(merged);
            }
        } else if open.len() < 8 {
            self.note(format!("shard {shard} is split"));
            let children = self.logstore().split(shard, None, 2, now).expect("the shard takes writes");
            if self.begun.contains(&shard) {
                self.begun.extend(children);
            }
        }
    }

    /// A member is told to start a shard at `cursor`: earlier logs are not expected, unless the shard had begun.
    pub fn starts(&mut self, shard: u32, cursor: i64) {
        if !self.begun.contains(&shard) {
            self.written.retain(|(of, at), _| *of != shard || *at >= cursor);
        }
    }

    /// Moves a checkpoint back, bypassing the check of ownership.
    pub fn set_back(&mut self) {
        let slots = self.logstore().group(GROUP).map(|group| group.slots().clone()).unwrap_or_default();
        let saved = slots.into_iter().filter_map(|(shard, slot)| Some((shard, slot.checkpoint?.cursor)));
        let saved: Vec<(u32, i64)> = saved.collect();
        if saved.is_empty() {
            return;
        }
        let (shard, from) = saved[self.rng.below(saved.len() as u64) as usize];
        let begin = self.logstore().shards()[&shard].begin();
        // A finished parent that is opened again is a matter between the operator and the children.
        if self.ordered && self.logstore().shards()[&shard].readonly || from <= begin {
            return;
        }
        let to = begin + self.rng.below(from.abs_diff(begin)) as i64;
        self.reset(shard, to);
    }

    /// Sets the checkpoint of a shard, bypassing the check of ownership.
    pub fn reset(&mut self, shard: u32, cursor: i64) {
        self.note(format!("an operator sets the checkpoint of shard {shard} to {cursor}"));
        let now = self.now();
        let save = Save { shard, cursor, consumer: String::new(), forced: true };
        self.logstore().save(GROUP, save, Fence::NotMatch, now).expect("force is let through");
        self.saved.insert(shard, cursor);
        self.saved_in_time.insert(shard, cursor);
    }

    /// Deletes the group with its checkpoints: earlier saves no longer count.
    pub fn delete_group(&mut self) {
        // It may have been deleted already.
        let Ok(group) = self.logstore().group(GROUP) else { return };
        let (slots, members) = (group.slots().clone(), group.consumers().clone());
        // The members cannot know before their next heartbeat.
        let until = Instant::now() + GROUP_TIMEOUT;
        self.thrown_out.extend(members.into_keys().map(|member| (member, until)));
        self.unsaved =
            slots.into_iter().filter(|(_, slot)| slot.checkpoint.is_some()).map(|(shard, _)| shard).collect();
        self.note("the group is deleted");
        self.deletions += 1;
        self.logstore().delete_group(GROUP).expect("there is one");
        self.saved.clear();
        self.saved_in_time.clear();
    }

    /// The oldest logs of a shard expire; those that have not arrived are no longer expected.
    pub fn expire(&mut self, shard: u32, groups: u64) {
        let (begin, end) = {
            let shard = &self.logstore().shards()[&shard];
            (shard.begin(), shard.end())
        };
        let to = end.min(begin + groups as i64);
        self.note(format!("shard {shard} loses everything before {to}"));
        self.logstore().expire(shard, to).expect("the shard is there");
        self.written = std::mem::take(&mut self.written)
            .into_iter()
            .filter(|((of, cursor), _)| *of != shard || *cursor >= to)
            .collect();
    }

    /// Who holds a shard.
    pub fn holder(&mut self, shard: u32) -> Option<String> {
        let now = self.now();
        let group = self.logstore().groups(now).get(GROUP)?;
        group.slots().get(&shard)?.holder().map(str::to_owned)
    }

    /// The checkpoint of a shard.
    pub fn checkpoint(&mut self, shard: u32) -> Option<i64> {
        let group = self.logstore().group(GROUP).ok()?;
        Some(group.slots().get(&shard)?.checkpoint.as_ref()?.cursor)
    }
}

/// In memory if possible: the files of a simulation need not outlive it.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.expect("there is room for a directory")
}

fn log(id: &str, kind: Kind, to: &[String], now: Duration) -> Log {
    let kind = match kind {
        Kind::Keep => "keep",
        Kind::Drop => "drop",
        Kind::Two => "two",
        Kind::Bad => "bad",
        Kind::Poison => "poison",
        Kind::Half => "half",
    };
    let pair = |key: &str, value: &str| Pair { key: key.into(), value: value.into() };
    let contents = vec![pair("id", id), pair("kind", kind), pair("to", &to.join(" "))];
    Log { time: now.as_secs() as u32, contents, time_ns: None }
}
