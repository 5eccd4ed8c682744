//! Shards that are split, merged, deleted or read-only.

use super::*;

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
