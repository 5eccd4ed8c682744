//! The operations of a native function that Lua has called.

use std::ffi::{c_char, c_int};

use mlua::ffi::{self, lua_State};

use super::lua_stack::{Hidden, Outcome, Stack};
use crate::script::hook::current_log::Current;

/// A native function as Lua takes it, with any value as its upvalue. The Lua state knows the current log.
#[derive(Clone, Copy)]
pub(crate) struct NativeFunction(ffi::lua_CFunction);

impl NativeFunction {
    /// Wraps a function that leaves its results on the stack and returns their number.
    ///
    /// An operation of its frame may leave it by `longjmp`. The function, and any function that it calls with the
    /// frame, must therefore keep nothing that has to be dropped.
    pub(crate) const fn of<F: Fn(&mut Frame) -> c_int + Copy>(_: F) -> Self {
        const { assert!(size_of::<F>() == 0, "a function, or a closure that captures nothing") };
        Self(enter::<F>)
    }

    pub(super) fn pointer(self) -> ffi::lua_CFunction {
        self.0
    }
}

/// The C function that Lua calls for each of them.
unsafe extern "C-unwind" fn enter<F: Fn(&mut Frame) -> c_int + Copy>(state: *mut lua_State) -> c_int {
    // SAFETY: `NativeFunction::of` was given a value of this type, which has no bytes.
    let function: F = unsafe { std::mem::zeroed() };
    // SAFETY: only `Shared` and `Frame::push_function` create Lua functions from this one, in a state that `Shared`
    // prepared.
    function(&mut unsafe { Frame::enter(state) })
}

/// A call of a native function by Lua.
///
/// Its operations may leave the Rust function immediately, by `longjmp`.
pub(crate) struct Frame<'lua> {
    pub(crate) stack: Stack<'lua>,
    current: *mut Current,
}

impl Frame<'_> {
    /// # Safety
    /// `state` is the one that Lua passed to a function. Its extra space has the address of the [`Current`] that the
    /// state keeps (see [`Shared`](super::shared::Shared)), and nothing else has borrowed it.
    unsafe fn enter(state: *mut lua_State) -> Self {
        // SAFETY: as above.
        unsafe {
            Self { stack: Stack::new(state), current: ffi::lua_getextraspace(state).cast::<*mut Current>().read() }
        }
    }

    /// The state of the current log. While it is borrowed, the frame cannot be used, so no Lua code runs that would
    /// use it too.
    pub(crate) fn current(&mut self) -> &mut Current {
        // SAFETY: see `Frame::enter`; this is the frame that Lua runs at the moment, and its callers wait.
        unsafe { &mut *self.current }
    }

    /// Pushes bytes of the current log's state.
    pub(crate) fn push_of(&mut self, pick: impl FnOnce(&Current) -> &[u8]) {
        // SAFETY: as in `Frame::current`; pushing a string runs no Lua code.
        let current = unsafe { &*self.current };
        self.push_bytes(pick(current));
    }

    /// Index of the function's upvalue.
    pub(crate) fn upvalue(&self) -> c_int {
        ffi::lua_upvalueindex(1)
    }

    pub(crate) fn push_bytes(&self, bytes: &[u8]) {
        // SAFETY: see `Frame::enter`.
        unsafe {
            ffi::lua_pushlstring(self.stack.state(), bytes.as_ptr().cast::<c_char>(), bytes.len());
        }
    }

    pub(crate) fn push_table(&self, items: c_int, pairs: c_int) {
        // SAFETY: see `Frame::enter`.
        unsafe { ffi::lua_createtable(self.stack.state(), items, pairs) }
    }

    /// Replaces the value on top by a function with that value as upvalue.
    pub(crate) fn push_function(&self, function: NativeFunction) {
        // SAFETY: see `Frame::enter`.
        unsafe { ffi::lua_pushcclosure(self.stack.state(), function.0, 1) }
    }

    /// `table[index] = top`, ignoring metatables; pops the top.
    pub(crate) fn set_item(&self, table: c_int, index: i64) {
        // SAFETY: see `Frame::enter`.
        unsafe { ffi::lua_rawseti(self.stack.state(), table, index) }
    }

    /// `table[below top] = top`, ignoring metatables; pops both.
    pub(crate) fn set_pair(&self, table: c_int) {
        // SAFETY: see `Frame::enter`.
        unsafe { ffi::lua_rawset(self.stack.state(), table) }
    }

    /// `table[key] = top`; pops the top.
    pub(crate) fn set_named(&self, table: c_int, key: &[u8]) {
        self.push_bytes(key);
        self.stack.swap();
        self.set_pair(table);
    }

    /// Stores the top under a hidden key; pops it.
    pub(crate) fn set_hidden(&self, table: c_int, key: Hidden) {
        // SAFETY: see `Frame::enter`.
        unsafe { ffi::lua_rawsetp(self.stack.state(), table, key.address()) }
    }

    /// Makes the table on top the metatable of the one at `table`; pops it.
    pub(crate) fn set_metatable(&self, table: c_int) {
        // SAFETY: see `Frame::enter`.
        unsafe {
            ffi::lua_setmetatable(self.stack.state(), table);
        }
    }

    /// Lua's `next`, for any table and any key.
    pub(crate) fn next(&self, table: c_int) -> bool {
        // SAFETY: see `Frame::enter`.
        unsafe { ffi::lua_next(self.stack.state(), table) != 0 }
    }

    /// Moves the top to index `at`, below the values from there on.
    pub(crate) fn insert(&self, at: c_int) {
        // SAFETY: see `Frame::enter`.
        unsafe { ffi::lua_rotate(self.stack.state(), at, 1) }
    }

    /// Pops the top and stores it at another index of the stack.
    pub(crate) fn replace(&self, at: c_int) {
        // SAFETY: see `Frame::enter`.
        unsafe {
            ffi::lua_copy(self.stack.state(), -1, at);
            ffi::lua_settop(self.stack.state(), -2);
        }
    }

    /// `a < b`, according to their metatables.
    pub(crate) fn is_less(&self, a: c_int, b: c_int) -> bool {
        // SAFETY: see `Frame::enter`.
        unsafe { ffi::lua_compare(self.stack.state(), a, b, ffi::LUA_OPLT) != 0 }
    }

    /// Joins the `count` strings and numbers on top.
    pub(crate) fn concat(&self, count: c_int) {
        // SAFETY: see `Frame::enter`.
        unsafe { ffi::lua_concat(self.stack.state(), count) }
    }

    /// As [`Frame::call`] with one result. If the function raises, returns `false` with the error in place of the
    /// result.
    pub(crate) fn try_call(&self, arguments: c_int) -> bool {
        self.stack.call(arguments, 0) == Outcome::Returned
    }

    /// Calls the function under the arguments.
    pub(crate) fn call(&self, arguments: c_int, results: c_int) {
        // SAFETY: see `Frame::enter`.
        unsafe { ffi::lua_call(self.stack.state(), arguments, results) }
    }

    /// Converts any value to a string, as `tostring` does; pushes it.
    pub(crate) fn push_text_of(&self, at: c_int) {
        // SAFETY: see `Frame::enter`.
        unsafe {
            ffi::luaL_tolstring(self.stack.state(), at, std::ptr::null_mut());
        }
    }

    /// Whether the value's metatable has this field.
    pub(crate) fn has_metafield(&self, at: c_int, name: &std::ffi::CStr) -> bool {
        // SAFETY: see `Frame::enter`.
        unsafe {
            if ffi::luaL_getmetafield(self.stack.state(), at, name.as_ptr()) == ffi::LUA_TNIL {
                return false;
            }
            ffi::lua_settop(self.stack.state(), -2);
            true
        }
    }

    /// Raises an error, at the script's line that made the call.
    pub(crate) fn fail(&self, message: &[u8]) -> ! {
        // SAFETY: see `Frame::enter`.
        unsafe {
            ffi::luaL_where(self.stack.state(), 1);
            self.push_bytes(message);
            ffi::lua_concat(self.stack.state(), 2);
            ffi::lua_error(self.stack.state())
        }
    }

    /// As [`Frame::fail`], with the message in the scratch buffer.
    pub(crate) fn fail_with_scratch(&mut self) -> ! {
        self.push_of(|current| &current.scratch);
        // SAFETY: see `Frame::enter`.
        unsafe {
            ffi::luaL_where(self.stack.state(), 1);
            ffi::lua_rotate(self.stack.state(), -2, 1);
            ffi::lua_concat(self.stack.state(), 2);
            ffi::lua_error(self.stack.state())
        }
    }
}
