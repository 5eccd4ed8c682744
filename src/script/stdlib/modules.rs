//! `require`: modules in the script's directory.

use std::sync::{Arc, Mutex, PoisonError};

use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, Table, Value};

use crate::script::Script;
use crate::script::engine::raising;
use crate::script::source::files::module_file;

/// The modules being loaded, each required by the previous one.
type Chain = Arc<Mutex<Vec<String>>>;

/// Puts `require` into `globals`, which the modules share with the script.
///
/// A module runs once in each Lua state, under the limits of its first caller. Its text is part of the script's
/// version; later changes of the file belong to a new version.
pub(crate) fn install(lua: &Lua, globals: &Table, script: &Script) -> mlua::Result<()> {
    let chain = Chain::default();
    let opening = (Arc::clone(&chain), script.clone(), globals.clone());
    let open = lua.create_function(move |lua, name: Value| {
        let (chain, script, globals) = &opening;
        match open(lua, script, globals, chain, &name) {
            Ok(module) => Ok(Value::Function(module)),
            // Returned as text: a script could not process a Rust error.
            Err(Refused::Text(text)) => Ok(Value::String(lua.create_string(text)?)),
            Err(Refused::Engine(error)) => Err(error),
        }
    })?;
    let close = lua.create_function(move |_, ()| {
        chain.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Ok(())
    })?;
    let require = raising::require(lua, lua.create_table()?, open, close)?;
    globals.raw_set("require", require)
}

/// Why a module cannot be loaded.
enum Refused {
    /// A message for the script's author.
    Text(String),
    /// Lua has no memory.
    Engine(mlua::Error),
}

/// Compiles a module, and records that it is being loaded.
fn open(lua: &Lua, script: &Script, globals: &Table, chain: &Chain, name: &Value) -> Result<Function, Refused> {
    let name = match name {
        Value::String(name) => name.to_string_lossy(),
        other => {
            return Err(Refused::Text(format!("require: the name of a module is text, not {}", other.type_name())));
        }
    };
    let Some(file) = module_file(&name) else {
        let why = "is not a module: a module is a file beside the script, named by letters, digits, _ and -; a dot stands \
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
