//! A shard with several destinations, and copies of its dead letters.

use super::*;
use crate::core::destination_account::EventCounts;

#[tokio::test(start_paused = true)]
async fn a_batch_is_durable_when_every_destination_has_it() {
    let pages = [page(&["a:keep", "b:drop"]), page(&["c:keep"])];
    let bench = start_to(2, &pages, OnError::DeadLetter, OnReject::DeadLetter);
    let [first, second] = &*bench.pipeline.destinations else { panic!("two destinations") };
    let (first, second) = (&first.destination, &second.destination);
    *second.down.lock().unwrap() = true;
    seconds(60).await;
    assert_eq!(*first.taken.lock().unwrap(), ["a", "c"]);
    assert_eq!((bench.saved(), bench.counts().delivered), (Some(0), 0), "one of two has not got it");
    let delivered = || [0, 1].map(|number| bench.pipeline.destinations[number].account.read().delivered);
    assert_eq!(delivered(), [2, 0], "the other one does not look idle");
    *second.down.lock().unwrap() = false;
    seconds(5).await;
    assert_eq!(*second.taken.lock().unwrap(), ["a", "c"]);
    assert_eq!((bench.saved(), bench.counts().delivered, bench.counts().events), (Some(2), 2, 4));
    assert_eq!(delivered(), [2, 2]);
    assert_eq!((bench.counts().dropped, bench.counts().difference()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_event_rejected_by_one_of_two_destinations_is_dead_lettered_once() {
    let pages = [page(&["a:keep", "b:two", "c:keep"])];
    let bench = start_to(2, &pages, OnError::DeadLetter, OnReject::DeadLetter);
    *bench.pipeline.destinations[0].destination.strict.lock().unwrap() = false;
    seconds(5).await;
    let letters = bench.letters();
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((letter.id().as_str(), letter.event.as_deref()), ("project/logstore/3-0-1-1", Some(b"b!".as_slice())));
    assert_eq!(letter.destination.as_ref().map(DestinationName::as_str), Some("to1"), "and it says whose it is");
    let events = |at: usize| bench.pipeline.destinations[at].account.read();
    assert_eq!(events(0), EventCounts { delivered: 4, ..EventCounts::default() });
    assert_eq!(events(1), EventCounts { delivered: 3, rejected: 1, ..EventCounts::default() });
    let counts = bench.counts();
    assert_eq!((counts.delivered, counts.dead_lettered, counts.events, counts.difference()), (2, 1, 7, 0));
    assert_eq!(bench.saved(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_log_rejected_by_two_destinations_is_two_dead_letters_and_counts_once() {
    let bench = start_to(2, &[page(&["a:keep", "b:two"])], OnError::DeadLetter, OnReject::DeadLetter);
    seconds(5).await;
    let letters = bench.letters();
    let names: Vec<_> = letters.iter().map(|letter| letter.destination.as_ref().unwrap().as_str()).collect();
    assert_eq!((names.as_slice(), letters[0].id() == letters[1].id()), (["to0", "to1"].as_slice(), true));
    let counts = bench.counts();
    assert_eq!((counts.delivered, counts.dead_lettered, counts.events, counts.difference()), (1, 1, 4, 0));
}

/// Two destinations; the second gets copies of dead letters.
fn start_copied(pages: &[Vec<String>]) -> Bench {
    start_with(Plan { copies: Some(1), ..Plan::to(2) }, pages, OnError::DeadLetter, OnReject::DeadLetter)
}

/// The ids of the copies of dead letters that a destination accepted.
fn copies_at(bench: &Bench, number: usize) -> Vec<String> {
    let taken = bench.pipeline.destinations[number].destination.taken.lock().unwrap().clone();
    let copies = taken.iter().filter_map(|text| text.split_once('{'));
    copies
        .map(|(_, json)| serde_json::from_str::<serde_json::Value>(&format!("{{{json}")).unwrap()["id"].to_string())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_counts_once_the_copy_is_delivered_as_well() {
    let bench = start_copied(&[page(&["a:keep", "b:bad"]), page(&["c:two"])]);
    let [first, second] = &*bench.pipeline.destinations else { panic!("two destinations") };
    *second.destination.strict.lock().unwrap() = false;
    seconds(5).await;
    assert_eq!(copies_at(&bench, 1), ["\"project/logstore/3-0-1\"", "\"project/logstore/3-1-0-1\""]);
    assert_eq!(copies_at(&bench, 0), Vec::<String>::new());
    assert_eq!((bench.letters().len(), bench.saved(), bench.counts().dead_lettered), (2, Some(2), 2));
    assert_eq!(first.account.read().delivered, 2, "a, and one of c");
    assert_eq!(second.account.read().delivered, 5, "a, both of c, and two copies");
}

#[tokio::test(start_paused = true)]
async fn an_undelivered_copy_holds_the_checkpoint_back_and_is_delivered_once() {
    let bench = start_copied(&[page(&["b:bad"]), page(&["a:keep"])]);
    *bench.pipeline.destinations[1].destination.down.lock().unwrap() = true;
    seconds(600).await;
    assert_eq!((bench.letters().len(), bench.saved(), bench.counts().dead_lettered), (1, Some(0), 0));
    let standstill = |bench: &Bench| {
        let entries = bench.pipeline.ledger.read();
        entries.values().next().unwrap().standstill().map(str::to_owned)
    };
    assert!(standstill(&bench).unwrap().contains("does not take the copies of dead letters"));
    *bench.pipeline.destinations[1].destination.down.lock().unwrap() = false;
    seconds(5).await;
    assert_eq!(standstill(&bench), None);
    assert_eq!(copies_at(&bench, 1).len(), 1);
    assert_eq!((bench.letters().len(), bench.saved(), bench.counts().dead_lettered), (1, Some(2), 1));
}

#[tokio::test(start_paused = true)]
async fn a_shard_waits_for_copies_until_the_last_batch_has_them() {
    let bench = start_copied(&[page(&["b:bad"]), page(&["c:bad"])]);
    *bench.pipeline.destinations[1].destination.each.lock().unwrap() = Duration::from_secs(60);
    seconds(90).await;
    assert_eq!((copies_at(&bench, 1).len(), bench.letters().len(), bench.saved()), (1, 2, Some(1)));
    let why = bench.standstill().expect("the second batch waits");
    assert!(why.contains("does not take the copies of dead letters"), "{why}");
    seconds(60).await;
    assert_eq!((copies_at(&bench, 1).len(), bench.saved(), bench.standstill()), (2, Some(2), None));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_copy_stays_on_disk_and_delays_nothing() {
    let bench = start_copied(&[page(&["b:bad"]), page(&["a:keep"])]);
    *bench.pipeline.destinations[1].destination.refuses_copies.lock().unwrap() = true;
    seconds(5).await;
    assert_eq!((copies_at(&bench, 1).len(), bench.letters().len(), bench.saved()), (0, 1, Some(2)));
    assert_eq!(bench.pipeline.destinations[1].account.read().rejected, 1);
}

#[tokio::test(start_paused = true)]
async fn with_copies_instead_of_the_disk_only_a_dead_letter_without_a_copy_is_on_disk() {
    for (is_refused, copies, on_disk) in [(false, 1, 0), (true, 0, 1)] {
        let plan = Plan { copies: Some(1), disk: false, ..Plan::to(2) };
        let bench = start_with(plan, &[page(&["b:bad"]), page(&["a:keep"])], OnError::DeadLetter, OnReject::DeadLetter);
        let second = &bench.pipeline.destinations[1].destination;
        *second.refuses_copies.lock().unwrap() = is_refused;
        *second.down.lock().unwrap() = true;
        seconds(60).await;
        assert_eq!((bench.letters().len(), bench.saved()), (0, Some(0)), "the checkpoint waits for the copy");
        *second.down.lock().unwrap() = false;
        seconds(5).await;
        assert_eq!((copies_at(&bench, 1).len(), bench.letters().len()), (copies, on_disk));
        assert_eq!((bench.saved(), bench.counts().dead_lettered, bench.counts().difference()), (Some(2), 1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn events_missed_by_an_isolated_destination_are_not_copied_and_no_copy_is_sent_after_the_tenure() {
    let plan = Plan { isolated: Some(10), copies: Some(0), ..Plan::to(2) };
    let bench = start_with(plan, &[page(&["a:keep"]), page(&["c:bad"])], OnError::DeadLetter, OnReject::DeadLetter);
    *bench.pipeline.destinations[1].destination.down.lock().unwrap() = true;
    seconds(600).await;
    assert_eq!((bench.letters().len(), copies_at(&bench, 0)), (2, vec!["\"project/logstore/3-1-0\"".to_owned()]));

    let mut bench = start_copied(&[page(&["b:bad"])]);
    *bench.pipeline.destinations[1].destination.down.lock().unwrap() = true;
    seconds(5).await;
    bench.over.raise();
    assert_eq!(bench.task.join_next().await.unwrap().unwrap(), ShardEnd::Over);
    assert_eq!(bench.saved(), Some(0));
}
