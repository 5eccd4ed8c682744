//! Checks whether a text is JSON (RFC 8259).
//!
//! The text is scanned once, without building a value. Strings, the largest part of a log, are not scanned byte by
//! byte: the scan skips from the start of a string to its end, which [`StringEnds`] returns.

use super::scan;
use super::string_ends::{Piece, StringEnds};
use crate::script::output::special_bytes;
use crate::script::output::special_bytes::{Instructions, Work};

/// Maximum nesting of objects and arrays: one bit for each, and one for the document.
#[cfg(test)]
const MAX_LEVELS_DEEP: usize = u64::BITS as usize - 1;

/// Maximum length of a text: positions in it have 32 bits.
const MAX_LEN: usize = 1 << 31;

/// Minimum length of a number without an exponent that may be out of range for a double.
const LONG_NUMBER: usize = 300;

/// The result of the check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// JSON on one line.
    Json,
    /// JSON with line breaks in the white space between its parts.
    JsonOnLines,
    /// Not decided here.
    Unknown,
}

/// Checks whether the text is one JSON value in UTF-8, with optional white space around it, nested at most 63 deep,
/// and accepted by every reader. [`Look::Unknown`] does not mean that it is not JSON: it may be nested deeper, or
/// contain an unpaired surrogate or a number out of range for a double.
pub(super) fn look(text: &[u8]) -> Look {
    // One instruction finds the next set bit, if the machine is known to have it.
    special_bytes::with_best_instructions(LookAt(text))
}

struct LookAt<'a>(&'a [u8]);

impl Work for LookAt<'_> {
    type Result = Look;

    #[inline(always)]
    fn run(self, _: impl Instructions) -> Look {
        let Self(text) = self;
        if text.len() > MAX_LEN {
            return Look::Unknown;
        }
        let mut piece = Piece::of(text);
        let mut walk = Walk { text, at: 0, ends: StringEnds::of(&mut piece), has_breaks: false };
        let is_whole = walk.document().is_some() && walk.at as usize == text.len();
        let has_breaks = walk.has_breaks;
        if !is_whole || !piece.is_good() || !(piece.is_ascii() || std::str::from_utf8(text).is_ok()) {
            Look::Unknown
        } else if has_breaks {
            Look::JsonOnLines
        } else {
            Look::Json
        }
    }
}

/// All fields stay in registers, so no called function may borrow it.
struct Walk<'p, 'a> {
    text: &'a [u8],
    /// With 32 bits, so that the compiler knows that a small addition does not overflow.
    at: u32,
    ends: StringEnds<'p, 'a>,
    /// Whether there was a line break.
    has_breaks: bool,
}

/// `None` when the text is not JSON.
type Walked = Option<()>;

impl Walk<'_, '_> {
    /// One value with optional white space around it.
    #[inline(always)]
    fn document(&mut self) -> Walked {
        // The open containers, the innermost in the lowest bit: 1 for an object. The 1 above them is the document.
        let mut open = 1_u64;
        let mut next = self.token();
        'value: loop {
            match next {
                b'"' => self.string()?,
                b'{' | b'[' => {
                    if open.leading_zeros() == 0 {
                        return None;
                    }
                    let object = next == b'{';
                    open = open << 1 | u64::from(object);
                    self.at += 1;
                    next = self.token();
                    if next != closing(object) {
                        if object {
                            self.key(next)?;
                            next = self.token();
                        }
                        continue 'value;
                    }
                    open >>= 1;
                    self.at += 1;
                }
                b'-' | b'0'..=b'9' => self.at = number_end(self.text, self.at as usize)? as u32,
                b't' => self.word(*b"true")?,
                b'f' => self.word(*b"false")?,
                b'n' => self.word(*b"null")?,
                _ => return None,
            }
            loop {
                if open == 1 {
                    self.token();
                    return Some(());
                }
                let object = open & 1 == 1;
                // Fast path for string members without white space between them, the largest part of a log.
                while object && self.is_next(*b",\"") {
                    self.string()?;
                    if !self.is_next(*b":\"") {
                        self.colon()?;
                        next = self.token();
                        continue 'value;
                    }
                    self.string()?;
                }
                next = self.token();
                self.at += 1;
                if next == b',' {
                    next = self.token();
                    if object {
                        self.key(next)?;
                        next = self.token();
                    }
                    continue 'value;
                }
                if next != closing(object) {
                    return None;
                }
                open >>= 1;
            }
        }
    }

    /// The byte at this position; after the end 0, which is never valid.
    #[inline(always)]
    fn byte(&self) -> u8 {
        self.text.get(self.at as usize).copied().unwrap_or(0)
    }

    /// Skips white space; returns the byte after it.
    #[inline(always)]
    fn token(&mut self) -> u8 {
        let byte = self.byte();
        if byte > b' ' {
            return byte;
        }
        loop {
            match self.byte() {
                b' ' | b'\t' => {}
                b'\n' | b'\r' => self.has_breaks = true,
                byte => return byte,
            }
            self.at += 1;
        }
    }

    /// A key and its colon.
    #[inline(always)]
    fn key(&mut self, first: u8) -> Walked {
        if first != b'"' {
            return None;
        }
        self.string()?;
        self.colon()
    }

    #[inline(always)]
    fn colon(&mut self) -> Walked {
        if self.token() != b':' {
            return None;
        }
        self.at += 1;
        Some(())
    }

    /// Whether these bytes are next.
    #[inline(always)]
    fn is_next<const N: usize>(&self, bytes: [u8; N]) -> bool {
        let at = self.at as usize;
        self.text.get(at..at + N).is_some_and(|next| next == bytes)
    }

    /// A string whose opening quote is next.
    #[inline(always)]
    fn string(&mut self) -> Walked {
        self.at = self.ends.next()?;
        Some(())
    }

    #[inline(always)]
    fn word<const N: usize>(&mut self, word: [u8; N]) -> Walked {
        if !self.is_next(word) {
            return None;
        }
        self.at += N as u32;
        Some(())
    }
}

/// The end of the number that starts at this position.
#[inline(never)]
fn number_end(text: &[u8], start: usize) -> Option<usize> {
    let byte = |at: usize| text.get(at).copied().unwrap_or(0);
    let mut at = start + usize::from(byte(start) == b'-');
    at = if byte(at) == b'0' { at + 1 } else { digits_end(text, at)? };
    if byte(at) == b'.' {
        at = digits_end(text, at + 1)?;
    }
    let has_exponent = matches!(byte(at), b'e' | b'E');
    if has_exponent {
        at += 1;
        at = digits_end(text, at + usize::from(matches!(byte(at), b'+' | b'-')))?;
    }
    let may_be_beyond = has_exponent || at - start > LONG_NUMBER;
    (!may_be_beyond || !scan::is_beyond_doubles(&text[start..at])).then_some(at)
}

/// The end of one or more digits that start at this position.
#[inline]
fn digits_end(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    while let Some(eight) = text.get(at..).and_then(<[u8]>::first_chunk) {
        let values = u64::from_le_bytes(*eight) ^ u64::from_le_bytes([b'0'; 8]);
        // Sets the highest bit of each byte above 9. An overflow changes only the bytes after the first of them.
        let others = (values | values.wrapping_add(u64::from_le_bytes([0x7f - 9; 8]))) & u64::from_le_bytes([0x80; 8]);
        at += others.trailing_zeros() as usize / 8;
        if others != 0 {
            return (at > start).then_some(at);
        }
    }
    at += text.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (at > start).then_some(at)
}

/// The byte that ends an object or an array.
#[inline(always)]
fn closing(object: bool) -> u8 {
    if object { b'}' } else { b']' }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_json(text: &[u8]) -> bool {
        look(text) != Look::Unknown
    }

    /// Compares with serde_json's `Value`, which is as strict as any receiver. No text here exceeds its nesting
    /// limit.
    #[track_caller]
    fn check(text: &[u8]) {
        let strict = serde_json::from_slice::<serde_json::Value>(text).is_ok();
        let has_breaks = text.contains(&b'\n') || text.contains(&b'\r');
        let expected = match (strict, has_breaks) {
            (false, _) => Look::Unknown,
            (true, false) => Look::Json,
            (true, true) => Look::JsonOnLines,
        };
        assert_eq!(look(text), expected, "{:?}", String::from_utf8_lossy(text));
    }

    const TEXTS: [&str; 13] = [
        r#"{"a":[1,-2.5e+10,0,{"b":null}],"c":{},"d":[],"e":"x\"\\\/\b\f\n\r\t\u00e9\uD800","f":true,"g":false}"#,
        r#" { "eventId" : "0123456789abcdef-0123456789abcdef-0123456789abcdef-0123456789abcdef" , "n" : [ ] } "#,
        "{\"\u{4f60}\u{597d}\":\"\u{1f600} and a long text behind it, longer than one block of sixty-four bytes\"}",
        "\t\r\n[1 , 2\n]\r\n",
        "[-0.0e-0,1E5,123456789012345678901234567890]",
        "\"a string alone\"",
        "0",
        "-1",
        "null",
        "[[[[[[[[[[{\"a\":[[[[]]]]}]]]]]]]]]]",
        "{\"a\":1,\"a\":2}",
        "[\"\\ud83d\\ude00\",\"\\ud83d\",\"\\uDE00\\ud83d\\u0041\",1e308,1e309]",
        "",
    ];

    #[test]
    fn it_agrees_with_serde_on_every_cut_of_every_text() {
        for text in TEXTS {
            for cut in 0..=text.len() {
                check(&text.as_bytes()[..cut]);
                check(&text.as_bytes()[cut..]);
            }
        }
    }

    #[test]
    fn it_agrees_with_serde_on_every_byte_at_every_place() {
        for text in TEXTS {
            for at in 0..text.len() {
                for byte in 0..=255 {
                    let mut text = text.as_bytes().to_vec();
                    text[at] = byte;
                    check(&text);
                }
            }
        }
    }

    #[test]
    fn bytes_at_the_edge_of_a_block_are_checked() {
        for len in 50..80 {
            for end in ["\"", "\\\"\"", "\\u00e9\"", "\\\\\"", "\\\\\\\"", "\n\"", "\u{e9}\"", "", "\\", "\\u00"] {
                check(format!("\"{}{end}", "a".repeat(len)).as_bytes());
                check(format!("[\"{}{end},1]", "a".repeat(len)).as_bytes());
            }
        }
    }

    #[test]
    fn nesting_is_limited() {
        let nested = |depth: usize| [b"[".repeat(depth), b"]".repeat(depth)].concat();
        assert!(is_json(&nested(MAX_LEVELS_DEEP)));
        assert!(!is_json(&nested(MAX_LEVELS_DEEP + 1)));
        let object = |depth: usize| ["{\"a\":".repeat(depth), "1".to_owned(), "}".repeat(depth)].concat();
        assert!(is_json(object(MAX_LEVELS_DEEP).as_bytes()));
        assert!(!is_json(object(MAX_LEVELS_DEEP + 1).as_bytes()));
        assert!(!is_json(&b"[".repeat(100_000)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn it_agrees_with_serde_on_text_similar_to_json(
            text in proptest::collection::vec(proptest::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\"a\":", "\\", "\\u12aF", "\\n", "0", "1", "-", ".", "e",
                "+", "true", "false", "null", "nul", " ", "\n", "\u{0}", "\u{e9}", "{}", "[]", "{\"k\":", "[1,",
            ]), 0..24),
        ) {
            check(text.concat().as_bytes());
        }

        /// The lengths are around one and two blocks of the search for the ends of strings, and around its largest piece.
        #[test]
        fn it_agrees_with_serde_across_the_borders_of_blocks(
            len in prop_oneof![58..70_usize, 122..134_usize, 1018..1030_usize],
            parts in proptest::collection::vec(proptest::sample::select(vec![
                "\",\"a\":\"", "\",\"a\" : \"", "\",\"b\":{\"c\":\"", "\"},\"d\":\"", "\"}", "\",\"e\":[1,\"", "\"],\"f\":\"",
                "\",\"g\":12345678901,\"h\":\"", "\",\"i\":-1.5e-3 ,\"j\":\"", "\",\"k\":\"\",\"", "\\\"", "\\\\", "\\",
                "\\u00e9", "\\ud83d\\ude00", "\\ud83d", "\"", ",", ":", "\n", "\u{e9}", "\u{1f600}", "x", "seventeen letters",
            ]), 0..12),
            end in proptest::sample::select(vec!["\"}", "\"}}", "\"]}", "\"", "}"]),
        ) {
            check(format!("{{\"\":\"{}{}{end}", "a".repeat(len), parts.concat()).as_bytes());
        }

        #[test]
        fn it_agrees_with_serde_on_numbers(
            digits in proptest::collection::vec(proptest::sample::select(vec!["0", "1", "9", "12345678", ".", "e", "E+", "-", "/", ":", "\u{80}"]), 0..10),
            end in proptest::sample::select(vec!["", "]", ",0]"]),
        ) {
            check(format!("[{}{end}", digits.concat()).as_bytes());
        }

        #[test]
        fn it_agrees_with_serde_on_any_bytes(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            check(&text);
            check(&[b"\"", text.as_slice(), b"\""].concat());
        }
    }
}
