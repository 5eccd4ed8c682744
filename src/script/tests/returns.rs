//! Valid and invalid results of a hook.

use super::*;
use crate::core::batch::Events;
use crate::core::destination_name::DestinationName;
use crate::core::event::DestinationFormat;

#[track_caller]
fn refused(value: &str, expected: &str) {
    check(
        &format!("return {value}"),
        &[],
        &format!("! s.lua: process returned a value that cannot be sent: {expected}"),
    );
}

#[test]
fn returning_nil_drops_the_log() {
    for body in ["", "return nil", "return json.array()"] {
        assert_eq!(process(body, &[]), Vec::<String>::new(), "{body}");
    }
}

/// Fails if reasons are counted for logs that are not dropped, or only for the first log.
#[test]
fn a_log_is_dropped_with_a_reason_and_counted_by_it() {
    let mut hook = hook(
        "local quiet = drop 'health check'
         function process(log)
           if log.n == '0' then return drop('debug') end
           if log.n == '1' or log.n == '2' then return quiet end
           if log.n == '3' then return nil end
           if log.n == '4' then local unused = drop 'unused' return log.n end
           if log.n == '5' then return { 'a', quiet } end
         end",
    );
    let numbers: Vec<String> = (0..6).map(|n| n.to_string()).collect();
    let logs: Vec<Vec<(&[u8], &[u8])>> = numbers.iter().map(|n| vec![(&b"n"[..], n.as_bytes())]).collect();
    let made = hook.run(&page_of(&logs)).unwrap();
    assert_eq!((made.logs, made.dropped, made.events().len(), made.failed.len()), (6, 4, 1, 1));
    assert_eq!(made.drop_reasons.iter().collect::<Vec<_>>(), [("debug", 1), ("health check", 2)]);
}

#[test]
fn the_result_of_drop_stands_for_the_whole_log_and_has_a_reason() {
    let inside = "drop stands for the whole log, in the place of an event or a list: return drop \"reason\"";
    refused("{ 'a', drop 'x' }", &format!("[2]: {inside}"));
    refused("{ event = drop 'x' }", &format!("event: {inside}"));
    refused("{ event = { a = drop 'x' } }", &format!("event.a: {inside}"));
    refused(
        "drop",
        "the value: a function is not an event; return nil, a string, the log, an event table like { event = log }, \
        or a list of them",
    );
    for slip in ["drop()", "drop(nil)", "drop(5)", "drop('')", "drop({})"] {
        let results = process(&format!("return {slip}"), &[]);
        assert!(
            results[0].starts_with("! s.lua:1: drop takes a reason, as text: return drop \"health check\""),
            "{results:?}"
        );
    }
}

/// Fails if an event emptied by a mistake counts as dropped.
#[test]
fn an_event_emptied_by_a_missing_field_is_an_error_and_not_a_drop() {
    for value in ["{}", "{ event = log.missing }", "{ event = nil, host = nil }"] {
        refused(
            value,
            "the value: an empty table is not an event: was `event` set from a field that the log does not have? \
            Return nil to \
             drop a log",
        );
    }
    refused(
        "{ 'a', {} }",
        "[2]: an empty table is not an event: was `event` set from a field that the log does not have? Return nil to \
        drop a log",
    );
    let why = "return nil, a string, the log, an event table like { event = log }, or a list of them";
    refused("false", &format!("the value: a boolean is not an event; {why}"));
    refused("log.a == '1' and log", &format!("the value: a boolean is not an event; {why}"));
}

#[test]
fn a_second_return_value_is_an_error() {
    for body in ["return log.a:gsub('x', 'y')", "return nil, 'debug'", "return log, log", "return log, false"] {
        let results = process(body, &[("a", "x")]);
        assert_eq!(results.len(), 1, "{body}");
        assert!(
            results[0].starts_with("! s.lua: process returned two values, and only one is sent"),
            "{body}: {results:?}"
        );
    }
    check("return (log.a:gsub('x', 'y'))", &[("a", "x")], r#""y""#);
    check("return log.a, nil", &[("a", "x")], r#""x""#);
}

#[test]
fn a_string_is_an_event() {
    check("return 'a\\nb'", &[], r#""a\nb""#);
}

#[test]
fn the_log_itself_is_an_event_with_its_own_time() {
    let log = r#"{"__time__":"1700000000","__topic__":"t","__source__":"s","__tag__:host":"h"}"#;
    check("return log", &[], &format!("time=1700000000|{log}"));
    assert_eq!(process("return { log, log }", &[]).len(), 2);
    check("log.__time__ = nil return log", &[], &log.replace(r#""__time__":"1700000000","#, ""));
    check("return log", &[("__time__", "soon")], &log.replace("1700000000", "soon"));
}

#[test]
fn an_event_table_sets_attributes() {
    check(
        "return { event = 'e', time = log.__time__, host = 'h', source = 's', sourcetype = 'st', index = 'i', fields = { b = 1, a = { 'x', true } } }",
        &[],
        r#"time=1700000000|host=h|source=s|sourcetype=st|index=i|a:x|a:true|b:1|"e""#,
    );
    check(
        "return { message = 'm', facility = 'local0', severity = 3, program = 'p', procid = 12, msgid = 'id', structured_data = { ['x@1'] = { b = 'c', a = 1 } } }",
        &[],
        r#"program=p|procid=12|msgid=id|facility=16|severity=3|[x@1 a=1 b=c]|"m""#,
    );
    check(
        "return { message = 'm', timestamp = 5, hostname = 'h', facility = '16', severity = 'WARN' }",
        &[],
        r#"time=5|host=h|facility=16|severity=4|"m""#,
    );
    check(
        "log.__topic__ = nil return { event = 'e', fields = log }",
        &[],
        r#"__time__:1700000000|__source__:s|__tag__:host:h|"e""#,
    );
}

#[test]
fn a_list_makes_several_events() {
    assert_eq!(
        process("return { 'a', { event = 'b', host = 'h' }, log }", &[]),
        [
            r#""a""#,
            r#"host=h|"b""#,
            r#"time=1700000000|{"__time__":"1700000000","__topic__":"t","__source__":"s","__tag__:host":"h"}"#
        ]
    );
}

#[test]
fn the_digits_of_a_time_are_copied() {
    let time = |value: &str, expected: &str| {
        check(&format!("return {{ event = 'e', time = {value} }}"), &[], &format!("time={expected}|\"e\""))
    };
    time("'1700000000.1234567890123'", "1700000000.1234567890123");
    time("1700000000", "1700000000");
    time("179769313486", "179769313486");
    time("1700000000.5", "1700000000.5");
    time("-1", "-1");
    time("5, time_ns = 7", "5+7ns");
    time("'5', time_ns = '000000007'", "5+7ns");
}

#[test]
fn an_invalid_value_is_named_with_its_path() {
    refused(
        "5",
        "the value: a number is not an event; return nil, a string, the log, an event table like { event = log }, or \
        a list of them",
    );
    refused(
        "true",
        "the value: a boolean is not an event; return nil, a string, the log, an event table like { event = log }, or \
        a list of them",
    );
    refused("{ event = 5 }", "event: a table, a string or the log is needed, not a number; tostring() makes one");
    refused("{ time = 5 }", "event: missing; put the data to send here: { event = log }");
    refused(
        "{ event = 'e', hostnam = 'x' }",
        "hostnam: an event has no such key; it has time, timestamp, time_ns, host, hostname, source, sourcetype, index, fields, facility, severity, program, procid, msgid, structured_data, to, event, message. Put your own data into `event` or `fields`",
    );
    refused("{ event = { a = { b = { 1, 2, print or error } } } }", "event.a.b[3]: a function cannot be sent");
    refused("{ event = { a = 0/0 } }", "event.a: JSON has no NaN; send it as a string");
    refused("{ event = { ['a b'] = -1/0 } }", "event[\"a b\"]: JSON has no -inf; send it as a string");
    refused(
        "(function() local t = {} t.t = t return { event = t } end)()",
        &format!("event{}…: nested deeper than 64 tables, or inside itself", ".t".repeat(40)),
    );
    refused(
        "{ event = { 1, nil, 3, [9] = 9 } }",
        "event: a list with holes (it has 9 but ends at 3); fill them with json.null",
    );
    refused(
        "{ event = { [5] = 1 } }",
        "event: a key is the number 5: a list has no holes and begins with 1, and other keys are strings (tostring(5))",
    );
    refused("{ event = { 1, x = 2 } }", "event.x: a table cannot be a list and have named keys too");
    refused("{ event = { [true] = 1 } }", "event: a key is a boolean; keys are strings");
    refused(
        "{ event = 'e', time = 'now' }",
        "time: expected unix seconds: digits as in log.__time__; time.parse() converts text",
    );
    refused("{ event = 'e', time = 0/0 }", "time: NaN is not a time in unix seconds");
    refused("{ event = 'e', time = true }", "time: expected unix seconds, such as log.__time__, not a boolean");
    refused("{ event = 'e', time_ns = 5 }", "time_ns: needs a time in seconds, which is missing");
    refused("{ event = 'e', time = '1.5', time_ns = 5 }", "time_ns: the time has a fraction already");
    refused("{ event = 'e', time = 1, time_ns = 1000000000 }", "time_ns: expected nanoseconds: 0 to 999999999");
    // Lua chooses which of the two comes first.
    let results = process("return { event = 'e', host = 'x', hostname = 'y' }", &[]);
    assert!(results[0].ends_with("host and hostname are the same; keep one"), "{results:?}");
    let results = process("return { event = 'e', time = 1, timestamp = 1 }", &[]);
    assert!(results[0].ends_with("time and timestamp are the same; keep one"), "{results:?}");
    refused("{ event = 'e', host = {} }", "host: expected a string, not a table");
    refused("{ event = 'e', fields = 'x' }", "fields: expected a table with named keys, not a string");
    refused(
        "{ event = 'e', fields = json.decode('{}') }",
        "fields: a table of the script's own is needed, with named keys; table.copy() makes one of decoded JSON",
    );
    refused("{ event = 'e', fields = { a = {} } }", "fields.a: expected a value or a list of values");
    refused(
        "{ event = 'e', fields = { a = { 'x', {} } } }",
        "fields.a[2]: expected a string, number or boolean, not a table",
    );
    refused(
        "{ event = 'e', facility = 24 }",
        "facility: expected 0 to 23 or a name: kern, user, mail, daemon, auth, syslog, lpr, news, uucp, cron, authpriv, ftp, ntp, audit, alert, clock, local0, local1, local2, local3, local4, local5, local6, local7",
    );
    refused(
        "{ event = 'e', severity = 'bad' }",
        "severity: expected 0 to 7 or a name: emerg, alert, crit, err, warning, notice, info, debug",
    );
    refused(
        "{ event = 'e', structured_data = { x = 1 } }",
        "structured_data.x: expected a table with named keys, not a number",
    );
    refused(
        "{ 'a', 5 }",
        "[2]: a number is not an event; return nil, a string, the log, an event table like { event = log }, or a list \
        of them",
    );
    refused("{ 'a', { event = { x = error } } }", "[2].event.x: a function cannot be sent");
    refused("{ { 'a' } }", "[1].[a number]: an event table has only named keys");
    refused("{ 'a', event = 'b' }", "event: a table is either one event or a list of events, not both");
    refused("{ 'a', nil, 'c' }", "the list: a list with holes: nothing may be nil between its events");
    refused("json.decode('{}')", "the value: decoded JSON is not an event by itself; return { event = it }");
    check(
        "local t = {} for i = 1, 10001 do t[i] = 'x' end return t",
        &[],
        "! s.lua: process returned a value that cannot be sent: the list: 10001 events of one log; 10000 are the most",
    );
}

/// The events for each of two destinations of a log for which the script runs `body`, and its error.
fn routed(body: &str) -> (Vec<String>, Vec<String>) {
    let named = |name| DestinationFormat { name: Some(DestinationName::new(name).unwrap()), format: Arc::new(Plain) };
    let formats: Vec<_> = ["splunk", "archive"].map(named).into();
    let script = Script::from_text("s.lua", format!("function process(log) {body} end"));
    let mut hook = Hook::load(&script, &config(), formats, meta()).unwrap();
    let made = hook.run(&page_of(&[vec![(b"k", b"v")]])).unwrap();
    let text = |events: &Events| -> String {
        (0..events.len()).map(|at| String::from_utf8_lossy(events.get(at)).into_owned()).collect::<Vec<_>>().join(" ")
    };
    let failed = made.failed.iter().map(|failed| failed.error.to_string()).collect();
    (made.outputs.iter().map(text).collect(), failed)
}

#[test]
fn an_event_goes_to_the_destinations_that_it_names_and_to_all_when_it_names_none() {
    let to = |body: &str, expected: [&str; 2]| {
        assert_eq!(routed(body), (expected.map(String::from).into(), vec![]), "{body}")
    };
    to("return { event = 'e' }", ["\"e\"", "\"e\""]);
    to("return { event = 'e', to = 'archive' }", ["", "\"e\""]);
    to("return { event = 'e', to = { 'archive', 'splunk', 'archive' } }", ["\"e\"", "\"e\""]);
    to(
        "return { { event = 'a', to = 'splunk' }, { event = 'b', to = { 'archive' } }, 'c' }",
        ["\"a\" \"c\"", "\"b\" \"c\""],
    );
}

#[test]
fn an_unknown_destination_is_an_error_of_that_log_that_lists_those_that_exist() {
    let fails = |to: &str, expected: &str| {
        let (sent, failed) = routed(&format!("return {{ {{ event = 'a' }}, {{ event = 'b', to = {to} }} }}"));
        assert_eq!(sent, ["", ""], "nothing of the log is sent");
        assert!(failed.len() == 1 && failed[0].contains(expected), "{failed:?}");
    };
    fails("'splnk'", "[2].to: no destination is called \"splnk\"; the destinations are splunk, archive");
    fails("{ 'splunk', 'x' }", "[2].to[2]: no destination is called \"x\"");
    fails("{ 'splunk', 7 }", "[2].to[2]: expected the name of a destination, not a number");
    fails("{}", "[2].to: expected the name of a destination or a list of names, not an empty table");
    fails("true", "[2].to: expected the name of a destination or a list of names, not a boolean");
}
