//! The library for scripts, as described in `docs/hook-library.md`.

pub(crate) mod cef;
mod directives;
mod encode;
pub(crate) mod fields;
mod hash;
mod ip;
pub(crate) mod leef;
pub(crate) mod logfmt;
mod logger;
pub(super) mod lookup;
pub(super) mod modules;
mod native;
mod patterns;
mod re;
mod settings;
mod time;
mod url;
mod values;

use std::time::{Instant, SystemTime};

use mlua::{Lua, LuaString, Table, Value};

use super::Config;

/// Puts the library into `globals`, with the variables as the global `settings`.
///
/// `string` and `table` must exist with Lua's own functions: some of them are replaced in place.
///
/// # Errors
///
/// Lua has no memory, or one of these libraries is missing.
pub(crate) fn install(lua: &Lua, globals: &Table, config: &Config) -> mlua::Result<()> {
    patterns::install(lua, &globals.get("string")?)?;
    values::install(lua, globals, &globals.get("table")?)?;
    re::install(lua, globals, config.timeout)?;
    encode::install(lua, globals)?;
    url::install(lua, globals)?;
    ip::install(lua, globals)?;
    cef::install(lua, globals)?;
    leef::install(lua, globals)?;
    logfmt::install(lua, globals)?;
    hash::install(lua, globals)?;
    time::install(lua, globals, SystemTime::now)?;
    logger::install(lua, globals, Instant::now)?;
    name_functions(lua, globals)?;
    settings::install(lua, globals, &config.vars)
}

/// Lets errors name a function that is called without a name, as by `pcall(time.parse, …)`: Lua looks it up in this
/// table of its registry, which already has Lua's own functions.
fn name_functions(lua: &Lua, globals: &Table) -> mlua::Result<()> {
    let loaded: Table = lua.named_registry_value("_LOADED")?;
    for pair in globals.pairs::<LuaString, Value>() {
        if let (name, Value::Table(library)) = pair?
            && !loaded.contains_key(&name)?
        {
            loaded.raw_set(name, library)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn config(vars: &str) -> Config {
        Config { timeout: Duration::from_secs(1), memory: 16 << 20, total: Arc::default(), vars: vars.parse().unwrap() }
    }

    /// Runs a script that contains its own assertions, in a Lua state with the library and some settings.
    pub(super) fn check(script: &str) {
        let vars = "
            index = 'main'
            limit = 3
            ratio = 0.5
            strict = true
            since = 2024-01-02
            topics = ['a', 'b']
            hosts = { db = 'db-1' }
        ";
        let lua = Lua::new();
        install(&lua, &lua.globals(), &config(vars)).unwrap();
        if let Err(error) = lua.load(script).set_name("@test.lua").exec() {
            panic!("{error}\n{script}");
        }
    }

    #[test]
    fn the_documentation_names_every_function() {
        let page = include_str!("../../../docs/hook-library.md");
        for name in [
            "string.find",
            "string.match",
            "string.gmatch",
            "string.gsub",
            "table.copy",
            "tostring",
            "print",
            "logger.debug",
            "logger.info",
            "logger.warn",
            "logger.error",
            "time.now",
            "time.parse",
            "time.format",
            "base64.encode",
            "base64.decode",
            "hex.encode",
            "hex.decode",
            "url.encode",
            "url.decode",
            "url.parse",
            "url.query",
            "re.find",
            "re.match",
            "re.captures",
            "re.gmatch",
            "re.gsub",
            "re.escape",
            "ip.parse",
            "ip.in_cidr",
            "ip.is_private",
            "json.decode",
            "json.encode",
            "json.array",
            "json.null",
            "kv(",
            "logfmt.encode",
            "cef.encode",
            "leef.encode",
            "lookup.csv",
            "lookup.json",
            "hash.md5",
            "hash.sha1",
            "hash.sha256",
            "hash.hmac_sha1",
            "hash.hmac_sha256",
            "settings",
        ] {
            assert!(page.contains(&format!("`{name}")), "{name}");
        }
    }

    /// Calls every function of the library with the three arguments, in all ways that a script may.
    const CALL_ALL: &str = "
        local a, b, c = ...
        local calls = 0
        for _, library in ipairs({ string, base64, hex, url, hash, time, logger, re, ip, cef, leef, logfmt, { tostring, table.copy } }) do
          for name, f in pairs(library) do
            -- These three make what they are asked for, however long.
            if name ~= 'rep' and name ~= 'format' and name ~= 'pack' then
              for _, s in ipairs({ a, b, c }) do
                pcall(f, s)
                pcall(f, s, a)
                pcall(f, s, b, c)
                pcall(f, s, nil, b, c)
                calls = calls + 4
              end
            end
          end
        end
        return calls";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_bytes_make_any_library_function_panic(a: Vec<u8>, b in "[%0-9.a-zA-Z: -]{0,8}", c: f64) {
            let lua = Lua::new();
            install(&lua, &lua.globals(), &config("")).unwrap();
            let calls: usize = lua
                .load(CALL_ALL)
                .call((lua.create_string(a).unwrap(), b, c))
                .unwrap();
            prop_assert!(calls > 300, "{} calls", calls);
        }
    }
}
