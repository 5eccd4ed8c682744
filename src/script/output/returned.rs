//! Checks the value that a hook returns, and formats its events.

use std::borrow::Cow;
use std::ffi::c_int;

use super::body::Returned;
use super::fault::{DROPPED_INSIDE, TOO_MANY_BYTES, step};
use super::fields::{fields, sorted};
use super::scalar::Text;
use super::shape::{Shape, shape};
use super::{scalar, time};
use crate::core::batch::Events;
use crate::core::event::{BodyError, Formats, Head, Time};
use crate::core::priority;
use crate::core::priority::{FACILITIES, SEVERITIES};
use crate::script::diagnostics::error::bounded;
use crate::script::engine::lua_stack::{Hidden, Kind, Stack};
use crate::script::hook::current_log::{Current, FieldState};

/// Maximum number of events of one log.
const MAX_EVENTS: usize = 10_000;

/// Appends the events of the value on top; after an error, some of them may be left in the outputs. Returns the drop
/// reason, if the value has one. The stack must have room for 32 values.
pub(crate) fn push_events<'lua>(
    stack: Stack<'lua>,
    current: &mut Current,
    formats: &Formats,
    log: u32,
    outputs: &mut [Events],
) -> Result<Option<&'lua [u8]>, BodyError> {
    let at = stack.top();
    let most = bytes(outputs).saturating_add(current.most_bytes);
    let mut one = One { stack, current, formats, log, outputs, most };
    let kind = stack.kind(at);
    let shape = one.shape_of(at, kind);
    let pushed = match shape {
        None if kind == Kind::Nil => return Ok(None),
        Some(Shape::Dropped) => {
            stack.push_hidden(at, Hidden::REASON);
            return Ok(stack.bytes(-1));
        }
        Some(Shape::Plain | Shape::List) if stack.raw_len(at) > 0 => one.push_list(at),
        shape => one.push(at, kind, shape, ""),
    };
    pushed.map(|()| None)
}

/// Bytes of events in all outputs.
fn bytes(outputs: &[Events]) -> usize {
    outputs.iter().map(|events| events.bytes().len()).sum()
}

fn problem(path: impl Into<String>, problem: impl Into<String>) -> BodyError {
    BodyError::new(path, problem)
}

struct One<'a> {
    stack: Stack<'a>,
    current: &'a mut Current,
    formats: &'a Formats,
    log: u32,
    outputs: &'a mut [Events],
    /// Maximum length of the batch after this log.
    most: usize,
}

impl<'a> One<'a> {
    fn push_list(&mut self, list: c_int) -> Result<(), BodyError> {
        let len = self.stack.raw_len(list);
        if len > MAX_EVENTS {
            let why = format!("{len} events of one log; {MAX_EVENTS} are the most");
            return Err(problem("the list", why));
        }
        self.stack.push_nil();
        let mut items = 0;
        while self.stack.next(list) {
            self.stack.pop(1);
            match self.stack.kind(-1) {
                // A table with more keys than its length has holes; the exact number does not matter.
                Kind::Integer(_) if items > len => break,
                Kind::Integer(_) => items += 1,
                _ => {
                    let key = bounded(self.stack.bytes(-1).unwrap_or(b"?"));
                    let why = "a table is either one event or a list of events, not both";
                    return Err(problem(key, why));
                }
            }
        }
        if items != len {
            return Err(problem("the list", "a list with holes: nothing may be nil between its events"));
        }
        for index in 1..=len {
            self.stack.push_item(list, index as i64);
            let at = self.stack.top();
            let kind = self.stack.kind(at);
            self.push(at, kind, self.shape_of(at, kind), &format!("[{index}]."))?;
            self.stack.set_top(list);
        }
        Ok(())
    }

    /// The meaning of a table; `None` for any other value.
    fn shape_of(&self, at: c_int, kind: Kind) -> Option<Shape> {
        (kind == Kind::Table).then(|| shape(self.stack, self.current, at))
    }

    /// One event: a string, the log, or an event table. Errors have `place` before their paths.
    fn push(&mut self, at: c_int, kind: Kind, shape: Option<Shape>, place: &str) -> Result<(), BodyError> {
        let whole = |why: &str| {
            let place = place.trim_end_matches('.');
            problem(if place.is_empty() { "the value" } else { place }, why)
        };
        match shape {
            Some(Shape::Log) => {
                let time = self.log_time().map_err(|why| problem(format!("{place}__time__"), why))?;
                let head = Head { time, ..Head::default() };
                self.write(&head, Some(at), None, place)
            }
            Some(Shape::Plain) => self.push_table(at, place),
            Some(Shape::List) if self.stack.raw_len(at) == 0 => Ok(()),
            Some(Shape::StaleLog) => Err(whole("this is the log of an earlier call")),
            Some(Shape::Dropped) => Err(whole(DROPPED_INSIDE)),
            Some(Shape::Object | Shape::Array) => {
                Err(whole("decoded JSON is not an event by itself; return { event = it }"))
            }
            Some(Shape::List) => Err(whole("an event is a table with an `event`, a string, or the log")),
            None if kind == Kind::String => self.write(&Head::default(), Some(at), None, place),
            None => {
                let why = format!(
                    "{} is not an event; return nil, a string, the log, an event table like {{ event = log }}, or a \
                    list of them",
                    kind.name()
                );
                Err(whole(&why))
            }
        }
    }

    fn push_table(&mut self, table: c_int, place: &str) -> Result<(), BodyError> {
        let base = self.stack.top();
        let mut head = Head::default();
        let (mut event, mut message, mut nanos, mut keys) = (None, None, None, 0);
        self.stack.push_nil();
        while self.stack.next(table) {
            keys += 1;
            let at = self.stack.top();
            let Some(key) = self.stack.bytes(at - 1) else {
                let why = "an event table has only named keys";
                return Err(problem(format!("{place}[{}]", self.stack.kind(at - 1).name()), why));
            };
            let fault = |why: String| problem(format!("{place}{}", bounded(key)), why);
            match key {
                b"event" | b"message" => {
                    if !matches!(self.stack.kind(at), Kind::String | Kind::Table) {
                        let got = scalar::unlike_text(self.stack.kind(at));
                        return Err(fault(format!("a table, a string or the log is needed, not {got}")));
                    }
                    // The value stays on the stack, below a copy of the key for the next step.
                    self.stack.push_copy(at - 1);
                    if key == b"event" {
                        event = Some(at)
                    } else {
                        message = Some(at)
                    }
                    continue;
                }
                b"time" | b"timestamp" if head.time.is_none() => {
                    head.time = Some(scalar::time(self.stack, at).map_err(fault)?)
                }
                b"time_ns" => nanos = Some(scalar::nanos(self.stack, at).map_err(fault)?),
                b"host" | b"hostname" if head.host.is_none() => {
                    head.host = Some(scalar::string(self.stack, at).map_err(fault)?)
                }
                b"source" => head.source = Some(scalar::string(self.stack, at).map_err(fault)?),
                b"sourcetype" => head.sourcetype = Some(scalar::string(self.stack, at).map_err(fault)?),
                b"to" => head.to = self.destinations(at, &format!("{place}to"))?,
                b"index" => head.index = Some(scalar::string(self.stack, at).map_err(fault)?),
                b"fields" => head.fields = fields(self.stack, self.current, at, &format!("{place}fields"))?,
                b"program" => head.syslog.program = Some(scalar::string(self.stack, at).map_err(fault)?),
                b"procid" => head.syslog.procid = Some(scalar::text(self.stack, at).map_err(fault)?),
                b"msgid" => head.syslog.msgid = Some(scalar::string(self.stack, at).map_err(fault)?),
                b"facility" => {
                    head.syslog.facility =
                        Some(scalar::code(self.stack, at, priority::facility, &FACILITIES).map_err(fault)?)
                }
                b"severity" => {
                    head.syslog.severity =
                        Some(scalar::code(self.stack, at, priority::severity, &SEVERITIES).map_err(fault)?)
                }
                b"structured_data" => {
                    for (id, element) in sorted(self.stack, self.current, at, &format!("{place}structured_data"))? {
                        let path = format!("{place}structured_data{}", step(&id));
                        let pairs = fields(self.stack, self.current, element, &path)?;
                        head.syslog.structured_data.push((id, pairs));
                    }
                }
                b"time" | b"timestamp" => return Err(fault("time and timestamp are the same; keep one".to_owned())),
                b"host" | b"hostname" => return Err(fault("host and hostname are the same; keep one".to_owned())),
                _ => {
                    let unknown_key = Some(bounded(key));
                    let why = format!(
                        "an event has no such key; it has {}. Put your own data into `event` or `fields`",
                        KEYS.join(", ")
                    );
                    return Err(BodyError { unknown_key, ..fault(why) });
                }
            }
            self.stack.set_top(at - 1);
        }
        if keys == 0 {
            let why = "an empty table is not an event: was `event` set from a field that the log does not have? \
                 Return nil to drop a \
                       log";
            let place = place.trim_end_matches('.');
            return Err(problem(if place.is_empty() { "the value" } else { place }, why));
        }
        if event.is_none() && message.is_none() {
            return Err(problem(format!("{place}event"), "missing; put the data to send here: { event = log }"));
        }
        if let Some(nanos) = nanos {
            match &mut head.time {
                Some(time) if !time.digits.contains('.') => time.nanos = Some(nanos),
                Some(_) => return Err(problem(format!("{place}time_ns"), "the time has a fraction already")),
                None => {
                    return Err(problem(format!("{place}time_ns"), "needs a time in seconds, which is missing"));
                }
            }
        }
        self.write(&head, event, message, place)?;
        self.stack.set_top(base);
        Ok(())
    }

    fn write(
        &mut self,
        head: &Head<'_>,
        event: Option<c_int>,
        message: Option<c_int>,
        place: &str,
    ) -> Result<(), BodyError> {
        let mut body = Returned { stack: self.stack, current: self.current, event, message };
        for (destination, events) in self.formats.iter().zip(self.outputs.iter_mut()) {
            if !destination.is_meant(&head.to) {
                continue;
            }
            let written = events.push(self.log, |out| destination.format.write(head, &mut body, out));
            written.map_err(|mut error| {
                error.path.insert_str(0, place);
                error
            })?;
        }
        if bytes(self.outputs) > self.most {
            return Err(problem(format!("{place}event"), TOO_MANY_BYTES));
        }
        Ok(())
    }

    /// The log's own time; `None` if its field is missing or holds something else. A time out of range is an error.
    fn log_time(&mut self) -> Result<Option<Time<'static>>, String> {
        let Some(digits) = self.log_digits(b"__time__") else { return Ok(None) };
        let time = time::of_log(digits, self.log_digits(b"__time_ns_part__"));
        time.as_ref().map_or(Ok(()), |time| time::check(&time.digits))?;
        Ok(time)
    }

    fn log_digits(&mut self, key: &[u8]) -> Option<String> {
        let position = self.current.find(key)?;
        if self.current.state(position) != FieldState::Untouched {
            return None;
        }
        String::from_utf8(self.current.log().value(position).to_vec()).ok()
    }

    /// The destinations that an event names: one, or a list of them.
    fn destinations(&self, at: c_int, path: &str) -> Result<Vec<Text<'a>>, BodyError> {
        if let Some(name) = self.stack.bytes(at) {
            return Ok(vec![self.destination(name, path)?]);
        }
        let is_list = self.stack.kind(at) == Kind::Table
            && matches!(shape(self.stack, self.current, at), Shape::Plain | Shape::List);
        let len = if is_list { self.stack.raw_len(at) } else { 0 };
        if len == 0 {
            let got = if is_list { "an empty table" } else { self.stack.kind(at).name() };
            let why = format!(
                "expected the name of a destination or a list of names, not {got}; without it all get the event"
            );
            return Err(problem(path, why));
        }
        let mut names = Vec::new();
        for index in 1..=len {
            self.stack.push_item(at, index as i64);
            // The list keeps the string alive after it is popped.
            let (name, kind) = (self.stack.bytes(-1), self.stack.kind(-1));
            self.stack.pop(1);
            let place = format!("{path}[{index}]");
            let Some(name) = name else {
                return Err(problem(place, format!("expected the name of a destination, not {}", kind.name())));
            };
            names.push(self.destination(name, &place)?);
        }
        Ok(names)
    }

    fn destination(&self, name: &'a [u8], path: &str) -> Result<Text<'a>, BodyError> {
        if self.formats.knows(name) {
            return Ok(Cow::Borrowed(name));
        }
        let all: Vec<&str> = self.formats.iter().filter_map(|one| Some(one.name.as_ref()?.as_str())).collect();
        let why = format!("no destination is called {:?}; the destinations are {}", bounded(name), all.join(", "));
        Err(problem(path, why))
    }
}

/// The keys of an event table, in the order in which errors list them.
pub(crate) const KEYS: [&str; 18] = [
    "time",
    "timestamp",
    "time_ns",
    "host",
    "hostname",
    "source",
    "sourcetype",
    "index",
    "fields",
    "facility",
    "severity",
    "program",
    "procid",
    "msgid",
    "structured_data",
    "to",
    "event",
    "message",
];
