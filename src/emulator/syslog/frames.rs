//! Splits a stream into messages.

/// A stream that is not syslog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a frame")]
pub(super) struct Garbage;

/// Maximum number of digits of a length.
const LENGTH: usize = 10;

/// The next message and the number of bytes that it took; `None` if it is not complete. Octet-counted if it begins with
/// a digit from 1 to 9 (RFC 6587 section 3.4.1), else it ends at a line feed.
pub(super) fn message(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Garbage> {
    match bytes.first() {
        None => Ok(None),
        Some(b'1'..=b'9') => {
            let Some((length, at)) = number(bytes, b' ')? else { return Ok(None) };
            let end = at.checked_add(length).ok_or(Garbage)?;
            Ok(bytes.get(at..end).map(|message| (message, end)))
        }
        Some(_) => Ok(memchr::memchr(b'\n', bytes).map(|end| (&bytes[..end], end + 1))),
    }
}

/// A RELP frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Relp<'a> {
    pub(super) txnr: usize,
    pub(super) command: &'a [u8],
    pub(super) data: &'a [u8],
    /// Bytes that it took.
    pub(super) length: usize,
}

/// The next RELP frame, if it is complete.
pub(super) fn relp(bytes: &[u8]) -> Result<Option<Relp<'_>>, Garbage> {
    let Some((txnr, at)) = number(bytes, b' ')? else { return Ok(None) };
    let Some(space) = bytes[at..].iter().position(|byte| *byte == b' ') else { return Ok(None) };
    let command = &bytes[at..at + space];
    let at = at + space + 1;
    if bytes[at..].starts_with(b"0\n") {
        return Ok(Some(Relp { txnr, command, data: b"", length: at + 2 }));
    }
    let Some((length, at)) = number(&bytes[at..], b' ')?.map(|(length, used)| (length, at + used)) else {
        return Ok(None);
    };
    match bytes.get(at + length) {
        None => Ok(None),
        Some(b'\n') => Ok(Some(Relp { txnr, command, data: &bytes[at..at + length], length: at + length + 1 })),
        Some(_) => Err(Garbage),
    }
}

/// A number, and where the text after its end begins.
fn number(bytes: &[u8], end: u8) -> Result<Option<(usize, usize)>, Garbage> {
    let digits = bytes.iter().take(LENGTH + 1).take_while(|byte| byte.is_ascii_digit()).count();
    if digits > LENGTH {
        return Err(Garbage);
    }
    match bytes.get(digits) {
        None => Ok(None),
        Some(byte) if *byte == end && digits > 0 => {
            let digits_text = std::str::from_utf8(&bytes[..digits]).expect("digits are text");
            Ok(Some((digits_text.parse().map_err(|_| Garbage)?, digits + 1)))
        }
        Some(_) => Err(Garbage),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_framings_are_distinguished_by_the_first_byte() {
        assert_eq!(message(b"4 <1>a<2>b\n"), Ok(Some((&b"<1>a"[..], 6))));
        assert_eq!(message(b"<2>b\n4 "), Ok(Some((&b"<2>b"[..], 5))));
        assert_eq!(message(b"5 <1>a"), Ok(None));
        assert_eq!(message(b"<2>b"), Ok(None));
        assert_eq!(message(b"4x<1>a"), Err(Garbage));
    }

    #[test]
    fn a_relp_frame_is_parsed() {
        let frame = relp(b"2 syslog 4 <1>a\n3 ").unwrap().unwrap();
        assert_eq!(frame, Relp { txnr: 2, command: b"syslog", data: b"<1>a", length: 16 });
        let frame = relp(b"5 close 0\n").unwrap().unwrap();
        assert_eq!(frame, Relp { txnr: 5, command: b"close", data: b"", length: 10 });
        assert_eq!(relp(b"2 syslog 4 <1>a"), Ok(None));
        assert_eq!(relp(b"2 syslog 4 <1>ab\n"), Err(Garbage));
    }
}
