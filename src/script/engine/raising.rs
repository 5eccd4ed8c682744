//! C functions that raise errors as Lua's own functions do, around native functions that cannot raise.

use std::ffi::c_int;

use mlua::{Function, Lua, MultiValue, Table, Value, ffi};

/// Wraps a native function that returns `false, message` or `false, message, argument` on failure in a C function
/// that raises the message, as Lua's own functions do.
///
/// An error returned by a Rust callback reaches `pcall` as an object, which a script cannot concatenate or match, and
/// contains no line. A Lua function as the wrapper would lose the line of a tail call.
pub(crate) fn raising(lua: &Lua, native: Function) -> mlua::Result<Function> {
    // SAFETY: the closure leaves one value, the C function, in the place of its one argument.
    unsafe { lua.exec_raw(native, |state| ffi::lua_pushcclosure(state, call_and_raise, 1)) }
}

/// Calls its upvalue with its own arguments.
unsafe extern "C-unwind" fn call_and_raise(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: Lua calls this with at least LUA_MINSTACK free slots, of which two are used, and a valid state. An error
    // may leave by longjmp from any of the calls, and this frame has nothing to drop.
    unsafe {
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
        ffi::lua_insert(state, 1);
        ffi::lua_call(state, ffi::lua_gettop(state) - 1, ffi::LUA_MULTRET);
        let failed = ffi::lua_type(state, 1) == ffi::LUA_TBOOLEAN && ffi::lua_type(state, 2) == ffi::LUA_TSTRING;
        if !failed {
            return ffi::lua_gettop(state);
        }
        if ffi::lua_type(state, 3) == ffi::LUA_TNUMBER {
            let argument = c_int::try_from(ffi::lua_tointeger(state, 3)).unwrap_or(0);
            return ffi::luaL_argerror(state, argument, ffi::lua_tostring(state, 2));
        }
        ffi::luaL_where(state, 1);
        ffi::lua_pushvalue(state, 2);
        ffi::lua_concat(state, 2);
        ffi::lua_error(state)
    }
}

/// `require(name)`: `open` returns the function of a module, or a text that says why there is none; `close` is called
/// after that function has run. The module's result is stored in `loaded`, by its name.
pub(crate) fn require(lua: &Lua, loaded: Table, open: Function, close: Function) -> mlua::Result<Function> {
    let parts = MultiValue::from_iter([Value::Table(loaded), Value::Function(open), Value::Function(close)]);
    // SAFETY: the three parts are on the stack, and the closure that pops them is the one value left.
    unsafe { lua.exec_raw(parts, |state| ffi::lua_pushcclosure(state, call_require, 3)) }
}

/// Its upvalues are the loaded modules by name, and the functions that begin and end the loading of one.
unsafe extern "C-unwind" fn call_require(state: *mut ffi::lua_State) -> c_int {
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
