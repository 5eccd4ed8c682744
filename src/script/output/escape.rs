//! JSON text from bytes.

use super::special_bytes;
use super::special_bytes::{Instructions, PIECE};

/// Appends `bytes` as a JSON string. What is not UTF-8 becomes U+FFFD.
pub(crate) fn string(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    if special_bytes::is_plain(bytes) {
        out.extend_from_slice(bytes);
    } else {
        difficult(bytes, out);
    }
    out.push(b'"');
}

/// Writes many short texts, most of which can stand as they are: each is looked at and copied in one go, in pieces of a
/// fixed length. What a last piece brings too much is written over by what comes next.
pub(crate) struct Strings<'a, I> {
    with: I,
    out: &'a mut Vec<u8>,
    /// Where to go on; behind it are bytes to write over.
    at: usize,
}

impl<'a, I: Instructions> Strings<'a, I> {
    /// Begins at the end of `out`; what will be copied, quotes included, is about `len` bytes.
    #[inline]
    pub(crate) fn begin(with: I, out: &'a mut Vec<u8>, len: usize) -> Self {
        let at = out.len();
        out.resize(at + len + PIECE, 0);
        Self { with, out, at }
    }

    /// Cuts off what was not used.
    #[inline]
    pub(crate) fn end(self) {
        self.out.truncate(self.at);
    }

    /// Appends the first `len` bytes of `text`.
    #[inline(always)]
    pub(crate) fn copy(&mut self, text: &[u8], len: usize) {
        if !self.pieces(text, self.at, len, |_| 0) {
            self.slow(|out| out.extend_from_slice(&text[..len]));
        } else {
            self.at += len;
        }
    }

    /// Appends the first `len` bytes of `text` as [`string`] does.
    #[inline(always)]
    pub(crate) fn string(&mut self, text: &[u8], len: usize) {
        let end = self.at + len + 1;
        let with = self.with;
        if !self.pieces(text, self.at + 1, len, |piece| with.difficult(piece)) || end >= self.out.len() {
            self.slow(|out| string(&text[..len], out));
        } else {
            self.out[self.at] = b'"';
            self.out[end] = b'"';
            self.at = end + 1;
        }
    }

    /// Copies whole pieces to `at`; `false` when there are no whole ones here or there, or when `marks` finds something
    /// among the first `len` bytes.
    #[inline(always)]
    fn pieces(&mut self, text: &[u8], at: usize, len: usize, marks: impl Fn(&[u8; PIECE]) -> u32) -> bool {
        let rounded = len.next_multiple_of(PIECE);
        let (Some(from), Some(to)) = (text.get(..rounded), self.out.get_mut(at..at + rounded)) else { return false };
        let ((from, _), (to, _)) = (from.as_chunks(), to.as_chunks_mut());
        let mut found = 0;
        for nth in 0..from.len() {
            to[nth] = from[nth];
            // What the pieces before have found is whole pieces away from the end.
            found = if found == 0 { marks(&from[nth]) } else { return false };
        }
        // The last piece reaches past the end by as much as the length was rounded up.
        found.checked_shl((rounded - len) as u32).unwrap_or(0) == 0
    }

    #[cold]
    fn slow(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let room = self.out.len() - self.at;
        self.out.truncate(self.at);
        write(self.out);
        self.at = self.out.len();
        self.out.resize(self.at + room, 0);
    }
}

/// Appends what is to be escaped or not ASCII.
fn difficult(bytes: &[u8], out: &mut Vec<u8>) {
    match std::str::from_utf8(bytes) {
        Ok(_) => contents(bytes, out),
        Err(_) => {
            for chunk in bytes.utf8_chunks() {
                contents(chunk.valid().as_bytes(), out);
                if !chunk.invalid().is_empty() {
                    out.extend_from_slice("\u{fffd}".as_bytes());
                }
            }
        }
    }
}

/// Appends valid UTF-8 with quotes, backslashes and control characters escaped.
fn contents(text: &[u8], out: &mut Vec<u8>) {
    match special_bytes::first(text) {
        None => out.extend_from_slice(text),
        Some(plain) => from_special(text, plain, out),
    }
}

/// As [`contents`], with the place of the first special byte.
fn from_special(text: &[u8], first: usize, out: &mut Vec<u8>) {
    let mut escaped = [0; BLOCK * 6 + 8];
    let (mut rest, mut special) = (text, Some(first));
    while let Some(plain) = special {
        let (before, from) = rest.split_at(plain);
        out.extend_from_slice(before);
        // Where one special byte is, more are near, as in JSON within JSON: no use in looking for each by itself.
        let (dense, after) = from.split_at(from.len().min(BLOCK));
        let len = block(dense, &mut escaped);
        out.extend_from_slice(&escaped[..len]);
        (rest, special) = (after, special_bytes::first(after));
    }
    out.extend_from_slice(rest);
}

/// Bytes that are escaped at a time.
const BLOCK: usize = 64;

/// Escapes up to [`BLOCK`] bytes; returns how many they became. Every byte writes a whole entry and moves on by what counts
/// of it, so that there is no branch to guess.
fn block(text: &[u8], escaped: &mut [u8; BLOCK * 6 + 8]) -> usize {
    let mut len = 0;
    for &byte in text {
        let entry = ESCAPES[usize::from(byte)];
        escaped[len..len + 8].copy_from_slice(&entry);
        len += usize::from(entry[LEN]);
    }
    len
}

/// Place of the length in an entry of [`ESCAPES`].
const LEN: usize = 7;

/// What to write for a byte, and at [`LEN`] how much of it.
static ESCAPES: [[u8; 8]; 256] = {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut table = [[0; 8]; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = if byte < 0x20 {
            [b'\\', b'u', b'0', b'0', HEX[byte >> 4], HEX[byte & 15], 0, 6]
        } else {
            [byte as u8, 0, 0, 0, 0, 0, 0, 1]
        };
        byte += 1;
    }
    let short = [(b'"', b'"'), (b'\\', b'\\'), (b'\n', b'n'), (b'\r', b'r'), (b'\t', b't'), (0x08, b'b'), (0x0c, b'f')];
    let mut nth = 0;
    while nth < short.len() {
        let (byte, letter) = short[nth];
        table[byte as usize] = [b'\\', letter, 0, 0, 0, 0, 0, 2];
        nth += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct WriteAll<'a> {
        out: &'a mut Vec<u8>,
        texts: &'a [(String, String)],
        room: usize,
    }

    impl special_bytes::Work for WriteAll<'_> {
        type Result = ();

        fn run(self, with: impl Instructions) {
            let mut strings = Strings::begin(with, self.out, self.room);
            for (text, behind) in self.texts {
                let all = [text.as_bytes(), behind.as_bytes()].concat();
                strings.copy(&all, text.len());
                strings.string(&all, text.len());
            }
            strings.end();
        }
    }

    fn written(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        string(bytes, &mut out);
        out
    }

    #[test]
    fn f32_invalid_utf8_becomes_the_replacement_character() {
        assert_eq!(written(b"a\xff\xfe\"b\xe4\xbd"), "\"a\u{fffd}\u{fffd}\\\"b\u{fffd}\"".as_bytes());
    }

    proptest! {
        #[test]
        fn it_writes_what_serde_writes(
            text in ".{0,40}",
            dense in "[\"\\\\\u{0}-\u{20}a]{0,200}",
            json in "[\"a-z:,{}\u{4f60}]{0,200}",
        ) {
            for text in [text, dense, json] {
                prop_assert_eq!(written(text.as_bytes()), serde_json::to_vec(&text).unwrap());
            }
        }

        /// Each text with what lies behind it, of which nothing may be seen.
        #[test]
        fn many_strings_are_written_as_one_by_one(
            texts in proptest::collection::vec(("[a-z0-9 ]{0,90}|[a\"\u{e9}\n]{0,20}", "[a\"]{0,40}"), 0..8),
            room in 0..300_usize,
        ) {
            let mut expected = b"before".to_vec();
            for (text, _) in &texts {
                expected.extend_from_slice(text.as_bytes());
                string(text.as_bytes(), &mut expected);
            }
            let mut out = b"before".to_vec();
            special_bytes::with_best_instructions(WriteAll { out: &mut out, texts: &texts, room });
            prop_assert_eq!(out, expected);
        }

        #[test]
        fn any_bytes_make_a_valid_string(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let read: String = serde_json::from_slice(&written(&bytes)).unwrap();
            prop_assert_eq!(read, String::from_utf8_lossy(&bytes));
        }
    }
}
