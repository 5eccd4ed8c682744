//! The tables that `json.decode` returns: objects and arrays whose members are parsed only where a script reads them.
//!
//! Such a table is empty and holds the text of its value. The first reads of an object search the text for the member.
//! Further reads, a change, or a read of an array list the members of that one level. Nested objects and arrays are
//! tables of the same kind. As long as nothing inside has changed, the value is written as its original text, byte for
//! byte. A change is recorded up to the outermost value, and only these levels are written again, in their original
//! order.
//!
//! The table holds the following under keys that scripts cannot use: its text ([`Hidden::TEXT`], while unchanged)
//! and the value that contains it ([`Hidden::PARENT`]). Before its members are listed, it also holds the number of
//! reads ([`Hidden::READS`]) and the nested values returned so far, by key ([`Hidden::CHILDREN`]); afterwards its
//! members ([`Hidden::MEMBERS`]):
//!
//! * object: `[0]` = n, and for the i-th member `[2i-1]` = key, `[2i]` = value or nil, `[key]` = i;
//! * array: `[i]` = item;
//! * both: `[-i]` = the original text of a number that Lua would write differently, until it is replaced.

use std::ffi::c_int;

use super::scan;
use crate::script::engine::frame::Frame;
use crate::script::engine::lua_stack::{Hidden, Kept, Kind};
use crate::script::engine::time_limit;
use crate::script::values::table;
use crate::script::values::table::whole;

/// Number of reads of an object that search its text; for more reads, listing its members is cheaper.
const FEW_READS: i64 = 4;

/// Replaces the text of an object or array on top by a table for it.
pub(super) fn push_container(frame: &mut Frame, first: u8, parent: Option<c_int>) {
    let stack = frame.stack;
    frame.push_table(0, 1 + c_int::from(parent.is_some()));
    stack.swap();
    frame.set_hidden(-2, Hidden::TEXT);
    if let Some(parent) = parent {
        stack.push_copy(parent);
        frame.set_hidden(-2, Hidden::PARENT);
    }
    stack.push_kept(if first == b'{' { Kept::OBJECT } else { Kept::ARRAY });
    frame.set_metatable(-2);
}

/// Pushes a string, number, boolean or null; returns `false` when the number's text must be kept to write it
/// unchanged. An integer beyond 64 bits is pushed as its digits, because a float would be another number.
pub(super) fn push_scalar(frame: &mut Frame, text: &[u8]) -> bool {
    match text.first() {
        Some(b'"') => push_string(frame, &text[1..text.len() - 1]),
        Some(b't') => frame.stack.push_boolean(true),
        Some(b'f') => frame.stack.push_boolean(false),
        Some(b'n') => frame.stack.push_null(),
        _ => {
            let text = std::str::from_utf8(text).unwrap_or_default();
            match text.parse() {
                Ok(integer) if text != "-0" => frame.stack.push_integer(integer),
                Err(_) if !text.contains(['.', 'e', 'E']) => {
                    frame.push_bytes(text.as_bytes());
                    return false;
                }
                _ => {
                    frame.stack.push_number(text.parse().unwrap_or_default());
                    return false;
                }
            }
        }
    }
    true
}

/// `value[key]`
pub(crate) fn index(frame: &mut Frame) -> c_int {
    let stack = frame.stack;
    stack.set_top(2);
    let object = is_object(frame);
    let Some(key) = (if object { table::key_at(frame, 2) } else { Some(2) }) else {
        stack.push_nil();
        return 1;
    };
    if object && push_found(frame, key) {
        return 1;
    }
    push_members(frame, 1, object);
    let members = stack.top();
    if object {
        stack.push_copy(key);
        if let Kind::Integer(place) = stack.swap_for_item(members) {
            stack.push_item(members, 2 * place);
        }
    } else if let Some(place) = whole(stack.kind(2)).filter(|&place| place > 0) {
        stack.push_item(members, place);
    } else {
        stack.push_nil();
    }
    1
}

/// `value[key] = new`
pub(crate) fn assign(frame: &mut Frame) -> c_int {
    let stack = frame.stack;
    stack.set_top(3);
    if !is_object(frame) {
        let Some(place) = whole(stack.kind(2)).filter(|&place| place > 0) else {
            frame.fail(b"a JSON array takes only whole numbers from 1 as keys");
        };
        push_members(frame, 1, false);
        let members = stack.top();
        mark_changed(frame);
        stack.push_copy(3);
        frame.set_item(members, place);
        stack.push_nil();
        frame.set_item(members, -place);
        return 0;
    }
    let Some(key) = table::key_at(frame, 2) else { frame.fail(b"the keys of a JSON object are strings") };
    push_members(frame, 1, true);
    let members = stack.top();
    stack.push_copy(key);
    let place = match stack.swap_for_item(members) {
        Kind::Integer(place) => place,
        _ if stack.kind(3) == Kind::Nil => return 0,
        _ => add_member(frame, members, key),
    };
    mark_changed(frame);
    stack.push_copy(3);
    frame.set_item(members, 2 * place);
    stack.push_nil();
    frame.set_item(members, -place);
    0
}

/// `#value`: the number of items of an array; 0 for an object, as for a plain table with string keys.
pub(crate) fn length(frame: &mut Frame) -> c_int {
    frame.stack.set_top(1);
    if is_object(frame) {
        frame.stack.push_integer(0);
    } else {
        push_members(frame, 1, false);
        let len = frame.stack.raw_len(-1);
        frame.stack.push_integer(len as i64);
    }
    1
}

/// `next(value, key)`
pub(crate) fn next(frame: &mut Frame) -> c_int {
    let stack = frame.stack;
    stack.set_top(2);
    let object = is_object(frame);
    let begin = stack.kind(2) == Kind::Nil;
    if !object {
        push_members(frame, 1, false);
        let before = if begin { Some(0) } else { whole(stack.kind(2)).filter(|&place| place > 0) };
        let Some(place) = before.and_then(|place| place.checked_add(1)) else {
            frame.fail(b"next: no such key in this JSON array");
        };
        return match stack.push_item(stack.top(), place) {
            Kind::Nil => 1,
            _ => {
                stack.push_integer(place);
                stack.swap();
                2
            }
        };
    }
    let Some(key) = (if begin { Some(2) } else { table::key_at(frame, 2) }) else {
        frame.fail(b"next: no such key in this JSON object");
    };
    push_members(frame, 1, true);
    let members = stack.top();
    let mut place = 0;
    if !begin {
        stack.push_copy(key);
        match stack.swap_for_item(members) {
            Kind::Integer(known) => place = known,
            _ => frame.fail(b"next: no such key in this JSON object"),
        }
    }
    let Kind::Integer(count) = stack.push_item(members, 0) else {
        return 1;
    };
    while place < count {
        place += 1;
        if stack.push_item(members, 2 * place) != Kind::Nil {
            stack.push_item(members, 2 * place - 1);
            stack.swap();
            return 2;
        }
        stack.pop(1);
    }
    stack.push_nil();
    1
}

fn push_string(frame: &mut Frame, inside: &[u8]) {
    if memchr::memchr(b'\\', inside).is_none() {
        frame.push_bytes(inside);
        return;
    }
    let scratch = &mut frame.current().scratch;
    scratch.clear();
    scan::unescape(inside, scratch);
    frame.push_of(|current| &current.scratch);
}

/// Pushes the members of the value at `node`, and lists them if they are not listed yet.
fn push_members(frame: &mut Frame, node: c_int, object: bool) {
    let stack = frame.stack;
    if stack.push_hidden(node, Hidden::MEMBERS) == Kind::Table {
        return;
    }
    stack.pop(1);
    // An unchanged value always has its text, a changed value its members.
    stack.push_hidden(node, Hidden::TEXT);
    let text = stack.bytes(-1).unwrap_or_default();
    let known = stack.push_hidden(node, Hidden::CHILDREN) == Kind::Table;
    let children = stack.top();
    frame.push_table(8, if object { 8 } else { 0 });
    let members = children + 1;
    let mut count: i64 = 0;
    for member in scan::Members::of(text) {
        if time_limit::is_over() {
            frame.fail(b"listing the members takes too long");
        }
        let mut place = count + 1;
        if object {
            push_string(frame, member.key);
            stack.push_copy(-1);
            if let Kind::Integer(known) = stack.swap_for_item(members) {
                // A repeated key: its last value is used, at its first position.
                place = known;
            }
            stack.pop(1);
        }
        let first = member.value.first().copied().unwrap_or_default();
        let exact = if matches!(first, b'{' | b'[') {
            if known {
                stack.push_copy(-1);
            }
            if !known || stack.swap_for_item(children) != Kind::Table {
                stack.set_top(members + c_int::from(object));
                frame.push_bytes(member.value);
                push_container(frame, first, Some(node));
            }
            true
        } else {
            push_scalar(frame, member.value)
        };
        frame.set_item(members, if object { 2 * place } else { place });
        if exact {
            stack.clear_item(members, -place);
        } else {
            frame.push_bytes(member.value);
            frame.set_item(members, -place);
        }
        if object {
            stack.push_copy(-1);
            frame.set_item(members, 2 * place - 1);
            stack.push_integer(place);
            frame.set_pair(members);
        }
        count = count.max(place);
    }
    if object {
        stack.push_integer(count);
        frame.set_item(members, 0);
    }
    stack.push_copy(-1);
    frame.set_hidden(node, Hidden::MEMBERS);
}

/// Pushes the member of the object at 1 with the key at `key`, found in the text. Returns `false`, with nothing
/// pushed, when the members have to be listed.
fn push_found(frame: &mut Frame, key: c_int) -> bool {
    let stack = frame.stack;
    let base = stack.top();
    if stack.push_hidden(1, Hidden::TEXT) != Kind::String || stack.push_hidden(1, Hidden::MEMBERS) == Kind::Table {
        stack.set_top(base);
        return false;
    }
    let reads = match stack.push_hidden(1, Hidden::READS) {
        Kind::Integer(reads) => reads + 1,
        _ => 1,
    };
    if reads > FEW_READS {
        stack.set_top(base);
        return false;
    }
    stack.push_integer(reads);
    frame.set_hidden(1, Hidden::READS);
    let wanted = stack.bytes(key).unwrap_or_default();
    let text = stack.bytes(base + 1).unwrap_or_default();
    let Ok(found) = scan::last(text, wanted) else {
        stack.set_top(base);
        return false;
    };
    let Some(value) = found else {
        stack.push_nil();
        return true;
    };
    match value.first() {
        Some(&first @ (b'{' | b'[')) => {
            if stack.push_hidden(1, Hidden::CHILDREN) != Kind::Table {
                frame.push_table(0, 1);
                stack.push_copy(-1);
                frame.set_hidden(1, Hidden::CHILDREN);
            }
            let children = stack.top();
            stack.push_copy(key);
            if stack.swap_for_item(children) != Kind::Table {
                frame.push_bytes(value);
                push_container(frame, first, Some(1));
                stack.push_copy(key);
                stack.push_copy(-2);
                frame.set_pair(children);
            }
        }
        _ => {
            push_scalar(frame, value);
        }
    }
    true
}

/// Records a change of the value at 1, and so of every value that contains it.
fn mark_changed(frame: &mut Frame) {
    let stack = frame.stack;
    stack.push_copy(1);
    let node = stack.top();
    // A value without its text needs its members, so all are listed before the first text is removed.
    while stack.push_hidden(node, Hidden::PARENT) == Kind::Table {
        frame.replace(node);
        let object = stack.metatable(node) == frame.current().marks.object;
        push_members(frame, node, object);
        stack.set_top(node);
    }
    stack.set_top(node - 1);
    stack.push_copy(1);
    loop {
        stack.push_nil();
        frame.set_hidden(node, Hidden::TEXT);
        if stack.push_hidden(node, Hidden::PARENT) != Kind::Table {
            break;
        }
        // A parent's text is missing only if all values above it are marked too.
        frame.replace(node);
    }
    stack.set_top(node - 1);
}

fn is_object(frame: &mut Frame) -> bool {
    let mark = frame.stack.metatable(1);
    let marks = frame.current().marks;
    if mark != marks.object && mark != marks.array {
        frame.fail(b"expected a decoded JSON value");
    }
    mark == marks.object
}

/// Lists the key after the others; returns its position.
fn add_member(frame: &mut Frame, members: c_int, key: c_int) -> i64 {
    let stack = frame.stack;
    let count = match stack.push_item(members, 0) {
        Kind::Integer(count) => count,
        _ => 0,
    };
    let place = count + 1;
    stack.push_copy(key);
    frame.set_item(members, 2 * place - 1);
    stack.push_copy(key);
    stack.push_integer(place);
    frame.set_pair(members);
    stack.push_integer(place);
    frame.set_item(members, 0);
    place
}
