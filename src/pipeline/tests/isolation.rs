//! An isolated destination that is down while the others continue.

use super::*;
use crate::core::ledger::Wait;
use crate::destination::IsolationMode;

#[tokio::test(start_paused = true)]
async fn while_an_isolated_destination_is_down_the_others_continue_and_it_catches_up_in_order() {
    let bench = start_isolated(500, &numbered(0, 100));
    let [first, second] = &*bench.pipeline.destinations else { panic!("two destinations") };
    *second.destination.down.lock().unwrap() = true;
    seconds(600).await;
    assert_eq!(first.destination.taken.lock().unwrap().len(), 100, "the other one has everything");
    assert_eq!(bench.saved(), Some(100));
    assert_eq!((bench.letters().len(), second.destination.taken.lock().unwrap().len()), (100, 0));
    let counts = bench.counts();
    assert_eq!((counts.delivered, counts.dead_lettered, counts.difference()), (0, 100, 0));
    assert_eq!(
        (second.account.read().missed, second.isolation.as_ref().unwrap().mode()),
        (100, IsolationMode::DeadLettering)
    );
    assert!(bench.letters()[0].message.contains("the destination was down: down"), "{:?}", bench.letters()[0]);
    *second.destination.down.lock().unwrap() = false;
    seconds(30).await;
    let expected: Vec<String> = (0..100).map(|number| format!("{number:03}")).collect();
    assert_eq!(*second.destination.taken.lock().unwrap(), expected, "in order, and each once");
    assert_eq!((bench.letters().len(), second.account.read().replayed), (0, 100));
    assert_eq!(second.isolation.as_ref().unwrap().mode(), IsolationMode::Direct);
    assert_eq!(bench.end().await, ShardEnd::Released);
}

#[tokio::test(start_paused = true)]
async fn events_wait_in_memory_for_an_isolated_destination_up_to_its_share() {
    let bench = start_isolated(1 << 20, &numbered(0, 5));
    let second = &bench.pipeline.destinations[1];
    *second.destination.down.lock().unwrap() = true;
    seconds(600).await;
    assert_eq!((bench.letters().len(), bench.saved()), (0, Some(0)), "there is room for five small pages");
    *second.destination.down.lock().unwrap() = false;
    seconds(5).await;
    assert_eq!((second.destination.taken.lock().unwrap().len(), bench.counts().delivered), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn a_stop_writes_what_waits_for_an_isolated_destination_and_ends_cleanly() {
    let bench = start_isolated(1 << 20, &numbered(0, 5));
    *bench.pipeline.destinations[1].destination.down.lock().unwrap() = true;
    seconds(10).await;
    let (pipeline, memory) = (Arc::clone(&bench.pipeline), bench.memory.clone());
    assert_eq!(bench.end().await, ShardEnd::Released);
    assert_eq!(pipeline.source.saved.lock().unwrap().as_ref().and_then(Cursor::number), Some(5));
    assert_eq!(memory.kept.lock().unwrap().len(), 5, "and is replayed after the next start");
    *pipeline.destinations[1].destination.down.lock().unwrap() = false;
    let again = Bench::on(pipeline, memory);
    seconds(10).await;
    assert_eq!(again.pipeline.destinations[1].destination.taken.lock().unwrap().len(), 5);
    assert!(again.letters().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_full_store_pauses_the_shard_rather_than_let_an_isolated_destination_lose_anything() {
    let bench = start_isolated(1, &numbered(0, 5));
    *bench.memory.full.lock().unwrap() = true;
    *bench.pipeline.destinations[1].destination.down.lock().unwrap() = true;
    seconds(600).await;
    assert_eq!((bench.saved(), bench.counts().dead_lettered), (Some(0), 0));
    *bench.memory.full.lock().unwrap() = false;
    seconds(120).await;
    assert_eq!((bench.saved(), bench.counts().dead_lettered), (Some(5), 5));
}

#[tokio::test(start_paused = true)]
async fn events_that_a_recovered_isolated_destination_rejects_become_its_dead_letters() {
    let bench = start_isolated(1, &[page(&["a:keep", "b:two"])]);
    *bench.pipeline.destinations[0].destination.strict.lock().unwrap() = false;
    *bench.pipeline.destinations[1].destination.down.lock().unwrap() = true;
    seconds(10).await;
    assert_eq!(bench.letters().len(), 3);
    *bench.pipeline.destinations[1].destination.down.lock().unwrap() = false;
    seconds(10).await;
    let letters = bench.letters();
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((letter.reason, letter.event.as_deref()), (Reason::Rejected, Some(b"b!".as_slice())));
    let events = bench.pipeline.destinations[1].account.read();
    assert_eq!((events.missed, events.replayed, events.rejected), (3, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn the_missed_events_of_waiting_batches_are_written_together_in_shard_order() {
    let bench = start_isolated(1, &numbered(0, 100));
    *bench.memory.each.lock().unwrap() = Duration::from_secs(1);
    *bench.pipeline.destinations[1].destination.down.lock().unwrap() = true;
    seconds(60).await;
    assert_eq!(bench.counts().dead_lettered, 100);
    let writes = *bench.memory.writes.lock().unwrap();
    assert!(writes <= 10, "{writes} writes for 100 batches");
    let events: Vec<_> = bench.letters().iter().map(|letter| letter.event.clone().unwrap()).collect();
    assert!(events.is_sorted(), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn while_an_isolated_destination_receives_what_it_missed_the_others_wait_for_nothing() {
    let bench = start_isolated(4_000, &numbered(0, 400));
    let [first, second] = &*bench.pipeline.destinations else { panic!("two destinations") };
    *bench.pipeline.source.trip.lock().unwrap() = Duration::from_secs(1);
    *second.destination.down.lock().unwrap() = true;
    seconds(100).await;
    *second.destination.down.lock().unwrap() = false;
    // It takes 4 minutes for the backlog.
    *second.destination.each.lock().unwrap() = Duration::from_secs(60);
    seconds(120).await;
    assert_eq!(second.isolation.as_ref().unwrap().mode(), IsolationMode::Returning);
    let behind = |taken: usize| 220 - taken as i64;
    assert!(behind(first.destination.taken.lock().unwrap().len()) < 5);
    assert!(220 - bench.saved().unwrap() < 5, "the checkpoint moves: {:?}", bench.saved());
    *second.destination.each.lock().unwrap() = Duration::ZERO;
    seconds(400).await;
    let expected: Vec<String> = (0..400).map(|number| format!("{number:03}")).collect();
    assert_eq!(*second.destination.taken.lock().unwrap(), expected, "in order, and each once");
    assert_eq!(second.isolation.as_ref().unwrap().mode(), IsolationMode::Direct);
    assert!(bench.letters().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_pass_ends_when_the_destination_is_down_for_long_so_that_others_can_replay() {
    let bench = start_isolated(1, &numbered(0, 5));
    let second = &bench.pipeline.destinations[1];
    *second.destination.down.lock().unwrap() = true;
    seconds(10).await;
    // It answers a probe, and takes nothing.
    *second.destination.down.lock().unwrap() = false;
    *second.destination.stuck.lock().unwrap() = Some("000");
    seconds(10).await;
    *second.destination.down.lock().unwrap() = true;
    assert_eq!(
        (second.isolation.as_ref().unwrap().mode(), *bench.memory.claims.lock().unwrap()),
        (IsolationMode::Returning, 1)
    );
    seconds(40).await;
    assert_eq!(
        (second.isolation.as_ref().unwrap().mode(), *bench.memory.claims.lock().unwrap()),
        (IsolationMode::DeadLettering, 0)
    );
    *second.destination.stuck.lock().unwrap() = None;
    *second.destination.down.lock().unwrap() = false;
    seconds(10).await;
    assert_eq!(*second.destination.taken.lock().unwrap(), ["000", "001", "002", "003", "004"]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_waits_until_other_dead_letters_are_written_is_no_silent_wait() {
    // The dead letters of two parts of 4 MiB may be written at the same time; three wait in memory.
    let plan = Plan { isolated: Some(11 << 20), budget: Budget::new(1 << 26), ..Plan::to(2) };
    let bench = start_with(plan, &[many(8, 8, "huge")], OnError::DeadLetter, OnReject::DeadLetter);
    *bench.memory.full.lock().unwrap() = true;
    *bench.pipeline.destinations[1].destination.down.lock().unwrap() = true;
    seconds(60).await;
    let waits = || bench.pipeline.ledger.read()[&bench.name()].waits.clone();
    assert!(waits()[&Wait::Disk].contains("no room"), "{:?}", waits());
    assert!(waits()[&Wait::Write].contains("wait until those of other shards are written"), "{:?}", waits());
    *bench.memory.full.lock().unwrap() = false;
    seconds(120).await;
    assert_eq!((waits(), bench.counts().dead_lettered), (BTreeMap::new(), 8));
}

#[tokio::test(start_paused = true)]
async fn a_write_of_dead_letters_that_takes_long_is_no_silent_wait() {
    let bench = start_isolated(1, &numbered(0, 1));
    *bench.memory.each.lock().unwrap() = Duration::from_secs(60);
    *bench.pipeline.destinations[1].destination.down.lock().unwrap() = true;
    seconds(30).await;
    assert_eq!(bench.standstill().as_deref(), Some("a write of its dead letters takes long"));
    seconds(60).await;
    assert_eq!((bench.standstill(), bench.saved()), (None, Some(1)));
}

#[tokio::test(start_paused = true)]
async fn a_replay_of_another_process_that_delays_the_return_of_a_destination_is_named() {
    let bench = start_isolated(1, &numbered(0, 5));
    let isolation = bench.pipeline.destinations[1].isolation.as_ref().unwrap();
    *bench.memory.busy.lock().unwrap() = true;
    seconds(60).await;
    assert_eq!(isolation.mode(), IsolationMode::Returning, "it is not known whether it missed something");
    let fault = isolation.replay_fault().unwrap();
    assert!(fault.contains("another replay is using the dead letters in /letters"), "{fault}");
    *bench.memory.busy.lock().unwrap() = false;
    seconds(60).await;
    assert_eq!((isolation.replay_fault(), isolation.mode()), (None, IsolationMode::Direct));
}

#[tokio::test(start_paused = true)]
async fn missed_events_stay_in_order_across_a_batch_that_has_none() {
    let bench = start_isolated(1, &[page(&["a:keep"]), page(&["b:first"]), page(&["c:keep"])]);
    let [first, second] = &*bench.pipeline.destinations else { panic!("two destinations") };
    *first.destination.stuck.lock().unwrap() = Some("a");
    *second.destination.down.lock().unwrap() = true;
    seconds(60).await;
    assert_eq!(*first.destination.taken.lock().unwrap(), ["b", "c"]);
    assert!(bench.letters().is_empty(), "the batch before it is not complete: {:?}", bench.letters());
}
