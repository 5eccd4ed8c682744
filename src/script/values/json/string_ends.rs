//! Finds the ends of the strings in a JSON text.
//!
//! Escaped quotes and the bytes inside of strings are determined for 64 bytes at once. A caller can therefore go from
//! the start of a string to its end in one step.

use super::scan;
use crate::script::output::special_bytes::{Instructions, Work, controls, with_best_instructions};

/// Number of bytes processed at a time.
const PIECE: usize = 16 * 64;

/// Iterates over the closing quotes of a text.
///
/// They are correct only if everything outside of strings is JSON, which the caller must check.
pub(super) struct StringEnds<'p, 'a> {
    /// Position after the first of the current 64 bytes, and the closing quotes among them that were not returned yet.
    base: u32,
    ahead: u64,
    /// A separate struct, so that the other fields stay in registers.
    piece: &'p mut Piece<'a>,
}

impl<'p, 'a> StringEnds<'p, 'a> {
    /// Iterates over the closing quotes of the piece's text.
    pub(super) fn of(piece: &'p mut Piece<'a>) -> Self {
        piece.turn_to(0);
        Self { base: 1, ahead: piece.ends[0], piece }
    }

    /// The position after the next closing quote. `None` after the last.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Option<u32> {
        while self.ahead == 0 {
            self.base += 64;
            self.ahead = self.piece.ends_from(self.base as usize - 1)?;
        }
        let place = self.ahead.trailing_zeros();
        self.ahead &= self.ahead - 1;
        Some(self.base + place)
    }
}

/// [`PIECE`] bytes of a text.
pub(super) struct Piece<'a> {
    /// The closing quotes: one bit for each byte.
    ends: [u64; PIECE / 64],
    strings: Strings<'a>,
}

impl<'a> Piece<'a> {
    pub(super) fn of(text: &'a [u8]) -> Self {
        let strings = Strings { text, within: 0, escape_end: 0, is_ascii: true, is_good: true };
        Self { ends: [0; _], strings }
    }

    /// Whether the content of all strings returned so far is valid JSON, except for invalid UTF-8.
    pub(super) fn is_good(&self) -> bool {
        self.strings.is_good
    }

    /// Whether the text up to the end of the last returned string is ASCII.
    pub(super) fn is_ascii(&self) -> bool {
        self.strings.is_ascii
    }

    /// The closing quotes among the 64 bytes at `base`, which follow the previous ones. `None` at the end.
    #[inline(always)]
    fn ends_from(&mut self, base: usize) -> Option<u64> {
        if base >= self.strings.text.len() {
            return None;
        }
        if base.is_multiple_of(PIECE) {
            self.turn_to(base);
        }
        Some(self.ends[base / 64 % (PIECE / 64)])
    }

    /// Processes the bytes from `start` on.
    #[inline(never)]
    fn turn_to(&mut self, start: usize) {
        with_best_instructions(TurnTo { piece: self, start });
    }
}

struct TurnTo<'p, 'a> {
    piece: &'p mut Piece<'a>,
    start: usize,
}

impl Work for TurnTo<'_, '_> {
    type Result = ();

    #[inline(always)]
    fn run(self, with: impl Instructions) {
        let Piece { ends, strings } = self.piece;
        let text = &strings.text[self.start..];
        let (blocks, rest) = text[..text.len().min(PIECE)].as_chunks();
        let (mut base, mut ends) = (self.start, ends.iter_mut());
        for (block, ends) in blocks.iter().zip(&mut ends) {
            *ends = strings.ends(base, block, with);
            base += 64;
        }
        if let Some(ends) = ends.next() {
            let mut padded = [b' '; 64];
            padded[..rest.len()].copy_from_slice(rest);
            *ends = strings.ends(base, &padded, with);
        }
    }
}

/// The state between two blocks of a text.
struct Strings<'a> {
    text: &'a [u8],
    /// All bits are set if the byte before the next 64 bytes is inside a string, or opens one.
    within: u64,
    /// The end of the last escape.
    escape_end: usize,
    is_ascii: bool,
    is_good: bool,
}

impl Strings<'_> {
    /// The closing quotes among the 64 bytes at `base`, some of which may be after the end.
    #[inline(always)]
    fn ends(&mut self, base: usize, bytes: &[u8; 64], with: impl Instructions) -> u64 {
        let mut marks = with.marks(bytes);
        if marks.backslashes != 0 || self.escape_end > base {
            marks.quotes &= !self.escaped(base, marks.backslashes);
        }
        let inside = with.parity(marks.quotes) ^ self.within;
        self.within = (inside.cast_signed() >> 63).cast_unsigned();
        if !marks.is_usual {
            self.is_good &= controls(bytes) & inside == 0;
            self.is_ascii &= bytes.is_ascii();
        }
        marks.quotes & !inside
    }

    /// The bytes covered by the escapes among the 64 bytes at `base`, and by the last escape before them.
    #[inline(never)]
    fn escaped(&mut self, base: usize, mut backslashes: u64) -> u64 {
        let mut escaped = first(self.escape_end.saturating_sub(base));
        while backslashes != 0 {
            let place = backslashes.trailing_zeros() as usize;
            backslashes &= backslashes - 1;
            let start = base + place;
            if start < self.escape_end {
                continue;
            }
            let Some(len) = escape_len(&self.text[start..]) else {
                self.is_good = false;
                break;
            };
            self.escape_end = start + len;
            escaped |= first(len) << place;
        }
        escaped
    }
}

/// The lowest `count` bits.
fn first(count: usize) -> u64 {
    u64::MAX.checked_shl(count as u32).map_or(u64::MAX, |others| !others)
}

/// Length of the escape at the start of the text, including the other half of a surrogate pair.
fn escape_len(text: &[u8]) -> Option<usize> {
    match text.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' if text.get(2..6)?.iter().all(u8::is_ascii_hexdigit) => scan::unicode_escape_len(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Finds the ends of strings byte by byte, in valid text.
    fn slow(text: &[u8]) -> Vec<usize> {
        let (mut ends, mut within, mut at) = (Vec::new(), false, 0);
        while let Some(&byte) = text.get(at) {
            match byte {
                b'\\' => at += escape_len(&text[at..]).expect("only good escapes here") - 1,
                b'"' if within => ends.push(at + 1),
                _ => {}
            }
            within ^= byte == b'"';
            at += 1;
        }
        ends
    }

    fn all(text: &[u8]) -> (Vec<usize>, bool) {
        let mut piece = Piece::of(text);
        let mut ends = StringEnds::of(&mut piece);
        let all = std::iter::from_fn(|| ends.next()).map(|end| end as usize).collect();
        (all, piece.is_good())
    }

    proptest! {
        #[test]
        fn string_ends_are_found_as_by_a_bytewise_search(
            parts in proptest::collection::vec(proptest::sample::select(vec![
                "\"", "\"a\":\"b\",", "\\\"", "\\\\", "\\u00e9", "\\ud83d\\ude00", "x", "seventeen letters", "\u{e9}",
            ]), 0..400),
        ) {
            let text = parts.concat();
            prop_assert_eq!(all(text.as_bytes()).0, slow(text.as_bytes()));
        }
    }

    #[test]
    fn control_characters_are_valid_only_outside_of_strings() {
        for before in 0..140 {
            let blank = " ".repeat(before);
            assert_eq!(all(format!("{blank}\n\"a\"\n").as_bytes()), (vec![before + 4], true));
            assert_eq!(all(format!("{blank}\"\n\"").as_bytes()), (vec![before + 3], false));
        }
    }

    #[test]
    fn an_invalid_escape_is_found() {
        for before in 0..140 {
            for none in ["\\x", "\\u12g4", "\\ud83d", "\\ude00", "\\u12"] {
                assert!(!all(format!("{}\"{none}\"", "a".repeat(before)).as_bytes()).1, "{none} behind {before}");
            }
        }
    }
}
