//! Text that cannot leave its place: header fields, and what stands in a message.

use std::net::Ipv6Addr;

use crate::destination::syslog::Framing;

/// How control characters within a message or a PARAM-VALUE are written.
///
/// One that would end the frame is written as `#` and three octal digits, as rsyslog does on receipt: a line feed is
/// `#012`. A `#` in front of what would read as such is written `#043`, so that the text can be had back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Escape {
    /// All but the tab, which LEEF needs; else NUL alone, behind which receivers written in C see nothing.
    controls: bool,
    /// Whether `#` is escaped too.
    reversible: bool,
}

impl Escape {
    /// What `framing` calls for. `exact` leaves a `#` in the text as it is.
    pub(super) fn new(framing: Framing, exact: bool) -> Self {
        Self { controls: framing == Framing::Lf, reversible: !exact }
    }

    /// Cleans `out` from `start` on, in place: invalid UTF-8 becomes U+FFFD, control characters are escaped.
    pub(super) fn clean(self, start: usize, out: &mut Vec<u8>) {
        let text = &out[start..];
        if self.is_plain(text) && std::str::from_utf8(text).is_ok() {
            return;
        }
        let text = out.split_off(start);
        self.append(&text, out);
    }

    /// Appends `text`, cleaned.
    pub(super) fn append(self, text: &[u8], out: &mut Vec<u8>) {
        out.reserve(text.len());
        for chunk in text.utf8_chunks() {
            self.append_valid(chunk.valid().as_bytes(), out);
            if !chunk.invalid().is_empty() {
                out.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
    }

    fn append_valid(self, text: &[u8], out: &mut Vec<u8>) {
        let mut rest = text;
        while let Some(at) = rest.iter().position(|&byte| self.is_suspect(byte)) {
            let (plain, from) = rest.split_at(at);
            out.extend_from_slice(plain);
            let byte = from[0];
            if byte != b'#' || self.is_code(&from[1..]) {
                out.extend_from_slice(&[b'#', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)]);
            } else {
                out.push(byte);
            }
            rest = &from[1..];
        }
        out.extend_from_slice(rest);
    }

    /// The last place up to `at` where cleaned `text` may be cut: within neither a character nor an escape.
    pub(super) fn cut(self, text: &[u8], at: usize) -> usize {
        if at >= text.len() {
            return text.len();
        }
        let mut cut = at;
        while cut > 0 && text[cut] & 0xc0 == 0x80 {
            cut -= 1;
        }
        let torn = |&back: &usize| back <= cut && text[cut - back] == b'#' && self.is_code(&text[cut - back + 1..]);
        cut - (1..=3).find(torn).unwrap_or(0)
    }

    /// No branch within, so that the compiler takes many bytes at once.
    fn is_plain(self, text: &[u8]) -> bool {
        !text.iter().fold(false, |suspect, &byte| suspect | self.is_suspect(byte))
    }

    fn is_suspect(self, byte: u8) -> bool {
        self.is_escaped(byte) | (self.reversible & (byte == b'#'))
    }

    fn is_escaped(self, byte: u8) -> bool {
        (byte == 0) | (self.controls & (((byte < b' ') & (byte != b'\t')) | (byte == 0x7f)))
    }

    /// Whether what follows a `#` makes it an escape of ours.
    fn is_code(self, digits: &[u8]) -> bool {
        match *digits {
            [a @ b'0'..=b'1', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                let byte = (a - b'0') << 6 | (b - b'0') << 3 | (c - b'0');
                byte == b'#' || self.is_escaped(byte)
            }
            _ => false,
        }
    }
}

/// Appends a header field: PRINTUSASCII (RFC 5424 section 6), other bytes as `_`, cut to `most` bytes; when there is
/// nothing, the NILVALUE.
pub(super) fn field(text: &[u8], most: usize, out: &mut Vec<u8>) {
    if text.is_empty() {
        out.push(b'-');
    }
    name(text, most, |byte| byte.is_ascii_graphic(), out);
}

/// Appends a HOSTNAME: a header field in which brackets and colons stand in an IPv6 address only. At any other one syslog-ng
/// refuses the whole message.
pub(super) fn host(text: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    field(text, 255, out);
    let host = &mut out[start..];
    let is_address = || std::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
    if host.iter().any(|byte| b"[:".contains(byte)) && !is_address() {
        host.iter_mut().filter(|byte| b"[:".contains(byte)).for_each(|byte| *byte = b'_');
    }
}

/// Appends a name of these bytes, others as `_`, cut to `most`.
pub(super) fn name(text: &[u8], most: usize, allowed: impl Fn(u8) -> bool, out: &mut Vec<u8>) {
    let text = &text[..text.len().min(most)];
    out.extend(text.iter().map(|&byte| if allowed(byte) { byte } else { b'_' }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(escape: Escape, text: &[u8], expected: &str) {
        let mut out = b"kept\n".to_vec();
        out.extend_from_slice(text);
        escape.clean(5, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("kept\n{expected}"));
    }

    #[test]
    fn with_line_feeds_as_frames_no_control_character_but_the_tab_stays() {
        let lf = Escape::new(Framing::Lf, false);
        check(lf, b"||k=C:\\new||q=\"x\" 1|2=3", "||k=C:\\new||q=\"x\" 1|2=3");
        check(lf, b"a\nb\r\nc\0d\te\x1b[0m\x7f", "a#012b#015#012c#000d\te#033[0m#177");
        check(lf, "\u{85}\u{9b} é😀".as_bytes(), "\u{85}\u{9b} é😀");
        check(lf, b"\xff\xfe ok \xc3", "\u{fffd}\u{fffd} ok \u{fffd}");
        check(lf, b"", "");
    }

    #[test]
    fn with_a_count_in_front_only_nul_is_escaped() {
        let octet = Escape::new(Framing::Octet, false);
        check(octet, b"a\nb\0c\x7f", "a\nb#000c\x7f");
        check(octet, b"#012 #000 #043", "#012 #043000 #043043");
    }

    #[test]
    fn a_hash_is_escaped_where_it_would_read_as_an_escape() {
        let lf = Escape::new(Framing::Lf, false);
        check(lf, b"#12 #1 ## #012 #043 #177 #178 #040 #123 #", "#12 #1 ## #043012 #043043 #043177 #178 #040 #123 #");
        check(lf, b"##012 #\n", "##043012 ##012");
        let exact = Escape::new(Framing::Lf, true);
        check(exact, b"#012 \n", "#012 #012");
    }

    #[test]
    fn a_cut_tears_neither_a_character_nor_an_escape() {
        let lf = Escape::new(Framing::Lf, false);
        let check = |text: &str, expected: &[usize]| {
            let cuts: Vec<_> = (0..=text.len()).map(|at| lf.cut(text.as_bytes(), at)).collect();
            assert_eq!(cuts, expected, "{text}");
        };
        check("abc", &[0, 1, 2, 3]);
        check("a😀b", &[0, 1, 1, 1, 1, 5, 6]);
        check("a#012b", &[0, 1, 1, 1, 1, 5, 6]);
        check("a#01", &[0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_header_field_is_ascii_that_can_be_seen_and_short() {
        let check = |text: &[u8], expected: &str| {
            let mut out = Vec::new();
            field(text, 8, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check(b"host-1", "host-1");
        check(b"", "-");
        check(b"a b\nc\x7f", "a_b_c_");
        check("é".as_bytes(), "__");
        check(b"123456789", "12345678");
    }

    #[test]
    fn a_host_has_colons_and_brackets_only_as_an_address() {
        let check = |text: &str, expected: &str| {
            let mut out = b"a:[".to_vec();
            host(text.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("a:[{expected}"));
        };
        check("host-1.example", "host-1.example");
        check("2001:db8::1", "2001:db8::1");
        check("192.0.2.1:514", "192.0.2.1_514");
        check("[::1]", "___1]");
        check("a[0]: b", "a_0]__b");
        check("", "-");
    }
}
