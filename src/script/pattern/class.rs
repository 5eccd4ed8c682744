//! Single character classes: `%a` and `[set]`.

/// Whether the class `%letter` contains the byte. Classes know only ASCII, as in the C locale.
pub(super) fn in_class(byte: u8, letter: u8) -> bool {
    let has = match letter.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'g' => byte.is_ascii_graphic(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => matches!(byte, b'\t'..=b'\r' | b' '),
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        // No longer in the manual, but still in Lua's code.
        b'z' => byte == 0,
        _ => return letter == byte,
    };
    has != letter.is_ascii_uppercase()
}

/// Whether the set, given as the text between its brackets, contains the byte.
pub(super) fn in_set(byte: u8, set: &[u8]) -> bool {
    let (negated, mut rest) = match set.strip_prefix(b"^") {
        Some(rest) => (true, rest),
        None => (false, set),
    };
    loop {
        let (has, after) = match rest {
            [] => return negated,
            [b'%', letter, after @ ..] => (in_class(byte, *letter), after),
            [from, b'-', to, after @ ..] => ((*from..=*to).contains(&byte), after),
            [literal, after @ ..] => (*literal == byte, after),
        };
        if has {
            return !negated;
        }
        rest = after;
    }
}
