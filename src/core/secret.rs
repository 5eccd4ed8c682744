//! Text that must not be printed.

use std::fmt;
use std::fmt::Write as _;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem;

/// A credential. It is always printed as `***`; only [`Secret::expose`] returns its text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a credential.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for signing or sending it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Minimum length of an encoded form. A shorter one reveals little of the secret and would match too often.
const MIN_ENCODED: usize = 6;

/// Removes a secret from external text that may echo what we sent, both as plain text and in the encodings that
/// servers and proxies use.
#[derive(Clone)]
pub struct Redactor {
    /// The secret as plain text, percent-encoded, and escaped for JSON and HTML.
    escaped: Vec<Vec<u8>>,
    /// The secret in base64 and in hexadecimal. A match is extended to the whole encoded word, because the characters
    /// at its ends also encode neighbouring bytes.
    coded: Vec<Vec<u8>>,
}

impl Redactor {
    /// Removes this secret.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        let text = secret.expose();
        let each = |write: &dyn Fn(&mut String, u8)| {
            let mut out = String::new();
            text.bytes().for_each(|byte| write(&mut out, byte));
            out
        };
        let takes = "writing to a String cannot fail";
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let percent = |out: &mut String, byte: u8| write!(out, "%{byte:02X}").expect(takes);
        let some_percent =
            |out: &mut String, byte| if plain(byte) { out.push(byte.into()) } else { percent(out, byte) };
        let unicode = |out: &mut String, byte: u8| write!(out, "\\u{byte:04x}").expect(takes);
        let json = serde_json::to_string(text).expect("a text is JSON");
        let json = json[1..json.len() - 1].to_owned();
        let html = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"].iter().zip(["&", "<", ">", "\"", "'"]);
        let html = html.fold(text.to_owned(), |text, (to, from)| text.replace(from, to));
        let hex = each(&|out, byte| write!(out, "{byte:02x}").expect(takes));
        let (percent, some_percent, unicode) = (each(&percent), each(&some_percent), each(&unicode));
        let escaped = [
            text.to_owned(),
            percent.to_lowercase(),
            percent,
            lower_escapes(&some_percent),
            some_percent,
            unicode.replace("\\u", "\u{0}").to_uppercase().replace('\u{0}', "\\u"),
            unicode,
            json.replace('/', "\\/"),
            json,
            html,
        ];
        let mut coded = vec![hex.to_uppercase(), hex];
        for before in 0..3 {
            // The secret after `before` other bytes, without the characters that also encode bytes before or after
            // it.
            let shifted = [&b"\0\0"[..before], text.as_bytes()].concat();
            let own = (before * 8).div_ceil(6)..shifted.len() * 8 / 6;
            coded.extend(
                [STANDARD_NO_PAD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)]
                    .map(|code| code[own.clone()].to_owned()),
            );
        }
        let distinct = |mut forms: Vec<String>, least| {
            forms.retain(|form| form.len() >= least);
            forms.sort();
            forms.dedup();
            forms.into_iter().map(String::into_bytes).collect()
        };
        Self { escaped: distinct(escaped.into(), 1), coded: distinct(coded, MIN_ENCODED) }
    }

    /// The text with `***` instead of the secret.
    #[must_use]
    pub fn redact(&self, text: Vec<u8>) -> Vec<u8> {
        let found = |form: &Vec<u8>| {
            let length = form.len();
            memmem::find_iter(&text, form).map(move |at| at..at + length).collect::<Vec<_>>()
        };
        let mut places: Vec<Range<usize>> = self.escaped.iter().flat_map(found).collect();
        places.extend(self.coded.iter().flat_map(found).map(|place| run_around(&text, place)));
        if places.is_empty() {
            return text;
        }
        places.sort_by_key(|place| place.start);
        let (mut out, mut end) = (Vec::with_capacity(text.len()), 0);
        for place in places {
            if place.start >= end {
                out.extend_from_slice(&text[end..place.start]);
                out.extend_from_slice(b"***");
            }
            end = end.max(place.end);
        }
        out.extend_from_slice(&text[end..]);
        out
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor(***)")
    }
}

/// The text with lower-case percent escapes: `%2b` instead of `%2B`.
fn lower_escapes(text: &str) -> String {
    let mut pieces = text.split('%');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (code, rest) = piece.split_at(piece.len().min(2));
        write!(out, "%{}{rest}", code.to_lowercase()).expect("writing to a String cannot fail");
    }
    out
}

/// The range extended to all adjacent base64 characters.
fn run_around(text: &[u8], place: Range<usize>) -> Range<usize> {
    let outside = |byte: &u8| !(byte.is_ascii_alphanumeric() || b"+/-_=".contains(byte));
    let start = text[..place.start].iter().rposition(outside).map_or(0, |at| at + 1);
    let end = text[place.end..].iter().position(outside).map_or(text.len(), |at| place.end + at);
    start..end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redacted(secret: &str, text: &str) -> String {
        String::from_utf8(Redactor::new(&Secret::new(secret)).redact(text.into())).unwrap()
    }

    #[test]
    fn a_secret_is_redacted_in_every_form_that_an_echo_can_take() {
        let secret = "8f3a/b+c\"d&e-0123";
        for echo in [
            secret,
            "8f3a%2Fb%2Bc%22d%26e-0123",
            "8f3a%2fb%2bc%22d%26e-0123",
            "%38%66%33%61%2F%62%2B%63%22%64%26%65%2D%30%31%32%33",
            r#"8f3a/b+c\"d&e-0123"#,
            r#"8f3a\/b+c\"d&e-0123"#,
            "8f3a/b+c&quot;d&amp;e-0123",
            "386633612f622b63226426652d30313233",
            "386633612F622B63226426652D30313233",
            r"\u0038\u0066\u0033\u0061\u002f\u0062\u002b\u0063\u0022\u0064\u0026\u0065\u002d\u0030\u0031\u0032\u0033",
        ] {
            assert_eq!(redacted(secret, &format!("got <{echo}>, thanks")), "got <***>, thanks", "{echo}");
        }
        assert_eq!(redacted(secret, "nothing of it"), "nothing of it");
        assert_eq!(redacted("ab", "ab YWI= 6162 x"), "*** YWI= 6162 x", "too short to be told from other text");
    }

    proptest! {
        /// With any text before and after the secret in the encoded text.
        #[test]
        fn a_secret_in_base64_is_redacted_completely(secret in "[!-~]{8,48}", before in ".{0,9}", behind in ".{0,9}") {
            let sent = format!("{before}{secret}{behind}");
            for code in [STANDARD_NO_PAD.encode(&sent), URL_SAFE_NO_PAD.encode(&sent)] {
                let shown = redacted(&secret, &format!("you sent: {code} "));
                prop_assert_eq!(shown, "you sent: *** ");
            }
        }
    }
}
