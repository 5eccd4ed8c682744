//! What the members act on, and the oracle that watches them.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use forwarder::core::cursor::Start;
use forwarder::core::lease::Tenure;
use forwarder::dead_letter::{Reader, Reason, directories};
use forwarder::emulator::sls::group::{Fence, Phase, Save};
use forwarder::emulator::sls::state::{Logstore, Shape, SlsState};
use forwarder::loggroup::proto::{Log, LogGroup, Pair};
use forwarder::pipeline::OnError;
use prost::Message as _;
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, advance, sleep};

use super::collectors::Cluster;
use super::rng::Rng;
use super::sink::id_of;
use super::source::GROUP_TIMEOUT;

pub const GROUP: &str = "group";

/// The first destination.
pub const SIEM: &str = "siem";

/// The code of a dead letter whose request ended without an answer again and again.
const UNANSWERED: &str = "no reply";

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
    /// Not to SLS: a question for acknowledgements.
    Poll,
    /// Not to SLS: dead letters for the disk.
    Keep,
}

/// What is wrong with every call to SLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// Too many requests: come back later.
    Throttled,
    /// The credentials have expired.
    Expired,
    /// The logstore is not there.
    Deleted,
    /// Each call takes ten seconds.
    Slow,
}

/// Shared by all members of one simulation.
#[derive(Clone)]
pub struct World {
    inner: Arc<Mutex<Inner>>,
    /// Ends every wait that is under way, as when all replies came while the machine slept.
    thaw: Arc<Notify>,
    /// Requests that nobody waits for any more.
    on_the_way: Arc<Mutex<JoinSet<()>>>,
}

pub struct Inner {
    state: SlsState,
    epoch: Instant,
    pub rng: Rng,
    /// Children of split and merged shards wait for their parents.
    pub ordered: bool,
    /// Whether the SIEM keeps what stands before a bad event, as Splunk does, or refuses the whole request.
    pub keeps_prefix: bool,
    /// What the members do with a log that the script fails on.
    pub on_error: OnError,
    /// Where the members start in a shard without a checkpoint.
    pub start: Start,
    /// Where every shard ends, unix seconds.
    pub until: Option<i64>,
    /// Shards of which a checkpoint was saved, and what came of them by splits and merges: nothing that is written to them
    /// may be missed, wherever their members start.
    begun: BTreeSet<u32>,
    /// Shards whose checkpoint went with the group and was not saved again yet.
    pub unsaved: BTreeSet<u32>,
    pub deletions: u64,
    /// Bytes of events in a part of a page, where nothing goes wrong by chance.
    pub part_bytes: usize,
    /// How often each member left a page half-way, as far as was seen.
    pub cuts: BTreeMap<String, u64>,
    /// The logs of each group, by shard and cursor number.
    written: BTreeMap<(u32, i64), Vec<(String, Kind)>>,
    /// How often each event arrived.
    pub arrived: BTreeMap<String, u32>,
    /// The directory of the dead letters of all members.
    pub letters: TempDir,
    /// What the files of dead letters hold, as far as it was read: destination, log, and event of it.
    pub on_disk: BTreeSet<(Option<String>, String, Option<u32>)>,
    pub disk_full_until: Instant,
    pub full_disks: u64,
    /// The saves that the oracle has seen, by shard.
    saved: BTreeMap<u32, i64>,
    /// The same without saves that came late.
    saved_in_time: BTreeMap<u32, i64>,
    /// When each member asked for a heartbeat.
    pub beats: BTreeMap<String, Vec<Instant>>,
    /// Events that arrived from each member, repeats included.
    pub taken_from: BTreeMap<String, u64>,
    pub outage: Option<Outage>,
    /// Calls of a member that are answered 500, until when.
    pub failing: BTreeMap<(String, Call), Instant>,
    /// Shards that SLS no longer knows, though the group still gives them to members.
    pub gone: BTreeSet<u32>,
    /// Calls in which members break down, and how often they still will: bugs of ours.
    pub breaking: BTreeMap<(String, Call), u32>,
    /// Saves, from the next on, that are on their way for longer than anybody waits for them.
    pub slow_saves: u32,
    /// The next cursor of every page is so far behind that which was asked for.
    pub cursor_off: Option<i64>,
    /// The right to send that came with the last batch.
    pub last_tenure: Option<Tenure>,
    /// Members cut off from everything, until when.
    pub cut_off: BTreeMap<String, Instant>,
    /// Members that the server threw out of itself: they cannot know before their next heartbeat, until when.
    pub thrown_out: BTreeMap<String, Instant>,
    pub siem_down_until: Instant,
    /// The SIEM, when it is a cluster of collectors.
    pub cluster: Option<Cluster>,
    /// Events that a member gave up, since the requests with them ended without an answer again and again.
    pub unanswered: BTreeSet<String>,
    /// The destinations beside the SIEM.
    pub archives: Vec<Archive>,
    /// Letters that isolated destinations got after all.
    pub replayed: u64,
    /// Events go where their log says, not to every destination.
    pub routed: bool,
    /// The destinations of each log; all where it names none.
    meant: BTreeMap<String, Vec<String>>,
    /// Calls fail and replies get lost.
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
    /// It refuses the events that the SIEM refuses; else it takes everything while it is there.
    pub refuses: bool,
    pub down_until: Instant,
    pub slow_until: Instant,
    /// The events that it has, in the order in which it got them first.
    pub archived: Vec<String>,
    known: BTreeSet<String>,
    /// Events that it missed, and that were in the files of dead letters.
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
    pub fn new(seed: u64, shards: u32) -> Self {
        let shape = Shape {
            shards,
            retention: Duration::from_secs(86_400),
            shard_bytes: usize::MAX,
            logstores: Vec::new(),
            elsewhere: Vec::new(),
        };
        let now = Instant::now();
        let inner = Inner {
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
            letters: directory(),
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
            siem_down_until: now,
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

    /// Time passes, or the machine wakes.
    pub async fn passes(&self, time: Duration) {
        tokio::select! {
            biased;
            () = sleep(time) => {}
            () = self.thaw.notified() => {}
        }
    }

    /// Where a bug may be: whoever is to break down here does.
    pub fn bug(&self, member: &str, call: Call) {
        let breaks = {
            let mut world = self.lock();
            let left = world.breaking.get_mut(&(member.to_owned(), call)).filter(|left| **left > 0);
            let left_to_break = left.map(|left| *left -= 1).is_some();
            // Where the checkpoints went that went with their group, nobody knows once the members that know it are gone.
            let chance = world.trouble && world.rng.one_in(3_000) && world.unsaved.is_empty();
            let breaks = left_to_break || chance;
            if breaks {
                world.breakdowns += 1;
                world.note(format!("{member} breaks down in {call:?}"));
            }
            breaks
        };
        if breaks {
            // A panic without a report: there are thousands of them.
            resume_unwind(Box::new("a bug of the simulation"));
        }
    }

    /// Something that goes on whatever becomes of the member that began it.
    pub fn spawn(&self, what: impl Future<Output = ()> + Send + 'static) {
        let mut on_the_way = self.on_the_way.lock().expect("nobody panics in here");
        while on_the_way.try_join_next().is_some() {}
        on_the_way.spawn(what);
    }

    /// The machine of all members sleeps. Meanwhile the replies come that they wait for, and SLS gives every shard to
    /// somebody else. When it wakes, its clock has moved on, and no timer has rung yet.
    pub async fn sleeps(&self, time: Duration) {
        {
            let mut world = self.lock();
            world.note(format!("the machine of all members sleeps for {time:?}"));
            let then = world.now() + time;
            let ghost = format!("ghost-{}", then.as_millis());
            // Whether there is a group at all is all one.
            let _ = world.logstore().heartbeat(GROUP, &ghost, &BTreeSet::new(), then);
        }
        self.thaw.notify_waiters();
        advance(time).await;
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
        let to: Vec<Vec<String>> = logs.iter().map(|(_, kind)| self.any_destinations(*kind)).collect();
        let group = LogGroup {
            logs: logs.iter().zip(&to).map(|((id, kind), to)| log(id, *kind, to, now)).collect(),
            topic: Some(b"sim".to_vec()),
            ..LogGroup::default()
        };
        self.logstore().append(shard, &group.encode_to_vec(), now).expect("the shard takes writes");
        self.logs += count;
        self.meant.extend(logs.iter().map(|(id, _)| id.clone()).zip(to));
        self.written.insert((shard, number), logs);
    }

    /// Where the script sends what it makes of a log: everywhere, or to some.
    fn any_destinations(&mut self, kind: Kind) -> Vec<String> {
        // What a script fails on names nothing.
        if !self.routed || kind == Kind::Bad || self.rng.one_in(3) {
            return Vec::new();
        }
        let all = [SIEM].into_iter().chain(self.archives.iter().map(|archive| archive.name));
        let all: Vec<String> = all.map(str::to_owned).collect();
        let some: Vec<String> = all.iter().filter(|_| self.rng.one_in(2)).cloned().collect();
        if some.is_empty() { vec![all[self.rng.below(all.len() as u64) as usize].clone()] } else { some }
    }

    /// Whether a destination is to get the events of a log.
    fn is_meant(&self, log: &str, destination: &str) -> bool {
        let to = &self.meant[log];
        to.is_empty() || to.iter().any(|to| to == destination)
    }

    /// An event reaches a destination: it has to be meant for it.
    fn reaches(&mut self, event: &str, destination: &str) {
        let log = event.trim_end_matches(['a', 'b', '!']);
        if !self.is_meant(log, destination) {
            self.violation(format!("{event} came to {destination}, and is not meant for it"));
        }
    }

    /// Splits a shard that still takes writes, or merges it with the next, if there is one.
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

    /// A member is told to start a shard at `cursor`: what is before that is not expected, unless the shard had begun.
    pub fn starts(&mut self, shard: u32, cursor: i64) {
        if !self.begun.contains(&shard) {
            self.written.retain(|(of, at), _| *of != shard || *at >= cursor);
        }
    }

    /// Somebody sets a checkpoint back, past the check of ownership.
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

    /// Somebody sets the checkpoint of a shard, past the check of ownership.
    pub fn reset(&mut self, shard: u32, cursor: i64) {
        self.note(format!("an operator sets the checkpoint of shard {shard} to {cursor}"));
        let now = self.now();
        let save = Save { shard, cursor, consumer: String::new(), forced: true };
        self.logstore().save(GROUP, save, Fence::NotMatch, now).expect("force is let through");
        self.saved.insert(shard, cursor);
        self.saved_in_time.insert(shard, cursor);
    }

    /// The group is deleted with its checkpoints: what was saved before says nothing any more.
    pub fn delete_group(&mut self) {
        // It may have been deleted a moment ago.
        let Ok(group) = self.logstore().group(GROUP) else { return };
        let (slots, members) = (group.slots().clone(), group.consumers().clone());
        // They cannot know before their next heartbeat.
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

    /// The oldest logs of a shard leave the retention; nobody can expect those that have not arrived.
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

    /// A member begins to send or to save: the shard must not be another's, nor before its turn.
    pub fn acts(&mut self, member: &str, shard: u32, doing: &str) {
        let cannot_know = self.thrown_out.get(member).is_some_and(|until| Instant::now() < *until);
        if let Some(holder) = self.holder(shard)
            && holder != member
            && !cannot_know
        {
            self.violation(format!("{member} {doing} shard {shard}, which is {holder}'s"));
        }
        let parents = self.logstore().shards()[&shard].parents.clone();
        if let Some(parent) = parents.into_iter().find(|parent| self.ordered && !self.is_over(*parent))
            && !cannot_know
        {
            self.violation(format!("{member} {doing} shard {shard} before its parent {parent} is finished"));
        }
    }

    /// Whether a shard was read to its end and takes no more.
    pub fn is_over(&mut self, shard: u32) -> bool {
        let group = self.logstore().group(GROUP);
        group.is_ok_and(|group| group.slots().get(&shard).is_some_and(|slot| matches!(slot.phase, Phase::Over(_))))
    }

    /// A save was accepted: everything before it must have arrived. One that arrives `late`, when its sender has given up
    /// on it, lost the shard or died, may set the checkpoint back, which costs repeats and no log. The same if it set it
    /// ahead, of an operator's wish for example, while the next save was on its way.
    pub fn accepted(&mut self, member: &str, shard: u32, cursor: i64, late: bool) {
        self.note(format!("{member} saved {shard} at {cursor}{}", if late { ", late" } else { "" }));
        if let Some(holder) = self.holder(shard)
            && holder != member
        {
            self.violation(format!("the save of {member} was accepted for shard {shard}, which is {holder}'s"));
        }
        self.begun.insert(shard);
        self.unsaved.remove(&shard);
        self.late_saves += u64::from(late);
        let before = self.saved.insert(shard, cursor).unwrap_or(i64::MIN);
        let in_time = if late { None } else { self.saved_in_time.insert(shard, cursor) };
        if in_time.is_some_and(|in_time| cursor < before.min(in_time)) {
            self.violation(format!("{member} moved the checkpoint of shard {shard} back from {before} to {cursor}"));
        }
        let groups: Vec<Vec<(String, Kind)>> =
            self.written.range((shard, before.min(cursor))..(shard, cursor)).map(|(_, logs)| logs.clone()).collect();
        for (id, kind) in groups.into_iter().flatten() {
            for end in self.ends(&id, kind) {
                if !self.is_reached(&end) {
                    self.violation(format!("{member} saved shard {shard} at {cursor}, but {end:?} is not so"));
                }
            }
        }
    }

    pub fn is_archived(&mut self, member: &str, archive: usize, event: &str) {
        *self.taken_from.entry(member.to_owned()).or_default() += 1;
        self.reaches(event, self.archives[archive].name);
        let archive = &mut self.archives[archive];
        if archive.known.insert(event.to_owned()) {
            archive.archived.push(event.to_owned());
        }
    }

    pub fn arrives(&mut self, member: &str, event: &str) {
        *self.taken_from.entry(member.to_owned()).or_default() += 1;
        self.reaches(event, SIEM);
        *self.arrived.entry(event.to_owned()).or_default() += 1;
    }

    /// A letter is noted as delivered: its destination has to have it, or to have refused it.
    pub fn is_replayed(&mut self, destination: &str, event: &str, log: &str, number: Option<u32>) {
        let event = id_of(event);
        let archive = self.archives.iter().find(|archive| archive.name == destination).expect("it is one of ours");
        let is_there = archive.known.contains(event);
        self.replayed += 1;
        let refused = End::OnDisk(Some(destination.to_owned()), log.to_owned(), number);
        if !is_there && !self.is_reached(&refused) {
            self.violation(format!("the letter of {event} for {destination} is noted as delivered, and is not"));
        }
    }

    /// Whether an event arrived, or a letter is in the files at this moment.
    fn is_reached(&mut self, end: &End) -> bool {
        self.index();
        if !self.is_known(end) {
            self.read_letters();
        }
        self.is_known(end)
    }

    fn is_known(&self, end: &End) -> bool {
        match end {
            End::Arrived(event) => self.arrived.contains_key(event) || self.unanswered.contains(event),
            End::OnDisk(to, log, event) => self.on_disk.contains(&(to.clone(), log.clone(), *event)),
            End::Archived(archive, event) => {
                let archive = &self.archives[*archive];
                archive.known.contains(event) || archive.missed.contains(event)
            }
            End::MissedOrRefused(archive, event, letter) => {
                self.is_known(letter) || self.archives[*archive].missed.contains(event)
            }
        }
    }

    fn read_letters(&mut self) {
        for dir in directories(self.letters.path()) {
            for letter in Reader::open(&dir).expect("it is there") {
                let Ok(letter) = letter else { continue };
                let record = letter.record;
                let event = record.event.as_ref().map(|event| std::str::from_utf8(event).expect("ids are text"));
                let event = event.map(|event| id_of(event).to_owned());
                let destination = record.destination.map(|name| name.as_str().to_owned());
                if record.reason == Reason::DestinationDown {
                    let missing = self.archives.iter_mut().find(|archive| Some(archive.name) == destination.as_deref());
                    missing.expect("only archives are isolated").missed.insert(event.expect("it was made"));
                    continue;
                }
                if record.code == UNANSWERED {
                    self.unanswered.extend(event);
                }
                let id = record.log.iter().find(|(key, _)| key == b"id").expect("every log has one").1.clone();
                self.on_disk.insert((destination, String::from_utf8(id).expect("ids are text"), record.origin.event));
            }
        }
    }

    /// From now on logs come too late: who reads until this second does not read them. They are to be asked about with
    /// [`Inner::arrived_late`].
    pub fn close(&mut self) -> i64 {
        let second = self.now().as_secs() as i64;
        self.until = Some(second);
        second
    }

    /// The logs that were written at or after the end and arrived all the same.
    pub fn arrived_late(&mut self) -> Vec<String> {
        let late: Vec<String> = self.late().flatten().map(|(id, _)| id.clone()).collect();
        late.into_iter()
            .filter(|id| self.arrived.keys().any(|event| event.trim_end_matches(['a', 'b']) == *id))
            .collect()
    }

    /// Nobody waits for what was written at or after the end.
    pub fn forget_late(&mut self) {
        let late: Vec<(u32, i64)> = self.late_groups();
        self.written.retain(|group, _| !late.contains(group));
    }

    fn late(&mut self) -> impl Iterator<Item = &Vec<(String, Kind)>> {
        let late = self.late_groups();
        self.written.iter().filter(move |(group, _)| late.contains(group)).map(|(_, logs)| logs)
    }

    fn late_groups(&mut self) -> Vec<(u32, i64)> {
        let until = self.until.expect("there is an end");
        let groups: Vec<(u32, i64)> = self.written.keys().copied().collect();
        let is_late = |world: &mut Self, (shard, cursor): &(u32, i64)| {
            let received = world.logstore().shards()[shard].received(*cursor).expect("nothing expires here");
            received.as_secs() as i64 >= until
        };
        groups.into_iter().filter(|group| is_late(self, group)).collect()
    }

    /// How many events have not arrived, and how many letters are not on disk.
    pub fn missing(&mut self) -> usize {
        self.index();
        self.read_letters();
        let ends = self.written.values().flatten().flat_map(|(id, kind)| self.ends(id, *kind));
        ends.filter(|end| !self.is_known(end)).count()
    }

    /// Every end that has to be reached before a checkpoint may pass a log.
    fn ends(&self, id: &str, kind: Kind) -> Vec<End> {
        let on_disk = |to: &str, event| End::OnDisk(Some(to.to_owned()), id.to_owned(), Some(event));
        let mut ends = Vec::new();
        // What the script makes of it.
        let events: &[&str] = match kind {
            Kind::Keep => &[""],
            Kind::Two => &["a", "b"],
            Kind::Poison => &["!"],
            Kind::Half => &["a", "b!"],
            Kind::Bad if self.on_error == OnError::Pass => &[""],
            Kind::Drop | Kind::Bad => &[],
        };
        if kind == Kind::Bad && self.on_error == OnError::DeadLetter {
            ends.push(End::OnDisk(None, id.to_owned(), None));
        }
        for (number, suffix) in (0..).zip(events) {
            let (event, is_poison) = (format!("{id}{suffix}"), suffix.ends_with('!'));
            if self.is_meant(id, SIEM) {
                ends.push(if is_poison { on_disk(SIEM, number) } else { End::Arrived(event.clone()) });
            }
            for (archive, at) in self.archives.iter().zip(0..).filter(|(archive, _)| self.is_meant(id, archive.name)) {
                ends.push(match is_poison && archive.refuses {
                    true => End::MissedOrRefused(at, event.clone(), Box::new(on_disk(archive.name, number))),
                    false => End::Archived(at, event.clone()),
                });
            }
        }
        ends
    }

    /// Whether every shard's checkpoint is at its end, and read-only shards are finished with.
    pub fn all_saved(&mut self) -> bool {
        let shards = self.logstore().shards().values();
        let shards: Vec<(u32, i64, bool)> = shards.map(|shard| (shard.id, shard.end(), shard.readonly)).collect();
        shards
            .into_iter()
            .all(|(shard, end, readonly)| self.checkpoint(shard) == Some(end) && self.is_over(shard) == readonly)
    }
}

/// How a log, or an event made of it, may end.
#[derive(Debug)]
enum End {
    Arrived(String),
    /// In this archive, or a dead letter that it missed.
    Archived(usize, String),
    /// Refused by this archive, or a dead letter that it missed.
    MissedOrRefused(usize, String, Box<Self>),
    /// A dead letter: destination, log, and event of it.
    OnDisk(Option<String>, String, Option<u32>),
}

/// In memory where there is such a thing: what a simulation writes need not outlive it.
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
