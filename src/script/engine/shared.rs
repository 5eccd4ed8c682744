//! The state shared by a hook and the functions of its Lua state, and how the hook enters that state.

use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::sync::Arc;

use mlua::ffi::{self, lua_Debug};
use mlua::{Function, IntoLuaMulti, Lua, Value};

use super::frame::NativeFunction;
use super::lua_stack::{Kept, Outcome, Stack};
use crate::script::hook::current_log::Current;

/// The [`Current`] that a hook shares with the functions of its Lua state, which know its address.
///
/// The two never use it at the same time: the hook runs a script with [`Shared::call`], during which nothing may be
/// borrowed from it. Other ways to run Lua code, such as [`Function::call`], are only for code that calls none of
/// these functions.
#[derive(Default)]
pub(crate) struct Shared(Arc<Slot>);

#[derive(Default)]
struct Slot(UnsafeCell<Current>);

// SAFETY: used by one side at a time, and so by one thread, see `Shared`; its content is bound to no thread.
unsafe impl Send for Slot {}
// SAFETY: likewise.
unsafe impl Sync for Slot {}

impl Shared {
    /// The state of the current log. Must not be used while Lua code runs.
    pub(crate) fn get(&mut self) -> &mut Current {
        // SAFETY: used by one side at a time, see the type, and this side has borrowed its handle mutably.
        unsafe { &mut *self.0.0.get() }
    }

    /// A native function with an upvalue. The Lua state keeps the shared data of its functions alive until it
    /// ends.
    pub(crate) fn function(&self, lua: &Lua, function: NativeFunction, upvalue: Value) -> mlua::Result<Value> {
        let kept = lua.app_data_ref::<Arc<Slot>>().map(|kept| Arc::ptr_eq(&kept, &self.0));
        match kept {
            Some(is_this) => assert!(is_this, "a state has the functions of one hook"),
            None => drop(lua.set_app_data(Arc::clone(&self.0))),
        }
        let current = self.0.0.get();
        // SAFETY: the upvalue is on the stack; the closure takes it and leaves the function. An error leaves by `longjmp`
        // into `exec_raw`, past a closure with nothing to drop. The extra space of a state is as large as a
        // pointer, and mlua does not use it; what the pointer refers to lives as long as the state.
        unsafe {
            lua.exec_raw(upvalue, |state| {
                ffi::lua_getextraspace(state).cast::<*mut Current>().write(current);
                ffi::lua_pushcclosure(state, function.pointer(), 1);
            })
        }
    }

    /// Calls the function under `arguments` values, as [`Stack::call`] does.
    pub(crate) fn call(&mut self, stack: Stack, arguments: c_int, explain: c_int) -> Outcome {
        stack.call(arguments, explain)
    }
}

/// Passes the state's stack, with these values on it, to a closure.
///
/// # Errors
/// No memory for the values.
pub(crate) fn visit<R>(lua: &Lua, values: impl IntoLuaMulti, visitor: impl FnOnce(Stack<'_>) -> R) -> mlua::Result<R> {
    let mut result = None;
    // SAFETY: nothing that the closure can do with a `Stack` raises an error, so its values are dropped in order; the state
    // lives as long as `lua`, and mlua locks it for this thread meanwhile.
    unsafe { lua.exec_raw::<()>(values, |state| result = Some(visitor(Stack::new(state))))? };
    Ok(result.expect("no error, so the closure ran"))
}

/// Stores a value in the registry.
///
/// # Errors
/// No memory.
pub(crate) fn keep(lua: &Lua, what: Kept, value: Value) -> mlua::Result<()> {
    // SAFETY: the value is on top; `exec_raw` protects the one operation that can raise.
    unsafe { lua.exec_raw(value, |state| ffi::lua_rawseti(state, ffi::LUA_REGISTRYINDEX, what.key())) }
}

/// The number of parameters of a function; a variadic function counts as two or more.
///
/// # Errors
/// No memory.
pub(crate) fn parameters(lua: &Lua, function: Function) -> mlua::Result<u8> {
    let mut count = 0;
    // SAFETY: all zeroes is a valid `lua_Debug`, which `lua_getinfo` fills; with `>` it takes the function on top.
    unsafe {
        lua.exec_raw::<()>(function, |state| {
            let mut function: lua_Debug = std::mem::zeroed();
            ffi::lua_getinfo(state, c">u".as_ptr(), &raw mut function);
            count = if function.isvararg == 0 { function.nparams } else { u8::MAX };
        })?;
    }
    Ok(count)
}
