//! Percent-encoding as SLS signs it.

use std::fmt::Write as _;

/// Percent-encodes everything but the unreserved characters of RFC 3986, in upper case: a space is `%20`.
#[must_use]
pub fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            byte => write!(out, "%{byte:02X}").expect("a String takes any text"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_percent_encoded_as_the_sdks_do() {
        let expected = "123abc%21%40%23%24%25%5E%26%2A%28%29-%3D_%2B%20~%7C%5C%2F";
        assert_eq!(percent_encode(r"123abc!@#$%^&*()-=_+ ~|\/"), expected);
    }
}
