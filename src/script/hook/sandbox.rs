//! The globals of a script: only those listed here exist.
//!
//! A script comes from a trusted file, but anyone may write its logs. It therefore has no functions that could
//! access the machine (`io`, `os`, `package`, `debug`), load unchecked code (`load`, bytecode), run outside of the
//! time limit (coroutines, finalisers, endless loops inside C functions), or change other functions (metatables of
//! strings, tables of libraries).

use std::ffi::c_int;
use std::sync::Arc;

use mlua::{Lua, LuaString, MultiValue, StdLib, Table, Value};

use super::current_log::MetatableMarks;
use crate::script::Config;
use crate::script::engine::frame::{Frame, NativeFunction};
use crate::script::engine::lua_stack::{Kept, Kind};
use crate::script::engine::memory::LuaState;
use crate::script::engine::shared::{Shared, keep};
use crate::script::engine::time_limit;
use crate::script::values::json::lazy;
use crate::script::values::{drop, json, log};

const BASE: &[&str] = &[
    "_VERSION",
    "assert",
    "error",
    "getmetatable",
    "ipairs",
    "pairs",
    "pcall",
    "rawequal",
    "select",
    "tonumber",
    "tostring",
    "type",
];

const STRING: &[&str] = &[
    "byte", "char", "find", "format", "gmatch", "gsub", "len", "lower", "match", "pack", "packsize", "reverse", "sub",
    "unpack", "upper",
];

const TABLE: &[&str] = &["concat", "pack", "unpack"];

/// Maximum number of items that `table.move`, `insert` and `remove` move at once: they cannot be interrupted, and
/// missing items need no memory.
const MAX_MOVED: i64 = 4_000_000;

/// Creates a state with everything that scripts may use, and the table of their globals.
pub(crate) fn build(shared: &mut Shared, config: &Config) -> mlua::Result<(LuaState, Table)> {
    let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::UTF8;
    let lua = LuaState::new(libraries)?;
    lua.set_limits(config.memory, Arc::clone(&config.total));
    let engine = lua.globals();
    let globals = lua.create_table()?;
    copy(&engine, &globals, BASE)?;
    for library in ["math", "utf8"] {
        let all: Table = engine.get(library)?;
        let mine = lua.create_table()?;
        for pair in all.pairs::<Value, Value>() {
            let (name, value) = pair?;
            mine.raw_set(name, value)?;
        }
        globals.raw_set(library, mine)?;
    }
    let string = lua.create_table()?;
    copy(&engine.get("string")?, &string, STRING)?;
    let table = lua.create_table()?;
    copy(&engine.get("table")?, &table, TABLE)?;
    let wrapped = engine.get::<Table>("table")?;
    for (name, guard) in [
        ("insert", NativeFunction::of(insert)),
        ("remove", NativeFunction::of(remove)),
        ("sort", NativeFunction::of(sort)),
        ("move", NativeFunction::of(r#move)),
    ] {
        table.raw_set(name, shared.function(&lua, guard, wrapped.get::<Value>(name)?)?)?;
    }
    let rep = engine.get::<Table>("string")?.get::<Value>("rep")?;
    string.raw_set("rep", shared.function(&lua, NativeFunction::of(repeat), rep)?)?;
    let set = engine.get::<Value>("setmetatable")?;
    globals.raw_set("setmetatable", shared.function(&lua, NativeFunction::of(set_metatable), set)?)?;
    let xpcall = engine.get::<Value>("xpcall")?;
    globals.raw_set("xpcall", shared.function(&lua, NativeFunction::of(guarded_xpcall), xpcall)?)?;
    add_log(&lua, shared, &globals)?;
    lua.type_metatable::<LuaString>().map_or_else(|| lua.create_table(), Ok).and_then(|strings| {
        strings.raw_set("__index", &string)?;
        strings.raw_set("__metatable", false)?;
        lua.set_type_metatable::<LuaString>(Some(strings));
        Ok(())
    })?;
    globals.raw_set("string", string)?;
    globals.raw_set("table", table)?;
    globals.raw_set("_G", &globals)?;
    Ok((lua, globals))
}

/// Makes every library table read-only, so that a script cannot change functions.
pub(crate) fn seal(lua: &Lua, globals: &Table) -> mlua::Result<()> {
    let mut sealed = Vec::new();
    for pair in globals.pairs::<LuaString, Value>() {
        if let (name, Value::Table(library)) = pair?
            && library != *globals
            && library.pairs::<Value, Value>().any(|pair| matches!(pair, Ok((_, Value::Function(_)))))
        {
            sealed.push((name, library));
        }
    }
    for (name, library) in sealed {
        let text = name.to_string_lossy();
        let refuse = lua.create_function(move |_, _: MultiValue| -> mlua::Result<()> {
            Err(mlua::Error::runtime(format!("the library `{text}` cannot be changed")))
        })?;
        let meta = lua.create_table()?;
        meta.raw_set("__index", library)?;
        meta.raw_set("__newindex", refuse)?;
        meta.raw_set("__metatable", false)?;
        let face = lua.create_table()?;
        face.set_metatable(Some(meta))?;
        globals.raw_set(name, face)?;
    }
    Ok(())
}

fn copy(from: &Table, to: &Table, names: &[&str]) -> mlua::Result<()> {
    names.iter().try_for_each(|&name| to.raw_set(name, from.get::<Value>(name)?))
}

/// The log, decoded JSON, and the functions for them.
fn add_log(lua: &Lua, shared: &mut Shared, globals: &Table) -> mlua::Result<()> {
    let values = lua.create_table()?;
    let make = |function: NativeFunction, upvalue: &Value| shared.function(lua, function, upvalue.clone());
    let stored = Value::Table(values.clone());
    let next = make(NativeFunction::of(log::next), &stored)?;
    let encode = make(NativeFunction::of(json::encode), &Value::Nil)?;
    let metatable = |functions: &[(&str, NativeFunction)]| -> mlua::Result<Table> {
        let meta = lua.create_table()?;
        for &(name, function) in functions {
            meta.raw_set(name, make(function, &stored)?)?;
        }
        if !functions.is_empty() {
            meta.raw_set("__pairs", make(NativeFunction::of(log::pairs), &next)?)?;
            meta.raw_set("__tostring", &encode)?;
        }
        meta.raw_set("__metatable", false)?;
        Ok(meta)
    };
    let logs = metatable(&[
        ("__index", NativeFunction::of(log::index)),
        ("__newindex", NativeFunction::of(log::assign)),
        ("__len", NativeFunction::of(log::length)),
    ])?;
    let decoded: &[(&str, NativeFunction)] = &[
        ("__index", NativeFunction::of(lazy::index)),
        ("__newindex", NativeFunction::of(lazy::assign)),
        ("__len", NativeFunction::of(lazy::length)),
    ];
    let (objects, arrays, lists) = (metatable(decoded)?, metatable(decoded)?, metatable(&[])?);
    let dropped = metatable(&[])?;
    let marks = MetatableMarks {
        log: logs.to_pointer().addr(),
        object: objects.to_pointer().addr(),
        array: arrays.to_pointer().addr(),
        list: lists.to_pointer().addr(),
        dropped: dropped.to_pointer().addr(),
    };
    let kept = [
        (Kept::LOG, Value::Table(logs)),
        (Kept::VALUES, stored.clone()),
        (Kept::OBJECT, Value::Table(objects)),
        (Kept::ARRAY, Value::Table(arrays)),
        (Kept::LIST, Value::Table(lists)),
        (Kept::DROPPED, Value::Table(dropped)),
        (Kept::EXPLAIN, make(NativeFunction::of(log::explain), &encode)?),
        (Kept::CALL, make(NativeFunction::of(log::call_each), &Value::Nil)?),
    ];
    for (what, value) in kept {
        keep(lua, what, value)?;
    }

    let library = lua.create_table()?;
    library.raw_set("encode", &encode)?;
    library.raw_set("decode", make(NativeFunction::of(json::decode), &Value::Nil)?)?;
    library.raw_set("array", make(NativeFunction::of(json::array), &Value::Nil)?)?;
    library.raw_set("null", Value::NULL)?;
    library.raw_set("get", lua.load(GET).set_name("=json.get").call::<Value>(Value::NULL)?)?;
    globals.raw_set("json", library)?;
    globals.raw_set("kv", make(NativeFunction::of(json::kv), &Value::Nil)?)?;
    globals.raw_set("next", next)?;
    globals.raw_set("drop", make(NativeFunction::of(drop::drop), &Value::Nil)?)?;
    shared.get().marks = marks;
    Ok(())
}

/// `json.get(value, "a", "b")`: the value at the end of the path, or nil if the path ends early or at null.
const GET: &str = r#"
    local null = ...
    local select, type = select, type
    return function(value, ...)
      for at = 1, select('#', ...) do
        if type(value) ~= "table" then return nil end
        value = value[(select(at, ...))]
      end
      if value == null then return nil end
      return value
    end
"#;

/// Calls the original function, the upvalue, with all arguments.
fn pass_on(frame: &mut Frame) -> c_int {
    let arguments = frame.stack.top();
    frame.stack.push_copy(frame.upvalue());
    frame.insert(1);
    frame.call(arguments, mlua::ffi::LUA_MULTRET);
    frame.stack.top()
}

/// A script's own `__len` could return any length, and Lua would visit all of it.
fn check_length(frame: &mut Frame) {
    if frame.stack.kind(1) == Kind::Table {
        let mark = frame.stack.metatable(1);
        let marks = frame.current().marks;
        if mark != 0 && mark != marks.array && mark != marks.log && frame.has_metafield(1, c"__len") {
            frame.fail(b"a table whose metatable has __len cannot be used here");
        }
    }
}

/// `table.insert(t, v)` or `table.insert(t, position, v)`.
fn insert(frame: &mut Frame) -> c_int {
    check_length(frame);
    if frame.stack.top() > 2 {
        check_shifted(frame, b"table.insert shifts at most 4000000 items");
    }
    pass_on(frame)
}

/// `table.remove(t)` or `table.remove(t, position)`.
fn remove(frame: &mut Frame) -> c_int {
    check_length(frame);
    check_shifted(frame, b"table.remove shifts at most 4000000 items");
    pass_on(frame)
}

/// The items from the position on are shifted in a loop that cannot be interrupted. The length of a table with holes
/// may be far larger than its number of items.
fn check_shifted(frame: &mut Frame, problem: &[u8]) {
    let length = i64::try_from(frame.stack.raw_len(1)).unwrap_or(i64::MAX);
    if frame.stack.kind(1) == Kind::Table
        && let Some(position) = frame.stack.integer(2)
        && length.saturating_sub(position) > MAX_MOVED
    {
        frame.fail(problem);
    }
}

fn sort(frame: &mut Frame) -> c_int {
    check_length(frame);
    if frame.stack.kind(2) == Kind::Nil {
        // A sort with Lua's own comparison cannot be interrupted, and long texts make each comparison slow.
        frame.stack.set_top(1);
        frame.stack.push_nil();
        frame.push_function(NativeFunction::of(is_less));
    }
    pass_on(frame)
}

/// `a < b` as a Lua function call, so that the script can be stopped there.
fn is_less(frame: &mut Frame) -> c_int {
    let is_less = frame.is_less(1, 2);
    frame.stack.push_boolean(is_less);
    1
}

fn r#move(frame: &mut Frame) -> c_int {
    if let (Some(first), Some(last)) = (frame.stack.integer(2), frame.stack.integer(3))
        && last.saturating_sub(first) > MAX_MOVED
    {
        frame.fail(b"table.move takes at most 4000000 items");
    }
    pass_on(frame)
}

fn repeat(frame: &mut Frame) -> c_int {
    let empty = |at| frame.stack.bytes(at).is_none_or(<[u8]>::is_empty);
    if frame.stack.kind(1) == Kind::String && empty(1) && empty(3) {
        // Lua would loop over the repetitions of an empty text.
        frame.push_bytes(b"");
        return 1;
    }
    pass_on(frame)
}

/// Rejects a metatable with `__gc`, `__close` or `__mode`. If a script adds them to the metatable later, `__gc` has no
/// effect, because Lua checks for a finaliser only here; `__close` is stopped like other code; and weak tables may
/// slow down the collector.
fn set_metatable(frame: &mut Frame) -> c_int {
    let stack = frame.stack;
    if stack.kind(2) == Kind::Table {
        for name in [b"__gc".as_slice(), b"__close", b"__mode"] {
            frame.push_bytes(name);
            if stack.swap_for_item(2) != Kind::Nil {
                frame.fail(b"a script cannot use the metamethods __gc, __close and __mode");
            }
            stack.pop(1);
        }
    }
    pass_on(frame)
}

/// Lua runs an error handler with hooks disabled when a hook raised the error. A handler that loops could then not be
/// stopped, so the script's handler is not called after a stop.
fn guarded_xpcall(frame: &mut Frame) -> c_int {
    if frame.stack.kind(2) == Kind::Other("a function") {
        frame.stack.push_copy(2);
        frame.push_function(NativeFunction::of(explain_unless_over));
        frame.replace(2);
    }
    pass_on(frame)
}

fn explain_unless_over(frame: &mut Frame) -> c_int {
    if time_limit::is_over() {
        return 1;
    }
    pass_on(frame)
}
