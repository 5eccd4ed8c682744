//! Reversible escapes for names in formats that allow few characters: header fields, keys, parameter names.

use sha2::{Digest as _, Sha256};

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Bytes of the digest that replaces the rest of a long name, and its length when written.
const DIGEST_BYTES: usize = 6;
const DIGEST_LEN: usize = 2 + 2 * DIGEST_BYTES + 1;

/// Appends a name of at most `most` bytes, all of them `allowed`; letters, digits and `_` must be allowed.
///
/// Each other byte is escaped as `_x`, two upper-case hexadecimal digits, and `_`: `a b` becomes `a_x20_b`. An `_`
/// that would look like the start of such an escape is escaped too. So different names stay different, and each can
/// be decoded. An empty or too long name is cut, and ends with `_h`, twelve digits of the SHA-256 of the whole name,
/// and `_`.
pub fn write(name: &[u8], most: usize, allowed: impl Fn(u8) -> bool, out: &mut Vec<u8>) {
    let is_plain = |at: usize| allowed(name[at]) && !(name[at] == b'_' && reads_as_escape(&name[at + 1..]));
    if !name.is_empty() && name.len() <= most && (0..name.len()).all(is_plain) {
        out.extend_from_slice(name);
        return;
    }
    let start = out.len();
    let (mut at, mut cut) = (0, start);
    while at < name.len() && out.len() - start <= most {
        let odd = (at..name.len()).take_while(|&at| !is_plain(at)).count();
        if odd == 0 {
            out.push(name[at]);
            at += 1;
        } else {
            out.extend_from_slice(b"_x");
            push_hex(&name[at..at + odd], out);
            out.push(b'_');
            at += odd;
        }
        if out.len() - start + DIGEST_LEN <= most {
            cut = out.len();
        }
    }
    if name.is_empty() || out.len() - start > most {
        out.truncate(cut);
        out.extend_from_slice(b"_h");
        push_hex(&Sha256::digest(name)[..DIGEST_BYTES], out);
        out.push(b'_');
    }
}

/// Whether an `_` followed by this text would look like the start of an escape or a digest.
fn reads_as_escape(behind: &[u8]) -> bool {
    let is_hex = |byte: &u8| HEX.contains(byte);
    match behind {
        [b'x', digits @ ..] => digits.get(..2).is_some_and(|digits| digits.iter().all(is_hex)),
        [b'h', digits @ ..] => digits.get(..2 * DIGEST_BYTES).is_some_and(|digits| digits.iter().all(is_hex)),
        _ => false,
    }
}

fn push_hex(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(bytes.iter().flat_map(|byte| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(name: &[u8], most: usize) -> String {
        let mut out = b"before".to_vec();
        write(name, most, |byte| byte.is_ascii_alphanumeric() || byte == b'_', &mut out);
        String::from_utf8(out.split_off(6)).unwrap()
    }

    /// The rule that docs/syslog.md gives to the authors of parsers.
    fn read(text: &str) -> Vec<u8> {
        let digit = |digit: &u8| HEX.iter().position(|known| known == digit).map(|value| value as u8);
        let (mut name, mut rest) = (Vec::new(), text.as_bytes());
        while let [first, behind @ ..] = rest {
            let digits = behind.strip_prefix(b"x").unwrap_or_default();
            let len = digits.iter().take_while(|byte| digit(byte).is_some()).count();
            if *first == b'_' && len > 0 && len % 2 == 0 && digits.get(len) == Some(&b'_') {
                name.extend(
                    digits[..len].chunks(2).map(|pair| digit(&pair[0]).unwrap() << 4 | digit(&pair[1]).unwrap()),
                );
                rest = &digits[len + 1..];
            } else {
                name.push(*first);
                rest = behind;
            }
        }
        name
    }

    #[test]
    fn a_name_keeps_allowed_characters_and_escapes_the_rest() {
        for plain in ["host", "__topic__", "a_xb", "max_hits", "_x4", "_h0123"] {
            assert_eq!(written(plain.as_bytes(), 32), plain);
        }
        assert_eq!(written(b"a b", 32), "a_x20_b");
        assert_eq!(written("用户".as_bytes(), 32), "_xE794A8E688B7_");
        assert_eq!(written("名称".as_bytes(), 32), "_xE5908DE7A7B0_");
        assert_eq!(written(b"a_x20_b", 32), "a_x5F_x20_b");
        assert_eq!(written(b"\xff", 32), "_xFF_");
    }

    #[test]
    fn a_name_that_is_too_long_or_empty_ends_with_a_digest() {
        assert_eq!(
            written(&[b'a'; 33], 32),
            "aaaaaaaaaaaaaaaaa_h37AB1D5F5B1C_".replace("37AB1D5F5B1C", &digest(&[b'a'; 33]))
        );
        assert_eq!(written(b"", 32), format!("_h{}_", digest(b"")));
        assert_eq!(written("用户名称不限".as_bytes(), 32), format!("_h{}_", digest("用户名称不限".as_bytes())));
        let short = written(&[b'a'; 33], 32);
        assert_ne!(written(short.as_bytes(), 64), short, "a name that reads as if it had been cut");
    }

    fn digest(name: &[u8]) -> String {
        Sha256::digest(name)[..6].iter().map(|byte| format!("{byte:02X}")).collect()
    }

    proptest! {
        #[test]
        fn every_name_can_be_decoded(name in proptest::collection::vec(
            prop_oneof![any::<u8>(), proptest::sample::select(&b"__xxhAF09 "[..])], 1..12,
        )) {
            prop_assert_eq!(read(&written(&name, 1000)), name);
        }

        #[test]
        fn shortened_names_fit_and_stay_different(name in "[a_x ]{1,80}", other in "[a_x ]{1,80}", most in 20_usize..60) {
            let (short, shorter) = (written(name.as_bytes(), most), written(other.as_bytes(), most));
            prop_assert!(short.len() <= most);
            prop_assert_eq!(short == shorter, name == other);
        }
    }
}
