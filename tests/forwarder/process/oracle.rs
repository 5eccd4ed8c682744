//! Knows every log that was written, and sees every event and every save in order.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use forwarder::emulator::hec;
use forwarder::emulator::hec::Received;
use forwarder::emulator::sls;
use forwarder::emulator::sls::Save;

/// The keys of the id of a generated log.
const ID_KEYS: [&[u8]; 2] = [b"\"request_id\":\"", b"\"eventId\":\""];

#[derive(Debug, Default)]
pub struct Oracle(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// Number of a log by its id. Read by key only.
    numbers: HashMap<String, usize>,
    /// How often each log has arrived, by number.
    times: Vec<u32>,
    arrived: usize,
    repeats: usize,
    shards: BTreeMap<u32, Shard>,
    saves: Vec<Save>,
    beats: Vec<(String, Instant)>,
    /// Violations.
    wrongs: Vec<String>,
}

#[derive(Debug, Default)]
struct Shard {
    /// Cursor and log numbers of each group, in order.
    groups: Vec<(i64, Range<usize>)>,
    /// Groups before the checkpoint.
    saved: usize,
}

impl Oracle {
    /// A log group with these ids will be written to `shard` at `cursor`.
    pub fn expect(&self, shard: u32, cursor: i64, ids: Vec<String>) {
        let mut seen = self.lock();
        let first = seen.times.len();
        let end = first + ids.len();
        seen.numbers.extend(ids.into_iter().zip(first..));
        seen.times.resize(end, 0);
        seen.shards.entry(shard).or_default().groups.push((cursor, first..end));
    }

    /// Logs of `shard` before `cursor` that have not arrived no longer exist, so they are not expected. Returns how
    /// many.
    pub fn excuse(&self, shard: u32, cursor: i64) -> usize {
        let mut seen = self.lock();
        let Seen { shards, times, arrived, .. } = &mut *seen;
        let groups = shards.get(&shard).map_or(&[][..], |shard| &shard.groups);
        let before: Vec<_> =
            groups.iter().take_while(|(at, _)| *at < cursor).flat_map(|(_, ids)| ids.clone()).collect();
        let lost: Vec<_> = before.into_iter().filter(|number| times[*number] == 0).collect();
        for number in &lost {
            times[*number] = 1;
        }
        *arrived += lost.len();
        lost.len()
    }

    pub fn expected(&self) -> usize {
        self.lock().times.len()
    }

    pub fn arrived(&self) -> usize {
        self.lock().arrived
    }

    /// Events beyond the first of each log.
    pub fn repeats(&self) -> usize {
        self.lock().repeats
    }

    /// Logs that have arrived and are not covered by the checkpoint: they would be repeated if their holder died now.
    pub fn exposed(&self) -> usize {
        let seen = self.lock();
        let unsaved = seen.shards.values().flat_map(|shard| &shard.groups[shard.saved..]);
        unsaved.flat_map(|(_, ids)| ids.clone()).filter(|number| seen.times[*number] > 0).count()
    }

    /// The accepted saves, oldest first.
    pub fn saves(&self) -> Vec<Save> {
        self.lock().saves.clone()
    }

    /// The number of groups before the checkpoints of their shards.
    pub fn saved_groups(&self) -> usize {
        self.lock().shards.values().map(|shard| shard.saved).sum()
    }

    /// The consumer that saved last, by shard.
    pub fn holders(&self) -> BTreeMap<u32, String> {
        self.saves().into_iter().map(|save| (save.shard, save.consumer)).collect()
    }

    /// The times of a consumer's heartbeats.
    pub fn beats(&self, consumer: &str) -> Vec<Instant> {
        self.lock().beats.iter().filter(|(name, _)| name == consumer).map(|(_, at)| *at).collect()
    }

    pub fn wrongs(&self) -> Vec<String> {
        self.lock().wrongs.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap()
    }
}

impl hec::Tap for Oracle {
    fn indexed(&self, event: &Received<'_>) {
        let mut seen = self.lock();
        let number = id(&event.event_raw).and_then(|id| seen.numbers.get(id)).copied();
        let Some(number) = number else {
            let text = String::from_utf8_lossy(&event.event_raw).chars().take(200).collect::<String>();
            seen.wrongs.push(format!("an event that nobody wrote: {text}"));
            return;
        };
        seen.times[number] += 1;
        if seen.times[number] == 1 {
            seen.arrived += 1;
        } else {
            seen.repeats += 1;
        }
    }
}

impl sls::Tap for Oracle {
    fn beat(&self, consumer: &str) {
        self.lock().beats.push((consumer.to_owned(), Instant::now()));
    }

    fn saved(&self, save: &Save) {
        let mut seen = self.lock();
        seen.saves.push(save.clone());
        let Seen { shards, times, wrongs, .. } = &mut *seen;
        let shard = shards.entry(save.shard).or_default();
        if save.forced {
            wrongs.push(format!("a save went past the check of ownership: {save:?}"));
        }
        let saved = shard.groups.partition_point(|(cursor, _)| *cursor < save.cursor);
        if saved < shard.saved {
            wrongs.push(format!("a save went back from group {} to {saved}: {save:?}", shard.saved));
        }
        let mut covered = shard.groups[..saved].iter().skip(shard.saved).flat_map(|(_, ids)| ids.clone());
        let missing = covered.by_ref().filter(|number| times[*number] == 0).count();
        if missing > 0 {
            wrongs.push(format!("{missing} logs before a save had not arrived: {save:?}"));
        }
        shard.saved = saved;
    }
}

fn id(raw: &[u8]) -> Option<&str> {
    ID_KEYS.iter().find_map(|key| {
        let start = memchr::memmem::find(raw, key)? + key.len();
        let len = memchr::memchr(b'"', &raw[start..])?;
        str::from_utf8(&raw[start..start + len]).ok()
    })
}
