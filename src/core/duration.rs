//! Spans of time in words.

use std::time::Duration;

use jiff::SignedDuration;

/// How long something took, for people: `3.5 s`, `25 s`, `2m 35s`, `27h 3m 5s`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_as_fine_as_people_want_it() {
        let words = |millis| in_words(Duration::from_millis(millis));
        assert_eq!(words(0), "0.0 s");
        assert_eq!(words(3_456), "3.5 s");
        assert_eq!(words(25_000), "25 s");
        assert_eq!(words(155_123), "2m 35s");
        assert_eq!(words(97_385_000), "27h 3m 5s");
    }
}
