//! Makes text from logs, servers and scripts safe to show in a terminal and on one line of a log.

use std::fmt;

/// Maximum number of characters of external text that [`excerpt`] shows.
const EXCERPT_CHARS: usize = 300;

/// Maximum number of characters of an unknown reply that [`first_line`] shows.
const LINE_CHARS: usize = 100;

/// Whether a character must be escaped in a terminal. It moves the cursor, starts an escape sequence, breaks a line,
/// changes the direction of the surrounding text, or is invisible, such as U+00AD, U+FEFF and the tags from U+E0000 on.
/// Not the joiners U+200C and U+200D, which words of some languages need.
#[must_use]
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// Text that is safe to print in a terminal. Bytes that are not UTF-8 are shown as `\xff`.
#[must_use]
pub fn printable(text: impl AsRef<[u8]>) -> String {
    let bytes = text.as_ref();
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_unprintable(c) {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
        }
        out.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    out
}

/// External text that is safe to show: cut to a maximum length, on one line, with control characters escaped.
#[must_use]
pub fn excerpt(text: &str) -> String {
    excerpt_of(text, EXCERPT_CHARS)
}

fn excerpt_of(text: &str, most: usize) -> String {
    let (mut out, mut room) = (String::new(), most);
    for c in text.trim().chars() {
        let length = if is_unprintable(c) { c.escape_default().len() } else { 1 };
        let Some(left) = room.checked_sub(length) else {
            out.push('…');
            break;
        };
        room = left;
        if length == 1 {
            out.push(c);
        } else {
            out.extend(c.escape_default());
        }
    }
    out
}

/// The first line of an unknown reply that has text, short and safe to show. A page is shown without its tags. Empty if
/// there is no text.
#[must_use]
pub fn first_line(reply: &[u8]) -> String {
    let text = without_tags(&String::from_utf8_lossy(reply));
    let line = text.lines().find(|line| line.chars().any(char::is_alphanumeric)).unwrap_or_default();
    excerpt_of(line, LINE_CHARS)
}

/// The text of a page, with a line break for each tag.
fn without_tags(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, from)) = rest.split_once('<')
        && let Some((_, behind)) = from.split_once('>')
    {
        out += before;
        out.push('\n');
        rest = behind;
    }
    out + rest
}

/// Escapes control characters and marks that reorder text, so that text from a log or a server can neither start a
/// new line nor control a terminal.
#[derive(Debug)]
pub struct Escape<W>(
    /// The target of the text.
    pub W,
);

impl<W: fmt::Write> fmt::Write for Escape<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_unprintable) {
            let (before, from) = rest.split_at(at);
            let unsafe_char = from.chars().next().expect("find found it");
            write!(self.0, "{before}{}", unsafe_char.escape_default())?;
            rest = &from[unsafe_char.len_utf8()..];
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_shown_as_escapes() {
        assert_eq!(printable("a\u{feff}b\u{202e}c\u{61c}\u{2028}"), r"a\u{feff}b\u{202e}c\u{61c}\u{2028}");
        assert_eq!(
            printable("a\u{200b}b\u{ad}c\u{2060}d\u{e0041}"),
            r"a\u{200b}b\u{ad}c\u{2060}d\u{e0041}",
            "and cannot carry hidden text"
        );
        assert_eq!(printable(b"\xffa".as_slice()), r"\xffa");
    }

    #[test]
    fn an_excerpt_is_one_bounded_line_without_control_characters() {
        assert_eq!(excerpt(" a\r\nb\u{202e}c\u{7f} 你好 "), r"a\r\nb\u{202e}c\u{7f} 你好");
        let long = excerpt(&"é".repeat(1000));
        assert_eq!(long.chars().count(), EXCERPT_CHARS + 1);
        assert!(long.ends_with('…'));
        let escaped = excerpt(&"\u{1b}".repeat(1000));
        assert!(escaped.chars().count() <= EXCERPT_CHARS + 1 && escaped.ends_with('…'), "{escaped}");
    }

    #[test]
    fn of_an_unknown_reply_only_the_first_line_with_text_is_shown() {
        let check = |reply: &str, shown: &str| assert_eq!(first_line(reply.as_bytes()), shown, "{reply}");
        check("", "");
        check("<html></html>\r\n", "");
        check("busy\r\nsecond line", "busy");
        check("{\n  \"error\": \"no\"\n}", "\"error\": \"no\"");
        check("<html>\n<head><title>403 Forbidden</title></head>\n<body>x", "403 Forbidden");
        check("1 < 2", "1 < 2");
        check("a\x1b[31m\u{202e}b", r"a\u{1b}[31m\u{202e}b");
        assert_eq!(first_line("é".repeat(1000).as_bytes()).chars().count(), LINE_CHARS + 1);
    }
}
