//! The keys of `forwarder top`. Pure.

/// A key that was pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// A letter, a digit or another character.
    Char(char),
    Enter,
    Escape,
    Backspace,
    Up,
    Down,
    PageUp,
    PageDown,
    /// Ctrl-C, which raises no signal in raw mode.
    Interrupt,
}

/// The keys in these bytes, which one read of a terminal returned.
pub(super) fn keys(bytes: &[u8]) -> Vec<Key> {
    const SEQUENCES: [(&[u8], Key); 6] = [
        (b"\x1b[A", Key::Up),
        (b"\x1b[B", Key::Down),
        (b"\x1bOA", Key::Up),
        (b"\x1bOB", Key::Down),
        (b"\x1b[5~", Key::PageUp),
        (b"\x1b[6~", Key::PageDown),
    ];
    let mut keys = Vec::new();
    let mut rest = bytes;
    while let Some(&first) = rest.first() {
        if let Some((sequence, key)) = SEQUENCES.iter().find(|(sequence, _)| rest.starts_with(sequence)) {
            keys.push(*key);
            rest = &rest[sequence.len()..];
            continue;
        }
        match first {
            b'\r' | b'\n' => keys.push(Key::Enter),
            3 | 4 => keys.push(Key::Interrupt),
            8 | 127 => keys.push(Key::Backspace),
            // An unknown escape sequence: the bytes after it were not typed.
            0x1b if rest.len() > 1 && matches!(rest[1], b'[' | b'O') => return keys,
            0x1b => keys.push(Key::Escape),
            _ => {
                let length = rest.utf8_chunks().next().map_or("", |chunk| chunk.valid()).chars().next();
                if let Some(letter) = length {
                    if !letter.is_control() {
                        keys.push(Key::Char(letter));
                    }
                    rest = &rest[letter.len_utf8()..];
                    continue;
                }
            }
        }
        rest = &rest[1..];
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_input_is_read_as_keys_and_unknown_bytes_do_nothing() {
        assert_eq!(keys(b"q/"), [Key::Char('q'), Key::Char('/')]);
        assert_eq!(keys(b"\x1b[A\x1b[6~x"), [Key::Up, Key::PageDown, Key::Char('x')]);
        assert_eq!(
            keys("ü\r\x7f\x03\x1b".as_bytes()),
            [Key::Char('ü'), Key::Enter, Key::Backspace, Key::Interrupt, Key::Escape]
        );
        assert_eq!(keys(b"\x1b[15~q"), []);
        assert_eq!(keys(b"\xff\x00a"), [Key::Char('a')]);
    }
}
