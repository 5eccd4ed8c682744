//! What is shown of a reply that a peer wrote: it may be anything, also the events that were sent to it.

use memchr::memmem;

use crate::core::printable::first_line;

/// A reply that has this many letters and digits in a row in common with the sent events quotes them. Texts of collectors
/// such as `Server is busy` are rarely longer.
const QUOTE: usize = 12;

/// Shown instead of text that the sent events contain.
const REPEATS: &str = "its text is not shown, because it occurs in the events that were sent";

/// The first line of a reply, for messages; never text of the `sent` events. Empty if the reply has no text.
pub(super) fn quoted(reply: &[u8], sent: &[u8]) -> String {
    let line = first_line(reply);
    let letters = letters(line.as_bytes());
    if letters.len() < QUOTE {
        return line;
    }
    let sent = self::letters(sent);
    if letters.windows(QUOTE).any(|part| memmem::find(&sent, part).is_some()) { REPEATS.to_owned() } else { line }
}

/// The letters and digits, without escaped characters: a copy that is escaped or indented differently has the same.
fn letters(text: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some((first, behind)) = rest.split_first() {
        let escape = escape_length(rest);
        if escape == 0 && (first.is_ascii_alphanumeric() || !first.is_ascii()) {
            out.push(first.to_ascii_lowercase());
        }
        rest = if escape == 0 { behind } else { &rest[escape..] };
    }
    out
}

/// The length of `%22`, `\u0022` or `&quot;` at the start of the text; 0 if there is none.
fn escape_length(text: &[u8]) -> usize {
    let is_hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
    match text {
        [b'%', high, low, ..] if is_hex(&[*high, *low]) => 3,
        [b'\\', b'u', digits @ ..] if digits.len() >= 4 && is_hex(&digits[..4]) => 6,
        [b'&', name @ ..] => match name.iter().take(6).position(|byte| *byte == b';') {
            Some(end) if name[..end].iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'#') => end + 2,
            _ => 0,
        },
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &[u8] = br#"{"event":"CARD 4111-1111 of ada"}{"event":{"user":"grace","path":"C:\\temp"}}"#;

    #[test]
    fn text_of_the_sent_events_is_not_shown_however_it_is_escaped() {
        for reply in [
            std::str::from_utf8(SENT).unwrap(),
            "blocked: CARD 4111-1111 of ada",
            r#"{"error":"you sent {\"event\":\"card 4111-1111 OF ada\"}"}"#,
            "<p>{&quot;user&quot;: &quot;grace&quot;, &quot;path&quot;: &quot;C:\\temp&quot;}</p>",
            "event=%22CARD%204111-1111%20of%20ada%22",
            r"{\u0022user\u0022:\u0022grace\u0022,\u0022path\u0022:0}",
        ] {
            assert_eq!(quoted(reply.as_bytes(), SENT), REPEATS, "{reply}");
        }
        assert_eq!(quoted(b"Server is busy", SENT), "Server is busy");
        assert_eq!(quoted(b"", SENT), "");
    }
}
