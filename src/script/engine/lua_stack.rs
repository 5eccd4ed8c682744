//! The Lua stack, as the rest of this module uses it.
//!
//! Lua reports an error by `longjmp`, which skips the destructors of the Rust frames in between. Two types keep that
//! apart:
//!
//! * [`Stack`] has only operations that raise no error. Nor do they allocate in Lua, so that no garbage is collected, but
//!   for [`Stack::reserve`], which frees nothing that can be reached, and [`Stack::call`]. It may be used anywhere, so all
//!   that writes events works on it.
//! * [`Frame`] adds those that can raise. It exists only inside a function that Lua calls, and those functions keep
//!   nothing on their Rust frames that would have to be dropped.

use std::ffi::{c_char, c_int, c_void};

use mlua::ffi::{self, lua_State};

use crate::script::hook::current_log::Current;

/// What is at a place of the stack.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Nil,
    Boolean(bool),
    Integer(i64),
    Number(f64),
    String,
    Table,
    /// `json.null`.
    Null,
    /// What can never be sent: a function, a userdata, a thread.
    Other(&'static str),
}

impl Kind {
    /// The name that a script's author knows.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Boolean(_) => "a boolean",
            Self::Integer(_) | Self::Number(_) => "a number",
            Self::String => "a string",
            Self::Table => "a table",
            Self::Null => "json.null",
            Self::Other(name) => name,
        }
    }
}

/// A key that no script can name, so that what is stored under it cannot be reached by a script.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hidden(usize);

/// The addresses of these bytes are the hidden keys.
static PLACES: [u8; 13] = [0; 13];

impl Hidden {
    /// In the registry: the hook function.
    pub(crate) const PROCESS: Self = Self(0);
    /// In the registry: the metatable of logs.
    pub(crate) const LOG: Self = Self(1);
    /// In the registry: what the script assigned to fields of the current log, by position from 1.
    pub(crate) const VALUES: Self = Self(2);
    /// In the registry: the function that makes a text of any error.
    pub(crate) const EXPLAIN: Self = Self(3);
    /// In the registry: the function that makes the log's table and calls the hook.
    pub(crate) const CALL: Self = Self(4);
    /// In a decoded JSON value: its text, as long as nothing in it was changed.
    pub(crate) const TEXT: Self = Self(5);
    /// In a decoded JSON value: its members, once they were looked at.
    pub(crate) const MEMBERS: Self = Self(6);
    /// In a decoded JSON value: the value that it is part of.
    pub(crate) const PARENT: Self = Self(7);
    /// In the registry: the metatable of decoded objects.
    pub(crate) const OBJECT: Self = Self(8);
    /// In the registry: the metatable of decoded arrays.
    pub(crate) const ARRAY: Self = Self(9);
    /// In the registry: the metatable that `json.array` gives.
    pub(crate) const LIST: Self = Self(10);
    /// In a decoded JSON object whose members are not listed: how often one was read.
    pub(crate) const READS: Self = Self(11);
    /// In a decoded JSON object whose members are not listed: the nested values that were read, by key.
    pub(crate) const CHILDREN: Self = Self(12);

    pub(crate) fn address(self) -> *const c_void {
        (&raw const PLACES[self.0]).cast()
    }
}

/// Index of the registry, a table that scripts cannot reach.
pub(crate) const REGISTRY: c_int = ffi::LUA_REGISTRYINDEX;

/// The operations that cannot raise. Copies stand for the same stack.
#[derive(Clone, Copy)]
pub(crate) struct Stack(*mut lua_State);

impl Stack {
    /// # Safety
    /// The state lives as long as this and every slice got from it is used, and nothing else uses it meanwhile. Every
    /// index that is passed to the methods is one that the stack has; slices are used only while Lua still has the
    /// string on its stack or in a table that is.
    pub(crate) unsafe fn new(state: *mut lua_State) -> Self {
        Self(state)
    }

    pub(crate) fn top(self) -> c_int {
        // SAFETY: see `Stack::new`, as for all blocks of this impl; none of the functions called raises.
        unsafe { ffi::lua_gettop(self.0) }
    }

    /// Cuts the stack back to `top`.
    pub(crate) fn set_top(self, top: c_int) {
        unsafe { ffi::lua_settop(self.0, top) }
    }

    pub(crate) fn pop(self, count: c_int) {
        unsafe { ffi::lua_settop(self.0, -count - 1) }
    }

    /// Whether there is room for `count` more values.
    #[must_use]
    pub(crate) fn reserve(self, count: c_int) -> bool {
        unsafe { ffi::lua_checkstack(self.0, count) != 0 }
    }

    pub(crate) fn kind(self, at: c_int) -> Kind {
        unsafe {
            match ffi::lua_type(self.0, at) {
                ffi::LUA_TNIL | ffi::LUA_TNONE => Kind::Nil,
                ffi::LUA_TBOOLEAN => Kind::Boolean(ffi::lua_toboolean(self.0, at) != 0),
                ffi::LUA_TNUMBER if ffi::lua_isinteger(self.0, at) != 0 => {
                    Kind::Integer(ffi::lua_tointeger(self.0, at))
                }
                ffi::LUA_TNUMBER => Kind::Number(ffi::lua_tonumber(self.0, at)),
                ffi::LUA_TSTRING => Kind::String,
                ffi::LUA_TTABLE => Kind::Table,
                ffi::LUA_TLIGHTUSERDATA if ffi::lua_touserdata(self.0, at).is_null() => Kind::Null,
                ffi::LUA_TFUNCTION => Kind::Other("a function"),
                ffi::LUA_TTHREAD => Kind::Other("a coroutine"),
                _ => Kind::Other("a userdata"),
            }
        }
    }

    /// The bytes of a string; none for anything else, numbers included.
    #[inline]
    pub(crate) fn bytes<'a>(self, at: c_int) -> Option<&'a [u8]> {
        unsafe {
            if ffi::lua_type(self.0, at) != ffi::LUA_TSTRING {
                return None;
            }
            let mut len = 0;
            let start = ffi::lua_tolstring(self.0, at, &raw mut len);
            Some(std::slice::from_raw_parts(start.cast(), len))
        }
    }

    /// The integer that the engine's own functions would take the value for.
    pub(crate) fn integer(self, at: c_int) -> Option<i64> {
        let mut is_integer = 0;
        let integer = unsafe { ffi::lua_tointegerx(self.0, at, &raw mut is_integer) };
        (is_integer != 0).then_some(integer)
    }

    /// The identity of a table.
    pub(crate) fn pointer(self, at: c_int) -> usize {
        unsafe { ffi::lua_topointer(self.0, at).addr() }
    }

    /// The identity of a table's metatable; 0 when it has none. Needs room for one value.
    pub(crate) fn metatable(self, at: c_int) -> usize {
        unsafe {
            if ffi::lua_getmetatable(self.0, at) == 0 {
                return 0;
            }
            let pointer = ffi::lua_topointer(self.0, -1).addr();
            ffi::lua_settop(self.0, -2);
            pointer
        }
    }

    pub(crate) fn absolute(self, at: c_int) -> c_int {
        unsafe { ffi::lua_absindex(self.0, at) }
    }

    pub(crate) fn push_nil(self) {
        unsafe { ffi::lua_pushnil(self.0) }
    }

    pub(crate) fn push_copy(self, at: c_int) {
        unsafe { ffi::lua_pushvalue(self.0, at) }
    }

    pub(crate) fn push_integer(self, number: i64) {
        unsafe { ffi::lua_pushinteger(self.0, number) }
    }

    pub(crate) fn push_number(self, number: f64) {
        unsafe { ffi::lua_pushnumber(self.0, number) }
    }

    pub(crate) fn push_boolean(self, truth: bool) {
        unsafe { ffi::lua_pushboolean(self.0, c_int::from(truth)) }
    }

    /// Pushes `json.null`.
    pub(crate) fn push_null(self) {
        unsafe { ffi::lua_pushlightuserdata(self.0, std::ptr::null_mut()) }
    }

    /// Puts the value on top below the one under it.
    pub(crate) fn swap(self) {
        unsafe { ffi::lua_rotate(self.0, -2, 1) }
    }

    pub(crate) fn raw_len(self, at: c_int) -> usize {
        unsafe { ffi::lua_rawlen(self.0, at) }
    }

    /// Pushes `table[index]`, past any metatable.
    pub(crate) fn push_item(self, table: c_int, index: i64) -> Kind {
        unsafe { ffi::lua_rawgeti(self.0, table, index) };
        self.kind(-1)
    }

    /// Pushes what is stored under a hidden key.
    pub(crate) fn push_hidden(self, table: c_int, key: Hidden) -> Kind {
        unsafe { ffi::lua_rawgetp(self.0, table, key.address()) };
        self.kind(-1)
    }

    /// Replaces the key on top by `table[key]`, past any metatable.
    pub(crate) fn swap_for_item(self, table: c_int) -> Kind {
        unsafe { ffi::lua_rawget(self.0, table) };
        self.kind(-1)
    }

    /// Replaces the key on top (nil to begin) by the next key of the table and its value; `false`, with the key gone,
    /// after the last. The key must be one that the table has.
    pub(crate) fn next(self, table: c_int) -> bool {
        unsafe { ffi::lua_next(self.0, table) != 0 }
    }

    /// Takes an item out of a list. One that is not there stays out: Lua makes no room for nil.
    pub(crate) fn clear_item(self, table: c_int, index: i64) {
        unsafe {
            ffi::lua_pushnil(self.0);
            ffi::lua_rawseti(self.0, table, index);
        }
    }

    /// Calls the function under `arguments` values with an error function at `explain`. Whatever happens, one value
    /// takes their place: what it returned, or what [`Outcome`] says of an error.
    pub(crate) fn call(self, arguments: c_int, explain: c_int) -> Outcome {
        match unsafe { ffi::lua_pcall(self.0, arguments, 1, explain) } {
            ffi::LUA_OK => Outcome::Returned,
            ffi::LUA_ERRMEM => Outcome::OutOfMemory,
            _ => Outcome::Raised,
        }
    }

    pub(crate) fn state(self) -> *mut lua_State {
        self.0
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Returned,
    Raised,
    OutOfMemory,
}

/// A function of ours that Lua has called.
///
/// Its operations may leave the Rust function at once, by `longjmp`.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) stack: Stack,
    current: *mut Current,
}

impl Frame {
    /// # Safety
    /// `state` is the one that Lua passed to a function whose first upvalue is a light userdata of a [`Current`] that
    /// outlives the state; and as long as the frame is used, the function has nothing that needs dropping.
    pub(crate) unsafe fn enter(state: *mut lua_State) -> Self {
        // SAFETY: as above.
        unsafe {
            Self { stack: Stack::new(state), current: ffi::lua_touserdata(state, ffi::lua_upvalueindex(1)).cast() }
        }
    }

    /// A frame where no function was called, to look at values.
    ///
    /// # Safety
    /// As for [`Frame::enter`], inside of a protected call.
    pub(crate) unsafe fn outside(state: *mut lua_State, current: *mut Current) -> Self {
        Self {
            // SAFETY: as above.
            stack: unsafe { Stack::new(state) },
            current,
        }
    }

    /// What is known of the current log. Borrow it anew for each step, never twice at a time.
    pub(crate) fn current<'a>(self) -> &'a mut Current {
        // SAFETY: see `Frame::enter`; while Lua runs, only functions that Lua calls use it, one at a time.
        unsafe { &mut *self.current }
    }

    /// Index of the function's upvalue after the first.
    pub(crate) fn upvalue(self) -> c_int {
        ffi::lua_upvalueindex(2)
    }

    pub(crate) fn push_bytes(self, bytes: &[u8]) {
        // SAFETY: see `Frame::enter`, as for all blocks of this impl.
        unsafe {
            ffi::lua_pushlstring(self.stack.0, bytes.as_ptr().cast::<c_char>(), bytes.len());
        }
    }

    pub(crate) fn push_table(self, items: c_int, pairs: c_int) {
        unsafe { ffi::lua_createtable(self.stack.0, items, pairs) }
    }

    /// Replaces the value on top by a function that has it as second upvalue, and the current log as first.
    pub(crate) fn push_function(self, function: ffi::lua_CFunction) {
        unsafe {
            ffi::lua_pushlightuserdata(self.stack.0, self.current.cast());
            ffi::lua_rotate(self.stack.0, -2, 1);
            ffi::lua_pushcclosure(self.stack.0, function, 2);
        }
    }

    /// `table[index] = top`, past any metatable; takes the top.
    pub(crate) fn set_item(self, table: c_int, index: i64) {
        unsafe { ffi::lua_rawseti(self.stack.0, table, index) }
    }

    /// `table[below top] = top`, past any metatable; takes both.
    pub(crate) fn set_pair(self, table: c_int) {
        unsafe { ffi::lua_rawset(self.stack.0, table) }
    }

    /// `table[key] = top`; takes the top.
    pub(crate) fn set_named(self, table: c_int, key: &[u8]) {
        self.push_bytes(key);
        self.stack.swap();
        self.set_pair(table);
    }

    /// Stores the top under a hidden key; takes it.
    pub(crate) fn set_hidden(self, table: c_int, key: Hidden) {
        unsafe { ffi::lua_rawsetp(self.stack.0, table, key.address()) }
    }

    /// Makes the table on top the metatable of the one at `table`; takes it.
    pub(crate) fn set_metatable(self, table: c_int) {
        unsafe {
            ffi::lua_setmetatable(self.stack.0, table);
        }
    }

    /// `next` as Lua has it, for any table and any key.
    pub(crate) fn next(self, table: c_int) -> bool {
        unsafe { ffi::lua_next(self.stack.0, table) != 0 }
    }

    /// Puts the top below the values from `at` on.
    pub(crate) fn insert(self, at: c_int) {
        unsafe { ffi::lua_rotate(self.stack.0, at, 1) }
    }

    /// Moves the top over another place of the stack.
    pub(crate) fn replace(self, at: c_int) {
        unsafe {
            ffi::lua_copy(self.stack.0, -1, at);
            ffi::lua_settop(self.stack.0, -2);
        }
    }

    /// `a < b`, with whatever their metatables say of it.
    pub(crate) fn is_less(self, a: c_int, b: c_int) -> bool {
        unsafe { ffi::lua_compare(self.stack.0, a, b, ffi::LUA_OPLT) != 0 }
    }

    /// Joins the `count` strings and numbers on top.
    pub(crate) fn concat(self, count: c_int) {
        unsafe { ffi::lua_concat(self.stack.0, count) }
    }

    /// As [`Frame::call`] for one result, and `false` with the error in its place when it raises.
    pub(crate) fn try_call(self, arguments: c_int) -> bool {
        self.stack.call(arguments, 0) == Outcome::Returned
    }

    /// Calls the function under the arguments.
    pub(crate) fn call(self, arguments: c_int, results: c_int) {
        unsafe { ffi::lua_call(self.stack.0, arguments, results) }
    }

    /// Makes a string of any value, as `tostring` does; pushes it.
    pub(crate) fn push_text_of(self, at: c_int) {
        unsafe {
            ffi::luaL_tolstring(self.stack.0, at, std::ptr::null_mut());
        }
    }

    /// Whether the value's metatable has this field.
    pub(crate) fn has_metafield(self, at: c_int, name: &std::ffi::CStr) -> bool {
        unsafe {
            if ffi::luaL_getmetafield(self.stack.0, at, name.as_ptr()) == ffi::LUA_TNIL {
                return false;
            }
            ffi::lua_settop(self.stack.0, -2);
            true
        }
    }

    /// The line of the script that is being run, as far as can be told.
    pub(crate) fn line(self) -> Option<u32> {
        // SAFETY: as above; all zeroes is a valid `lua_Debug`, which `lua_getstack` and `lua_getinfo` fill.
        unsafe {
            let mut place: ffi::lua_Debug = std::mem::zeroed();
            let mut level = 0;
            while ffi::lua_getstack(self.stack.0, level, &raw mut place) != 0 {
                ffi::lua_getinfo(self.stack.0, c"Sl".as_ptr(), &raw mut place);
                // The library's own lines are no lines of the script.
                let is_script = place.source.read() == b'@' as c_char;
                if let Some(line) = u32::try_from(place.currentline).ok().filter(|&line| is_script && line > 0) {
                    return Some(line);
                }
                level += 1;
            }
            None
        }
    }

    /// How many parameters the function on top takes, any number counting as two or more; takes the function.
    pub(crate) fn parameters(self) -> u8 {
        // SAFETY: as above; with `>` the function is read from the top of the stack.
        unsafe {
            let mut function: ffi::lua_Debug = std::mem::zeroed();
            ffi::lua_getinfo(self.stack.0, c">u".as_ptr(), &raw mut function);
            if function.isvararg == 0 { function.nparams } else { u8::MAX }
        }
    }

    /// Raises an error at the line of the script that called.
    pub(crate) fn fail(self, message: &[u8]) -> ! {
        unsafe {
            ffi::luaL_where(self.stack.0, 1);
            self.push_bytes(message);
            ffi::lua_concat(self.stack.0, 2);
            ffi::lua_error(self.stack.0)
        }
    }
}
