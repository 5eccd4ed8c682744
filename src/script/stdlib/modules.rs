//! `require`: the modules beside the script.

use std::ffi::c_int;
use std::sync::{Arc, Mutex, PoisonError};

use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, MultiValue, Table, Value, ffi};

use crate::script::Script;
use crate::script::source::files::module_file;

/// Modules that are being loaded, each required by the one before it.
type Chain = Arc<Mutex<Vec<String>>>;

/// Puts `require` into `globals`, which the modules share with the script.
///
/// A module runs once in each Lua state, under the limits of whoever asks for it first, and its text is that of the
/// script's version: what happens to the file later is another version's business.
pub(crate) fn install(lua: &Lua, globals: &Table, script: &Script) -> mlua::Result<()> {
    let chain = Chain::default();
    let opening = (Arc::clone(&chain), script.clone(), globals.clone());
    let open = lua.create_function(move |lua, name: Value| {
        let (chain, script, globals) = &opening;
        match open(lua, script, globals, chain, &name) {
            Ok(module) => Ok(Value::Function(module)),
            // Not as an error of Rust's, which a script could not take apart.
            Err(Refused::Text(text)) => Ok(Value::String(lua.create_string(text)?)),
            Err(Refused::Engine(error)) => Err(error),
        }
    })?;
    let close = lua.create_function(move |_, ()| {
        chain.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Ok(())
    })?;
    let parts =
        MultiValue::from_iter([Value::Table(lua.create_table()?), Value::Function(open), Value::Function(close)]);
    // SAFETY: the three parts are on the stack, and the closure that takes them is the one value left.
    let require: Function = unsafe { lua.exec_raw(parts, |state| ffi::lua_pushcclosure(state, require, 3)) }?;
    globals.raw_set("require", require)
}

/// Why there is no module.
enum Refused {
    /// In words for the script's author.
    Text(String),
    /// The engine has no memory.
    Engine(mlua::Error),
}

/// Compiles a module, and notes that it is being loaded.
fn open(lua: &Lua, script: &Script, globals: &Table, chain: &Chain, name: &Value) -> Result<Function, Refused> {
    let name = match name {
        Value::String(name) => name.to_string_lossy(),
        other => {
            return Err(Refused::Text(format!("require: the name of a module is text, not {}", other.type_name())));
        }
    };
    let Some(file) = module_file(&name) else {
        let why = "is no module: a module is a file beside the script, named by letters, digits, _ and -; a dot stands \
                   for a directory";
        return Err(Refused::Text(format!("require: {name:?} {why}")));
    };
    let path = script.name_of(&file);
    let text = script.files.get(&file).map_err(|why| Refused::Text(format!("require: {path}: {why}")))?;
    let mut chain = chain.lock().unwrap_or_else(PoisonError::into_inner);
    if chain.contains(&name) {
        let circle = chain.iter().skip_while(|module| **module != name).chain([&name]);
        let circle = circle.map(String::as_str).collect::<Vec<_>>().join(" → ");
        return Err(Refused::Text(format!("require: modules that wait for each other: {circle}")));
    }
    let chunk = lua.load(&text[..]).set_name(format!("@{path}")).set_mode(ChunkMode::Text);
    let module = chunk.set_environment(globals.clone()).into_function().map_err(|error| match error {
        mlua::Error::SyntaxError { message, .. } => Refused::Text(format!("require: {message}")),
        other => Refused::Engine(other),
    })?;
    chain.push(name);
    Ok(module)
}

/// `require(name)`; its upvalues are the loaded modules by name, and the functions that begin and end loading one.
unsafe extern "C-unwind" fn require(state: *mut ffi::lua_State) -> c_int {
    const LOADED: c_int = ffi::lua_upvalueindex(1);
    // SAFETY: called by Lua with a valid state and LUA_MINSTACK free slots, of which five are used. An error may leave
    // by longjmp from any of the calls, and this frame has nothing to drop.
    unsafe {
        ffi::lua_settop(state, 1);
        ffi::lua_pushvalue(state, 1);
        if ffi::lua_rawget(state, LOADED) != ffi::LUA_TNIL {
            return 1;
        }
        ffi::lua_settop(state, 1);
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(2));
        ffi::lua_pushvalue(state, 1);
        ffi::lua_call(state, 1, 1);
        if ffi::lua_type(state, 2) == ffi::LUA_TSTRING {
            ffi::luaL_where(state, 1);
            ffi::lua_rotate(state, 2, 1);
            ffi::lua_concat(state, 2);
            ffi::lua_error(state);
        }
        ffi::lua_pushvalue(state, 1);
        let ended = ffi::lua_pcall(state, 1, 1, 0);
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(3));
        ffi::lua_call(state, 0, 0);
        if ended != ffi::LUA_OK {
            ffi::lua_error(state);
        }
        if ffi::lua_type(state, 2) == ffi::LUA_TNIL {
            ffi::lua_pushboolean(state, 1);
            ffi::lua_replace(state, 2);
        }
        ffi::lua_pushvalue(state, 1);
        ffi::lua_pushvalue(state, 2);
        ffi::lua_rawset(state, LOADED);
        1
    }
}
