//! What the lazy tables have in common: whether a log may still be used, and what a key is.

use std::ffi::c_int;

use crate::script::engine::frame::Frame;
use crate::script::engine::lua_stack::Kind;
use crate::script::output::escape;

const USED_LATE: &[u8] = b"this log was used after process() returned: copy what you need later";

/// Refuses a log that is not the current one.
pub(crate) fn check(frame: &mut Frame) {
    if frame.stack.pointer(1) != frame.current().table {
        frame.fail(USED_LATE);
    }
}

/// Where the key at `at` is as a string: there, or on top as the digits of a whole number. None of anything else.
pub(crate) fn key_at(frame: &mut Frame, at: c_int) -> Option<c_int> {
    let number = match frame.stack.kind(at) {
        Kind::String => return Some(at),
        Kind::Integer(number) => number,
        Kind::Number(number) if number.fract() == 0.0 && number.abs() < 1e15 => number as i64,
        _ => return None,
    };
    let scratch = &mut frame.current().scratch;
    scratch.clear();
    escape::integer(number, scratch);
    frame.push_of(|current| &current.scratch);
    Some(frame.stack.top())
}
