//! Every event is exactly one RFC 5424 message with the fields of the event, in either framing; a long one is split
//! into parts that contain all of it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use forwarder::core::event::{Body, BodyError, Format, Head, Pair, SyslogHead, Time};
use forwarder::destination::syslog::{
    Config, Delivery, Framing, Layout, Oversize, Standard, SyslogFormat, Target, Transport, frames,
};
use jiff::tz::{Offset, TimeZone};

use super::input::Input;
use super::rfc3164;
use super::rfc5424::{self, Element, Message};

/// The standard, and the form of its time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Look {
    #[default]
    New,
    /// In the form of the vendor's script.
    Compat,
    Old,
    /// RFC 3164 with a full time.
    OldWhole,
}

impl Look {
    pub const ALL: [Self; 4] = [Self::New, Self::Compat, Self::Old, Self::OldWhole];

    fn is_old(self) -> bool {
        matches!(self, Self::Old | Self::OldWhole)
    }
}

/// An event and the settings for it.
#[derive(Debug, Clone, Default)]
pub struct Case {
    pub look: Look,
    /// The offset of the zone, in minutes.
    pub offset: i16,
    pub octet: bool,
    pub bom: bool,
    pub truncate: bool,
    /// In addition to the minimum.
    pub max_message: usize,
    pub facility: u8,
    pub severity: u8,
    pub seconds: i64,
    pub nanos: u32,
    pub host: Vec<u8>,
    pub program: Vec<u8>,
    pub procid: Vec<u8>,
    pub msgid: Vec<u8>,
    pub elements: Vec<(Vec<u8>, Pairs)>,
    pub text: Vec<u8>,
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

struct Text<'a>(&'a [u8]);

impl Body for Text<'_> {
    fn json(&mut self, _: &mut Vec<u8>) -> Result<(), BodyError> {
        unreachable!("syslog sends text")
    }

    fn text(&mut self, _: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError> {
        out.extend_from_slice(self.0);
        Ok(())
    }
}

/// The attributes of the event, its fields, then its text.
pub fn syslog_message(input: &[u8]) {
    let mut input = Input::new(input);
    let look = input.byte();
    let mut case = Case {
        look: Look::ALL[usize::from(look >> 5 & 3)],
        octet: look & 1 == 1,
        bom: look & 2 == 2,
        truncate: look & 4 == 4,
        max_message: usize::from(input.byte()) * 4,
        facility: input.byte() % 24,
        severity: input.byte() % 8,
        seconds: (input.number() as i32).into(),
        nanos: input.number() % 1_000_000_000,
        host: input.piece().to_vec(),
        program: input.piece().to_vec(),
        procid: input.piece().to_vec(),
        msgid: input.piece().to_vec(),
        ..Case::default()
    };
    if case.look != Look::New {
        case.offset = i16::from(input.byte() as i8) * 6;
    }
    for _ in 0..look >> 3 & 3 {
        let id = input.piece().to_vec();
        let pairs = (0..input.byte() & 3).map(|_| (input.piece().to_vec(), input.piece().to_vec()));
        case.elements.push((id, pairs.collect()));
    }
    case.text = input.rest().to_vec();
    check(&case);
}

/// Writes the event, reads it with the strict parser, and compares.
pub fn check(case: &Case) {
    let config = config(case);
    let text = |bytes: &[u8]| Some(Cow::Owned(bytes.to_vec()));
    let head = Head {
        time: Some(Time { digits: case.seconds.to_string().into(), nanos: Some(case.nanos) }),
        host: text(&case.host),
        syslog: SyslogHead {
            facility: Some(case.facility),
            severity: Some(case.severity),
            program: text(&case.program),
            procid: text(&case.procid),
            msgid: text(&case.msgid),
            structured_data: case.elements.iter().map(|(id, pairs)| (id.into(), lent(pairs))).collect(),
        },
        ..Head::default()
    };
    let mut out = b"kept".to_vec();
    let written = SyslogFormat::new(&config).write(&head, &mut Text(&case.text), &mut out);
    if let Err(error) = written {
        assert!(error.to_string().contains("header and structured data take"), "{error}");
        return;
    }
    let stream = out.strip_prefix(b"kept").expect("what was there stays");
    let read = if case.octet { rfc5424::counted(stream) } else { rfc5424::lines(stream) };
    let framing = if case.octet { Framing::Octet } else { Framing::Lf };
    assert_eq!(frames(stream, framing).collect::<Vec<_>>(), read);
    let longest = read.iter().map(|message| message.len()).max().expect("a message");
    assert!(longest <= config.layout.max_message);
    let whole = String::from_utf8_lossy(&case.text);
    if case.look.is_old() {
        let messages: Vec<_> = read.into_iter().map(|message| rfc3164::message(message, &timestamp(case))).collect();
        messages.iter().for_each(|message| same_old_header(case, message));
        return same_text(case, longest, &whole, &messages.iter().map(|message| &*message.text).collect::<Vec<_>>());
    }
    let messages: Vec<Message> = read.into_iter().map(rfc5424::message).collect();
    for message in &messages {
        same_header(case, message);
    }
    same_text(case, longest, &whole, &messages.iter().map(|message| &*message.text).collect::<Vec<_>>());
    if messages.len() == 1 {
        assert_eq!(messages[0].bom, (case.bom && !whole.is_empty()) || whole.starts_with('\u{feff}'));
        return;
    }
    let mut ids = BTreeSet::new();
    for (place, message) in messages.iter().enumerate() {
        let (_, pairs) = message.elements.iter().find(|(id, _)| id == "part@32473").expect("a part says so");
        let value = |name: &str| pairs.iter().rev().find(|(known, _)| known == name).map(|(_, value)| &**value);
        assert_eq!(value("part"), Some(&*(place + 1).to_string()));
        assert_eq!(value("of"), Some(&*messages.len().to_string()));
        ids.insert(value("id"));
    }
    assert_eq!(ids.len(), 1, "parts of one message have one id");
}

/// The texts of the parts make up the whole, or the beginning of it and its length.
fn same_text(case: &Case, longest: usize, whole: &str, texts: &[&str]) {
    let max_message = config(case).layout.max_message;
    if let [text] = texts
        && case.truncate
        && let Some((kept, note)) = text.rsplit_once(" [truncated: ")
    {
        assert!(sent(case, whole).starts_with(&unescaped(case, kept)), "{kept}");
        let (length, _) = note.split_once(" bytes, sha256 ").expect("how long it was");
        assert!(length.parse::<usize>().unwrap() >= whole.len(), "{note}");
        assert!(length.parse::<usize>().unwrap() > kept.len() && note.ends_with(']'), "{note}");
        // At most an escape and the room for a byte order mark are cut off.
        assert!(max_message < longest + 8, "{longest} bytes");
        return;
    }
    let mut joined = String::new();
    for (place, text) in texts.iter().enumerate() {
        let label = format!("[part {}/{} id=", place + 1, texts.len());
        let part = match texts.len() {
            1 => text,
            _ if case.look.is_old() => {
                text.strip_prefix(&label).and_then(|rest| rest.split_once("] ")).expect("a part").1
            }
            _ => text,
        };
        joined.push_str(part);
    }
    assert_eq!(unescaped(case, &joined), sent(case, whole));
}

/// The written text, decoded.
fn unescaped(case: &Case, text: &str) -> String {
    rfc5424::unescape(text, !case.octet)
}

/// The part of a text that can be decoded: the vendor's form does not distinguish an escape from text that looks like
/// one.
fn sent(case: &Case, text: &str) -> String {
    if case.look == Look::Compat { unescaped(case, text) } else { text.to_owned() }
}

/// The expected time, from the parts of a calendar.
fn timestamp(case: &Case) -> String {
    let zone = if case.look == Look::New { TimeZone::UTC } else { zone(case) };
    let moment = jiff::Timestamp::new(case.seconds, case.nanos as i32).unwrap().to_zoned(zone);
    if case.look == Look::Old {
        return moment.strftime("%b %e %H:%M:%S").to_string();
    }
    let micros = moment.subsec_nanosecond() / 1000;
    let shown = micros != 0 || case.look == Look::Compat;
    let fraction = if shown { format!(".{micros:06}") } else { String::new() };
    let offset = if moment.offset().is_zero() { "Z".to_owned() } else { moment.strftime("%:z").to_string() };
    format!("{}{fraction}{offset}", moment.strftime("%Y-%m-%dT%H:%M:%S"))
}

fn zone(case: &Case) -> TimeZone {
    let offset = Offset::from_seconds(i32::from(case.offset) * 60).expect("less than a day");
    TimeZone::fixed(offset)
}

fn same_old_header(case: &Case, message: &rfc3164::Message) {
    assert_eq!(message.priority, case.facility * 8 + case.severity);
    assert_eq!(message.hostname, host(case).unwrap_or_else(|| "-".to_owned()));
    let tag = if case.program.is_empty() { b"program" } else { &*case.program };
    assert_eq!(message.tag, named(tag, 32, |byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte)));
    let procid = (!case.procid.is_empty())
        .then(|| named(&case.procid, 128, |byte| byte.is_ascii_graphic() && !b"[]:".contains(&byte)));
    assert_eq!(message.procid, procid);
}

fn host(case: &Case) -> Option<String> {
    if case.host.is_empty() {
        return Some("host-of-settings".to_owned());
    }
    let is_address = std::str::from_utf8(&case.host).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok());
    let allowed = |byte: u8| byte.is_ascii_graphic() && (is_address || !b"[:".contains(&byte));
    Some(named(&case.host, 255, allowed)).filter(|text| text != "-")
}

fn cleaned(bytes: &[u8], most: usize) -> Option<String> {
    let text = (!bytes.is_empty()).then(|| named(bytes, most, |byte| byte.is_ascii_graphic()));
    text.filter(|text| text != "-")
}

/// The expected name; the tests of `name` check that it can be decoded.
fn named(bytes: &[u8], most: usize, allowed: impl Fn(u8) -> bool) -> String {
    let mut out = Vec::new();
    forwarder::core::name::write(bytes, most, allowed, &mut out);
    String::from_utf8(out).expect("ASCII")
}

fn same_header(case: &Case, message: &Message) {
    assert_eq!((message.facility, message.severity), (case.facility, case.severity));
    assert_eq!(message.timestamp.as_deref(), Some(&*timestamp(case)));
    let program = if case.program.is_empty() { b"program" } else { &*case.program };
    assert_eq!(message.hostname, host(case));
    assert_eq!(message.program, cleaned(program, 48));
    assert_eq!(message.procid, cleaned(&case.procid, 128));
    assert_eq!(message.msgid, cleaned(&case.msgid, 32));
    let mut expected: Vec<Element> = Vec::new();
    let name = |bytes: &[u8]| named(bytes, 32, |byte| byte.is_ascii_graphic() && !b"=]\"".contains(&byte));
    for (id, pairs) in &case.elements {
        let value = |bytes: &[u8]| sent(case, &String::from_utf8_lossy(bytes));
        let pairs = pairs.iter().map(|(key, text)| (name(key), value(text)));
        match expected.iter_mut().find(|(known, _)| *known == name(id)) {
            Some((_, known)) => known.extend(pairs),
            None => expected.push((name(id), pairs.collect())),
        }
    }
    let read = message.elements.iter().map(|(id, pairs)| {
        let pairs = pairs.iter().map(|(key, text)| (key.clone(), unescaped(case, text)));
        (id.clone(), pairs.collect::<Vec<_>>())
    });
    let read: Vec<Element> = read.filter(|(id, _)| id != "part@32473").collect();
    expected.retain(|(id, _)| id != "part@32473");
    assert_eq!(read, expected);
}

fn lent(pairs: &Pairs) -> Vec<Pair<'_>> {
    pairs.iter().map(|(key, value)| (key.into(), value.into())).collect()
}

fn config(case: &Case) -> Config {
    Config {
        targets: vec![Target { host: "127.0.0.1".to_owned(), port: 514 }],
        transport: Transport::Tcp,
        framing: if case.octet { Framing::Octet } else { Framing::Lf },
        layout: Layout {
            standard: match case.look {
                Look::New | Look::Compat => Standard::Rfc5424,
                old => Standard::Rfc3164 { full_time: old == Look::OldWhole, zone: zone(case) },
            },
            facility: 1,
            severity: 6,
            hostname: "host-of-settings".to_owned(),
            program: "program".to_owned(),
            separator: "||".to_owned(),
            structured_data: Vec::new(),
            bom: case.bom,
            compat: (case.look == Look::Compat).then(|| zone(case)),
            max_message: 480 + case.max_message,
            oversize: if case.truncate { Oversize::Truncate } else { Oversize::Split },
        },
        connect_timeout: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        delivery: Delivery::Sent,
    }
}
