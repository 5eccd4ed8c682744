//! `logfmt.encode`: `key=value` pairs on one line. A value cannot add a pair.

use mlua::{Function, Lua, LuaString, Table};

use super::fields::{Fields, clean_names, fields, flattener};
use super::native::{MAX_BYTES, Raise, answering, chunk};
use crate::script::engine::raising::raising;

/// Puts `logfmt` into `globals`.
pub(super) fn install(lua: &Lua, globals: &Table) -> mlua::Result<()> {
    let encode: Function = chunk(
        lua,
        r#"
        local flatten, native, type = ...
        return function(fields)
          if type(fields) ~= "table" then return false, "table expected, got " .. type(fields), 1 end
          local flat, why = flatten(fields)
          if not flat then return false, "logfmt.encode: " .. why end
          return native(flat)
        end
        "#,
    )
    .call((flattener(lua, globals)?, answering(lua, native)?, lua.globals().get::<Function>("type")?))?;
    let library = lua.create_table()?;
    library.set("encode", raising(lua, encode)?)?;
    globals.set("logfmt", library)
}

fn native(lua: &Lua, list: Table) -> Result<LuaString, Raise> {
    let line = encode(&fields(&list)?);
    if line.len() > MAX_BYTES {
        return Err(Raise::Text(format!("logfmt.encode: more than {} MiB", MAX_BYTES >> 20)));
    }
    Ok(lua.create_string(line)?)
}

/// Writes a value of plain characters unchanged, any other in quotes with `\"`, `\\`, `\n`, `\r`, `\t` and `\u00XX`
/// for other control characters.
pub fn encode(fields: &Fields) -> Vec<u8> {
    let names = clean_names(fields, |byte| byte > b' ' && !matches!(byte, b'=' | b'"' | b'\\' | 0x7f));
    let mut line = Vec::new();
    for (nth, (name, (_, value))) in names.iter().zip(fields).enumerate() {
        if nth > 0 {
            line.push(b' ');
        }
        line.extend_from_slice(name);
        line.push(b'=');
        let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'=' | b'"' | b'\\');
        if !value.is_empty() && value.iter().all(plain) {
            line.extend_from_slice(value);
        } else {
            quote(value, &mut line);
        }
    }
    line
}

fn quote(value: &[u8], line: &mut Vec<u8>) {
    line.push(b'"');
    for &byte in value {
        match byte {
            b'"' | b'\\' => line.extend_from_slice(&[b'\\', byte]),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            b'\t' => line.extend_from_slice(b"\\t"),
            0..0x20 | 0x7f => line.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            other => line.push(other),
        }
    }
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use crate::script::stdlib::tests::check;

    #[test]
    fn only_values_that_need_quotes_have_them() {
        check("assert(logfmt.encode({ a = 1, b = 'x y', c = '' }) == [[a=1 b=\"x y\" c=\"\"]])");
        check("assert(logfmt.encode({ { 'z', 'GET' }, { 'a', '/x?y' } }) == 'z=GET a=/x?y')");
    }

    #[test]
    fn a_value_cannot_forge_a_pair() {
        check("assert(logfmt.encode({ msg = 'x user=root' }) == [[msg=\"x user=root\"]])");
        check("assert(logfmt.encode({ msg = 'a\"b\\\\c\\n\\r\\t\\27' }) == [[msg=\"a\\\"b\\\\c\\n\\r\\t\\u001b\"]])");
        check("assert(logfmt.encode({ ['a b='] = 'v' }) == 'a_x20_b_x3D_=v')");
        check(
            "local ok, why = pcall(function() local x = logfmt.encode('x') end) assert(why:find('table expected, got string', 1, true), why)",
        );
    }
}
