//! How values are written: the same in every form, and never silently changed.

use super::*;
use crate::core::batch::{Batch, Events, Part};

/// The number in every form that contains numbers.
#[track_caller]
fn number(expression: &str, digits: &str) {
    let all = format!(
        "local x = {expression}
         local parts = {{ vendor = 'v', product = 'p', version = x, id = x }}
         local cef_parts = table.copy(parts) cef_parts.name, cef_parts.extension = 'n', {{ k = x }}
         parts.attributes = {{ k = x }}
         return table.concat({{ json.encode{{ x }}, kv({{ k = x }}, '||'), logfmt.encode{{ k = x }},
           cef.encode(cef_parts), leef.encode(parts), tostring(x), url.encode(x) }}, ' & ')"
    );
    let expected = format!(
        "\"[{digits}] & ||k={digits} & k={digits} & CEF:0|v|p|{digits}|{digits}|n|Unknown|k={digits} & \
         LEEF:1.0|v|p|{digits}|{digits}|k={digits} & {digits} & {digits}\""
    );
    check(&all, &[], &expected);
    check(
        &format!(
            "local x = {expression} return {{ event = 'e', procid = x, fields = {{ k = x }}, structured_data = {{ i = {{ k = x }} }} }}"
        ),
        &[],
        &format!("procid={digits}|k:{digits}|[i k={digits}]|\"e\""),
    );
}

#[test]
fn a_number_has_the_same_digits_wherever_it_is_written() {
    number("2251799842149407.0", "2251799842149407");
    number("1700000000.123456", "1700000000.123456");
    number("tonumber('1700000000.123') * 1000", "1700000000123");
    number("6 / 2", "3");
    number("-0.0", "0");
    number("9007199254740993", "9007199254740993");
    number("0.1 + 0.2", "0.30000000000000004");
    number("2^53", "9007199254740992");
}

#[test]
fn a_number_without_digits_cannot_be_sent() {
    for (value, name) in [("0/0", "NaN"), ("1/0", "inf")] {
        let refused = |call: &str, why: &str| {
            let [outcome] = process(call, &[]).try_into().unwrap();
            assert!(outcome.contains(why), "{outcome}");
        };
        refused(
            &format!("return {{ event = {{ a = {value} }} }}"),
            &format!("event.a: JSON has no {name}; send it as a string"),
        );
        refused(&format!("return kv({{ a = {value} }}, ' ')"), "JSON has no ");
        refused(&format!("return logfmt.encode{{ a = {value} }}"), "`a`: ");
        refused(&format!("return logfmt.encode{{ a = {value} }}"), "cannot be sent as a number; send it as a string");
    }
    check("return tostring(1/0) .. tostring(-1/0)", &[], r#""inf-inf""#);
}

#[test]
fn a_whole_float_as_key_is_its_integer() {
    check("local five = json.decode('{\"5\":\"five\"}') return five[5.0] .. log[5.0]", &[("5", "V")], r#""fiveV""#);
}

#[test]
fn an_integer_beyond_64_bits_keeps_its_digits_alone_or_inside_a_value() {
    const BIG: &str = "12345678901234567890";
    let event = format!(r#"{{"id":{BIG},"list":[{BIG}]}}"#);
    let check = |body: &str, expected: &str| check(body, &[("event", &event)], expected);
    check("return { event = { id = json.decode(log.event).id } }", &format!(r#"{{"id":"{BIG}"}}"#));
    check("return { event = { id = json.decode(log.event).list[1] } }", &format!(r#"{{"id":"{BIG}"}}"#));
    check("return logfmt.encode(json.decode(log.event))", &format!(r#""id={BIG} list=[{BIG}]""#));
    check(
        "local e = json.decode(log.event) e.new = 1 return { event = e }",
        &format!(r#"{{"id":{BIG},"list":[{BIG}],"new":1}}"#),
    );
    check(
        "local e = json.decode(log.event) e.list[2] = e.id return { event = e }",
        &format!(r#"{{"id":{BIG},"list":[{BIG},"{BIG}"]}}"#),
    );
    check(&format!("return json.decode('{BIG}')"), &format!(r#""{BIG}""#));
    check(&format!("return json.decode('-{BIG}') + 1 == -1.2345678901234567e19 and 'sum'"), r#""sum""#);
    check("return { event = { json.decode('[-0]')[1], json.decode('-0') } }", "[0,0]");
}

#[test]
fn a_time_in_another_unit_is_an_error_whatever_the_destination() {
    #[track_caller]
    fn refused(time: &str, fields: &[(&str, &str)], path: &str, digits: &str) {
        let why = "these are milliseconds: divide by 1000";
        let expected = format!(
            "! s.lua: process returned a value that cannot be sent: {path}: expected unix seconds, not {digits}: {why}"
        );
        check(&format!("return {time}"), fields, &expected);
    }
    refused("{ event = log, time = 1700000000123 }", &[], "time", "1700000000123");
    refused("{ event = log, time = 1700000000123.5 }", &[], "time", "1700000000123.5");
    refused("{ { event = log, timestamp = '1700000000123' } }", &[], "[1].timestamp", "1700000000123");
    refused("log", &[("__time__", "1700000000123")], "__time__", "1700000000123");
}

#[test]
fn a_log_with_a_time_in_another_unit_is_not_passed_on() {
    let script = Script::from_text("s.lua", "function process(log) error('x') end");
    let hooks = Hooks::new(script, config(), Arc::new(Plain), meta()).unwrap();
    let page = page_of(&[vec![(b"__time__", b"1700000000123")], vec![(b"__time__", b"1700000000")]]);
    let failed = |log| Failed { log, error: try_hook("").unwrap_err() };
    let batch = Batch::new(page, Part::WHOLE, vec![Events::default()], 2, 0);
    let passed_on = hooks.pass(&batch, vec![failed(0), failed(1)]);
    let logs = |failed: &[Failed]| failed.iter().map(|failed| failed.log).collect::<Vec<_>>();
    assert_eq!((logs(&passed_on.left), logs(&passed_on.passed)), (vec![0], vec![1]));
}

/// The result for a JSON text that a script decodes and sends unchanged. A text that `json.decode` refuses stays text.
#[track_caller]
fn spliced(text: &str, expected: &str) {
    check(
        "return { event = { e = json.decode(log.event) or log.event } }",
        &[("event", text)],
        &format!(r#"{{"e":{expected}}}"#),
    );
}

/// The table of docs/hook-library.md: the behaviour of receivers decides.
#[test]
fn json_that_would_break_a_reader_is_repaired_or_stays_text() {
    spliced(r#"{"u":"\ud83d"}"#, r#"{"u":"\ufffd"}"#);
    spliced(r#"{"\uDE00\ud83d\ude00":["\ud83d\u0041"]}"#, r#"{"\ufffd\ud83d\ude00":["\ufffd\u0041"]}"#);
    spliced(r#"{"\ud83d":1,"\ude00":2}"#, r#""{\"\\ud83d\":1,\"\\ude00\":2}""#);
    spliced("{\"e\":1e999}", r#""{\"e\":1e999}""#);
    let long = format!("[1{}]", "0".repeat(400));
    spliced(&long, &format!("{long:?}"));
    spliced("\u{feff}{}", "\"\u{feff}{}\"");
    spliced("[NaN]", r#""[NaN]""#);
    spliced("[\"\u{0}\"]", r#""[\"\u0000\"]""#);
    for verbatim in [
        r#"{"a":1,"a":2}"#,
        "{\"sep\":\"\u{2028}\"}",
        r#"{"nul":"\u0000"}"#,
        r#"[12345678901234567890123,1.10,-0,1E5,1e-999,1e308]"#,
        r#"{"":"\ud83d\ude00"}"#,
    ] {
        spliced(verbatim, verbatim);
        serde_json::from_str::<serde_json::Value>(verbatim).unwrap();
    }
}

#[test]
fn invalid_utf8_is_repaired_in_decoded_text() {
    let page = page_of(&[vec![(b"event", b"{\"a\":\"\xff\",\"u\":\"\\ud83d\"}")]]);
    let mut hook = hook("function process(log) return { event = { e = json.decode(log.event) } } end");
    assert_eq!(outcome(&mut hook, &page), ["{\"e\":{\"a\":\"\u{fffd}\",\"u\":\"\\ufffd\"}}"]);
}

#[test]
fn a_changed_object_keeps_the_last_value_of_a_repeated_key() {
    let event = [("event", r#"{"a":1,"b":2,"a":3}"#)];
    check("local e = json.decode(log.event) e.c = e.a return { event = e }", &event, r#"{"a":3,"b":2,"c":3}"#);
    check("local e = json.decode(log.event) e.a = nil return { event = e }", &event, r#"{"b":2}"#);
}

#[test]
fn deeply_nested_json_is_decoded_or_stays_text_without_a_stack_overflow() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let check = |body: &str, text: &str, expected: &str| check(body, &[("event", text)], expected);
    let or_text = "return { event = { json.decode(log.event) or log.event } }";
    check(or_text, &deep(64), &format!("[{}]", deep(64)));
    check(or_text, &deep(400_000), &format!("[\"{}\"]", deep(400_000)));
    check(
        "local v, why = json.decode(log.event, 1000) return why",
        &deep(400_000),
        "\"json.decode: nested deeper than 1000 levels\"",
    );
    check("return { event = json.decode(log.event, 1000) }", &deep(1000), &deep(1000));
    check(
        "return { event = json.decode(log.event, 1001) }",
        "[]",
        "! s.lua:1: json.decode: the most levels are a whole number from 1 to 1000",
    );
    // A changed value is written from tables, which have a lower nesting limit.
    check(
        "local v = json.decode(log.event, 1000) local t = v for _ = 1, 900 do t = t[1] end t[1] = 1 return { event = v }",
        &deep(1000),
        "! s.lua: process returned a value that cannot be sent: event[1][1][1][1][1][1][1][1][1][1][1][1][1][1][1][1][1][1][1][1][1][1][1][1][1][1][1…: nested deeper than 64 tables, or inside itself",
    );
    check("return log.event", &deep(400_000), &format!("\"{}\"", deep(400_000)));
}

#[test]
fn each_log_is_read_with_its_own_time_topic_and_source() {
    // An endless loop discards the state, and the strings that it kept.
    let mut hook = hook(
        "function process(log) local text = log.__time__ .. '|' .. log.__topic__ .. '|' .. log.__source__ \
         while log.loop do end return text end",
    );
    let long = "t".repeat(100);
    for (time, topic, source) in
        [(1, "a", "s"), (1, "b", "s"), (2, "a", ""), (10, "", "s"), (10, &long, "s"), (10, &long, "t"), (1, "a", "s")]
    {
        let log = |contents| proto::Log { time, contents, time_ns: None };
        let page = page(proto::LogGroup {
            logs: vec![log(vec![]), log(vec![]), log(vec![pair(b"loop", b"1")]), log(vec![])],
            topic: Some(topic.into()),
            source: Some(source.into()),
            ..proto::LogGroup::default()
        });
        let made = hook.run(&page).unwrap();
        let expected = format!("\"{time}|{topic}|{source}\"");
        assert_eq!(made.failed.len(), 1);
        assert!((0..3).all(|event| made.events().get(event) == expected.as_bytes()), "{expected}");
    }
}
