//! The Lua machine: its stack, its time limit, its call trace. What is unsafe is here.

pub(crate) mod lua_stack;
pub(crate) mod time_limit;
pub(crate) mod trace;
