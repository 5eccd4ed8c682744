//! `drop "reason"`: the value that `process` returns to drop a log with a reason.

use std::ffi::c_int;

use crate::script::engine::frame::Frame;
use crate::script::engine::lua_stack::{Hidden, Kept, Kind};

/// A value for a dropped log. It can be created once and returned for any number of logs.
pub(crate) fn drop(frame: &mut Frame) -> c_int {
    let stack = frame.stack;
    stack.set_top(1);
    if stack.kind(1) != Kind::String || stack.bytes(1).is_some_and(<[u8]>::is_empty) {
        frame.fail(b"drop takes a reason, as text: return drop \"health check\"; return nil drops a log without one");
    }
    frame.push_table(0, 1);
    stack.push_copy(1);
    frame.set_hidden(2, Hidden::REASON);
    stack.push_kept(Kept::DROPPED);
    frame.set_metatable(2);
    1
}
