//! STRUCTURED-DATA (RFC 5424 section 6.3).

use super::escape::Escape;
use crate::core::name;
use crate::destination::syslog::Element;

/// Longest SD-NAME.
const NAME: usize = 32;

/// A borrowed SD-ELEMENT.
pub(super) type Lent<'a> = (&'a [u8], Vec<(&'a [u8], &'a [u8])>);

/// Appends the elements. Elements with the same id are merged into the first, because an id may occur only once.
pub(super) fn write(elements: &[Lent<'_>], escape: Escape, out: &mut Vec<u8>) {
    let ids: Vec<Vec<u8>> = elements.iter().map(|(id, _)| cleaned(id)).collect();
    for (place, id) in ids.iter().enumerate() {
        if ids[..place].contains(id) {
            continue;
        }
        out.push(b'[');
        out.extend_from_slice(id);
        let same = (place..ids.len()).filter(|&other| ids[other] == *id);
        for (name, value) in same.flat_map(|other| &elements[other].1) {
            out.push(b' ');
            out.extend_from_slice(&cleaned(name));
            out.extend_from_slice(b"=\"");
            write_value(value, escape, out);
            out.push(b'"');
        }
        out.push(b']');
    }
    if elements.is_empty() {
        out.push(b'-');
    }
}

/// Parses STRUCTURED-DATA in the form of the RFC, for settings: `[id name="value"][other]`.
///
/// # Errors
/// What is wrong, with the rest of the text.
pub(crate) fn read(text: &str) -> Result<Vec<Element>, String> {
    let mut elements: Vec<Element> = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (id, mut inside) =
            rest.strip_prefix('[').ok_or_else(|| malformed("a [ is needed", rest)).and_then(read_name)?;
        if elements.iter().any(|(known, _)| *known == id) {
            return Err(format!("{id:?} occurs twice"));
        }
        let mut pairs = Vec::new();
        while let Some(pair) = inside.strip_prefix(' ') {
            let (name, value) = read_name(pair)?;
            let value = value.strip_prefix("=\"").ok_or_else(|| malformed("=\"…\" is needed", value))?;
            let (value, after) = read_value(value)?;
            pairs.push((name, value));
            inside = after;
        }
        rest = inside.strip_prefix(']').ok_or_else(|| malformed("a ] is needed", inside))?;
        elements.push((id, pairs));
    }
    Ok(elements)
}

fn read_name(text: &str) -> Result<(String, &str), String> {
    let end = text.bytes().position(|byte| !is_name(byte)).unwrap_or(text.len());
    match end {
        0 => Err(malformed("a name is needed", text)),
        1..=NAME => Ok((text[..end].to_owned(), &text[end..])),
        _ => Err(malformed("a name has at most 32 characters", text)),
    }
}

fn read_value(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Ok((value, &text[at + 1..])),
            ']' => return Err(malformed("a ] in a value needs a \\ before it", &text[at..])),
            '\\' => match letters.next() {
                Some((_, escaped @ ('"' | '\\' | ']'))) => value.push(escaped),
                Some((_, other)) => value.extend(['\\', other]),
                None => break,
            },
            letter => value.push(letter),
        }
    }
    Err("a value has no \" at its end".to_owned())
}

fn malformed(what: &str, rest: &str) -> String {
    if rest.is_empty() { format!("{what} at the end") } else { format!("{what} at {rest:?}") }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'=' | b']' | b'"')
}

fn cleaned(text: &[u8]) -> Vec<u8> {
    let mut clean = Vec::with_capacity(text.len().min(NAME));
    name::write(text, NAME, is_name, &mut clean);
    clean
}

/// Appends a PARAM-VALUE: `"`, `\` and `]` have a backslash before them (section 6.3.3).
fn write_value(value: &[u8], escape: Escape, out: &mut Vec<u8>) {
    let mut clean = Vec::new();
    escape.append(value, &mut clean);
    for byte in clean {
        if matches!(byte, b'"' | b'\\' | b']') {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::syslog::Framing;

    #[track_caller]
    fn check(elements: &[Lent<'_>], expected: &str) {
        let mut out = Vec::new();
        write(elements, Escape::new(Framing::Lf, false, "||"), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn elements_are_written_as_in_the_rfc() {
        let iut = (&b"iut"[..], &b"3"[..]);
        let source = (&b"eventSource"[..], &b"Application"[..]);
        check(
            &[(b"exampleSDID@32473", vec![iut, source])],
            "[exampleSDID@32473 iut=\"3\" eventSource=\"Application\"]",
        );
        check(&[(b"a", vec![]), (b"b", vec![iut])], "[a][b iut=\"3\"]");
        check(&[], "-");
    }

    #[test]
    fn values_are_escaped_and_names_are_cleaned() {
        check(&[(b"a", vec![(b"k", b"\"x\" [y] C:\\z")])], "[a k=\"\\\"x\\\" [y\\] C:\\\\z\"]");
        check(&[(b"a", vec![(b"k", b"1\n\xff")])], "[a k=\"1#012\u{fffd}\"]");
        check(&[(b"a b=\"]", vec![("é".as_bytes(), b"")])], "[a_x20_b_x3D225D_ _xC3A9_=\"\"]");
        check(
            &[(b"a", vec![("用户".as_bytes(), b"a"), ("名称".as_bytes(), b"b")])],
            "[a _xE794A8E688B7_=\"a\" _xE5908DE7A7B0_=\"b\"]",
        );
        let mut out = Vec::new();
        write(
            &[(b"", vec![(&[b'n'; 40], b"v"), (&[b'n'; 41], b"w")])],
            Escape::new(Framing::Lf, false, "||"),
            &mut out,
        );
        let text = String::from_utf8(out).unwrap();
        let prefix = "n".repeat(17);
        assert!(text.starts_with("[_hE3B0C44298FC_ ") && text.matches(&prefix).count() == 2, "{text}");
        assert_eq!(read(&text).unwrap()[0].1.len(), 2, "{text}");
    }

    #[test]
    fn elements_with_the_same_id_are_merged() {
        let pair = |value: &'static [u8]| vec![(&b"k"[..], value)];
        check(&[(b"a", pair(b"1")), (b"b", pair(b"2")), (b"a", pair(b"3"))], "[a k=\"1\" k=\"3\"][b k=\"2\"]");
        check(&[(b"a b", pair(b"1")), (b"a_b", pair(b"2"))], "[a_x20_b k=\"1\"][a_b k=\"2\"]");
    }

    #[test]
    fn written_elements_can_be_read_back() {
        let check = |text: &str| {
            let read = read(text).unwrap();
            let bytes: Vec<Lent<'_>> = read
                .iter()
                .map(|(id, pairs)| {
                    let pairs = pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
                    (id.as_bytes(), pairs.collect())
                })
                .collect();
            self::check(&bytes, text);
        };
        check(r#"[a@1 k="v" k="w"][b]"#);
        check(r#"[a k="\"\\\]["]"#);
        check(r#"[a 用="v"]"#.replace('用', "u").as_str());
        assert_eq!(read(r#"[a k="\x"]"#).unwrap(), [("a".into(), vec![("k".into(), "\\x".into())])]);
    }

    #[test]
    fn an_invalid_text_is_an_error_with_its_position() {
        let check = |text: &str, expected: &str| assert_eq!(read(text).unwrap_err(), expected, "{text}");
        check("a", "a [ is needed at \"a\"");
        check("[]", "a name is needed at \"]\"");
        check("[a", "a ] is needed at the end");
        check("[a k]", "=\"…\" is needed at \"]\"");
        check("[a k=v]", "=\"…\" is needed at \"=v]\"");
        check("[a k=\"v]\"]", "a ] in a value needs a \\ before it at \"]\\\"]\"");
        check("[a k=\"v", "a value has no \" at its end");
        check("[a][a]", "\"a\" occurs twice");
        check("[a] [b]", "a [ is needed at \" [b]\"");
        check("[a  k=\"v\"]", "a name is needed at \" k=\\\"v\\\"]\"");
        check(
            &format!("[{}]", "i".repeat(33)),
            &format!("a name has at most 32 characters at \"{}]\"", "i".repeat(33)),
        );
    }
}
