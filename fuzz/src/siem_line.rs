//! CEF, LEEF and logfmt: a parser of each format reads the original values from a line, whatever the bytes.
//!
//! The parsers share only the rules of the formats with the writers.

use std::collections::BTreeSet;

use forwarder::fuzzing::{CefHeader, Fields, LeefHeader, LeefVersion, encode_cef, encode_leef, encode_logfmt};

use super::input::Input;

/// Delimiters that LEEF 2.0 allows.
const DELIMITERS: [u8; 5] = [b'\t', b'^', b';', b',', b'"'];

/// Six header fields, then names and values.
pub fn siem_line(input: &[u8]) {
    let mut input = Input::new(input);
    let delimiter = input.pick(&DELIMITERS);
    let head: CefHeader = std::array::from_fn(|_| input.piece().to_vec());
    let mut fields = Fields::new();
    while !input.is_empty() {
        fields.push((input.piece().to_vec(), input.piece().to_vec()));
    }
    check_lines(&head, &fields, delimiter);
}

/// Panics if a parser reads something else from one of the lines.
pub fn check_lines(head: &CefHeader, fields: &Fields, delimiter: u8) {
    let line = encode_cef(head, fields);
    one_line(&line);
    let (parts, read) = read_cef(&line);
    let expected: Vec<Vec<u8>> = head.iter().map(|part| spaced(part, b"\r\n")).collect();
    assert_eq!(parts, expected, "the header of {}", line.escape_ascii());
    same("CEF", &line, fields, &read, <[u8]>::to_vec);

    let leef: LeefHeader = std::array::from_fn(|nth| head[nth].clone());
    let is_free = |sign: &u8| fields.iter().all(|(_, value)| !value.contains(sign));
    let free = b"\t^;,~#!*".iter().copied().find(is_free);
    let choice = (LeefVersion::Two(None), free.unwrap_or(b'\t'));
    for (version, mark) in [(LeefVersion::One, b'\t'), (LeefVersion::Two(Some(delimiter)), delimiter), choice] {
        let line = encode_leef(version, &leef, fields);
        one_line(&line);
        let (parts, read) = read_leef(&line);
        let expected: Vec<Vec<u8>> = leef.iter().map(|part| spaced(part, b"|\r\n")).collect();
        assert_eq!(parts, expected, "the header of {}", line.escape_ascii());
        same("LEEF", &line, fields, &read, |value| spaced(value, &[mark, b'\r', b'\n']));
    }

    let line = encode_logfmt(fields);
    one_line(&line);
    assert!(line.iter().all(|&byte| byte >= b' ' && byte != 0x7f), "{}", line.escape_ascii());
    same("logfmt", &line, fields, &read_logfmt(&line), <[u8]>::to_vec);
}

fn one_line(line: &[u8]) {
    assert!(!line.contains(&b'\n') && !line.contains(&b'\r'), "two lines: {}", line.escape_ascii());
}

/// The values in their order, under unique names.
fn same(format: &str, line: &[u8], fields: &Fields, read: &Fields, expected: impl Fn(&[u8]) -> Vec<u8>) {
    let shown = line.escape_ascii();
    let values: Vec<Vec<u8>> = fields.iter().map(|(_, value)| expected(value)).collect();
    let found: Vec<Vec<u8>> = read.iter().map(|(_, value)| value.clone()).collect();
    assert_eq!(found, values, "{format}: {shown}");
    let names: BTreeSet<&Vec<u8>> = read.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), fields.len(), "{format}: a name twice: {shown}");
    let plain = |name: &[u8]| !name.is_empty() && name.iter().all(u8::is_ascii_alphanumeric);
    let given: Vec<&Vec<u8>> = fields.iter().map(|(name, _)| name).filter(|name| plain(name)).collect();
    for ((name, _), (found, _)) in fields.iter().zip(read) {
        let again = given.iter().filter(|other| **other == name).count() > 1;
        assert!(
            !plain(name) || again || name == found,
            "{format}: {} became {}",
            name.escape_ascii(),
            found.escape_ascii()
        );
    }
}

fn spaced(text: &[u8], ends: &[u8]) -> Vec<u8> {
    text.iter().map(|byte| if ends.contains(byte) { b' ' } else { *byte }).collect()
}

/// The header fields up to the seventh unescaped bar, then the extension.
fn read_cef(line: &[u8]) -> (Vec<Vec<u8>>, Fields) {
    let rest = line.strip_prefix(b"CEF:0|").expect("it begins as CEF");
    let (mut parts, mut part, mut at) = (Vec::new(), Vec::new(), 0);
    while parts.len() < 6 {
        match rest[at] {
            b'\\' => {
                assert!(matches!(rest[at + 1], b'\\' | b'|'), "an escape that there is not");
                part.push(rest[at + 1]);
                at += 1;
            }
            b'|' => parts.push(std::mem::take(&mut part)),
            byte => part.push(byte),
        }
        at += 1;
    }
    (parts, read_extension(&rest[at..]))
}

/// Finds every unescaped `=`: before it is a name, which a space separates from the previous value.
fn read_extension(text: &[u8]) -> Fields {
    let mut signs = Vec::new();
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 1,
            b'=' => signs.push(at),
            _ => {}
        }
        at += 1;
    }
    let begins = |sign: usize| text[..sign].iter().rposition(|&byte| byte == b' ').map_or(0, |space| space + 1);
    let mut fields = Fields::new();
    for (nth, &sign) in signs.iter().enumerate() {
        let name = &text[begins(sign)..sign];
        assert!(
            name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(byte)),
            "a name: {}",
            name.escape_ascii()
        );
        let end = signs.get(nth + 1).map_or(text.len(), |&next| begins(next) - 1);
        fields.push((name.to_vec(), plain_extension(&text[sign + 1..end])));
    }
    fields
}

fn plain_extension(value: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut bytes = value.iter();
    while let Some(&byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(&other @ (b'\\' | b'=')) => other,
                other => panic!("an escape that there is not: {other:?}"),
            },
            byte => byte,
        });
    }
    plain
}

fn read_leef(line: &[u8]) -> (Vec<Vec<u8>>, Fields) {
    let (bars, is_first) = match &line[..9] {
        b"LEEF:1.0|" => (4, true),
        b"LEEF:2.0|" => (5, false),
        other => panic!("no LEEF: {}", other.escape_ascii()),
    };
    let mut parts: Vec<Vec<u8>> = line[9..].splitn(bars + 1, |&byte| byte == b'|').map(<[u8]>::to_vec).collect();
    let attributes = parts.pop().expect("there are parts");
    let delimiter = if is_first {
        b'\t'
    } else {
        match parts.pop().as_deref() {
            Some(b"x09") => b'\t',
            Some(&[byte]) => byte,
            other => panic!("a delimiter: {other:?}"),
        }
    };
    let pairs = attributes.split(|&byte| byte == delimiter).filter(|pair| !pair.is_empty());
    let fields = pairs.map(|pair| {
        let sign = pair.iter().position(|&byte| byte == b'=').expect("a name and a value");
        (pair[..sign].to_vec(), pair[sign + 1..].to_vec())
    });
    (parts, fields.collect())
}

fn read_logfmt(line: &[u8]) -> Fields {
    let mut fields = Fields::new();
    let mut rest = line;
    while !rest.is_empty() {
        let sign = rest.iter().position(|&byte| byte == b'=').expect("a name and a value");
        let name = rest[..sign].to_vec();
        rest = &rest[sign + 1..];
        let mut value = Vec::new();
        if let Some(quoted) = rest.strip_prefix(b"\"") {
            rest = quoted;
            loop {
                let (&byte, behind) = rest.split_first().expect("a quote is closed");
                rest = behind;
                match byte {
                    b'"' => break,
                    b'\\' => {
                        let (&escaped, behind) = rest.split_first().expect("an escape goes on");
                        rest = behind;
                        match escaped {
                            b'n' => value.push(b'\n'),
                            b'r' => value.push(b'\r'),
                            b't' => value.push(b'\t'),
                            b'u' => {
                                let digits = std::str::from_utf8(&rest[..4]).expect("four digits");
                                value.push(u8::from_str_radix(digits, 16).expect("a control character"));
                                rest = &rest[4..];
                            }
                            other => value.push(other),
                        }
                    }
                    other => value.push(other),
                }
            }
        } else {
            let end = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
            value.extend_from_slice(&rest[..end]);
            rest = &rest[end..];
        }
        fields.push((name, value));
        rest = rest.strip_prefix(b" ").unwrap_or(rest);
    }
    fields
}
