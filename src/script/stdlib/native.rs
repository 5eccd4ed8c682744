//! Makes Rust functions available to scripts: arguments and errors.

use mlua::chunk::{Chunk, ChunkMode};
use mlua::{FromLuaMulti, Function, IntoLuaMulti, Lua, LuaString, Value};

use crate::script::engine::raising::raising;
use crate::script::output::number;

/// An error of a native function.
pub(super) enum Raise {
    /// Raised as text, at the script's line that made the call.
    Text(String),
    /// Raised as text that names the invalid argument, counted from 1.
    Argument(usize, String),
    /// An error of Lua itself, such as out of memory: passed on unchanged.
    Engine(mlua::Error),
}

impl From<mlua::Error> for Raise {
    fn from(error: mlua::Error) -> Self {
        Self::Engine(error)
    }
}

/// Maximum length of a text that a library function accepts or returns, in bytes. These functions cannot be
/// interrupted, and their results do not count as Lua memory yet.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// Makes a native function available to scripts. A boolean may only be its only result.
pub(super) fn function<A, R>(
    lua: &Lua,
    native: impl Fn(&Lua, A) -> Result<R, Raise> + Send + 'static,
) -> mlua::Result<Function>
where
    A: FromLuaMulti,
    R: IntoLuaMulti,
{
    let native = answering(lua, native)?;
    raising(lua, native)
}

/// A native function for library code in Lua. It returns its results; on failure `false, message` or
/// `false, message, argument`.
pub(super) fn answering<A, R>(
    lua: &Lua,
    native: impl Fn(&Lua, A) -> Result<R, Raise> + Send + 'static,
) -> mlua::Result<Function>
where
    A: FromLuaMulti,
    R: IntoLuaMulti,
{
    lua.create_function(move |lua, arguments: A| match native(lua, arguments) {
        Ok(results) => results.into_lua_multi(lua),
        Err(Raise::Text(message)) => (false, message).into_lua_multi(lua),
        Err(Raise::Argument(n, message)) => (false, message, n).into_lua_multi(lua),
        Err(Raise::Engine(error)) => Err(error),
    })
}

/// A part of this library that is written in Lua.
pub(super) fn chunk<'a>(lua: &Lua, text: &'a str) -> Chunk<'a> {
    lua.load(text).set_name("=stdlib").set_mode(ChunkMode::Text)
}

/// Argument number `n` as text. Numbers are converted, as usual in Lua.
pub(super) fn text(lua: &Lua, n: usize, value: Value) -> Result<LuaString, Raise> {
    match value {
        Value::String(text) if text.as_bytes().len() > MAX_BYTES => {
            Err(Raise::Argument(n, format!("text of more than {} MiB", MAX_BYTES >> 20)))
        }
        Value::String(text) => Ok(text),
        value => match number(&value) {
            Some(digits) => Ok(lua.create_string(digits)?),
            None => Err(unexpected(n, "string", &value)),
        },
    }
}

/// A number as text; `None` for any other value. Values without digits are `nan`, `inf` and `-inf`.
pub(super) fn number(value: &Value) -> Option<Vec<u8>> {
    let mut digits = Vec::new();
    match *value {
        Value::Integer(integer) => number::integer(integer, &mut digits),
        Value::Number(float) => {
            if !number::float(float, &mut digits) {
                digits.extend_from_slice(float.to_string().to_ascii_lowercase().as_bytes());
            }
        }
        _ => return None,
    }
    Some(digits)
}

/// Argument number `n` as text; `None` if it is nil.
pub(super) fn text_or_none(lua: &Lua, n: usize, value: Value) -> Result<Option<LuaString>, Raise> {
    match value {
        Value::Nil => Ok(None),
        value => text(lua, n, value).map(Some),
    }
}

/// Argument number `n` as an integer; `None` if it is nil.
pub(super) fn integer_or_none(lua: &Lua, n: usize, value: Value) -> Result<Option<i64>, Raise> {
    match value {
        Value::Nil => Ok(None),
        Value::Integer(integer) => Ok(Some(integer)),
        value => match lua.coerce_integer(value.clone())? {
            Some(integer) => Ok(Some(integer)),
            None if lua.coerce_number(value.clone())?.is_some() => {
                Err(Raise::Argument(n, "number has no integer representation".to_owned()))
            }
            None => Err(unexpected(n, "number", &value)),
        },
    }
}

/// The error that argument number `n` does not have the `expected` type.
pub(super) fn unexpected(n: usize, expected: &str, value: &Value) -> Raise {
    let got = match value {
        Value::Table(table) => match table.metatable().map(|meta| meta.raw_get("__name")) {
            Some(Ok(Value::String(name))) => name.to_string_lossy(),
            _ => "table".to_owned(),
        },
        Value::LightUserData(_) => "light userdata".to_owned(),
        Value::Integer(_) => "number".to_owned(),
        other => other.type_name().to_owned(),
    };
    Raise::Argument(n, format!("{expected} expected, got {got}"))
}
