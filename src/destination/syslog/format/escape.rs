//! Text that stays in its place: header fields, and the text of messages.

use std::net::Ipv6Addr;

use crate::core::event::{PairPlace, PairPlaces};
use crate::core::name;
use crate::destination::syslog::Framing;

/// Longest HOSTNAME.
const HOSTNAME: usize = 255;

/// How control characters within a message or a PARAM-VALUE are written.
///
/// A control character that would end the frame is written as `#` and three octal digits, as rsyslog does on receipt:
/// a line feed is `#012`. A `#` before text that looks like such an escape is written as `#043`, so that the text can
/// be restored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Escape {
    /// All control characters except the tab, which LEEF needs; otherwise only NUL, after which receivers written in
    /// C see nothing.
    controls: bool,
    /// Whether `#` is escaped too.
    reversible: bool,
    /// The separator's first byte, if separators within keys and values are escaped.
    separator: Option<u8>,
}

/// Bytes that are looked at together.
const LANES: usize = 32;

/// What one pass over a text tells about it.
struct Survey {
    /// Only printable ASCII, and no `#`: nothing needs an escape.
    is_plain: bool,
    /// How often the byte occurs that was asked for.
    found: usize,
    /// How often `=` occurs.
    equals: usize,
}

impl Escape {
    /// The escapes that `framing` needs. `exact` keeps `#` and separators in the text unchanged.
    pub(super) fn new(framing: Framing, exact: bool, separator: &str) -> Self {
        // An escape begins with `#` and ends with a digit, and a pair contains `=`: separators of these characters
        // would be ambiguous.
        let first = separator.bytes().next().filter(|first| first.is_ascii() && !matches!(first, b'#' | b'0'..=b'7'));
        let separator = first.filter(|_| !exact && !separator.contains('='));
        Self { controls: framing == Framing::Lf, reversible: !exact, separator }
    }

    /// Cleans `out` from `start` on, in place: invalid UTF-8 becomes U+FFFD, control characters are escaped.
    pub(super) fn clean(self, start: usize, out: &mut Vec<u8>) {
        let text = &out[start..];
        if self.suspect(text).is_none() && std::str::from_utf8(text).is_ok() {
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

    /// Cleans the text that `out` holds from `start` on, in place: invalid UTF-8 becomes U+FFFD, and control characters
    /// are escaped. If it is pairs, separators in their keys and values are escaped too, and `=` in keys, so that one
    /// pair cannot look like two. See [`PairPlaces`] for `places`.
    pub(super) fn clean_pairs(self, start: usize, separator: &[u8], places: &PairPlaces, out: &mut Vec<u8>) {
        let text = &out[start..];
        let first = self.separator.filter(|_| !places.is_empty());
        let rarest = separator.iter().copied().find(|byte| !byte.is_ascii_whitespace()).or(first).unwrap_or_default();
        let survey = Survey::of(text, rarest);
        match first {
            Some(first) if survey.may_forge(text, separator, rarest, places) => {
                let text = out.split_off(start);
                self.append_pairs(&text, first, separator, places, out);
            }
            _ if survey.is_plain => {}
            _ => self.clean(start, out),
        }
    }

    fn append_pairs(self, text: &[u8], first: u8, separator: &[u8], places: &PairPlaces, out: &mut Vec<u8>) {
        let mut behind = places.iter().skip(1).map(|next| next.key - separator.len()).chain([text.len()]);
        for PairPlace { key, equals } in places.iter() {
            let end = behind.next().unwrap_or(text.len());
            let separates = |from: &[u8]| from[0] == first && begins(from, separator);
            self.append(separator, out);
            let key = &text[key..equals];
            let forged = |from: &[u8]| from[0] == b'=' || separates(from);
            self.append_piece(key, |rest| memchr::memchr2(b'=', first, rest), forged, out);
            out.push(b'=');
            let value = &text[equals + 1..end];
            self.append_piece(value, |rest| memchr::memchr(first, rest), separates, out);
        }
    }

    /// Appends a key or a value: cleaned, with the bytes escaped that `find` finds and at which `is_forged` holds.
    fn append_piece(
        self,
        text: &[u8],
        find: impl Fn(&[u8]) -> Option<usize>,
        is_forged: impl Fn(&[u8]) -> bool,
        out: &mut Vec<u8>,
    ) {
        let (mut written, mut at) = (0, 0);
        while let Some(found) = find(&text[at..]) {
            at += found;
            if is_forged(&text[at..]) {
                self.append(&text[written..at], out);
                push_code(text[at], out);
                written = at + 1;
            }
            at += 1;
        }
        self.append(&text[written..], out);
    }

    fn append_valid(self, text: &[u8], out: &mut Vec<u8>) {
        let mut rest = text;
        while let Some(at) = self.suspect(rest) {
            let (plain, from) = rest.split_at(at);
            out.extend_from_slice(plain);
            let byte = from[0];
            if byte != b'#' || self.is_code(&from[1..]) {
                push_code(byte, out);
            } else {
                out.push(byte);
            }
            rest = &from[1..];
        }
        out.extend_from_slice(rest);
    }

    /// The last position up to `at` where cleaned `text` may be cut: not within a character or an escape.
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

    /// The position of the first byte that may need an escape.
    fn suspect(self, text: &[u8]) -> Option<usize> {
        // Without an early exit, the bytes of a piece are checked at once.
        let (pieces, _) = text.as_chunks::<LANES>();
        let is_any = |piece: &[u8; LANES]| piece.iter().fold(false, |any, &byte| any | self.is_suspect(byte));
        let begin = LANES * pieces.iter().position(is_any).unwrap_or(pieces.len());
        text[begin..].iter().position(|&byte| self.is_suspect(byte)).map(|at| begin + at)
    }

    fn is_suspect(self, byte: u8) -> bool {
        self.is_escaped(byte) | (self.reversible & (byte == b'#'))
    }

    fn is_escaped(self, byte: u8) -> bool {
        (byte == 0) | (self.controls & (((byte < b' ') & (byte != b'\t')) | (byte == 0x7f)))
    }

    /// Whether the text after a `#` makes it look like one of our escapes.
    fn is_code(self, digits: &[u8]) -> bool {
        match *digits {
            [a @ b'0'..=b'1', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                let byte = (a - b'0') << 6 | (b - b'0') << 3 | (c - b'0');
                byte == b'#'
                    || self.is_escaped(byte)
                    || (self.separator.is_some() && byte == b'=')
                    || self.separator == Some(byte)
            }
            _ => false,
        }
    }
}

impl Survey {
    /// Looks at all bytes, and counts `wanted`.
    fn of(text: &[u8], wanted: u8) -> Self {
        // Each lane counts in one byte, so that the compiler processes all lanes at once.
        const MAX_BLOCK: usize = LANES * u8::MAX as usize;
        // Signed, and one up: DEL and all bytes that are not ASCII become negative, or 0.
        let is_odd = |byte: u8| (byte.wrapping_add(1).cast_signed() <= b' '.cast_signed()) | (byte == b'#');
        let mut survey = Self { is_plain: true, found: 0, equals: 0 };
        for block in text.chunks(MAX_BLOCK) {
            let (mut odd, mut found, mut equals) = ([0_u8; LANES], [0_u8; LANES], [0_u8; LANES]);
            let (pieces, rest) = block.as_chunks::<LANES>();
            for piece in pieces {
                for lane in 0..LANES {
                    odd[lane] |= u8::from(is_odd(piece[lane]));
                    found[lane] += u8::from(piece[lane] == wanted);
                    equals[lane] += u8::from(piece[lane] == b'=');
                }
            }
            let sum = |lanes: [u8; LANES]| lanes.iter().map(|&count| usize::from(count)).sum::<usize>();
            let count = |wanted: u8| rest.iter().filter(|&&byte| byte == wanted).count();
            survey.is_plain &= odd == [0; LANES] && !rest.iter().any(|&byte| is_odd(byte));
            survey.found += sum(found) + count(wanted);
            survey.equals += sum(equals) + count(b'=');
        }
        survey
    }

    /// Whether a key or a value may need an escape. Counting decides it for nearly all texts.
    fn may_forge(&self, text: &[u8], separator: &[u8], rarest: u8, places: &PairPlaces) -> bool {
        let is_odd_key = |place: PairPlace| text[place.key..place.equals].contains(&b'=');
        self.found != places.len() * separator.iter().filter(|&&byte| byte == rarest).count()
            || self.equals != places.len() && places.iter().any(is_odd_key)
    }
}

/// Whether a separator begins at `from`, followed by another one.
fn begins(from: &[u8], separator: &[u8]) -> bool {
    match from.get(..separator.len()) {
        Some(whole) => whole == separator,
        None => separator.starts_with(from) && separator.starts_with(&separator[from.len()..]),
    }
}

fn push_code(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'#', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)]);
}

/// Appends a header field: PRINTUSASCII (RFC 5424 section 6), at most `most` bytes, as [`name::write`] does; for
/// empty text, the NILVALUE.
pub(super) fn field(text: &[u8], most: usize, out: &mut Vec<u8>) {
    match text {
        b"" => out.push(b'-'),
        text => name::write(text, most, |byte| byte.is_ascii_graphic(), out),
    }
}

/// Appends a HOSTNAME: a header field with brackets and colons only in an IPv6 address. Otherwise syslog-ng refuses
/// the whole message.
pub(super) fn host(text: &[u8], out: &mut Vec<u8>) {
    let in_address = |byte: &u8| b"[:".contains(byte);
    if !text.iter().any(in_address) || std::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok()) {
        field(text, HOSTNAME, out);
    } else {
        name::write(text, HOSTNAME, |byte| byte.is_ascii_graphic() && !in_address(&byte), out);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(escape: Escape, text: &[u8], expected: &str) {
        let mut out = b"kept\n".to_vec();
        out.extend_from_slice(text);
        escape.clean_pairs(5, b"", &PairPlaces::default(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("kept\n{expected}"));
    }

    #[test]
    fn with_line_feed_framing_every_control_character_except_tab_is_escaped() {
        let lf = Escape::new(Framing::Lf, false, "||");
        check(lf, b"||k=C:\\new||q=\"x\" 1|2=3", "||k=C:\\new||q=\"x\" 1|2=3");
        check(lf, b"a\nb\r\nc\0d\te\x1b[0m\x7f", "a#012b#015#012c#000d\te#033[0m#177");
        check(lf, "\u{85}\u{9b} é😀".as_bytes(), "\u{85}\u{9b} é😀");
        check(lf, b"\xff\xfe ok \xc3", "\u{fffd}\u{fffd} ok \u{fffd}");
        check(lf, b"", "");
    }

    #[test]
    fn with_octet_counting_only_nul_is_escaped() {
        let octet = Escape::new(Framing::Octet, false, "||");
        check(octet, b"a\nb\0c\x7f", "a\nb#000c\x7f");
        check(octet, b"#012 #000 #043", "#012 #043000 #043043");
    }

    #[test]
    fn a_hash_that_would_read_as_an_escape_is_escaped() {
        let lf = Escape::new(Framing::Lf, false, "||");
        check(lf, b"#12 #1 ## #012 #043 #177 #178 #040 #123 #", "#12 #1 ## #043012 #043043 #043177 #178 #040 #123 #");
        check(lf, b"##012 #\n", "##043012 ##012");
        let exact = Escape::new(Framing::Lf, true, "||");
        check(exact, b"#012 \n", "#012 #012");
    }

    /// A text of these pairs, with the separator of each.
    fn paired(escape: Escape, separator: &str, pairs: &[(String, String)]) -> String {
        let (mut out, mut places) = (b"kept\n".to_vec(), PairPlaces::default());
        for (key, value) in pairs {
            out.extend_from_slice(separator.as_bytes());
            let begins = out.len() - 5;
            out.extend_from_slice(key.as_bytes());
            places.push(PairPlace { key: begins, equals: out.len() - 5 });
            out.extend_from_slice(format!("={value}").as_bytes());
        }
        escape.clean_pairs(5, separator.as_bytes(), &places, &mut out);
        String::from_utf8(out).unwrap().strip_prefix("kept\n").unwrap().to_owned()
    }

    #[test]
    fn neither_a_key_nor_a_value_can_forge_a_pair() {
        let check = |separator: &str, pairs: &[(&str, &str)], expected: &str| {
            let pairs: Vec<_> = pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
            assert_eq!(paired(Escape::new(Framing::Lf, false, separator), separator, &pairs), expected);
        };
        check("||", &[("k", "v||id=forged"), ("n", "1")], "||k=v#174|id=forged||n=1");
        check("||", &[("k", "a|b"), ("url", "/?a=1")], "||k=a|b||url=/?a=1");
        check("||", &[("k", "|||"), ("n", "|")], "||k=#174#174#174||n=#174");
        check("||", &[("user=root", "x"), ("a||b", "y")], "||user#075root=x||a#174|b=y");
        check("||", &[("k", "#174|#075\n||"), ("", "")], "||k=#043174|#043075#012#174#174||=");
        check(", ", &[("k", "a,b"), ("l", "a, b,")], ", k=a,b, l=a#054 b,");
        check("\t", &[("k", "a\tb")], "\tk=a#011b");
        let exact = Escape::new(Framing::Lf, true, "||");
        assert_eq!(paired(exact, "||", &[("k".to_owned(), "v||id=forged#174".to_owned())]), "||k=v||id=forged#174");
    }

    proptest! {
        /// The decoding rule that docs/syslog.md gives.
        #[test]
        fn pairs_can_be_decoded(
            pairs in proptest::collection::vec(("[|=#174a]{0,6}", "[|=#0174a\n ]{0,8}"), 1..40),
            separator in proptest::sample::select(vec!["||", "|", ", ", " ", "\t", "|-|", ";;;"]),
        ) {
            let text = paired(Escape::new(Framing::Lf, false, separator), separator, &pairs);
            let unescaped = |text: &str| {
                let codes = ["#012", "#043", "#075", &format!("#{:03o}", separator.as_bytes()[0])].map(str::to_owned);
                let (mut read, mut rest) = (String::new(), text);
                while let Some(at) = rest.find('#') {
                    let (plain, from) = rest.split_at(at);
                    read += plain;
                    let is_code = codes.iter().any(|code| from.starts_with(code.as_str()));
                    read.push(if is_code { char::from(u8::from_str_radix(&from[1..4], 8).unwrap()) } else { '#' });
                    rest = &from[if is_code { 4 } else { 1 }..];
                }
                read + rest
            };
            let read: Vec<_> = text.split(separator).skip(1).map(|pair| {
                let (key, value) = pair.split_once('=').unwrap();
                (unescaped(key), unescaped(value))
            }).collect();
            prop_assert_eq!(read, pairs, "{}", text);
        }
    }

    proptest! {
        /// Goes red when a count of a lane overflows, or the bytes behind the last whole piece are not looked at.
        #[test]
        fn a_survey_is_what_looking_at_each_byte_tells(
            pieces in proptest::collection::vec(("[|=a]{0,40}|[ -~]{0,99}|[=#\\t\u{80}é]{0,3}", 1..600_usize), 0..6),
        ) {
            let text: String = pieces.iter().map(|(piece, times)| piece.repeat(*times)).collect();
            let Survey { is_plain, found, equals } = Survey::of(text.as_bytes(), b'|');
            let count = |wanted| text.bytes().filter(|byte| *byte == wanted).count();
            let expected = text.bytes().all(|byte| matches!(byte, 0x20..=0x7e) && byte != b'#');
            prop_assert_eq!((is_plain, found, equals), (expected, count(b'|'), count(b'=')));
        }
    }

    #[test]
    fn a_cut_splits_neither_a_character_nor_an_escape() {
        let lf = Escape::new(Framing::Lf, false, "||");
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
    fn a_header_field_is_short_printable_ascii() {
        let check = |text: &[u8], expected: &str| {
            let mut out = Vec::new();
            field(text, 48, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check(b"host-1", "host-1");
        check(b"", "-");
        check(b"a b", "a_x20_b");
        check("é".as_bytes(), "_xC3A9_");
    }

    #[test]
    fn a_host_has_colons_and_brackets_only_if_it_is_an_ip_address() {
        let check = |text: &str, expected: &str| {
            let mut out = b"a:[".to_vec();
            host(text.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("a:[{expected}"));
        };
        check("host-1.example", "host-1.example");
        check("2001:db8::1", "2001:db8::1");
        check("192.0.2.1:514", "192.0.2.1_x3A_514");
        check("[::1]", "_x5B3A3A_1]");
        check("a[0]: b", "a_x5B_0]_x3A20_b");
        check("用户", "_xE794A8E688B7_");
        check("", "-");
    }
}
