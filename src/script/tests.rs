use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;

use super::*;
use crate::core::cursor::{Cursor, ShardId};
use crate::core::event::{Body, BodyError, Format, Head};
use crate::core::page::Page;
use crate::loggroup::proto;

mod attacks;
mod errors;
mod library;
mod logs;
mod modules;
mod order;
mod parts;
mod returns;
mod siege;
mod values;

/// Lays an event out as `time|host|…|json`; absent parts are left out.
struct Plain;

impl Format for Plain {
    fn write(&self, head: &Head<'_>, body: &mut dyn Body, out: &mut Vec<u8>) -> Result<(), BodyError> {
        if let Some(time) = &head.time {
            out.extend_from_slice(format!("time={}", time.digits).as_bytes());
            if let Some(nanos) = time.nanos {
                out.extend_from_slice(format!("+{nanos}ns").as_bytes());
            }
            out.push(b'|');
        }
        let texts = [
            ("host", &head.host),
            ("source", &head.source),
            ("sourcetype", &head.sourcetype),
            ("index", &head.index),
            ("program", &head.syslog.program),
            ("procid", &head.syslog.procid),
            ("msgid", &head.syslog.msgid),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                out.extend_from_slice(format!("{name}={}|", String::from_utf8_lossy(text)).as_bytes());
            }
        }
        for (name, code) in [("facility", head.syslog.facility), ("severity", head.syslog.severity)] {
            if let Some(code) = code {
                out.extend_from_slice(format!("{name}={code}|").as_bytes());
            }
        }
        for (key, value) in &head.fields {
            let (key, value) = (String::from_utf8_lossy(key), String::from_utf8_lossy(value));
            out.extend_from_slice(format!("{key}:{value}|").as_bytes());
        }
        for (id, pairs) in &head.syslog.structured_data {
            let id = String::from_utf8_lossy(id);
            out.extend_from_slice(format!("[{id}").as_bytes());
            for (key, value) in pairs {
                let (key, value) = (String::from_utf8_lossy(key), String::from_utf8_lossy(value));
                out.extend_from_slice(format!(" {key}={value}").as_bytes());
            }
            out.extend_from_slice(b"]|");
        }
        body.json(out)
    }
}

/// The body as text, each pair after `||`.
struct Text;

impl Format for Text {
    fn write(&self, _head: &Head<'_>, body: &mut dyn Body, out: &mut Vec<u8>) -> Result<(), BodyError> {
        body.text(b"||", out)
    }
}

fn config() -> Config {
    let total = Arc::new(TotalMemory::new(1 << 30));
    Config { timeout: Duration::from_millis(200), memory: 64 << 20, total, vars: toml::Table::new() }
}

fn meta() -> Meta {
    Meta { source: "s".to_owned(), project: "p".to_owned(), logstore: "l".to_owned(), shard: ShardId(7) }
}

fn pair(key: &[u8], value: &[u8]) -> proto::Pair {
    proto::Pair { key: key.to_vec(), value: value.to_vec() }
}

/// A page with one group of these logs: time 1700000000, topic `t`, source `s`, tag `host` = `h`.
fn page_of(logs: &[Vec<(&[u8], &[u8])>]) -> Page {
    let logs = logs.iter().map(|fields| proto::Log {
        time: 1_700_000_000,
        contents: fields.iter().map(|(key, value)| pair(key, value)).collect(),
        time_ns: None,
    });
    page(proto::LogGroup {
        logs: logs.collect(),
        topic: Some(b"t".to_vec()),
        source: Some(b"s".to_vec()),
        machine_uuid: None,
        tags: vec![pair(b"host", b"h")],
    })
}

fn page(group: proto::LogGroup) -> Page {
    let body = proto::LogGroupList { groups: vec![group] }.encode_to_vec();
    Page {
        shard: ShardId(7),
        cursor: Cursor::new("c0"),
        next: Cursor::new("c1"),
        scanned_bytes: body.len() as u64,
        packed: None,
        wire_bytes: 0,
        body: body.into(),
        groups: 1,
        last_group: Some(42),
        first_log: 0,
        at_end: None,
        received_at: None,
    }
}

pub(super) fn hook(text: &str) -> Hook {
    try_hook(text).unwrap_or_else(|error| panic!("{error}"))
}

fn try_hook(text: &str) -> Result<Hook, HookError> {
    Hook::load(&Script::from_text("s.lua", text), &config(), Arc::new(Plain), meta())
}

/// The events of a page, one string each; the errors of logs in their place.
fn outcome(hook: &mut Hook, page: &Page) -> Vec<String> {
    let made = hook.run(page).unwrap();
    let mut all: Vec<(u32, String)> = (0..made.events().len())
        .map(|event| {
            let text = String::from_utf8(made.events().get(event).to_vec()).unwrap();
            (made.events().log_of(event), text)
        })
        .collect();
    let failed = made.failed.iter().map(|failed| (failed.log, format!("! {}", failed.error.fault)));
    all.extend(failed);
    all.sort_by_key(|&(log, _)| log);
    let mut with_nothing: Vec<u32> = (0..made.logs).collect();
    with_nothing.retain(|log| all.iter().all(|(other, _)| other != log));
    assert_eq!(with_nothing.len(), made.dropped as usize);
    all.into_iter().map(|(_, text)| text).collect()
}

/// The outcome of one log with these fields, if `body` is the body of `process(log, meta)`.
pub(super) fn process(body: &str, fields: &[(&str, &str)]) -> Vec<String> {
    let fields = fields.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes())).collect();
    outcome(&mut hook(&format!("function process(log, meta) {body} end")), &page_of(&[fields]))
}

/// [`process`] has exactly one event, or one error.
#[track_caller]
fn check(body: &str, fields: &[(&str, &str)], expected: &str) {
    assert_eq!(process(body, fields), [expected], "{body}");
}

#[test]
fn the_version_is_the_digest_of_the_text() {
    let script = Script::from_text("x", "abc");
    assert_eq!(script.version, "ba7816bf8f01");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.lua");
    std::fs::write(&path, "abc").unwrap();
    let read = Script::read(&path).unwrap();
    assert_eq!((read.version, read.name), (script.version, path.display().to_string()));
    let error = Script::read(&dir.path().join("none.lua")).unwrap_err();
    assert!(error.to_string().contains("none.lua cannot be read: No such file"), "{error}");
}

#[test]
fn an_error_names_script_line_and_version() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let error = try_hook(text).map(|_| ()).unwrap_err();
        assert_eq!(error.fault.to_string(), expected);
        assert!(error.to_string().ends_with(&format!(" (script version {})", Script::from_text("", text).version)));
    }
    check(
        "function process(log)\n  if log then\nend",
        "s.lua:3: 'end' expected (to close 'function' at line 1) near <eof>",
    );
    check("x = 1", "s.lua: there is no function `process`: write `function process(log) … end`");
    check("process = 5", "s.lua: there is no function `process`: write `function process(log) … end`");
    check(
        "function process() end\nlocal x = nil .. 'a'",
        "while the script was loaded: s.lua:2: attempt to concatenate a nil value",
    );
    check("function process() end\nerror({ code = 5 })", r#"while the script was loaded: s.lua:2: {"code":5}"#);
    check("\u{1b}Lua", "s.lua: attempt to load a binary chunk (mode is 't')");
}

#[test]
fn an_error_raised_by_a_script_is_an_error_of_that_log_with_its_line() {
    check("log.a.b.c = 1", &[], "! s.lua:1: attempt to index a nil value (field 'a')");
    check("\n\nreturn undefined.x", &[], "! s.lua:3: attempt to index a nil value (global 'undefined')");
    check("error('boom')", &[], "! s.lua:1: boom");
    check("\nerror('boom', 0)", &[], "! s.lua:2: boom");
    check("error({ why = log.k })", &[("k", "v")], r#"! s.lua:1: {"why":"v"}"#);
    check(
        "error(log)",
        &[("k", "v")],
        r#"! s.lua:1: {"__time__":"1700000000","__topic__":"t","__source__":"s","__tag__:host":"h","k":"v"}"#,
    );
    check("error()", &[], "! s.lua:1: an error value that is nil");
    check("error(error)", &[], "! s.lua:1: an error value that is a function");
    check("local t = {} t.t = t error(t)", &[], "! s.lua:1: an error value that is a table");
    check("error(setmetatable({}, { __tostring = function() while true do end end }))", &[], "! s.lua:1: {}");
    check("string.rep()", &[], "! s.lua:1: bad argument #1 to 'string.rep' (string expected, got no value)");
}

#[test]
fn an_error_in_one_log_leaves_its_neighbours_alone() {
    let mut hook =
        hook("function process(log) if log.n == '1' then return { 'one', 'two', { bad = 1 } } end return log.n end");
    let logs: Vec<Vec<(&[u8], &[u8])>> = (0..3).map(|n| vec![(&b"n"[..], [&b"0"[..], b"1", b"2"][n])]).collect();
    let got = outcome(&mut hook, &page_of(&logs));
    assert_eq!(got.len(), 3);
    assert_eq!((got[0].as_str(), got[2].as_str()), (r#""0""#, r#""2""#));
    assert!(
        got[1].starts_with("! s.lua: process returned a value that cannot be sent: [3].bad: an event has no such key"),
        "{}",
        got[1]
    );
}

#[test]
fn a_torn_page_is_an_error_of_the_page() {
    let mut hook = hook("function process(log) return log.n end");
    let mut page = page_of(&[vec![(b"n", b"1")]]);
    page.body = page.body.slice(..page.body.len() - 1);
    assert!(hook.run(&page).is_err());
    assert_eq!(outcome(&mut hook, &page_of(&[vec![(b"n", b"1")]])), [r#""1""#]);
    page.body = Bytes::new();
    assert_eq!(
        hook.run(&page).unwrap(),
        HookOutput { outputs: vec![crate::core::batch::Events::default()], is_last: true, ..HookOutput::default() }
    );
}

#[test]
fn a_script_keeps_its_state_from_page_to_page() {
    let mut hook = hook("local n = 0 function process(log) n = n + 1 return tostring(n) end");
    let page = page_of(&[vec![], vec![]]);
    assert_eq!(outcome(&mut hook, &page), [r#""1""#, r#""2""#]);
    assert_eq!(outcome(&mut hook, &page), [r#""3""#, r#""4""#]);
}

#[test]
fn meta_says_where_the_log_comes_from() {
    let mut hook = hook("function process(log, meta) meta.version = #meta.version return { event = meta } end");
    let event = r#""logstore":"l","project":"p","shard":7,"source":"s","version":12}"#;
    assert_eq!(
        outcome(&mut hook, &page_of(&[vec![], vec![]])),
        [
            format!(r#"{{"cursor":"42","id":"p/l/7|42|0","index":0,{event}"#),
            format!(r#"{{"cursor":"42","id":"p/l/7|42|1","index":1,{event}"#),
        ]
    );
    let mut hook = super::tests::hook("function process(...) return tostring(select('#', ...)) end");
    assert_eq!(outcome(&mut hook, &page_of(&[vec![]])), [r#""2""#]);
    let mut hook = super::tests::hook("function process(log) return tostring(log ~= nil) end");
    assert_eq!(outcome(&mut hook, &page_of(&[vec![]])), [r#""true""#]);
}

#[test]
fn the_default_script_sends_what_the_python_script_sent() {
    let text = std::fs::read("scripts/transform.lua").unwrap();
    let script = Script::from_text("scripts/transform.lua", text);
    let mut hook = Hook::load(&script, &config(), Arc::new(Plain), meta()).unwrap();
    let run = |hook: &mut Hook, topic: &str, event: &str| {
        let mut events = outcome(
            hook,
            &page(proto::LogGroup {
                logs: vec![proto::Log {
                    time: 1_700_000_000,
                    contents: vec![pair(b"event", event.as_bytes()), pair(b"msg", "你好 \"q\"\nline2".as_bytes())],
                    time_ns: Some(5),
                }],
                topic: Some(topic.as_bytes().to_vec()),
                source: Some(b"10.0.0.1".to_vec()),
                machine_uuid: None,
                tags: vec![pair(b"__receive_time__", b"1700000001")],
            }),
        );
        assert_eq!(events.len(), 1);
        events.remove(0)
    };
    let expected = |topic: &str, event: &str| {
        format!(
            "time=1700000000|{{\"__topic__\":\"{topic}\",\"__source__\":\"10.0.0.1\",\"__time_ns_part__\":\"5\",\
             \"__tag__:__receive_time__\":\"1700000001\",\"event\":{event},\"msg\":\"你好 \\\"q\\\"\\nline2\"}}"
        )
    };
    let json = r#"{"eventId": "1", "n": {"a": [1, 2.0, 123456789012345678901]}}"#;
    for topic in ["actiontrail_audit_event", "actiontrail_event"] {
        assert_eq!(run(&mut hook, topic, json), expected(topic, json));
        assert_eq!(run(&mut hook, topic, "{not json"), expected(topic, "\"{not json\""));
    }
    let quoted = serde_json::to_string(json).unwrap();
    assert_eq!(run(&mut hook, "other", json), expected("other", &quoted));
}

#[test]
fn hook_threads_return_the_hooks_they_ran() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let threads = HookThreads::start(2).unwrap();
    let page = page_of(&[vec![(b"n", b"1")]]);
    let ran = runtime.block_on(async {
        let whole = || Stretch::whole(page.clone());
        let one = threads.run(hook("function process(log) return log.n end"), None, whole());
        let two = threads.run(hook("function process(log) while true do end end"), None, whole());
        futures_util::future::join(one, two).await
    });
    let (one, two) = (ran.0.unwrap(), ran.1.unwrap());
    let (batch, failed) = one.made.unwrap();
    assert_eq!((batch.outputs[0].output().events.get(0), failed.len()), (br#""1""#.as_slice(), 0));
    assert_eq!(two.made.unwrap().1.len(), 1);
    assert_eq!((batch.page.body.len(), one.hook.script().name.as_str()), (page.body.len(), "s.lua"));
}

#[test]
fn a_panic_in_a_hook_thread_is_an_error_of_that_call() {
    struct Panics;
    impl Format for Panics {
        fn write(&self, _: &Head<'_>, _: &mut dyn Body, _: &mut Vec<u8>) -> Result<(), BodyError> {
            panic!("planted");
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let threads = HookThreads::start(1).unwrap();
    let script = Script::from_text("s.lua", "function process(log) return 'x' end");
    let bad = Hook::load(&script, &config(), Arc::new(Panics), meta()).unwrap();
    let page = page_of(&[vec![]]);
    let error = runtime.block_on(threads.run(bad, None, Stretch::whole(page.clone()))).unwrap_err();
    assert_eq!(error, HookPanic("planted".to_owned()));
    let good = hook("function process(log) return 'x' end");
    let good = runtime.block_on(threads.run(good, None, Stretch::whole(page))).unwrap();
    assert_eq!(good.made.unwrap().0.events(), 1);
}
