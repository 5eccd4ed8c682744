//! A field of a log as spans of a page, and how its pair of key and value is read there.

use std::ops::Range;

use super::wire::{PageError, Wire};

/// The key and the value of a field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) key: Span,
    pub(super) value: Span,
}

/// A range of the page's body, or, if the [`BUILT`] bit of `start` is set, of the text that the decoder has built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) len: u32,
}

/// The bit of [`Span::start`] that marks a range of the built text.
pub(super) const BUILT: u32 = 1 << 31;

impl Span {
    #[inline]
    pub(super) fn range(self) -> Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start as u32, len: range.len() as u32 }
    }
}

/// A range of the built text.
pub(super) fn built_span(start: usize, end: usize) -> Span {
    Span { start: start as u32 | BUILT, len: (end - start) as u32 }
}

/// Reads the pair of key and value at this place of the body.
#[inline]
pub(super) fn read_pair(body: &[u8], place: Range<usize>) -> Result<Field, PageError> {
    match usual_pair(&body[place.clone()], place.start) {
        Some(pair) => Ok(pair),
        None => read_any_pair(body, place),
    }
}

/// Decodes the pair of a log at `start`, if it has the usual layout. Returns the pair and its end.
#[inline]
pub(super) fn usual_content(body: &[u8], start: usize) -> Option<(Field, usize)> {
    const CONTENT: u8 = 2 << 3 | 2;
    let (len, start) = match body.get(start..)? {
        [CONTENT, len @ ..0x80, ..] => (usize::from(*len), start + 2),
        [CONTENT, low, high @ ..0x80, ..] => (usize::from(low & 0x7f) | usize::from(*high) << 7, start + 3),
        _ => return None,
    };
    let end = start + len;
    Some((usual_pair(body.get(start..end)?, start)?, end))
}

/// Decodes a pair in the layout that all writers use: the key, the value, and nothing else. It starts at `start` of
/// the body.
#[inline]
fn usual_pair(bytes: &[u8], start: usize) -> Option<Field> {
    const KEY: u8 = 1 << 3 | 2;
    const VALUE: u8 = 2 << 3 | 2;
    let [KEY, key_len @ ..0x80, rest @ ..] = bytes else { return None };
    let key_len = usize::from(*key_len);
    let (value_len, value) = match rest.get(key_len..)? {
        [VALUE, len @ ..0x80, value @ ..] => (usize::from(*len), value),
        [VALUE, low, high @ ..0x80, value @ ..] => (usize::from(low & 0x7f) | usize::from(*high) << 7, value),
        _ => return None,
    };
    let span = |start: usize, len: usize| Span { start: start as u32, len: len as u32 };
    (value.len() == value_len)
        .then(|| Field { key: span(start + 2, key_len), value: span(start + bytes.len() - value_len, value_len) })
}

fn read_any_pair(body: &[u8], place: Range<usize>) -> Result<Field, PageError> {
    let mut pair = Field { key: Span::default(), value: Span::default() };
    let mut wire = Wire::new(body, place.start, place.end);
    while let Some((field, kind)) = wire.tag()? {
        match field {
            1 => pair.key = wire.bytes(kind)?.into(),
            2 => pair.value = wire.bytes(kind)?.into(),
            _ => wire.skip(field, kind)?,
        }
    }
    Ok(pair)
}

/// Whether two keys are equal. A built key is at the same position again as long as the group's part of the built
/// text is the same.
#[inline]
pub(super) fn is_same_key(body: &[u8], one: Span, other: Span) -> bool {
    let texts = || Some(is_same(body.get(one.range())?, body.get(other.range())?));
    one == other || one.len == other.len && texts().unwrap_or(false)
}

/// Whether two keys are equal. Keys are short, so a function call for the comparison would cost more than the
/// comparison.
#[inline]
pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    match one.len() {
        ..4 => one.iter().eq(other),
        4..8 => ends::<4>(one) == ends::<4>(other),
        8..=16 => ends::<8>(one) == ends::<8>(other),
        _ => one == other,
    }
}

/// The first N and the last N bytes. They cover a text of at most 2 N bytes.
#[inline]
fn ends<const N: usize>(text: &[u8]) -> Option<([u8; N], [u8; N])> {
    Some((*text.first_chunk()?, *text.last_chunk()?))
}
