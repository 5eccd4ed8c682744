//! The events of a hook in HEC's format: one line, valid JSON, HEC's seven keys, and the event that was returned.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use forwarder::core::cursor::{Cursor, ShardId};
use forwarder::core::page::Page;
use forwarder::core::secret::Secret;
use forwarder::core::tls_connectors::TlsConnectors;
use forwarder::destination::hec;
use forwarder::destination::hec::{HecFormat, Partial, Token};
use forwarder::loggroup::flat::page_with;
use forwarder::loggroup::proto;
use forwarder::script::{Config, Hook, Meta, Script};
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::input::Input;

/// `mode` selects the returned value; the log's other fields come from the input.
const SCRIPT: &str = "
local modes = {
    function(log) return log end,
    function(log) return { event = log } end,
    function(log) return log.text end,
    function(log) return { event = json.decode(log.text) } end,
    function(log)
        return {
            event = log.text, time = log.t, host = log.h, source = log.text, sourcetype = log.h, index = log.t,
            fields = { a = log.text, [log.h or 'x'] = { log.t or 'none', log.text, 7, true } },
        }
    end,
    function(log) return { event = { a = { b = { log.text, { log.h or false } } }, [log.h or 'k'] = log.text } } end,
    function(log) return { log.text, log, { event = { log.text } } } end,
    function(log)
        local value = json.decode(log.text)
        if type(value) == 'table' then value.added = log.h or 'nothing' end
        return { event = value }
    end,
    function(log) return { event = json.encode(log), fields = log } end,
    function(log)
        local value = json.decode(log.text)
        return { event = { before = 1, inside = value, behind = json.encode(value) } }
    end,
    function(log) log.text, log.new, log.h = log.text .. '!', { log.h or 1, n = nil }, nil return log end,
    function(log)
        local all = {}
        for word in string.gmatch(log.text, '[^,]+') do all[#all + 1] = word end
        return { event = { words = json.array(all), upper = string.upper(log.text), time = tonumber(log.t) } }
    end,
}
function process(log)
    local mode = modes[tonumber(log.mode)]
    log.mode = nil
    return mode(log)
end";

const MODES: u8 = 12;
const KEYS: [&str; 7] = ["time", "host", "source", "sourcetype", "index", "event", "fields"];

thread_local! {
    static HOOKS: RefCell<Vec<Hook>> = const { RefCell::new(Vec::new()) };
}

/// Mode and layout, then fields, then the text.
pub fn lua_event(input: &[u8]) {
    let mut input = Input::new(input);
    let mode = input.byte() % MODES + 1;
    let look = input.byte();
    let compat = look & 1 == 1;
    let (host, time) = (input.piece(), input.piece());
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for _ in 0..look >> 1 & 3 {
        fields.push((input.piece().to_vec(), input.piece().to_vec()));
    }
    fields.retain(|(key, _)| !matches!(key.as_slice(), b"mode" | b"text" | b"h" | b"t"));
    if look & 8 != 0 {
        fields.push((b"h".to_vec(), host.to_vec()));
    }
    if look & 16 != 0 {
        fields.push((b"t".to_vec(), time.to_vec()));
    }
    let text = input.rest();
    fields.push((b"text".to_vec(), text.to_vec()));
    let page = page(&fields, mode);

    let lines = HOOKS.with_borrow_mut(|hooks| {
        if hooks.is_empty() {
            hooks.extend([false, true].map(hook));
        }
        let made = hooks[usize::from(compat)].run(&page).expect("the page is sound");
        assert_eq!(made.logs, 1);
        assert!(made.failed.is_empty() || made.events().is_empty(), "an event of a log that failed");
        let lines: Vec<Vec<u8>> = (0..made.events().len()).map(|event| made.events().get(event).to_vec()).collect();
        for failed in &made.failed {
            let error = failed.error.to_string();
            assert!(!error.contains("out of memory") && !error.contains("script.timeout"), "{error}");
        }
        lines
    });

    let events: Vec<Event> = lines.iter().map(|line| event(line, compat)).collect();
    let text = String::from_utf8_lossy(text);
    let blank = text.trim_ascii().is_empty();
    match mode {
        1 | 2 => assert_eq!(log(&events[0].inside()), flattened(&fields)),
        // Blank text is not an event for Splunk, so it fails.
        3 if !blank => assert_eq!(events[0].text(), text),
        4 => same_json(&text, &events),
        7 if !blank => {
            assert_eq!(events[0].text(), text);
            assert_eq!(log(&events[1].inside()), flattened(&fields));
            assert_eq!(serde_json::from_str::<[String; 1]>(&events[2].inside()).expect("a list of one text"), [text]);
        }
        _ => {}
    }
}

fn hook(compat: bool) -> Hook {
    let config = hec::Config {
        members: Vec::new(),
        token: Token::Fixed(Secret::new("t")),
        verify: true,
        ca_file: None,
        client_cert: None,
        proxy: None,
        timeout: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(1),
        source: Some("a \"source\"".to_owned()),
        sourcetype: None,
        index: Some("main".to_owned()),
        host: None,
        gzip: false,
        max_body: 1 << 20,
        max_requests: 1,
        fallback_index: None,
        partial: Partial::Auto,
        ack: None,
        compat,
        transport: None,
        tls: TlsConnectors::default(),
    };
    let limits = Config {
        timeout: Duration::from_secs(20),
        memory: 256 << 20,
        total: std::sync::Arc::default(),
        vars: toml::Table::new(),
    };
    let meta = Meta { source: "s".to_owned(), project: "p".to_owned(), logstore: "l".to_owned(), shard: ShardId(0) };
    Hook::load(&Script::from_text("fuzz.lua", SCRIPT), &limits, Arc::new(HecFormat::new(&config)), meta)
        .expect("the script loads")
}

fn page(fields: &[(Vec<u8>, Vec<u8>)], mode: u8) -> Page {
    let pair = |key: &[u8], value: &[u8]| proto::Pair { key: key.to_vec(), value: value.to_vec() };
    let mut contents: Vec<_> = fields.iter().map(|(key, value)| pair(key, value)).collect();
    contents.push(pair(b"mode", mode.to_string().as_bytes()));
    let log = proto::Log { time: 1_700_000_000, contents, time_ns: None };
    let group = proto::LogGroup { logs: vec![log], ..Default::default() };
    page_with(ShardId(0), Cursor::new("c"), 0, group)
}

/// The log in the form in which an unchanging script sends it.
fn flattened(fields: &[(Vec<u8>, Vec<u8>)]) -> Vec<(String, String)> {
    let start: [(&[u8], &[u8]); 3] = [(b"__time__", b"1700000000"), (b"__topic__", b""), (b"__source__", b"")];
    let mut dict: Vec<(&[u8], &[u8])> = start.to_vec();
    for (key, value) in fields {
        match dict.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value,
            None => dict.push((key, value)),
        }
    }
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    dict.into_iter().map(|(key, value)| (text(key), text(value))).collect()
}

/// Decoded and unchanged JSON has the same meaning when it is written.
fn same_json(text: &str, events: &[Event]) {
    let container = text.trim_ascii().starts_with(['{', '[']);
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        // Its limits are narrower than JSON's: depth, size of a number, unpaired surrogates. Sent JSON keeps them.
        let valid = serde_json::from_str::<IgnoredAny>(text).is_ok();
        assert!(valid || events.is_empty(), "an event of what is no JSON: {text:?}");
        for event in events {
            serde_json::from_str::<Value>(&event.inside()).expect("every reader takes it");
        }
        return;
    };
    let blank = value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(serde_json::Map::is_empty);
    // Different keys that are not UTF-8 may be equal in this text: it is refused then.
    let may_be_repaired = text.contains('\u{fffd}');
    if !container || blank || (may_be_repaired && events.is_empty()) {
        return;
    }
    assert_eq!(events.len(), 1, "no event of {text:?}");
    let written: Value = serde_json::from_str(&events[0].inside()).expect("it is JSON");
    assert_eq!(written, value);
}

/// The JSON of `event`; under `compat` the JSON in its text, unless it was text before.
struct Event {
    json: String,
    compat: bool,
}

impl Event {
    fn text(&self) -> String {
        string(&self.json)
    }

    fn inside(&self) -> String {
        if self.compat { self.text() } else { self.json.clone() }
    }
}

/// Checks the properties of any line, whatever the script.
fn event(line: &[u8], compat: bool) -> Event {
    let (end, inside) = line.split_last().expect("an event has bytes");
    assert_eq!(*end, b'\n');
    assert!(!inside.contains(&b'\n') && !inside.contains(&b'\r'), "more than one line: {}", line.escape_ascii());
    let line = std::str::from_utf8(inside).expect("an event is UTF-8");
    assert!(!compat || line.is_ascii(), "{line}");
    let mut event = None;
    let mut seen: Vec<String> = Vec::new();
    for (key, value) in members(line) {
        let value = value.get();
        assert!(KEYS.contains(&key.as_str()), "HEC does not know {key}: {line}");
        assert!(!seen.contains(&key), "{key} twice: {line}");
        match key.as_str() {
            "event" => event = Some(value.to_owned()),
            "fields" => flat(value),
            "time" if compat => assert!(string(value).parse::<f64>().is_ok(), "{line}"),
            "time" => assert!(value.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-')), "{line}"),
            _ => assert!(!string(value).is_empty(), "{key} is empty: {line}"),
        }
        seen.push(key);
    }
    let json = event.unwrap_or_else(|| panic!("no event: {line}"));
    let blank = match json.as_bytes()[0] {
        // Not parsed: half a surrogate pair, written as an escape, is valid JSON, but not a Rust String.
        b'{' | b'[' => json[1..json.len() - 1].trim_ascii().is_empty(),
        b'"' => serde_json::from_str::<String>(&json).is_ok_and(|text| text.trim_ascii().is_empty()),
        _ => json == "null",
    };
    assert!(!blank, "a blank event: {line}");
    Event { json, compat }
}

/// Indexed fields: strings, or lists of strings.
fn flat(fields: &str) {
    let mut seen: Vec<String> = Vec::new();
    for (name, value) in members(fields) {
        let texts = serde_json::from_str::<Vec<String>>(value.get()).is_ok();
        assert!(texts || value.get().starts_with('"'), "{name} is not flat: {fields}");
        assert!(!seen.contains(&name), "{name} twice: {fields}");
        seen.push(name);
    }
}

fn string(json: &str) -> String {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("no string: {error}: {json}"))
}

/// The log as JSON, decoded: names and values in their order.
fn log(json: &str) -> Vec<(String, String)> {
    members(json).into_iter().map(|(key, value)| (key, string(value.get()))).collect()
}

/// The members of an object in their order, including repeated ones.
fn members(json: &str) -> Vec<(String, Box<RawValue>)> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, Box<RawValue>)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some(member) = map.next_entry()? {
                all.push(member);
            }
            Ok(all)
        }
    }
    let mut parser = serde_json::Deserializer::from_str(json);
    let all = parser.deserialize_map(Members).and_then(|all| parser.end().map(|()| all));
    all.unwrap_or_else(|error| panic!("no JSON object: {error}: {json}"))
}
