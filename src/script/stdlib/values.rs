//! `tostring` and `table.copy`.

use mlua::{Function, Lua, Table, Value};

use super::native::{chunk, number};
use crate::script::engine::raising::raising;

/// Puts `tostring` into `globals`, and `copy` into the `table` library.
pub(super) fn install(lua: &Lua, globals: &Table, table: &Table) -> mlua::Result<()> {
    let tostring: Function = chunk(
        lua,
        r#"
        local engine_tostring, name_without_address, number_text, type, number_type = ...
        local shown_by_value = { ["nil"] = true, boolean = true, string = true }
        return function(value)
          local kind = type(value)
          if shown_by_value[kind] then return engine_tostring(value) end
          -- The engine keeps 14 digits of a float, and gives a whole one a fraction.
          if kind == "number" then return number_type(value) == "float" and number_text(value) or engine_tostring(value) end
          return name_without_address(value) or engine_tostring(value)
        end
        "#,
    )
    .call((
        lua.globals().get::<Function>("tostring")?,
        lua.create_function(|_, value: Value| Ok(name_without_address(&value)))?,
        lua.create_function(|lua, value: Value| number(&value).map(|digits| lua.create_string(digits)).transpose())?,
        lua.globals().get::<Function>("type")?,
        lua.globals().get::<Table>("math")?.get::<Function>("type")?,
    ))?;
    globals.set("tostring", tostring)?;

    // `pairs` uses a table's own `__pairs`, so that a log can be copied.
    let copy: Function = chunk(
        lua,
        r#"
        local pairs, type = pairs, type
        return function(t)
          if type(t) ~= "table" then return false, "table expected, got " .. type(t), 1 end
          local copy = {}
          for key, value in pairs(t) do copy[key] = value end
          return copy
        end
        "#,
    )
    .eval()?;
    table.set("copy", raising(lua, copy)?)
}

/// The text for a value that Lua would show as an address, which is meaningless and changes in each run. `None` if
/// the value has its own text.
fn name_without_address(value: &Value) -> mlua::Result<Option<String>> {
    Ok(match value {
        Value::Table(table) => match table.metatable() {
            None => Some("table".to_owned()),
            Some(meta) if !meta.raw_get::<Value>("__tostring")?.is_nil() => None,
            Some(meta) => match meta.raw_get("__name")? {
                Value::String(name) => Some(name.to_string_lossy()),
                _ => Some("table".to_owned()),
            },
        },
        Value::LightUserData(pointer) if pointer.0.is_null() => Some("null".to_owned()),
        Value::Function(_) | Value::Thread(_) | Value::LightUserData(_) => Some(value.type_name().to_owned()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use crate::script::stdlib::tests::check;

    #[test]
    fn tostring_shows_no_address() {
        check("assert(tostring({}) == 'table' and tostring(print) == 'function')");
        check("assert(tostring(setmetatable({}, { __name = 'Log' })) == 'Log')");
        check("assert(tostring(setmetatable({}, { __name = 5 })) == 'table')");
    }

    #[test]
    fn tostring_is_otherwise_that_of_the_engine() {
        check(
            "assert(tostring(5) == '5' and tostring(0.5) == '0.5' and tostring(nil) == 'nil' and tostring(true) == 'true')",
        );
        check("assert(tostring(setmetatable({}, { __tostring = function() return 'mine\\xff' end })) == 'mine\\xff')");
        check("assert(not pcall(tostring, setmetatable({}, { __tostring = function() error('no') end })))");
    }

    #[test]
    fn copy_contains_what_the_table_shows() {
        check("local t = { 1, 2, a = {} } local c = table.copy(t) assert(c ~= t and c[2] == 2 and c.a == t.a)");
        check(
            "local shown = setmetatable({}, { __pairs = function() return next, { a = 1 } end })
             assert(table.copy(shown).a == 1)",
        );
        check(
            "local ok, why = pcall(function() table.copy('x') end)
             assert(why == \"test.lua:1: bad argument #1 to 'copy' (table expected, got string)\", why)",
        );
    }
}
