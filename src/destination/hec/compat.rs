//! JSON in the form of Python's `json.dumps`, converted from other JSON token by token: ASCII only, `", "` and `": "`.
//!
//! Numbers and the order of keys are unchanged, so no digit is lost. (Python itself would shorten `1.50`.)

/// Appends the Python form of `json`, which is one valid JSON value.
pub(super) fn dumps(json: &[u8], out: &mut Vec<u8>) {
    let mut rest = json;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'"' => rest = string(after, out),
            b',' => out.extend_from_slice(b", "),
            b':' => out.extend_from_slice(b": "),
            b' ' | b'\t' | b'\n' | b'\r' => {}
            _ => out.push(byte),
        }
    }
}

/// Appends `text` as a Python string literal of JSON, quotes included.
pub(super) fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for letter in text.chars() {
        escape(letter, out);
    }
    out.push(b'"');
}

/// Copies a string whose opening quote is already read; returns what follows its closing quote.
fn string<'a>(json: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    out.push(b'"');
    let mut rest = json;
    loop {
        let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(rest.len());
        for letter in String::from_utf8_lossy(&rest[..plain]).chars() {
            escape(letter, out);
        }
        rest = &rest[plain..];
        rest = match rest {
            [b'\\', b'u', hex @ ..] if hex.len() >= 4 => {
                let unit = std::str::from_utf8(&hex[..4]).ok().and_then(|hex| u16::from_str_radix(hex, 16).ok());
                code_unit(unit.unwrap_or(0xfffd), out);
                &hex[4..]
            }
            [b'\\', letter, after @ ..] => {
                escape(unescaped(*letter), out);
                after
            }
            [b'"', after @ ..] => {
                out.push(b'"');
                return after;
            }
            _ => {
                out.push(b'"');
                return &[];
            }
        }
    }
}

/// The meaning of the letter after a backslash (RFC 8259 section 7).
fn unescaped(letter: u8) -> char {
    match letter {
        b'b' => '\x08',
        b'f' => '\x0c',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        other => char::from(other),
    }
}

fn escape(letter: char, out: &mut Vec<u8>) {
    for unit in letter.encode_utf16(&mut [0; 2]) {
        code_unit(*unit, out);
    }
}

/// Half of a surrogate pair is handled like any other unit, so a lone one is kept, as in Python.
fn code_unit(unit: u16, out: &mut Vec<u8>) {
    match u8::try_from(unit) {
        Ok(b'"') => out.extend_from_slice(b"\\\""),
        Ok(b'\\') => out.extend_from_slice(b"\\\\"),
        Ok(b'\n') => out.extend_from_slice(b"\\n"),
        Ok(b'\r') => out.extend_from_slice(b"\\r"),
        Ok(b'\t') => out.extend_from_slice(b"\\t"),
        Ok(0x08) => out.extend_from_slice(b"\\b"),
        Ok(0x0c) => out.extend_from_slice(b"\\f"),
        Ok(byte @ b' '..=b'~') => out.push(byte),
        _ => out.extend_from_slice(format!("\\u{unit:04x}").as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: &str) {
        let mut out = Vec::new();
        dumps(json.as_bytes(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn separators_are_those_of_python_and_other_white_space_is_removed() {
        check("{\"a\":1,\"b\":[1 , 2,{}]}", r#"{"a": 1, "b": [1, 2, {}]}"#);
        check("{ }", "{}");
        check("[ \n]", "[]");
    }

    #[test]
    fn separators_inside_strings_are_left_alone() {
        check(r#"{"a,b":"c:d, e"}"#, r#"{"a,b": "c:d, e"}"#);
        check(r#"["\"x\",\"y\":", 1]"#, r#"["\"x\",\"y\":", 1]"#);
    }

    #[test]
    fn text_is_escaped_to_ascii() {
        check("\"你好\"", r#""\u4f60\u597d""#);
        check("\"😀\"", r#""\ud83d\ude00""#);
        check("\"\u{7f}\u{80}\u{a0}\"", r#""\u007f\u0080\u00a0""#);
    }

    #[test]
    fn escapes_are_rewritten_as_python_writes_them() {
        check(r#""\/ \u0041 \u00e9 \u000A \u0009 \u001F""#, r#""/ A \u00e9 \n \t \u001f""#);
        check(r#""\u0022 \u005c \b\f\n\r\t\"\\""#, r#""\" \\ \b\f\n\r\t\"\\""#);
        check(r#""\uD83D\uDE00""#, r#""\ud83d\ude00""#);
        check(r#""\ud800x""#, r#""\ud800x""#);
    }

    #[test]
    fn numbers_and_literals_stay() {
        check("[9007199254740993,-0.50,1E5,true,null]", "[9007199254740993, -0.50, 1E5, true, null]");
    }

    #[test]
    fn an_unterminated_string_does_not_panic() {
        check(r#""abc\"#, r#""abc""#);
        check(r#""abc\u12"#, r#""abcu12""#);
    }
}
