//! Numbers with units: `"20s"`, `"1MB"`.

use std::time::Duration;

const TIME: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZE: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

/// Reads `"500ms"`, `"20s"`, `"2m"`, `"1.5h"`, `"1d"`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    quantity(text, TIME).map(Duration::from_millis)
}

/// Reads `"512KiB"`, `"1MB"`, `"1.5GiB"` into bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    quantity(text, SIZE)
}

/// Writes a duration as [`duration`] reads it, in the largest unit without a fraction.
pub(super) fn show_duration(value: Duration) -> String {
    show(u64::try_from(value.as_millis()).unwrap_or(u64::MAX), TIME, "ms")
}

/// Writes a size as [`size`] reads it, in the largest unit without a fraction.
pub(super) fn show_size(bytes: u64) -> String {
    show(bytes, SIZE, "B")
}

/// A number, whole or with a decimal fraction, and a unit; the result is in the smallest unit.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = (&text[..digits], text[digits..].trim_start());
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let tenths = 10_u64.pow(fraction.len() as u32);
    let whole = whole.parse::<u64>().ok()?.checked_mul(*scale)?;
    let fraction = u128::from(fraction.parse::<u64>().ok()?) * u128::from(*scale) / u128::from(tenths);
    whole.checked_add(u64::try_from(fraction).ok()?)
}

fn show(value: u64, units: &[(&str, u64)], least: &str) -> String {
    let fits = |(_, scale): &&(&str, u64)| value != 0 && value.is_multiple_of(*scale);
    match units.iter().filter(fits).max_by_key(|(_, scale)| *scale) {
        Some((unit, scale)) => format!("{}{unit}", value / scale),
        None => format!("{value}{least}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        let check =
            |text: &str, millis: Option<u64>| assert_eq!(duration(text), millis.map(Duration::from_millis), "{text}");
        check("500ms", Some(500));
        check("20s", Some(20_000));
        check("2m", Some(120_000));
        check("1.5h", Some(5_400_000));
        check(" 1 d ", Some(86_400_000));
        check("0s", Some(0));
        for wrong in ["", "20", "s", ".s", "1.s", "1.2.3s", "20sec", "20S", "-1s", "1e3s", "99999999999999999999s"] {
            check(wrong, None);
        }
    }

    #[test]
    fn sizes_have_units_and_kb_differs_from_kib() {
        let check = |text: &str, bytes: Option<u64>| assert_eq!(size(text), bytes, "{text}");
        check("1MB", Some(1_000_000));
        check("64MiB", Some(67_108_864));
        check("1.5KiB", Some(1_536));
        check("1 GiB", Some(1 << 30));
        check("17B", Some(17));
        for wrong in ["", "1000000", "1M", "1mb", "MB", "-1MB", "99999999999GiB"] {
            check(wrong, None);
        }
    }

    #[test]
    fn shown_values_can_be_read_back() {
        for text in ["1ms", "100ms", "20s", "90s", "2m", "1h", "1d"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
        for text in ["17B", "10KB", "1MB", "64MiB", "1GiB"] {
            assert_eq!(show_size(size(text).unwrap()), text);
        }
        assert_eq!(show_duration(Duration::ZERO), "0ms");
    }
}
