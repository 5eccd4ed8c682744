//! The course of one simulation.

use std::time::Duration;

use forwarder::core::cursor::Start;
use forwarder::pipeline::OnError;
use tokio::time::{Instant, sleep};

use super::collectors::{ACK_TIMEOUT, Cluster};
use super::member::Member;
use super::rng::Rng;
use super::source::GROUP_TIMEOUT;
use super::world::{Archive, GROUP, World};

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
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} logs, {} repeats, {} kills, {} replies lost, {} outages, {} dead letters, {} events missed by archives, {} times no room, {} sleeps, {} late saves, {} breakdowns, {} groups deleted, {} starts at the end, {} pages cut, {} events given up, {} letters replayed, {} routed, {} requests lost in a queue, {} events indexed, {} clusters, {} violations",
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
    let world = World::new(seed, 1 + rng.below(4) as u32);
    {
        let mut world = world.lock();
        world.ordered = rng.one_in(2);
        world.keeps_prefix = rng.one_in(2);
        for name in &["archive", "lake"][..rng.below(3) as usize] {
            world.archives.push(Archive::new(name, rng.below(3) > 0, rng.one_in(3)));
        }
        world.routed = rng.one_in(2);
        world.cluster = rng.one_in(2).then(|| Cluster::any(&mut rng));
        let cluster = world.cluster.as_ref().map(|cluster| (cluster.front, cluster.acks, cluster.max_body));
        world.note(format!("the cluster: {cluster:?}"));
        world.start = if rng.one_in(2) { Start::End } else { Start::Begin };
        world.on_error =
            [OnError::DeadLetter, OnError::DeadLetter, OnError::Pass, OnError::Drop][rng.below(4) as usize];
    }
    let mut cast = Cast { world: world.clone(), members: Vec::new(), born: 0 };
    let mut outcome = Outcome::default();
    for _ in 0..=rng.below(3) {
        cast.add();
    }

    let troubled_until = Instant::now() + Duration::from_secs(90);
    while Instant::now() < troubled_until {
        sleep(rng.millis(50, 1_500)).await;
        if rng.below(3) > 0 {
            let count = 1 + rng.below(6);
            world.lock().write(count);
        }
        // Only a member that saw the group before its deletion knows that it existed.
        let whole = world.lock().unsaved.is_empty();
        match rng.below(60) {
            0 | 1 if whole => outcome.kills += u64::from(cast.kill(&mut rng)),
            2 if whole => cast.leave(&mut rng),
            3 | 4 if whole && cast.members.len() < 4 => cast.add(),
            5 => cast.cut_off(&mut rng),
            6 => {
                let outage = rng.millis(500, 40_000);
                let mut world = world.lock();
                world.note(format!("the SIEM is away for {outage:?}"));
                world.destination_down_until = Instant::now() + outage;
                outcome.outages += 1;
            }
            7 => cast.evict(&mut rng),
            8 | 9 => world.lock().reshard(rng.one_in(2)),
            10 => {
                let spell = rng.millis(500, 20_000);
                let mut world = world.lock();
                world.note(format!("the disk is full for {spell:?}"));
                world.disk_full_until = Instant::now() + spell;
            }
            11 => {
                let sleep = rng.millis(1_000, 60_000);
                world.sleeps(sleep).await;
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
                let mut world = world.lock();
                if !world.archives.is_empty() {
                    let number = rng.below(world.archives.len() as u64) as usize;
                    let archive = &mut world.archives[number];
                    let (name, until) = (archive.name, Instant::now() + outage);
                    let is_slow = rng.one_in(4);
                    *(if is_slow { &mut archive.slow_until } else { &mut archive.down_until }) = until;
                    world.note(format!("{name} is {} for {outage:?}", if is_slow { "slow" } else { "away" }));
                }
            }
            18..23 => {
                let mut world = world.lock();
                if let Some(cluster) = &world.cluster {
                    let indexer = rng.below(cluster.len() as u64) as usize;
                    let time = rng.millis(0, 30_000);
                    match rng.below(4) {
                        0 => world.slow_down(indexer, time),
                        1 => world.fall_silent(indexer, time),
                        _ => world.die(indexer, time),
                    }
                }
            }
            _ => {}
        }
        cast.look_after();
    }

    // All faults are over: everything must arrive and be saved soon.
    {
        let mut world = world.lock();
        world.trouble = false;
        world.destination_down_until = Instant::now();
        for archive in &mut world.archives {
            (archive.down_until, archive.slow_until) = (Instant::now(), Instant::now());
        }
        world.recover();
        world.disk_full_until = Instant::now();
        world.note("the trouble is over");
    }
    if cast.members.is_empty() {
        cast.add();
    }
    let patience = Instant::now() + 2 * (GROUP_TIMEOUT + ACK_TIMEOUT) + Duration::from_secs(90);
    while Instant::now() < patience {
        sleep(Duration::from_secs(1)).await;
        cast.look_after();
        if cast.members.is_empty() {
            cast.add();
        }
        let mut world = world.lock();
        if world.missing() == 0 && world.all_saved() {
            break;
        }
    }
    let mut inner = world.lock();
    let missing = inner.missing();
    if missing > 0 {
        inner.violation(format!("{missing} events never arrived, on disk or in the SIEM"));
    } else if !inner.all_saved() {
        inner.violation("everything arrived, but not every checkpoint came to its end");
    }
    outcome.logs = inner.logs;
    outcome.lost_replies = inner.lost_replies;
    outcome.late_saves = inner.late_saves;
    outcome.breakdowns = inner.breakdowns;
    outcome.deletions = inner.deletions;
    outcome.ends = u64::from(inner.start == Start::End);
    if let Some(cluster) = &inner.cluster {
        outcome.clusters = 1;
        outcome.indexed = cluster.indexed;
        outcome.queues_lost = cluster.lost;
    }
    outcome.routed = u64::from(inner.routed);
    outcome.replayed = inner.replayed;
    outcome.unanswered = inner.unanswered.len() as u64;
    outcome.cuts = inner.cuts.values().sum();
    outcome.dead_letters = inner.on_disk.len() as u64;
    outcome.missed = inner.archives.iter().map(|archive| archive.missed.len() as u64).sum();
    outcome.full_disks = inner.full_disks;
    outcome.repeats = inner.arrived.values().map(|times| u64::from(times - 1)).sum();
    outcome.violations = std::mem::take(&mut inner.violations);
    outcome.trace = std::mem::take(&mut inner.trace);
    outcome
}

struct Cast {
    world: World,
    members: Vec<Member>,
    born: u32,
}

impl Cast {
    fn add(&mut self) {
        self.born += 1;
        self.members.push(Member::start(&self.world, &format!("m{}", self.born)));
    }

    /// Whether there are members, and all have joined and none is about to leave.
    fn stays(&self) -> bool {
        !self.members.is_empty() && self.members.iter().all(Member::stays)
    }

    fn any(&self, rng: &mut Rng) -> Option<usize> {
        (!self.members.is_empty()).then(|| rng.below(self.members.len() as u64) as usize)
    }

    fn kill(&mut self, rng: &mut Rng) -> bool {
        let Some(index) = self.any(rng) else { return false };
        let member = self.members.remove(index);
        self.world.lock().note(format!("{} is killed", member.name));
        let again = rng.one_in(3).then(|| member.name.clone());
        drop(member);
        // A member that restarts under its old name gets its shards back at once.
        if let Some(name) = again {
            self.members.push(Member::start(&self.world, &name));
        }
        true
    }

    fn leave(&mut self, rng: &mut Rng) {
        if let Some(index) = self.any(rng) {
            self.world.lock().note(format!("{} is asked to leave", self.members[index].name));
            self.members[index].leave();
        }
    }

    fn cut_off(&mut self, rng: &mut Rng) {
        if let Some(index) = self.any(rng) {
            let length = rng.millis(1_000, 60_000);
            let name = self.members[index].name.clone();
            let mut world = self.world.lock();
            world.note(format!("{name} is cut off for {length:?}"));
            world.cut_off.insert(name, Instant::now() + length);
        }
    }

    fn evict(&mut self, rng: &mut Rng) {
        if let Some(index) = self.any(rng) {
            let name = self.members[index].name.clone();
            let mut world = self.world.lock();
            world.note(format!("{name} is evicted"));
            world.thrown_out.insert(name.clone(), Instant::now() + GROUP_TIMEOUT);
            if let Ok((group, shards)) = world.logstore().group_mut(GROUP) {
                group.evict(&name, shards);
            }
        }
    }

    /// Checks the ledgers, and drops members that have ended.
    fn look_after(&mut self) {
        let mut world = self.world.lock();
        for member in &self.members {
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
        drop(world);
        self.members.retain_mut(|member| !member.has_ended());
    }
}
