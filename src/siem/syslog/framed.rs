//! Octet-counted messages as they lie in a batch (RFC 6587 section 3.4.1), for transports with a framing of their own.

/// The first message of an event's bytes, and how many bytes it takes with its length before it. Bytes that are not
/// framed are one message.
pub(super) fn first(bytes: &[u8]) -> (&[u8], usize) {
    let framed = || {
        let space = bytes.iter().take(10).position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
        let end = space.checked_add(1)?.checked_add(length)?;
        Some((bytes.get(space + 1..end)?, end))
    };
    framed().unwrap_or((bytes, bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_one_by_one() {
        let bytes = b"5 <1>ab4 <2>c";
        assert_eq!(first(bytes), (&b"<1>ab"[..], 7));
        assert_eq!(first(&bytes[7..]), (&b"<2>c"[..], 6));
    }

    #[test]
    fn what_is_not_framed_is_one_message() {
        for bytes in [&b"<14>1 - x"[..], b"9 short", b"", b"99999999999999999999 x"] {
            assert_eq!(first(bytes), (bytes, bytes.len()));
        }
    }
}
