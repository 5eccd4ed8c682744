//! Writes bytes as JSON text.

use super::special_bytes;
use super::special_bytes::{Instructions, PIECE};

/// Appends `bytes` as a JSON string. Invalid UTF-8 becomes U+FFFD.
pub(crate) fn string(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    inside(bytes, out);
    out.push(b'"');
}

/// As [`string`], without the quotes.
fn inside(bytes: &[u8], out: &mut Vec<u8>) {
    if special_bytes::is_plain(bytes) {
        out.extend_from_slice(bytes);
    } else {
        difficult(bytes, out);
    }
}

/// The first `len` bytes of a text. The bytes after them may be read, but have no meaning.
#[derive(Clone, Copy)]
pub(crate) struct Cut<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) len: usize,
}

/// Number of bytes by which [`pairs`] extends its output at a time.
const ROOM: usize = 1024;

/// Appends pairs of a text that is copied and a text that is written as the inside of a JSON string, as [`string`] writes
/// it.
#[inline(always)]
pub(crate) fn pairs<'a>(with: impl Instructions, pairs: impl Iterator<Item = (Cut<'a>, Cut<'a>)>, out: &mut Vec<u8>) {
    let mut at = out.len();
    for (label, text) in pairs {
        let behind = at + label.len;
        let end = behind + text.len;
        if out.len() < end + PIECE {
            out.resize(end + PIECE + ROOM, 0);
        }
        if pieces(label, &mut out[at..], |_| 0) && pieces(text, &mut out[behind..], |piece| with.difficult(piece)) {
            at = end;
            continue;
        }
        out.truncate(at);
        out.extend_from_slice(&label.text[..label.len]);
        inside(&text.text[..text.len], out);
        at = out.len();
    }
    out.truncate(at);
}

/// Copies a text in pieces of a fixed length, at least one. Returns `false` when the text or the room has too few
/// bytes for whole pieces, or when `marks` finds something in the text. Extra bytes of the last piece are overwritten
/// by what follows.
#[inline(always)]
fn pieces(text: Cut<'_>, room: &mut [u8], marks: impl Fn(&[u8; PIECE]) -> u32) -> bool {
    let (from, to) = (text.text.as_chunks().0, room.as_chunks_mut().0);
    let (mut at, mut left) = (0, text.len);
    loop {
        let (Some(piece), Some(place)) = (from.get(at), to.get_mut(at)) else { return false };
        *place = *piece;
        let found = marks(piece);
        if left <= PIECE {
            // The last piece extends past the end of the text.
            return u64::from(found) & !(u64::MAX << left) == 0;
        }
        if found != 0 {
            return false;
        }
        (at, left) = (at + 1, left - PIECE);
    }
}

/// Appends bytes that contain escapes or non-ASCII characters.
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

/// As [`contents`], with the position of the first special byte.
fn from_special(text: &[u8], first: usize, out: &mut Vec<u8>) {
    let mut escaped = [0; BLOCK * 6 + 8];
    let (mut rest, mut special) = (text, Some(first));
    while let Some(plain) = special {
        let (before, from) = rest.split_at(plain);
        out.extend_from_slice(before);
        // Special bytes usually occur close together, as in JSON within JSON, so a block is escaped without a search
        // for each.
        let (dense, after) = from.split_at(from.len().min(BLOCK));
        let len = block(dense, &mut escaped);
        out.extend_from_slice(&escaped[..len]);
        (rest, special) = (after, special_bytes::first(after));
    }
    out.extend_from_slice(rest);
}

/// Number of bytes escaped at a time.
const BLOCK: usize = 64;

/// Escapes up to [`BLOCK`] bytes; returns the length of the result. Every byte writes a whole entry and advances by
/// the entry's length, so there are no unpredictable branches.
fn block(text: &[u8], escaped: &mut [u8; BLOCK * 6 + 8]) -> usize {
    let mut len = 0;
    for &byte in text {
        let entry = ESCAPES[usize::from(byte)];
        escaped[len..len + 8].copy_from_slice(&entry);
        len += usize::from(entry[LEN]);
    }
    len
}

/// Index of the length in an entry of [`ESCAPES`].
const LEN: usize = 7;

/// The escaped form of each byte, with its length at [`LEN`].
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
    }

    impl special_bytes::Work for WriteAll<'_> {
        type Result = ();

        fn run(self, with: impl Instructions) {
            let all: Vec<_> = self.texts.iter().map(|(text, behind)| (text.len(), format!("{text}{behind}"))).collect();
            let cuts = all.iter().map(|(len, text)| Cut { text: text.as_bytes(), len: *len });
            pairs(with, cuts.map(|cut| (cut, cut)), self.out);
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
        fn escaping_matches_serde(
            text in ".{0,40}",
            dense in "[\"\\\\\u{0}-\u{20}a]{0,200}",
            json in "[\"a-z:,{}\u{4f60}]{0,200}",
        ) {
            for text in [text, dense, json] {
                prop_assert_eq!(written(text.as_bytes()), serde_json::to_vec(&text).unwrap());
            }
        }

        /// Each text is followed by bytes that must not appear in the result.
        #[test]
        fn many_pairs_are_written_as_if_one_by_one(
            texts in proptest::collection::vec(("[a-z0-9 ]{0,90}|[a\"\u{e9}\n]{0,20}", "[a\"]{0,40}"), 0..8),
        ) {
            let mut expected = b"before".to_vec();
            for (text, _) in &texts {
                expected.extend_from_slice(text.as_bytes());
                inside(text.as_bytes(), &mut expected);
            }
            let mut out = b"before".to_vec();
            special_bytes::with_best_instructions(WriteAll { out: &mut out, texts: &texts });
            prop_assert_eq!(out, expected);
        }

        #[test]
        fn any_bytes_become_a_valid_string(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let read: String = serde_json::from_slice(&written(&bytes)).unwrap();
            prop_assert_eq!(read, String::from_utf8_lossy(&bytes));
        }
    }
}
