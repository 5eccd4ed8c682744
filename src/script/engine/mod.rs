//! The Lua engine: its stack, the functions that it calls, its time limit, its call trace. All unsafe code is here,
//! behind safe functions.
#![expect(unsafe_code, reason = "talks to the Lua library and to the kernel's timers")]

pub(crate) mod calls;
pub(crate) mod frame;
pub(crate) mod lua_stack;
pub(crate) mod memory;
pub(crate) mod raising;
pub(crate) mod shared;
pub(crate) mod time_limit;
pub(crate) mod total_memory;
pub(crate) mod trace;
