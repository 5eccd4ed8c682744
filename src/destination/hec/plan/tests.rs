//! Plans over model collectors.

use std::collections::BTreeSet;
use std::io::Write as _;

use super::*;
use crate::destination::hec::Partial;
use crate::destination::hec::reply::{Reply, Sent, classify};

fn events(sizes: &[usize]) -> Events {
    let mut events = Events::default();
    for size in sizes {
        events.push(0, |out| out.write_all(&vec![b'x'; *size])).unwrap();
    }
    events
}

fn envelopes(indexes: &[Option<&str>]) -> Events {
    let mut events = Events::default();
    for index in indexes {
        let index = index.map(|index| format!("\"index\":\"{index}\",")).unwrap_or_default();
        events.push(0, |out| writeln!(out, "{{{index}\"event\":1}}")).unwrap();
    }
    events
}

/// The replies of Splunk, as others measured them on 10.4: from the front, code 7 one higher than code 6.
#[derive(Clone, Copy)]
enum Splunk {
    Exact,
    /// Without `invalid-event-number`.
    Mute,
    /// Code 7 counts from 0, as the other codes do.
    CountsFromZero,
    /// Not Splunk: it refuses a request with a bad event as a whole, and still names the event.
    Whole,
}

struct Run {
    taken: Vec<usize>,
    rejected: Vec<usize>,
    requests: usize,
}

/// Runs a plan with a collector for which some events are malformed and some indexes are not allowed.
fn run(events: &Events, malformed: &[usize], allowed: Option<&[&str]>, splunk: Splunk) -> Run {
    let mut plan = Plan::new(events);
    let (mut taken, mut requests) = (Vec::new(), 0);
    while let Some(range) = plan.next(1_000_000) {
        requests += 1;
        assert!(requests < 10 * events.len() + 10, "endless");
        let bad = range.clone().find_map(|event| {
            let index = index_of(events.get(event));
            if malformed.contains(&event) {
                Some((event, 6, 0))
            } else if allowed.is_some_and(|allowed| index.is_some_and(|index| !allowed.contains(&&*index))) {
                Some((event, 7, 1))
            } else {
                None
            }
        });
        let kept = bad.map_or(range.end, |(event, ..)| event);
        if bad.is_none() || !matches!(splunk, Splunk::Whole) {
            taken.extend(range.start..kept);
        }
        let (status, body) = match (bad, splunk) {
            (None, _) => (200, r#"{"text":"Success","code":0}"#.to_owned()),
            (Some((_, code, _)), Splunk::Mute) => (400, format!(r#"{{"text":"bad","code":{code}}}"#)),
            (Some((event, code, shift)), _) => {
                let shift = if matches!(splunk, Splunk::Exact | Splunk::Whole) { shift } else { 0 };
                let number = event - range.start + shift;
                (400, format!(r#"{{"text":"bad","code":{code},"invalid-event-number":{number}}}"#))
            }
        };
        let reply =
            Reply { status, body: body.into_bytes(), is_splunk: !matches!(splunk, Splunk::Whole), ..Reply::default() };
        let sent = Sent { events, range: range.clone(), gzip: false, index: Some("main"), partial: Partial::Auto };
        let _ = plan.settle(range, classify(&reply, &sent));
    }
    Run { taken, rejected: plan.into_rejected().into_iter().map(|rejected| rejected.event).collect(), requests }
}

#[track_caller]
fn check_cut(sizes: &[usize], max_body: usize, expected: &[Range<usize>]) {
    let events = events(sizes);
    let mut plan = Plan::new(&events);
    let ranges: Vec<_> = std::iter::from_fn(|| plan.next(max_body)).collect();
    assert_eq!(ranges, expected);
}

#[test]
fn requests_fill_up_to_the_limit_and_never_split_an_event() {
    check_cut(&[4, 4, 4, 4], 8, &[0..2, 2..4]);
    check_cut(&[4, 4, 4], 11, &[0..2, 2..3]);
    check_cut(&[4, 20, 4], 8, &[0..1, 1..2, 2..3]);
    check_cut(&[20, 4], 8, &[0..1, 1..2]);
    check_cut(&[], 8, &[]);
}

#[test]
fn with_a_fallback_the_events_of_a_refused_index_are_sent_in_their_own_requests() {
    let events = envelopes(&[Some("a"), Some("bad"), Some("bad"), Some("a"), None, Some("bad")]);
    let refused = BTreeMap::from([(Some("bad".to_owned()), ("hec 7".to_owned(), "Incorrect index".to_owned()))]);
    let mut plan = Plan::knowing(&events, 0..6, refused.clone(), true);
    let mut requests = Vec::new();
    while let Some(range) = plan.next(1_000_000) {
        requests.push((plan.is_rerouted(&range), range));
    }
    assert_eq!(requests, [(false, 0..1), (true, 1..3), (false, 3..5), (true, 5..6)]);
    plan.settle(1..3, Verdict::Bisect);
    assert_eq!((plan.next(1_000_000), plan.next(1_000_000)), (Some(1..2), Some(2..3)));
    assert!(plan.is_rerouted(&(1..2)) && plan.into_rejected().is_empty());
    let rejected = Plan::knowing(&events, 0..6, refused, false).into_rejected();
    assert_eq!(rejected.iter().map(|rejected| rejected.event).collect::<Vec<_>>(), [1, 2, 5]);
}

#[test]
fn a_request_has_at_most_five_thousand_events() {
    check_cut(&vec![1; 12_000], 1_000_000, &[0..5_000, 5_000..10_000, 10_000..12_000]);
}

#[test]
fn one_bad_event_of_a_thousand_costs_one_request_and_nothing_is_sent_twice() {
    for bad in [0, 1, 500, 998, 999] {
        let events = events(&[100; 1_000]);
        let run = run(&events, &[bad], None, Splunk::Exact);
        assert_eq!(run.rejected, [bad]);
        assert_eq!(run.taken, (0..1_000).filter(|event| *event != bad).collect::<Vec<_>>());
        assert!(run.requests <= 2);
    }
}

#[test]
fn a_collector_that_refuses_whole_requests_gets_the_good_events_again() {
    let events = envelopes(&[Some("a"), Some("b"), Some("a"), Some("bad"), Some("a"), Some("b")]);
    let run = run(&events, &[1], Some(&["a", "b"]), Splunk::Whole);
    assert_eq!(run.rejected, [1, 3]);
    assert_eq!(run.taken, [0, 2, 4, 5], "each is taken once, in the order of the batch");
}

#[test]
fn without_a_number_the_bad_events_are_found_by_halving() {
    let events = events(&[100; 1_000]);
    let run = run(&events, &[17, 640], None, Splunk::Mute);
    assert_eq!(run.rejected, [17, 640]);
    let taken: BTreeSet<_> = run.taken.into_iter().collect();
    assert_eq!(taken.len(), 998);
    assert!(run.requests <= 2 * 2 * 10 + 1, "{}", run.requests);
}

#[test]
fn code_seven_counts_from_one_and_the_suspected_event_is_sent_alone() {
    let events = envelopes(&[Some("main"), Some("no"), Some("main"), Some("no"), None]);
    let run = run(&events, &[], Some(&["main"]), Splunk::Exact);
    assert_eq!(run.rejected, [1, 3]);
    assert_eq!(run.taken, [0, 2, 4]);
}

#[test]
fn a_code_seven_that_counts_from_zero_repeats_events_but_rejects_no_good_one() {
    let events = envelopes(&[Some("main"), Some("a"), Some("no"), Some("main"), Some("no")]);
    let run = run(&events, &[], Some(&["main", "a"]), Splunk::CountsFromZero);
    assert_eq!(run.rejected, [2, 4]);
    assert_eq!(run.taken.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([0, 1, 3]));
}

#[test]
fn events_of_a_refused_index_are_not_sent_one_by_one() {
    let indexes: Vec<_> = (0..1_000).map(|event| Some(if event % 2 == 0 { "main" } else { "no" })).collect();
    let events = envelopes(&indexes);
    let run = run(&events, &[], Some(&["main"]), Splunk::Exact);
    assert_eq!(run.rejected.len(), 500);
    assert_eq!(run.taken.len(), 500);
    assert!(run.requests <= 600, "{}", run.requests);
}

#[test]
fn a_request_that_was_not_accepted_is_resent_first() {
    let events = events(&[4; 4]);
    let mut plan = Plan::new(&events);
    let first = plan.next(8).unwrap();
    plan.settle(first.clone(), Verdict::GzipOff);
    assert_eq!(plan.next(8), Some(first));
}

#[test]
fn a_request_that_is_too_large_is_halved_until_it_is_accepted() {
    let events = events(&[4; 5]);
    let mut plan = Plan::new(&events);
    let all = plan.next(100).unwrap();
    plan.settle(all, Verdict::Split);
    let ranges: Vec<_> = std::iter::from_fn(|| plan.next(100)).collect();
    assert_eq!(ranges, [0..2, 2..5]);
}

/// Runs a plan with a collector that gives no reply to requests for which `dies` is true, and rejects a single
/// event; returns the accepted events, the rejected ones, and the learned size.
fn run_unanswered(events: &Events, dies: impl Fn(&Range<usize>) -> bool) -> (BTreeSet<usize>, Vec<usize>, Vec<usize>) {
    let mut plan = Plan::new(events);
    let (mut taken, mut learnt) = (BTreeSet::new(), Vec::new());
    let mut under_way = VecDeque::new();
    loop {
        under_way.extend(std::iter::from_fn(|| plan.next(1_000_000)));
        let Some(range) = under_way.pop_front() else { break };
        let verdict = match (dies(&range), range.len()) {
            (false, _) => {
                assert!(range.clone().all(|event| taken.insert(event)), "{range:?} is taken twice");
                Verdict::Accepted { slow_down: false, ack_id: None }
            }
            (true, 1) => {
                let failed = Verdict::Hold { cause: crate::core::cause::Cause::new("reset") };
                crate::destination::hec::verdict::ended_by_its_event(&failed, 5)
            }
            (true, _) => Verdict::Halve,
        };
        learnt.extend(plan.settle(range, verdict));
    }
    (taken, plan.into_rejected().into_iter().map(|rejected| rejected.event).collect(), learnt)
}

#[test]
fn requests_too_large_for_an_intermediary_pass_in_halves_and_their_size_is_learnt() {
    let events = events(&[1_000; 1_000]);
    let (taken, rejected, learnt) = run_unanswered(&events, |range| range.len() > 300);
    assert_eq!((taken.len(), rejected), (1_000, vec![]));
    assert_eq!(learnt, [250_000, 250_000]);
}

#[test]
fn an_event_that_kills_its_request_is_found_and_nothing_is_learnt_about_sizes() {
    for bad in [vec![0], vec![617], vec![998, 999], vec![3, 4, 500]] {
        let events = events(&[100; 1_000]);
        let (taken, rejected, learnt) = run_unanswered(&events, |range| bad.iter().any(|event| range.contains(event)));
        assert_eq!((taken.len(), rejected, learnt), (1_000 - bad.len(), bad, vec![]));
    }
}

proptest::proptest! {
    #[test]
    fn every_event_is_accepted_or_rejected_whichever_are_bad(
        malformed in proptest::collection::btree_set(0_usize..60, 0..12),
        indexes in proptest::collection::vec(0_usize..4, 60),
        splunk in 0_usize..3,
    ) {
        let names = [None, Some("main"), Some("a"), Some("no")];
        let events = envelopes(&indexes.iter().map(|index| names[*index]).collect::<Vec<_>>());
        let malformed: Vec<_> = malformed.into_iter().collect();
        let splunk = [Splunk::Exact, Splunk::Mute, Splunk::CountsFromZero][splunk];
        let run = run(&events, &malformed, Some(&["main", "a"]), splunk);
        let bad = |event: &usize| malformed.contains(event) || names[indexes[*event]] == Some("no");
        let (expected_bad, expected_good): (Vec<_>, Vec<_>) = (0..60).partition(bad);
        proptest::prop_assert_eq!(run.rejected, expected_bad);
        let taken: BTreeSet<_> = run.taken.iter().copied().collect();
        proptest::prop_assert_eq!(taken.iter().copied().collect::<Vec<_>>(), expected_good);
        if matches!(splunk, Splunk::Exact) {
            proptest::prop_assert_eq!(run.taken.len(), taken.len(), "sent twice");
        }
    }
}
