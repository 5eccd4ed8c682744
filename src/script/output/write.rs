//! Writes Lua values as JSON, and tables as `key=value` text, directly from the stack and the page.
//!
//! Uses only [`Stack`]: nothing here can raise a Lua error, so ordinary Rust code may call it and be called by it.

use std::ffi::c_int;

use super::{escape, number};
use crate::core::event::{BodyError, PairPlace, PairPlaces};
use crate::script::engine::lua_stack::{Hidden, Kept, Kind, Stack};
use crate::script::engine::time_limit;
use crate::script::hook::current_log::{Current, FieldState};
use crate::script::values::json::scan;

/// Maximum length of a path in an error, in characters.
const MAX_PATH_CHARS: usize = 80;

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

/// A value that cannot be written, with its path; every level prepends its own step.
struct WriteFault {
    path: String,
    problem: String,
}

type Written = Result<(), WriteFault>;

impl WriteFault {
    fn new(problem: impl Into<String>) -> Self {
        Self { path: String::new(), problem: problem.into() }
    }

    fn in_key(mut self, key: &[u8]) -> Self {
        self.path.insert_str(0, &step(key));
        self
    }

    fn in_item(mut self, index: usize) -> Self {
        self.path.insert_str(0, &format!("[{index}]"));
        self
    }

    fn under(self, root: &str) -> BodyError {
        let (shown, more) = match self.path.char_indices().nth(MAX_PATH_CHARS) {
            Some((end, _)) => (&self.path[..end], "…"),
            None => (self.path.as_str(), ""),
        };
        BodyError::new(format!("{root}{shown}{more}"), self.problem)
    }
}

/// A key as a step of a path: `.name`, or `["any text"]`.
pub(crate) fn step(key: &[u8]) -> String {
    let plain = |&byte: &u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let text = String::from_utf8_lossy(&key[..key.len().min(100)]);
    if key.iter().all(plain) && !key.is_empty() { format!(".{text}") } else { format!("[{text:?}]") }
}

/// The meaning of a table.
pub(crate) enum Shape {
    /// The current log.
    Log,
    /// A log of an earlier call.
    StaleLog,
    /// A result of `json.decode`, or a part of it.
    Object,
    Array,
    /// A list marked by `json.array`.
    List,
    /// A result of `drop`.
    Dropped,
    /// An ordinary table of the script.
    Plain,
}

/// The meaning of the table at `at`.
pub(crate) fn shape(stack: Stack, current: &Current, at: c_int) -> Shape {
    if stack.pointer(at) == current.table {
        return Shape::Log;
    }
    let mark = stack.metatable(at);
    let marks = current.marks;
    if mark == 0 {
        Shape::Plain
    } else if mark == marks.log {
        Shape::StaleLog
    } else if mark == marks.object {
        Shape::Object
    } else if mark == marks.array {
        Shape::Array
    } else if mark == marks.list {
        Shape::List
    } else if mark == marks.dropped {
        Shape::Dropped
    } else {
        Shape::Plain
    }
}

/// The error for a log whose events are too large.
pub(crate) const TOO_MANY_BYTES: &str = "one log may become 32 MiB of events, and no more than script.memory";

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

/// The error for a result of `drop` that is used inside another value.
pub(crate) const DROPPED_INSIDE: &str =
    "drop stands for the whole log, in the place of an event or a list: return drop \"reason\"";

const STALE_LOG: &str = "this is the log of an earlier call and its fields are gone; copy what you need later";

struct Writer<'a> {
    stack: Stack<'a>,
    current: &'a mut Current,
    out: &'a mut Vec<u8>,
    /// Maximum length of the output.
    limit: usize,
}

impl<'lua> Writer<'lua> {
    fn value(&mut self, at: c_int, depth: usize) -> Written {
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
    fn sorted(&mut self, at: c_int) -> Result<Order<'lua>, WriteFault> {
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

/// The number of members of a decoded object, including deleted ones.
pub(crate) fn count(stack: Stack, members: c_int) -> i64 {
    let count = match stack.push_item(members, 0) {
        Kind::Integer(count) => count,
        _ => 0,
    };
    stack.pop(1);
    count
}

/// Keys with the stack indexes of their values: the first few without a heap allocation, enough for most tables.
#[derive(Default)]
struct Order<'k> {
    few: [(&'k [u8], c_int); 12],
    len: usize,
    many: Vec<(&'k [u8], c_int)>,
}

impl<'k> Order<'k> {
    fn push(&mut self, pair: (&'k [u8], c_int)) {
        if self.len < self.few.len() {
            self.few[self.len] = pair;
        } else {
            if self.many.is_empty() {
                self.many.extend_from_slice(&self.few);
            }
            self.many.push(pair);
        }
        self.len += 1;
    }

    fn sort(&mut self) {
        if self.many.is_empty() {
            self.few[..self.len].sort_unstable();
        } else {
            self.many.sort_unstable();
        }
    }

    fn as_slice(&self) -> &[(&'k [u8], c_int)] {
        if self.many.is_empty() { &self.few[..self.len] } else { &self.many }
    }
}
