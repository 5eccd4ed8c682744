//! `cef.encode`: the Common Event Format of ArcSight, which Sentinel and most SIEMs read.
//!
//! `CEF:0|vendor|product|version|id|name|severity|key=value key=value`. A value has no quotes and ends where the next
//! ` key=` begins, so a `=` in a value must be escaped; `|` is special only in the header (Implementing ArcSight CEF,
//! "Character Encoding").

use mlua::{Function, Lua, LuaString, Table, Value};

use super::fields::{Fields, check_known, clean_names, fields, flattener, header};
use super::native::{MAX_BYTES, Raise, answering, chunk, number};
use crate::script::engine::raising::raising;

const PARTS: [&str; 7] = ["vendor", "product", "version", "id", "name", "severity", "extension"];

/// Words for a severity, instead of a number from 0 to 10.
const SEVERITIES: [&str; 5] = ["Unknown", "Low", "Medium", "High", "Very-High"];

/// The parts of a CEF header in order, after `CEF:0`: vendor, product, version, id, name, severity.
pub type Header = [Vec<u8>; 6];

/// Puts `cef` into `globals`.
pub(super) fn install(lua: &Lua, globals: &Table) -> mlua::Result<()> {
    let library = lua.create_table()?;
    library.set("encode", encoder(lua, globals, "cef.encode", "extension", answering(lua, native)?)?)?;
    globals.set("cef", library)
}

/// A function whose argument is a table of parts; the part named `list` contains the fields.
pub(super) fn encoder(lua: &Lua, globals: &Table, name: &str, list: &str, native: Function) -> mlua::Result<Function> {
    let encoder: Function = chunk(
        lua,
        r#"
        local flatten, native, name, list, type = ...
        return function(parts)
          if type(parts) ~= "table" then return false, "table expected, got " .. type(parts), 1 end
          local flat, why = flatten(parts[list])
          if not flat then return false, name .. ": " .. list .. ": " .. why end
          return native(parts, flat)
        end
        "#,
    )
    .call((flattener(lua, globals)?, native, name, list, lua.globals().get::<Function>("type")?))?;
    raising(lua, encoder)
}

fn native(lua: &Lua, (parts, list): (Table, Table)) -> Result<LuaString, Raise> {
    const NAME: &str = "cef.encode";
    check_known(NAME, &parts, &PARTS)?;
    let mut head = Header::default();
    for (part, name) in head.iter_mut().zip(&PARTS[..5]) {
        *part = header(NAME, &parts, name)?;
    }
    head[5] = severity(&parts.raw_get::<Value>("severity")?)?;
    let line = encode(&head, &fields(&list)?);
    if line.len() > MAX_BYTES {
        return Err(Raise::Text(format!("{NAME}: more than {} MiB", MAX_BYTES >> 20)));
    }
    Ok(lua.create_string(line)?)
}

fn severity(value: &Value) -> Result<Vec<u8>, Raise> {
    let text = match value {
        Value::String(text) => text.to_string_lossy(),
        Value::Nil => "Unknown".to_owned(),
        other => match number(other) {
            Some(digits) => String::from_utf8_lossy(&digits).into_owned(),
            None => other.type_name().to_owned(),
        },
    };
    let is_number = text.parse().is_ok_and(|number: u8| number <= 10 && number.to_string() == text);
    if is_number || SEVERITIES.contains(&text.as_str()) {
        return Ok(text.into_bytes());
    }
    let text: String = text.chars().take(60).collect();
    Err(Raise::Text(format!("cef.encode: `severity` must be 0 to 10, or one of {}, not {text}", SEVERITIES.join(", "))))
}

/// Writes one line. A line break becomes a space in the header, and an escape in a value; names are changed to those
/// that CEF allows.
pub fn encode(head: &Header, fields: &Fields) -> Vec<u8> {
    let mut line = b"CEF:0|".to_vec();
    for part in head {
        for &byte in part {
            match byte {
                b'\\' | b'|' => line.extend_from_slice(&[b'\\', byte]),
                b'\n' | b'\r' => line.push(b' '),
                other => line.push(other),
            }
        }
        line.push(b'|');
    }
    let names = clean_names(fields, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'));
    for (nth, (name, (_, value))) in names.iter().zip(fields).enumerate() {
        if nth > 0 {
            line.push(b' ');
        }
        line.extend_from_slice(name);
        line.push(b'=');
        for &byte in value {
            match byte {
                b'\\' | b'=' => line.extend_from_slice(&[b'\\', byte]),
                b'\n' => line.extend_from_slice(b"\\n"),
                b'\r' => line.extend_from_slice(b"\\r"),
                other => line.push(other),
            }
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use crate::script::stdlib::tests::check;

    /// Checks the output of `cef.encode` for this extension.
    fn writes(extension: &str, expected: &str) {
        check(&format!(
            "local got = cef.encode{{ vendor = 'Alibaba', product = 'Trail', version = 1, id = 'x', name = 'n', severity = 5,
               extension = {extension} }}
             assert(got == [[CEF:0|Alibaba|Trail|1|x|n|5|{expected}]], got)"
        ));
    }

    #[test]
    fn cef_extension_fields_are_in_a_fixed_order() {
        writes("{ src = '10.0.0.1', act = 'login', cnt = 3 }", "act=login cnt=3 src=10.0.0.1");
        writes("{ { 'src', '10.0.0.1' }, { 'act', 'login' }, { 'gone', nil } }", "src=10.0.0.1 act=login");
        writes("nil", "");
    }

    #[test]
    fn cef_values_cannot_end_early() {
        writes("{ msg = 'a=b c=d | e' }", "msg=a\\=b c\\=d | e");
        writes("{ msg = 'a\\nb\\r\\\\n' }", "msg=a\\nb\\r\\\\n");
        writes("{ ['a b=c'] = 'x', ['a_b_c'] = 'y' }", "a_x20_b_x3D_c=x a_b_c=y");
    }

    #[test]
    fn cef_header_fields_cannot_end_early() {
        check(
            "local got = cef.encode{ vendor = 'a|b', product = 'c\\\\', version = 'd\\ne', id = 1, name = 'x=y', severity = 'High' }
             assert(got == 'CEF:0|a\\\\|b|c\\\\\\\\|d e|1|x=y|High|', got)",
        );
    }

    #[test]
    fn a_missing_or_misspelt_key_is_an_error_that_names_it() {
        #[track_caller]
        fn fails(parts: &str, expected: &str) {
            check(&format!(
                "local ok, why = pcall(function() local x = cef.encode({parts}) end)
                 assert(not ok and why == [[test.lua:1: {expected}]], why)"
            ));
        }
        let full = "vendor = 'v', product = 'p', version = 'v', id = 'i', name = 'n'";
        fails("nil", "bad argument #1 to 'encode' (table expected, got nil)");
        fails("{ vendor = 'v' }", "cef.encode: `product` must be a string, not nil");
        fails(
            &format!("{{ {full}, ext = {{}} }}"),
            "cef.encode: there is no `ext`; there are vendor, product, version, id, name, severity, extension",
        );
        fails(
            &format!("{{ {full}, severity = 11 }}"),
            "cef.encode: `severity` must be 0 to 10, or one of Unknown, Low, Medium, High, Very-High, not 11",
        );
        fails(
            &format!("{{ {full}, extension = 'x' }}"),
            "cef.encode: extension: a table or a list of pairs is needed, not a string",
        );
        fails(
            &format!("{{ {full}, extension = {{ a = print }} }}"),
            "cef.encode: extension: `a`: a function is no value",
        );
        fails(
            &format!("{{ {full}, extension = {{ 'a' }} }}"),
            "cef.encode: extension: item 1 is no pair { name, value }",
        );
    }
}
