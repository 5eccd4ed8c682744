//! Reads one level of a JSON text that is known to be valid.

/// The members of an object, or the items of an array, each with the text of its value.
pub(in crate::script) struct Members<'a> {
    rest: &'a [u8],
    object: bool,
}

/// One member. The key is the raw text between the quotes, empty in an array.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::script) struct Member<'a> {
    pub(in crate::script) key: &'a [u8],
    pub(in crate::script) value: &'a [u8],
}

impl<'a> Members<'a> {
    /// `text` is one object or array, without white space around it.
    pub(in crate::script) fn of(text: &'a [u8]) -> Self {
        Self { rest: text.get(1..).unwrap_or_default(), object: text.first() == Some(&b'{') }
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// Skips white space, commas and colons.
    fn step(&mut self) {
        let mark = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':');
        let len = self.rest.iter().position(|byte| !mark(byte)).unwrap_or(self.rest.len());
        self.take(len);
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        self.step();
        let first = *self.rest.first()?;
        if matches!(first, b'}' | b']') {
            return None;
        }
        let mut key: &[u8] = &[];
        if self.object {
            let quoted = self.take(value_len(self.rest));
            key = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
            self.step();
        }
        let value = self.take(value_len(self.rest));
        Some(Member { key, value })
    }
}

/// Maximum nesting depth of objects and arrays.
pub(in crate::script) fn levels(text: &[u8]) -> i64 {
    let (mut open, mut most, mut at) = (0_i64, 0, 0);
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => {
                at += string_len(&text[at..]);
                continue;
            }
            b'{' | b'[' => open += 1,
            b'}' | b']' => open -= 1,
            _ => {}
        }
        most = most.max(open);
        at += 1;
    }
    most
}

/// A key contains an escape, so its raw text differs from its value.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::script) struct EscapedKey;

/// The text of the value that an object has under this key: the last one, if the key is repeated.
///
/// # Errors
/// A key contains escapes, so its bytes cannot be compared.
pub(in crate::script) fn last<'a>(object: &'a [u8], key: &[u8]) -> Result<Option<&'a [u8]>, EscapedKey> {
    let mut found = None;
    for member in Members::of(object) {
        if member.key == key {
            found = Some(member.value);
        } else if memchr::memchr(b'\\', member.key).is_some() {
            return Err(EscapedKey);
        }
    }
    Ok(found)
}

/// Length of the value at the start of the text.
fn value_len(text: &[u8]) -> usize {
    match text.first() {
        Some(b'"') => string_len(text),
        Some(b'{' | b'[') => {
            let mut depth = 0usize;
            let mut at = 0;
            while let Some(&byte) = text.get(at) {
                match byte {
                    b'"' => {
                        at += string_len(&text[at..]);
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    break;
                }
            }
            at
        }
        _ => {
            let end = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
            text.iter().position(end).unwrap_or(text.len())
        }
    }
}

/// Length of the string at the start of the text, including the quotes.
pub(super) fn string_len(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(found) = text.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found;
        if text[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    text.len()
}

/// The text without JSON white space at both ends.
pub(in crate::script) fn trim(text: &[u8]) -> &[u8] {
    let white = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let start = text.iter().position(|byte| !white(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !white(byte)).map_or(start, |last| last + 1);
    &text[start..end]
}

/// Length of the escape at the start, `\u` and four hexadecimal digits, including the other half of a surrogate pair;
/// `None` for an unpaired surrogate.
pub(super) fn unicode_escape_len(text: &[u8]) -> Option<usize> {
    let unit = |escape: &[u8]| take_hex(&mut escape.strip_prefix(b"\\u")?);
    match unit(text)? {
        0xd800..0xdc00 => text.get(6..).and_then(unit).filter(|low| (0xdc00..0xe000).contains(low)).map(|_| 12),
        0xdc00..0xe000 => None,
        _ => Some(6),
    }
}

/// Overwrites each unpaired surrogate with U+FFFD, in a text that has backslashes only in strings.
pub(super) fn mend_surrogates(text: &mut [u8]) {
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)) {
        at += found;
        at += match text.get(at + 1) {
            Some(b'u') => unicode_escape_len(&text[at..]).unwrap_or_else(|| {
                if let Some(digits) = text.get_mut(at + 2..at + 6) {
                    digits.copy_from_slice(b"fffd");
                }
                6
            }),
            _ => 2,
        };
    }
}

/// Position of a number that is out of range for a double, such as 1e999. Most readers reject such a number, and the
/// whole text with it.
pub(super) fn number_beyond_doubles(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => at += string_len(&text[at..]),
            b'-' | b'0'..=b'9' => {
                let len = value_len(&text[at..]);
                if is_beyond_doubles(&text[at..at + len]) {
                    return Some(at);
                }
                at += len;
            }
            _ => at += 1,
        }
    }
    None
}

/// Whether a number is out of range for a double.
pub(super) fn is_beyond_doubles(number: &[u8]) -> bool {
    std::str::from_utf8(number).ok().and_then(|number| number.parse::<f64>().ok()).is_some_and(f64::is_infinite)
}

/// Appends the value of the raw text between the quotes of a JSON string. Unpaired surrogates become U+FFFD.
pub(in crate::script) fn unescape(inside: &[u8], out: &mut Vec<u8>) {
    let mut rest = inside;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let escape = rest.get(at + 1).copied().unwrap_or(b'\\');
        rest = rest.get(at + 2..).unwrap_or_default();
        match escape {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'b' => out.push(0x08),
            b'f' => out.push(0x0c),
            b'u' => {
                let mut code = take_hex(&mut rest).unwrap_or(0xfffd);
                if (0xd800..0xdc00).contains(&code) && rest.starts_with(b"\\u") {
                    let mut after = &rest[2..];
                    if let Some(low) = take_hex(&mut after).filter(|low| (0xdc00..0xe000).contains(low)) {
                        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                        rest = after;
                    }
                }
                let char = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            }
            same => out.push(same),
        }
    }
    out.extend_from_slice(rest);
}

fn take_hex(rest: &mut &[u8]) -> Option<u32> {
    let (digits, after) = rest.split_at_checked(4)?;
    let code = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    *rest = after;
    Some(code)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a\"\\\\\u{1}\u{4f60}\u{1f600}{}\\[\\],: ]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::vec(("[a\"\\\\,}]{0,3}", inner), 0..5)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    /// Rebuilds the value with `Members` and `unescape`.
    fn rebuild(text: &[u8]) -> Value {
        let read = |inside: &[u8]| {
            let mut out = Vec::new();
            unescape(inside, &mut out);
            String::from_utf8(out).unwrap()
        };
        match text[0] {
            b'{' => Members::of(text).map(|member| (read(member.key), rebuild(member.value))).collect(),
            b'[' => Members::of(text).map(|member| rebuild(member.value)).collect(),
            b'"' => read(&text[1..text.len() - 1]).into(),
            _ => serde_json::from_slice(text).unwrap(),
        }
    }

    proptest! {
        #[test]
        fn scanned_members_reproduce_the_value(tree in tree()) {
            for text in [serde_json::to_vec(&tree).unwrap(), serde_json::to_vec_pretty(&tree).unwrap()] {
                let same: Value = serde_json::from_slice(&text).unwrap();
                prop_assert_eq!(rebuild(&text), same);
            }
        }

        #[test]
        fn no_text_panics(text in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), Just(b'{'), Just(b'['), Just(b'}'), any::<u8>()], 0..20)) {
            Members::of(&text).take(100).for_each(drop);
            unescape(&text, &mut Vec::new());
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_replaced() {
        let check = |inside: &str, expected: &str| {
            let mut out = Vec::new();
            unescape(inside.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check(r"\ud83d\ude00", "\u{1f600}");
        check(r"\ud83dx", "\u{fffd}x");
        check(r"\ude00\u4f60\/", "\u{fffd}\u{4f60}/");
        check(r"\ud83d\u0041", "\u{fffd}A");
    }
}
