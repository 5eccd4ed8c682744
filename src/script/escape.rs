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
        out.extend_from_slice(&rest[..plain]);
        special(rest[plain], out);
        rest = &rest[plain + 1..];
    }
    out.extend_from_slice(rest);
}

fn special(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        0x08 => out.extend_from_slice(b"\\b"),
        0x0c => out.extend_from_slice(b"\\f"),
        _ => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

/// Where the first byte is that must be escaped, eight bytes at a time.
#[inline]
fn first_special(text: &[u8]) -> Option<usize> {
    let mut words = text.chunks_exact(8);
    for (nth, word) in words.by_ref().enumerate() {
        let marks = specials(u64::from_le_bytes(word.try_into().expect("a chunk of eight has eight bytes")));
        if marks != 0 {
            return Some(nth * 8 + marks.trailing_zeros() as usize / 8);
        }
    }
    let tail = words.remainder();
    let at = tail.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\')?;
    Some(text.len() - tail.len() + at)
}

/// The top bit of every byte that must be escaped. A mark above a true one may be false, so only the lowest counts.
#[inline]
fn specials(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let zero_in = |word: u64| word.wrapping_sub(ONES) & !word;
    let quote = zero_in(word ^ (ONES * b'"' as u64));
    let backslash = zero_in(word ^ (ONES * b'\\' as u64));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & TOPS
}

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
        fn it_writes_what_serde_reads_back(text in ".{0,40}", dense in "[\"\\\\\u{0}-\u{20}a]{0,40}") {
            for text in [text, dense] {
                prop_assert_eq!(serde_json::from_slice::<String>(&written(text.as_bytes())).unwrap(), text);
            }
        }

        #[test]
        fn any_bytes_make_a_valid_string(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let read: String = serde_json::from_slice(&written(&bytes)).unwrap();
            prop_assert_eq!(read, String::from_utf8_lossy(&bytes));
        }
    }
}
