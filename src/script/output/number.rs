//! Numbers as text. JSON, `key=value` text, syslog lines, attributes and `tostring` all use this code, so that a
//! number looks the same everywhere.

/// Up to this absolute value, a float represents exactly one integer.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Appends a float with the fewest digits that parse to the same value, a whole number without a fraction; `false`
/// for a value that JSON cannot represent.
#[must_use]
pub(crate) fn float(number: f64, out: &mut Vec<u8>) -> bool {
    if !number.is_finite() {
        return false;
    }
    match whole(number) {
        Some(whole) => integer(whole, out),
        None => serde_json::to_writer(out, &number).expect("writing to a Vec cannot fail"),
    }
    true
}

/// Appends an integer.
pub(crate) fn integer(number: i64, out: &mut Vec<u8>) {
    serde_json::to_writer(out, &number).expect("writing to a Vec cannot fail");
}

/// The integer that a float represents, if exactly one.
pub(crate) fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_floats_have_no_fraction_and_others_round_trip() {
        let check = |number: f64, expected: &str| {
            let mut out = Vec::new();
            assert!(float(number, &mut out));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check(5.0, "5");
        check(-0.0, "0");
        check(0.1, "0.1");
        check(1e15, "1000000000000000");
        check(2_251_799_842_149_407.0, "2251799842149407");
        check(1_700_000_000.123_456, "1700000000.123456");
        check(1e300, "1e+300");
        assert!(!float(f64::NAN, &mut Vec::new()));
        assert!(!float(f64::NEG_INFINITY, &mut Vec::new()));
    }
}
