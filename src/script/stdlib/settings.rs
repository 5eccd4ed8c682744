//! `settings`: the `[script.vars]` of the settings file.

use std::sync::Arc;

use mlua::{Function, IntoLua as _, Lua, MetaMethod, Table, Value};

use super::native::{Raise, function};

/// Puts `settings` into `globals` as a read-only table.
///
/// Each read of a nested table returns a new copy. It is therefore an ordinary table, which may become part of an
/// event, and changes to it do not affect later logs.
pub(super) fn install(lua: &Lua, globals: &Table, vars: &toml::Table) -> mlua::Result<()> {
    let vars = Arc::new(vars.clone());
    let meta = lua.create_table()?;
    meta.set(MetaMethod::Index.name(), read(lua, Arc::clone(&vars))?)?;
    meta.set(MetaMethod::Pairs.name(), iterate(lua, vars)?)?;
    meta.set(MetaMethod::NewIndex.name(), function(lua, refuse)?)?;
    meta.set("__name", "settings")?;
    meta.set("__metatable", false)?;

    let settings = lua.create_table()?;
    settings.set_metatable(Some(meta))?;
    globals.set("settings", settings)
}

fn read(lua: &Lua, vars: Arc<toml::Table>) -> mlua::Result<Function> {
    lua.create_function(move |lua, (_, key): (Value, Value)| match key {
        Value::String(key) => match vars.get(&*key.to_string_lossy()) {
            Some(value) => to_lua(lua, value),
            None => Ok(Value::Nil),
        },
        _ => Ok(Value::Nil),
    })
}

/// `pairs(settings)`, in the order of the file's keys.
fn iterate(lua: &Lua, vars: Arc<toml::Table>) -> mlua::Result<Function> {
    let following = lua.create_function(move |lua, (_, key): (Value, Option<String>)| {
        let after = match &key {
            None => vars.iter().next(),
            Some(key) => vars.iter().skip_while(|(name, _)| *name != key).nth(1),
        };
        match after {
            Some((name, value)) => Ok((name.as_str().into_lua(lua)?, to_lua(lua, value)?)),
            None => Ok((Value::Nil, Value::Nil)),
        }
    })?;
    lua.create_function(move |_, settings: Value| Ok((following.clone(), settings, Value::Nil)))
}

fn refuse(_: &Lua, (_, key): (Value, Value)) -> Result<(), Raise> {
    let key = key.as_string().map_or_else(|| key.type_name().to_owned(), mlua::LuaString::to_string_lossy);
    Err(Raise::Text(format!(
        "settings cannot be written to ('{key}'): set it under [script.vars] in the settings file, or keep it in a local"
    )))
}

fn to_lua(lua: &Lua, value: &toml::Value) -> mlua::Result<Value> {
    match value {
        toml::Value::String(text) => text.as_str().into_lua(lua),
        toml::Value::Integer(integer) => Ok(Value::Integer(*integer)),
        toml::Value::Float(float) => Ok(Value::Number(*float)),
        toml::Value::Boolean(boolean) => Ok(Value::Boolean(*boolean)),
        toml::Value::Datetime(datetime) => datetime.to_string().into_lua(lua),
        toml::Value::Array(items) => {
            let items: mlua::Result<Vec<Value>> = items.iter().map(|item| to_lua(lua, item)).collect();
            lua.create_sequence_from(items?)?.into_lua(lua)
        }
        toml::Value::Table(entries) => {
            let table = lua.create_table_with_capacity(0, entries.len())?;
            for (key, value) in entries {
                table.raw_set(key.as_str(), to_lua(lua, value)?)?;
            }
            table.into_lua(lua)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::script::stdlib::tests::check;

    #[test]
    fn settings_have_the_values_of_the_file() {
        check("assert(settings.index == 'main' and settings.limit == 3 and settings.ratio == 0.5)");
        check("assert(settings.strict == true and settings.since == '2024-01-02')");
        check("assert(settings.topics[2] == 'b' and #settings.topics == 2 and settings.hosts.db == 'db-1')");
        check("assert(settings.missing == nil and settings[1] == nil)");
    }

    #[test]
    fn pairs_iterates_over_all_settings() {
        check(
            "local keys = {} for k, v in pairs(settings) do assert(v ~= nil) keys[#keys + 1] = k end
             table.sort(keys) assert(table.concat(keys, ' ') == 'hosts index limit ratio since strict topics')",
        );
        check("assert(table.copy(settings).index == 'main')");
    }

    #[test]
    fn settings_are_read_only() {
        check(
            "local ok, why = pcall(function() settings.index = 'other' end)
             assert(not ok and why:find(\"test.lua:1: settings cannot be written to ('index')\", 1, true), why)
             assert(settings.index == 'main')",
        );
        check("settings.hosts.db = 'other' assert(settings.hosts.db == 'db-1')");
        check("assert(not pcall(setmetatable, settings, {}) and getmetatable(settings) == false)");
    }
}
