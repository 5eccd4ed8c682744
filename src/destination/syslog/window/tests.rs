use super::*;

const INTERVAL: Duration = Duration::from_secs(1);
const LAG: Duration = Duration::from_millis(200);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A window whose allowance is no limit.
fn window(batches: &[usize]) -> (Window, Instant) {
    let mut window = Window::new(INTERVAL, LAG);
    window.allowance = Allowance::fixed(usize::MAX);
    for (id, events) in (1..).zip(batches) {
        window.push(id, *events, 0);
    }
    (window, Instant::now())
}

fn span(id: Id, events: Range<usize>) -> Option<Span> {
    Some(Span { id, events })
}

/// Writes whatever may be written.
fn write(window: &mut Window, now: Instant) -> Vec<(Id, Range<usize>)> {
    std::iter::from_fn(|| window.begin(now)).map(|span| (span.id, span.events)).collect()
}

#[test]
fn batches_are_written_once_and_in_order() {
    let (mut window, now) = window(&[3, 2]);
    assert_eq!(window.begin(now), span(1, 0..3));
    assert_eq!(window.begin(now), span(2, 0..2));
    assert_eq!(window.begin(now), None);
}

#[test]
fn a_write_proves_nothing() {
    let (mut window, now) = window(&[3]);
    write(&mut window, now);
    assert_eq!(window.due(), None);
    assert_eq!(window.prove(now + ms(60_000)), WindowProgress::default());
    assert!(!window.is_empty() && window.is_unproven());
}

#[test]
fn a_close_is_a_proof_only_after_the_lag() {
    let (mut window, now) = window(&[3]);
    write(&mut window, now);
    window.rotated(now);
    assert_eq!(window.due(), Some(now + LAG));
    assert_eq!(window.prove(now + LAG - ms(1)), WindowProgress::default());
    let settled = window.prove(now + LAG);
    assert_eq!(settled, WindowProgress { finished: vec![1], proven: true, ..WindowProgress::default() });
    assert!(window.is_empty() && !window.is_unproven());
}

#[test]
fn a_break_within_the_lag_voids_the_proof_of_the_closed_and_the_open_connection() {
    let (mut window, now) = window(&[3]);
    write(&mut window, now);
    window.rotated(now);
    window.push(2, 1, 0);
    write(&mut window, now);
    window.broke(Break::ByPeer);
    assert_eq!(window.due(), None);
    assert_eq!(write(&mut window, now), [(1, 0..3), (2, 0..1)]);
}

#[test]
fn every_connection_of_a_chain_has_its_own_lag() {
    let mut window = Window::new(INTERVAL, ms(5_000));
    let now = Instant::now();
    window.push(1, 1, 0);
    write(&mut window, now);
    window.rotated(now);
    window.push(2, 1, 0);
    write(&mut window, now);
    window.rotated(now + ms(1_000));
    assert_eq!(window.prove(now + ms(5_000)).finished, [1]);
    assert_eq!(window.prove(now + ms(6_000)).finished, [2]);
}

#[test]
fn messages_written_after_a_close_are_not_proven_by_it() {
    let (mut window, now) = window(&[1]);
    write(&mut window, now);
    window.rotated(now);
    window.push(2, 1, 0);
    write(&mut window, now);
    assert_eq!(window.prove(now + ms(10_000)).finished, [1]);
    assert!(window.is_unproven());
}

#[test]
fn an_idle_window_is_proven_at_once_and_a_busy_one_after_an_interval() {
    let (mut window, now) = window(&[1, 1]);
    assert_eq!(window.rotate_at(), None);
    window.begin(now);
    assert_eq!(window.rotate_at(), Some(now + INTERVAL));
    window.begin(now);
    assert_eq!(window.rotate_at(), Some(now));
}

/// Goes red when the last messages of a shard wait for an interval since the proof before.
#[test]
fn soon_after_a_proof_the_next_waits_for_a_quiet_time_of_at_most_an_interval() {
    let (mut window, now) = window(&[1]);
    write(&mut window, now);
    window.rotated(now);
    for (id, at, proof) in [(2, 10, 260), (3, 240, 490), (4, 480, 730), (5, 720, 970), (6, 960, 1_000)] {
        window.push(id, 1, 0);
        write(&mut window, now + ms(at));
        assert_eq!(window.rotate_at(), Some(now + ms(proof)), "{id}");
    }
    window.push(7, 1, 0);
    write(&mut window, now + ms(1_100));
    window.rotated(now + ms(1_100));
    window.push(8, 1, 0);
    write(&mut window, now + ms(5_000));
    assert_eq!(window.rotate_at(), Some(now + ms(5_000)), "the last proof is long ago");
}

/// Goes red when only time makes a proof due: what is not proven fills the memory meanwhile.
#[test]
fn the_more_a_connection_carries_the_sooner_it_is_proven() {
    let bytes = PROOF_BYTES as usize;
    for (carried, proof) in [(0, 1_000), (bytes / 4, 750), (bytes / 2, 500), (bytes, 0), (3 * bytes, 0)] {
        let (mut window, now) = window(&[]);
        window.push(1, 10, carried);
        window.push(2, 1, 0);
        window.begin(now);
        assert_eq!(window.rotate_at(), Some(now + ms(proof)), "{carried} bytes");
    }
}

/// Goes red when a short memory changes nothing: then it is full until an interval is over.
#[test]
fn when_memory_is_short_a_connection_carries_as_much_as_waits_for_its_lag() {
    let (mut window, now) = window(&[]);
    for (id, bytes) in [(1, MIN_PROOF_BYTES), (2, 2 * MIN_PROOF_BYTES), (3, MIN_PROOF_BYTES), (4, 1), (5, 1)] {
        window.push(id, 10, bytes);
    }
    window.begin(now);
    assert!(window.rotate_at().unwrap() > now, "there is memory enough");
    window.set_crowded(true);
    assert_eq!(window.rotate_at(), Some(now), "nothing waits, and this is worth a proof");
    window.rotated(now);
    window.begin(now);
    assert_eq!(window.rotate_at(), Some(now), "less than that waits");
    window.rotated(now);
    window.begin(now);
    assert!(window.rotate_at().unwrap() > now, "three times as much waits");
    window.prove(now + LAG);
    assert_eq!(window.rotate_at(), Some(now), "it waits no more");
}

/// Goes red when the quiet time is waited for: nothing more can come before a proof.
#[test]
fn when_memory_is_short_and_everything_is_written_a_proof_is_due_at_once() {
    let (mut window, now) = window(&[1]);
    write(&mut window, now);
    window.rotated(now);
    window.push(2, 1, 0);
    write(&mut window, now + ms(200));
    assert_eq!(window.rotate_at(), Some(now + ms(450)));
    window.set_crowded(true);
    assert_eq!(window.rotate_at(), Some(now + ms(250)), "but there are at most four an interval");
}

/// Goes red when the witness is asked for when it is needed, or always.
#[test]
fn a_proof_is_near_when_a_connection_carries_half_of_what_makes_it_due() {
    let half = PROOF_BYTES as usize / 2;
    let (mut window, now) = window(&[]);
    window.push(1, 1, half - 1);
    window.push(2, 1, 1);
    window.begin(now);
    assert!(!window.nears_a_proof());
    window.begin(now);
    assert!(window.nears_a_proof());
    window.set_crowded(true);
    assert!(window.nears_a_proof());
    window.rotated(now);
    assert!(!window.nears_a_proof());
}

#[test]
fn at_most_the_window_is_written_before_a_proof_which_is_then_due_at_once() {
    let (mut window, now) = window(&[10]);
    window.set_room(4);
    assert_eq!(write(&mut window, now), [(1, 0..4)]);
    assert_eq!(window.rotate_at(), Some(now));
    window.closes();
    assert_eq!(window.begin(now), None, "the close may still prove nothing");
    window.closed(now);
    window.set_room(5);
    assert_eq!(write(&mut window, now), [(1, 4..9)]);
    assert_eq!(window.rotate_at(), Some(now));
    window.broke(Break::Other);
    assert_eq!(write(&mut window, now), [(1, 0..5)]);
}

/// Goes red when whole batches are written, when a connection takes all of the allowance, or when what was proven of a
/// batch is sent again after a break.
#[test]
fn no_more_than_the_allowance_is_unproven_and_half_of_it_on_one_connection() {
    let (mut window, now) = window(&[]);
    window.allowance = Allowance::fixed(800);
    window.push(1, 10, 1_000);
    window.push(2, 100, 100);
    window.set_room(2);
    assert_eq!(write(&mut window, now), [(1, 0..2)]);
    window.set_room(usize::MAX);
    assert_eq!(window.rotate_at(), Some(now), "a quarter is worth a proof");
    assert_eq!(write(&mut window, now), [(1, 2..4)], "half of it");
    window.closes();
    assert_eq!(write(&mut window, now), [(1, 4..8)], "what is being closed counts");
    window.closed(now);
    window.allowance = Allowance::fixed(800);
    window.closes();
    assert_eq!(window.begin(now), None, "and what waits for its lag");
    window.closed(now + LAG / 2);
    window.allowance = Allowance::fixed(800);
    window.prove(now + LAG);
    assert_eq!(write(&mut window, now), [(1, 8..10), (2, 0..100)]);
    window.allowance = Allowance::fixed(usize::MAX);
    window.broke(Break::ByPeer);
    window.allowance = Allowance::fixed(usize::MAX);
    assert_eq!(write(&mut window, now), [(1, 4..10), (2, 0..100)]);
}

/// Goes red when a break leaves the allowance as it is: the receiver that reads next may be slower.
#[test]
fn after_a_break_as_little_may_be_unproven_as_at_the_start() {
    let mut window = Window::new(INTERVAL, LAG);
    let now = Instant::now();
    window.push(1, 10_000, 10_000_000);
    let first = window.begin(now);
    window.rotated(now + ms(50));
    assert!(window.begin(now).unwrap().events.len() > first.as_ref().unwrap().events.len());
    window.broke(Break::ByPeer);
    assert_eq!(window.begin(now), first);
}

/// Goes red when nothing is written until a close is answered.
#[test]
fn batches_are_written_while_a_close_is_pending_and_are_not_proven_by_it() {
    let (mut window, now) = window(&[1]);
    write(&mut window, now);
    window.closes();
    window.push(2, 1, 0);
    assert_eq!(write(&mut window, now), [(2, 0..1)]);
    assert_eq!(window.due(), None);
    assert!(window.is_unproven());
    window.closed(now);
    assert_eq!(window.prove(now + LAG).finished, [1]);
    window.closes();
    window.broke(Break::ByPeer);
    assert_eq!(write(&mut window, now), [(2, 0..1)]);
}

#[test]
fn a_cancelled_batch_is_not_written_again() {
    let (mut window, now) = window(&[1, 1]);
    write(&mut window, now);
    window.forget(1);
    window.broke(Break::Other);
    assert_eq!(write(&mut window, now), [(2, 0..1)]);
}

/// A receiver that dies of every group that `kills` says it does. Returns what was rejected, in how many connections,
/// and how many were still unproven after at most `most`.
fn against(batches: &[usize], most: usize, kills: impl Fn(Id, usize) -> bool) -> (Vec<(Id, usize)>, usize, usize) {
    let (mut window, mut now) = window(batches);
    let mut rejected = Vec::new();
    for connection in 0..most {
        if window.is_empty() {
            return (rejected, connection, 0);
        }
        let written = write(&mut window, now);
        let dies = written.iter().any(|(id, events)| events.clone().any(|event| kills(*id, event)));
        now += ms(2_000);
        assert!(!written.is_empty(), "nothing to write, and nothing proven");
        let settled = if dies {
            window.broke(Break::ByPeer)
        } else {
            window.rotated(now);
            window.prove(now + LAG)
        };
        rejected.extend(settled.rejected);
    }
    (rejected, most, window.entries.iter().map(|entry| entry.events - entry.done).sum())
}

#[test]
fn only_the_event_that_kills_the_receiver_is_rejected() {
    for culprit in [(1, 0), (1, 99), (2, 50), (3, 99)] {
        let (rejected, connections, left) = against(&[100, 100, 100], 200, |id, event| (id, event) == culprit);
        assert_eq!((rejected, left), (vec![culprit], 0));
        assert!(connections < 40, "{connections} connections for {culprit:?}");
    }
}

#[test]
fn several_culprits_are_found_one_after_the_other() {
    let culprits = [(1, 3), (1, 4), (2, 0)];
    let (rejected, _, left) = against(&[10, 10], 200, |id, event| culprits.contains(&(id, event)));
    assert_eq!((rejected, left), (culprits.to_vec(), 0));
}

#[test]
fn a_receiver_that_every_event_kills_rejects_nothing() {
    let (rejected, _, left) = against(&[20, 20], 500, |_, _| true);
    assert_eq!((rejected, left), (vec![], 40));
}

#[test]
fn a_lone_event_is_not_rejected_without_evidence() {
    let (rejected, _, left) = against(&[1], 100, |_, _| true);
    assert_eq!((rejected, left), (vec![], 1));
}

#[test]
fn the_first_event_is_rejected_on_the_evidence_of_the_next() {
    let (rejected, _, left) = against(&[1, 1], 100, |id, _| id == 1);
    assert_eq!((rejected, left), (vec![(1, 0)], 0));
}

#[test]
fn breaks_not_caused_by_the_peer_start_no_search() {
    let (mut window, now) = window(&[10]);
    for _ in 0..20 {
        assert_eq!(write(&mut window, now), [(1, 0..10)]);
        window.broke(Break::Other);
    }
}

#[test]
fn an_empty_connection_may_end_in_any_way() {
    let (mut window, now) = window(&[10]);
    for _ in 0..20 {
        window.broke(Break::ByPeer);
    }
    assert_eq!(write(&mut window, now), [(1, 0..10)]);
}

#[test]
fn progress_between_the_breaks_prevents_a_search() {
    let (mut window, now) = window(&[]);
    for id in 1..20 {
        window.push(id, 2, 0);
        assert_eq!(write(&mut window, now), [(id, 0..2)]);
        window.broke(Break::ByPeer);
        write(&mut window, now);
        window.rotated(now);
        assert_eq!(window.prove(now + LAG).finished, [id]);
    }
}

#[test]
fn the_first_events_are_found_although_none_was_accepted_before() {
    let culprits = [(1, 0), (1, 1), (2, 0)];
    let (rejected, _, left) = against(&[2, 10], 200, |id, event| culprits.contains(&(id, event)));
    assert_eq!((rejected, left), (culprits.to_vec(), 0));
}

#[test]
fn a_receiver_that_recovers_after_many_deaths_has_rejected_nothing() {
    for deaths in 0..100 {
        let died = std::cell::Cell::new(0);
        let (rejected, _, left) = against(&[4, 4], 200, |_, _| {
            died.set(died.get() + 1);
            died.get() <= deaths
        });
        assert_eq!((rejected, left), (vec![], 0), "{deaths} deaths");
    }
}

fn searching(batches: &[usize]) -> (Window, Instant) {
    let (mut window, now) = window(batches);
    for _ in 0..DEATHS_TO_SUSPECT {
        write(&mut window, now);
        window.broke(Break::ByPeer);
    }
    assert!(window.is_searching());
    (window, now)
}

#[test]
fn one_accepted_event_is_no_evidence_against_all_that_follow() {
    let (mut window, now) = searching(&[10]);
    assert_eq!(write(&mut window, now), [(1, 0..5)]);
    window.rotated(now);
    assert!(window.prove(now + LAG).proven);
    let mut rejected = Vec::new();
    for _ in 0..100 {
        write(&mut window, now);
        rejected.extend(window.broke(Break::ByPeer).rejected);
    }
    assert_eq!(rejected, [(1, 5)]);
}

#[test]
fn a_batch_cancelled_while_its_group_is_in_flight_does_not_delay_the_others() {
    let (mut window, now) = searching(&[2, 2]);
    assert_eq!(write(&mut window, now), [(1, 0..2)]);
    window.forget(1);
    window.rotated(now);
    assert!(!window.prove(now + LAG).proven);
    assert_eq!(write(&mut window, now), [(2, 0..2)]);
}

#[test]
fn a_suspected_event_is_tried_again_when_nothing_is_left_to_compare_it_with() {
    let (mut window, now) = searching(&[1, 1]);
    for _ in 0..DEATHS_TO_SUSPECT {
        assert_eq!(write(&mut window, now), [(1, 0..1)]);
        window.broke(Break::ByPeer);
    }
    assert_eq!(write(&mut window, now), [(2, 0..1)]);
    window.forget(2);
    assert_eq!(write(&mut window, now), [(1, 0..1)]);
}

#[test]
fn a_search_ends_exactly_when_its_last_group_is_proven() {
    let (mut window, now) = searching(&[2, 2]);
    window.push(3, 2, 0);
    assert_eq!(write(&mut window, now), [(1, 0..2)]);
    window.rotated(now);
    window.prove(now + LAG);
    assert_eq!(write(&mut window, now), [(2, 0..2), (3, 0..2)]);
    window.forget(2);
    assert!(window.is_searching());
    window.rotated(now);
    assert_eq!(window.prove(now + LAG).finished, [3]);
    assert!(!window.is_searching());
}

#[test]
fn suspected_events_are_sent_when_the_search_is_over() {
    let (mut window, now) = searching(&[1]);
    window.push(2, 1, 0);
    for id in [1, 1, 1, 2, 2, 2] {
        assert_eq!(write(&mut window, now), [(id, 0..1)]);
        window.broke(Break::ByPeer);
    }
    window.push(3, 1, 0);
    window.forget(1);
    assert!(!window.is_searching());
    assert_eq!(write(&mut window, now), [(2, 0..1), (3, 0..1)]);
}
