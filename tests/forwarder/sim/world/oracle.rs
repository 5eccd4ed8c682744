//! The oracle: what each act and each arrival must satisfy, and what is still missing.

use forwarder::dead_letter::{Reader, Reason, directories};
use forwarder::emulator::sls::group::Phase;
use forwarder::pipeline::OnError;
use tokio::time::Instant;

use super::{GROUP, Inner, Kind, SIEM};
use crate::sim::sink::id_of;

/// The code of a dead letter whose requests repeatedly ended without an answer.
const UNANSWERED: &str = "no reply";

impl Inner {
    /// A member begins to send or to save: no other member may hold the shard, and its parents must be finished.
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

    /// Whether a shard was read to its end and is closed for writes.
    pub fn is_over(&mut self, shard: u32) -> bool {
        let group = self.logstore().group(GROUP);
        group.is_ok_and(|group| group.slots().get(&shard).is_some_and(|slot| matches!(slot.phase, Phase::Over(_))))
    }

    /// A save was accepted: everything before it must have arrived. A save that arrives `late`, after its sender has
    /// given up on it, lost the shard or died, may move the checkpoint back, which costs repeats but no log. The same
    /// applies if it moved the checkpoint forward, for example to a position set by an operator, while the next save
    /// was on its way.
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
        if !self.arrived.contains_key(event) {
            self.slowest = self.slowest.max(self.born[log_of(event)].elapsed());
        }
        *self.arrived.entry(event.to_owned()).or_default() += 1;
    }

    /// A dead letter is recorded as delivered: its destination must have it, or must have refused it.
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

    /// Whether an event has arrived, or a dead letter is in the files now.
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

    /// From now on logs are too late: a member that reads until this second does not read them. [`Inner::arrived_late`]
    /// returns those that arrived nevertheless.
    pub fn close(&mut self) -> i64 {
        let second = self.now().as_secs() as i64;
        self.until = Some(second);
        second
    }

    /// The logs that were written at or after the end and arrived nevertheless.
    pub fn arrived_late(&mut self) -> Vec<String> {
        let late: Vec<String> = self.late().flatten().map(|(id, _)| id.clone()).collect();
        late.into_iter().filter(|id| self.arrived.keys().any(|event| log_of(event) == *id)).collect()
    }

    /// Logs written at or after the end are no longer expected.
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

    /// Every end that must be reached before a checkpoint may pass a log.
    fn ends(&self, id: &str, kind: Kind) -> Vec<End> {
        let on_disk = |to: &str, event| End::OnDisk(Some(to.to_owned()), id.to_owned(), Some(event));
        let mut ends = Vec::new();
        // The events that the script makes of it.
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

    /// Whether every shard's checkpoint is at its end, and read-only shards are finished.
    pub fn all_saved(&mut self) -> bool {
        let shards = self.logstore().shards().values();
        let shards: Vec<(u32, i64, bool)> = shards.map(|shard| (shard.id, shard.end(), shard.readonly)).collect();
        shards
            .into_iter()
            .all(|(shard, end, readonly)| self.checkpoint(shard) == Some(end) && self.is_over(shard) == readonly)
    }

    /// Whether a destination should get the events of a log.
    fn is_meant(&self, log: &str, destination: &str) -> bool {
        let to = &self.meant[log];
        to.is_empty() || to.iter().any(|to| to == destination)
    }

    /// Records the arrival of an event at a destination, which must be one of the event's destinations.
    fn reaches(&mut self, event: &str, destination: &str) {
        if !self.is_meant(log_of(event), destination) {
            self.violation(format!("{event} came to {destination}, and is not meant for it"));
        }
    }
}

/// The id of the log that an event was made of.
fn log_of(event: &str) -> &str {
    event.trim_end_matches(['a', 'b', '!'])
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
