//! `state`: the data that a script keeps between logs, and between versions if it requests that.

use mlua::{Lua, Table, Value};

use crate::script::diagnostics::error::bounded;

/// Maximum bytes of text, and maximum number of values, that are passed from one version to the next.
const MAX_BYTES: usize = 4 << 20;
const MAX_VALUES: usize = 100_000;

/// Maximum nesting of tables.
const MAX_DEPTH: usize = 32;

/// The global that is passed on, and the global that requests it.
const STATE: &str = "state";
const KEEP: &str = "keep_state";

/// The state passed from one version to the next: a copy, because Lua states share nothing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KeptState {
    keep: Plain,
    table: Plain,
}

/// A value that can be copied to another Lua state.
#[derive(Debug, Clone, PartialEq)]
enum Plain {
    Boolean(bool),
    Integer(i64),
    Number(f64),
    Text(Vec<u8>),
    Table(Vec<(Plain, Plain)>),
}

/// Sets the global `state`: the passed state, or an empty table.
pub(crate) fn install(lua: &Lua, globals: &Table, handed: Option<&KeptState>) -> mlua::Result<()> {
    let state = match handed {
        Some(KeptState { table, .. }) => table.to_lua(lua)?,
        None => Value::Table(lua.create_table()?),
    };
    globals.raw_set(STATE, state)
}

/// The state that the script of these globals passes to the next version; `None` if it does not request that.
///
/// # Errors
/// The script requests it, but the state has a value that cannot be passed; the text names it.
pub(crate) fn read(globals: &Table) -> Result<Option<KeptState>, String> {
    let mut walk = Walk { bytes: 0, values: 0 };
    let Some(keep) = kept_as(globals, &mut walk) else { return Ok(None) };
    let state = globals.raw_get(STATE).unwrap_or(Value::Nil);
    if !state.is_table() {
        return Err(format!("{STATE} is not a table, but {}", state.type_name()));
    }
    let table = walk.copy(&state, STATE, 0).map_err(|why| bounded(why.as_bytes()))?;
    Ok(Some(KeptState { keep, table }))
}

impl KeptState {
    /// Whether the script of these globals continues with this state: it has the same `keep_state`.
    pub(crate) fn is_wanted(&self, globals: &Table) -> bool {
        kept_as(globals, &mut Walk { bytes: 0, values: 0 }).as_ref() == Some(&self.keep)
    }
}

fn kept_as(globals: &Table, walk: &mut Walk) -> Option<Plain> {
    match globals.raw_get(KEEP).ok()? {
        Value::Nil | Value::Boolean(false) | Value::Table(_) => None,
        keep => walk.copy(&keep, KEEP, 0).ok(),
    }
}

struct Walk {
    bytes: usize,
    values: usize,
}

impl Walk {
    fn copy(&mut self, value: &Value, path: &str, depth: usize) -> Result<Plain, String> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(format!("{STATE} has more than {MAX_VALUES} values"));
        }
        Ok(match value {
            Value::Boolean(boolean) => Plain::Boolean(*boolean),
            Value::Integer(integer) => Plain::Integer(*integer),
            Value::Number(number) => Plain::Number(*number),
            Value::String(text) => {
                let text = text.as_bytes().to_vec();
                self.bytes += text.len();
                if self.bytes > MAX_BYTES {
                    return Err(format!("{STATE} has more than {} MiB of text", MAX_BYTES >> 20));
                }
                Plain::Text(text)
            }
            Value::Table(_) if depth == MAX_DEPTH => {
                return Err(format!("{path}: nested deeper than {MAX_DEPTH}, or within itself"));
            }
            Value::Table(table) if table.metatable().is_some() => {
                return Err(format!(
                    "{path}: a log, decoded JSON or a table with a metatable: keep a table.copy of it"
                ));
            }
            Value::Table(table) => {
                let mut pairs = Vec::new();
                for pair in table.pairs::<Value, Value>() {
                    let (key, value) = pair.map_err(|error| format!("{path}: {error}"))?;
                    let below = match &key {
                        Value::String(key) => format!("{path}.{}", key.to_string_lossy()),
                        Value::Integer(key) => format!("{path}[{key}]"),
                        other => format!("{path}[{}]", other.type_name()),
                    };
                    let key = self.copy(&key, &below, depth + 1)?;
                    pairs.push((key, self.copy(&value, &below, depth + 1)?));
                }
                Plain::Table(pairs)
            }
            other => return Err(format!("{path}: a {} cannot be stored", other.type_name())),
        })
    }
}

impl Plain {
    fn to_lua(&self, lua: &Lua) -> mlua::Result<Value> {
        Ok(match self {
            Self::Boolean(boolean) => Value::Boolean(*boolean),
            Self::Integer(integer) => Value::Integer(*integer),
            Self::Number(number) => Value::Number(*number),
            Self::Text(text) => Value::String(lua.create_string(text)?),
            Self::Table(pairs) => {
                let table = lua.create_table_with_capacity(0, pairs.len())?;
                for (key, value) in pairs {
                    table.raw_set(key.to_lua(lua)?, value.to_lua(lua)?)?;
                }
                Value::Table(table)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks what the next version finds in `state`, as JSON-like text, or the reason why it finds nothing.
    fn check(script: &str, next: &str, expected: &str) {
        let run = |script: &str, handed: Option<&KeptState>| {
            let lua = Lua::new();
            install(&lua, &lua.globals(), handed).unwrap();
            lua.load(script).exec().unwrap();
            lua
        };
        let first = run(script, None);
        let found = match read(&first.globals()) {
            Err(why) => why,
            Ok(None) => "not asked for".to_owned(),
            Ok(Some(state)) => {
                let second = run(next, Some(&state));
                match state.is_wanted(&second.globals()) {
                    true => second.globals().get::<String>("found").unwrap(),
                    false => "not wanted".to_owned(),
                }
            }
        };
        assert_eq!(found, expected, "{script}");
    }

    #[test]
    fn plain_state_is_handed_over_when_both_versions_declare_it() {
        let next = "keep_state = 'v1' local s = state
                    found = table.concat({ s.n, s.f, tostring(s.b), s.t[1].x, s[7], math.type(s.n) }, ' ')";
        let first = "keep_state = 'v1' state.n = 9007199254740993 state.f = 0.5 state.b = true state.t = {{ x = 'a\\0b' }} state[7] = 'i'";
        check(first, next, "9007199254740993 0.5 true a\0b i integer");
        check(&first.replace("'v1'", "'v0'"), next, "not wanted");
        check(&first.replace("keep_state = 'v1'", ""), next, "not asked for");
        check(&first.replace("'v1'", "false"), next, "not asked for");
        check("keep_state = true state.n = 1", "keep_state = true found = state.n", "1");
        check("keep_state = true state.n = 1", "found = state.n", "not wanted");
    }

    #[test]
    fn state_that_cannot_be_handed_over_is_named() {
        check("keep_state = true state.a = { print }", "", "state.a[1]: a function cannot be stored");
        check(
            "keep_state = true state.a = state",
            "",
            &format!("state{}: nested deeper than 32, or within itself", ".a".repeat(32)),
        );
        let decoded = "state.log: a log, decoded JSON or a table with a metatable: keep a table.copy of it";
        check("keep_state = true state.log = setmetatable({}, {})", "", decoded);
        check("keep_state = true state = 7", "", "state is not a table, but integer");
        check("keep_state = true for i = 1, 200000 do state[i] = i end", "", "state has more than 100000 values");
        check("keep_state = true state.x = ('x'):rep(5 << 20)", "", "state has more than 4 MiB of text");
    }
}
