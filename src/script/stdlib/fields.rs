//! Names and values for one-line formats: the common part of `cef`, `leef` and `logfmt`.

use std::collections::{BTreeMap, BTreeSet};

use mlua::{Function, Lua, LuaString, Table, Value};

use super::native;
use super::native::{MAX_BYTES, Raise, chunk};
use crate::core::name;
use crate::script::output::number;

/// Names and values from a script, in output order.
pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// A Lua function that converts a log, a table or a list of pairs to a list of alternating names and values; or nil
/// and the reason.
///
/// A log, decoded JSON and a list of pairs keep their order; other tables are sorted by name. nil and `json.null` are
/// left out. A table as a value becomes JSON.
pub(super) fn flattener(lua: &Lua, globals: &Table) -> mlua::Result<Function> {
    let engine = lua.globals();
    let json: Option<Table> = globals.get("json")?;
    let encode: Option<Function> = json.map(|json| json.get("encode")).transpose()?;
    chunk(lua, include_str!("fields.lua")).call((
        encode,
        engine.get::<Function>("pairs")?,
        engine.get::<Function>("type")?,
        engine.get::<Function>("tostring")?,
        lua.create_function(|lua, float: f64| {
            let mut digits = Vec::new();
            let written = number::float(float, &mut digits);
            written.then(|| lua.create_string(digits)).transpose()
        })?,
        engine.get::<Table>("math")?.get::<Function>("type")?,
        engine.get::<Function>("getmetatable")?,
        engine.get::<Function>("pcall")?,
        engine.get::<Table>("table")?.get::<Function>("sort")?,
    ))
}

/// Reads the result of [`flattener`].
pub(super) fn fields(list: &Table) -> Result<Fields, Raise> {
    let mut fields = Fields::new();
    let mut bytes = 0;
    let mut items = list.sequence_values::<LuaString>();
    while let (Some(name), Some(value)) = (items.next(), items.next()) {
        let (name, value) = (name?.as_bytes().to_vec(), value?.as_bytes().to_vec());
        bytes += name.len() + value.len();
        if bytes > MAX_BYTES {
            return Err(Raise::Text(format!("fields of more than {} MiB together", MAX_BYTES >> 20)));
        }
        fields.push((name, value));
    }
    Ok(fields)
}

/// Escapes the bytes of names that `allowed` rejects, as [`name::write`] does, so that different names stay
/// different. A repeated name gets a number appended, so that it is unique.
pub(super) fn clean_names(fields: &Fields, allowed: fn(u8) -> bool) -> Vec<Vec<u8>> {
    let clean = |(name, _): &(Vec<u8>, Vec<u8>)| {
        let mut clean = Vec::with_capacity(name.len());
        name::write(name, usize::MAX, allowed, &mut clean);
        clean
    };
    let mut names: Vec<Vec<u8>> = fields.iter().map(clean).collect();
    let mut taken: BTreeSet<Vec<u8>> = names.iter().cloned().collect();
    if taken.len() == names.len() {
        return names;
    }
    let mut next_numbers = BTreeMap::new();
    for name in &mut names {
        let Some(number) = next_numbers.get_mut(name) else {
            next_numbers.insert(name.clone(), 2_usize);
            continue;
        };
        let numbered = loop {
            let numbered = [name.as_slice(), format!("_{number}").as_bytes()].concat();
            *number += 1;
            if taken.insert(numbered.clone()) {
                break numbered;
            }
        };
        *name = numbered;
    }
    names
}

/// A part of a header: text or a number.
pub(super) fn header(function: &str, parts: &Table, name: &str) -> Result<Vec<u8>, Raise> {
    match parts.raw_get::<Value>(name)? {
        Value::String(text) if text.as_bytes().len() <= MAX_BYTES / 16 => Ok(text.as_bytes().to_vec()),
        Value::String(_) => Err(Raise::Text(format!("{function}: `{name}` is longer than {} MiB", MAX_BYTES >> 24))),
        value => match native::number(&value) {
            Some(digits) => Ok(digits),
            None => Err(Raise::Text(format!("{function}: `{name}` must be a string, not {}", value.type_name()))),
        },
    }
}

/// Rejects unknown names, because a misspelled name would otherwise be ignored silently.
pub(super) fn check_known(function: &str, parts: &Table, known: &[&str]) -> Result<(), Raise> {
    for pair in parts.pairs::<Value, Value>() {
        let (key, _) = pair?;
        let name = key.as_string().map_or_else(|| key.type_name().to_owned(), LuaString::to_string_lossy);
        if !known.contains(&name.as_str()) {
            let name: String = name.chars().take(60).collect();
            return Err(Raise::Text(format!("{function}: there is no `{name}`; there are {}", known.join(", "))));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_names_are_valid_and_distinct() {
        let fields: Fields =
            ["a b", "a_b", "a-b", "a_b", "a_b_2", "x", "a_b"].map(|name| (name.into(), Vec::new())).into();
        let names = clean_names(&fields, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let names: Vec<_> = names.iter().map(|name| String::from_utf8_lossy(name)).collect();
        assert_eq!(names, ["a_x20_b", "a_b", "a_x2D_b", "a_b_3", "a_b_2", "x", "a_b_4"]);
    }
}
