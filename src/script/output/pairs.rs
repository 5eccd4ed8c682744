//! Writes tables as `key=value` text, directly from the stack and the page.
//!
//! Uses only [`Stack`]: nothing here can raise a Lua error, so ordinary Rust code may call it and be called by it.

use std::ffi::c_int;

use super::fault::{DROPPED_INSIDE, STALE_LOG, TOO_MANY_BYTES, WriteFault, Written};
use super::shape::{Shape, count, shape};
use super::write::Writer;
use crate::core::event::{BodyError, PairPlace, PairPlaces};
use crate::script::engine::lua_stack::{Hidden, Kept, Kind, Stack};
use crate::script::hook::current_log::{Current, FieldState};
use crate::script::values::json::scan;

/// Appends the pairs of the table at `at` as `key=value`, each after `separator`: strings as their bytes, tables as
/// JSON. A log and a decoded object keep their order; other tables are sorted by key. For a log, `places` receives
/// the positions of the pairs, relative to the start of the first.
pub(crate) fn pairs(
    stack: Stack,
    current: &mut Current,
    at: c_int,
    separator: &[u8],
    root: &str,
    places: &mut PairPlaces,
    out: &mut Vec<u8>,
) -> Result<(), BodyError> {
    let top = stack.top();
    let limit = out.len().saturating_add(current.most_bytes);
    let at = stack.absolute(at);
    let result = Writer { stack, current, out, limit }.pairs(at, separator, places);
    stack.set_top(top);
    result.map_err(|fault| fault.under(root))
}

impl Writer<'_> {
    fn pairs(&mut self, at: c_int, separator: &[u8], places: &mut PairPlaces) -> Written {
        if !self.stack.reserve(16) {
            return Err(WriteFault::new("too much for the Lua stack"));
        }
        match shape(self.stack, self.current, at) {
            Shape::Log => {
                self.stack.push_kept(Kept::VALUES);
                let values = self.stack.top();
                let start = self.out.len();
                for position in 0..self.current.len() {
                    let state = self.current.state(position);
                    if state == FieldState::Deleted {
                        continue;
                    }
                    self.out.extend_from_slice(separator);
                    let key = self.out.len() - start;
                    self.out.extend_from_slice(self.current.key(position));
                    places.push(PairPlace { key, equals: self.out.len() - start });
                    self.out.push(b'=');
                    if state == FieldState::Untouched {
                        self.out.extend_from_slice(self.current.log().value(position));
                    } else {
                        self.stack.push_item(values, position as i64 + 1);
                        let written = self.text(self.stack.top());
                        self.stack.set_top(values);
                        written.map_err(|fault| fault.in_key(self.current.key(position)))?;
                    }
                }
            }
            Shape::StaleLog => return Err(WriteFault::new(STALE_LOG)),
            Shape::Dropped => return Err(WriteFault::new(DROPPED_INSIDE)),
            Shape::Object if self.stack.push_hidden(at, Hidden::TEXT) == Kind::String => {
                for member in scan::Members::of(self.stack.bytes(-1).unwrap_or_default()) {
                    self.out.extend_from_slice(separator);
                    scan::unescape(member.key, self.out);
                    self.out.push(b'=');
                    match member.value {
                        [b'"', inside @ .., b'"'] => scan::unescape(inside, self.out),
                        value => self.out.extend_from_slice(value),
                    }
                }
            }
            Shape::Object => {
                self.stack.push_hidden(at, Hidden::MEMBERS);
                let members = self.stack.top();
                for place in 1..=count(self.stack, members) {
                    self.stack.push_item(members, 2 * place - 1);
                    let key = self.stack.bytes(-1).unwrap_or_default();
                    if self.stack.push_item(members, 2 * place) != Kind::Nil {
                        self.pair(separator, key, members + 2)?;
                    }
                    self.stack.set_top(members);
                }
            }
            Shape::Plain => {
                let order = self.sorted(at)?;
                for &(key, at) in order.as_slice() {
                    self.pair(separator, key, at)?;
                }
            }
            Shape::Array | Shape::List => return Err(WriteFault::new("a list has no key=value pairs")),
        }
        Ok(())
    }

    fn pair(&mut self, separator: &[u8], key: &[u8], at: c_int) -> Written {
        self.out.extend_from_slice(separator);
        self.out.extend_from_slice(key);
        self.out.push(b'=');
        self.text(at).map_err(|fault| fault.in_key(key))
    }

    fn text(&mut self, at: c_int) -> Written {
        match self.stack.bytes(at) {
            Some(bytes) if bytes.len() > self.limit.saturating_sub(self.out.len()) => {
                return Err(WriteFault::new(TOO_MANY_BYTES));
            }
            Some(bytes) => self.out.extend_from_slice(bytes),
            None => self.value(at, 1)?,
        }
        Ok(())
    }
}
