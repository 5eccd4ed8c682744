//! The state of the current log, for the functions that Lua calls.
//!
//! A field that the script did not touch is never copied into Lua: it stays in the page. Assigned values are in a Lua
//! table, by the field's position; only the state of each field is here.

use std::ops::Range;

use crate::loggroup::{Log, Logs};
use crate::script::engine::trace::Call;
use crate::script::output::escape;
use crate::script::output::escape::Cut;
use crate::script::output::special_bytes::{Instructions, PIECE, Work, with_best_instructions};

/// The current log, and buffers that live as long as the hook.
#[derive(Debug, Default)]
pub(crate) struct Current {
    pub(crate) logs: Logs,
    /// Identity of the current log's table; 0 between logs.
    pub(crate) table: usize,
    /// Identity of the metatables of: logs, decoded objects, decoded arrays, `json.array`, `drop`.
    pub(crate) marks: MetatableMarks,
    /// One per field of the log, then one per added field.
    states: Vec<FieldState>,
    /// Contains the positions of all assigned fields.
    assigned: Range<usize>,
    added: Vec<Range<usize>>,
    added_text: Vec<u8>,
    /// Position of the last found key: scripts usually read a log's fields in order.
    found: usize,
    /// Positions of keys found before, by the address of the key in Lua: a script reads the same keys of every log.
    places: [KeyPlace; KEY_PLACES],
    /// The time, the topic and the source that the script read last. Most logs have those of the log before them, so Lua
    /// keeps a string for each, which need not be made again.
    kept: [Vec<u8>; 3],
    keys: KeyTexts,
    shared: SharedTexts,
    /// For text that is passed to Lua, where Rust frames may own nothing.
    pub(crate) scratch: Vec<u8>,
    /// The script's line of the last error.
    pub(crate) error_line: Option<u32>,
    /// The calls that were active at that moment, the innermost first.
    pub(crate) calls: Vec<Call>,
    /// The origin of the log, for `process(log, meta)`; `None` when the function has no second parameter.
    pub(crate) meta: Option<LogIdentity>,
    /// Maximum bytes of the events of one log.
    pub(crate) most_bytes: usize,
}

/// The address of a key's bytes, and the position in a log at which its field was found.
#[derive(Debug, Default, Clone, Copy)]
struct KeyPlace {
    address: usize,
    position: usize,
}

/// Must be a power of two.
const KEY_PLACES: usize = 16;

/// See [`Current::marks`].
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct MetatableMarks {
    pub(crate) log: usize,
    pub(crate) object: usize,
    pub(crate) array: usize,
    pub(crate) list: usize,
    pub(crate) dropped: usize,
}

/// The content of `meta`.
#[derive(Debug, Default, Clone)]
pub(crate) struct LogIdentity {
    pub(crate) shard: u32,
    pub(crate) source: String,
    pub(crate) project: String,
    pub(crate) logstore: String,
    pub(crate) version: String,
    pub(crate) cursor: String,
    pub(crate) index: u32,
    pub(crate) id: String,
}

/// Where a field's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldState {
    /// In the page.
    Untouched,
    /// In the Lua table of assigned values.
    Assigned,
    /// Nowhere: it was deleted.
    Deleted,
}

/// `,"key":"` of every field, escaped once for all logs with the same keys. Between two of them is the quote at the
/// end of a value; room for one more piece follows.
#[derive(Debug, Default)]
struct KeyTexts {
    schema: u64,
    text: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

/// `,"key":"value"` of the adjacent fields that a log shares with its group, escaped once for all logs of the group.
#[derive(Debug, Default)]
struct SharedTexts {
    schema: u64,
    group: u32,
    /// Position of the first of them.
    first: usize,
    /// Range of each value in the page.
    places: Vec<Range<usize>>,
    text: Vec<u8>,
}

/// Maximum number of fields that a script may add to a log, and maximum bytes of their keys: they do not count as Lua
/// memory.
const MAX_ADDED_FIELDS: usize = 10_000;
const MAX_ADDED_KEY_BYTES: usize = 1 << 20;

/// Maximum length of a text for which Lua keeps a string.
const MAX_KEPT: usize = 64;

/// A larger scratch buffer is not kept for the next log.
const MAX_SCRATCH: usize = 1 << 20;

impl Current {
    /// Begins the log that was read last.
    pub(crate) fn begin(&mut self) {
        self.states.resize(self.logs.log().len(), FieldState::Untouched);
        self.states.fill(FieldState::Untouched);
        self.assigned = 0..0;
        self.added.clear();
        self.added_text.clear();
        self.found = 0;
        self.error_line = None;
        self.calls.clear();
        if self.scratch.capacity() > MAX_SCRATCH {
            self.scratch = Vec::new();
        }
    }

    /// Begins with a new Lua state, which keeps no string yet.
    pub(crate) fn forget_kept(&mut self) {
        self.kept = <[Vec<u8>; 3]>::default();
    }

    /// Whether Lua keeps a string for the field's value in the page.
    #[inline]
    pub(crate) fn is_kept(&self, position: usize) -> bool {
        let value = self.logs.log().value(position);
        self.kept.get(position).is_some_and(|kept| !value.is_empty() && kept == value)
    }

    /// Whether Lua may keep a string for the field's value.
    pub(crate) fn may_keep(&self, position: usize) -> bool {
        position < self.kept.len() && (1..=MAX_KEPT).contains(&self.logs.log().value(position).len())
    }

    /// Lua keeps a string for the field's value from now on.
    pub(crate) fn keep(&mut self, position: usize) {
        if let Some(kept) = self.kept.get_mut(position) {
            kept.clear();
            kept.extend_from_slice(self.logs.log().value(position));
        }
    }

    pub(crate) fn log(&self) -> Log<'_> {
        self.logs.log()
    }

    /// Number of fields, including deleted ones.
    pub(crate) fn len(&self) -> usize {
        self.states.len()
    }

    pub(crate) fn state(&self, position: usize) -> FieldState {
        self.states[position]
    }

    /// Marks the field as assigned; the value is in the Lua table of assigned values.
    pub(crate) fn assign(&mut self, position: usize) {
        self.states[position] = FieldState::Assigned;
        self.assigned = match self.assigned.is_empty() {
            true => position..position + 1,
            false => self.assigned.start.min(position)..self.assigned.end.max(position + 1),
        };
    }

    /// Marks the field as deleted.
    pub(crate) fn delete(&mut self, position: usize) {
        self.states[position] = FieldState::Deleted;
    }

    #[inline]
    pub(crate) fn key(&self, position: usize) -> &[u8] {
        let log = self.log();
        match position.checked_sub(log.len()) {
            None => log.key(position),
            Some(added) => &self.added_text[self.added[added].clone()],
        }
    }

    /// Position of the field with this key, even if it was deleted.
    #[inline]
    pub(crate) fn find(&mut self, key: &[u8]) -> Option<usize> {
        let log = self.logs.log();
        // Another key may be at that address by now, so the bytes are compared.
        let place = &mut self.places[key.as_ptr().addr() / 16 % KEY_PLACES];
        if place.address == key.as_ptr().addr() && log.has_at(place.position, key) {
            self.found = place.position;
            return Some(place.position);
        }
        let added = |text: &Range<usize>| &self.added_text[text.clone()] == key;
        let position = log
            .position(key, self.found)
            .or_else(|| self.added.iter().position(added).map(|added| log.len() + added))?;
        self.found = position;
        *place = KeyPlace { address: key.as_ptr().addr(), position };
        Some(position)
    }

    /// Adds a field after the others, without a value yet; `None` when the log has the maximum of added fields.
    pub(crate) fn add(&mut self, key: &[u8]) -> Option<usize> {
        if self.added.len() == MAX_ADDED_FIELDS || self.added_text.len() + key.len() > MAX_ADDED_KEY_BYTES {
            return None;
        }
        let start = self.added_text.len();
        self.added_text.extend_from_slice(key);
        self.added.push(start..self.added_text.len());
        self.states.push(FieldState::Deleted);
        Some(self.states.len() - 1)
    }

    /// The positions of the fields that may have a value in the Lua table of assigned values.
    pub(crate) fn assigned(&self) -> impl Iterator<Item = usize> {
        self.assigned.clone().filter(|&position| self.states[position] != FieldState::Untouched)
    }

    /// The first field at or after `position` that is not deleted.
    pub(crate) fn live_from(&self, position: usize) -> Option<usize> {
        (position..self.len()).find(|&position| self.states[position] != FieldState::Deleted)
    }

    /// Appends `,"key":`.
    #[inline]
    pub(crate) fn write_key(&mut self, position: usize, out: &mut Vec<u8>) {
        let log = self.logs.log();
        if position >= log.len() {
            out.push(b',');
            escape::string(self.key(position), out);
            out.push(b':');
            return;
        }
        self.keys.refresh(&log);
        out.extend_from_slice(self.keys.of(position));
    }

    /// Appends `,"key":"value"` of the untouched field at `position`, and of the fields after it up to the next one
    /// that was touched or that the log shares with its group; returns the position after them.
    pub(crate) fn write_untouched(&mut self, position: usize, out: &mut Vec<u8>) -> usize {
        let log = self.logs.log();
        self.keys.refresh(&log);
        let until = if position < self.shared.first { self.shared.first } else { log.len() };
        let untouched = self.states[position..until].iter().take_while(|&&state| state == FieldState::Untouched);
        let end = position + untouched.count();
        with_best_instructions(WriteFields { log, keys: &self.keys, fields: position..end, out });
        end
    }

    /// Appends `,"key":"value"` of all fields from `position` on that the log shares with its group, if they are
    /// untouched; returns their number, or 0 when they must be written one by one.
    #[inline]
    pub(crate) fn write_shared(&mut self, position: usize, out: &mut Vec<u8>) -> usize {
        let log = self.logs.log();
        self.shared.refresh(&log, &mut self.keys);
        let count = self.shared.places.len();
        if position != self.shared.first
            || self.states[position..position + count].iter().any(|&state| state != FieldState::Untouched)
            // A log may have its own field with the key of a tag.
            || (0..count).any(|nth| log.shared(position + nth).as_ref() != Some(&self.shared.places[nth]))
        {
            return 0;
        }
        out.extend_from_slice(&self.shared.text);
        count
    }
}

/// Appends `,"key":"value"` of these fields.
struct WriteFields<'a> {
    log: Log<'a>,
    keys: &'a KeyTexts,
    fields: Range<usize>,
    out: &'a mut Vec<u8>,
}

impl Work for WriteFields<'_> {
    type Result = ();

    #[inline(always)]
    fn run(self, with: impl Instructions) {
        let Self { log, keys, fields, out } = self;
        let mut from = keys.start(fields.start);
        let labels = keys.ends[fields.clone()].iter().map(|&end| {
            let start = std::mem::replace(&mut from, end);
            Cut { text: &keys.text[start..], len: end - start }
        });
        let values = log.values_on(fields).map(|(text, len)| Cut { text, len });
        escape::pairs(with, labels.zip(values), out);
        out.push(b'"');
    }
}

impl KeyTexts {
    /// Fills the texts for the keys of this log, unless they are current.
    #[inline]
    fn refresh(&mut self, log: &Log<'_>) {
        if self.schema != log.schema() {
            self.fill(log);
        }
    }

    fn fill(&mut self, log: &Log<'_>) {
        self.schema = log.schema();
        self.text.clear();
        self.ends.clear();
        for (key, _) in log.fields() {
            self.text.push(b',');
            escape::string(key, &mut self.text);
            self.text.extend_from_slice(b":\"");
            self.ends.push(self.text.len());
            self.text.push(b'"');
        }
        self.text.extend_from_slice(&[0; PIECE]);
    }

    /// Start of the text of this field.
    #[inline]
    fn start(&self, position: usize) -> usize {
        position.checked_sub(1).map_or(0, |before| self.ends[before] + 1)
    }

    /// `,"key":` of this field.
    #[inline]
    fn of(&self, position: usize) -> &[u8] {
        &self.text[self.start(position)..self.ends[position] - 1]
    }
}

impl SharedTexts {
    /// Fills the texts for the group of this log, unless they are current.
    #[inline]
    fn refresh(&mut self, log: &Log<'_>, keys: &mut KeyTexts) {
        // Schema numbers are never reused, not even for another page.
        if (self.schema, self.group) != (log.schema(), log.group()) {
            self.fill(log, keys);
        }
    }

    fn fill(&mut self, log: &Log<'_>, keys: &mut KeyTexts) {
        (self.schema, self.group) = (log.schema(), log.group());
        self.text.clear();
        self.places.clear();
        keys.refresh(log);
        self.first = (0..log.len()).find(|&position| log.shared(position).is_some()).unwrap_or(log.len());
        for position in self.first..log.len() {
            let Some(place) = log.shared(position) else { break };
            self.places.push(place);
            self.text.extend_from_slice(keys.of(position));
            escape::string(log.value(position), &mut self.text);
        }
    }
}
