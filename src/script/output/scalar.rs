//! The single values of an event table.
//!
//! Each is read from the stack, and an error says what was expected.

use std::borrow::Cow;
use std::ffi::c_int;

use super::{number, time as unix_time};
use crate::core::event::Time;
use crate::script::engine::lua_stack::{Kind, Stack};

pub(super) type Text<'a> = Cow<'a, [u8]>;

/// A time in unix seconds.
pub(super) fn time<'a>(stack: Stack<'a>, at: c_int) -> Result<Time<'a>, String> {
    let digits = match stack.kind(at) {
        Kind::Integer(seconds) => Cow::Owned(seconds.to_string()),
        Kind::Number(seconds) => Cow::Owned(unix_time::of_float(seconds)?),
        Kind::String => {
            let text = std::str::from_utf8(stack.bytes(at).unwrap_or_default());
            match text.ok().filter(|text| unix_time::is_digits(text)) {
                Some(text) => Cow::Borrowed(text),
                None => {
                    let why = "expected unix seconds: digits as in log.__time__; time.parse() converts text";
                    return Err(why.to_owned());
                }
            }
        }
        kind => return Err(format!("expected unix seconds, such as log.__time__, not {}", kind.name())),
    };
    unix_time::check(&digits)?;
    Ok(Time { digits, nanos: None })
}

/// The nanoseconds of a second.
pub(super) fn nanos(stack: Stack, at: c_int) -> Result<u32, String> {
    let nanos = match stack.kind(at) {
        Kind::Integer(nanos) => u32::try_from(nanos).ok().filter(|&nanos| nanos < 1_000_000_000),
        Kind::String => std::str::from_utf8(stack.bytes(at).unwrap_or_default()).ok().and_then(unix_time::nanos),
        _ => None,
    };
    nanos.ok_or_else(|| "expected nanoseconds: 0 to 999999999".to_owned())
}

/// A string. Lua keeps it as long as the event table, which stays on the stack until the event is written.
pub(super) fn string<'a>(stack: Stack<'a>, at: c_int) -> Result<Text<'a>, String> {
    match stack.bytes(at) {
        Some(bytes) => Ok(Cow::Borrowed(bytes)),
        None => Err(format!("expected a string, not {}", unlike_text(stack.kind(at)))),
    }
}

/// A string, number or boolean as text.
pub(super) fn text<'a>(stack: Stack<'a>, at: c_int) -> Result<Text<'a>, String> {
    let mut out = Vec::new();
    match stack.kind(at) {
        Kind::Integer(integer) => number::integer(integer, &mut out),
        Kind::Number(float) => {
            if !number::float(float, &mut out) {
                return Err(format!("{float} cannot be sent as a number"));
            }
        }
        Kind::Boolean(truth) => out.extend_from_slice(if truth { b"true" } else { b"false" }),
        Kind::String => return string(stack, at),
        kind => return Err(format!("expected a string, number or boolean, not {}", kind.name())),
    }
    Ok(Cow::Owned(out))
}

/// A number from 0 on that stands for one of these names, or the name.
pub(super) fn code(stack: Stack, at: c_int, find: fn(&[u8]) -> Option<u8>, names: &[&str]) -> Result<u8, String> {
    let found = match stack.kind(at) {
        Kind::Integer(code) => u8::try_from(code).ok().filter(|&code| usize::from(code) < names.len()),
        Kind::String => find(stack.bytes(at).unwrap_or_default()),
        _ => None,
    };
    found.ok_or_else(|| format!("expected 0 to {} or a name: {}", names.len() - 1, names.join(", ")))
}

/// Describes a value that is not a string, and how to convert it.
pub(super) fn unlike_text(kind: Kind) -> String {
    match kind {
        Kind::Integer(_) | Kind::Number(_) | Kind::Boolean(_) => format!("{}; tostring() makes one", kind.name()),
        other => other.name().to_owned(),
    }
}
