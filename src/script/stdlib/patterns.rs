//! `string.find`, `match`, `gmatch` and `gsub` with the step-limited matcher.
//!
//! Scripts call these for every field of every log, so they are bound as Lua's own functions are: as C functions,
//! which cost a tenth of a callback. An error leaves them by `longjmp`. No frame here may therefore own anything that
//! has to be dropped, and nothing here may panic.
#![expect(unsafe_code, reason = "works on the raw stack and its string buffers, as these are called most of all")]

use std::ffi::c_int;
use std::io::Write as _;
use std::mem::MaybeUninit;
use std::slice;

use mlua::ffi::{self, lua_State, luaL_Buffer};
use mlua::{Lua, Table};

use crate::script::pattern;
use crate::script::pattern::{Capture, Match, Matcher, PatternError};

/// Maximum length of the text of a [`PatternError`], in bytes.
const MAX_MESSAGE_BYTES: usize = 72;

/// Replaces the four functions in the string library, because Lua's own cannot be interrupted.
pub(super) fn install(lua: &Lua, string: &Table) -> mlua::Result<()> {
    let functions: [(&str, ffi::lua_CFunction); 4] =
        [("find", find), ("match", first_match), ("gmatch", gmatch), ("gsub", gsub)];
    for (name, function) in functions {
        // SAFETY: each function takes its arguments from its own stack and returns the number of results that it
        // leaves there.
        string.set(name, unsafe { lua.create_c_function(function)? })?;
    }
    Ok(())
}

unsafe extern "C-unwind" fn find(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this with a valid state; the two texts stay on its stack until the end.
    unsafe {
        let (text, pattern) = (text(state, 1), text(state, 2));
        let Some(from) = offset(ffi::luaL_optinteger(state, 3, 1), text.len()) else {
            return push_nil(state);
        };
        if ffi::lua_toboolean(state, 4) != 0 || pattern::is_plain(pattern) {
            return match pattern::find_plain(text, pattern, from) {
                Some(found) => push_positions(state, found),
                None => push_nil(state),
            };
        }
        let mut matcher = Matcher::new(text, pattern, pattern::step_limit(text.len()));
        match matcher.next(from, None) {
            Ok(Some(found)) => push_positions(state, found) + push_captures(state, &matcher, matcher.captured(), found),
            Ok(None) => push_nil(state),
            Err(error) => raise(state, error),
        }
    }
}

unsafe extern "C-unwind" fn first_match(state: *mut lua_State) -> c_int {
    // SAFETY: as in `find`.
    unsafe {
        let (text, pattern) = (text(state, 1), text(state, 2));
        let Some(from) = offset(ffi::luaL_optinteger(state, 3, 1), text.len()) else {
            return push_nil(state);
        };
        let mut matcher = Matcher::new(text, pattern, pattern::step_limit(text.len()));
        match matcher.next(from, None) {
            Ok(Some(found)) => push_captures(state, &matcher, matcher.captured().max(1), found),
            Ok(None) => push_nil(state),
            Err(error) => raise(state, error),
        }
    }
}

/// Returns the iterator: [`gmatch_next`] with the text, the pattern, the next start position, and the end of the last
/// match or -1.
unsafe extern "C-unwind" fn gmatch(state: *mut lua_State) -> c_int {
    // SAFETY: as in `find`. Number arguments have been converted to texts in place.
    unsafe {
        let length = text(state, 1).len();
        text(state, 2);
        let from = offset(ffi::luaL_optinteger(state, 3, 1), length).unwrap_or(length + 1);
        ffi::lua_settop(state, 2);
        push_integer(state, from);
        ffi::lua_pushinteger(state, -1);
        ffi::lua_pushcclosure(state, gmatch_next, 4);
        1
    }
}

unsafe extern "C-unwind" fn gmatch_next(state: *mut lua_State) -> c_int {
    let [text, pattern, from, last] = [1, 2, 3, 4].map(ffi::lua_upvalueindex);
    // SAFETY: `gmatch` made the closure with these four values, two texts and two integers.
    unsafe {
        let upvalue = |index| usize::try_from(ffi::lua_tointeger(state, index)).ok();
        let (start, last_end) = (upvalue(from).unwrap_or(0), upvalue(last));
        let (text, pattern) = (self::text(state, text), self::text(state, pattern));
        let mut matcher = Matcher::without_anchor(text, pattern, pattern::step_limit(text.len()));
        match matcher.next(start, last_end) {
            Ok(Some(found)) => {
                push_integer(state, found.end);
                ffi::lua_pushvalue(state, -1);
                ffi::lua_replace(state, from);
                ffi::lua_replace(state, last);
                push_captures(state, &matcher, matcher.captured().max(1), found)
            }
            Ok(None) => 0,
            Err(error) => raise(state, error),
        }
    }
}

unsafe extern "C-unwind" fn gsub(state: *mut lua_State) -> c_int {
    // SAFETY: as in `find`. The buffer does not move, and between two additions only its own value is on the stack
    // below the pushed values.
    unsafe {
        let (text, pattern) = (text(state, 1), text(state, 2));
        let replacement = Replacement::argument(state);
        let most = ffi::luaL_optinteger(state, 4, ffi::lua_Integer::MAX);
        let Some(replacement) = replacement else {
            let got = ffi::luaL_typename(state, 3);
            let message = ffi::lua_pushfstring(state, c"string/function/table expected, got %s".as_ptr(), got);
            return ffi::luaL_argerror(state, 3, message);
        };

        let mut matcher = Matcher::new(text, pattern, pattern::step_limit(text.len()));
        // An anchored pattern is tried only once.
        let most = if matcher.is_anchored() { most.min(1) } else { most };
        let mut buffer = MaybeUninit::uninit();
        let result = buffer.as_mut_ptr();
        ffi::luaL_buffinit(state, result);
        let (mut kept, mut last, mut count) = (0, None, 0);
        while count < most {
            let found = match matcher.next(last.unwrap_or(0), last) {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(error) => return raise(state, error),
            };
            add(result, &text[kept..found.start]);
            add_replacement(state, result, &replacement, &matcher, found);
            (kept, last) = (found.end, Some(found.end));
            count += 1;
        }
        add(result, &text[kept..]);
        ffi::luaL_pushresult(result);
        ffi::lua_pushinteger(state, count);
        2
    }
}

/// The third argument of `gsub`.
enum Replacement<'a> {
    Text(&'a [u8]),
    Function,
    Table,
}

impl Replacement<'_> {
    unsafe fn argument(state: *mut lua_State) -> Option<Self> {
        // SAFETY: the caller has a valid state.
        unsafe {
            match ffi::lua_type(state, 3) {
                ffi::LUA_TSTRING | ffi::LUA_TNUMBER => Some(Self::Text(text(state, 3))),
                ffi::LUA_TFUNCTION => Some(Self::Function),
                ffi::LUA_TTABLE => Some(Self::Table),
                _ => None,
            }
        }
    }
}

/// Adds the replacement of the match; the match itself if a function or a table gives nil or false.
unsafe fn add_replacement(
    state: *mut lua_State,
    result: *mut luaL_Buffer,
    replacement: &Replacement,
    matcher: &Matcher,
    found: Match,
) {
    // SAFETY: the caller has a valid state, and a buffer whose value is on top of its stack.
    unsafe {
        match replacement {
            Replacement::Text(replacement) => {
                if let Err(error) = matcher.expand(replacement, found, |piece| add(result, piece)) {
                    raise(state, error);
                }
                return;
            }
            Replacement::Function => {
                ffi::lua_pushvalue(state, 3);
                let captures = push_captures(state, matcher, matcher.captured().max(1), found);
                ffi::lua_call(state, captures, 1);
            }
            Replacement::Table => {
                push_captures(state, matcher, 1, found);
                ffi::lua_gettable(state, 3);
            }
        }
        if ffi::lua_toboolean(state, -1) == 0 {
            ffi::lua_pop(state, 1);
            add(result, matcher.matched(found));
        } else if ffi::lua_isstring(state, -1) != 0 {
            ffi::luaL_addvalue(result);
        } else {
            let kind = ffi::luaL_typename(state, -1);
            ffi::luaL_error(state, c"invalid replacement value (a %s)".as_ptr(), kind);
        }
    }
}

/// The value at `index` as text; a number is converted in place. Raises an error for any other value.
unsafe fn text<'a>(state: *mut lua_State, index: c_int) -> &'a [u8] {
    let mut length = 0;
    // SAFETY: Lua returns a pointer to this many bytes, which live as long as the value is on the stack or in the
    // closure.
    unsafe {
        let start = ffi::luaL_checklstring(state, index, &raw mut length);
        slice::from_raw_parts(start.cast(), length)
    }
}

/// The start position as an offset from 0: Lua counts from 1, or from the end with a negative number. `None`: after
/// the end.
fn offset(init: ffi::lua_Integer, length: usize) -> Option<usize> {
    let distance = usize::try_from(init.unsigned_abs()).unwrap_or(usize::MAX);
    let offset = match init {
        1.. => distance - 1,
        0 => 0,
        _ => length.saturating_sub(distance),
    };
    (offset <= length).then_some(offset)
}

unsafe fn push_nil(state: *mut lua_State) -> c_int {
    // SAFETY: a C function has room for 20 values when it starts.
    unsafe { ffi::lua_pushnil(state) };
    1
}

/// Pushes the positions of a match as Lua counts: its first and its last byte, from 1.
unsafe fn push_positions(state: *mut lua_State, found: Match) -> c_int {
    // SAFETY: as in `push_nil`.
    unsafe {
        push_integer(state, found.start + 1);
        push_integer(state, found.end);
    }
    2
}

/// Pushes the first `count` captures and returns their number.
unsafe fn push_captures(state: *mut lua_State, matcher: &Matcher, count: usize, found: Match) -> c_int {
    // SAFETY: stack space is reserved for all of them, and the caller has a valid state.
    unsafe {
        let room = c_int::try_from(count).unwrap_or(c_int::MAX);
        ffi::luaL_checkstack(state, room, c"too many captures".as_ptr());
        for index in 0..count {
            match matcher.capture(index, found) {
                Ok(Capture::Text(text)) => {
                    ffi::lua_pushlstring(state, text.as_ptr().cast(), text.len());
                }
                Ok(Capture::Position(position)) => push_integer(state, position),
                Err(error) => return raise(state, error),
            }
        }
        room
    }
}

unsafe fn push_integer(state: *mut lua_State, n: usize) {
    // No text is longer than 2^63 bytes, so the cast never wraps.
    #[expect(clippy::cast_possible_wrap)]
    let n = n as ffi::lua_Integer;
    // SAFETY: as in `push_nil`.
    unsafe { ffi::lua_pushinteger(state, n) };
}

unsafe fn add(result: *mut luaL_Buffer, piece: &[u8]) {
    // SAFETY: the caller has an initialized buffer, with its value on top of the stack.
    unsafe { ffi::luaL_addlstring(result, piece.as_ptr().cast(), piece.len()) };
}

/// Raises the error at the script's line that made the call. Does not return; the result type only suits the callers.
unsafe fn raise(state: *mut lua_State, error: PatternError) -> c_int {
    // A `String` would never be dropped. The unwritten rest stays zero and terminates the message.
    let mut message = [0_u8; MAX_MESSAGE_BYTES + 1];
    // It fits, as a test checks.
    let _ = write!(&mut message[..MAX_MESSAGE_BYTES], "{error}");
    // SAFETY: the message ends with a zero.
    unsafe { ffi::luaL_error(state, c"%s".as_ptr(), message.as_ptr()) }
}

#[cfg(test)]
mod tests;
