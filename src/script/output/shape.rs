//! What a table in Lua stands for.

use std::ffi::c_int;

use crate::script::engine::lua_stack::{Kind, Stack};
use crate::script::hook::current_log::Current;

/// The meaning of a table.
pub(crate) enum Shape {
    /// The current log.
    Log,
    /// A log of an earlier call.
    StaleLog,
    /// A result of `json.decode`, or a part of it.
    Object,
    Array,
    /// A list marked by `json.array`.
    List,
    /// A result of `drop`.
    Dropped,
    /// An ordinary table of the script.
    Plain,
}

/// The meaning of the table at `at`.
pub(crate) fn shape(stack: Stack, current: &Current, at: c_int) -> Shape {
    if stack.pointer(at) == current.table {
        return Shape::Log;
    }
    let mark = stack.metatable(at);
    let marks = current.marks;
    if mark == 0 {
        Shape::Plain
    } else if mark == marks.log {
        Shape::StaleLog
    } else if mark == marks.object {
        Shape::Object
    } else if mark == marks.array {
        Shape::Array
    } else if mark == marks.list {
        Shape::List
    } else if mark == marks.dropped {
        Shape::Dropped
    } else {
        Shape::Plain
    }
}

/// The number of members of a decoded object, including deleted ones.
pub(crate) fn count(stack: Stack, members: c_int) -> i64 {
    let count = match stack.push_item(members, 0) {
        Kind::Integer(count) => count,
        _ => 0,
    };
    stack.pop(1);
    count
}
