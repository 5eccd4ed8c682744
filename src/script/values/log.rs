//! The `log` of `process(log)`: an ordered table of strings whose fields stay in the page until a script reads them.
//!
//! The table itself is always empty, so that every access calls these functions. Reads push the bytes and store
//! nothing. Writes and deletions are recorded by position in [`Current`], with the values in a separate Lua table.

use std::ffi::c_int;

use super::json::lazy;
use super::table::{check, key_at, key_bytes};
use crate::script::engine::frame::Frame;
use crate::script::engine::lua_stack::Kind;
use crate::script::engine::trace;
use crate::script::hook::current_log::{FieldState, LogIdentity};

/// `log[key]`
pub(crate) fn index(frame: &mut Frame) -> c_int {
    check(frame);
    let Some(key) = key_bytes(frame, 2) else {
        frame.stack.push_nil();
        return 1;
    };
    match frame.current().find(key) {
        Some(position) => push_value(frame, position),
        None => frame.stack.push_nil(),
    }
    1
}

fn push_value(frame: &mut Frame, position: usize) {
    match frame.current().state(position) {
        FieldState::Untouched if frame.current().is_kept(position) => {
            frame.stack.push_item(frame.upvalue(), kept_text(position));
        }
        FieldState::Untouched => {
            frame.push_of(|current| current.log().value(position));
            if frame.current().may_keep(position) {
                frame.stack.push_copy(-1);
                frame.set_item(frame.upvalue(), kept_text(position));
                // Only now: without memory for it, the line before does not return.
                frame.current().keep(position);
            }
        }
        FieldState::Assigned => {
            frame.stack.push_item(frame.upvalue(), position as i64 + 1);
        }
        FieldState::Deleted => frame.stack.push_nil(),
    }
}

/// The key in the table of assigned values under which the string for a kept text is.
fn kept_text(position: usize) -> i64 {
    -1 - position as i64
}

/// `log[key] = value`
pub(crate) fn assign(frame: &mut Frame) -> c_int {
    frame.stack.set_top(3);
    check(frame);
    let Some(key) = key_bytes(frame, 2) else { frame.fail(b"the keys of a log are strings") };
    let known = frame.current().find(key);
    if frame.stack.kind(3) == Kind::Nil {
        if let Some(position) = known {
            frame.current().delete(position);
        }
        return 0;
    }
    let Some(position) = known.or_else(|| frame.current().add(key)) else {
        frame.fail(b"a script cannot add more than 10000 fields, or keys of more than 1 MiB together, to a log");
    };
    frame.stack.push_copy(3);
    frame.set_item(frame.upvalue(), position as i64 + 1);
    frame.current().assign(position);
    0
}

/// `next` for any table: the fields of a log and the members of a decoded value in their order.
pub(crate) fn next(frame: &mut Frame) -> c_int {
    let stack = frame.stack;
    stack.set_top(2);
    if stack.kind(1) != Kind::Table {
        frame.fail(b"next: expected a table");
    }
    let mark = stack.metatable(1);
    let marks = frame.current().marks;
    if mark == marks.object || mark == marks.array {
        return lazy::next(frame);
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
    frame.push_of(|current| current.key(position));
    push_value(frame, position);
    2
}

/// `pairs` of a log or a decoded value: returns `next`, the upvalue, and the table.
pub(crate) fn pairs(frame: &mut Frame) -> c_int {
    frame.stack.set_top(1);
    frame.stack.push_copy(frame.upvalue());
    frame.stack.push_copy(1);
    frame.stack.push_nil();
    3
}

/// `#log`: 0, as for any table with only string keys.
pub(crate) fn length(frame: &mut Frame) -> c_int {
    frame.stack.push_integer(0);
    1
}

/// Creates a table for each log and calls `process` with it. Arguments: the hook function at 1, the metatable of logs
/// at 2, the work between the calls at 3.
pub(crate) fn call_each(frame: &mut Frame) -> c_int {
    let stack = frame.stack;
    let calls = frame.calls(3);
    if !stack.reserve(ROOM) {
        frame.fail(b"too much for the Lua stack");
    }
    while calls.begin() {
        frame.push_table(0, 0);
        frame.current().table = stack.pointer(-1);
        stack.push_copy(2);
        frame.set_metatable(-2);
        stack.push_copy(1);
        // The first table stays on the stack, so that no other table gets its address.
        stack.push_copy(-2);
        // One result more than allowed, so that a second value is reported and not ignored.
        if frame.current().meta.is_none() {
            frame.call(1, 2);
        } else {
            push_meta(frame);
            frame.call(2, 2);
        }
        if stack.kind(-1) != Kind::Nil {
            frame.fail(SECOND_VALUE);
        }
        stack.pop(1);
        if !calls.returned(stack) {
            break;
        }
        stack.set_top(3);
    }
    0
}

/// Number of values for which the stack has room when a log's events are formatted.
const ROOM: c_int = 64;

/// The error for `return x:gsub(…)` without parentheses around the call, and for `return nil, "why"`.
const SECOND_VALUE: &[u8] = b"process returned two values, and only one is sent: return an event or a list of events; \
    gsub and find return several values, and (x:gsub(...)) in parentheses is the first alone";

fn push_meta(frame: &mut Frame) {
    type Text = fn(&LogIdentity) -> &str;
    const TEXTS: [(&[u8], Text); 6] = [
        (b"source", |meta| &meta.source),
        (b"project", |meta| &meta.project),
        (b"logstore", |meta| &meta.logstore),
        (b"cursor", |meta| &meta.cursor),
        (b"id", |meta| &meta.id),
        (b"version", |meta| &meta.version),
    ];
    frame.push_table(0, 8);
    let meta = frame.stack.top();
    let Some((shard, index)) = frame.current().meta.as_ref().map(|meta| (meta.shard, meta.index)) else {
        return;
    };
    for (key, text) in TEXTS {
        frame.push_of(|current| current.meta.as_ref().map_or(b"", |meta| text(meta).as_bytes()));
        frame.set_named(meta, key);
    }
    for (key, number) in [("shard", shard), ("index", index)] {
        frame.stack.push_integer(i64::from(number));
        frame.set_named(meta, key.as_bytes());
    }
}

/// Converts any raised value to text, and records the line.
pub(crate) fn explain(frame: &mut Frame) -> c_int {
    let stack = frame.stack;
    stack.set_top(1);
    frame.current().error_line = stack.line();
    trace::note(stack, &mut frame.current().calls);
    match stack.kind(1) {
        Kind::String => {}
        Kind::Table => {
            stack.push_copy(frame.upvalue());
            stack.push_copy(1);
            // The upvalue is `json.encode`, which writes tables without calling their metamethods.
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
