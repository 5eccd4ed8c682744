//! The script's calls at the moment of an error, as Lua tells them.

use std::ffi::CStr;

use mlua::ffi::{self, lua_Debug, lua_State};

/// A call that was under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The file: the script's name, or a module's.
    pub file: String,
    /// The line that was being run.
    pub line: u32,
    /// The line on which the function begins; 0 for the top level of the file.
    pub(crate) defined: u32,
}

/// A chain is cut to this many calls: an endless recursion has many, all alike.
const MOST: usize = 12;

/// What precedes a file's name in what Lua calls a source.
const FILE: u8 = b'@';

/// Notes the calls of the script that are under way, the innermost first, without those of the library and of ours.
///
/// # Safety
/// Inside of a function that Lua called with this state.
pub(crate) unsafe fn note(state: *mut lua_State, calls: &mut Vec<Call>) {
    calls.clear();
    // SAFETY: all zeroes is a valid `lua_Debug`, which `lua_getstack` and `lua_getinfo` fill; with these letters they
    // neither raise nor allocate in Lua. The source lives as long as the function, which is on the stack.
    unsafe {
        let mut place: lua_Debug = std::mem::zeroed();
        let mut level = 0;
        while calls.len() < MOST && ffi::lua_getstack(state, level, &raw mut place) != 0 {
            level += 1;
            ffi::lua_getinfo(state, c"Sl".as_ptr(), &raw mut place);
            let Some(file) = file(&place) else { continue };
            if let Ok(line @ 1..) = u32::try_from(place.currentline) {
                calls.push(Call { file, line, defined: u32::try_from(place.linedefined).unwrap_or(0) });
            }
        }
    }
}

/// The file that a function is from, if it is from one.
///
/// # Safety
/// The place was filled by `lua_getinfo` with `S`, for a function that still lives.
pub(crate) unsafe fn file(place: &lua_Debug) -> Option<String> {
    // SAFETY: see above.
    let source = unsafe { CStr::from_ptr(place.source) };
    let name = source.to_bytes().strip_prefix(&[FILE])?;
    Some(String::from_utf8_lossy(name).into_owned())
}
