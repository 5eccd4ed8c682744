//! The part of the Lua stack API that cannot raise an error or run a script's code.
//!
//! Lua raises an error by `longjmp`, which skips the destructors of the Rust frames in between. Two types separate
//! the safe operations from the others:
//!
//! * [`Stack`] has only operations that raise no error and run no Lua code. They do not allocate in Lua either, so no
//!   garbage is collected; the exception is [`Stack::reserve`], which frees nothing reachable. It may be used
//!   anywhere, and all code that writes events works on it.
//! * [`Frame`](super::frame::Frame) adds the operations that can raise. It exists only inside a function that Lua
//!   calls, and such functions keep nothing on their Rust frames that must be dropped.
//!
//! Both have the lifetime `'lua` of one visit: the closure or function that receives one cannot keep it, nor a slice
//! from it. The types do not enforce two rules: an index must exist on the stack, and a slice may be used only while
//! Lua still has the string on its stack, in an upvalue or in a table reachable from there.

use std::ffi::{c_char, c_int, c_void};
use std::marker::PhantomData;

use mlua::ffi::{self, lua_State};

/// The kind of a value on the stack.
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
    /// A value that can never be sent: a function, a userdata, a thread.
    Other(&'static str),
}

impl Kind {
    /// The name to use in messages for script authors.
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

/// A key that scripts cannot use, so a script cannot access what is stored under it in its own tables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hidden(usize);

/// The addresses of these bytes are the hidden keys.
static PLACES: [u8; 6] = [0; 6];

impl Hidden {
    /// In a decoded JSON value: its text, as long as nothing in it has changed.
    pub(crate) const TEXT: Self = Self(0);
    /// In a decoded JSON value: its members, once they have been listed.
    pub(crate) const MEMBERS: Self = Self(1);
    /// In a decoded JSON value: the value that contains it.
    pub(crate) const PARENT: Self = Self(2);
    /// In a decoded JSON object whose members are not listed: number of reads.
    pub(crate) const READS: Self = Self(3);
    /// In a decoded JSON object whose members are not listed: the nested values that have been read, by key.
    pub(crate) const CHILDREN: Self = Self(4);
    /// In the result of `drop`: the reason.
    pub(crate) const REASON: Self = Self(5);

    pub(super) fn address(self) -> *const c_void {
        (&raw const PLACES[self.0]).cast()
    }
}

/// Keys of values in Lua's registry. Scripts cannot access this table, so integer keys are enough. Lua finds integers
/// in fewer steps than addresses, and its own keys there are positive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept(ffi::lua_Integer);

impl Kept {
    /// The hook function.
    pub(crate) const PROCESS: Self = Self(-1);
    /// The metatable of logs.
    pub(crate) const LOG: Self = Self(-2);
    /// The values that the script assigned to fields of the current log, by position from 1.
    pub(crate) const VALUES: Self = Self(-3);
    /// The function that converts any error to text.
    pub(crate) const EXPLAIN: Self = Self(-4);
    /// The function that creates the tables of logs and calls the hook.
    pub(crate) const CALL: Self = Self(-5);
    /// The metatable of decoded objects.
    pub(crate) const OBJECT: Self = Self(-6);
    /// The metatable of decoded arrays.
    pub(crate) const ARRAY: Self = Self(-7);
    /// The metatable set by `json.array`.
    pub(crate) const LIST: Self = Self(-8);
    /// The metatable of the result of `drop`.
    pub(crate) const DROPPED: Self = Self(-9);

    pub(super) fn key(self) -> ffi::lua_Integer {
        self.0
    }
}

/// The operations that cannot raise. Copies refer to the same stack, on the thread of the visit.
#[derive(Clone, Copy)]
pub(crate) struct Stack<'lua>(*mut lua_State, PhantomData<&'lua ()>);

impl<'lua> Stack<'lua> {
    /// # Safety
    /// The state lives for all of `'lua`, and only this thread uses it during that time.
    pub(super) unsafe fn new(state: *mut lua_State) -> Self {
        Self(state, PhantomData)
    }

    pub(crate) fn top(self) -> c_int {
        // SAFETY: see `Stack::new`.
        unsafe { ffi::lua_gettop(self.0) }
    }

    /// Sets the height of the stack to `top`.
    pub(crate) fn set_top(self, top: c_int) {
        // SAFETY: see `Stack::new`.
        unsafe { ffi::lua_settop(self.0, top) }
    }

    pub(crate) fn pop(self, count: c_int) {
        // SAFETY: see `Stack::new`.
        unsafe { ffi::lua_settop(self.0, -count - 1) }
    }

    /// Whether there is room for `count` more values.
    #[must_use]
    pub(crate) fn reserve(self, count: c_int) -> bool {
        // SAFETY: see `Stack::new`.
        unsafe { ffi::lua_checkstack(self.0, count) != 0 }
    }

    #[inline]
    pub(crate) fn kind(self, at: c_int) -> Kind {
        // SAFETY: see `Stack::new`.
        self.kind_of(unsafe { ffi::lua_type(self.0, at) }, at)
    }

    /// The kind of the value at `at`, whose Lua type is known.
    #[inline]
    fn kind_of(self, r#type: c_int, at: c_int) -> Kind {
        // SAFETY: see `Stack::new`.
        unsafe {
            match r#type {
                ffi::LUA_TNIL | ffi::LUA_TNONE => Kind::Nil,
                ffi::LUA_TSTRING => Kind::String,
                ffi::LUA_TTABLE => Kind::Table,
                ffi::LUA_TBOOLEAN => Kind::Boolean(ffi::lua_toboolean(self.0, at) != 0),
                ffi::LUA_TNUMBER if ffi::lua_isinteger(self.0, at) != 0 => {
                    Kind::Integer(ffi::lua_tointeger(self.0, at))
                }
                ffi::LUA_TNUMBER => Kind::Number(ffi::lua_tonumber(self.0, at)),
                ffi::LUA_TLIGHTUSERDATA if ffi::lua_touserdata(self.0, at).is_null() => Kind::Null,
                ffi::LUA_TFUNCTION => Kind::Other("a function"),
                ffi::LUA_TTHREAD => Kind::Other("a coroutine"),
                _ => Kind::Other("a userdata"),
            }
        }
    }

    /// The bytes of a string; `None` for any other value, including a number.
    #[inline]
    pub(crate) fn bytes(self, at: c_int) -> Option<&'lua [u8]> {
        // SAFETY: see `Stack::new`.
        unsafe {
            if ffi::lua_type(self.0, at) != ffi::LUA_TSTRING {
                return None;
            }
            let mut len = 0;
            let start = ffi::lua_tolstring(self.0, at, &raw mut len);
            Some(std::slice::from_raw_parts(start.cast(), len))
        }
    }

    /// The value as an integer, converted as Lua's own functions do.
    pub(crate) fn integer(self, at: c_int) -> Option<i64> {
        let mut is_integer = 0;
        // SAFETY: see `Stack::new`.
        let integer = unsafe { ffi::lua_tointegerx(self.0, at, &raw mut is_integer) };
        (is_integer != 0).then_some(integer)
    }

    /// The identity of a table.
    pub(crate) fn pointer(self, at: c_int) -> usize {
        // SAFETY: see `Stack::new`.
        unsafe { ffi::lua_topointer(self.0, at).addr() }
    }

    /// The identity of a table's metatable; 0 when it has none. Needs room for one value.
    pub(crate) fn metatable(self, at: c_int) -> usize {
        // SAFETY: see `Stack::new`.
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
        // SAFETY: see `Stack::new`.
        unsafe { ffi::lua_absindex(self.0, at) }
    }

    pub(crate) fn push_nil(self) {
        // SAFETY: see `Stack::new`.
        unsafe { ffi::lua_pushnil(self.0) }
    }

    pub(crate) fn push_copy(self, at: c_int) {
        // SAFETY: see `Stack::new`.
        unsafe { ffi::lua_pushvalue(self.0, at) }
    }

    pub(crate) fn push_integer(self, number: i64) {
        // SAFETY: see `Stack::new`.
        unsafe { ffi::lua_pushinteger(self.0, number) }
    }

    pub(crate) fn push_number(self, number: f64) {
        // SAFETY: see `Stack::new`.
        unsafe { ffi::lua_pushnumber(self.0, number) }
    }

    pub(crate) fn push_boolean(self, truth: bool) {
        // SAFETY: see `Stack::new`.
        unsafe { ffi::lua_pushboolean(self.0, c_int::from(truth)) }
    }

    /// Pushes `json.null`.
    pub(crate) fn push_null(self) {
        // SAFETY: see `Stack::new`.
        unsafe { ffi::lua_pushlightuserdata(self.0, std::ptr::null_mut()) }
    }

    /// Swaps the two values on top.
    pub(crate) fn swap(self) {
        // SAFETY: see `Stack::new`.
        unsafe { ffi::lua_rotate(self.0, -2, 1) }
    }

    pub(crate) fn raw_len(self, at: c_int) -> usize {
        // SAFETY: see `Stack::new`.
        unsafe { ffi::lua_rawlen(self.0, at) }
    }

    /// Pushes `table[index]`, ignoring metatables.
    #[inline]
    pub(crate) fn push_item(self, table: c_int, index: i64) -> Kind {
        // SAFETY: see `Stack::new`.
        self.kind_of(unsafe { ffi::lua_rawgeti(self.0, table, index) }, -1)
    }

    /// Pushes the value under a hidden key.
    #[inline]
    pub(crate) fn push_hidden(self, table: c_int, key: Hidden) -> Kind {
        // SAFETY: see `Stack::new`.
        self.kind_of(unsafe { ffi::lua_rawgetp(self.0, table, key.address()) }, -1)
    }

    /// Pushes a value of the registry.
    #[inline]
    pub(crate) fn push_kept(self, what: Kept) {
        // SAFETY: see `Stack::new`.
        unsafe { ffi::lua_rawgeti(self.0, ffi::LUA_REGISTRYINDEX, what.0) };
    }

    /// Replaces the key on top by `table[key]`, ignoring metatables.
    #[inline]
    pub(crate) fn swap_for_item(self, table: c_int) -> Kind {
        // SAFETY: see `Stack::new`.
        self.kind_of(unsafe { ffi::lua_rawget(self.0, table) }, -1)
    }

    /// Replaces the key on top (nil to begin) by the next key of the table and its value. After the last one, removes
    /// the key and returns `false`. The key must exist in the table.
    pub(crate) fn next(self, table: c_int) -> bool {
        // SAFETY: see `Stack::new`.
        unsafe { ffi::lua_next(self.0, table) != 0 }
    }

    /// Removes an item of a list. For an item that does not exist nothing changes: Lua allocates no space for nil.
    pub(crate) fn clear_item(self, table: c_int, index: i64) {
        // SAFETY: see `Stack::new`.
        unsafe {
            ffi::lua_pushnil(self.0);
            ffi::lua_rawseti(self.0, table, index);
        }
    }

    /// Calls the function under `arguments` values with an error function at `explain`. In any case one value
    /// replaces them: the result, or the error described by [`Outcome`]. Runs the script's code, so the caller must
    /// make sure that nothing used by that code is borrowed.
    pub(super) fn call(self, arguments: c_int, explain: c_int) -> Outcome {
        // SAFETY: see `Stack::new`.
        match unsafe { ffi::lua_pcall(self.0, arguments, 1, explain) } {
            ffi::LUA_OK => Outcome::Returned,
            ffi::LUA_ERRMEM => Outcome::OutOfMemory,
            _ => Outcome::Raised,
        }
    }

    /// The current line of the script, if known.
    pub(crate) fn line(self) -> Option<u32> {
        // SAFETY: see `Stack::new`; all zeroes is a valid `lua_Debug`, which `lua_getstack` and `lua_getinfo` fill.
        unsafe {
            let mut place: ffi::lua_Debug = std::mem::zeroed();
            let mut level = 0;
            while ffi::lua_getstack(self.0, level, &raw mut place) != 0 {
                ffi::lua_getinfo(self.0, c"Sl".as_ptr(), &raw mut place);
                // Lines of the library are not lines of the script.
                let is_script = place.source.read() == b'@' as c_char;
                if let Some(line) = u32::try_from(place.currentline).ok().filter(|&line| is_script && line > 0) {
                    return Some(line);
                }
                level += 1;
            }
            None
        }
    }

    pub(super) fn state(self) -> *mut lua_State {
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
