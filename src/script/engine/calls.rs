//! Many calls of one function within one protected call: what an error costs is paid only when there is one.

use std::ffi::{c_int, c_void};

use mlua::ffi;

use super::frame::Frame;
use super::lua_stack::{Outcome, Stack};

/// What is done between the calls of a function. An error in the function skips [`Calls::returned`] and ends all of them.
pub(crate) trait Calls {
    /// Before each call; whether there is one.
    fn begin(&mut self) -> bool;

    /// After each call, with what it returned on top of the stack; whether there may be another one.
    fn returned(&mut self, stack: Stack<'_>) -> bool;
}

/// Calls the function that is above the error function at `explain`, with the values above it and an [`Each`] behind them, by
/// which it makes the calls. Above the values is what [`Outcome`] says afterwards.
///
/// What implements [`Calls`] holds the hook's [`Shared`](super::shared::Shared), so nobody else has borrowed from that.
pub(crate) fn call_each(stack: Stack, explain: c_int, mut calls: &mut dyn Calls) -> Outcome {
    let arguments = stack.top() - explain;
    for part in explain + 1..=explain + arguments {
        stack.push_copy(part);
    }
    // SAFETY: there is room for it, and the pointer is used only during the call.
    unsafe { ffi::lua_pushlightuserdata(stack.state(), (&raw mut calls).cast()) };
    stack.call(arguments, explain)
}

/// The [`Calls`] that a function was handed by [`call_each`].
#[derive(Clone, Copy)]
pub(crate) struct Each(*mut c_void);

impl Frame<'_> {
    /// The last argument of a function that is called by [`call_each`] and by nobody else.
    pub(crate) fn calls(&self, at: c_int) -> Each {
        // SAFETY: see `Frame::enter`.
        Each(unsafe { ffi::lua_touserdata(self.stack.state(), at) })
    }
}

impl Each {
    /// See [`Calls::begin`].
    pub(crate) fn begin(self) -> bool {
        // SAFETY: `call_each` waits for the function that has this, and lends it what it has borrowed.
        unsafe { (*self.0.cast::<&mut dyn Calls>()).begin() }
    }

    /// See [`Calls::returned`].
    pub(crate) fn returned(self, stack: Stack<'_>) -> bool {
        // SAFETY: as in `Each::begin`.
        unsafe { (*self.0.cast::<&mut dyn Calls>()).returned(stack) }
    }
}
