//! Several destinations, with one fault per test: the effect on the events of each, and on the checkpoint.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::member::Member;
use super::scenes::{HOUR, calm, repeats, seconds, settled, until, write};
use super::source::GROUP_TIMEOUT;
use super::world::{Archive, World};

/// A logstore, a SIEM and an archive without random faults.
fn with_archive(shards: u32, isolated: bool) -> World {
    let world = calm(shards);
    world.lock().archives.push(Archive::new("archive", isolated, false));
    world
}

fn archive_is_away(world: &World, time: Duration) {
    world.lock().archives[0].down_until = Instant::now() + time;
}

/// Shard, group and number of the log of an event.
fn place(event: &str) -> Vec<u64> {
    event.trim_end_matches(['a', 'b', '!']).split('-').map(|number| number.parse().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn while_an_isolated_destination_is_down_the_checkpoint_moves_and_later_it_catches_up_in_order() {
    let world = with_archive(2, true);
    let _a = Member::start(&world, "a");
    write(&world, 10);
    settled(&world).await;
    archive_is_away(&world, HOUR);
    for _ in 0..60 {
        write(&world, 5);
        seconds(1).await;
    }
    seconds(5).await;
    assert!(world.lock().all_saved(), "the others go on");
    let had = world.lock().archives[0].archived.len();
    world.lock().missing();
    let missed = world.lock().archives[0].missed.clone();
    assert!(missed.len() > 500, "{}", missed.len());
    archive_is_away(&world, Duration::ZERO);
    write(&world, 20);
    until(&world, "it has everything", 10 * GROUP_TIMEOUT, |world| {
        world.missing() == 0
            && world.all_saved()
            && missed.iter().all(|event| world.archives[0].archived.contains(event))
    })
    .await;
    settled(&world).await;
    let archived = world.lock().archives[0].archived.clone();
    let mut last = BTreeMap::new();
    for event in &archived[had..had + missed.len()] {
        assert!(missed.contains(event), "{event} is newer than what was missed");
        let place = place(event);
        let before = last.insert(place[0], place.clone());
        assert!(before.is_none_or(|before| before <= place), "{event} comes too late");
    }
}

#[tokio::test(start_paused = true)]
async fn all_destinations_wait_for_one_that_is_not_isolated_and_nothing_is_missed() {
    let world = with_archive(1, false);
    let _a = Member::start(&world, "a");
    write(&world, 10);
    settled(&world).await;
    let before = world.lock().checkpoint(0);
    archive_is_away(&world, HOUR);
    write(&world, 10);
    seconds(300).await;
    assert_eq!(world.lock().checkpoint(0), before);
    archive_is_away(&world, Duration::ZERO);
    settled(&world).await;
    assert_eq!((repeats(&world), world.lock().archives[0].missed.len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn events_arrive_where_their_log_says_and_nowhere_else() {
    let world = with_archive(2, false);
    world.lock().archives.push(Archive::new("lake", true, true));
    world.lock().routed = true;
    let _a = Member::start(&world, "a");
    write(&world, 200);
    settled(&world).await;
    let world = world.lock();
    let (siem, all) = (world.arrived.len(), world.logs as usize);
    assert!(siem > all / 3 && siem < all && world.archives.iter().all(|archive| archive.archived.len() < all));
}
