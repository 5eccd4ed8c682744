//! Several sources in one process, with one destination, script and memory limit: a fault of one does not affect the
//! others.

use std::time::Duration;

use tokio::time::sleep;

use super::member::{Member, Process};
use super::rng::Rng;
use super::scenario::any_outage;
use super::scenes::{seconds, settled, write};
use super::world::{Outage, World};
use super::{SEEDS, setting};

/// Room for the first page of each shard, so that no source has to wait for another at the start.
const BYTES: usize = 64 << 20;

/// How much longer a log of a healthy source may take because of the others.
const DELAY: Duration = Duration::from_secs(1);

/// Sources without random faults in one process. The first one is always healthy.
struct Sources {
    process: Process,
    worlds: Vec<World>,
    members: Vec<Member>,
}

impl Sources {
    /// Starts a healthy source and as many others.
    async fn start(seed: u64, bytes: usize, others: usize) -> Self {
        let names = ["well", "first", "second", "third", "fourth"];
        let worlds = World::several(seed, &names[..=others].iter().map(|name| (*name, 2)).collect::<Vec<_>>());
        worlds.iter().for_each(|world| world.lock().trouble = false);
        let process = Process::new("a", bytes, &worlds);
        let members = worlds.iter().map(|world| Member::start_in(&process, world)).collect();
        seconds(30).await;
        Self { process, worlds, members }
    }

    fn others(&self) -> &[World] {
        &self.worlds[1..]
    }

    /// Ends all outages; every source must deliver and save everything, and its ledger must say so.
    async fn settle(&self) {
        self.worlds.iter().for_each(|world| world.lock().outage = None);
        for (world, member) in self.worlds.iter().zip(&self.members) {
            settled(world).await;
            let (counts, logs) = (member.counts(), world.lock().logs);
            assert_eq!((counts.difference(), counts.in_flight), (0, 0), "{}", world.lock().source);
            // Only what was in flight when a shard was lost is pulled again.
            assert!(counts.pulled >= logs, "{}: each source has its own ledger", world.lock().source);
        }
        assert_eq!(self.members[0].counts().pulled, self.worlds[0].lock().logs);
        assert_eq!(self.process.ledger.total().difference(), 0);
        // A pull of an idle shard holds some memory for a moment.
        let mut moments = 0;
        while self.process.budget.used() > 0 {
            moments += 1;
            assert!(moments < 1_000, "{} bytes are under way", self.process.budget.used());
            sleep(Duration::from_millis(7)).await;
        }
    }
}

/// The trace of a healthy source, to the millisecond, while the other sources of its process have these faults.
async fn trace_beside(outages: &[Outage]) -> Vec<String> {
    let sources = Sources::start(1, BYTES, outages.len()).await;
    for second in 0..50 {
        write(&sources.worlds[0], 3);
        for (outage, world) in outages.iter().zip(sources.others()) {
            write(world, 3);
            world.lock().outage = (5..40).contains(&second).then_some(*outage);
        }
        seconds(1).await;
    }
    settled(&sources.worlds[0]).await;
    let trace = sources.worlds[0].lock().trace.clone();
    sources.settle().await;
    trace
}

#[tokio::test(start_paused = true)]
async fn a_throttled_deleted_slow_or_unauthorized_source_does_not_affect_the_others() {
    let alone = trace_beside(&[]).await;
    let beside = trace_beside(&[Outage::Throttled, Outage::Deleted, Outage::Expired, Outage::Slow]).await;
    let differ = alone.iter().zip(&beside).find(|(alone, beside)| alone != beside);
    assert_eq!(differ, None, "the first step that differs");
    assert_eq!(alone.len(), beside.len());
}

/// The longest time from the write of a log of the healthy source to its arrival, while one to three other sources
/// have outages at random times, or none. The memory is so short that the sources compete for it.
async fn slowest_beside(seed: u64, with_outages: bool) -> Duration {
    let mut dice = Rng::new(seed);
    let (others, bytes) = (1 + dice.below(3) as usize, [256, 512, 1_024][dice.below(3) as usize] << 10);
    let sources = Sources::start(seed, bytes, others).await;
    for _ in 0..60 {
        sources.worlds.iter().for_each(|world| write(world, 3));
        for world in sources.others() {
            match dice.below(12) {
                0 if with_outages => world.lock().outage = Some(any_outage(&mut dice)),
                1 => world.lock().outage = None,
                _ => {}
            }
        }
        seconds(1).await;
    }
    sources.settle().await;
    sources.worlds[0].lock().slowest
}

#[tokio::test(start_paused = true)]
async fn outages_of_other_sources_delay_no_log_of_a_healthy_one_by_more_than_a_second() {
    for seed in 0..setting("FORWARDER_SIM_SEEDS").unwrap_or(SEEDS) / 10 {
        let without = slowest_beside(seed, false).await;
        let with = slowest_beside(seed, true).await;
        assert!(without > Duration::ZERO && with <= without + DELAY, "seed {seed}: {without:?} became {with:?}");
    }
}
