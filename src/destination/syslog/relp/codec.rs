//! Encodes and decodes frames: `TXNR SP COMMAND SP DATALEN [SP DATA] LF`.

use crate::destination::syslog::number::number as digits;

/// The highest transaction number; 1 follows it.
const LAST: u32 = 999_999_999;

/// Maximum size of an answer.
const MAX_ANSWER: usize = 128 * 1024;

/// Maximum number of digits.
const DIGITS: usize = 9;

/// Maximum number of letters of a command.
const LETTERS: usize = 32;

/// One frame of the receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) txnr: u32,
    pub(super) command: &'a str,
    pub(super) data: &'a [u8],
}

/// The receiver does not send valid RELP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it sends data that is not RELP: {0}")]
pub(super) struct NotRelp(&'static str);

/// The transaction number that follows.
pub(super) fn after(txnr: u32) -> u32 {
    if txnr >= LAST { 1 } else { txnr + 1 }
}

/// Appends a frame. Without data its length is 0 and nothing follows.
pub(super) fn frame(out: &mut Vec<u8>, txnr: u32, command: &str, data: &[u8]) {
    digits(txnr as usize, out);
    out.push(b' ');
    out.extend_from_slice(command.as_bytes());
    out.push(b' ');
    digits(data.len(), out);
    if !data.is_empty() {
        out.push(b' ');
        out.extend_from_slice(data);
    }
    out.push(b'\n');
}

/// Appends the offers that begin a session.
pub(super) fn open(out: &mut Vec<u8>) {
    let offers = concat!("relp_version=0\nrelp_software=forwarder,", env!("CARGO_PKG_VERSION"), "\ncommands=syslog");
    frame(out, 1, "open", offers.as_bytes());
}

/// The code of an answer. `200` is success.
pub(super) fn code(data: &[u8]) -> Option<u16> {
    let word = data.split(|byte| *byte <= b' ').next().unwrap_or_default();
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// Decodes the receiver's bytes into frames.
#[derive(Debug, Default)]
pub(super) struct Answers {
    bytes: Vec<u8>,
    start: usize,
}

impl Answers {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next complete frame, if there is one.
    pub(super) fn next(&mut self) -> Result<Option<Frame<'_>>, NotRelp> {
        let mut rest = Rest(&self.bytes[self.start..]);
        let Some(frame) = rest.frame()? else { return Ok(None) };
        self.start = self.bytes.len() - rest.0.len();
        Ok(Some(frame))
    }
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn frame(&mut self) -> Result<Option<Frame<'a>>, NotRelp> {
        let Some((txnr, end)) = self.word(DIGITS)? else { return Ok(None) };
        let txnr = number(txnr)?;
        if end != b' ' {
            return Err(NotRelp("a frame without a command"));
        }
        let Some((command, end)) = self.word(LETTERS)? else { return Ok(None) };
        if end != b' ' || !command.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err(NotRelp("an invalid command"));
        }
        let Some((length, end)) = self.word(DIGITS)? else { return Ok(None) };
        let length = number(length)? as usize;
        if length > MAX_ANSWER {
            return Err(NotRelp("an answer that is too long"));
        }
        if length == 0 && end == b'\n' {
            return Ok(Some(Frame { txnr, command, data: b"" }));
        }
        if end != b' ' {
            return Err(NotRelp("a frame without its data"));
        }
        if self.0.len() <= length {
            return Ok(None);
        }
        let (data, rest) = self.0.split_at(length);
        if rest[0] != b'\n' {
            return Err(NotRelp("a frame without an end"));
        }
        self.0 = &rest[1..];
        Ok(Some(Frame { txnr, command, data }))
    }

    /// The word up to the next space or line feed, and which of them it was.
    fn word(&mut self, most: usize) -> Result<Option<(&'a str, u8)>, NotRelp> {
        let seen = &self.0[..self.0.len().min(most + 1)];
        let Some(end) = seen.iter().position(|byte| matches!(byte, b' ' | b'\n')) else {
            return if seen.len() > most { Err(NotRelp("a word that is too long")) } else { Ok(None) };
        };
        let word = std::str::from_utf8(&seen[..end]).map_err(|_| NotRelp("a word that is not text"))?;
        let by = seen[end];
        self.0 = &self.0[end + 1..];
        Ok(Some((word, by)))
    }
}

fn number(word: &str) -> Result<u32, NotRelp> {
    let digits = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    if digits {
        word.parse().map_err(|_| NotRelp("a number that is too large"))
    } else {
        Err(NotRelp("an invalid number"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: &[(u32, &str, &[u8])]) {
        // For any division of the bytes into pieces.
        for size in [1, 2, 7, bytes.len().max(1)] {
            let mut answers = Answers::default();
            let mut frames = Vec::new();
            for piece in bytes.chunks(size) {
                answers.feed(piece);
                while let Some(Frame { txnr, command, data }) = answers.next().unwrap() {
                    frames.push((txnr, command.to_owned(), data.to_vec()));
                }
            }
            let expected: Vec<_> =
                expected.iter().map(|(txnr, command, data)| (*txnr, (*command).to_owned(), data.to_vec())).collect();
            assert_eq!(frames, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn replies_of_rsyslog_are_parsed() {
        let hello = b"1 rsp 93 200 OK\nrelp_version=0\nrelp_software=librelp,1.11.0,http://librelp.adiscon.com\ncommands=syslog\n";
        check(hello, &[(1, "rsp", &hello[9..hello.len() - 1])]);
        check(b"2 rsp 6 200 OK\n3 rsp 6 200 OK\n", &[(2, "rsp", b"200 OK"), (3, "rsp", b"200 OK")]);
        check(b"5 rsp 0\n0 serverclose 0\n", &[(5, "rsp", b""), (0, "serverclose", b"")]);
    }

    #[test]
    fn a_message_is_framed_as_rsyslog_expects() {
        let message = b"<14>1 2023-11-15T06:13:20.000000+08:00 host1 app - - - relp one";
        let mut out = Vec::new();
        frame(&mut out, 2, "syslog", message);
        assert_eq!(out, [b"2 syslog 63 ", &message[..], b"\n"].concat());
        out.clear();
        frame(&mut out, 5, "close", b"");
        assert_eq!(out, b"5 close 0\n");
    }

    #[test]
    fn text_that_is_not_relp_is_an_error() {
        for bad in ["HTTP/1.1 400 Bad Request\r\n", "x rsp 0\n", "1 rsp -1\n", "1 r5p 0\n", "1 rsp 3 abcd\n", "1\n"] {
            let mut answers = Answers::default();
            answers.feed(bad.as_bytes());
            assert!(answers.next().is_err(), "{bad:?}");
        }
        let mut answers = Answers::default();
        answers.feed(b"1 rsp 999999999 ");
        assert!(answers.next().is_err());
    }

    #[test]
    fn transaction_numbers_start_again_after_the_last() {
        assert_eq!((after(1), after(LAST)), (2, 1));
    }

    #[test]
    fn the_status_code_is_separated_from_the_text() {
        let check = |data: &[u8], expected| assert_eq!(code(data), expected);
        check(b"200 OK\nrelp_version=0", Some(200));
        check(b"200\tOK", Some(200));
        check(b"500 disk\tfull", Some(500));
        check(b"2000", Some(2000));
        check(b"", None);
    }
}
