//! The course of one simulation.

use std::time::Duration;

use forwarder::core::cursor::Start;
use forwarder::pipeline::OnError;
use tokio::time::{Instant, sleep};

use super::collectors::{ACK_TIMEOUT, Cluster};
use super::member::{Member, Process};
use super::rng::Rng;
use super::source::GROUP_TIMEOUT;
use super::world::{Archive, GROUP, Outage, World};

/// One seed of this many has several sources.
const SEVERAL: u64 = 4;

/// Memory of a process with several sources: little, so that they compete for it.
const BYTES: usize = 1 << 20;

/// The names of the sources, if there are several.
const SOURCES: [&str; 4] = ["s0", "s1", "s2", "s3"];

/// The result of one simulation, or the sum of many.
#[derive(Default)]
pub struct Outcome {
    pub violations: Vec<String>,
    pub trace: Vec<String>,
    pub logs: u64,
    pub repeats: u64,
    pub kills: u64,
    pub lost_replies: u64,
    pub outages: u64,
    pub dead_letters: u64,
    pub full_disks: u64,
    pub missed: u64,
    pub sleeps: u64,
    pub late_saves: u64,
    pub breakdowns: u64,
    pub deletions: u64,
    pub ends: u64,
    pub cuts: u64,
    pub unanswered: u64,
    pub replayed: u64,
    pub routed: u64,
    pub queues_lost: u64,
    pub indexed: u64,
    pub clusters: u64,
    pub several: u64,
    pub source_outages: u64,
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} logs, {} repeats, {} kills, {} replies lost, {} outages, {} dead letters, {} events missed by archives, {} times no room, {} sleeps, {} late saves, {} breakdowns, {} groups deleted, {} starts at the end, {} pages cut, {} events given up, {} letters replayed, {} routed, {} requests lost in a queue, {} events indexed, {} clusters, {} with several sources, {} outages of a source, {} violations",
            self.logs,
            self.repeats,
            self.kills,
            self.lost_replies,
            self.outages,
            self.dead_letters,
            self.missed,
            self.full_disks,
            self.sleeps,
            self.late_saves,
            self.breakdowns,
            self.deletions,
            self.ends,
            self.cuts,
            self.unanswered,
            self.replayed,
            self.routed,
            self.queues_lost,
            self.indexed,
            self.clusters,
            self.several,
            self.source_outages,
            self.violations.len()
        )
    }
}

impl Outcome {
    pub fn add(&mut self, other: &Self) {
        self.logs += other.logs;
        self.repeats += other.repeats;
        self.kills += other.kills;
        self.lost_replies += other.lost_replies;
        self.outages += other.outages;
        self.dead_letters += other.dead_letters;
        self.full_disks += other.full_disks;
        self.missed += other.missed;
        self.sleeps += other.sleeps;
        self.late_saves += other.late_saves;
        self.breakdowns += other.breakdowns;
        self.deletions += other.deletions;
        self.ends += other.ends;
        self.cuts += other.cuts;
        self.unanswered += other.unanswered;
        self.replayed += other.replayed;
        self.routed += other.routed;
        self.queues_lost += other.queues_lost;
        self.indexed += other.indexed;
        self.clusters += other.clusters;
        self.several += other.several;
        self.source_outages += other.source_outages;
    }
}

/// Runs one seed from the first log to the last checkpoint.
pub fn simulate(seed: u64) -> Outcome {
    // The program itself uses random numbers too.
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O can be built").block_on(play(seed))
}

async fn play(seed: u64) -> Outcome {
    let mut rng = Rng::new(!seed);
    // Decides only what several sources add, so that it changes no history of a single one.
    let mut dice = Rng::new(seed ^ 0x5eed);
    let worlds = begin(seed, &mut rng, &mut dice);
    let mut cast = Cast { worlds: worlds.clone(), processes: Vec::new(), born: 0 };
    let mut outcome = Outcome::default();
    for _ in 0..=rng.below(3) {
        cast.add();
    }

    let troubled_until = Instant::now() + Duration::from_secs(90);
    let mut outages_end = vec![Instant::now(); worlds.len()];
    while Instant::now() < troubled_until {
        sleep(rng.millis(50, 1_500)).await;
        let picked = if worlds.len() > 1 { dice.below(worlds.len() as u64) as usize } else { 0 };
        let world = &worlds[picked];
        if worlds.len() > 1 {
            for (world, end) in worlds.iter().zip(&outages_end) {
                world.lock().outage.take_if(|_| *end <= Instant::now());
            }
            if dice.one_in(8) {
                let (outage, time) = (any_outage(&mut dice), dice.millis(1_000, 40_000));
                let mut world = world.lock();
                world.note(format!("{outage:?} for {time:?}"));
                world.outage = Some(outage);
                outages_end[picked] = Instant::now() + time;
                outcome.source_outages += 1;
            }
        }
        if rng.below(3) > 0 {
            let count = 1 + rng.below(6);
            world.lock().write(count);
        }
        // Only a member that saw the group before its deletion knows that it existed.
        let whole = worlds.iter().all(|world| world.lock().unsaved.is_empty());
        match rng.below(60) {
            0 | 1 if whole => outcome.kills += u64::from(cast.kill(&mut rng)),
            2 if whole => cast.leave(&mut rng),
            3 | 4 if whole && cast.processes.len() < 4 => cast.add(),
            5 => cast.cut_off(&mut rng),
            6 => {
                let outage = rng.millis(500, 40_000);
                for world in &worlds {
                    let mut world = world.lock();
                    world.note(format!("the SIEM is away for {outage:?}"));
                    world.destination_down_until = Instant::now() + outage;
                }
                outcome.outages += 1;
            }
            7 => cast.evict(&mut rng, world),
            8 | 9 => world.lock().reshard(rng.one_in(2)),
            10 => {
                let spell = rng.millis(500, 20_000);
                for world in &worlds {
                    let mut world = world.lock();
                    world.note(format!("the disk is full for {spell:?}"));
                    world.disk_full_until = Instant::now() + spell;
                }
            }
            11 => {
                let sleep = rng.millis(1_000, 60_000);
                World::all_sleep(&worlds, sleep).await;
                outcome.sleeps += 1;
            }
            12 => world.lock().set_back(),
            13 => {
                let mut world = world.lock();
                let shards = world.logstore().shards().len() as u64;
                world.expire(rng.below(shards) as u32, rng.below(4));
            }
            14 if whole && cast.stays() => world.lock().delete_group(),
            15..18 => {
                let outage = rng.millis(500, 60_000);
                let archives = world.lock().archives.len() as u64;
                if archives > 0 {
                    let number = rng.below(archives) as usize;
                    let is_slow = rng.one_in(4);
                    for world in &worlds {
                        let mut world = world.lock();
                        let archive = &mut world.archives[number];
                        let (name, until) = (archive.name, Instant::now() + outage);
                        *(if is_slow { &mut archive.slow_until } else { &mut archive.down_until }) = until;
                        world.note(format!("{name} is {} for {outage:?}", if is_slow { "slow" } else { "away" }));
                    }
                }
            }
            18..23 => {
                let mut world = world.lock();
                if let Some(cluster) = &world.cluster {
                    let indexer = rng.below(cluster.len() as u64) as usize;
                    let time = rng.millis(0, 30_000);
                    match rng.below(5) {
                        0 => world.slow_down(indexer, time),
                        1 => world.fall_silent(indexer, time),
                        2 => world.acknowledge_nothing(indexer, 2 * time),
                        _ => world.die(indexer, time),
                    }
                }
            }
            _ => {}
        }
        cast.look_after();
    }

    // All faults are over: everything must arrive and be saved soon.
    for world in &worlds {
        let mut world = world.lock();
        world.trouble = false;
        world.outage = None;
        world.destination_down_until = Instant::now();
        for archive in &mut world.archives {
            (archive.down_until, archive.slow_until) = (Instant::now(), Instant::now());
        }
        world.recover();
        world.disk_full_until = Instant::now();
        world.note("the trouble is over");
    }
    if cast.processes.is_empty() {
        cast.add();
    }
    let patience = Instant::now() + 2 * (GROUP_TIMEOUT + ACK_TIMEOUT) + Duration::from_secs(90);
    let is_done = |world: &World| {
        let mut world = world.lock();
        world.missing() == 0 && world.all_saved()
    };
    while Instant::now() < patience {
        sleep(Duration::from_secs(1)).await;
        cast.look_after();
        if cast.processes.is_empty() {
            cast.add();
        }
        if worlds.iter().all(is_done) {
            break;
        }
    }
    outcome.several = u64::from(worlds.len() > 1);
    worlds.iter().for_each(|world| outcome.end(world));
    // Of all sources, as they share the files.
    outcome.dead_letters = worlds[0].lock().on_disk.len() as u64;
    outcome.trace.sort_by_key(|line| line.split_ascii_whitespace().next().and_then(|at| at.parse::<u64>().ok()));
    outcome
}

/// The world of each source, all with the same destinations.
fn begin(seed: u64, rng: &mut Rng, dice: &mut Rng) -> Vec<World> {
    let shards = 1 + rng.below(4) as u32;
    let worlds = match seed % SEVERAL {
        3 => {
            let more = 1 + dice.below(3) as usize;
            let sources = SOURCES[..=more].iter().map(|name| (*name, 1 + dice.below(3) as u32));
            World::several(seed, &sources.collect::<Vec<_>>())
        }
        _ => vec![World::new(seed, shards)],
    };
    let (ordered, keeps_prefix) = (rng.one_in(2), rng.one_in(2));
    let names = &["archive", "lake"][..rng.below(3) as usize];
    let archives: Vec<_> = names.iter().map(|name| (*name, rng.below(3) > 0, rng.one_in(3))).collect();
    let routed = rng.one_in(2);
    let cluster = rng.one_in(2).then(|| Cluster::any(rng));
    let mut cluster = cluster.filter(|_| worlds.len() == 1);
    let start = if rng.one_in(2) { Start::End } else { Start::Begin };
    let on_error = [OnError::DeadLetter, OnError::DeadLetter, OnError::Pass, OnError::Drop][rng.below(4) as usize];
    for world in &worlds {
        let mut world = world.lock();
        (world.ordered, world.keeps_prefix, world.routed) = (ordered, keeps_prefix, routed);
        world.archives =
            archives.iter().map(|(name, isolated, refuses)| Archive::new(name, *isolated, *refuses)).collect();
        world.cluster = cluster.take();
        let cluster = world.cluster.as_ref().map(|cluster| (cluster.front, cluster.acks, cluster.max_body));
        world.note(format!("the cluster: {cluster:?}"));
        (world.start, world.on_error) = (start, on_error);
    }
    worlds
}

pub fn any_outage(dice: &mut Rng) -> Outage {
    [Outage::Throttled, Outage::Expired, Outage::Deleted, Outage::Slow][dice.below(4) as usize]
}

impl Outcome {
    /// Adds what happened in a world, and what must not be so at the end.
    fn end(&mut self, world: &World) {
        let mut inner = world.lock();
        let missing = inner.missing();
        if missing > 0 {
            inner.violation(format!("{missing} events never arrived, on disk or in the SIEM"));
        } else if !inner.all_saved() {
            inner.violation("everything arrived, but not every checkpoint came to its end");
        }
        self.logs += inner.logs;
        self.lost_replies += inner.lost_replies;
        self.late_saves += inner.late_saves;
        self.breakdowns += inner.breakdowns;
        self.deletions += inner.deletions;
        self.ends = u64::from(inner.start == Start::End);
        if let Some(cluster) = &inner.cluster {
            self.clusters = 1;
            self.indexed = cluster.indexed;
            self.queues_lost = cluster.lost;
        }
        self.routed = u64::from(inner.routed);
        self.replayed += inner.replayed;
        self.unanswered += inner.unanswered.len() as u64;
        self.cuts += inner.cuts.values().sum::<u64>();
        self.missed += inner.archives.iter().map(|archive| archive.missed.len() as u64).sum::<u64>();
        self.full_disks += inner.full_disks;
        self.repeats += inner.arrived.values().map(|times| u64::from(times - 1)).sum::<u64>();
        self.violations.append(&mut inner.violations);
        self.trace.append(&mut inner.trace);
    }
}

/// The processes, each with a member for every source.
struct Cast {
    worlds: Vec<World>,
    processes: Vec<Vec<Member>>,
    born: u32,
}

impl Cast {
    fn add(&mut self) {
        self.born += 1;
        self.start(&format!("m{}", self.born));
    }

    fn start(&mut self, name: &str) {
        self.processes.push(match &self.worlds[..] {
            [world] => vec![Member::start(world, name)],
            worlds => {
                let process = Process::new(name, BYTES, worlds);
                worlds.iter().map(|world| Member::start_in(&process, world)).collect()
            }
        });
    }

    /// Whether there are members, and all have joined and none is about to leave.
    fn stays(&self) -> bool {
        !self.processes.is_empty() && self.processes.iter().flatten().all(Member::stays)
    }

    fn any(&self, rng: &mut Rng) -> Option<usize> {
        (!self.processes.is_empty()).then(|| rng.below(self.processes.len() as u64) as usize)
    }

    fn any_name(&self, rng: &mut Rng) -> Option<String> {
        self.any(rng).map(|index| self.processes[index][0].name.clone())
    }

    fn note(&self, what: &str) {
        self.worlds.iter().for_each(|world| world.lock().note(what));
    }

    fn kill(&mut self, rng: &mut Rng) -> bool {
        let Some(index) = self.any(rng) else { return false };
        let process = self.processes.remove(index);
        let name = process[0].name.clone();
        self.note(&format!("{name} is killed"));
        let again = rng.one_in(3);
        drop(process);
        // A process that restarts under its old name gets its shards back at once.
        if again {
            self.start(&name);
        }
        true
    }

    fn leave(&mut self, rng: &mut Rng) {
        if let Some(index) = self.any(rng) {
            self.note(&format!("{} is asked to leave", self.processes[index][0].name));
            self.processes[index].iter().for_each(Member::leave);
        }
    }

    fn cut_off(&mut self, rng: &mut Rng) {
        if let Some(name) = self.any_name(rng) {
            let length = rng.millis(1_000, 60_000);
            self.note(&format!("{name} is cut off for {length:?}"));
            for world in &self.worlds {
                world.lock().cut_off.insert(name.clone(), Instant::now() + length);
            }
        }
    }

    fn evict(&mut self, rng: &mut Rng, world: &World) {
        if let Some(name) = self.any_name(rng) {
            let mut world = world.lock();
            world.note(format!("{name} is evicted"));
            world.thrown_out.insert(name.clone(), Instant::now() + GROUP_TIMEOUT);
            if let Ok((group, shards)) = world.logstore().group_mut(GROUP) {
                group.evict(&name, shards);
            }
        }
    }

    /// Checks the ledgers, and drops processes that have ended.
    fn look_after(&mut self) {
        for (number, world) in self.worlds.iter().enumerate() {
            let mut world = world.lock();
            for member in self.processes.iter().map(|process| &process[number]) {
                let counts = member.counts();
                if counts.difference() != 0 {
                    world.violation(format!("ledger mismatch of {}: {}", member.name, counts.difference()));
                }
                world.cuts.insert(member.name.clone(), counts.cuts);
                let taken = world.taken_from.get(&member.name).copied().unwrap_or_default();
                if counts.events > taken {
                    let (name, events) = (&member.name, counts.events);
                    world.violation(format!("{name} counts {events} events as delivered, and {taken} arrived"));
                }
            }
            let now = Instant::now();
            world.cut_off.retain(|_, until| now < *until);
        }
        // A process ends when one of its sources ends without having been asked to.
        self.processes.retain_mut(|process| {
            let ended = process.iter_mut().filter_map(|member| member.has_ended().then_some(member.is_leaving()));
            let ended: Vec<bool> = ended.collect();
            ended.iter().all(|asked| *asked) && ended.len() < process.len()
        });
    }
}
