//! A cluster of collectors, with one fault per test: the effect on the events and the checkpoint.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::collectors::{ACK_TIMEOUT, Cluster, Front};
use super::member::Member;
use super::scenes::{HOUR, calm, noted, repeats, seconds, settled, until, write};
use super::source::GROUP_TIMEOUT;
use super::world::World;

/// A logstore and a cluster without random faults.
fn cluster(shards: u32, weights: &[u32], change: impl FnOnce(&mut Cluster)) -> World {
    let world = calm(shards);
    let mut cluster = Cluster::of(weights);
    change(&mut cluster);
    world.lock().cluster = Some(cluster);
    world
}

/// How many events each indexer has accepted.
fn taken_by(world: &World) -> Vec<u64> {
    world.lock().cluster.as_ref().unwrap().taken_by.clone()
}

fn checkpoints(world: &World, shards: u32) -> Vec<Option<i64>> {
    (0..shards).map(|shard| world.lock().checkpoint(shard)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_waits_until_the_events_are_indexed() {
    let world = cluster(1, &[1], |cluster| cluster.indexed_after = ACK_TIMEOUT / 2);
    let _a = Member::start(&world, "a");
    seconds(5).await;
    let before = checkpoints(&world, 1);
    write(&world, 5);
    until(&world, "events are accepted", GROUP_TIMEOUT, |world| world.cluster.as_ref().unwrap().taken_by[0] > 10).await;
    seconds(5).await;
    assert_eq!(checkpoints(&world, 1), before, "accepted is not indexed");
    settled(&world).await;
    assert_eq!(repeats(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn events_that_die_with_the_queue_of_an_indexer_are_sent_again() {
    for weights in [&[1][..], &[1, 1, 1]] {
        let world = cluster(2, weights, |cluster| cluster.indexed_after = Duration::from_secs(3));
        let _a = Member::start(&world, "a");
        seconds(5).await;
        for _ in 0..20 {
            write(&world, 5);
            sleep(Duration::from_millis(1_500)).await;
            let dead = world.lock().rng.below(weights.len() as u64) as usize;
            world.lock().die(dead, Duration::ZERO);
        }
        settled(&world).await;
        assert!(world.lock().cluster.as_ref().unwrap().lost > 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_fails_confirms_nothing() {
    let world = cluster(1, &[1], |_| ());
    let _a = Member::start(&world, "a");
    write(&world, 5);
    settled(&world).await;
    let before = checkpoints(&world, 1);
    world.lock().cluster.as_mut().unwrap().polls_fail_until = Instant::now() + HOUR;
    world.lock().cluster.as_mut().unwrap().indexed_after = HOUR;
    write(&world, 5);
    seconds(300).await;
    assert_eq!(checkpoints(&world, 1), before);
    {
        let mut world = world.lock();
        let cluster = world.cluster.as_mut().unwrap();
        (cluster.polls_fail_until, cluster.indexed_after) = (Instant::now(), Duration::from_secs(1));
    }
    settled(&world).await;
}

/// While the client makes its first requests, the send of the first event is still to come: the machine may sleep then.
#[tokio::test(start_paused = true)]
async fn f10_a_machine_that_slept_before_its_first_event_does_not_send_it() {
    for moment in 0..100 {
        let world = cluster(1, &[1], |_| ());
        write(&world, 5);
        let _a = Member::start(&world, "a");
        sleep(Duration::from_millis(2 * moment)).await;
        world.sleeps(2 * GROUP_TIMEOUT).await;
        settled(&world).await;
    }
}

#[tokio::test(start_paused = true)]
async fn events_go_to_the_members_by_their_weights() {
    let world = cluster(1, &[1, 3], |cluster| cluster.acks = false);
    let _a = Member::start(&world, "a");
    for _ in 0..100 {
        write(&world, 1);
        seconds(2).await;
    }
    settled(&world).await;
    let taken = taken_by(&world);
    assert!(taken[1] > 2 * taken[0] && taken[1] < 4 * taken[0], "{taken:?}");
}

#[tokio::test(start_paused = true)]
async fn members_that_are_down_silent_or_slow_delay_no_other_and_get_their_share_again_on_recovery() {
    type Trouble = fn(&mut super::world::Inner);
    let troubles: [(&str, Trouble); 3] = [
        ("down", |world| world.die(0, Duration::from_secs(120))),
        ("silent", |world| world.fall_silent(0, Duration::from_secs(120))),
        ("slow", |world| world.slow_down(0, Duration::from_secs(120))),
    ];
    for (name, trouble) in troubles {
        let world = cluster(4, &[1, 1, 1], |_| ());
        let _a = Member::start(&world, "a");
        write(&world, 20);
        settled(&world).await;
        trouble(&mut world.lock());
        let before = taken_by(&world);
        for _ in 0..100 {
            write(&world, 2);
            seconds(1).await;
        }
        let during: Vec<u64> = taken_by(&world).iter().zip(&before).map(|(now, before)| now - before).collect();
        assert!(3 * during[0] < during[1], "{name}: {during:?}");
        assert!(during.iter().sum::<u64>() > 500, "{name}: {during:?}");
        seconds(60).await;
        let before = taken_by(&world);
        for _ in 0..60 {
            write(&world, 4);
            seconds(1).await;
        }
        let after: Vec<u64> = taken_by(&world).iter().zip(&before).map(|(now, before)| now - before).collect();
        assert!(2 * after[0] > after[1], "{name}: {after:?}");
        settled(&world).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_acknowledges_nothing_gets_only_probes_and_delays_no_checkpoint_until_it_does_again() {
    let world = cluster(4, &[1, 1, 1], |_| ());
    let _a = Member::start(&world, "a");
    write(&world, 20);
    settled(&world).await;
    world.lock().acknowledge_nothing(0, HOUR);
    for _ in 0..60 {
        write(&world, 2);
        seconds(1).await;
    }
    settled(&world).await;
    let (before, repeats_before) = (taken_by(&world), repeats(&world));
    for _ in 0..60 {
        write(&world, 2);
        seconds(1).await;
    }
    write(&world, 2);
    let caught_up = |world: &mut super::world::Inner| world.missing() == 0 && world.all_saved();
    until(&world, "no checkpoint waits for a probe", Duration::from_secs(5), caught_up).await;
    let during: Vec<u64> = taken_by(&world).iter().zip(&before).map(|(now, before)| now - before).collect();
    assert!((1..=15).contains(&during[0]) && during[1] > 100 && during[2] > 100, "{during:?}");
    assert!(repeats(&world) - repeats_before <= during[0], "only the probes");
    world.lock().recover();
    let before = taken_by(&world);
    for _ in 0..60 {
        write(&world, 4);
        seconds(1).await;
    }
    let after: Vec<u64> = taken_by(&world).iter().zip(&before).map(|(now, before)| now - before).collect();
    assert!(2 * after[0] > after[1], "{after:?}");
    settled(&world).await;
}

#[tokio::test(start_paused = true)]
async fn if_no_member_acknowledges_an_event_that_is_refused_in_a_probe_is_in_no_other_one() {
    let world = cluster(1, &[1, 1], |_| ());
    world.lock().keeps_prefix = false;
    let _a = Member::start(&world, "a");
    write(&world, 20);
    settled(&world).await;
    (0..2).for_each(|member| world.lock().acknowledge_nothing(member, HOUR));
    write(&world, 30);
    sleep(3 * ACK_TIMEOUT).await;
    // The events before the refused one are sent together with it again.
    world.lock().delete_group();
    let before = world.lock().trace.len();
    sleep(GROUP_TIMEOUT).await;
    world.lock().recover();
    settled(&world).await;
    let trace = world.lock().trace.split_off(before);
    let refused = trace.iter().filter_map(|line| line.split_once("sent 0 of")?.1.split_once(" to indexer"));
    let mut refused: Vec<&str> = refused.map(|(events, _)| events).collect();
    let count = refused.len();
    refused.sort_unstable();
    refused.dedup();
    assert!(count > 3 && refused.len() == count, "{trace:#?}");
}

#[tokio::test(start_paused = true)]
async fn behind_a_load_balancer_everything_is_indexed_with_and_without_cookies() {
    for sticky in [true, false] {
        let front = Front::Balancer { sticky };
        let world = cluster(2, &[1, 1, 1], |cluster| (cluster.front, cluster.max_body) = (front, 30));
        let _a = Member::start(&world, "a");
        for _ in 0..20 {
            write(&world, 5);
            seconds(2).await;
        }
        settled(&world).await;
        let asked = noted(&world, "asks indexer");
        assert!(asked > 0 && taken_by(&world).iter().all(|taken| *taken > 0));
        assert!(!sticky || repeats(&world) == 0);
    }
}
