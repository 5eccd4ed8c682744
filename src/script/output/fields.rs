//! The values of an event table that are tables of pairs: `fields`, `structured_data`.

use std::borrow::Cow;
use std::ffi::c_int;

use super::fault::step;
use super::scalar::{Text, text};
use super::shape::{Shape, shape};
use crate::core::event::BodyError;
use crate::script::engine::lua_stack::{Kept, Kind, Stack};
use crate::script::hook::current_log::{Current, FieldState};

/// Pairs of a table, with every value as text; a list becomes one pair per item, with the same key.
pub(super) fn fields<'a>(
    stack: Stack<'a>,
    current: &Current,
    table: c_int,
    path: &str,
) -> Result<Vec<(Text<'a>, Text<'a>)>, BodyError> {
    if stack.kind(table) == Kind::Table && matches!(shape(stack, current, table), Shape::Log) {
        return log_fields(stack, current, path);
    }
    let mut fields = Vec::new();
    for (key, at) in sorted(stack, current, table, path)? {
        let fault = |index: Option<usize>, why: String| {
            let index = index.map(|index| format!("[{index}]")).unwrap_or_default();
            BodyError::new(format!("{path}{}{index}", step(&key)), why)
        };
        match stack.kind(at) {
            Kind::Null => {}
            Kind::Table if matches!(shape(stack, current, at), Shape::Plain | Shape::List) => {
                let len = stack.raw_len(at);
                if len == 0 {
                    return Err(fault(None, "expected a value or a list of values".to_owned()));
                }
                for index in 1..=len {
                    stack.push_item(at, index as i64);
                    let text = text(stack, stack.top()).map_err(|why| fault(Some(index), why))?;
                    stack.pop(1);
                    fields.push((key.clone(), text));
                }
            }
            _ => {
                let text = text(stack, at).map_err(|why| fault(None, why))?;
                fields.push((key, text));
            }
        }
    }
    Ok(fields)
}

fn log_fields<'a>(stack: Stack<'a>, current: &Current, path: &str) -> Result<Vec<(Text<'a>, Text<'a>)>, BodyError> {
    stack.push_kept(Kept::VALUES);
    let values = stack.top();
    let mut fields = Vec::new();
    for position in 0..current.len() {
        let key = current.key(position);
        let value = match current.state(position) {
            FieldState::Deleted => continue,
            FieldState::Untouched => Cow::Owned(current.log().value(position).to_vec()),
            FieldState::Assigned => {
                stack.push_item(values, position as i64 + 1);
                let text = text(stack, stack.top());
                stack.pop(1);
                text.map_err(|why| BodyError::new(format!("{path}{}", step(key)), why))?
            }
        };
        fields.push((Cow::Owned(key.to_vec()), value));
    }
    Ok(fields)
}

/// Keys and stack indexes of the values of a script's table, sorted; they stay on the stack.
pub(super) fn sorted<'a>(
    stack: Stack<'a>,
    current: &Current,
    table: c_int,
    path: &str,
) -> Result<Vec<(Text<'a>, c_int)>, BodyError> {
    let kind = stack.kind(table);
    if kind != Kind::Table {
        return Err(BodyError::new(path, format!("expected a table with named keys, not {}", kind.name())));
    }
    if !matches!(shape(stack, current, table), Shape::Plain) {
        let why = "a table of the script's own is needed, with named keys; table.copy() makes one of decoded JSON";
        return Err(BodyError::new(path, why));
    }
    let mut pairs = Vec::new();
    stack.push_nil();
    while stack.next(table) {
        let value = stack.top();
        if !stack.reserve(32) {
            return Err(BodyError::new(path, "too many keys"));
        }
        match stack.bytes(value - 1) {
            Some(key) => pairs.push((Cow::Borrowed(key), value)),
            None => return Err(BodyError::new(path, "has a key that is not a string")),
        }
        stack.push_copy(value - 1);
    }
    pairs.sort();
    Ok(pairs)
}
