//! Sequences of results, and the limits that follow.

use super::*;

const STEP: Duration = Duration::from_millis(250);

fn flow(most: usize) -> ConcurrencyLimit {
    let busy = Backoff::new(STEP, 100 * STEP, 1);
    let hold = Backoff::new(Duration::from_secs(20), Duration::from_secs(20), 2);
    ConcurrencyLimit::new(most, busy, hold, Duration::from_secs(10))
}

/// All requests that may be sent now.
fn admitted(flow: &mut ConcurrencyLimit) -> Vec<Ticket> {
    std::iter::from_fn(|| match flow.admit() {
        Admit::Go(ticket) => Some(ticket),
        Admit::Probe(..) | Admit::Wait => None,
    })
    .collect()
}

fn round_of_successes(flow: &mut ConcurrencyLimit) -> usize {
    let tickets = admitted(flow);
    for _ in &tickets {
        // Each is replaced at once, so that the limit stays full.
        flow.taken(&Ticket { cuts: flow.cuts, probe: false, under_way: true }, false);
        let _ = admitted(flow);
    }
    let count = tickets.len();
    flow.under_way = 0;
    count
}

#[track_caller]
fn probe(flow: &mut ConcurrencyLimit) -> (Ticket, Instant) {
    match flow.admit() {
        Admit::Probe(ticket, at) => (ticket, at),
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_starts_with_four_and_adds_one_per_full_round_up_to_the_maximum() {
    let mut flow = flow(6);
    let rounds: Vec<_> = (0..4).map(|_| round_of_successes(&mut flow)).collect();
    assert_eq!(rounds, [4, 5, 6, 6]);
}

#[test]
fn a_limit_that_is_not_used_up_does_not_grow() {
    let mut flow = flow(8);
    for _ in 0..100 {
        let Admit::Go(ticket) = flow.admit() else { panic!() };
        flow.taken(&ticket, false);
    }
    assert_eq!(admitted(&mut flow).len(), 4);
}

#[test]
fn signs_of_load_halve_the_limit_once_for_all_requests_in_flight() {
    let mut flow = flow(8);
    for ticket in admitted(&mut flow) {
        flow.taken(&ticket, true);
    }
    assert_eq!(admitted(&mut flow).len(), 2);
}

#[test]
fn after_a_failure_one_probes_and_the_others_wait() {
    let (mut flow, now) = (flow(8), Instant::now());
    let tickets = admitted(&mut flow);
    let news: Vec<_> = tickets.iter().map(|ticket| flow.failed(ticket, now, None)).collect();
    assert_eq!(news, [true, false, false, false]);
    let (ticket, at) = probe(&mut flow);
    assert!(at <= now + STEP, "all four failures are one");
    assert!(matches!(flow.admit(), Admit::Wait));
    flow.taken(&ticket, false);
    assert_eq!(admitted(&mut flow).len(), 2);
}

#[test]
fn after_an_outage_it_starts_with_one_and_doubles_per_round() {
    let (mut flow, now) = (flow(64), Instant::now());
    flow.limit = 32;
    let tickets = admitted(&mut flow);
    for ticket in &tickets {
        flow.failed(ticket, now, None);
    }
    for _ in 0..5 {
        let (ticket, _) = probe(&mut flow);
        flow.failed(&ticket, now, None);
    }
    let (ticket, _) = probe(&mut flow);
    flow.taken(&ticket, false);
    let limits: Vec<_> = (0..6).map(|_| round_of_successes(&mut flow)).collect();
    assert_eq!(limits, [2, 4, 8, 16, 17, 18], "doubles up to half of 32");
}

#[test]
fn the_probe_waits_longer_from_failure_to_failure_and_short_again_after_a_success() {
    let (mut flow, now) = (flow(8), Instant::now());
    let Admit::Go(ticket) = flow.admit() else { panic!() };
    flow.failed(&ticket, now, None);
    let mut longest = Duration::ZERO;
    for _ in 0..8 {
        let (ticket, at) = probe(&mut flow);
        longest = longest.max(at - now);
        flow.failed(&ticket, now, None);
    }
    assert!(longest > 4 * STEP, "{longest:?}");
    let (ticket, _) = probe(&mut flow);
    flow.taken(&ticket, false);
    let Admit::Go(ticket) = flow.admit() else { panic!() };
    flow.failed(&ticket, now, None);
    assert!(probe(&mut flow).1 <= now + STEP);
}

#[test]
fn a_retry_after_is_respected_even_if_it_comes_with_a_late_failure() {
    let (mut flow, now) = (flow(8), Instant::now());
    let tickets = admitted(&mut flow);
    flow.failed(&tickets[0], now, None);
    flow.failed(&tickets[1], now, Some(Duration::from_secs(9)));
    assert!(probe(&mut flow).1 >= now + Duration::from_secs(9));
}

#[test]
fn a_failure_from_before_the_probe_does_not_close_what_the_probe_opened() {
    let (mut flow, now) = (flow(8), Instant::now());
    let tickets = admitted(&mut flow);
    flow.failed(&tickets[0], now, None);
    let (ticket, _) = probe(&mut flow);
    flow.taken(&ticket, false);
    flow.failed(&tickets[1], now, None);
    flow.held(&tickets[2], now);
    assert!(matches!(flow.admit(), Admit::Go(_)));
}

#[test]
fn a_success_from_before_the_failure_does_not_open_what_is_closed() {
    let (mut flow, now) = (flow(8), Instant::now());
    let tickets = admitted(&mut flow);
    flow.failed(&tickets[0], now, None);
    assert!(!flow.taken(&tickets[1], false));
    assert!(matches!(flow.admit(), Admit::Probe(..)));
}

#[test]
fn a_refusal_is_probed_by_one_request_every_ten_to_thirty_seconds() {
    let (mut flow, now) = (flow(8), Instant::now());
    let Admit::Go(ticket) = flow.admit() else { panic!() };
    flow.held(&ticket, now);
    for _ in 0..50 {
        let (ticket, at) = probe(&mut flow);
        let wait = at - now;
        assert!(wait >= Duration::from_secs(10) && wait <= Duration::from_secs(30), "{wait:?}");
        assert!(matches!(flow.admit(), Admit::Wait));
        flow.held(&ticket, now);
    }
}

#[test]
fn concurrent_refusals_count_as_one_and_delivery_resumes_slowly() {
    let (mut flow, now) = (flow(8), Instant::now());
    let tickets = admitted(&mut flow);
    let news: Vec<_> = tickets.iter().map(|ticket| flow.held(ticket, now)).collect();
    assert_eq!(news, [true, false, false, false]);
    let (ticket, _) = probe(&mut flow);
    flow.taken(&ticket, false);
    assert_eq!(admitted(&mut flow).len(), 2);
}

#[test]
fn a_cancelled_request_frees_its_slot() {
    let mut flow = flow(8);
    for ticket in admitted(&mut flow) {
        flow.dropped(&ticket);
    }
    assert_eq!(admitted(&mut flow).len(), 4);
}

/// When each of fifty instances that failed at the same time tries again after an outage of this length.
fn first_tries(outage: Duration) -> Vec<Duration> {
    let began = Instant::now();
    let first_try = |seed| {
        let hold = Backoff::new(Duration::ZERO, Duration::ZERO, 0);
        let mut flow = ConcurrencyLimit::new(8, Backoff::usual(seed), hold, Duration::ZERO);
        for ticket in admitted(&mut flow) {
            flow.failed(&ticket, began, None);
        }
        loop {
            let (ticket, at) = probe(&mut flow);
            if at >= began + outage {
                assert!(matches!(flow.admit(), Admit::Wait), "one request, not four");
                return at - began - outage;
            }
            flow.failed(&ticket, at, None);
        }
    };
    (0..50).map(first_try).collect()
}

#[test]
fn f85_fifty_instances_do_not_return_at_once() {
    for outage in [60, 600, 3_600] {
        let tries = first_tries(Duration::from_secs(outage));
        let in_second = |second: u64| tries.iter().filter(|at| at.as_secs() == second).count();
        let busiest = (0..=30).map(in_second).max().unwrap();
        assert!(busiest <= 8, "{busiest} of 50 in one second after {outage} s");
        assert!(tries.iter().all(|at| *at <= Duration::from_secs(30)), "{tries:?}");
    }
}

#[test]
fn a_cancelled_probe_passes_its_turn_on() {
    let (mut flow, now) = (flow(8), Instant::now());
    let Admit::Go(ticket) = flow.admit() else { panic!() };
    flow.failed(&ticket, now, None);
    let (ticket, at) = probe(&mut flow);
    flow.dropped(&ticket);
    assert_eq!(probe(&mut flow).1, at);
}

#[test]
fn a_reply_about_single_events_also_ends_the_outage() {
    let (mut flow, now) = (flow(8), Instant::now());
    let Admit::Go(ticket) = flow.admit() else { panic!() };
    flow.failed(&ticket, now, None);
    let (ticket, _) = probe(&mut flow);
    flow.answered(&ticket);
    assert!(matches!(flow.admit(), Admit::Go(_)));
}

/// The flow after this many of its requests are in doubt.
fn doubted(flow: &mut ConcurrencyLimit, count: usize) -> Vec<Ticket> {
    let mut tickets = admitted(flow);
    tickets.truncate(count);
    tickets.iter_mut().for_each(|ticket| flow.doubted(ticket, true));
    tickets
}

#[test]
fn after_timeouts_one_request_at_a_time_is_sent() {
    let mut flow = flow(8);
    let tickets = doubted(&mut flow, 4);
    assert_eq!(flow.state(), FlowState::Room, "a doubt takes no slot");
    assert_eq!(admitted(&mut flow).len(), 1);
    tickets.iter().for_each(|ticket| flow.dropped(ticket));
    assert_eq!(admitted(&mut flow).len(), 0, "a doubt is no success");
}

#[test]
fn a_request_that_was_cut_off_takes_no_slot_while_it_is_in_doubt_and_nothing_from_others() {
    let mut flow = flow(8);
    let mut tickets = admitted(&mut flow);
    flow.doubted(&mut tickets[0], false);
    assert_eq!(admitted(&mut flow).len(), 1);
    flow.dropped(&tickets[0]);
    assert_eq!(admitted(&mut flow).len(), 0);
}

#[test]
fn a_request_whose_doubt_was_its_own_fault_leaves_a_flow_that_grows_quickly() {
    let mut flow = flow(8);
    doubted(&mut flow, 4);
    let rounds: Vec<_> = (0..3).map(|_| round_of_successes(&mut flow)).collect();
    assert_eq!(rounds, [1, 2, 4]);
}

#[test]
fn requests_in_doubt_that_were_this_members_fault_close_it_once() {
    let (mut flow, now) = (flow(8), Instant::now());
    let tickets = doubted(&mut flow, 4);
    let news: Vec<_> = tickets.iter().map(|ticket| flow.failed(ticket, now, None)).collect();
    assert_eq!(news, [true, false, false, false]);
    let (ticket, at) = probe(&mut flow);
    assert!(at <= now + STEP);
    flow.taken(&ticket, false);
    assert_eq!(admitted(&mut flow).len(), 2);
}

#[test]
fn a_late_fault_from_before_the_probe_does_not_close_what_the_probe_opened() {
    let (mut flow, now) = (flow(8), Instant::now());
    let tickets = doubted(&mut flow, 2);
    flow.failed(&tickets[0], now, None);
    let (ticket, _) = probe(&mut flow);
    flow.taken(&ticket, false);
    flow.failed(&tickets[1], now, None);
    assert!(!matches!(flow.state(), FlowState::Closed { .. }));
}
