//! One rule per test.

use super::*;

const TIMEOUT: Duration = Duration::from_secs(300);
const SECOND: Duration = Duration::from_secs(1);

type Tracker = AckTracker<&'static str>;

fn tracker() -> (Tracker, Instant) {
    (AckTracker::new(TIMEOUT), Instant::now())
}

/// Sends a request that is accepted under this id.
fn accept(tracker: &mut Tracker, waiter: &'static str, id: u64, now: Instant) -> (Post, Completions<&'static str>) {
    let post = tracker.begin(now);
    let completions = tracker.accepted(post, id, Some(waiter), now);
    (post, completions)
}

/// Polls all ids; these are reported as acknowledged.
fn poll(tracker: &mut Tracker, safe: &[u64]) -> Completions<&'static str> {
    let safe = safe.iter().copied().collect();
    tracker.start_round();
    tracker.polls(usize::MAX).iter().flat_map(|poll| tracker.polled(poll, &safe)).collect()
}

#[test]
fn a_request_is_indexed_when_a_poll_says_so_and_not_before() {
    let (mut tracker, now) = tracker();
    assert_eq!(accept(&mut tracker, "a", 0, now).1, []);
    assert_eq!(poll(&mut tracker, &[]), []);
    assert_eq!(poll(&mut tracker, &[1, 7]), [], "nobody asked for those");
    assert_eq!(tracker.waiting().requests, 1);
    assert_eq!(poll(&mut tracker, &[0]), [("a", Fate::Indexed)]);
    assert_eq!((tracker.polls(9), tracker.waiting()), (vec![], Waiting::default()));
}

#[test]
fn a_failed_poll_confirms_nothing_and_is_repeated() {
    let (mut tracker, now) = tracker();
    accept(&mut tracker, "a", 0, now);
    let first = tracker.polls(9);
    tracker.start_round();
    assert_eq!(tracker.polls(9), [], "one at a time");
    tracker.poll_failed(&first[0]);
    assert_eq!(tracker.polls(9), first);
    tracker.poll_failed(&first[0]);
    assert_eq!(tracker.polls(9), [], "once a round");
}

#[test]
fn a_channel_whose_poll_was_given_up_is_polled_again() {
    let (mut tracker, now) = tracker();
    accept(&mut tracker, "a", 0, now);
    tracker.start_round();
    assert_eq!(tracker.polls(9).len(), 1);
    tracker.start_round();
    assert_eq!(tracker.polls(9), [], "a poll is in flight");
    tracker.forget_polls();
    assert_eq!(tracker.polls(9).len(), 1);
}

#[test]
fn a_lost_acknowledgement_among_others_does_not_make_the_indexers_overdue() {
    let (mut tracker, now) = tracker();
    accept(&mut tracker, "lost", 0, now);
    accept(&mut tracker, "later", 1, now + SECOND);
    assert_eq!(poll(&mut tracker, &[1]), [("later", Fate::Indexed)]);
    accept(&mut tracker, "last", 2, now + 2 * SECOND);
    assert_eq!(tracker.expired(now + TIMEOUT), [("lost", Fate::Expired)]);
    assert!(!tracker.is_overdue());
    assert_eq!(tracker.expired(now + TIMEOUT + 2 * SECOND), [("last", Fate::Expired)]);
    assert!(tracker.is_overdue(), "nothing as late was acknowledged");
}

#[test]
fn a_request_that_is_not_acknowledged_in_time_is_sent_again() {
    let (mut tracker, now) = tracker();
    accept(&mut tracker, "a", 0, now);
    accept(&mut tracker, "b", 1, now + SECOND);
    assert_eq!(tracker.expired(now + TIMEOUT - SECOND), []);
    assert_eq!(tracker.expired(now + TIMEOUT), [("a", Fate::Expired)]);
    assert!(tracker.waiting().overdue);
    assert_eq!(poll(&mut tracker, &[0, 1]), [("b", Fate::Indexed)], "what expired is gone");
    assert!(!tracker.waiting().overdue, "something is acknowledged again");
}

#[test]
fn the_first_request_has_its_channel_alone_and_later_ones_share_four_channels() {
    let (mut tracker, now) = tracker();
    let posts: Vec<Post> = (0..6).map(|_| tracker.begin(now)).collect();
    let channels: BTreeSet<_> = posts.iter().map(|post| post.channel).collect();
    assert_eq!(channels.len(), 6, "no cookie is known of any of them");
    for post in posts {
        tracker.accepted(post, 0, Some("x"), now);
    }
    let again: BTreeSet<_> = (0..12).map(|_| tracker.begin(now).channel).collect();
    assert_eq!(again, channels);

    let (mut tracker, now) = self::tracker();
    for number in 0..4 {
        let post = tracker.begin(now + SECOND * number);
        assert_eq!(post.channel, ChannelNumber(0), "one at a time needs one channel");
        tracker.accepted(post, u64::from(number), Some("x"), now);
    }
}

#[test]
fn a_repeated_ack_id_invalidates_its_whole_channel() {
    let (mut tracker, now) = tracker();
    accept(&mut tracker, "a", 0, now);
    accept(&mut tracker, "b", 1, now);
    let late = tracker.begin(now);
    let restarted = tracker.begin(now);
    assert_ne!(late.channel, restarted.channel);
    let completions = tracker.accepted(late, 0, Some("c"), now);
    assert_eq!(completions, [("a", Fate::Lost), ("b", Fate::Lost), ("c", Fate::Lost)]);
    assert!(!tracker.has(late.channel));
    assert_eq!(poll(&mut tracker, &[0, 1]), []);
}

#[test]
fn a_true_that_came_during_a_request_counts_only_once_that_request_is_answered() {
    for (answer, expected) in
        [(2, vec![("b", Fate::Indexed)]), (0, vec![("a", Fate::Lost), ("b", Fate::Lost), ("c", Fate::Lost)])]
    {
        let (mut tracker, now) = tracker();
        accept(&mut tracker, "a", 0, now);
        accept(&mut tracker, "b", 1, now);
        let under_way = tracker.begin(now);
        assert_eq!(poll(&mut tracker, &[1]), []);
        assert_eq!(tracker.accepted(under_way, answer, Some("c"), now), expected);
    }
}

#[test]
fn a_request_without_a_clear_reply_closes_its_channel_and_casts_doubt_on_its_first_id() {
    let (mut tracker, now) = tracker();
    let (first, _) = accept(&mut tracker, "a", 0, now);
    accept(&mut tracker, "b", 1, now);
    let cut_off = tracker.begin(now);
    assert_eq!(cut_off.channel, first.channel);
    assert_eq!(tracker.unclear(cut_off), [("a", Fate::Lost)], "the cut-off one may be number 0 of another life");
    assert_ne!(tracker.begin(now).channel, first.channel);
    assert_eq!(poll(&mut tracker, &[0, 1]), [("b", Fate::Indexed)]);
    assert_eq!(tracker.expired(now), []);
    assert!(!tracker.has(first.channel), "nobody needs it");
}

#[test]
fn a_refusal_casts_no_doubt() {
    let (mut tracker, now) = tracker();
    accept(&mut tracker, "a", 0, now);
    let refused = tracker.begin(now);
    assert_eq!(tracker.refused(refused), []);
    assert_eq!(tracker.begin(now).channel, refused.channel);
    assert_eq!(poll(&mut tracker, &[0]), [], "a request is under way");
}

#[test]
fn an_idle_channel_is_not_used_again() {
    let (mut tracker, now) = tracker();
    let (first, _) = accept(&mut tracker, "a", 0, now);
    poll(&mut tracker, &[0]);
    assert_ne!(tracker.begin(now + MAX_IDLE).channel, first.channel);
    tracker.expired(now + MAX_IDLE);
    assert!(!tracker.has(first.channel));
}

#[test]
fn if_ack_ids_keep_repeating_each_request_gets_its_own_channel() {
    let (mut tracker, now) = tracker();
    for _ in 0..MAX_COLLISIONS {
        assert!(!tracker.is_scattered());
        accept(&mut tracker, "a", 0, now);
        assert_eq!(accept(&mut tracker, "b", 0, now).1.len(), 2);
    }
    assert!(tracker.is_scattered());
    let posts: Vec<Post> = (0..5).map(|_| accept(&mut tracker, "c", 0, now).0).collect();
    assert_eq!(posts.iter().map(|post| post.channel).collect::<BTreeSet<_>>().len(), 5);
    assert_eq!(poll(&mut tracker, &[0]).len(), 5);
    assert!(tracker.is_scattered(), "the balancer is still there");
}

#[test]
fn an_indexer_that_restarts_occasionally_is_not_taken_for_a_load_balancer() {
    let (mut tracker, now) = tracker();
    for _ in 0..10 {
        accept(&mut tracker, "a", 0, now);
        poll(&mut tracker, &[0]);
        accept(&mut tracker, "b", 0, now);
        accept(&mut tracker, "c", 0, now);
        poll(&mut tracker, &[0]);
        tracker.expired(now + MAX_IDLE);
    }
    assert!(!tracker.is_scattered());
}

#[test]
fn many_ids_and_many_channels_are_polled_in_turn() {
    let (mut tracker, now) = tracker();
    let most = MAX_IDS_PER_POLL as u64;
    for id in 0..most + 10 {
        accept(&mut tracker, "a", id, now);
    }
    let mut asked = Vec::new();
    for _ in 0..2 {
        tracker.start_round();
        let poll = tracker.polls(9).remove(0);
        tracker.polled(&poll, &BTreeSet::new());
        asked.push((poll.ids.len(), poll.ids[0]));
    }
    assert_eq!(asked, [(MAX_IDS_PER_POLL, 0), (MAX_IDS_PER_POLL, most)]);

    let (mut tracker, now) = self::tracker();
    let posts: Vec<Post> = (0..5).map(|_| tracker.begin(now)).collect();
    for post in posts {
        tracker.accepted(post, 0, Some("a"), now);
    }
    tracker.start_round();
    let asked: Vec<u64> = (0..5)
        .map(|_| {
            let poll = tracker.polls(1).remove(0);
            tracker.poll_failed(&poll);
            poll.channel.0
        })
        .collect();
    assert_eq!((asked, tracker.polls(1)), (vec![0, 1, 2, 3, 4], vec![]));
}

#[test]
fn unordered_ids_use_bounded_memory() {
    let (mut tracker, now) = tracker();
    let (first, _) = accept(&mut tracker, "a", 1, now);
    for id in 0..MAX_GAPS as u64 + 1 {
        let (post, _) = accept(&mut tracker, "b", 2 * id + 3, now);
        if post.channel != first.channel {
            return;
        }
    }
    panic!("the channel is used for ever");
}
