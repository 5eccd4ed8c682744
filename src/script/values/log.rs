//! The `log` of `process(log)`: an ordered table of strings that stays in the page until a script asks.
//!
//! The table itself is always empty, so that every access comes here. Reads push the bytes and keep nothing; writes and
//! deletions are recorded by position in [`Current`], with the values in a Lua table of their own.

use std::ffi::c_int;

use mlua::ffi::lua_State;

use super::json;
use super::table::{check, key_at};
use crate::script::engine::lua_stack::{Frame, Kind};
use crate::script::engine::trace;
use crate::script::hook::current_log::FieldState;

/// `log[key]`
pub(crate) unsafe extern "C-unwind" fn index(state: *mut lua_State) -> c_int {
    // SAFETY: made by `sandbox::build`, called by Lua; nothing here needs dropping.
    let frame = unsafe { Frame::enter(state) };
    check(frame);
    let Some(key) = key_at(frame, 2) else {
        frame.stack.push_nil();
        return 1;
    };
    let key = frame.stack.bytes(key).unwrap_or_default();
    match frame.current().find(key) {
        Some(position) => push_value(frame, position),
        None => frame.stack.push_nil(),
    }
    1
}

fn push_value(frame: Frame, position: usize) {
    let current = frame.current();
    match current.state(position) {
        FieldState::Untouched => frame.push_bytes(current.log().value(position)),
        FieldState::Assigned => {
            frame.stack.push_item(frame.upvalue(), position as i64 + 1);
        }
        FieldState::Deleted => frame.stack.push_nil(),
    }
}

/// `log[key] = value`
pub(crate) unsafe extern "C-unwind" fn assign(state: *mut lua_State) -> c_int {
    // SAFETY: made by `sandbox::build`, called by Lua; nothing here needs dropping.
    let frame = unsafe { Frame::enter(state) };
    frame.stack.set_top(3);
    check(frame);
    let Some(key) = key_at(frame, 2) else { frame.fail(b"the keys of a log are strings") };
    let key = frame.stack.bytes(key).unwrap_or_default();
    let current = frame.current();
    let known = current.find(key);
    if frame.stack.kind(3) == Kind::Nil {
        if let Some(position) = known {
            current.set_state(position, FieldState::Deleted);
        }
        return 0;
    }
    let Some(position) = known.or_else(|| current.add(key)) else {
        frame.fail(b"a script cannot add more than 10000 fields, or keys of more than 1 MiB together, to a log");
    };
    frame.stack.push_copy(3);
    frame.set_item(frame.upvalue(), position as i64 + 1);
    frame.current().set_state(position, FieldState::Assigned);
    0
}

/// `next` for any table: a log's fields in the dict's order, a decoded value's members in theirs.
pub(crate) unsafe extern "C-unwind" fn next(state: *mut lua_State) -> c_int {
    // SAFETY: made by `sandbox::build`, called by Lua; nothing here needs dropping.
    let frame = unsafe { Frame::enter(state) };
    let stack = frame.stack;
    stack.set_top(2);
    if stack.kind(1) != Kind::Table {
        frame.fail(b"next: a table is needed");
    }
    let mark = stack.metatable(1);
    let marks = frame.current().marks;
    if mark == marks.object || mark == marks.array {
        // SAFETY: the same state and the same kind of upvalues.
        return unsafe { json::next(state) };
    }
    if mark != marks.log {
        if frame.next(1) {
            return 2;
        }
        stack.push_nil();
        return 1;
    }
    check(frame);
    let mut from = 0;
    if stack.kind(2) != Kind::Nil {
        let key = key_at(frame, 2).and_then(|key| stack.bytes(key));
        match key.and_then(|key| frame.current().find(key)) {
            Some(position) => from = position + 1,
            None => frame.fail(b"next: the log has no such field"),
        }
    }
    let Some(position) = frame.current().live_from(from) else {
        stack.push_nil();
        return 1;
    };
    frame.push_bytes(frame.current().key(position));
    push_value(frame, position);
    2
}

/// `pairs` of a log or a decoded value: `next`, which is the second upvalue, and the table.
pub(crate) unsafe extern "C-unwind" fn pairs(state: *mut lua_State) -> c_int {
    // SAFETY: made by `sandbox::build`, called by Lua; nothing here needs dropping.
    let frame = unsafe { Frame::enter(state) };
    frame.stack.set_top(1);
    frame.stack.push_copy(frame.upvalue());
    frame.stack.push_copy(1);
    frame.stack.push_nil();
    3
}

/// `#log`: 0, as of any table with string keys only.
pub(crate) unsafe extern "C-unwind" fn length(state: *mut lua_State) -> c_int {
    // SAFETY: made by `sandbox::build`, called by Lua; nothing here needs dropping.
    let frame = unsafe { Frame::enter(state) };
    frame.stack.push_integer(0);
    1
}

/// Makes the log's table and calls `process` with it: at 1 the hook function, at 2 the metatable of logs.
pub(crate) unsafe extern "C-unwind" fn call(state: *mut lua_State) -> c_int {
    // SAFETY: made by `sandbox::build`, called by the hook; nothing here needs dropping.
    let frame = unsafe { Frame::enter(state) };
    let stack = frame.stack;
    frame.push_table(0, 0);
    frame.current().table = stack.pointer(-1);
    stack.push_copy(2);
    frame.set_metatable(-2);
    stack.push_copy(1);
    stack.swap();
    if frame.current().meta.is_none() {
        frame.call(1, 1);
    } else {
        push_meta(frame);
        frame.call(2, 1);
    }
    1
}

fn push_meta(frame: Frame) {
    frame.push_table(0, 7);
    let meta = frame.stack.top();
    let Some(place) = &frame.current().meta else {
        return;
    };
    let texts = [
        ("project", &place.project),
        ("logstore", &place.logstore),
        ("cursor", &place.cursor),
        ("id", &place.id),
        ("version", &place.version),
    ];
    for (key, text) in texts {
        frame.push_bytes(text.as_bytes());
        frame.set_named(meta, key.as_bytes());
    }
    for (key, number) in [("shard", place.shard), ("index", place.index)] {
        frame.stack.push_integer(i64::from(number));
        frame.set_named(meta, key.as_bytes());
    }
}

/// Makes a text of whatever was raised, and notes the line.
pub(crate) unsafe extern "C-unwind" fn explain(state: *mut lua_State) -> c_int {
    // SAFETY: made by `sandbox::build`, called by Lua; nothing here needs dropping.
    let frame = unsafe { Frame::enter(state) };
    let stack = frame.stack;
    stack.set_top(1);
    frame.current().error_line = frame.line();
    // SAFETY: Lua called this function with this state.
    unsafe { trace::note(stack.state(), &mut frame.current().calls) };
    match stack.kind(1) {
        Kind::String => {}
        Kind::Table => {
            stack.push_copy(frame.upvalue());
            stack.push_copy(1);
            // The second upvalue is `json.encode`, which writes tables without running any of their metamethods.
            if !frame.try_call(1) {
                stack.pop(1);
                frame.push_bytes(b"an error value that is a table");
            }
        }
        Kind::Other("a userdata") => frame.push_text_of(1),
        kind => {
            frame.push_bytes(b"an error value that is ");
            frame.push_bytes(kind.name().as_bytes());
            frame.concat(2);
        }
    }
    1
}
