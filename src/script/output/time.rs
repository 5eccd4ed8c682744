//! Times as digits.

use std::borrow::Cow;

use jiff::Timestamp;

use crate::core::event::Time;

/// The time of a log from its fields `__time__` and `__time_ns_part__`, if they have the format that SLS uses.
pub(crate) fn of_log(digits: String, part: Option<String>) -> Option<Time<'static>> {
    let nanos = part.and_then(|part| nanos(&part)).filter(|_| !digits.contains('.'));
    is_digits(&digits).then_some(Time { digits: Cow::Owned(digits), nanos })
}

/// Whether the text is `-?[0-9]+` or `-?[0-9]+\.[0-9]+`.
#[inline]
pub(crate) fn is_digits(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.as_bytes().iter().all(u8::is_ascii_digit);
    let signed = || {
        let number = text.strip_prefix('-').unwrap_or(text);
        digits(number) || number.split_once('.').is_some_and(|(seconds, fraction)| digits(seconds) && digits(fraction))
    };
    // Nearly all times are plain digits.
    digits(text) || signed()
}

/// Start of the year 1. Earlier years do not have four digits.
const FIRST_SECOND: i64 = -62_135_596_800;

/// Whether the digits are unix seconds in the years 1 to 9999, which every destination can write; otherwise the error
/// names the likely unit, if one is plausible.
pub(crate) fn check(digits: &str) -> Result<(), String> {
    // Any text of this length is in range. This covers all usual times.
    if digits.len() <= 11 {
        return Ok(());
    }
    let whole = digits.split_once('.').map_or(digits, |(whole, _)| whole).parse::<i64>().ok();
    if whole.is_some_and(|seconds| (FIRST_SECOND..=Timestamp::MAX.as_second()).contains(&seconds)) {
        return Ok(());
    }
    let units = [(1_000, "milliseconds"), (1_000_000, "microseconds"), (1_000_000_000, "nanoseconds")];
    // Times from 1973 to 2128 are considered plausible.
    let is_of_our_days = |&(in_a_second, _): &(i64, _)| {
        whole.is_some_and(|whole| (100_000_000..5_000_000_000).contains(&(whole / in_a_second)))
    };
    let hint = match units.iter().find(|unit| is_of_our_days(unit)) {
        Some((in_a_second, unit)) => format!("these are {unit}: divide by {in_a_second}"),
        None => "they are not in the years 1 to 9999".to_owned(),
    };
    Err(format!("expected unix seconds, not {}: {hint}", digits.chars().take(40).collect::<String>()))
}

/// The digits of a float, rounded to microseconds, the precision of a float for current times.
pub(crate) fn of_float(seconds: f64) -> Result<String, String> {
    const MAX_SECONDS: f64 = 1e19;
    if !seconds.is_finite() || seconds.abs() > MAX_SECONDS {
        return Err(format!("{seconds} is not a time in unix seconds"));
    }
    let digits = format!("{seconds:.6}");
    let short = digits.trim_end_matches('0').trim_end_matches('.');
    Ok(if short == "-0" { "0".to_owned() } else { short.to_owned() })
}

/// Nanoseconds within a second, from plain decimal digits.
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
        assert!(of_float(1e20).is_err());
    }

    #[test]
    fn a_time_outside_four_digit_years_is_an_error_that_guesses_the_unit() {
        for good in ["0", "-0.5", "1700000000", "1700000000.123", "-62135596800", "253402207200", "0000000000000001"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let check = |digits: &str, hint: &str| {
            assert_eq!(check(digits), Err(format!("expected unix seconds, not {digits}: {hint}")));
        };
        check("1700000000123", "these are milliseconds: divide by 1000");
        check("1700000000123.5", "these are milliseconds: divide by 1000");
        check("1700000000123456", "these are microseconds: divide by 1000000");
        check("1700000000123456789", "these are nanoseconds: divide by 1000000000");
        for never in ["-62135596801", "9000000000000", "99999999999999999999"] {
            check(never, "they are not in the years 1 to 9999");
        }
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
