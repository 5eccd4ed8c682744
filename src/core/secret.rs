//! Text that must not be printed.

use std::fmt;
use std::fmt::Write as _;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
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
    searches: Vec<Search>,
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
        let percent = |out: &mut String, byte: u8| write!(out, "%{byte:02x}").expect(takes);
        let some_percent =
            |out: &mut String, byte| if plain(byte) { out.push(byte.into()) } else { percent(out, byte) };
        let unicode = |out: &mut String, byte: u8| write!(out, "\\u{byte:04x}").expect(takes);
        let json = serde_json::to_string(text).expect("a text is JSON");
        let json = json[1..json.len() - 1].to_owned();
        let html = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"].iter().zip(["&", "<", ">", "\"", "'"]);
        let html = html.fold(text.to_owned(), |text, (to, from)| text.replace(from, to));
        let escaped = [
            text.to_owned(),
            each(&percent),
            each(&some_percent),
            each(&unicode),
            json.replace('/', "\\/"),
            json,
            html,
        ];
        let hex = each(&|out, byte| write!(out, "{byte:02x}").expect(takes));
        let base64 = (0..3).map(|before| {
            // The secret after `before` other bytes, without the characters that also encode bytes before or after
            // it.
            let shifted = [&b"\0\0"[..before], text.as_bytes()].concat();
            let own = (before * 8).div_ceil(6)..shifted.len() * 8 / 6;
            STANDARD_NO_PAD.encode(&shifted)[own].to_owned()
        });
        let searches = vec![
            Search::new(Alphabet::Every, escaped, 1),
            Search::new(Alphabet::Letters, [text.to_owned()], MIN_ENCODED),
            Search::new(Alphabet::Hex, [hex], MIN_ENCODED),
            Search::new(Alphabet::Base64, base64, MIN_ENCODED),
        ];
        Self { searches }
    }

    /// The text with `***` instead of the secret.
    #[must_use]
    pub fn redact(&self, text: Vec<u8>) -> Vec<u8> {
        let mut places: Vec<Range<usize>> = self.searches.iter().flat_map(|search| search.places(&text)).collect();
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

/// The characters that tell one form of a secret from other text. All others separate, as the line breaks in wrapped
/// base64 or the colons in `38:66`, and are not compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alphabet {
    /// All, in either case: as headers and escapes are rewritten.
    Every,
    /// Letters and digits, in either case: a GUID without dashes.
    Letters,
    /// Hexadecimal digits, in either case.
    Hex,
    /// Base64, both the standard and the URL-safe alphabet.
    Base64,
}

impl Alphabet {
    /// The byte as it is compared, or `None` for a separator.
    fn compared(self, byte: u8) -> Option<u8> {
        match (self, byte) {
            (Self::Base64, b'-') => Some(b'+'),
            (Self::Base64, b'_') => Some(b'/'),
            (Self::Base64, byte) => (byte.is_ascii_alphanumeric() || b"+/".contains(&byte)).then_some(byte),
            (Self::Every, byte) => Some(byte.to_ascii_lowercase()),
            (Self::Letters, byte) => {
                (byte.is_ascii_alphanumeric() || !byte.is_ascii()).then_some(byte.to_ascii_lowercase())
            }
            (Self::Hex, byte) => byte.is_ascii_hexdigit().then_some(byte.to_ascii_lowercase()),
        }
    }

    /// The compared bytes of a text, and where each stands in it.
    fn squeeze(self, text: &[u8]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut places) = (Vec::with_capacity(text.len()), Vec::with_capacity(text.len()));
        let mut at = 0;
        while at < text.len() {
            let is_escape = match text[at..] {
                // A line break in a JSON text.
                [b'\\', b'n' | b'r' | b't', ..] => self != Self::Every,
                // `0x38`, but not the end of `330x`.
                [b'0', b'x' | b'X', ..] => {
                    self == Self::Hex && !text[..at].last().is_some_and(u8::is_ascii_alphanumeric)
                }
                _ => false,
            };
            if is_escape {
                at += 2;
                continue;
            }
            if let Some(byte) = self.compared(text[at]) {
                bytes.push(byte);
                places.push(at);
            }
            at += 1;
        }
        (bytes, places)
    }
}

/// Finds forms of a secret whose characters are of one alphabet.
#[derive(Clone)]
struct Search {
    alphabet: Alphabet,
    forms: Vec<Vec<u8>>,
}

impl Search {
    /// Leaves out forms with fewer than `least` characters.
    fn new(alphabet: Alphabet, forms: impl IntoIterator<Item = String>, least: usize) -> Self {
        let squeezed = forms.into_iter().map(|form| alphabet.squeeze(form.as_bytes()).0);
        let mut forms: Vec<_> = squeezed.filter(|form| form.len() >= least).collect();
        forms.sort();
        forms.dedup();
        Self { alphabet, forms }
    }

    /// The places of the forms in a text.
    fn places(&self, text: &[u8]) -> Vec<Range<usize>> {
        let (bytes, places) = self.alphabet.squeeze(text);
        let range = |start: usize, end: usize| places[start]..places[end - 1] + 1;
        let found = self.forms.iter().flat_map(|form| {
            memmem::find_iter(&bytes, form).map(|at| {
                let end = at + form.len();
                let place = range(at, end);
                match self.alphabet {
                    // The characters at its ends also encode neighbouring bytes. In wrapped code, they may stand on
                    // other lines.
                    Alphabet::Base64 if place.len() > form.len() => {
                        run_around(text, range(at.saturating_sub(1), bytes.len().min(end + 1)))
                    }
                    Alphabet::Base64 => run_around(text, place),
                    _ => place,
                }
            })
        });
        found.collect()
    }
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
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
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

    #[test]
    fn a_secret_is_redacted_whatever_separates_its_characters_and_in_either_case() {
        let secret = "8f3a00b1-c2d3-4e5f-9607-718293a4b5c6";
        let spaced = |between: &str| {
            let hex: Vec<String> = secret.bytes().map(|byte| format!("{byte:02X}")).collect();
            hex.join(between)
        };
        for echo in [
            "8F3A00B1-C2D3-4E5F-9607-718293A4B5C6",
            "8f3a00b1c2d34e5f9607718293a4b5c6",
            "8f3a00b1-c2d3-4e5f-\r\n 9607-718293a4b5c6",
            r"8f3a00b1-c2d3-4e5f-\n9607-718293a4b5c6",
            &spaced(" "),
            &spaced(":"),
            &spaced(r"\x"),
            &spaced(", 0x"),
        ] {
            assert_eq!(redacted(secret, &format!("got <{echo}>, thanks")), "got <***>, thanks", "{echo}");
        }
        assert_eq!(redacted("nightly", r"C:\nightly"), r"C:\***");
        assert_eq!(redacted("a-b-c", "abc a_b_c"), "abc a_b_c", "too short without its separators");
    }

    proptest! {
        /// As MIME and Python's `encodebytes` wrap it, also as a text in JSON, with and without `\/`.
        #[test]
        fn a_secret_in_wrapped_base64_is_redacted(
            secret in "[!-~]{12,48}", before in ".{0,90}", width in 4..77_usize, between in "\r?\n|\\\\n| ",
        ) {
            let code = STANDARD_NO_PAD.encode(format!("{before}{secret}"));
            let lines: Vec<&[u8]> = code.as_bytes().chunks(width).collect();
            let shown = redacted(&secret, &String::from_utf8(lines.join(between.as_bytes())).unwrap());
            let left = shown.bytes().filter(|byte| Alphabet::Base64.compared(*byte).is_some()).count();
            let escapes = shown.matches(r"\n").count();
            prop_assert!(left - escapes <= before.len() * 8 / 6 + 2, "{shown}");
            prop_assert!(shown.contains("***"), "{shown}");
        }

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
