//! Writes Lua values as JSON, directly from the stack and the page.
//!
//! Uses only [`Stack`]: nothing here can raise a Lua error, so ordinary Rust code may call it and be called by it.

use std::ffi::c_int;

use super::fault::{DROPPED_INSIDE, STALE_LOG, TOO_MANY_BYTES, WriteFault, Written};
use super::order::Order;
use super::shape::{Shape, count, shape};
use super::{escape, number};
use crate::core::event::BodyError;
use crate::script::engine::lua_stack::{Hidden, Kept, Kind, Stack};
use crate::script::engine::time_limit;
use crate::script::hook::current_log::{Current, FieldState};

/// Maximum nesting of tables; a table that contains itself also reaches it.
const MAX_LEVELS_DEEP: usize = 64;

/// Appends the value at `at` as one JSON value on one line. `root` is its name in errors.
pub(crate) fn json(
    stack: Stack,
    current: &mut Current,
    at: c_int,
    root: &str,
    out: &mut Vec<u8>,
) -> Result<(), BodyError> {
    let top = stack.top();
    let limit = out.len().saturating_add(current.most_bytes);
    let at = stack.absolute(at);
    let result = Writer { stack, current, out, limit }.value(at, 0);
    stack.set_top(top);
    result.map_err(|fault| fault.under(root))
}

/// Maximum number of bytes for one byte in a JSON string: `\u0001`.
const MAX_BYTES_PER_BYTE: usize = 6;

/// Length of a text as a JSON string, or slightly more.
fn json_len(text: &[u8]) -> usize {
    let beyond_ascii = if std::str::from_utf8(text).is_ok() { 1 } else { '\u{fffd}'.len_utf8() };
    let each = |byte: &u8| match byte {
        ..b' ' | 0x7f => MAX_BYTES_PER_BYTE,
        b'"' | b'\\' => 2,
        0x80.. => beyond_ascii,
        _ => 1,
    };
    text.iter().map(each).sum()
}

/// Writes one value.
pub(super) struct Writer<'a> {
    pub(super) stack: Stack<'a>,
    pub(super) current: &'a mut Current,
    pub(super) out: &'a mut Vec<u8>,
    /// Maximum length of the output.
    pub(super) limit: usize,
}

impl<'lua> Writer<'lua> {
    pub(super) fn value(&mut self, at: c_int, depth: usize) -> Written {
        if self.out.len() > self.limit {
            return Err(WriteFault::new(TOO_MANY_BYTES));
        }
        match self.stack.kind(at) {
            Kind::String => return self.string(self.stack.bytes(at).unwrap_or_default()),
            Kind::Table => return self.table(at, depth),
            Kind::Integer(integer) => number::integer(integer, self.out),
            Kind::Number(float) => {
                if !number::float(float, self.out) {
                    return Err(WriteFault::new(format!("JSON has no {float}; send it as a string")));
                }
            }
            Kind::Boolean(true) => self.out.extend_from_slice(b"true"),
            Kind::Boolean(false) => self.out.extend_from_slice(b"false"),
            Kind::Nil | Kind::Null => self.out.extend_from_slice(b"null"),
            Kind::Other(name) => return Err(WriteFault::new(format!("{name} cannot be sent"))),
        }
        Ok(())
    }

    /// A long text is measured before it is written: Lua holds it once, but an event can contain it many times.
    fn string(&mut self, text: &[u8]) -> Written {
        let left = self.limit.saturating_sub(self.out.len());
        if text.len() > left / MAX_BYTES_PER_BYTE && json_len(text) > left {
            return Err(WriteFault::new(TOO_MANY_BYTES));
        }
        escape::string(text, self.out);
        Ok(())
    }

    fn table(&mut self, at: c_int, depth: usize) -> Written {
        if depth == MAX_LEVELS_DEEP {
            return Err(WriteFault::new(format!("nested deeper than {MAX_LEVELS_DEEP} tables, or inside itself")));
        }
        if time_limit::is_over() {
            return Err(WriteFault::new("writing it takes too long"));
        }
        if !self.stack.reserve(16) {
            return Err(WriteFault::new("too much for the Lua stack"));
        }
        match shape(self.stack, self.current, at) {
            Shape::Log => self.log(depth),
            Shape::StaleLog => Err(WriteFault::new(STALE_LOG)),
            Shape::Dropped => Err(WriteFault::new(DROPPED_INSIDE)),
            Shape::Object | Shape::Array if self.stack.push_hidden(at, Hidden::TEXT) == Kind::String => {
                self.out.extend_from_slice(self.stack.bytes(-1).unwrap_or_default());
                self.stack.pop(1);
                Ok(())
            }
            Shape::Object => {
                self.stack.pop(1);
                self.object(at, depth)
            }
            Shape::Array => {
                self.stack.pop(1);
                self.stack.push_hidden(at, Hidden::MEMBERS);
                let members = self.stack.top();
                self.list(members, depth, true)?;
                self.stack.pop(1);
                Ok(())
            }
            Shape::List => self.list(at, depth, false),
            Shape::Plain if self.stack.raw_len(at) > 0 => self.list(at, depth, false),
            Shape::Plain => self.plain(at, depth),
        }
    }

    fn log(&mut self, depth: usize) -> Written {
        self.stack.push_kept(Kept::VALUES);
        let values = self.stack.top();
        let start = self.out.len();
        let mut position = 0;
        while position < self.current.len() {
            let state = self.current.state(position);
            if state == FieldState::Untouched {
                position = match self.current.write_shared(position, self.out) {
                    0 => self.current.write_untouched(position, self.out),
                    shared => position + shared,
                };
                continue;
            }
            if state == FieldState::Assigned {
                self.current.write_key(position, self.out);
                self.stack.push_item(values, position as i64 + 1);
                let written = self.value(self.stack.top(), depth + 1);
                self.stack.set_top(values);
                written.map_err(|fault| fault.in_key(self.current.key(position)))?;
            }
            position += 1;
        }
        // Every field was written with a comma before it; the first comma is replaced by the opening brace.
        match self.out.get_mut(start) {
            Some(comma) => *comma = b'{',
            None => self.out.push(b'{'),
        }
        self.out.push(b'}');
        self.stack.pop(1);
        Ok(())
    }

    /// Writes a decoded object that was changed.
    fn object(&mut self, at: c_int, depth: usize) -> Written {
        self.stack.push_hidden(at, Hidden::MEMBERS);
        let members = self.stack.top();
        self.out.push(b'{');
        let mut first = true;
        for place in 1..=count(self.stack, members) {
            self.stack.push_item(members, 2 * place - 1);
            let key = self.stack.bytes(-1).unwrap_or_default();
            if self.stack.push_item(members, 2 * place) != Kind::Nil {
                self.separate(&mut first);
                escape::string(key, self.out);
                self.out.push(b':');
                self.member(members, place, depth).map_err(|fault| fault.in_key(key))?;
            }
            self.stack.set_top(members);
        }
        self.out.push(b'}');
        self.stack.pop(1);
        Ok(())
    }

    /// Writes the value on top. An unchanged number is written as its original text.
    fn member(&mut self, members: c_int, place: i64, depth: usize) -> Written {
        if self.stack.push_item(members, -place) == Kind::String {
            self.out.extend_from_slice(self.stack.bytes(-1).unwrap_or_default());
            return Ok(());
        }
        self.stack.pop(1);
        self.value(self.stack.top(), depth + 1)
    }

    /// Writes a table with the keys 1 to n. The members of a decoded array may also contain texts of numbers.
    fn list(&mut self, at: c_int, depth: usize, decoded: bool) -> Written {
        let len = self.stack.raw_len(at);
        let base = self.stack.top();
        self.stack.push_nil();
        let mut items = 0;
        while self.stack.next(at) {
            self.stack.pop(1);
            match self.stack.kind(-1) {
                Kind::Integer(index) if index >= 1 && index as u64 <= len as u64 => items += 1,
                Kind::Integer(index) if decoded && index < 0 => {}
                Kind::Integer(index) => {
                    return Err(WriteFault::new(format!(
                        "a list with holes (it has {index} but ends at {len}); fill them with json.null"
                    )));
                }
                _ => {
                    let fault = WriteFault::new("a table cannot be a list and have named keys too");
                    return Err(fault.in_key(self.stack.bytes(-1).unwrap_or(b"?")));
                }
            }
        }
        if items != len {
            return Err(WriteFault::new("a list with holes; fill them with json.null"));
        }
        self.out.push(b'[');
        for index in 1..=len {
            if index > 1 {
                self.out.push(b',');
            }
            self.stack.push_item(at, index as i64);
            let written =
                if decoded { self.member(at, index as i64, depth) } else { self.value(self.stack.top(), depth + 1) };
            written.map_err(|fault| fault.in_item(index))?;
            self.stack.set_top(base);
        }
        self.out.push(b']');
        Ok(())
    }

    /// Writes an ordinary table of the script, sorted by key, because Lua's order varies between runs.
    fn plain(&mut self, at: c_int, depth: usize) -> Written {
        let base = self.stack.top();
        let order = self.sorted(at)?;
        self.out.push(b'{');
        let mut first = true;
        for &(key, at) in order.as_slice() {
            self.separate(&mut first);
            escape::string(key, self.out);
            self.out.push(b':');
            self.value(at, depth + 1).map_err(|fault| fault.in_key(key))?;
        }
        self.out.push(b'}');
        self.stack.set_top(base);
        Ok(())
    }

    /// Leaves all keys and values on the stack; returns each key with the index of its value, sorted.
    pub(super) fn sorted(&mut self, at: c_int) -> Result<Order<'lua>, WriteFault> {
        let mut order = Order::default();
        self.stack.push_nil();
        while self.stack.next(at) {
            let value = self.stack.top();
            match self.stack.kind(value - 1) {
                Kind::String => order.push((self.stack.bytes(value - 1).unwrap_or_default(), value)),
                Kind::Integer(index) => {
                    return Err(WriteFault::new(format!(
                        "a key is the number {index}: a list has no holes and begins with 1, and other keys are \
                         strings (tostring({index}))"
                    )));
                }
                kind => return Err(WriteFault::new(format!("a key is {}; keys are strings", kind.name()))),
            }
            if !self.stack.reserve(16) {
                return Err(WriteFault::new("a table with too many keys"));
            }
            self.stack.push_copy(value - 1);
        }
        order.sort();
        Ok(order)
    }

    fn separate(&mut self, first: &mut bool) {
        if !*first {
            self.out.push(b',');
        }
        *first = false;
    }
}
