//! JSON text from bytes.

/// Appends `bytes` as a JSON string. What is not UTF-8 becomes U+FFFD.
pub(super) fn string(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 2);
    out.push(b'"');
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
    out.push(b'"');
}

/// Appends valid UTF-8 with quotes, backslashes and control characters escaped.
fn contents(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(plain) = first_special(rest) {
        let (before, from) = rest.split_at(plain);
        out.extend_from_slice(before);
        // Where one special byte is, more are near, as in JSON within JSON: no use in looking for each by itself.
        let (dense, after) = from.split_at(from.len().min(BLOCK));
        block(dense, out);
        rest = after;
    }
    out.extend_from_slice(rest);
}

/// Where the first byte is that must be escaped, eight bytes at a time.
#[inline]
fn first_special(text: &[u8]) -> Option<usize> {
    let (words, tail) = text.as_chunks::<8>();
    for (nth, word) in words.iter().enumerate() {
        let marks = specials(u64::from_le_bytes(*word));
        if marks != 0 {
            return Some(nth * 8 + marks.trailing_zeros() as usize / 8);
        }
    }
    let at = tail.iter().position(|&byte| ESCAPES[usize::from(byte)][LEN] != 0)?;
    Some(text.len() - tail.len() + at)
}

/// Bytes that are escaped at a time.
const BLOCK: usize = 64;

/// Appends up to [`BLOCK`] bytes, escaped. Every step writes eight bytes and moves on by those that count, so that the
/// common lengths take no branch.
fn block(text: &[u8], out: &mut Vec<u8>) {
    let mut escaped = [0; BLOCK * 6 + 8];
    let mut len = 0;
    let (words, tail) = text.as_chunks::<8>();
    for &bytes in words {
        let mut word = u64::from_le_bytes(bytes);
        let mut marks = specials(word);
        let mut left = 8;
        while marks != 0 {
            put(&mut escaped, len, word.to_le_bytes());
            let plain = marks.trailing_zeros() / 8;
            let escape = ESCAPES[(word >> (8 * plain)) as usize & 0xff];
            len += plain as usize;
            put(&mut escaped, len, escape);
            len += usize::from(escape[LEN]);
            // In two steps: all eight bytes at once would be too far a shift.
            word = word >> (8 * plain) >> 8;
            marks = marks >> (8 * plain) >> 8;
            left -= plain as usize + 1;
        }
        put(&mut escaped, len, word.to_le_bytes());
        len += left;
    }
    for &byte in tail {
        let escape = ESCAPES[usize::from(byte)];
        let plain = escape[LEN] == 0;
        put(&mut escaped, len, if plain { [byte, 0, 0, 0, 0, 0, 0, 0] } else { escape });
        len += if plain { 1 } else { usize::from(escape[LEN]) };
    }
    out.extend_from_slice(&escaped[..len]);
}

#[inline]
fn put(escaped: &mut [u8], at: usize, bytes: [u8; 8]) {
    escaped[at..at + 8].copy_from_slice(&bytes);
}

/// The top bit of every byte that must be escaped.
#[inline]
fn specials(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    // No sum carries over into the next byte, so that every mark is true and not the lowest alone.
    let below = |word: u64, limit: u64| !(((word & !TOPS) + ONES * (0x80 - limit)) | word) & TOPS;
    let quote = below(word ^ (ONES * b'"' as u64), 1);
    let backslash = below(word ^ (ONES * b'\\' as u64), 1);
    let control = below(word, 0x20);
    quote | backslash | control
}

/// Place of the length in an entry of [`ESCAPES`].
const LEN: usize = 7;

/// What to write for a byte, and at [`LEN`] how much of it; nothing for a byte that stands for itself.
static ESCAPES: [[u8; 8]; 256] = {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut table = [[0; 8]; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = [b'\\', b'u', b'0', b'0', HEX[byte >> 4], HEX[byte & 15], 0, 6];
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

/// Appends a float as the shortest JSON number that reads back the same, a whole one without a fraction; `false` for
/// what JSON has no number for.
#[must_use]
pub(super) fn float(number: f64, out: &mut Vec<u8>) -> bool {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if !number.is_finite() {
        return false;
    }
    if number.fract() == 0.0 && number.abs() <= EXACT {
        integer(number as i64, out);
    } else {
        serde_json::to_writer(out, &number).expect("a Vec takes all that is written");
    }
    true
}

/// Appends an integer.
pub(super) fn integer(number: i64, out: &mut Vec<u8>) {
    serde_json::to_writer(out, &number).expect("a Vec takes all that is written");
}

/// Appends JSON that is known to be valid, on one line.
pub(super) fn splice(json: &[u8], out: &mut Vec<u8>) {
    if memchr::memchr2(b'\n', b'\r', json).is_none() {
        out.extend_from_slice(json);
    } else {
        // In valid JSON a control character can only be white space between two tokens.
        out.extend(json.iter().filter(|&&byte| byte >= b' '));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        string(bytes, &mut out);
        out
    }

    #[test]
    fn invalid_utf8_becomes_the_replacement_character() {
        assert_eq!(written(b"a\xff\xfe\"b\xe4\xbd"), "\"a\u{fffd}\u{fffd}\\\"b\u{fffd}\"".as_bytes());
    }

    #[test]
    fn whole_floats_have_no_fraction_and_others_read_back() {
        let check = |number: f64, expected: &str| {
            let mut out = Vec::new();
            assert!(float(number, &mut out));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check(5.0, "5");
        check(-0.0, "0");
        check(0.1, "0.1");
        check(1e15, "1000000000000000");
        check(1e300, "1e+300");
        assert!(!float(f64::NAN, &mut Vec::new()));
        assert!(!float(f64::NEG_INFINITY, &mut Vec::new()));
    }

    #[test]
    fn spliced_json_is_on_one_line() {
        let mut out = Vec::new();
        splice(b"{\r\n\t\"a b\": [1,\n2]}", &mut out);
        assert_eq!(out, b"{\"a b\": [1,2]}");
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

        #[test]
        fn any_bytes_make_a_valid_string(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let read: String = serde_json::from_slice(&written(&bytes)).unwrap();
            prop_assert_eq!(read, String::from_utf8_lossy(&bytes));
        }
    }
}
