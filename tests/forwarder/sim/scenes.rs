//! One fault per test: each test causes one thing that can go wrong with a consumer group, and checks the effect. The
//! numbers are those of docs/reliability.md.

use std::time::Duration;

use forwarder::core::cursor::Start;
use forwarder::group::Drained;
use tokio::time::{Instant, sleep};

use super::member::{DRAIN, Member};
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

/// Writes to all shards while `change` happens, in an ordered group with two members and with a SIEM that starts
/// slowly. The world checks that no child is worked on before its parents are finished.
async fn in_order(change: impl Fn(&mut Inner)) {
    let world = calm(2);
    world.lock().ordered = true;
    write(&world, 20);
    let _a = Member::start(&world, "a");
    let _b = Member::start(&world, "b");
    world.lock().destination_down_until = Instant::now() + GROUP_TIMEOUT;
    let mut since = 0;
    let begun = Instant::now();
    while since < 30 {
        assert!(begun.elapsed() < 10 * GROUP_TIMEOUT, "one member keeps both shards");
        write(&world, 2);
        // By then, each of the two shards has a different holder.
        let [zero, one] = [0, 1].map(|shard| world.lock().holder(shard));
        let apart = zero.is_some() && one.is_some() && zero != one;
        if since == 0 && apart {
            change(&mut world.lock());
        }
        since += u32::from(since > 0 || apart);
        seconds(1).await;
    }
    settled(&world).await;
    let mut world = world.lock();
    let shards: Vec<(u32, Vec<u32>)> =
        world.logstore().shards().values().map(|shard| (shard.id, shard.parents.clone())).collect();
    let children: Vec<_> = shards.into_iter().filter(|(_, parents)| !parents.is_empty()).collect();
    assert!(!children.is_empty());
    for (child, parents) in children {
        assert!(parents.iter().all(|parent| world.is_over(*parent)));
        assert!(world.checkpoint(child).is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn f15_the_children_of_a_split_wait_until_their_parent_is_saved_to_its_end() {
    in_order(|world| world.reshard(false)).await;
}

#[tokio::test(start_paused = true)]
async fn f16_a_merged_shard_waits_for_both_of_its_parents_whoever_holds_them() {
    in_order(|world| {
        let now = world.now();
        let [merged, ..] = world.logstore().merge(0, now).unwrap();
        assert_eq!(world.logstore().shards()[&merged].parents.len(), 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn f17_a_shard_that_is_gone_is_released_and_looked_up_at_most_once_per_heartbeat() {
    let world = calm(2);
    let _a = Member::start(&world, "a");
    seconds(30).await;
    world.lock().gone.insert(1);
    let lookups = |world: &World| world.lock().calls[&Call::Checkpoint];
    let before = lookups(&world);
    seconds(300).await;
    let calls = lookups(&world) - before;
    // The other shard's checkpoint is read every 20 seconds.
    assert!((25..=32 + 15).contains(&calls), "{calls} lookups within 30 heartbeats");
    assert_eq!(world.lock().holder(0).as_deref(), Some("a"), "the other shard is not touched");
    no_beat_was_missed(&world, "a");
}

#[tokio::test(start_paused = true)]
async fn f18_a_read_only_shard_is_saved_at_its_end_even_if_it_never_had_a_log() {
    let world = calm(1);
    world.lock().ordered = true;
    let _a = Member::start(&world, "a");
    seconds(30).await;
    world.lock().reshard(false);
    until(&world, "the parent is finished", GROUP_TIMEOUT, |world| world.is_over(0)).await;
    write(&world, 6);
    settled(&world).await;
}

#[tokio::test(start_paused = true)]
async fn f18_a_read_only_shard_whose_rest_has_expired_is_finished() {
    let world = calm(1);
    world.lock().ordered = true;
    write(&world, 5);
    {
        let _a = Member::start(&world, "a");
        settled(&world).await;
    }
    write(&world, 5);
    world.lock().reshard(false);
    world.lock().expire(0, 10);
    let _b = Member::start(&world, "b");
    until(&world, "the parent is finished", 3 * GROUP_TIMEOUT, |world| world.is_over(0)).await;
    settled(&world).await;
}

#[tokio::test(start_paused = true)]
async fn f20_a_shard_continues_from_a_checkpoint_that_an_operator_set_back() {
    for idle in [true, false] {
        let world = calm(1);
        let _a = Member::start(&world, "a");
        write(&world, 10);
        settled(&world).await;
        seconds(10).await;
        let events = world.lock().arrived.len() as u64;
        let begin = world.lock().logstore().shards()[&0].begin();
        world.lock().reset(0, begin);
        if !idle {
            write(&world, 1);
        }
        // The checkpoint of an idle shard is read once a minute.
        seconds(if idle { 70 } else { 10 }).await;
        settled(&world).await;
        // Logs that arrive before the change is noticed are delivered, and repeated after it.
        let between = world.lock().arrived.len() as u64 - events;
        assert_eq!(repeats(&world), events + between, "everything since then comes again, once; idle: {idle}");
    }
}

#[tokio::test(start_paused = true)]
async fn f22_a_deleted_group_is_created_again_and_nothing_is_missed() {
    for start in [Start::Begin, Start::End] {
        let world = calm(2);
        world.lock().start = start;
        let _a = Member::start(&world, "a");
        seconds(5).await;
        write(&world, 10);
        settled(&world).await;
        // Logs in flight when the group is deleted have not been delivered.
        world.lock().destination_down_until = Instant::now() + HOUR;
        write(&world, 10);
        seconds(5).await;
        world.lock().delete_group();
        write(&world, 10);
        seconds(30).await;
        world.lock().destination_down_until = Instant::now();
        settled(&world).await;
        assert_eq!(repeats(&world), 0, "{start:?}: it goes on from where it was");
    }
}

#[tokio::test(start_paused = true)]
async fn f22_a_group_deleted_while_two_members_share_it_loses_nothing() {
    for start in [Start::Begin, Start::End] {
        let world = calm(4);
        world.lock().start = start;
        let _a = Member::start(&world, "a");
        seconds(5).await;
        write(&world, 10);
        let _b = Member::start(&world, "b");
        seconds(60).await;
        for _ in 0..3 {
            world.lock().destination_down_until = Instant::now() + HOUR;
            write(&world, 20);
            seconds(5).await;
            world.lock().reshard(false);
            world.lock().delete_group();
            write(&world, 20);
            seconds(30).await;
            world.lock().destination_down_until = Instant::now();
            settled(&world).await;
        }
    }
}

/// Another member, or an operator, creates the group again before the next heartbeat shows that it was deleted.
#[tokio::test(start_paused = true)]
async fn f22_a_lost_checkpoint_is_saved_again_by_the_holder_of_its_shard() {
    let world = calm(1);
    world.lock().start = Start::End;
    let _a = Member::start(&world, "a");
    seconds(5).await;
    write(&world, 10);
    settled(&world).await;
    {
        let mut world = world.lock();
        world.delete_group();
        let now = world.now();
        world.logstore().create_group(GROUP, GROUP_TIMEOUT, false).unwrap();
        world.logstore().heartbeat(GROUP, "a", &[].into(), now).unwrap();
    }
    write(&world, 10);
    settled(&world).await;
    assert_eq!(noted(&world, "a beats {}"), 1, "it never had to join again");
    assert_eq!(repeats(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn f23_start_at_the_end_means_the_creation_of_the_group_however_late_a_shard_is_acquired() {
    let world = calm(1);
    world.lock().start = Start::End;
    write(&world, 10);
    seconds(2).await;
    world.lock().failing.insert(("a".into(), Call::Checkpoint), Instant::now() + GROUP_TIMEOUT);
    let _a = Member::start(&world, "a");
    seconds(5).await;
    write(&world, 10);
    seconds(60).await;
    settled(&world).await;
    assert!(world.lock().arrived.len() > 10, "what was written since it joined is read");
}

#[tokio::test(start_paused = true)]
async fn f23_without_a_checkpoint_it_starts_where_the_settings_say() {
    for (start, old_logs) in [(Start::Begin, true), (Start::End, false)] {
        let world = calm(1);
        world.lock().start = start;
        write(&world, 10);
        let old = world.lock().missing();
        // SLS counts in whole seconds.
        seconds(2).await;
        let _a = Member::start(&world, "a");
        seconds(30).await;
        assert_eq!(world.lock().missing(), 0, "the old logs are not expected at the end");
        assert_eq!(world.lock().arrived.is_empty(), !old_logs);
        write(&world, 10);
        settled(&world).await;
        assert!(old > 0);
    }
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
async fn f11_f22_a_group_recreated_with_a_shorter_timeout_gets_faster_heartbeats_and_is_left_in_time() {
    let world = calm(2);
    let _a = Member::start(&world, "a");
    write(&world, 5);
    settled(&world).await;
    let timeout = GROUP_TIMEOUT / 6;
    {
        let mut world = world.lock();
        world.delete_group();
        world.logstore().create_group(GROUP, timeout, false).unwrap();
    }
    seconds(15).await;
    let dropped = noted(&world, "a beats {}");
    for _ in 0..60 {
        write(&world, 1);
        seconds(1).await;
    }
    assert_eq!(noted(&world, "a beats {}"), dropped, "it is never late for the new timeout");

    let _b = Member::start(&world, "b");
    seconds(30).await;
    world.lock().destination_down_until = Instant::now() + timeout;
    write(&world, 10);
    world.lock().failing.insert(("a".into(), Call::Heartbeat), Instant::now() + HOUR);
    until(&world, "b has both shards", 3 * timeout, |world| {
        world.write(1);
        (0..2).all(|shard| world.holder(shard).as_deref() == Some("b"))
    })
    .await;
    seconds(10).await;
    settled(&world).await;
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

#[tokio::test(start_paused = true)]
async fn f83_a_shard_task_that_panics_restarts_from_its_checkpoint_and_affects_no_other() {
    for call in [Call::Checkpoint, Call::Pull, Call::Send, Call::Keep, Call::Save] {
        let world = calm(2);
        let mut a = Member::start(&world, "a");
        write(&world, 20);
        seconds(25).await;
        world.lock().breaking.insert(("a".into(), call), 1);
        // These logs are of all kinds.
        write(&world, 100);
        settled(&world).await;
        assert_eq!(noted(&world, "breaks down"), 1, "{call:?}");
        let counts = a.counts();
        assert_eq!((a.has_ended(), counts.difference(), counts.in_flight), (false, 0, 0), "{call:?}");
        no_beat_was_missed(&world, "a");
    }
}

#[tokio::test(start_paused = true)]
async fn f83_a_member_whose_tasks_all_panic_ends_and_one_that_makes_progress_does_not() {
    let world = calm(2);
    let mut a = Member::start(&world, "a");
    write(&world, 20);
    settled(&world).await;
    world.lock().breaking.insert(("a".into(), Call::Send), u32::MAX);
    write(&world, 20);
    seconds(60).await;
    assert_eq!((a.drained(), a.has_ended()), (Some(Drained::Broken), true));
    let _b = Member::start(&world, "b");
    settled(&world).await;
    assert_eq!(repeats(&world), 0, "nothing was sent");

    // The member panics again and again, and logs are completed in between.
    let world = calm(1);
    let mut a = Member::start(&world, "a");
    for round in 0..180 {
        if round % 15 == 0 {
            world.lock().breaking.insert(("a".into(), Call::Pull), 1);
        }
        write(&world, 1);
        seconds(1).await;
    }
    assert_eq!((a.drained(), a.has_ended()), (None, false));
    assert!(noted(&world, "breaks down") > 10);
    world.lock().breaking.clear();
    settled(&world).await;
}

#[tokio::test(start_paused = true)]
async fn f83_a_member_whose_heartbeat_task_panics_drops_everything_and_ends() {
    let world = calm(1);
    let mut a = Member::start(&world, "a");
    write(&world, 20);
    settled(&world).await;
    world.lock().destination_down_until = Instant::now() + HOUR;
    write(&world, 20);
    world.lock().breaking.insert(("a".into(), Call::Heartbeat), 1);
    seconds(12).await;
    assert_eq!((a.drained(), a.has_ended()), (Some(Drained::Cut), true));
    world.lock().destination_down_until = Instant::now();
    let _b = Member::start(&world, "b");
    settled(&world).await;
    assert_eq!(repeats(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn members_stop_by_themselves_once_everything_before_the_end_is_delivered_and_nothing_after_it() {
    for ordered in [false, true] {
        let world = calm(3);
        world.lock().ordered = ordered;
        write(&world, 20);
        world.lock().reshard(false);
        write(&world, 20);
        seconds(2).await;
        world.lock().close();
        write(&world, 20);
        world.lock().reshard(false);
        write(&world, 20);
        let mut members = [Member::start(&world, "a"), Member::start(&world, "b")];
        let begun = Instant::now();
        while !members.iter_mut().all(Member::has_ended) {
            assert!(begun.elapsed() < 10 * GROUP_TIMEOUT, "{}", world.lock().trace.join("\n"));
            world.lock().write(1);
            seconds(1).await;
        }
        assert!(members.iter().all(|member| member.drained() == Some(Drained::Clean)));
        let mut world = world.lock();
        assert_eq!(world.arrived_late(), Vec::<String>::new());
        world.forget_late();
        assert_eq!((world.missing(), world.violations.clone()), (0, vec![]), "{}", world.trace.join("\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_future_end_is_waited_for_and_a_killed_member_leaves_it_to_the_others() {
    let world = calm(2);
    let end = world.lock().now().as_secs() as i64 + 60;
    world.lock().until = Some(end);
    let a = Member::start(&world, "a");
    let mut b = Member::start(&world, "b");
    for second in 0..120 {
        world.lock().write(2);
        seconds(1).await;
        assert!(second > 50 || !b.has_ended(), "it ended after {second} s");
        if second == 30 {
            world.lock().note("a is killed");
        }
    }
    drop(a);
    let begun = Instant::now();
    while !b.has_ended() {
        assert!(begun.elapsed() < 10 * GROUP_TIMEOUT, "{}", world.lock().trace.join("\n"));
        seconds(1).await;
    }
    let mut world = world.lock();
    assert_eq!(world.arrived_late(), Vec::<String>::new());
    world.forget_late();
    assert_eq!((world.missing(), world.violations.clone()), (0, vec![]), "{}", world.trace.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn an_end_is_kept_through_faults() {
    for seed in 1..=20 {
        let world = World::new(seed, 3);
        world.lock().ordered = seed % 2 == 0;
        write(&world, 30);
        seconds(2).await;
        world.lock().close();
        let mut members: Vec<Member> = (0..2).map(|number| Member::start(&world, &format!("m{number}"))).collect();
        let begun = Instant::now();
        let mut kills = 3;
        while !members.iter_mut().all(Member::has_ended) {
            // Late logs keep coming.
            world.lock().write(1);
            sleep(Duration::from_millis(700)).await;
            if kills > 0 && world.lock().rng.one_in(10) {
                kills -= 1;
                let name = members.remove(0).name;
                members.push(Member::start(&world, &format!("{name}x")));
            }
            if begun.elapsed() > 2 * HOUR {
                panic!("seed {seed}\n{}", world.lock().trace.join("\n"));
            }
        }
        let mut world = world.lock();
        assert_eq!(world.arrived_late(), Vec::<String>::new(), "seed {seed}");
        world.forget_late();
        assert_eq!((world.missing(), world.violations.clone()), (0, vec![]), "seed {seed}\n{}", world.trace.join("\n"));
    }
}
