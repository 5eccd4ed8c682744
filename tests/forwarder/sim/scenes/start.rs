//! Where a shard starts: checkpoints that are moved or lost, and groups that are deleted.

use forwarder::core::cursor::Start;

use super::*;

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
