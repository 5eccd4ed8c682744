//! `json.decode`, `json.encode`, `json.array`, and `kv`: JSON for scripts.

use std::ffi::c_int;

use super::table::whole;
use crate::core::event::PairPlaces;
use crate::script::engine::frame::Frame;
use crate::script::engine::lua_stack::{Kept, Kind, Stack};
use crate::script::hook::current_log::Current;
use crate::script::output::pairs::pairs;
use crate::script::output::write;
use accept::{Accepted, MAX_LEVELS};

pub(crate) mod accept;
mod check;
pub(crate) mod lazy;
mod repaired_keys;
pub(crate) mod scan;
mod string_ends;

/// The largest nesting that a script can allow.
const MAX_ALLOWED_LEVELS: i64 = 1000;

/// `json.decode(text, levels)`: the value, or nil and the reason.
pub(crate) fn decode(frame: &mut Frame) -> c_int {
    let stack = frame.stack;
    let levels = match stack.kind(2) {
        Kind::Nil => None,
        kind => match whole(kind).filter(|levels| (1..=MAX_ALLOWED_LEVELS).contains(levels)) {
            None => frame.fail(b"json.decode: the most levels are a whole number from 1 to 1000"),
            levels => levels,
        },
    };
    stack.set_top(1);
    let Some(text) = stack.bytes(1) else {
        stack.push_nil();
        frame.push_bytes(b"json.decode: expected a string, not ");
        frame.push_bytes(stack.kind(1).name().as_bytes());
        return concatenated(frame);
    };
    match accept::accept(text, levels.unwrap_or(MAX_LEVELS), &mut frame.current().scratch) {
        Ok(Accepted::AsItIs) => {}
        Ok(Accepted::Mended) => {
            frame.push_of(|current| &current.scratch);
            stack.swap();
            stack.pop(1);
        }
        Err(refusal) => {
            let scratch = &mut frame.current().scratch;
            scratch.clear();
            scratch.extend_from_slice(format!("json.decode: {refusal}").as_bytes());
            stack.push_nil();
            frame.push_of(|current| &current.scratch);
            return 2;
        }
    }
    let text = stack.bytes(1).unwrap_or_default();
    let value = scan::trim(text);
    match value.first() {
        Some(b'{' | b'[') => {
            if value.len() == text.len() {
                stack.push_copy(1);
            } else {
                frame.push_bytes(value);
            }
            lazy::push_container(frame, value[0], None);
        }
        _ => {
            lazy::push_scalar(frame, value);
        }
    }
    1
}

/// Joins the values pushed after the nil into one message: `nil, message`.
fn concatenated(frame: &mut Frame) -> c_int {
    let pieces = frame.stack.top() - 2;
    frame.concat(pieces);
    2
}

/// `json.encode(value)`, and `tostring` of logs and decoded values.
pub(crate) fn encode(frame: &mut Frame) -> c_int {
    frame.stack.set_top(1);
    if !encoded(frame.stack, frame.current()) {
        frame.fail_with_scratch();
    }
    frame.push_of(|current| &current.scratch);
    1
}

/// Writes the value at 1 into the scratch buffer, or the reason why it cannot be written.
fn encoded(stack: Stack, current: &mut Current) -> bool {
    let mut out = std::mem::take(&mut current.scratch);
    out.clear();
    let result = write::json(stack, current, 1, "value", &mut out);
    if let Err(error) = &result {
        out.clear();
        out.extend_from_slice(format!("json.encode: {error}").as_bytes());
    }
    current.scratch = out;
    result.is_ok()
}

/// `kv(table, separator)`: `key=value` pairs, each after the separator.
pub(crate) fn kv(frame: &mut Frame) -> c_int {
    frame.stack.set_top(2);
    if frame.stack.kind(1) != Kind::Table || frame.stack.bytes(2).is_none() {
        frame.fail(b"kv takes a table and the separator to put before each pair: kv(log, \"||\")");
    }
    if !paired(frame.stack, frame.current()) {
        frame.fail_with_scratch();
    }
    frame.push_of(|current| &current.scratch);
    1
}

fn paired(stack: Stack, current: &mut Current) -> bool {
    let mut out = std::mem::take(&mut current.scratch);
    out.clear();
    let separator = stack.bytes(2).unwrap_or_default();
    let result = pairs(stack, current, 1, separator, "table", &mut PairPlaces::default(), &mut out);
    if let Err(error) = &result {
        out.clear();
        out.extend_from_slice(format!("kv: {error}").as_bytes());
    }
    current.scratch = out;
    result.is_ok()
}

/// `json.array(list)`: marks a list, so that it is written as an array even when empty. Without an argument, returns
/// a new list.
pub(crate) fn array(frame: &mut Frame) -> c_int {
    let stack = frame.stack;
    stack.set_top(1);
    match stack.kind(1) {
        Kind::Nil => {
            frame.push_table(0, 0);
            frame.replace(1);
        }
        Kind::Table => {}
        _ => frame.fail(b"json.array takes a list"),
    }
    let marks = frame.current().marks;
    let mark = stack.metatable(1);
    if mark == 0 {
        stack.push_kept(Kept::LIST);
        frame.set_metatable(1);
    } else if mark != marks.list && mark != marks.array {
        frame.fail(b"json.array takes a list without a metatable");
    }
    stack.set_top(1);
    1
}
