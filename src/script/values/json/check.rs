//! Checks whether a text is JSON (RFC 8259).
//!
//! The text is scanned once, without building a value. Strings, the largest part of a log, are not scanned byte by
//! byte: the scan skips from the start of a string to its end, which [`StringEnds`] returns.

use super::scan;
use super::string_ends::{Piece, StringEnds};
use crate::script::output::special_bytes;
use crate::script::output::special_bytes::{Instructions, Work};

/// Maximum nesting of objects and arrays.
pub(super) const MAX_LEVELS_DEEP: u32 = 64;

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

/// Checks whether the text is one JSON value in UTF-8, with optional white space around it, nested at most 64 deep,
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
        let mut piece = Piece::of(text);
        let mut walk = Walk { text, at: 0, ends: StringEnds::of(&mut piece), has_breaks: false };
        let is_whole = walk.document().is_some() && walk.at == text.len();
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
    at: usize,
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
        // The open containers, the innermost in the lowest bit: 1 for an object.
        let (mut open, mut depth) = (0_u64, 0);
        'value: loop {
            match self.token() {
                b'"' => self.string()?,
                first @ (b'{' | b'[') => {
                    if depth == MAX_LEVELS_DEEP {
                        return None;
                    }
                    self.at += 1;
                    let object = first == b'{';
                    let next = self.token();
                    if next == if object { b'}' } else { b']' } {
                        self.at += 1;
                    } else {
                        depth += 1;
                        open = open << 1 | u64::from(object);
                        if object {
                            self.key()?;
                        }
                        continue 'value;
                    }
                }
                b'-' | b'0'..=b'9' => self.number()?,
                b't' => self.word(*b"true")?,
                b'f' => self.word(*b"false")?,
                b'n' => self.word(*b"null")?,
                _ => return None,
            }
            loop {
                // Fast path for string members without white space between them, the largest part of a log.
                while open & 1 == 1 && self.is_next(*b",\"") {
                    self.string()?;
                    if !self.is_next(*b":\"") {
                        self.colon()?;
                        continue 'value;
                    }
                    self.string()?;
                }
                let next = self.token();
                if depth == 0 {
                    return Some(());
                }
                let object = open & 1 == 1;
                self.at += 1;
                if next == b',' {
                    if object {
                        self.key()?;
                    }
                    continue 'value;
                }
                if next != if object { b'}' } else { b']' } {
                    return None;
                }
                open >>= 1;
                depth -= 1;
            }
        }
    }

    /// The byte at this position; after the end 0, which is never valid.
    #[inline(always)]
    fn byte(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
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
    fn key(&mut self) -> Walked {
        if self.token() != b'"' {
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
        self.text.get(self.at..).and_then(<[u8]>::first_chunk) == Some(&bytes)
    }

    /// A string whose opening quote is next.
    #[inline(always)]
    fn string(&mut self) -> Walked {
        self.at = self.ends.next()?;
        Some(())
    }

    #[inline(always)]
    fn number(&mut self) -> Walked {
        let start = self.at;
        if self.byte() == b'-' {
            self.at += 1;
        }
        if self.byte() == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        let has_exponent = matches!(self.byte(), b'e' | b'E');
        if has_exponent {
            self.at += 1;
            if matches!(self.byte(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        let may_be_beyond = has_exponent || self.at - start > LONG_NUMBER;
        (!may_be_beyond || !scan::is_beyond_doubles(&self.text[start..self.at])).then_some(())
    }

    /// One or more digits.
    #[inline(always)]
    fn digits(&mut self) -> Walked {
        let digits = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += digits;
        (digits > 0).then_some(())
    }

    #[inline(always)]
    fn word<const N: usize>(&mut self, word: [u8; N]) -> Walked {
        if !self.is_next(word) {
            return None;
        }
        self.at += N;
        Some(())
    }
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
    fn nesting_is_limited_to_sixty_four_levels() {
        let nested = |depth: usize| [b"[".repeat(depth), b"]".repeat(depth)].concat();
        assert!(is_json(&nested(64)));
        assert!(!is_json(&nested(65)));
        let object = |depth: usize| ["{\"a\":".repeat(depth), "1".to_owned(), "}".repeat(depth)].concat();
        assert!(is_json(object(64).as_bytes()));
        assert!(!is_json(object(65).as_bytes()));
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

        #[test]
        fn it_agrees_with_serde_on_any_bytes(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            check(&text);
            check(&[b"\"", text.as_slice(), b"\""].concat());
        }
    }
}
