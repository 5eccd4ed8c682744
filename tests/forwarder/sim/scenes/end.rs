//! Members whose source has an end.

use super::*;

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
