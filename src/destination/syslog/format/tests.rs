use std::time::Duration;

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::core::event::{Pair, SyslogHead, Time};
use crate::destination::syslog::{Delivery, Target};

/// A body of fixed text.
struct Text<'a>(&'a [u8]);

impl Body for Text<'_> {
    fn json(&mut self, _: &mut Vec<u8>) -> Result<(), BodyError> {
        unreachable!("syslog sends text")
    }

    fn text(&mut self, separator: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError> {
        assert_eq!(separator, b"||");
        out.extend_from_slice(self.0);
        Ok(())
    }

    fn log_time(&mut self) -> Option<Time<'static>> {
        Some(Time { digits: "1700000000".into(), nanos: None })
    }
}

fn config() -> Config {
    Config {
        targets: vec![Target { host: "127.0.0.1".to_owned(), port: 514 }],
        transport: Transport::Tcp,
        framing: Framing::Lf,
        layout: Layout {
            standard: Standard::Rfc5424,
            facility: 1,
            severity: 6,
            hostname: "host1".to_owned(),
            program: String::new(),
            separator: "||".to_owned(),
            structured_data: Vec::new(),
            bom: false,
            compat: None,
            max_message: 8_000,
            oversize: Oversize::Split,
        },
        connect_timeout: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        delivery: Delivery::Sent,
    }
}

fn rfc3164(zone: &str, full_time: bool) -> Config {
    let mut config = config();
    config.layout.standard = Standard::Rfc3164 { full_time, zone: TimeZone::get(zone).unwrap() };
    config
}

fn write(config: &Config, head: &Head<'_>, text: &[u8]) -> Result<Vec<u8>, BodyError> {
    let mut out = b"before".to_vec();
    SyslogFormat::new(config).write(head, &mut Text(text), &mut out)?;
    Ok(out.split_off(6))
}

#[track_caller]
fn check(config: &Config, head: &Head<'_>, text: &[u8], expected: &str) {
    let out = write(config, head, text).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

fn at(digits: &'static str) -> Head<'static> {
    Head { time: Some(Time { digits: digits.into(), nanos: None }), ..Head::default() }
}

fn pairs(pairs: &[(&'static str, &'static str)]) -> Vec<Pair<'static>> {
    pairs.iter().map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into())).collect()
}

#[test]
fn a_log_is_a_message_of_rfc_5424() {
    let text = "||__topic__=t||k=用户é😀";
    check(
        &config(),
        &at("1700000000"),
        text.as_bytes(),
        "<14>1 2023-11-14T22:13:20Z host1 - - - - ||__topic__=t||k=用户é😀\n",
    );
    let mut octet = config();
    octet.framing = Framing::Octet;
    check(&octet, &at("1700000000"), b"||k=v", "46 <14>1 2023-11-14T22:13:20Z host1 - - - - ||k=v");
}

#[test]
fn the_examples_of_the_rfc_are_reproduced() {
    // RFC 5424 section 6.5, examples 1, 3 and 4.
    let mut with_bom = config();
    with_bom.layout.bom = true;
    let head = Head {
        time: Some(Time { digits: "1065910455.003".into(), nanos: None }),
        host: Some(b"mymachine.example.com".into()),
        syslog: SyslogHead {
            facility: Some(4),
            severity: Some(2),
            program: Some(b"su".into()),
            msgid: Some(b"ID47".into()),
            ..SyslogHead::default()
        },
        ..Head::default()
    };
    check(
        &with_bom,
        &head,
        b"'su root' failed for lonvick on /dev/pts/8",
        "<34>1 2003-10-11T22:14:15.003000Z mymachine.example.com su - ID47 - \u{feff}'su root' failed for lonvick on \
         /dev/pts/8\n",
    );
    let example =
        (b"exampleSDID@32473".into(), pairs(&[("iut", "3"), ("eventSource", "Application"), ("eventID", "1011")]));
    let mut head = Head {
        syslog: SyslogHead {
            facility: Some(20),
            severity: Some(5),
            program: Some(b"evntslog".into()),
            structured_data: vec![example.clone()],
            ..head.syslog.clone()
        },
        ..head
    };
    check(
        &with_bom,
        &head,
        b"An application event log entry...",
        "<165>1 2003-10-11T22:14:15.003000Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut=\"3\" \
         eventSource=\"Application\" eventID=\"1011\"] \u{feff}An application event log entry...\n",
    );
    head.syslog.structured_data = vec![example, (b"examplePriority@32473".into(), pairs(&[("class", "high")]))];
    check(
        &with_bom,
        &head,
        b"",
        "<165>1 2003-10-11T22:14:15.003000Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut=\"3\" \
         eventSource=\"Application\" eventID=\"1011\"][examplePriority@32473 class=\"high\"]\n",
    );
}

#[test]
fn the_compat_form_differs_only_by_the_missing_field_and_a_colon() {
    let mut compat = config();
    compat.layout.compat = Some(TimeZone::get("Asia/Shanghai").unwrap());
    check(&compat, &at("1700000000"), b"||k=#012", "<14>1 2023-11-15T06:13:20.000000+08:00 host1 - - - - ||k=#012\n");
}

#[test]
fn a_text_that_begins_with_a_byte_order_mark_keeps_it() {
    check(&config(), &at("0"), "\u{feff}x".as_bytes(), "<14>1 1970-01-01T00:00:00Z host1 - - - - \u{feff}\u{feff}x\n");
}

#[test]
fn an_event_without_a_time_has_that_of_its_log() {
    check(&config(), &Head::default(), b"m", "<14>1 2023-11-14T22:13:20Z host1 - - - - m\n");
    check(&rfc3164("UTC", false), &Head::default(), b"m", "<14>Nov 14 22:13:20 host1 forwarder: m\n");
}

#[test]
fn a_message_of_rfc_3164_has_a_tag_unless_it_is_cef_or_leef() {
    let mut config = rfc3164("Asia/Shanghai", false);
    let head = at("1709622489");
    check(&config, &head, b"||k=v", "<14>Mar  5 15:08:09 host1 forwarder: ||k=v\n");
    check(&config, &head, b"CEF:0|V|P|1|100|N|5|k=v", "<14>Mar  5 15:08:09 host1 CEF:0|V|P|1|100|N|5|k=v\n");
    check(&config, &head, b"LEEF:1.0|V|P|1|E|a=1\tb=2", "<14>Mar  5 15:08:09 host1 LEEF:1.0|V|P|1|E|a=1\tb=2\n");
    config.layout.program = "my app:".to_owned();
    let head = Head {
        syslog: SyslogHead { procid: Some(b"4 2]".into()), ..SyslogHead::default() },
        host: Some(b"a b".into()),
        ..head
    };
    check(&config, &head, b"CEF:0|", "<14>Mar  5 15:08:09 a_x20_b my_x20_app_x3A_[4_x20_2_x5D_]: CEF:0|\n");
}

#[test]
fn rfc_3164_can_have_a_full_timestamp() {
    check(
        &rfc3164("Asia/Shanghai", true),
        &at("1700000000.5"),
        b"m",
        "<14>2023-11-15T06:13:20.500000+08:00 host1 forwarder: m\n",
    );
    check(&rfc3164("UTC", true), &at("1700000000"), b"m", "<14>2023-11-14T22:13:20Z host1 forwarder: m\n");
}

#[test]
fn a_log_cannot_end_its_own_message() {
    let forged = b"||a=line1\n<8>1 2026-01-01T00:00:00Z evil - - - - owned\r\n\0||b=\xff";
    check(
        &config(),
        &at("1700000000"),
        forged,
        "<14>1 2023-11-14T22:13:20Z host1 - - - - ||a=line1#012<8>1 2026-01-01T00:00:00Z evil - - - - owned#015#012#000||b=\u{fffd}\n",
    );
    let mut octet = config();
    octet.framing = Framing::Octet;
    let out = write(&octet, &at("1700000000"), forged).unwrap();
    let messages: Vec<_> = frames(&out, Framing::Octet).collect();
    assert_eq!(messages.len(), 1);
    assert!(messages[0].ends_with("owned\r\n#000||b=\u{fffd}".as_bytes()));
}

#[test]
fn udp_and_relp_messages_keep_line_feeds_and_a_datagram_has_a_maximum_size() {
    let mut config = config();
    for transport in [Transport::Relp(None), Transport::Udp { rate: 1, max_datagram: 480 }] {
        config.transport = transport;
        check(&config, &at("1700000000"), b"a\nb", "44 <14>1 2023-11-14T22:13:20Z host1 - - - - a\nb");
    }
    let out = write(&config, &at("1700000000"), &[b'x'; 1000]).unwrap();
    assert!(frames(&out, Framing::Octet).count() > 1);
    assert!(frames(&out, Framing::Octet).all(|message| message.len() <= 480));
}

#[test]
fn what_a_standard_cannot_express_is_reported() {
    let error = write(&config(), &at("1700000000000000"), b"m").unwrap_err();
    assert!(error.to_string().contains("not milliseconds"), "{error}");
    struct Timeless;
    impl Body for Timeless {
        fn json(&mut self, _: &mut Vec<u8>) -> Result<(), BodyError> {
            Ok(())
        }
        fn text(&mut self, _: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError> {
            out.push(b'm');
            Ok(())
        }
    }
    let mut out = Vec::new();
    SyslogFormat::new(&config()).write(&Head::default(), &mut Timeless, &mut out).unwrap();
    assert_eq!(out, b"<14>1 - host1 - - - - m\n");
    let error = SyslogFormat::new(&rfc3164("UTC", false)).write(&Head::default(), &mut Timeless, &mut out).unwrap_err();
    assert_eq!(error.to_string(), "time: missing, and the log has none either: RFC 3164 requires it");
}

fn small(oversize: Oversize) -> Config {
    let mut config = config();
    config.layout.max_message = 480;
    config.layout.oversize = oversize;
    config
}

#[test]
fn a_message_that_fits_exactly_is_not_cut() {
    let opening = "<14>1 2023-11-14T22:13:20Z host1 - - - - ";
    let text = "x".repeat(480 - opening.len());
    for oversize in [Oversize::DeadLetter, Oversize::Split, Oversize::Truncate] {
        check(&small(oversize), &at("1700000000"), text.as_bytes(), &format!("{opening}{text}\n"));
    }
    let error = write(&small(Oversize::DeadLetter), &at("1700000000"), format!("{text}x").as_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "event: a message of 481 bytes is longer than the 480 that syslog.max_message allows"
    );
}

#[test]
fn a_long_message_is_cut_and_says_how_long_it_was() {
    let text = "é".repeat(500);
    let out = write(&small(Oversize::Truncate), &at("1700000000"), text.as_bytes()).unwrap();
    let message = std::str::from_utf8(&out[..out.len() - 1]).unwrap();
    let (kept, note) = message.split_once(" [truncated: 1000 bytes, sha256 ").unwrap();
    assert_eq!(note.trim_end_matches(']'), hex(&Sha256::digest(text.as_bytes())));
    assert!(kept.ends_with("- é") || kept.ends_with("éé"), "{kept}");
    assert!((476..=480).contains(&message.len()), "{}", message.len());
}

#[test]
fn a_long_message_is_split_into_numbered_parts_with_a_common_id() {
    let text: String = (0..300).map(|number| format!("{number:04}é\n")).collect();
    let out = write(&small(Oversize::Split), &at("1700000000"), text.as_bytes()).unwrap();
    let parts: Vec<_> = frames(&out, Framing::Lf).map(|part| std::str::from_utf8(part).unwrap()).collect();
    let escaped = text.replace('\n', "#012");
    let id = hex(&Sha256::digest(escaped.as_bytes())[..8]);
    let mut joined = String::new();
    for (place, part) in parts.iter().enumerate() {
        assert!(part.len() <= 480, "{}", part.len());
        let opening = format!(
            "<14>1 2023-11-14T22:13:20Z host1 - - - [part@32473 id=\"{id}\" part=\"{}\" of=\"{}\"] ",
            place + 1,
            parts.len()
        );
        joined += part.strip_prefix(&opening).unwrap_or_else(|| panic!("{part}"));
    }
    assert!(parts.len() > 5);
    assert_eq!(joined, escaped);

    let mut old = small(Oversize::Split);
    old.layout.standard = rfc3164("UTC", false).layout.standard;
    let out = write(&old, &at("1700000000"), &[b'x'; 1000]).unwrap();
    let parts: Vec<_> = frames(&out, Framing::Lf).collect();
    assert!(parts[0].starts_with(b"<14>Nov 14 22:13:20 host1 forwarder: [part 1/3 id="));
    assert!(parts[2].starts_with(b"<14>Nov 14 22:13:20 host1 forwarder: [part 3/3 id="));
}

#[test]
fn a_header_that_leaves_no_room_is_an_error() {
    let long: &'static str = "v".repeat(400).leak();
    let head = Head {
        syslog: SyslogHead { structured_data: vec![(b"a".into(), pairs(&[("k", long)]))], ..SyslogHead::default() },
        ..at("1700000000")
    };
    for oversize in [Oversize::Split, Oversize::Truncate] {
        let error = write(&small(oversize), &head, &[b'x'; 100]).unwrap_err();
        assert!(error.to_string().contains("header and structured data take"), "{error}");
    }
}

proptest! {
    #[test]
    fn parts_are_the_message_and_none_is_too_long(
        text in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'#'), Just(b'0'), Just(b'1'), Just(0xf0)], 0..4000),
        limit in 480usize..2000,
        lf in any::<bool>(),
        old in any::<bool>(),
    ) {
        let mut config = if old { rfc3164("UTC", false) } else { config() };
        config.framing = if lf { Framing::Lf } else { Framing::Octet };
        config.layout.max_message = limit;
        let format = SyslogFormat::new(&config);
        let mut clean = text.clone();
        format.escape.clean(0, &mut clean);
        let out = write(&config, &at("1700000000"), &text).unwrap();
        let parts: Vec<_> = frames(&out, config.framing).collect();
        let mut joined = Vec::new();
        for part in &parts {
            prop_assert!(part.len() <= limit);
            prop_assert!(std::str::from_utf8(part).is_ok());
            let behind: &[u8] = match (old, parts.len()) {
                (false, 1) => b"- - - -",
                (false, _) => b"\"]",
                (true, 1) => b"forwarder: ",
                (true, _) => b"] ",
            };
            let start = memchr::memmem::find(part, behind).map_or(part.len(), |at| at + behind.len());
            let text = &part[start..];
            let text = if old { text } else { text.strip_prefix(b" ").unwrap_or(text) };
            joined.extend_from_slice(if old { text } else { text.strip_prefix(BOM).unwrap_or(text) });
        }
        prop_assert_eq!(joined, clean);
    }
}
