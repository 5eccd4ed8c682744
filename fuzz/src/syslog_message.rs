//! Whatever an event holds is exactly one message of RFC 5424 with the fields that it had, in either framing; a long one is
//! parts that make it up.

use std::borrow::Cow;
use std::time::Duration;

use forwarder::event::{Body, BodyError, Format, Head, Pair, SyslogHead, Time};
use forwarder::siem::syslog::{
    Config, Delivery, Framing, Layout, Oversize, Standard, SyslogFormat, Target, Transport, frames,
};

use super::input::Input;
use super::rfc5424::{self, Element, Message};

/// An event and the settings for it.
#[derive(Debug, Clone, Default)]
pub struct Case {
    pub octet: bool,
    pub bom: bool,
    pub truncate: bool,
    /// Beside the least that there is.
    pub max_message: usize,
    pub facility: u8,
    pub severity: u8,
    pub seconds: i32,
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

/// How the event looks, its fields, then its text.
pub fn syslog_message(input: &[u8]) {
    let mut input = Input::new(input);
    let look = input.byte();
    let mut case = Case {
        octet: look & 1 == 1,
        bom: look & 2 == 2,
        truncate: look & 4 == 4,
        max_message: usize::from(input.byte()) * 4,
        facility: input.byte() % 24,
        severity: input.byte() % 8,
        seconds: input.number() as i32,
        nanos: input.number() % 1_000_000_000,
        host: input.piece().to_vec(),
        program: input.piece().to_vec(),
        procid: input.piece().to_vec(),
        msgid: input.piece().to_vec(),
        ..Case::default()
    };
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
    assert!(!read.is_empty());
    assert!(read.iter().all(|message| message.len() <= config.layout.max_message));
    let whole = String::from_utf8_lossy(&case.text);
    let messages: Vec<Message> = read.into_iter().map(rfc5424::message).collect();
    for message in &messages {
        same_header(case, message);
    }
    let sent: String = messages.iter().map(|message| message.text.as_str()).collect();
    if messages.len() == 1 && case.truncate && sent.contains(" [truncated: ") {
        return;
    }
    assert_eq!(rfc5424::unescape(&sent, !case.octet), whole);
    if messages.len() == 1 {
        assert_eq!(messages[0].bom, (case.bom && !whole.is_empty()) || whole.starts_with('\u{feff}'));
        return;
    }
    for (place, message) in messages.iter().enumerate() {
        let (_, pairs) = message.elements.iter().find(|(id, _)| id == "part@32473").expect("a part says so");
        let value = |name: &str| pairs.iter().rev().find(|(known, _)| known == name).map(|(_, value)| &**value);
        assert_eq!(value("part"), Some(&*(place + 1).to_string()));
        assert_eq!(value("of"), Some(&*messages.len().to_string()));
    }
}

fn same_header(case: &Case, message: &Message) {
    assert_eq!((message.facility, message.severity), (case.facility, case.severity));
    let timestamp = message.timestamp.as_deref().expect("a time");
    let moment = jiff::Timestamp::new(case.seconds.into(), case.nanos as i32).unwrap();
    let micros = jiff::Timestamp::from_nanosecond(moment.as_nanosecond().div_euclid(1000) * 1000).unwrap();
    assert_eq!(timestamp.parse::<jiff::Timestamp>().unwrap(), micros, "{timestamp}");
    let cleaned = |bytes: &[u8], most: usize| -> Option<String> {
        let cut = &bytes[..bytes.len().min(most)];
        let text: String = cut.iter().map(|&byte| if byte.is_ascii_graphic() { byte.into() } else { '_' }).collect();
        (!text.is_empty() && text != "-").then_some(text)
    };
    let default = |text: Option<String>, bytes: &[u8], default: &str| {
        if bytes.is_empty() { Some(default.to_owned()) } else { text }
    };
    let is_address = || std::str::from_utf8(&case.host).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok());
    let host = cleaned(&case.host, 255).map(|text| if is_address() { text } else { text.replace(['[', ':'], "_") });
    assert_eq!(message.hostname, default(host, &case.host, "host-of-settings"));
    assert_eq!(message.program, default(cleaned(&case.program, 48), &case.program, "program"));
    assert_eq!(message.procid, cleaned(&case.procid, 128));
    assert_eq!(message.msgid, cleaned(&case.msgid, 32));
    let mut expected: Vec<Element> = Vec::new();
    let name = |bytes: &[u8]| -> String {
        let clean = |byte: u8| if byte.is_ascii_graphic() && !b"=]\"".contains(&byte) { byte.into() } else { '_' };
        let name: String = bytes.iter().take(32).map(|&byte| clean(byte)).collect();
        if name.is_empty() { "_".to_owned() } else { name }
    };
    for (id, pairs) in &case.elements {
        let value = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let pairs = pairs.iter().map(|(key, text)| (name(key), value(text)));
        match expected.iter_mut().find(|(known, _)| *known == name(id)) {
            Some((_, known)) => known.extend(pairs),
            None => expected.push((name(id), pairs.collect())),
        }
    }
    let read = message.elements.iter().map(|(id, pairs)| {
        let pairs = pairs.iter().map(|(key, text)| (key.clone(), rfc5424::unescape(text, !case.octet)));
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
            standard: Standard::Rfc5424,
            facility: 1,
            severity: 6,
            hostname: "host-of-settings".to_owned(),
            program: "program".to_owned(),
            separator: "||".to_owned(),
            structured_data: Vec::new(),
            bom: case.bom,
            compat: None,
            max_message: 480 + case.max_message,
            oversize: if case.truncate { Oversize::Truncate } else { Oversize::Split },
        },
        connect_timeout: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        delivery: Delivery::Sent,
    }
}
