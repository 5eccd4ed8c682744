//! Decodes the logs of a page, one flattened log at a time, without copying the content of the page.
//!
//! A flattened log has the same form as in the vendor's Python SDK (`loggroups_to_flattern_list`): `__time__`,
//! `__topic__`, `__source__`, `__time_ns_part__` if there is one, `__tag__:…`, contents. A repeated key keeps its
//! first position and takes the last value.
//!
//! Keys and values are spans of the page's own bytes. Only text that the page does not contain is stored separately:
//! the decimal times, and the names of the tags, once per log group.

use std::ops::Range;

use bytes::Bytes;

use crate::core::page::Page;

use super::field::{BUILT, Field, Span, built_span, is_same, is_same_key, read_pair, usual_content};
use super::position::LogPosition;
use super::wire::{PageError, PageFault, Wire};

/// Decodes pages one after the other, and reuses its buffers.
#[derive(Debug, Default)]
pub struct Logs {
    body: Bytes,
    /// Text that the page does not contain: the fixed keys, the tag names of the group, and the times of the current
    /// log.
    built: Vec<u8>,
    /// The group's part of `built` for the previous group.
    built_before: Vec<u8>,
    /// Length of the part of `built` that the whole group shares.
    group_built: usize,
    /// The time whose decimal follows the group's part of `built`. Consecutive logs often have the same second.
    time: Option<u32>,
    /// Length of `built` up to the end of that decimal.
    time_built: usize,
    /// Offset of the next group.
    at: usize,
    groups: u32,
    topic: Span,
    source: Span,
    tags: Vec<Field>,
    logs: Vec<Span>,
    next_in_group: usize,
    /// The current log.
    log: Span,
    index: u32,
    fields: Vec<Field>,
    /// The number of leading fields that belong to the group and that the next log reuses; 0 if they must be listed
    /// again.
    group_fields: usize,
    /// The keys of an earlier log of this page without repeated keys. A log with the same keys has no repeated keys
    /// either.
    unique: Vec<Span>,
    schema: u64,
}

/// Checks that the whole body of a page can be decoded.
///
/// # Errors
/// As for [`Logs::open`] and [`Logs::read`].
pub fn check(body: &Bytes) -> Result<(), PageError> {
    let mut logs = Logs::default();
    logs.open(body.clone())?;
    while logs.read()?.is_some() {}
    Ok(())
}

/// Far above what SLS sends (10 MB), and low enough that all spans fit next to the [`BUILT`] bit: a tag takes at
/// least two bytes of a body, and adds eight bytes to its name.
const MAX_BODY: usize = 256 << 20;

const FIXED: &[u8] = b"__time____topic____source____time_ns_part__";
const TIME_KEY: Span = Span { start: BUILT, len: 8 };
const TOPIC_KEY: Span = Span { start: BUILT | 8, len: 9 };
const SOURCE_KEY: Span = Span { start: BUILT | 17, len: 10 };
const TIME_NS_KEY: Span = Span { start: BUILT | 27, len: 16 };
const TAG_PREFIX: &[u8] = b"__tag__:";

/// Logs with more fields than this are sorted to find repeated keys, so that no log takes quadratic time.
const FEW_FIELDS: usize = 48;

impl Logs {
    /// Starts with a page's body, the serialised `LogGroupList`.
    ///
    /// # Errors
    /// The body is larger than 256 MiB.
    pub fn open(&mut self, body: Bytes) -> Result<(), PageError> {
        if body.len() > MAX_BODY {
            return Err(PageError { offset: MAX_BODY, fault: PageFault::TooLarge });
        }
        self.body = body;
        self.at = 0;
        self.groups = 0;
        self.index = 0;
        self.next_in_group = 0;
        self.logs.clear();
        self.fields.clear();
        self.unique.clear();
        Ok(())
    }

    /// Decodes the next log; `None` after the last one.
    ///
    /// # Errors
    /// The body is not a `LogGroupList`. Nothing can be read after an error.
    pub fn read(&mut self) -> Result<Option<Log<'_>>, PageError> {
        while self.next_in_group == self.logs.len() {
            if !self.read_group()? {
                return Ok(None);
            }
        }
        let log = self.logs[self.next_in_group];
        self.next_in_group += 1;
        self.index += 1;
        self.log = log;
        let known = self.read_log(log)?;
        self.settle_repeats(known);
        Ok(Some(self.log()))
    }

    /// Whether exactly `logs` logs of this body were decoded, so that [`Logs::read`] continues after them.
    #[must_use]
    pub fn is_at(&self, body: &Bytes, logs: u32) -> bool {
        // `self` holds the body, so no other body can have its address.
        self.index == logs && self.body.as_ptr() == body.as_ptr() && self.body.len() == body.len()
    }

    /// Whether no log is left. If a body ends with groups without logs, this becomes true only after the next
    /// [`Logs::read`].
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.next_in_group == self.logs.len() && self.at == self.body.len()
    }

    /// The current log. It has no fields before the first [`Logs::read`].
    #[must_use]
    pub fn log(&self) -> Log<'_> {
        Log { logs: self }
    }

    /// Releases the page and keeps the buffers.
    pub fn close(&mut self) {
        self.body = Bytes::new();
        self.logs.clear();
        self.next_in_group = 0;
        self.at = 0;
        self.fields.clear();
    }

    fn read_group(&mut self) -> Result<bool, PageError> {
        let mut list = Wire::new(&self.body, self.at, self.body.len());
        let group = loop {
            let Some((field, kind)) = list.tag()? else {
                return Ok(false);
            };
            if field == 1 {
                break list.bytes(kind)?;
            }
            list.skip(field, kind)?;
        };
        self.at = list.at();
        self.groups += 1;
        self.logs.clear();
        self.next_in_group = 0;
        self.topic = Span::default();
        self.source = Span::default();
        self.tags.clear();
        self.group_fields = 0;
        self.time = None;
        self.built.truncate(self.group_built);
        std::mem::swap(&mut self.built, &mut self.built_before);
        self.built.clear();
        self.built.extend_from_slice(FIXED);

        let mut wire = Wire::new(&self.body, group.start, group.end);
        while let Some((field, kind)) = wire.tag()? {
            match field {
                1 => self.logs.push(wire.bytes(kind)?.into()),
                3 => self.topic = wire.bytes(kind)?.into(),
                4 => self.source = wire.bytes(kind)?.into(),
                // The machine id: its wire type is checked, but it is not part of a log.
                5 => {
                    wire.bytes(kind)?;
                }
                6 => {
                    let tag = read_pair(&self.body, wire.bytes(kind)?)?;
                    let start = self.built.len();
                    self.built.extend_from_slice(TAG_PREFIX);
                    self.built.extend_from_slice(&self.body[tag.key.range()]);
                    self.tags.push(Field { key: built_span(start, self.built.len()), value: tag.value });
                }
                _ => wire.skip(field, kind)?,
            }
        }
        self.group_built = self.built.len();
        if self.built != self.built_before {
            self.unique.clear();
        }
        Ok(true)
    }

    /// Returns the number of leading fields whose keys are those of `unique`; there may be more.
    fn read_log(&mut self, log: Span) -> Result<usize, PageError> {
        let field = |key, value| Field { key, value };
        self.fields.truncate(self.group_fields);
        if self.group_fields == 0 {
            self.fields.push(field(TIME_KEY, Span::default()));
            self.fields.push(field(TOPIC_KEY, self.topic));
            self.fields.push(field(SOURCE_KEY, self.source));
            self.fields.extend_from_slice(&self.tags);
            self.group_fields = self.fields.len();
        }

        let (mut time, mut nanos) = (0, 0);
        let log = log.range();
        let body = &self.body[..log.end];
        let mut wire = Wire::new(body, log.start, log.end);
        let mut known = (0..self.fields.len().min(self.unique.len()))
            .take_while(|&at| self.fields[at].key == self.unique[at])
            .count();
        loop {
            while let Some((pair, end)) = usual_content(body, wire.at()) {
                let position = self.fields.len();
                if known == position && self.unique.get(position).is_some_and(|key| is_same_key(body, pair.key, *key)) {
                    known += 1;
                }
                self.fields.push(pair);
                wire.go_to(end);
            }
            let Some((field, kind)) = wire.tag()? else { break };
            match field {
                1 => time = wire.varint_of(kind)? as u32,
                2 => self.fields.push(read_pair(body, wire.bytes(kind)?)?),
                4 => nanos = wire.fixed32(kind)?,
                _ => wire.skip(field, kind)?,
            }
        }
        if self.time != Some(time) {
            self.built.truncate(self.group_built);
            self.build_decimal(time);
            self.time = Some(time);
            self.time_built = self.built.len();
        }
        self.built.truncate(self.time_built);
        self.fields[0].value = built_span(self.group_built, self.time_built);
        if nanos != 0 {
            let value = self.build_decimal(nanos);
            self.fields.insert(3, field(TIME_NS_KEY, value));
            self.group_fields = 0;
            known = known.min(3);
        }
        Ok(known)
    }

    fn build_decimal(&mut self, number: u32) -> Span {
        let mut digits = [0; 10];
        let mut at = digits.len();
        let mut rest = number;
        while at == digits.len() || rest != 0 {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let start = self.built.len();
        self.built.extend_from_slice(&digits[at..]);
        built_span(start, self.built.len())
    }

    /// Merges fields with the same key: keeps the position of the first and the value of the last. The keys of the
    /// first `known` fields are those of `unique`.
    fn settle_repeats(&mut self, known: usize) {
        let same = |at: usize| is_same_key(&self.body, self.fields[at].key, self.unique[at]);
        if self.fields.len() == self.unique.len() && (known..self.fields.len()).all(same) {
            return;
        }
        self.schema += 1;
        self.unique.clear();
        let repeats = if self.fields.len() <= FEW_FIELDS { self.repeats_of_few() } else { self.repeats_of_many() };
        if repeats.is_empty() {
            self.unique.extend(self.fields.iter().map(|field| field.key));
            return;
        }
        self.group_fields = 0;
        for &(first, repeat) in &repeats {
            self.fields[first].value = self.fields[repeat].value;
        }
        let mut position = 0;
        let mut gone = repeats.iter().map(|&(_, repeat)| repeat).peekable();
        self.fields.retain(|_| {
            let drop = gone.next_if_eq(&position).is_some();
            position += 1;
            !drop
        });
    }

    /// Pairs of the first position of a key and a later position of the same key, ordered by the later position.
    fn repeats_of_few(&self) -> Vec<(usize, usize)> {
        let mut repeats = Vec::new();
        for (later, field) in self.fields.iter().enumerate() {
            let key = self.text(field.key);
            let twin = |earlier: &Field| earlier.key.len == field.key.len && self.text(earlier.key) == key;
            if let Some(first) = self.fields[..later].iter().position(twin) {
                repeats.push((first, later));
            }
        }
        repeats
    }

    fn repeats_of_many(&self) -> Vec<(usize, usize)> {
        let key = |position: usize| self.text(self.fields[position].key);
        let mut order: Vec<usize> = (0..self.fields.len()).collect();
        order.sort_by(|&a, &b| key(a).cmp(key(b)));
        let mut repeats = Vec::new();
        for twins in order.chunk_by(|&a, &b| key(a) == key(b)) {
            repeats.extend(twins[1..].iter().map(|&later| (twins[0], later)));
        }
        repeats.sort_unstable_by_key(|&(_, later)| later);
        repeats
    }

    #[inline]
    fn text(&self, span: Span) -> &[u8] {
        let (bytes, start) = self.bytes(span.start);
        &bytes[start..start + span.len as usize]
    }

    /// The buffer of a span with this start, and its offset there.
    #[inline]
    fn bytes(&self, start: u32) -> (&[u8], usize) {
        if start & BUILT == 0 { (&self.body, start as usize) } else { (&self.built, (start & !BUILT) as usize) }
    }
}

/// One flattened log, borrowed from [`Logs`].
#[derive(Clone, Copy)]
pub struct Log<'a> {
    logs: &'a Logs,
}

impl<'a> Log<'a> {
    /// Number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.logs.fields.len()
    }

    /// Whether there are no fields. Never true for a log of a page, which has at least a time, topic and source.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.logs.fields.is_empty()
    }

    /// The key at this position.
    ///
    /// # Panics
    /// If there is no such position.
    #[must_use]
    #[inline]
    pub fn key(&self, position: usize) -> &'a [u8] {
        self.logs.text(self.logs.fields[position].key)
    }

    /// The value at this position.
    ///
    /// # Panics
    /// If there is no such position.
    #[must_use]
    #[inline]
    pub fn value(&self, position: usize) -> &'a [u8] {
        self.logs.text(self.logs.fields[position].value)
    }

    /// For each of these positions, the bytes from the start of the value to the end of its buffer, and the length of
    /// the value.
    ///
    /// # Panics
    /// If there are no such positions.
    #[inline]
    pub fn values_on(self, positions: Range<usize>) -> impl Iterator<Item = (&'a [u8], usize)> {
        let (body, built) = (&self.logs.body[..], &self.logs.built[..]);
        self.logs.fields[positions].iter().map(move |field| {
            let Span { start, len } = field.value;
            let bytes = if start & BUILT == 0 { body } else { built };
            (bytes.get((start & !BUILT) as usize..).unwrap_or_default(), len as usize)
        })
    }

    /// The position of the field with this key. Checks `from` and the position after it first.
    #[must_use]
    #[inline]
    pub fn position(&self, key: &[u8], from: usize) -> Option<usize> {
        let fields = self.logs.fields.as_slice();
        let wanted = |field: &Field| field.key.len as usize == key.len() && is_same(self.logs.text(field.key), key);
        let near = (from..fields.len()).take(2).find(|&at| wanted(&fields[at]));
        near.or_else(|| fields.iter().position(wanted))
    }

    /// Whether the field at this position exists and has this key.
    #[must_use]
    #[inline]
    pub fn has_at(&self, position: usize, key: &[u8]) -> bool {
        self.logs.fields.get(position).is_some_and(|field| is_same(self.logs.text(field.key), key))
    }

    /// The range in the page of the value at this position, if the value is outside the log: the topic, the source or
    /// a tag of the group, which many logs share. Equal ranges in one page have the same bytes.
    ///
    /// # Panics
    /// If there is no such position.
    #[must_use]
    #[inline]
    pub fn shared(&self, position: usize) -> Option<Range<usize>> {
        let value = self.logs.fields[position].value;
        let own = self.logs.log.range();
        (value.start & BUILT == 0 && !own.contains(&(value.start as usize))).then(|| value.range())
    }

    /// Keys and values in the dict's order, without repeated keys.
    pub fn fields(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        (0..self.len()).map(move |position| (self.key(position), self.value(position)))
    }

    /// Index of the log in the page, from 0.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.logs.index.saturating_sub(1)
    }

    /// Index of the group in the page, from 0.
    #[must_use]
    pub fn group(&self) -> u32 {
        self.logs.groups.saturating_sub(1)
    }

    /// Index of the log in its group, from 0.
    #[must_use]
    pub fn index_in_group(&self) -> u32 {
        self.logs.next_in_group.saturating_sub(1) as u32
    }

    /// A number for the list of keys. Two logs of one reader have the same number only if they have the same keys in
    /// the same order.
    #[must_use]
    pub fn schema(&self) -> u64 {
        self.logs.schema
    }

    /// The position of this log of `page`. It is the same after every repeated pull.
    #[must_use]
    pub fn place(&self, page: &Page) -> LogPosition {
        let (cursor, index) = match page.group_number(self.group()) {
            Some(number) => (number.to_string(), page.first_log.saturating_add(self.index_in_group())),
            None => (page.cursor.to_string(), page.first_log.saturating_add(self.index())),
        };
        LogPosition { shard: page.shard, cursor, index }
    }
}

#[cfg(test)]
mod tests;
