//! Parses start and end positions of shards.

use std::fmt;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::problem::Complaint;
use super::units;
use crate::core::cursor::Start;

/// How many seconds a start may be in the future, to allow for clock differences and time zones.
const MAX_START_AHEAD: i64 = 86_400;

/// A position, and its typed form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartPosition {
    /// The position for SLS.
    pub start: Start,
    /// As it was typed.
    pub typed: String,
    /// The local time zone, if the typed time has no offset.
    pub zone: Option<String>,
}

/// `begin`, `end`, or `2018-12-25T16:00:00Z ("2018-12-26 0:0:0" in Asia/Shanghai)`.
impl fmt::Display for StartPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.start {
            Start::Begin => f.write_str("begin"),
            Start::End => f.write_str("end"),
            Start::Time(seconds) => {
                write!(f, "{} (\"{}\"", instant(seconds), self.typed)?;
                match &self.zone {
                    Some(zone) => write!(f, " in {zone})"),
                    None => f.write_str(")"),
                }
            }
        }
    }
}

/// Parses a start: a [`position`] that is not far in the future.
pub(super) fn parse(text: &str, now: Timestamp, zone: &TimeZone) -> Result<StartPosition, Complaint> {
    let read = position(text, now, zone)?;
    match read.start {
        Start::Time(second) if second > now.as_second() + MAX_START_AHEAD => Err(Complaint::new(
            format!("{text:?} is more than a day in the future ({})", instant(second)),
            "write end to read only what is written from now on",
        )),
        _ => Ok(read),
    }
}

/// Parses an end: a [`position`] after `start`. `end` is the current time.
pub(super) fn parse_until(
    text: &str,
    start: Option<&StartPosition>,
    now: Timestamp,
    zone: &TimeZone,
) -> Result<StartPosition, Complaint> {
    let mut read = position(text, now, zone)?;
    if read.start == Start::End {
        // The same for every shard, whenever it is acquired: the current second is included.
        read.start = Start::Time(now.as_second() + 1);
    }
    let is_behind = match (start.map(|start| start.start), read.start) {
        (_, Start::Begin | Start::End) => false,
        (Some(Start::End), Start::Time(until)) => until > now.as_second() + 1,
        (Some(Start::Time(start)), Start::Time(until)) => until > start,
        (None | Some(Start::Begin), Start::Time(_)) => true,
    };
    if is_behind {
        return Ok(read);
    }
    let start = start.map_or_else(|| "the oldest log".to_owned(), ToString::to_string);
    let fix = "write a time after the start, or end for the logs that are there now";
    Err(Complaint::new(format!("{text:?} is not after the start, {start}: there would be nothing to read"), fix))
}

/// Parses the end of a range: as [`parse_until`], but not in the future.
pub(super) fn parse_past(
    text: &str,
    start: &StartPosition,
    now: Timestamp,
    zone: &TimeZone,
) -> Result<StartPosition, Complaint> {
    let read = parse_until(text, Some(start), now, zone)?;
    match read.start {
        Start::Time(second) if second > now.as_second() + 1 => Err(Complaint::new(
            format!("{text:?} is in the future ({})", instant(second)),
            "write end for what has been received by now: the live group delivers what comes later",
        )),
        _ => Ok(read),
    }
}

fn instant(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a position comes from a timestamp")
}

/// Parses a position: `begin` or `end` in any case, unix seconds, a span before now (`-2h`, `2h ago`, `20d`), or a
/// date and time as in RFC 3339 and ISO 8601. Parts may have one digit, the time may be missing, and a time without
/// an offset is in `zone`, as in the vendor's SDK. Fractions of a second are dropped, because SLS counts in seconds.
fn position(text: &str, now: Timestamp, zone: &TimeZone) -> Result<StartPosition, Complaint> {
    let text = text.trim();
    let position = |start, zone| StartPosition { start, typed: text.to_owned(), zone };
    if text.eq_ignore_ascii_case("begin") {
        return Ok(position(Start::Begin, None));
    }
    if text.eq_ignore_ascii_case("end") {
        return Ok(position(Start::End, None));
    }
    let (instant, zone) = match unix_seconds(text).or_else(|| before_now(text, now)) {
        Some(instant) => (instant?, None),
        None => date_and_time(text, zone)?,
    };
    if instant.as_second() < 0 {
        return Err(Complaint::new(
            format!("{text:?} is before 1970"),
            "write begin for the oldest log that is retained",
        ));
    }
    Ok(position(Start::Time(instant.as_second()), zone))
}

/// A number, if it is one.
fn unix_seconds(text: &str) -> Option<Result<Timestamp, Complaint>> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let seconds = whole.parse::<i64>().unwrap_or(i64::MAX);
    // Eleven digits of seconds end in the year 5138; milliseconds have had twelve since 1973.
    if seconds >= 100_000_000_000 {
        return Some(Err(Complaint::new(
            format!("{text} is too large for unix seconds: it looks like milliseconds"),
            "leave the last three digits out",
        )));
    }
    if whole.len() == 8 {
        return Some(Err(Complaint::new(
            format!("{text} would be unix seconds of the year 1970: it looks like a date"),
            format!("write {}-{}-{}", &whole[..4], &whole[4..6], &whole[6..]),
        )));
    }
    Some(Ok(Timestamp::from_second(seconds).expect("eleven digits of seconds fit")))
}

/// A span before now, if it is one: `-2h`, `2h ago`, `20d`.
fn before_now(text: &str, now: Timestamp) -> Option<Result<Timestamp, Complaint>> {
    let text = text.strip_suffix("ago").map_or(text, str::trim_end);
    let span = units::duration(text.strip_prefix('-').unwrap_or(text))?;
    let span = SignedDuration::try_from(span).ok();
    let instant = span.and_then(|span| now.checked_sub(span).ok());
    Some(instant.ok_or_else(|| {
        Complaint::new(format!("{text:?} ago is before 1970"), "write begin for the oldest log that is retained")
    }))
}

/// A date, and perhaps a time, and perhaps an offset; without one the name of the zone it was read in.
fn date_and_time(text: &str, zone: &TimeZone) -> Result<(Timestamp, Option<String>), Complaint> {
    let complaint = || {
        Complaint::new(
            format!("{text:?} is not a position"),
            "write begin, end, unix seconds, a span such as -2h, or a time such as 2026-01-31 8:00:00+08:00",
        )
    };
    let (date, rest) = match text.find(['T', 't', ' ']) {
        Some(at) if at + 1 == text.len() => return Err(complaint()),
        Some(at) => (&text[..at], text[at + 1..].trim()),
        None => (text, ""),
    };
    if let Some(name) = zone_name(rest) {
        return Err(Complaint::new(
            format!("{text:?} names a time zone, and {name} means different offsets in different places"),
            "write the offset: Z, +08:00, -05:30",
        ));
    }
    let date = parse_date(date).ok_or_else(complaint)?;
    let (time, offset) = split_offset(rest);
    let offset = offset.map(|offset| parse_offset(offset).ok_or_else(complaint)).transpose()?;
    let time = match (time, offset) {
        ("", None) => Time::midnight(),
        (time, _) => parse_time(time).ok_or_else(complaint)?,
    };
    let civil = DateTime::from_parts(date, time);
    match offset {
        Some(offset) => Ok((offset.to_timestamp(civil).map_err(|_| complaint())?, None)),
        None => {
            let zoned = civil.to_zoned(zone.clone()).map_err(|_| complaint())?;
            let name = zone.iana_name().map_or_else(|| zoned.offset().to_string(), str::to_owned);
            Ok((zoned.timestamp(), Some(name)))
        }
    }
}

/// The letters at the end of a time, unless they are `Z`.
fn zone_name(time: &str) -> Option<&str> {
    let start = time.find(|c: char| c.is_ascii_alphabetic())?;
    let name = &time[start..];
    (!name.eq_ignore_ascii_case("z") && time.starts_with(|c: char| c.is_ascii_digit())).then_some(name)
}

fn split_offset(time: &str) -> (&str, Option<&str>) {
    match time.find(['Z', 'z', '+', '-']) {
        Some(at) => (time[..at].trim_end(), Some(&time[at..])),
        None => (time, None),
    }
}

/// `2018-12-26`, `2019-1-1`.
fn parse_date(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || year.len() != 4 {
        return None;
    }
    Date::new(number(year)?, number(month)?, number(day)?).ok()
}

/// `0:0`, `8:00:00`, `23:59:59.999`.
fn parse_time(text: &str) -> Option<Time> {
    let mut parts = text.split(':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next().unwrap_or("0"));
    let (second, fraction) = second.split_once('.').unwrap_or((second, "0"));
    if parts.next().is_some() || !is_digits(fraction) || [hour, minute, second].iter().any(|part| part.len() > 2) {
        return None;
    }
    Time::new(number(hour)?, number(minute)?, number(second)?, 0).ok()
}

/// `Z`, `+8:00`, `+08:00`, `+0800`, `+08`.
fn parse_offset(text: &str) -> Option<Offset> {
    if text.eq_ignore_ascii_case("z") {
        return Some(Offset::UTC);
    }
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) if minutes.len() == 2 => (hours, minutes),
        None if digits.is_ascii() && digits.len() == 4 => digits.split_at(2),
        None => (digits, "00"),
        Some(_) => return None,
    };
    let (hours, minutes) = (number::<i32>(hours)?, number::<i32>(minutes)?);
    if hours > 18 || minutes > 59 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

/// Digits only: `parse` alone would accept a sign.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    if is_digits(text) { text.parse().ok() } else { None }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, zone: &str) -> Result<StartPosition, Complaint> {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let zone = TimeZone::get(zone).unwrap();
        parse(text, now, &zone)
    }

    fn check(text: &str, zone: &str, expected: Start) {
        assert_eq!(read(text, zone).unwrap().start, expected, "{text} in {zone}");
    }

    fn refused(text: &str, why: &str) {
        let complaint = read(text, "Asia/Shanghai").expect_err(text);
        let message = format!("{} / {}", complaint.what, complaint.fix);
        assert!(message.contains(why), "{text}: {message}");
    }

    #[test]
    fn begin_and_end_are_accepted_in_any_case() {
        check("begin", "UTC", Start::Begin);
        check("Begin", "UTC", Start::Begin);
        check(" END ", "UTC", Start::End);
    }

    #[test]
    fn a_number_is_unix_seconds() {
        check("1545782400", "Asia/Shanghai", Start::Time(1_545_782_400));
        check("1545782400.5", "Asia/Shanghai", Start::Time(1_545_782_400));
        check("0", "UTC", Start::Time(0));
    }

    #[test]
    fn a_time_without_an_offset_is_local_time() {
        check("2018-12-26 0:0:0", "UTC", Start::Time(1_545_782_400));
        check("2018-12-26 0:0:0", "Asia/Shanghai", Start::Time(1_545_753_600));
        check("2018-12-26 0:0:0", "America/New_York", Start::Time(1_545_800_400));
        check("2018-12-26", "Asia/Shanghai", Start::Time(1_545_753_600));
        check("2018-12-26T00:00", "Asia/Shanghai", Start::Time(1_545_753_600));
    }

    #[test]
    fn a_time_with_an_offset_is_the_same_everywhere() {
        for text in [
            "2019-1-1 0:0:0+8:00",
            "2019-01-01 00:00:00+08:00",
            "2019-01-01 00:00:00 +08:00",
            "2019-01-01T00:00:00+0800",
            "2019-01-01T00:00:00.5+08:00",
            "2019-01-01T00:00:00+08",
        ] {
            check(text, "America/New_York", Start::Time(1_546_272_000));
        }
        check("2019-01-01T00:00:00Z", "Asia/Shanghai", Start::Time(1_546_300_800));
        check("2019-1-1 0:0:0-5:30", "Asia/Shanghai", Start::Time(1_546_320_600));
    }

    #[test]
    fn a_span_counts_back_from_now() {
        for text in ["-2h", "2h ago", "2h", "120m", "-1.5h", " 7200s "] {
            let span = if text == "-1.5h" { 5_400 } else { 7_200 };
            check(text, "Asia/Shanghai", Start::Time(1_800_000_000 - span));
        }
        check("20d", "UTC", Start::Time(1_800_000_000 - 20 * 86_400));
        refused("100000d", "before 1970");
        refused("--2h", "write begin, end, unix seconds");
        refused("2 h ago ago", "write begin, end, unix seconds");
    }

    #[test]
    fn ambiguous_start_times_are_refused() {
        refused("1545782400000", "milliseconds");
        refused("100000000000", "milliseconds");
        refused("20190101", "write 2019-01-01");
        refused("2019-01-01 00:00:00 CST", "CST means different offsets");
        refused("2019-01-01 00:00:00 EST", "write the offset");
        refused("1969-12-31T00:00:00Z", "before 1970");
        refused("2027-01-17T00:00:00Z", "more than a day in the future");
        for text in [
            "",
            "garbage",
            "now",
            "yesterday",
            "-1",
            "12:30",
            "01/02/2019",
            "2019-02-30",
            "2019-01-01 24:00:00",
            "2019-01-01T",
            "2019-01-01 8",
            "2019-01-01+08:00x",
            "2019-01-01 0:0:0+99:00",
            "2019-01-01 0:0:0+8:0",
            "19-1-1",
            "2019-1-1-1",
            "2019-01-01 1:2:3:4",
            "２０１９-01-01",
            "2019-01-01 0:0:0+é8",
        ] {
            refused(text, "write begin, end, unix seconds");
        }
    }

    #[test]
    fn an_end_can_be_in_the_future_and_must_be_after_the_start() {
        let until = |start: &str, text: &str| {
            let (now, zone) = (Timestamp::from_second(1_800_000_000).unwrap(), TimeZone::UTC);
            let start = parse(start, now, &zone).unwrap();
            parse_until(text, Some(&start), now, &zone).map(|until| until.start).map_err(|complaint| complaint.what)
        };
        assert_eq!(until("begin", "end"), Ok(Start::Time(1_800_000_001)));
        assert_eq!(until("begin", "-2h"), Ok(Start::Time(1_799_992_800)));
        assert_eq!(until("-3h", "-2h"), Ok(Start::Time(1_799_992_800)));
        assert_eq!(until("-3h", "end"), Ok(Start::Time(1_800_000_001)));
        assert_eq!(until("end", "2030-01-01"), Ok(Start::Time(1_893_456_000)));
        for (start, end) in [("begin", "begin"), ("-2h", "-2h"), ("-2h", "-3h"), ("end", "end"), ("end", "-1s")] {
            assert!(until(start, end).unwrap_err().contains("is not after the start"), "{start} {end}");
        }
    }

    #[test]
    fn a_range_ends_now_at_the_latest() {
        let (now, zone) = (Timestamp::from_second(1_800_000_000).unwrap(), TimeZone::UTC);
        let start = parse("-2h", now, &zone).unwrap();
        let past =
            |text| parse_past(text, &start, now, &zone).map(|read| read.start).map_err(|complaint| complaint.what);
        assert_eq!(past("end"), Ok(Start::Time(1_800_000_001)));
        assert_eq!(past("-1h"), Ok(Start::Time(1_799_996_400)));
        assert!(past("1800000002").unwrap_err().contains("is in the future"));
        assert!(past("-3h").unwrap_err().contains("is not after the start"));
    }

    #[test]
    fn a_start_time_is_shown_as_an_instant() {
        let shown = |text, zone| read(text, zone).unwrap().to_string();
        assert_eq!(shown("BEGIN", "UTC"), "begin");
        assert_eq!(
            shown("2018-12-26 0:0:0", "Asia/Shanghai"),
            "2018-12-25T16:00:00Z (\"2018-12-26 0:0:0\" in Asia/Shanghai)"
        );
        assert_eq!(shown("1545782400", "Asia/Shanghai"), "2018-12-26T00:00:00Z (\"1545782400\")");
    }
}
