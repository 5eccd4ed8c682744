//! Durations as text for people.

use std::time::Duration;

use jiff::SignedDuration;

/// An exact duration: `3.5 s`, `25 s`, `2m 35s`, `27h 3m 5s`.
#[must_use]
pub fn in_words(span: Duration) -> String {
    if span < Duration::from_secs(10) {
        return format!("{:.1} s", span.as_secs_f64());
    }
    if span < Duration::from_secs(60) {
        return format!("{} s", span.as_secs());
    }
    let seconds = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    format!("{:#}", SignedDuration::from_secs(seconds))
}

/// An approximate duration: `40 s`, `4 min`, `6 h`, `3 d`.
#[must_use]
pub fn roughly(span: Duration) -> String {
    let seconds = span.as_secs();
    match (seconds / 60, seconds / 3_600, seconds / 86_400) {
        (0, ..) => format!("{seconds} s"),
        (minutes, 0, _) => format!("{minutes} min"),
        (_, hours, 0 | 1) => format!("{hours} h"),
        (.., days) => format!("{days} d"),
    }
}

/// How long a request takes, in seconds: `250 ms`, `2.5 s`, `over 1 h`.
#[must_use]
pub fn latency(seconds: f64) -> String {
    match seconds {
        seconds if seconds.is_infinite() => "over 1 h".to_owned(),
        seconds if seconds < 1.0 => format!("{} ms", seconds * 1_000.0),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_has_the_unit_that_suits_it() {
        assert_eq!([0.025, 2.5, f64::INFINITY].map(latency), ["25 ms", "2.5 s", "over 1 h"]);
    }

    #[test]
    fn a_rough_span_has_one_unit() {
        let words = |seconds| roughly(Duration::from_secs(seconds));
        assert_eq!([0, 59, 119, 3_600, 172_799, 172_800].map(words), ["0 s", "59 s", "1 min", "1 h", "47 h", "2 d"]);
    }

    #[test]
    fn a_span_is_shown_with_a_readable_precision() {
        let words = |millis| in_words(Duration::from_millis(millis));
        assert_eq!(words(0), "0.0 s");
        assert_eq!(words(3_456), "3.5 s");
        assert_eq!(words(25_000), "25 s");
        assert_eq!(words(155_123), "2m 35s");
        assert_eq!(words(97_385_000), "27h 3m 5s");
    }
}
