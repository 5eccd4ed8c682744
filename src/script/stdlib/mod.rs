//! What a script finds beside the language: the functions that `docs/hook-library.md` describes.

mod native;
mod patterns;

use mlua::{Lua, Table};

/// Puts the library into `globals`, with `vars` as the global `settings`.
///
/// The engine's own `string` and `table` libraries must be loaded: some of their functions are replaced in place.
///
/// # Errors
///
/// The engine has no memory, or lacks one of these libraries.
pub(crate) fn install(lua: &Lua, globals: &Table, vars: &toml::Table) -> mlua::Result<()> {
    let string: Table = lua.globals().get("string")?;
    patterns::install(lua, &string)?;
    globals.set("string", string)
}
