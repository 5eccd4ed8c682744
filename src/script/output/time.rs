//! Moments as digits.

use std::borrow::Cow;

use crate::core::event::Time;

/// The time of a log by its fields `__time__` and `__time_ns_part__`, when they hold what SLS puts there.
pub(crate) fn of_log(digits: String, part: Option<String>) -> Option<Time<'static>> {
    let nanos = part.and_then(|part| nanos(&part)).filter(|_| !digits.contains('.'));
    is_digits(&digits).then_some(Time { digits: Cow::Owned(digits), nanos })
}

/// Whether the text is `-?[0-9]+` or `-?[0-9]+\.[0-9]+`.
pub(crate) fn is_digits(text: &str) -> bool {
    let number = text.strip_prefix('-').unwrap_or(text);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(number) || number.split_once('.').is_some_and(|(seconds, fraction)| digits(seconds) && digits(fraction))
}

/// A float's digits, rounded to microseconds, which is what a float can tell of a moment of our days.
pub(crate) fn of_float(seconds: f64) -> Result<String, String> {
    const MOST: f64 = 1e15;
    if !seconds.is_finite() || seconds.abs() > MOST {
        return Err(format!("{seconds} is not a time in unix seconds"));
    }
    let digits = format!("{seconds:.6}");
    let short = digits.trim_end_matches('0').trim_end_matches('.');
    Ok(if short == "-0" { "0".to_owned() } else { short.to_owned() })
}

/// Nanoseconds within a second, from their plain decimal.
pub(crate) fn nanos(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&nanos| plain && nanos < 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_decimals_are_digits() {
        for good in ["0", "1700000000", "-5", "1700000000.123456789", "-0.5"] {
            assert!(is_digits(good), "{good}");
        }
        for bad in ["", "-", "1.", ".5", "1e9", "+1", " 1", "1 ", "0x10", "1.2.3", "--1", "inf", "١"] {
            assert!(!is_digits(bad), "{bad}");
        }
    }

    #[test]
    fn a_float_is_rounded_to_microseconds() {
        let check = |seconds: f64, expected: &str| assert_eq!(of_float(seconds).unwrap(), expected);
        check(1_700_000_000.0, "1700000000");
        check(1_700_000_000.25, "1700000000.25");
        check(1_700_000_000.123_456_7, "1700000000.123457");
        check(100.0, "100");
        check(-0.000_000_1, "0");
        assert!(of_float(f64::NAN).is_err());
        assert!(of_float(1e16).is_err());
    }

    #[test]
    fn nanoseconds_stay_within_a_second() {
        assert_eq!(nanos("5"), Some(5));
        assert_eq!(nanos("999999999"), Some(999_999_999));
        assert_eq!(nanos("1000000000"), None);
        assert_eq!(nanos("+5"), None);
        assert_eq!(nanos(""), None);
    }
}
