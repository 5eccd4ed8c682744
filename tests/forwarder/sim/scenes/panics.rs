//! Tasks that panic.

use super::*;

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
