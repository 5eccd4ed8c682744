//! The Lua machine: its stack, the functions that it calls, its time limit, its call trace. What is unsafe is here, behind
//! functions that anybody may call.
#![expect(unsafe_code, reason = "talks to the Lua library and to the kernel's timers")]

pub(crate) mod calls;
pub(crate) mod frame;
pub(crate) mod lua_stack;
pub(crate) mod memory;
pub(crate) mod raising;
pub(crate) mod shared;
pub(crate) mod time_limit;
pub(crate) mod trace;
