//! Common parts of the lazy tables: the check that a log is current, and the conversion of keys.

use std::ffi::c_int;

use crate::script::engine::frame::Frame;
use crate::script::engine::lua_stack::Kind;
use crate::script::output::number;

const USED_LATE: &[u8] = b"this log was used after process() returned: copy what you need later";

/// Raises an error for a log that is not the current one.
pub(crate) fn check(frame: &mut Frame) {
    if frame.stack.pointer(1) != frame.current().table {
        frame.fail(USED_LATE);
    }
}

/// The index of the key at `at` as a string: `at` itself, or the top for the digits of a whole number. `None` for any
/// other value.
pub(crate) fn key_at(frame: &mut Frame, at: c_int) -> Option<c_int> {
    let key = match frame.stack.kind(at) {
        Kind::String => return Some(at),
        kind => whole(kind)?,
    };
    let scratch = &mut frame.current().scratch;
    scratch.clear();
    number::integer(key, scratch);
    frame.push_of(|current| &current.scratch);
    Some(frame.stack.top())
}

/// The bytes of a key, at the index from [`key_at`].
#[inline]
pub(crate) fn key_bytes<'lua>(frame: &mut Frame<'lua>, at: c_int) -> Option<&'lua [u8]> {
    let stack = frame.stack;
    match stack.bytes(at) {
        Some(key) => Some(key),
        None => key_at(frame, at).and_then(|key| stack.bytes(key)),
    }
}

/// The whole number of an integer or a float.
pub(crate) fn whole(kind: Kind) -> Option<i64> {
    match kind {
        Kind::Integer(integer) => Some(integer),
        Kind::Number(float) => number::whole(float),
        _ => None,
    }
}
