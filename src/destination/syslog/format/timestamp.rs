//! Times in the formats of syslog.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use crate::core::event::{BodyError, Time};

/// The start of year 1: earlier years do not have four digits in every zone.
const FIRST_SECOND: i64 = -62_135_596_800;

const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// When an event happened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment(Timestamp);

impl Moment {
    /// Parses the digits without a float.
    pub(super) fn of(time: &Time<'_>) -> Result<Self, BodyError> {
        read(time).map(Self).ok_or_else(|| {
            BodyError::new(
                "time",
                format!("{} is not in the years 1 to 9999: unix seconds are needed, not milliseconds", time.digits),
            )
        })
    }

    /// Appends a TIMESTAMP (RFC 5424 section 6.2.3), in the zone if there is one, else in UTC. Microseconds are
    /// written if they are not 0, or with `always`; finer digits are dropped.
    pub(super) fn write_rfc3339(self, zone: Option<&TimeZone>, always: bool, out: &mut Vec<u8>) {
        let offset = zone.map_or(Offset::UTC, |zone| self.offset(zone));
        let civil = offset.to_datetime(self.0);
        let (year, seconds) = (civil.year().unsigned_abs(), offset.seconds());
        out.extend_from_slice(&pair(year / 100));
        out.extend_from_slice(&pair(year % 100));
        for (before, part) in [(b'-', civil.month()), (b'-', civil.day())] {
            out.push(before);
            out.extend_from_slice(&pair(part.unsigned_abs().into()));
        }
        out.push(b'T');
        write_clock(&civil, out);
        let micros = civil.subsec_nanosecond().unsigned_abs() / 1000;
        if micros != 0 || always {
            out.push(b'.');
            for part in [micros / 10_000, micros / 100 % 100, micros % 100] {
                out.extend_from_slice(&pair(part as u16));
            }
        }
        if seconds == 0 {
            out.push(b'Z');
        } else {
            let minutes = (seconds.unsigned_abs() / 60) as u16;
            out.push(if seconds < 0 { b'-' } else { b'+' });
            out.extend_from_slice(&pair(minutes / 60));
            out.push(b':');
            out.extend_from_slice(&pair(minutes % 60));
        }
    }

    /// Appends a TIMESTAMP of RFC 3164 section 4.1.2: `Mar  5 07:08:09`.
    pub(super) fn write_rfc3164(self, zone: &TimeZone, out: &mut Vec<u8>) {
        let civil = self.offset(zone).to_datetime(self.0);
        out.extend_from_slice(MONTHS[usize::from(civil.month().unsigned_abs()) - 1]);
        out.push(b' ');
        let [ten, one] = pair(civil.day().unsigned_abs().into());
        out.extend_from_slice(&[if ten == b'0' { b' ' } else { ten }, one, b' ']);
        write_clock(&civil, out);
    }

    /// The zone's offset at that time, in whole minutes: the formats have no seconds.
    fn offset(self, zone: &TimeZone) -> Offset {
        let seconds = zone.to_offset(self.0).seconds();
        Offset::from_seconds(seconds - seconds % 60).expect("an offset rounded towards UTC is valid")
    }
}

fn read(time: &Time<'_>) -> Option<Timestamp> {
    let (sign, digits) = match time.digits.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, &*time.digits),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let seconds = sign * whole.parse::<i64>().ok()?;
    let nanos = match time.nanos {
        Some(nanos) => i32::try_from(nanos).ok()?,
        None => {
            let nanos = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
            sign as i32 * nanos.fold(0, |nanos, digit| nanos * 10 + i32::from(digit - b'0'))
        }
    };
    Timestamp::new(seconds, nanos).ok().filter(|moment| moment.as_second() >= FIRST_SECOND)
}

fn write_clock(civil: &DateTime, out: &mut Vec<u8>) {
    let [h, m, s] = [civil.hour(), civil.minute(), civil.second()].map(|part| pair(part.unsigned_abs().into()));
    out.extend_from_slice(&[h[0], h[1], b':', m[0], m[1], b':', s[0], s[1]]);
}

/// A number below 100 as two digits.
fn pair(number: u16) -> [u8; 2] {
    [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(digits: &str, nanos: Option<u32>) -> Moment {
        Moment::of(&Time { digits: digits.to_owned().into(), nanos }).unwrap()
    }

    #[track_caller]
    fn check(digits: &str, nanos: Option<u32>, zone: Option<&str>, always: bool, expected: &str) {
        let zone = zone.map(|name| TimeZone::get(name).unwrap());
        let mut out = Vec::new();
        moment(digits, nanos).write_rfc3339(zone.as_ref(), always, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_timestamp_has_at_most_six_digits_of_fraction() {
        check("1700000000", None, None, false, "2023-11-14T22:13:20Z");
        check("1700000000", None, None, true, "2023-11-14T22:13:20.000000Z");
        check("1700000000.5", None, None, false, "2023-11-14T22:13:20.500000Z");
        check("1700000000.123456789123", None, None, false, "2023-11-14T22:13:20.123456Z");
        check("1700000000", Some(1_999), None, false, "2023-11-14T22:13:20.000001Z");
        check("1700000000", Some(999_999_999), None, false, "2023-11-14T22:13:20.999999Z");
        check("0000001700000000", None, None, false, "2023-11-14T22:13:20Z");
    }

    #[test]
    fn a_moment_before_1970_counts_backwards() {
        check("-1", None, None, false, "1969-12-31T23:59:59Z");
        check("-0.25", None, None, false, "1969-12-31T23:59:59.750000Z");
        check("-62135596800", None, None, false, "0001-01-01T00:00:00Z");
    }

    #[test]
    fn an_offset_is_the_one_in_effect_at_that_time() {
        check("1700000000", None, Some("Asia/Shanghai"), false, "2023-11-15T06:13:20+08:00");
        check("1700000000", None, Some("Asia/Kolkata"), false, "2023-11-15T03:43:20+05:30");
        check("1700000000", None, Some("America/New_York"), false, "2023-11-14T17:13:20-05:00");
        check("1690000000", None, Some("America/New_York"), false, "2023-07-22T00:26:40-04:00");
        check("1700000000", None, Some("Europe/London"), false, "2023-11-14T22:13:20Z");
        check("-4000000000", None, Some("Asia/Kolkata"), false, "1843-03-31T22:46:20+05:53");
    }

    #[test]
    fn a_time_outside_four_digit_years_is_refused() {
        for wrong in ["1700000000000000", "-62135596801", "99999999999999999999", "253402300800"] {
            let error = Moment::of(&Time { digits: wrong.into(), nanos: None }).unwrap_err();
            assert!(error.to_string().starts_with(&format!("time: {wrong} is not in the years")), "{error}");
        }
    }

    #[test]
    fn an_rfc_3164_timestamp_pads_the_day_with_a_space() {
        let check = |digits, zone: &str, expected: &str| {
            let mut out = Vec::new();
            moment(digits, None).write_rfc3164(&TimeZone::get(zone).unwrap(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check("1709622489", "UTC", "Mar  5 07:08:09");
        check("1709622489", "Asia/Shanghai", "Mar  5 15:08:09");
        check("1700000000", "Asia/Shanghai", "Nov 15 06:13:20");
    }
}
