//! `time`: the clock, and times as text.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use mlua::{IntoLuaMulti as _, Lua, MultiValue, Table, Value};

use super::directives::{directives, without_effect};
use super::native::{Raise, function, integer_or_none, text, text_or_none, unexpected};

/// RFC 3339 with as many fractional digits as necessary.
const RFC_3339: &str = "%Y-%m-%dT%H:%M:%S%.f%:z";

/// Maximum length of a format, in bytes.
const MAX_FORMAT_BYTES: usize = 1024;

/// Puts `time` into `globals`. `time.now()` returns the time of `clock`.
pub(super) fn install(lua: &Lua, globals: &Table, clock: fn() -> SystemTime) -> mlua::Result<()> {
    let library = lua.create_table()?;
    library.set("now", lua.create_function(move |_, ()| Ok(unix_seconds(clock())))?)?;
    library.set("parse", function(lua, parse)?)?;
    library.set("format", function(lua, format)?)?;
    globals.set("time", library)
}

fn unix_seconds(now: SystemTime) -> f64 {
    match now.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

/// `time.parse(text [, format [, zone]])` → seconds, nanoseconds; or nil and the reason.
fn parse(lua: &Lua, (value, layout, zone): (Value, Value, Value)) -> Result<MultiValue, Raise> {
    let value = text(lua, 1, value)?.to_string_lossy();
    let layout = self::layout(lua, layout)?;
    if let Some(why) = layout.as_deref().and_then(without_effect) {
        return Err(Raise::Argument(2, why));
    }
    let zone = time_zone(lua, 3, zone)?;
    let results = match timestamp(&value, layout.as_deref(), zone) {
        Ok(timestamp) => {
            let nanoseconds = i64::from(timestamp.subsec_nanosecond());
            // Before 1970 both parts are negative; the result is the start of the second and positive nanoseconds.
            let seconds = timestamp.as_second() - i64::from(nanoseconds < 0);
            (seconds, nanoseconds.rem_euclid(1_000_000_000)).into_lua_multi(lua)
        }
        Err(error) => (Value::Nil, error.to_string()).into_lua_multi(lua),
    };
    Ok(results?)
}

/// The format: the second argument of both functions.
fn layout(lua: &Lua, value: Value) -> Result<Option<String>, Raise> {
    let Some(layout) = text_or_none(lua, 2, value)? else { return Ok(None) };
    let bytes = layout.as_bytes().len();
    if bytes > MAX_FORMAT_BYTES {
        return Err(Raise::Argument(2, format!("a format of {bytes} bytes: at most {MAX_FORMAT_BYTES}")));
    }
    Ok(Some(layout.to_string_lossy()))
}

/// An offset or a zone in the text takes precedence over `zone`.
fn timestamp(text: &str, layout: Option<&str>, zone: Option<TimeZone>) -> Result<Timestamp, jiff::Error> {
    let Some(layout) = layout else {
        let instant: Result<Timestamp, jiff::Error> = text.parse();
        return match (instant, zone) {
            (Err(_), Some(zone)) => Ok(zone.to_timestamp(text.parse::<DateTime>()?)?),
            (instant, _) => instant,
        };
    };
    let parts = read(layout, text)?;
    if let Some(second) = parts.timestamp() {
        let fraction = SignedDuration::from_nanos(parts.subsec_nanosecond().unwrap_or(0).into());
        return if second < Timestamp::UNIX_EPOCH {
            second.checked_sub(fraction)
        } else {
            second.checked_add(fraction)
        };
    }
    if parts.offset().is_some() || parts.iana_time_zone().is_some() {
        return Ok(parts.to_zoned()?.timestamp());
    }
    zone.unwrap_or(TimeZone::UTC).to_timestamp(parts.to_datetime()?)
}

/// Parses the text with the format. If it does not match, tries other notations for each `%z`.
fn read(layout: &str, text: &str) -> Result<BrokenDownTime, jiff::Error> {
    let read = strtime::parse(layout, text);
    if read.is_ok() || !directives(layout).any(|directive| directive.letter == 'z') {
        return read;
    }
    for offset in ["%z", "%:::z", "Z", "z"] {
        let mut other = String::with_capacity(layout.len() + 4);
        let mut rest = 0;
        for directive in directives(layout).filter(|directive| directive.letter == 'z') {
            other += &layout[rest..directive.place.start];
            other += offset;
            rest = directive.place.end;
        }
        other += &layout[rest..];
        if let Ok(mut parts) = strtime::parse(&other, text) {
            if offset.eq_ignore_ascii_case("z") {
                parts.set_offset(Some(Offset::UTC));
            }
            return Ok(parts);
        }
    }
    read
}

/// `time.format(seconds [, format [, zone [, nanoseconds]]])` → text; or nil and the reason.
fn format(
    lua: &Lua,
    (seconds, layout, zone, nanoseconds): (Value, Value, Value, Value),
) -> Result<Result<String, String>, Raise> {
    let layout = self::layout(lua, layout)?;
    let zone = time_zone(lua, 3, zone)?;
    let nanoseconds = integer_or_none(lua, 4, nanoseconds)?.unwrap_or(0);
    let instant = match seconds {
        Value::Integer(seconds) => Timestamp::new(seconds, 0).ok(),
        Value::Number(seconds) => from_float(seconds),
        Value::String(digits) => from_digits(&digits.to_string_lossy()),
        other => return Err(unexpected(1, "number", &other)),
    };
    let exact = instant.and_then(|instant| instant.checked_add(SignedDuration::from_nanos(nanoseconds)).ok());
    let Some(instant) = exact else {
        return Ok(Err("not a time between the years -9999 and 9999".to_owned()));
    };

    let layout = match (layout, &zone) {
        (None, None) => return Ok(Ok(instant.to_string())),
        (None, Some(_)) => RFC_3339.to_owned(),
        (Some(layout), _) => layout,
    };
    let zoned = instant.to_zoned(zone.unwrap_or(TimeZone::UTC));
    strtime::format(&layout, &zoned).map(Ok).map_err(|error| Raise::Argument(2, error.to_string()))
}

/// Rounds to microseconds, the precision of a double for current times.
fn from_float(seconds: f64) -> Option<Timestamp> {
    let microseconds = (seconds * 1e6).round();
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked, and a double has its own")]
    let whole = (microseconds.abs() < 9e18).then_some(microseconds as i64)?;
    Timestamp::from_microsecond(whole).ok()
}

/// Parses `1700000000` or `1700000000.123` without loss of digits.
fn from_digits(text: &str) -> Option<Timestamp> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (seconds, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(seconds) || !is_number(fraction) {
        return None;
    }
    let seconds: i64 = seconds.parse().ok()?;
    let nanoseconds: i32 = format!("{fraction:0<9}")[..9].parse().ok()?;
    let sign = if negative { -1 } else { 1 };
    Timestamp::new(seconds * sign, nanoseconds * sign as i32).ok()
}

/// An argument that names a zone of the time zone database, such as `Asia/Shanghai`.
fn time_zone(lua: &Lua, n: usize, value: Value) -> Result<Option<TimeZone>, Raise> {
    let Some(name) = text_or_none(lua, n, value)? else {
        return Ok(None);
    };
    let name = name.to_string_lossy();
    match TimeZone::get(&name) {
        Ok(zone) => Ok(Some(zone)),
        Err(_) => Err(Raise::Argument(n, format!("unknown time zone '{name}'"))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::script::stdlib::tests::check;

    #[test]
    fn now_returns_the_time_of_the_clock() {
        let lua = Lua::new();
        let clock = || UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
        install(&lua, &lua.globals(), clock).unwrap();
        lua.load("assert(time.now() == 1700000000.25)").exec().unwrap();
    }

    #[test]
    fn rfc_3339_is_the_default_of_parse_and_format() {
        check("assert(time.parse('2023-11-14T22:13:20Z') == 1700000000)");
        check(
            "local s, ns = time.parse('2023-11-15T06:13:20.123456789+08:00') assert(s == 1700000000 and ns == 123456789)",
        );
        check("assert(time.format(1700000000) == '2023-11-14T22:13:20Z')");
        check("assert(time.format(1700000000, nil, 'Asia/Shanghai') == '2023-11-15T06:13:20+08:00')");
        check("assert(time.format('1700000000', nil, nil, '5000000') == '2023-11-14T22:13:20.005Z')");
        check("assert(time.format(1700000000, nil, 'Asia/Shanghai', 5) == '2023-11-15T06:13:20.000000005+08:00')");
    }

    #[test]
    fn formats_are_those_of_strftime() {
        check("assert(time.parse('14/Nov/2023:22:13:20 +0000', '%d/%b/%Y:%H:%M:%S %z') == 1700000000)");
        check("local s, ns = time.parse('1700000000.123', '%s%.f') assert(s == 1700000000 and ns == 123000000, ns)");
        check("local s, ns = time.parse('1700000000.123', '%s.%f') assert(s == 1700000000 and ns == 123000000, ns)");
        check("local s, ns = time.parse('-1.25', '%s%.f') assert(s == -2 and ns == 750000000, ns)");
        check("assert(time.parse('2023-11-14', '%Y-%m-%d') == 1699920000)");
        check("assert(time.format(1700000000, '%d/%b/%Y:%H:%M:%S %z') == '14/Nov/2023:22:13:20 +0000')");
    }

    #[test]
    fn a_zone_applies_to_text_without_one() {
        check("assert(time.parse('2023-11-15 06:13:20', '%F %T', 'Asia/Shanghai') == 1700000000)");
        check("assert(time.parse('2023-11-15 06:13:20', nil, 'Asia/Shanghai') == 1700000000)");
        check("assert(time.parse('2023-11-14T22:13:20Z', nil, 'Asia/Shanghai') == 1700000000)");
        check("assert(time.parse('2023-11-14 22:13:20 +0000', '%F %T %z', 'Asia/Shanghai') == 1700000000)");
    }

    #[test]
    fn offsets_are_accepted_in_every_notation() {
        for offset in ["+0800", "+08:00", "+08"] {
            for directive in ["%z", "%:z"] {
                check(&format!(
                    "assert(time.parse('2023-11-15 06:13:20 {offset}', '%F %T {directive}', 'Europe/London') == 1700000000)"
                ));
            }
        }
        check("assert(time.parse('2023-11-14T22:13:20Z', '%FT%T%z', 'Asia/Shanghai') == 1700000000)");
        check("assert(time.parse('2023-11-14t22:13:20z', '%Ft%T%:z', 'Asia/Shanghai') == 1700000000)");
        check(
            "local s, why = time.parse('2023-11-15 06:13:20 CST', '%F %T %z') assert(s == nil and why:find('%z', 1, true))",
        );
    }

    #[test]
    fn a_directive_without_effect_is_a_script_error() {
        check(
            "local ok, why = pcall(function() time.parse('1700000000 2023', '%s %Y') end)
             assert(why == \"test.lua:1: bad argument #2 to 'parse' (%Y has no effect beside %s, which is already the complete time)\", why)",
        );
        check(
            "local ok, why = pcall(time.parse, '1700000000 +0800', '%s %z')
             assert(why == \"bad argument #2 to 'time.parse' (%z has no effect beside %s, which is already the complete time)\", why)",
        );
    }

    #[test]
    fn an_ambiguous_hour_is_the_first_of_the_two() {
        check(
            "local seconds = time.parse('2023-11-05 01:30:00', nil, 'America/New_York')
             assert(time.format(seconds) == '2023-11-05T05:30:00Z')",
        );
    }

    #[test]
    fn a_number_with_a_fraction_keeps_it() {
        check("assert(time.format(1700000000.25) == '2023-11-14T22:13:20.25Z')");
        check("assert(time.format('1700000000.123456789') == '2023-11-14T22:13:20.123456789Z')");
        check("assert(time.format('-0.5') == '1969-12-31T23:59:59.5Z')");
        check("local s, ns = time.parse('1969-12-31T23:59:59.5Z') assert(s == -1 and ns == 500000000)");
    }

    #[test]
    fn text_that_is_not_a_time_gives_nil_and_a_reason() {
        check("local s, why = time.parse('yesterday') assert(s == nil and type(why) == 'string')");
        check("local s, why = time.parse('\\xff', '%Y') assert(s == nil and type(why) == 'string')");
        for value in ["'12x'", "''", "'.5'", "0/0", "1/0", "1e300", "math.maxinteger", "'99999999999999999999'"] {
            check(&format!("local s, why = time.format({value}) assert(s == nil and why:find('not a time'))"));
        }
    }

    #[test]
    fn an_unknown_zone_or_directive_is_a_script_error() {
        check(
            "local ok, why = pcall(function() time.parse('x', nil, 'Mars/Phobos') end)
               assert(why == \"test.lua:1: bad argument #3 to 'parse' (unknown time zone 'Mars/Phobos')\", why)",
        );
        check("local ok, why = pcall(time.format, 0, '%!') assert(not ok and why:find('#2', 1, true), why)");
        check(
            "local ok, why = pcall(time.format, 0, ('%c'):rep(600)) assert(why:find('a format of 1200 bytes', 1, true), why)",
        );
        check("local ok, why = pcall(time.format, {}) assert(why:find('number expected, got table', 1, true), why)");
    }

    proptest! {
        #[test]
        fn no_text_and_no_format_panic(text: String, layout: String, seconds: f64) {
            let _ = timestamp(&text, Some(&layout), None);
            let _ = (timestamp(&text, None, Some(TimeZone::UTC)), from_digits(&text), from_float(seconds));
            let _ = strtime::format(&layout, &Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC));
        }

        #[test]
        fn digits_round_trip_unchanged(seconds in -377_000_000_000_i64..253_000_000_000, millis in 0..1000) {
            let text = format!("{seconds}.{millis:03}");
            let expected = i128::from(seconds.abs()) * 1000 + i128::from(millis);
            let got = from_digits(&text).unwrap().as_millisecond();
            prop_assert_eq!(i128::from(got.abs()), expected);
        }
    }
}
