//! `json.decode`, `json.encode`, `json.array`: JSON for scripts, parsed only where a script reads it.
//!
//! `json.decode` checks the text and returns an empty table that holds it. The first reads of an object search the
//! text for the member. Further reads, a change, or a read of an array list the members of that one level. Nested
//! objects and arrays are tables of the same kind. As long as nothing inside has changed, the value is written as its
//! original text, byte for byte. A change is recorded up to the outermost value, and only these levels are written
//! again, in their original order.
//!
//! Such a table holds the following under keys that scripts cannot use: its text ([`Hidden::TEXT`], while unchanged)
//! and the value that contains it ([`Hidden::PARENT`]). Before its members are listed, it also holds the number of
//! reads ([`Hidden::READS`]) and the nested values returned so far, by key ([`Hidden::CHILDREN`]); afterwards its
//! members ([`Hidden::MEMBERS`]):
//!
//! * object: `[0]` = n, and for the i-th member `[2i-1]` = key, `[2i]` = value or nil, `[key]` = i;
//! * array: `[i]` = item;
//! * both: `[-i]` = the original text of a number that Lua would write differently, until it is replaced.

use std::ffi::c_int;

use super::table;
use super::table::whole;
use crate::core::event::PairPlaces;
use crate::script::engine::frame::Frame;
use crate::script::engine::lua_stack::{Hidden, Kept, Kind, Stack};
use crate::script::engine::time_limit;
use crate::script::hook::current_log::Current;
use crate::script::output::write;
use check::Look;

mod check;
pub(crate) mod scan;
mod string_ends;

/// Number of reads of an object that search its text; for more reads, listing its members is cheaper.
const FEW_READS: i64 = 4;

/// Default maximum nesting of objects and arrays for `json.decode`, and the largest value that a script can set.
/// Receivers fail at a depth of about 128, and some then reject the whole request.
const MAX_LEVELS: i64 = check::MAX_LEVELS_DEEP as i64;
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
    match take(text, levels.unwrap_or(MAX_LEVELS), &mut frame.current().scratch) {
        Ok(Taken::AsItIs) => {}
        Ok(Taken::Mended) => {
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
            push_container(frame, value[0], None);
        }
        _ => {
            push_scalar(frame, value);
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

/// How a text is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    AsItIs,
    /// On one line, with U+FFFD for invalid UTF-8 and for unpaired surrogates.
    Mended,
}

/// Why a text is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("not JSON at line {line}, column {column}")]
    Syntax { line: usize, column: usize },
    #[error("nested deeper than {0} levels")]
    Levels(i64),
    #[error("a number beyond 1.8e308, which most readers refuse, at line {line}, column {column}")]
    Number { line: usize, column: usize },
}

/// Whether `json.decode` accepts a text.
///
/// # Errors
/// It does not; the error is the reason.
pub(crate) fn check(text: &[u8]) -> Result<(), Refusal> {
    take(text, MAX_LEVELS, &mut Vec::new()).map(|_| ())
}

/// Whether and how a text is accepted; the corrected text is in `mended`. An accepted text can be copied into an
/// event: every known receiver accepts it too.
fn take(text: &[u8], most: i64, mended: &mut Vec<u8>) -> Result<Taken, Refusal> {
    let look = check::look(text);
    mended.clear();
    if most >= MAX_LEVELS {
        match look {
            Look::Json => return Ok(Taken::AsItIs),
            Look::JsonOnLines => {
                mended.extend_from_slice(text);
                join_lines(mended);
                return Ok(Taken::Mended);
            }
            Look::Unknown => {}
        }
    }
    for chunk in text.utf8_chunks() {
        mended.extend_from_slice(chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            mended.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    if look == Look::Unknown {
        // Decides the cases that the first check does not, such as deep nesting.
        let error = serde_json::from_slice::<serde::de::IgnoredAny>(mended).err();
        if let Some(error) = error {
            return Err(Refusal::Syntax { line: error.line(), column: error.column() });
        }
        if let Some(at) = scan::number_beyond_doubles(mended) {
            let before = &mended[..at];
            let line_start = memchr::memrchr(b'\n', before).map_or(0, |feed| feed + 1);
            let line = 1 + memchr::memchr_iter(b'\n', before).count();
            return Err(Refusal::Number { line, column: at - line_start + 1 });
        }
    }
    if scan::levels(mended) > most {
        return Err(Refusal::Levels(most));
    }
    scan::mend_surrogates(mended);
    join_lines(mended);
    Ok(if mended == text { Taken::AsItIs } else { Taken::Mended })
}

/// Removes line breaks, and other white space that is a control character, from JSON, so that it is written on one
/// line. Strings contain none.
fn join_lines(json: &mut Vec<u8>) {
    if memchr::memchr2(b'\n', b'\r', json).is_some() {
        json.retain(|&byte| byte >= b' ');
    }
}

/// Replaces the text of an object or array on top by a table for it.
fn push_container(frame: &mut Frame, first: u8, parent: Option<c_int>) {
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
fn push_scalar(frame: &mut Frame, text: &[u8]) -> bool {
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
    let result = write::pairs(stack, current, 1, separator, "table", &mut PairPlaces::default(), &mut out);
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
