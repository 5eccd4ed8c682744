//! The server's clock, as its replies show it.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

use crate::sls::http_date::parse_http_date;
use crate::sls::message::Reply;

/// Only a reply that came within this many seconds shows how far ahead the server's clock is: its date may be from any
/// moment of the request.
const QUICK: i64 = 2;

/// How far the server's clock is ahead of ours, in seconds.
#[derive(Debug, Default)]
pub(super) struct ServerClock {
    /// As shown by the last quick reply.
    ahead: AtomicI64,
    /// The same for signatures: 0 until the difference matters to the server.
    ahead_signing: AtomicI64,
    is_logged: AtomicBool,
}

impl ServerClock {
    /// The current time there, in unix seconds.
    pub(super) fn now(&self) -> i64 {
        Timestamp::now().as_second() + self.ahead.load(Ordering::Relaxed)
    }

    /// A moment of the server, in unix seconds by our clock.
    pub(super) fn by_ours(&self, second: i64) -> i64 {
        second.saturating_sub(self.ahead.load(Ordering::Relaxed))
    }

    /// The time for a signature.
    pub(super) fn signing_time(&self) -> Timestamp {
        let ahead = SignedDuration::from_secs(self.ahead_signing.load(Ordering::Relaxed));
        Timestamp::now().saturating_add(ahead).expect("a signed duration has no calendar units")
    }

    /// Learns the difference from the reply to a request that was sent at `asked`, in unix seconds.
    pub(super) fn observe(&self, asked: i64, reply: &Reply) {
        let now = Timestamp::now().as_second();
        if let Some(date) = server_date(reply).filter(|_| (0..=QUICK).contains(&(now - asked))) {
            self.ahead.store(difference(asked, date, now), Ordering::Relaxed);
        }
    }

    /// As [`ServerClock::observe`] for any reply, and for signatures too. Returns the difference, if the reply has a
    /// date.
    pub(super) fn compare(&self, asked: i64, reply: &Reply) -> Option<i64> {
        let ahead = difference(asked, server_date(reply)?, Timestamp::now().as_second());
        self.ahead.store(ahead, Ordering::Relaxed);
        if ahead != 0 {
            self.ahead_signing.store(ahead, Ordering::Relaxed);
        }
        Some(ahead)
    }

    /// Learns the difference from a reply that refuses our time. Returns whether the reply has a date.
    pub(super) fn learn(&self, reply: &Reply) -> bool {
        let Some(date) = server_date(reply) else { return false };
        let ahead = date - Timestamp::now().as_second();
        self.ahead.store(ahead, Ordering::Relaxed);
        self.ahead_signing.store(ahead, Ordering::Relaxed);
        if !self.is_logged.swap(true, Ordering::Relaxed) {
            let side = if ahead < 0 { "behind" } else { "ahead of" };
            let seconds = ahead.unsigned_abs();
            tracing::warn!("the clock of SLS is {seconds} s {side} this host's: signing with its time; set this clock");
        }
        true
    }
}

/// When the server answered, unix seconds by its clock.
pub(super) fn server_date(reply: &Reply) -> Option<i64> {
    reply.header("date").and_then(parse_http_date).map(Timestamp::as_second)
}

/// How far `date` is ahead. It was taken between `asked` and `now`, and its fraction is cut off.
fn difference(asked: i64, date: i64, now: i64) -> i64 {
    if (asked - 1..=now + 1).contains(&date) { 0 } else { date - now }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_that_may_be_from_the_time_of_the_request_shows_no_difference() {
        for (asked, date, now, ahead) in
            [(10, 9, 10, 0), (10, 11, 10, 0), (10, 14, 15, 0), (10, 12, 10, 2), (10, 8, 10, -2), (10, 310, 11, 299)]
        {
            assert_eq!(difference(asked, date, now), ahead, "{asked} {date} {now}");
        }
    }
}
