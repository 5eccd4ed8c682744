//! The body of an event, written in the form that a destination needs.

use std::ffi::c_int;

use super::fault::TOO_MANY_BYTES;
use super::pairs::pairs;
use super::shape::{Shape, shape};
use super::{time, write};
use crate::core::event::{Body, BodyError, PairPlaces, Time};
use crate::script::engine::lua_stack::Stack;
use crate::script::hook::current_log::Current;

/// The event as the hook returned it, still in Lua and in the page.
pub(super) struct Returned<'a> {
    pub(super) stack: Stack<'a>,
    pub(super) current: &'a mut Current,
    pub(super) event: Option<c_int>,
    pub(super) message: Option<c_int>,
}

impl Body for Returned<'_> {
    fn json(&mut self, out: &mut Vec<u8>) -> Result<(), BodyError> {
        match (self.event, self.message) {
            (Some(at), _) => write::json(self.stack, self.current, at, "event", out),
            (None, Some(at)) => write::json(self.stack, self.current, at, "message", out),
            (None, None) => Ok(()),
        }
    }

    fn text(&mut self, separator: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError> {
        self.pairs(separator, &mut PairPlaces::default(), out)
    }

    fn pairs(&mut self, separator: &[u8], places: &mut PairPlaces, out: &mut Vec<u8>) -> Result<(), BodyError> {
        let (at, root) = match (self.message, self.event) {
            (Some(at), _) => (at, "message"),
            (None, Some(at)) => (at, "event"),
            (None, None) => return Ok(()),
        };
        if let Some(bytes) = self.stack.bytes(at) {
            if bytes.len() > self.current.most_bytes {
                return Err(BodyError::new(root, TOO_MANY_BYTES));
            }
            out.extend_from_slice(bytes);
            Ok(())
        } else if matches!(shape(self.stack, self.current, at), Shape::Log) {
            pairs(self.stack, self.current, at, separator, root, places, out)
        } else {
            write::json(self.stack, self.current, at, root, out)
        }
    }

    fn log_time(&mut self) -> Option<Time<'static>> {
        let log = self.current.log();
        let text = |wanted: &[u8]| {
            let (_, value) = log.fields().find(|(key, _)| *key == wanted)?;
            String::from_utf8(value.to_vec()).ok()
        };
        time::of_log(text(b"__time__")?, text(b"__time_ns_part__"))
    }
}
