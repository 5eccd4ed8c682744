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

/// The key of an earlier field, to recognize it in later logs.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownKey {
    pub(super) key: Span,
    /// The key with the bytes before and after it, from its tag to the tag of the value, if it has the usual layout;
    /// otherwise empty.
    head: Span,
}

impl KnownKey {
    pub(super) fn of(body: &[u8], key: Span) -> Self {
        let head = Span { start: key.start.wrapping_sub(2), len: key.len + 3 };
        let is_usual =
            matches!(body.get(head.range()), Some([KEY, len @ ..0x80, .., VALUE]) if u32::from(*len) == key.len);
        Self { key, head: if is_usual { head } else { Span::default() } }
    }
}

/// Tags of the key and of the value in a pair, and of a pair in a log.
const KEY: u8 = 1 << 3 | 2;
const VALUE: u8 = 2 << 3 | 2;
const CONTENT: u8 = 2 << 3 | 2;

/// Adds the pairs of a log from `start` on, as long as they have the usual layout and the keys of an earlier log, as most
/// have. Returns their end.
#[inline(never)]
pub(super) fn read_known(body: &[u8], start: usize, keys: &[KnownKey], fields: &mut Vec<Field>) -> usize {
    let mut at = start;
    for known in keys.iter().skip(fields.len()) {
        let Some((field, end)) = known_content(body, at, known) else { break };
        fields.push(field);
        at = end;
    }
    at
}

/// Decodes the pair of a log at `start`, if it has this key and the usual layout. Returns the pair and its end.
#[inline]
fn known_content(body: &[u8], start: usize, known: &KnownKey) -> Option<(Field, usize)> {
    let (len, start) = content_len(body, start)?;
    let end = start + len;
    let key_len = known.head.len.checked_sub(3)?;
    let (head, rest) = body.get(start..end)?.split_at_checked(known.head.len as usize)?;
    if !is_same(head, body.get(known.head.range())?) {
        return None;
    }
    let (len, value) = match rest {
        [len @ ..0x80, value @ ..] => (usize::from(*len), value),
        [low, high @ ..0x80, value @ ..] => (two_bytes(*low, *high), value),
        _ => return None,
    };
    if value.len() != len {
        return None;
    }
    let span = |start: usize, len: u32| Span { start: start as u32, len };
    Some((Field { key: span(start + 2, key_len), value: span(end - len, len as u32) }, end))
}

/// Decodes the pair of a log at `start`, if it has the usual layout. Returns the pair and its end.
#[inline]
pub(super) fn usual_content(body: &[u8], start: usize) -> Option<(Field, usize)> {
    let (len, start) = content_len(body, start)?;
    let end = start + len;
    Some((usual_pair(body.get(start..end)?, start)?, end))
}

/// The length and the start of the pair whose tag is at `start`.
#[inline]
fn content_len(body: &[u8], start: usize) -> Option<(usize, usize)> {
    match body.get(start..)? {
        [CONTENT, len @ ..0x80, ..] => Some((usize::from(*len), start + 2)),
        [CONTENT, low, high @ ..0x80, ..] => Some((two_bytes(*low, *high), start + 3)),
        _ => None,
    }
}

/// The number in a varint of two bytes.
#[inline]
fn two_bytes(low: u8, high: u8) -> usize {
    usize::from(low & 0x7f) | usize::from(high) << 7
}

/// Decodes a pair in the layout that all writers use: the key, the value, and nothing else. It starts at `start` of
/// the body.
#[inline]
fn usual_pair(bytes: &[u8], start: usize) -> Option<Field> {
    let [KEY, key_len @ ..0x80, rest @ ..] = bytes else { return None };
    let key_len = usize::from(*key_len);
    let (value_len, value) = match rest.get(key_len..)? {
        [VALUE, len @ ..0x80, value @ ..] => (usize::from(*len), value),
        [VALUE, low, high @ ..0x80, value @ ..] => (two_bytes(*low, *high), value),
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
        17..=32 => ends::<16>(one) == ends::<16>(other),
        _ => one == other,
    }
}

/// The first N and the last N bytes. They cover a text of at most 2 N bytes.
#[inline]
fn ends<const N: usize>(text: &[u8]) -> Option<([u8; N], [u8; N])> {
    Some((*text.first_chunk()?, *text.last_chunk()?))
}
