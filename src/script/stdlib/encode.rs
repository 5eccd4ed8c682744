//! `base64`, `hex` and `url`.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use mlua::{Lua, LuaString, Table, Value};

use super::native::{Raise, function, text};

/// Base64 according to RFC 4648 section 4. Also accepts text without padding.
const TOLERANT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The decoded text, or nil and the reason.
type Decoded = Result<Result<LuaString, String>, Raise>;

pub(super) fn install(lua: &Lua, globals: &Table) -> mlua::Result<()> {
    globals.set("base64", library(lua, base64_encode, base64_decode)?)?;
    globals.set("hex", library(lua, hex_encode, hex_decode)?)?;
    globals.set("url", library(lua, url_encode, url_decode)?)
}

/// A table with `encode` and `decode`.
fn library(
    lua: &Lua,
    encode: fn(&[u8]) -> Vec<u8>,
    decode: fn(&[u8]) -> Result<Vec<u8>, String>,
) -> mlua::Result<Table> {
    let encode = move |lua: &Lua, value: Value| -> Result<LuaString, Raise> {
        let plain = text(lua, 1, value)?;
        Ok(lua.create_string(encode(&plain.as_bytes()))?)
    };
    let decode = move |lua: &Lua, value: Value| -> Decoded {
        let encoded = text(lua, 1, value)?;
        match decode(&encoded.as_bytes()) {
            Ok(plain) => Ok(Ok(lua.create_string(plain)?)),
            Err(why) => Ok(Err(why)),
        }
    };
    let library = lua.create_table()?;
    library.set("encode", function(lua, encode)?)?;
    library.set("decode", function(lua, decode)?)?;
    Ok(library)
}

/// Lower-case hexadecimal digits.
pub(super) fn hex_encode(bytes: &[u8]) -> Vec<u8> {
    let digit = |half: u8| HEX_DIGITS[usize::from(half)];
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn base64_encode(bytes: &[u8]) -> Vec<u8> {
    STANDARD.encode(bytes).into_bytes()
}

/// Also accepts the URL-safe alphabet (RFC 4648 section 5).
fn base64_decode(text: &[u8]) -> Result<Vec<u8>, String> {
    let standard = |byte: &u8| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => *other,
    };
    let text: Vec<u8> = text.iter().map(standard).collect();
    TOLERANT.decode(text).map_err(|error| format!("not base64: {error}"))
}

fn hex_decode(text: &[u8]) -> Result<Vec<u8>, String> {
    if !text.len().is_multiple_of(2) {
        return Err(format!("not hexadecimal: an odd number of digits ({})", text.len()));
    }
    let pairs = text.chunks_exact(2).enumerate();
    pairs
        .map(|(pair, digits)| match (hex_digit(digits[0]), hex_digit(digits[1])) {
            (Some(high), Some(low)) => Ok(high << 4 | low),
            (None, _) => Err(format!("not hexadecimal: byte {}", pair * 2 + 1)),
            (_, None) => Err(format!("not hexadecimal: byte {}", pair * 2 + 2)),
        })
        .collect()
}

/// Percent-encodes all except the unreserved characters (RFC 3986 section 2.3).
fn url_encode(bytes: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte),
            _ => {
                let digit = |half: u8| HEX_DIGITS[usize::from(half)].to_ascii_uppercase();
                encoded.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
    encoded
}

/// Decodes percent-encoding; a `+` stays a `+`.
pub(super) fn url_decode(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut plain = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if byte != b'%' {
            plain.push(byte);
            at += 1;
            continue;
        }
        let digit = |at: usize| text.get(at).copied().and_then(hex_digit);
        let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) else {
            return Err(format!("not percent-encoded: no two digits after byte {}", at + 1));
        };
        plain.push(high << 4 | low);
        at += 3;
    }
    Ok(plain)
}

fn hex_digit(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(script: &str) {
        super::super::tests::check(script);
    }

    #[test]
    fn base64_accepts_both_alphabets_with_or_without_padding() {
        // RFC 4648 section 10.
        check("assert(base64.encode('foobar') == 'Zm9vYmFy' and base64.encode('fo') == 'Zm8=')");
        check("assert(base64.decode('Zm8=') == 'fo' and base64.decode('Zm8') == 'fo')");
        check("assert(base64.decode('-_-_') == '\\xfb\\xff\\xbf' and base64.decode('+/+/') == '\\xfb\\xff\\xbf')");
        check("assert(base64.decode('') == '')");
    }

    #[test]
    fn invalid_encoded_text_gives_nil_and_a_reason() {
        check("local s, why = base64.decode('a b') assert(s == nil and why:find('not base64: ', 1, true))");
        check("local s, why = hex.decode('abc') assert(s == nil and why:find('odd number', 1, true))");
        check("local s, why = hex.decode('0g') assert(s == nil and why == 'not hexadecimal: byte 2')");
        check("local s, why = url.decode('a%2') assert(s == nil and why:find('after byte 2', 1, true))");
    }

    #[test]
    fn hex_is_written_in_lower_case_and_read_in_either() {
        check("assert(hex.encode('\\0\\xff') == '00ff' and hex.decode('00FFab') == '\\0\\xff\\xab')");
    }

    #[test]
    fn url_encoding_leaves_only_unreserved_characters() {
        check("assert(url.encode('a b/~-_.é') == 'a%20b%2F~-_.%C3%A9')");
        check("assert(url.decode('a%20b+c%2f') == 'a b+c/')");
    }

    #[test]
    fn a_wrong_type_is_an_error_at_its_line() {
        check(
            "local ok, why = pcall(function() base64.encode(nil) end)
               assert(why == \"test.lua:1: bad argument #1 to 'encode' (string expected, got nil)\", why)",
        );
    }

    proptest! {
        #[test]
        fn encoded_text_decodes_to_itself(bytes: Vec<u8>) {
            prop_assert_eq!(base64_decode(&base64_encode(&bytes)), Ok(bytes.clone()));
            prop_assert_eq!(hex_decode(&hex_encode(&bytes)), Ok(bytes.clone()));
            prop_assert_eq!(url_decode(&url_encode(&bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_makes_the_decoders_panic(text: Vec<u8>) {
            let _ = (base64_decode(&text), hex_decode(&text), url_decode(&text));
        }
    }
}
