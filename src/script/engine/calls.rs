//! Calls a function many times within one protected call. The cost of an error handler is paid only when there is an
//! error.

use std::ffi::{c_int, c_void};

use mlua::ffi;

use super::frame::Frame;
use super::lua_stack::{Outcome, Stack};

/// The work between the calls of a function. An error in the function skips [`Calls::returned`] and ends all calls.
pub(crate) trait Calls {
    /// Called before each call; returns whether to make it.
    fn begin(&mut self) -> bool;

    /// Called after each call, with the result on top of the stack; returns whether another call may follow.
    fn returned(&mut self, stack: Stack<'_>) -> bool;
}

/// Calls the function above the error function at `explain`. Its arguments are the values above it, and an [`Each`]
/// as the last one, with which it makes the calls. Afterwards the value described by [`Outcome`] is above them.
///
/// An implementation of [`Calls`] holds the hook's [`Shared`](super::shared::Shared), so nothing else has borrowed
/// from it.
pub(crate) fn call_each(stack: Stack, explain: c_int, mut calls: &mut dyn Calls) -> Outcome {
    let arguments = stack.top() - explain;
    for part in explain + 1..=explain + arguments {
        stack.push_copy(part);
    }
    // SAFETY: there is room for it, and the pointer is used only during the call.
    unsafe { ffi::lua_pushlightuserdata(stack.state(), (&raw mut calls).cast()) };
    stack.call(arguments, explain)
}

/// The [`Calls`] that [`call_each`] passes to a function.
#[derive(Clone, Copy)]
pub(crate) struct Each(*mut c_void);

impl Frame<'_> {
    /// The last argument of a function that only [`call_each`] calls.
    pub(crate) fn calls(&self, at: c_int) -> Each {
        // SAFETY: see `Frame::enter`.
        Each(unsafe { ffi::lua_touserdata(self.stack.state(), at) })
    }
}

impl Each {
    /// See [`Calls::begin`].
    pub(crate) fn begin(self) -> bool {
        // SAFETY: `call_each` waits for the function that has this value, and lends it `calls` for that time.
        unsafe { (*self.0.cast::<&mut dyn Calls>()).begin() }
    }

    /// See [`Calls::returned`].
    pub(crate) fn returned(self, stack: Stack<'_>) -> bool {
        // SAFETY: as in `Each::begin`.
        unsafe { (*self.0.cast::<&mut dyn Calls>()).returned(stack) }
    }
}
