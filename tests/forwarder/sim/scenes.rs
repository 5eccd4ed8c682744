//! One fault per test: each test causes one thing that can go wrong with a consumer group, and checks the effect. The
//! numbers are those of docs/reliability.md. Here is what they share.

mod end;
mod panics;
mod shards;
mod start;
mod tenure;

use std::time::Duration;

use forwarder::group::Drained;
use tokio::time::{Instant, sleep};

use super::member::Member;
use super::source::GROUP_TIMEOUT;
use super::world::{Call, GROUP, Inner, World};

pub const HOUR: Duration = Duration::from_secs(3_600);

/// Time between two heartbeats.
pub const BEAT: Duration = GROUP_TIMEOUT.checked_div(3).unwrap();

/// A logstore without random faults.
pub fn calm(shards: u32) -> World {
    let world = World::new(1, shards);
    world.lock().trouble = false;
    world
}

/// Writes groups of three logs, to any shard that takes them.
pub fn write(world: &World, groups: u32) {
    (0..groups).for_each(|_| world.lock().write(3));
}

pub async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

/// Waits for something to become true; returns how long that took.
pub async fn until(
    world: &World,
    what: &str,
    within: Duration,
    mut is_true: impl FnMut(&mut Inner) -> bool,
) -> Duration {
    let begun = Instant::now();
    while !is_true(&mut world.lock()) {
        if begun.elapsed() > within {
            panic!("not within {within:?}: {what}\n{}", world.lock().trace.join("\n"));
        }
        sleep(Duration::from_millis(100)).await;
    }
    begun.elapsed()
}

/// Waits until every log has reached its end and every checkpoint is at the end of its shard; the oracle must have seen
/// no error.
pub async fn settled(world: &World) {
    until(world, "everything arrives and is saved", 10 * GROUP_TIMEOUT, |world| {
        world.missing() == 0 && world.all_saved()
    })
    .await;
    let world = world.lock();
    assert_eq!(world.violations, Vec::<String>::new(), "{}", world.trace.join("\n"));
}

pub fn repeats(world: &World) -> u64 {
    world.lock().arrived.values().map(|times| u64::from(times - 1)).sum()
}

/// The number of trace lines that contain these words.
pub fn noted(world: &World, words: &str) -> usize {
    world.lock().trace.iter().filter(|line| line.contains(words)).count()
}

fn no_beat_was_missed(world: &World, member: &str) {
    let world = world.lock();
    let beats = &world.beats[member];
    let longest = beats.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(longest < BEAT + Duration::from_millis(200), "{longest:?} between two of {} heartbeats", beats.len());
}
