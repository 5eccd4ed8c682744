//! The script's calls at the moment of an error, as reported by Lua.

use std::ffi::CStr;

use mlua::ffi::{self, lua_Debug, lua_State};

use super::lua_stack::Stack;

/// An active call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The file: the script's name, or a module's.
    pub file: String,
    /// The current line.
    pub line: u32,
    /// The line on which the function begins; 0 for the top level of the file.
    pub(crate) defined: u32,
}

/// Maximum number of calls in a chain. An endless recursion has many, which are all alike.
const MAX_CALLS: usize = 12;

/// Lua puts this before a file's name in the source of a chunk.
const FILE: u8 = b'@';

/// Collects the active calls of the script, the innermost first. Functions of the library and native functions are
/// left out.
pub(crate) fn note(stack: Stack, calls: &mut Vec<Call>) {
    calls.clear();
    let state = stack.state();
    // SAFETY: all zeroes is a valid `lua_Debug`, which `lua_getstack` and `lua_getinfo` fill; with these letters they
    // neither raise nor allocate in Lua. The source lives as long as the function, which is on the stack.
    unsafe {
        let mut place: lua_Debug = std::mem::zeroed();
        let mut level = 0;
        while calls.len() < MAX_CALLS && ffi::lua_getstack(state, level, &raw mut place) != 0 {
            level += 1;
            ffi::lua_getinfo(state, c"Sl".as_ptr(), &raw mut place);
            let Some(file) = file(&place) else { continue };
            if let Ok(line @ 1..) = u32::try_from(place.currentline) {
                calls.push(Call { file, line, defined: u32::try_from(place.linedefined).unwrap_or(0) });
            }
        }
    }
}

/// The file that a function is defined in, if any.
///
/// # Safety
/// The place was filled by `lua_getinfo` with `S`, for a function that still lives.
unsafe fn file(place: &lua_Debug) -> Option<String> {
    // SAFETY: see above.
    let source = unsafe { CStr::from_ptr(place.source) };
    let name = source.to_bytes().strip_prefix(&[FILE])?;
    Some(String::from_utf8_lossy(name).into_owned())
}

/// Calls `noted` for every line that the script begins, with the line's file, until another hook replaces this one.
///
/// The closure runs no Lua code, and captures nothing.
pub(crate) fn on_lines<F: Fn(String, u32) + Copy>(stack: Stack, _noted: F) {
    const { assert!(size_of::<F>() == 0, "a function, or a closure that captures nothing") };
    // SAFETY: the stack's state is alive and on this thread.
    unsafe { ffi::lua_sethook(stack.state(), Some(on_line::<F>), ffi::LUA_MASKLINE, 0) };
}

unsafe extern "C-unwind" fn on_line<F: Fn(String, u32) + Copy>(state: *mut lua_State, place: *mut lua_Debug) {
    // SAFETY: called by Lua with its state and the place of the line; asking for the source neither raises nor
    // allocates, and what is dropped here is dropped before anything of Lua is called again.
    let (file, line) = unsafe {
        ffi::lua_getinfo(state, c"S".as_ptr(), place);
        (file(&*place), (*place).currentline)
    };
    // SAFETY: `on_lines` was given a value of this type, which has no bytes.
    let noted: F = unsafe { std::mem::zeroed() };
    if let (Some(file), Ok(line)) = (file, u32::try_from(line)) {
        noted(file, line);
    }
}

/// Calls `noted` for every line that the script begins (`true`), and after every call for the line that execution
/// returns to, if any (`false`), until another hook replaces this one.
///
/// The function runs no Lua code.
pub(crate) fn on_moves<F: Fn(bool, Option<(&str, u32)>) + Copy>(stack: Stack, _noted: F) {
    const { assert!(size_of::<F>() == 0, "a function, or a closure that captures nothing") };
    // SAFETY: the stack's state is alive and on this thread.
    unsafe { ffi::lua_sethook(stack.state(), Some(on_move::<F>), ffi::LUA_MASKLINE | ffi::LUA_MASKRET, 0) };
}

unsafe extern "C-unwind" fn on_move<F: Fn(bool, Option<(&str, u32)>) + Copy>(
    state: *mut lua_State,
    place: *mut lua_Debug,
) {
    // SAFETY: called by Lua with its state and the place of the event; all zeroes is a valid `lua_Debug`, which
    // `lua_getstack` and `lua_getinfo` fill; with these letters they neither raise nor allocate. The source lives as long as
    // the function, which is on the stack while `noted` runs. What is dropped here is dropped before anything of Lua is called
    // again. `on_moves` was given a value of type `F`, which has no bytes.
    unsafe {
        let noted: F = std::mem::zeroed();
        let begins = (*place).event == ffi::LUA_HOOKLINE;
        let mut caller: lua_Debug = std::mem::zeroed();
        let place = if begins {
            ffi::lua_getinfo(state, c"S".as_ptr(), place);
            &*place
        } else {
            if ffi::lua_getstack(state, 1, &raw mut caller) == 0 {
                return noted(false, None);
            }
            ffi::lua_getinfo(state, c"Sl".as_ptr(), &raw mut caller);
            &caller
        };
        let name = CStr::from_ptr(place.source).to_str().ok().and_then(|source| source.strip_prefix(char::from(FILE)));
        noted(begins, name.zip(u32::try_from(place.currentline).ok()));
    }
}
