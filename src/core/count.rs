//! Numbers for people.

use std::fmt::Display;

/// `1 gap`, `2 gaps`.
#[must_use]
pub fn count<N: Display + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    let plural = if number == N::from(1) { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// A number with a comma between thousands: `100,000`.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A size for people, in steps of a thousand: `999 B`, `1.0 kB`, `12.3 MB`.
#[must_use]
pub fn bytes(number: u64) -> String {
    if number < 1000 {
        return format!("{number} B");
    }
    let (mut size, mut unit) = (number as f64 / 1e3, "kB");
    for larger in ["MB", "GB", "TB"] {
        // A value that would be rounded to 1000.0 uses the next unit.
        if size < 999.95 {
            break;
        }
        (size, unit) = (size / 1e3, larger);
    }
    format!("{size:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        assert_eq!([0, 999, 1_000, 1_204_311].map(thousands), ["0", "999", "1,000", "1,204,311"]);
    }

    #[test]
    fn byte_counts_have_a_fitting_unit() {
        let texts = [0, 999, 1_000, 999_949, 999_950, 12_345_678, 5_000_000_000, u64::MAX].map(bytes);
        assert_eq!(texts, ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "12.3 MB", "5.0 GB", "18446744.1 TB"]);
    }

    #[test]
    fn one_is_singular_and_zero_is_plural() {
        assert_eq!([0_u64, 1, 2].map(|number| count(number, "gap")), ["0 gaps", "1 gap", "2 gaps"]);
    }
}
