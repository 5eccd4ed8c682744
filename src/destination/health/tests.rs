//! The log lines and the health after results.

use super::super::peers::Peers;
use super::*;
use crate::core::test_log::log;

fn tracker() -> (HealthTracker, Instant) {
    (HealthTracker::new("Splunk HEC", "https://splunk.example:8088".to_owned()), Instant::now())
}

#[test]
fn one_quick_failure_is_no_outage_and_two_are() {
    let (tracker, now) = tracker();
    tracker.up(now);
    tracker.failed(now, now, &Cause::new("503"));
    assert_eq!(tracker.health(), Health::Up { since: now });
    let later = now + Duration::from_secs(1);
    tracker.failed(later, later, &Cause::new("504"));
    let cause = "504".to_owned();
    assert_eq!(tracker.health(), Health::Down { since: now, cause });
}

#[test]
fn a_failure_that_took_long_is_an_outage_at_once() {
    let (tracker, now) = tracker();
    tracker.failed(now, now + SLOW_FAILURE, &Cause::new("no reply in time"));
    assert!(matches!(tracker.health(), Health::Down { since, .. } if since == now));
}

#[test]
fn a_quick_failure_whose_next_try_is_far_away_is_an_outage_at_once() {
    let (tracker, now) = tracker();
    tracker.up(now);
    tracker.failed_until(now, now, now + SLOW_FAILURE, &Cause::new("503"));
    assert!(matches!(tracker.health(), Health::Down { since, .. } if since == now));
}

#[test]
fn an_outage_and_a_refusal_are_logged_once_each_even_when_they_alternate() {
    let lines = logged(|tracker, now| {
        for turn in 0..20 {
            let now = now + turn * Duration::from_secs(20);
            tracker.failed(now, now + SLOW_FAILURE, &Cause::new(format!("HTTP 503, request {turn}")));
            tracker.held(now + SLOW_FAILURE, &Cause::new("HTTP 403"));
        }
        tracker.up(now + Duration::from_secs(3_725));
    });
    let words: Vec<_> = lines.lines().map(|line| line.split("Splunk HEC ").nth(1).unwrap()).collect();
    assert_eq!(words.len(), 3, "{lines}");
    assert!(words[0].starts_with("is down; nothing is lost"), "{lines}");
    assert!(words[1].starts_with("rejects our requests; checkpoint not moved"), "{lines}");
    assert!(words[2].starts_with("is up again after 1h 2m 5s"), "{lines}");
}

#[test]
fn while_another_member_works_a_failure_is_not_described_as_an_outage() {
    let (_log, lines) = log();
    let (peers, now) = (Peers::default(), Instant::now());
    let tracker = |number| {
        let url = format!("https://splunk-{number}.example:8088");
        HealthTracker::of_member("Splunk HEC", url, Arc::new(peers.join()), "the others have its events")
    };
    let (one, other) = (tracker(1), tracker(2));
    one.held(now, &Cause::new("HTTP 403"));
    other.failed(now, now + SLOW_FAILURE, &Cause::new("no reply in time"));
    other.up(now);
    one.failed(now, now + SLOW_FAILURE, &Cause::new("refused"));
    let lines = lines.text();
    let words: Vec<_> = lines.lines().map(|line| line.split("Splunk HEC ").nth(1).unwrap()).collect();
    assert_eq!(words.len(), 4, "{lines}");
    assert!(words[0].starts_with("rejects our requests; the others have its events, probing"), "{lines}");
    assert!(words[1].starts_with("is down; nothing is lost, trying"), "it is the last one: {lines}");
    assert!(words[3].starts_with("is down; the others have its events, trying"), "{lines}");
}

#[test]
fn a_new_cause_is_logged_at_once() {
    let lines = logged(|tracker, now| {
        let at = |seconds| now + Duration::from_secs(seconds);
        for (seconds, cause) in [(0, "cannot connect"), (6, "cannot connect"), (12, "certificate has expired")] {
            tracker.failed(at(seconds), at(seconds), &Cause::new(cause));
        }
        assert!(matches!(tracker.health(), Health::Down { cause, .. } if cause == "certificate has expired"));
        for (seconds, cause) in [(18, "HTTP 403"), (20, "HTTP 403"), (22, "HTTP 404")] {
            tracker.held(at(seconds), &Cause::new(cause));
        }
    });
    let words: Vec<_> = lines.lines().map(|line| line.split("Splunk HEC ").nth(1).unwrap()).collect();
    assert_eq!(words.len(), 4, "{lines}");
    assert!(words[0].starts_with("is down") && words[0].contains("cannot connect"), "{lines}");
    assert!(words[1].starts_with("is still down") && words[1].contains("certificate has expired"), "{lines}");
    assert!(words[2].contains("HTTP 403") && words[3].contains("HTTP 404"), "{lines}");
}

#[test]
fn a_failed_check_is_logged_and_not_again_by_the_first_delivery() {
    let lines = logged(|tracker, now| {
        tracker.check_failed(now, now, &CheckError::Down(Cause::new("refused")));
        for turn in 1..5 {
            let now = now + Duration::from_secs(turn);
            tracker.failed(now, now, &Cause::new("refused"));
        }
        assert!(matches!(tracker.health(), Health::Down { since, .. } if since == now));
        tracker.up(now + Duration::from_secs(10));
        tracker.failed(now + Duration::from_secs(20), now + Duration::from_secs(30), &Cause::new("refused"));
    });
    assert_eq!(lines.matches("is down; nothing is lost").count(), 2, "once for each outage: {lines}");
}

#[test]
fn a_changed_refusal_is_logged_again_at_most_once_a_minute() {
    let lines = logged(|tracker, now| {
        for turn in 0..=10 {
            let page = Cause::new(format!("HTTP 403, not from a collector: blocked, request {turn}"));
            tracker.held(now + turn * Duration::from_secs(15), &page);
        }
    });
    assert_eq!(lines.matches("rejects our requests").count(), 3, "at 0, 60 and 120 s: {lines}");
    for turn in [0, 4, 8] {
        assert!(lines.contains(&format!("request {turn}")), "{lines}");
    }
}

/// What is logged while `work` runs.
fn logged(work: impl FnOnce(&HealthTracker, Instant)) -> String {
    let (_log, lines) = log();
    let (tracker, now) = tracker();
    work(&tracker, now);
    lines.text()
}

#[test]
fn a_success_in_between_resets_the_count_of_failures() {
    let (tracker, began) = tracker();
    tracker.up(began);
    for seconds in 1..5 {
        let now = began + Duration::from_secs(seconds);
        tracker.failed(now, now, &Cause::new("reset"));
        tracker.up(now);
    }
    assert_eq!(tracker.health(), Health::Up { since: began });
}

#[test]
fn past_outages_are_remembered_for_a_day_in_bounded_number() {
    let (tracker, start) = tracker();
    let at = |seconds| start + Duration::from_secs(seconds);
    let hour = 3_600;
    for turn in 0..100 {
        tracker.held(at(turn * hour), &Cause::new(format!("HTTP {turn}")));
        tracker.up(at(turn * hour + 60));
        tracker.up(at(turn * hour + 61));
    }
    let outages = tracker.outages(at(100 * hour));
    assert_eq!(outages.len(), 24);
    let last = PastOutage { began: at(99 * hour), ended: at(99 * hour + 60), cause: "HTTP 99".into() };
    assert_eq!(outages.last(), Some(&last));
    assert!(tracker.lock().past.len() <= MAX_OUTAGES);
}

#[test]
fn a_refusal_has_a_remedy_and_keeps_the_time_at_which_it_began() {
    let (tracker, now) = tracker();
    tracker.failed(now, now, &Cause::new("503"));
    let cause = Cause { what: "HTTP 403".to_owned(), hint: Some("enable the token") };
    tracker.held(now + SLOW_FAILURE, &cause);
    let cause = "HTTP 403 (enable the token)".to_owned();
    assert_eq!(tracker.health(), Health::Refusing { since: now, cause });
}
