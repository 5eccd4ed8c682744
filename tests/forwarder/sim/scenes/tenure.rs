//! Shards that a member loses, and logs in flight at that moment.

use super::*;
use crate::sim::member::DRAIN;

#[tokio::test(start_paused = true)]
async fn f09_a_shard_stolen_in_the_middle_of_a_batch_is_dropped_and_nothing_of_it_is_saved() {
    let world = calm(1);
    let _a = Member::start(&world, "a");
    let _b = Member::start(&world, "b");
    seconds(60).await;
    let holder = world.lock().holder(0).unwrap();
    let thief = if holder == "a" { "b" } else { "a" };
    world.lock().destination_down_until = Instant::now() + HOUR;
    write(&world, 10);
    seconds(5).await;
    let saves = noted(&world, &format!("{holder} saved"));
    {
        let mut world = world.lock();
        let now = world.now();
        // The holder cannot know before its next heartbeat, and then takes it for a hand-over.
        world.thrown_out.insert(holder.clone(), Instant::now() + BEAT + DRAIN + Duration::from_secs(1));
        let (group, shards) = world.logstore().group_mut(GROUP).unwrap();
        group.assign(0, thief, shards, now).unwrap();
    }
    seconds(15).await;
    world.lock().destination_down_until = Instant::now();
    settled(&world).await;
    assert_eq!(noted(&world, &format!("{holder} saved")), saves, "it saves nothing any more");
    assert!(noted(&world, &format!("{thief} saved")) > 0);
}

/// The guard before every send and save checks the clock: it works even at the moment when a machine wakes and no timer
/// has fired yet.
#[tokio::test(start_paused = true)]
async fn f10_a_machine_that_slept_sends_and_saves_nothing_when_it_wakes() {
    for moment in 0..40 {
        let world = calm(1);
        let _a = Member::start(&world, "a");
        seconds(5).await;
        // Some batches are refused, so that their next attempt is due when the machine wakes.
        world.lock().destination_down_until = Instant::now() + Duration::from_millis(20 * moment);
        write(&world, 10);
        sleep(Duration::from_millis(50 * moment)).await;
        world.sleeps(2 * GROUP_TIMEOUT).await;
        settled(&world).await;
    }
}

#[tokio::test(start_paused = true)]
async fn f11_a_member_whose_heartbeats_fail_stops_before_its_shards_are_reassigned() {
    let world = calm(2);
    let _a = Member::start(&world, "a");
    seconds(60).await;
    let _b = Member::start(&world, "b");
    seconds(60).await;
    world.lock().failing.insert(("a".into(), Call::Heartbeat), Instant::now() + 5 * GROUP_TIMEOUT);
    let took = until(&world, "b has both shards", 2 * GROUP_TIMEOUT, |world| {
        world.write(3);
        (0..2).all(|shard| world.holder(shard).as_deref() == Some("b"))
    })
    .await;
    assert!(took > GROUP_TIMEOUT / 2, "{took:?}");
    seconds(60).await;
    settled(&world).await;
}

#[tokio::test(start_paused = true)]
async fn f12_failing_pulls_affect_neither_heartbeats_nor_the_shard() {
    let world = calm(1);
    let _a = Member::start(&world, "a");
    seconds(30).await;
    world.lock().failing.insert(("a".into(), Call::Pull), Instant::now() + 10 * GROUP_TIMEOUT);
    write(&world, 5);
    seconds(300).await;
    assert!(world.lock().missing() > 0);
    assert_eq!(world.lock().holder(0).as_deref(), Some("a"));
    settled(&world).await;
    no_beat_was_missed(&world, "a");
    assert_eq!(repeats(&world), 0);
    assert_eq!(noted(&world, "a beats {}"), 1, "it never had to join again");
}

#[tokio::test(start_paused = true)]
async fn f74_a_member_killed_in_the_middle_of_a_page_costs_repeats_of_that_page_and_no_log() {
    for kill_after in [1, 4, 9] {
        let world = calm(1);
        world.lock().part_bytes = 1;
        // One page of twelve logs, each a part.
        write(&world, 4);
        let a = Member::start(&world, "a");
        until(&world, "some parts of the page arrive", GROUP_TIMEOUT, |world| world.arrived.len() >= kill_after).await;
        let before = world.lock().arrived.len() as u64;
        world.lock().note("a is killed");
        drop(a);
        let begin = world.lock().logstore().shards()[&0].begin();
        let saved = world.lock().checkpoint(0);
        assert!(saved.is_none_or(|saved| saved == begin), "{}", world.lock().trace.join("\n"));
        let _b = Member::start(&world, "a");
        settled(&world).await;
        let repeats = repeats(&world);
        assert!(repeats > 0 && repeats <= before + 2, "{repeats} repeats of {before}");
    }
}

#[tokio::test(start_paused = true)]
async fn f30_logs_are_not_delivered_while_the_cursor_stands_still_or_goes_back() {
    let world = calm(1);
    let _a = Member::start(&world, "a");
    seconds(30).await;
    for behind in [0, 3] {
        let arrived = world.lock().arrived.len();
        world.lock().cursor_off = Some(behind);
        write(&world, 5);
        seconds(300).await;
        assert_eq!(world.lock().arrived.len(), arrived, "{behind} behind");
        no_beat_was_missed(&world, "a");
        world.lock().cursor_off = None;
        settled(&world).await;
        assert_eq!(repeats(&world), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn f51_a_shard_revoked_while_the_destination_is_down_is_released_in_time_and_pulled_again() {
    let world = calm(2);
    let _a = Member::start(&world, "a");
    seconds(30).await;
    world.lock().destination_down_until = Instant::now() + HOUR;
    write(&world, 10);
    seconds(10).await;
    let saved: Vec<_> = (0..2).map(|shard| world.lock().checkpoint(shard)).collect();
    let _b = Member::start(&world, "b");
    let took = until(&world, "b has a shard", 2 * GROUP_TIMEOUT, |world| {
        (0..2).any(|shard| world.holder(shard).as_deref() == Some("b"))
    })
    .await;
    assert!(took >= DRAIN && took <= DRAIN + 3 * BEAT, "{took:?}");
    let now: Vec<_> = (0..2).map(|shard| world.lock().checkpoint(shard)).collect();
    assert_eq!(now, saved, "nothing was delivered, and nothing saved");
    world.lock().destination_down_until = Instant::now();
    settled(&world).await;
    assert_eq!(repeats(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn f07_saves_that_arrive_late_are_still_recognized_as_ours() {
    let world = calm(1);
    let _a = Member::start(&world, "a");
    write(&world, 5);
    settled(&world).await;
    world.lock().slow_saves = 3;
    for _ in 0..60 {
        write(&world, 1);
        seconds(1).await;
    }
    settled(&world).await;
    assert_eq!(noted(&world, ", late"), 3);
    assert_eq!(repeats(&world), 0, "{}", world.lock().trace.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn the_tenure_of_an_ended_task_forbids_sending() {
    let world = calm(1);
    let _a = Member::start(&world, "a");
    write(&world, 5);
    settled(&world).await;
    world.lock().destination_down_until = Instant::now() + HOUR;
    write(&world, 5);
    seconds(5).await;
    let old = world.lock().last_tenure.clone().unwrap();
    assert!(old.holds());
    let begin = world.lock().logstore().shards()[&0].begin();
    world.lock().reset(0, begin);
    seconds(70).await;
    assert!(!old.holds(), "its task was started anew");
    assert!(world.lock().last_tenure.as_ref().unwrap().holds());
}

#[tokio::test(start_paused = true)]
async fn f72_a_stop_does_not_wait_for_a_heartbeat_that_hangs() {
    let world = calm(1);
    let mut a = Member::start(&world, "a");
    write(&world, 5);
    settled(&world).await;
    world.lock().cut_off.insert("a".into(), Instant::now() + HOUR);
    let beats = world.lock().beats["a"].len();
    until(&world, "a heartbeat hangs", 2 * BEAT, |world| world.beats["a"].len() > beats).await;
    seconds(1).await;
    a.leave();
    seconds(1).await;
    assert_eq!((a.drained(), a.has_ended()), (Some(Drained::Clean), true));
}
