//! From a log to syslog messages: the shipped scripts, the hook, the format, and a parser that knows only the grammar.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use forwarder::core::cursor::{Cursor, ShardId};
use forwarder::destination::registry::DestinationConfig;
use forwarder::destination::syslog::{Framing, SyslogFormat, frames};
use forwarder::loggroup::flat::page_of;
use forwarder::script::{Config, Hook, Meta, Script};
use jiff::tz::TimeZone;
use proptest::prelude::*;

use crate::corpus::targets::rfc5424;
use crate::corpus::targets::syslog_message::{Case, Look, check};
use crate::settings::Typed;

/// The messages of `script` for a log with these fields, with these lines of `[syslog]`; and its errors.
fn messages(script: &str, lines: &str, fields: &[(&[u8], &[u8])]) -> (Vec<u8>, Vec<String>) {
    messages_at(None, script, lines, fields)
}

/// The same, with this many nanoseconds in addition to the log's seconds.
fn messages_at(nanos: Option<u32>, script: &str, lines: &str, fields: &[(&[u8], &[u8])]) -> (Vec<u8>, Vec<String>) {
    let text = format!("script = \"scripts/transform.lua\"\n[syslog]\nhost = \"siem\"\n{lines}\n");
    let mut typed = Typed::new();
    typed.machine.zone = TimeZone::get("Asia/Shanghai").unwrap();
    let DestinationConfig::Syslog(config) = typed.good(&text).destinations.remove(0).config else {
        panic!("another destination")
    };
    let limits = Config {
        timeout: Duration::from_secs(20),
        memory: 256 << 20,
        total: std::sync::Arc::default(),
        vars: toml::Table::new(),
    };
    let meta = Meta { source: "s".to_owned(), project: "p".to_owned(), logstore: "l".to_owned(), shard: ShardId(0) };
    let script = Script::from_text("s.lua", script);
    let mut hook = Hook::load(&script, &limits, Arc::new(SyslogFormat::new(&config)), meta).unwrap();
    let nanos = nanos.map(|nanos| nanos.to_string());
    let mut log: Vec<(&[u8], &[u8])> =
        vec![(b"__time__", b"1700000000"), (b"__topic__", b"audit"), (b"__source__", b"10.0.0.1")];
    log.extend(nanos.iter().map(|nanos| (&b"__time_ns_part__"[..], nanos.as_bytes())));
    log.extend(fields);
    let log: Vec<_> = log.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    let page = page_of(ShardId(0), Cursor::new("c"), 0, &log);
    let made = hook.run(&page).unwrap();
    let failed = made.failed.iter().map(|failed| failed.error.fault.to_string()).collect();
    (made.events().bytes().to_vec(), failed)
}

fn shipped(script: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(script)).unwrap()
}

#[track_caller]
fn golden(script: &str, lines: &str, fields: &[(&str, &str)], expected: &str) {
    let fields: Vec<_> = fields.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes())).collect();
    let (bytes, failed) = messages(script, lines, &fields);
    assert_eq!(failed, Vec::<String>::new());
    assert_eq!(String::from_utf8(bytes).unwrap(), expected, "{lines}");
}

#[test]
fn the_shipped_scripts_send_the_message_of_the_vendors_script() {
    let fields = [("status", "200"), ("user", "用户"), ("path", "C:\\new||x=1")];
    let theirs = "||__topic__=audit||__source__=10.0.0.1||status=200||user=用户||path=C:\\new||x=1";
    // A bar that would be read as a separator is escaped.
    let ours = theirs.replace("new||x", "new#174|x");
    for script in ["syslog.lua", "transform.lua"] {
        let script = shipped(script);
        let check = |lines: &str, opening: &str| {
            let text = if lines == "compat = true" { theirs } else { &ours };
            golden(&script, lines, &fields, &format!("{opening}{text}\n"));
        };
        check("", "<14>1 2023-11-14T22:13:20Z host-1 - - - - ");
        check("compat = true", "<14>1 2023-11-15T06:13:20.000000+08:00 host-1 - - - - ");
        check(
            "program = \"sls\"\nfacility = \"local0\"\nseverity = 4",
            "<132>1 2023-11-14T22:13:20Z host-1 sls - - - ",
        );
        check("format = \"rfc3164\"", "<14>Nov 15 06:13:20 host-1 forwarder: ");
        check("format = \"rfc3164\"\nzone = \"utc\"\nfull_time = true", "<14>2023-11-14T22:13:20Z host-1 forwarder: ");
    }
}

#[test]
fn json_that_the_default_script_decodes_keeps_its_text() {
    let fields = [("__topic__", "actiontrail_event"), ("event", "{\"b\":1.50,\"a\":[\"x\\ny\"]}")];
    golden(
        &shipped("transform.lua"),
        "",
        &fields,
        "<14>1 2023-11-14T22:13:20Z host-1 - - - - ||__topic__=actiontrail_event||__source__=10.0.0.1||event={\"b\":1.50,\
         \"a\":[\"x\\ny\"]}\n",
    );
}

#[test]
fn a_string_a_table_and_the_log_itself_are_messages_with_the_time_of_the_log() {
    let script = "function process(log)
        return {
            'as it is',
            { event = { b = 2, a = 'x' }, host = 'h', severity = 'Error', procid = 7, msgid = 'ID',
              structured_data = { ['x@1'] = { k = log.k } } },
            { message = log, time = '1700000000', time_ns = log.__time_ns_part__ },
        }
    end";
    let (bytes, failed) = messages_at(Some(250_000_999), script, "", &[(b"k", b"\"v\"]\n")]);
    assert_eq!(failed, Vec::<String>::new());
    let read: Vec<_> = rfc5424::lines(&bytes).into_iter().map(rfc5424::message).collect();
    assert_eq!(read.len(), 3);
    let time = |message: &rfc5424::Message| message.timestamp.clone().unwrap();
    assert_eq!((read[0].text.as_str(), time(&read[0]).as_str()), ("as it is", "2023-11-14T22:13:20.250000Z"));
    assert_eq!((read[1].text.as_str(), read[1].severity), ("{\"a\":\"x\",\"b\":2}", 3));
    assert_eq!((read[1].procid.as_deref(), read[1].msgid.as_deref()), (Some("7"), Some("ID")));
    assert_eq!(read[1].elements, [("x@1".to_owned(), vec![("k".to_owned(), "\"v\"]#012".to_owned())])]);
    assert_eq!(time(&read[2]), "2023-11-14T22:13:20.250000Z");
    assert!(read[2].text.ends_with("||k=\"v\"]#012"), "{}", read[2].text);
}

/// A key of a pair in its written form: no key here contains text that looks like an escape.
fn rfc5424_escaped(key: &[u8], octet: bool) -> String {
    let line_feed = if octet { "\n" } else { "#012" };
    String::from_utf8_lossy(key).replace('\n', line_feed).replace('=', "#075")
}

#[test]
fn nothing_in_a_log_can_start_a_second_message() {
    let long = [b'x'; 1 << 20];
    let nasty: [(&[u8], &[u8]); 9] = [
        (b"lf", b"1\n<8>1 2026-01-01T00:00:00Z evil evil - - - owned"),
        (b"crlf", b"1\r\n<8>Jan  1 00:00:00 evil evil: owned\r\n"),
        (b"nul", b"1\0<8>1 - - - - - -"),
        (b"count", b"12 <8>1 - - - - - - owned\n66 <8>1 - - - - - -"),
        (b"not UTF-8", b"\xff\xfe\xc3\x28\xf0\x9f\x98"),
        (b"k\n<8>1 - - - - - -", b"a key"),
        (b"separators", b"||forged=1||__topic__=x=y"),
        (b"user=root", b"|"),
        (b"long", &long),
    ];
    for framing in ["lf", "octet"] {
        let lines = format!("framing = \"{framing}\"\nmax_message = \"4MB\"");
        let (bytes, failed) = messages(&shipped("syslog.lua"), &lines, &nasty);
        assert_eq!(failed, Vec::<String>::new());
        let octet = framing == "octet";
        let read = if octet { rfc5424::counted(&bytes) } else { rfc5424::lines(&bytes) };
        assert_eq!(read.len(), 1);
        assert_eq!(frames(&bytes, if octet { Framing::Octet } else { Framing::Lf }).collect::<Vec<_>>(), read);
        let mut expected = "||__topic__=audit||__source__=10.0.0.1".to_owned();
        for (key, value) in nasty {
            expected += &format!("||{}={}", String::from_utf8_lossy(key), String::from_utf8_lossy(value));
        }
        let message = rfc5424::message(read[0]);
        assert_eq!(rfc5424::unescape(&message.text, !octet), expected);
        let keys: Vec<_> = message.text.split("||").skip(1).map(|pair| pair.split_once('=').unwrap().0).collect();
        let given = nasty.iter().map(|(key, _)| rfc5424_escaped(key, octet));
        assert_eq!(
            keys,
            ["__topic__".to_owned(), "__source__".to_owned()].into_iter().chain(given).collect::<Vec<_>>()
        );
        assert_eq!(message.hostname.as_deref(), Some("host-1"));
    }
}

#[test]
fn a_message_that_is_too_long_can_be_dead_lettered() {
    let lines = "oversize = \"dead_letter\"\nmax_message = \"1KB\"";
    let (bytes, failed) = messages(&shipped("syslog.lua"), lines, &[(b"long", &[b'x'; 1000])]);
    assert!(bytes.is_empty());
    assert_eq!(failed.len(), 1);
    assert!(failed[0].contains("is longer than the 1000 that syslog.max_message allows"), "{failed:?}");
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), proptest::sample::select(b"\n\r\0#0127\"\\]= <1>-|\xef\xbb\xbf".to_vec())];
    proptest::collection::vec(byte, 0..most)
}

/// The first and the last second of the supported years.
const FIRST: i64 = -62_135_596_800;
const LAST: i64 = 253_402_207_200;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_event_can_be_read_back_by_the_grammar(
        shape in (any::<bool>(), any::<bool>(), any::<bool>(), 0..2000_usize),
        time in (proptest::sample::select(Look::ALL.to_vec()), -900..900_i16, FIRST..LAST, 0..1_000_000_000_u32),
        head in (0..24_u8, 0..8_u8),
        fields in (bytes(300), bytes(60), bytes(150), bytes(40)),
        elements in proptest::collection::vec((bytes(40), proptest::collection::vec((bytes(40), bytes(80)), 0..3)), 0..3),
        text in bytes(3000),
    ) {
        let (octet, bom, truncate, max_message) = shape;
        let (look, offset, seconds, nanos) = time;
        let (facility, severity) = head;
        let (host, program, procid, msgid) = fields;
        check(&Case {
            look, offset, octet, bom, truncate, max_message, facility, severity, seconds, nanos, host, program, procid, msgid, elements, text,
        });
    }
}
