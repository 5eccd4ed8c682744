use std::sync::Arc;
use std::time::Duration;

use super::*;

const SCRIPT: &str = "function process(log)
  if log.level == 'debug' then return nil end
  if log.level == 'bad' then return { event = log.none.deep } end
  log.__time__ = nil
  return {
    time = 1700000000, host = log.host, facility = 'local0', fields = { n = 5 },
    event = { user = log.user, of = settings.tenant, ids = { 1, 2 } },
  }
end";

fn config() -> Config {
    Config { timeout: Duration::from_secs(1), memory: 16 << 20, total: Arc::default(), vars: toml::Table::new() }
}

/// The report for these lines: one text per failure.
fn report(lines: &[&str]) -> Vec<String> {
    let report = run(&Script::from_text("s.lua", SCRIPT), &config(), &lines.join("\n")).unwrap();
    assert_eq!(report.cases(), lines.iter().filter(|line| !line.is_empty()).count());
    report.failures.iter().map(ToString::to_string).collect()
}

fn check(line: &str, expected: &str) {
    assert_eq!(report(&[line]), [expected], "{line}");
}

const GOOD: &str = r#"{"name": "user", "log": {"user": "ann", "host": "h"}, "settings": {"tenant": "x"}, "events": [{"time": "1700000000", "host": "h", "facility": 16, "fields": {"n": 5}, "event": {"ids": [1, 2.0], "of": "x", "user": "ann"}}]}"#;

#[test]
fn a_case_whose_events_are_as_expected_passes() {
    let dropped = r#"{"log": {"level": "debug"}, "dropped": true}"#;
    let fails = r#"{"log": {"level": "bad"}, "error": "field 'none'"}"#;
    assert_eq!(report(&[GOOD, "", dropped, fails]), Vec::<String>::new());
}

#[test]
fn a_difference_is_named_with_its_path() {
    check(
        &GOOD.replace(r#""user": "ann"}}]"#, r#""user": "bob"}}]"#),
        r#"line 1, "user": events[1].event.user: expected "bob", got "ann""#,
    );
    check(&GOOD.replace("2.0", "2, 3"), r#"line 1, "user": events[1].event.ids[3]: expected 3, got nothing"#);
    check(
        &GOOD.replace(r#""time": "1700000000", "#, ""),
        r#"line 1, "user": events[1].time: expected nothing, got 1700000000"#,
    );
    check(
        r#"{"log": {"level": "debug"}, "events": ["x"]}"#,
        r#"line 1, "case": events[1]: expected {"event":"x"}, got nothing"#,
    );
    check(
        r#"{"log": {"level": "bad"}, "dropped": true}"#,
        "line 1, \"case\": s.lua:3: attempt to index a nil value (field 'none') (script version 83bb6f7f1606)",
    );
    check(
        r#"{"log": {"level": "debug"}, "error": "nil value"}"#,
        r#"line 1, "case": expected an error with "nil value", and there was none"#,
    );
}

#[test]
fn a_line_that_is_not_a_case_is_an_error_that_says_what_to_write() {
    check("[]", "line 1: a case is an object, not an array");
    check(
        r#"{"log": {}}"#,
        "line 1: nothing is expected: write events, dropped or error (or let `forwarder test --update` write it after adding \"dropped\": true)",
    );
    check(
        r#"{"log": {}, "event": []}"#,
        "line 1: a case has no `event`; it has name, log or logs, settings, and events, dropped or error",
    );
    check(
        r#"{"log": {"n": 1}, "dropped": true}"#,
        "line 1: log: `n` is a number, and the fields of a log are strings: write \"1\"",
    );
    check(
        r#"{"log": {}, "events": [{"hots": "x", "event": 1}]}"#,
        "line 1: events[1]: an event has no `hots`; did you mean `host`?",
    );
    check(r#"{"log": {}, "dropped": true, "error": "x"}"#, "line 1: a case has one of dropped and error");
}

#[test]
fn logs_of_one_case_share_a_state_and_cases_do_not() {
    let script = Script::from_text("s.lua", "local n = 0 function process() n = n + 1 return tostring(n) end");
    let lines = r#"{"logs": [{}, {}], "events": ["1", "2"]}
{"log": {}, "events": ["1"]}"#;
    assert!(run(&script, &config(), lines).unwrap().is_good());
}

#[test]
fn a_separate_message_is_compared_too() {
    let script = Script::from_text(
        "s.lua",
        "function process(log) log.__time__ = nil log.__topic__ = nil log.__source__ = nil
           if log.m then return { event = { a = 1 }, message = log.m } end
           return { { event = log }, { message = 'only' }, 'text' } end",
    );
    let lines = r#"{"log": {"m": "text"}, "events": [{"event": {"a": 1}, "message": "text"}]}
{"log": {"k": "v"}, "events": [{"event": {"k": "v"}}, {"message": "only"}, "text"]}"#;
    let report = run(&script, &config(), lines).unwrap();
    assert!(report.is_good(), "{report}");
}

#[test]
fn an_update_writes_the_current_events_and_keeps_passing_cases() {
    let script = Script::from_text("s.lua", SCRIPT);
    let old = [
        r#"{"name": "a", "log": {"user": "ann"}, "dropped": true}"#,
        r#"{"name": "b", "log": {"level": "debug"}, "events": ["x"], "settings": {"tenant": "y"}}"#,
        r#"{"name": "c", "log": {"level": "bad"}, "dropped": true}"#,
        r#"{"log": {"level": "bad"},  "error": "nil value"}"#,
        "no case",
    ];
    let new = [
        r#"{"name": "a", "log": {"user":"ann"}, "events": [{"time": 1700000000, "facility": "local0", "fields": {"n":"5"}, "event": {"ids":[1,2],"user":"ann"}}]}"#,
        r#"{"name": "b", "log": {"level":"debug"}, "settings": {"tenant":"y"}, "dropped": true}"#,
        r#"{"name": "c", "log": {"level":"bad"}, "error": "attempt to index a nil value (field 'none')"}"#,
        old[3],
        old[4],
        "",
    ];
    let updated = update(&script, &config(), &old.join("\n")).unwrap();
    assert_eq!(updated, new.join("\n"));
    assert_eq!(run(&script, &config(), &updated).unwrap().passed, 4);
    assert_eq!(update(&script, &config(), &updated).unwrap(), updated);
}

#[test]
fn deep_nesting_in_a_case_or_an_event_is_reported_and_left_unchanged() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let case = |text: &str, events: &str| {
        let log = serde_json::json!({ "event": text });
        format!(r#"{{"name": "deep", "log": {log}, "events": [{events}]}}"#)
    };
    check(
        &case("", &format!(r#"{{"event": {}}}"#, deep(400_000))),
        "line 1: the line is nested deeper than the 127 levels that a case can hold",
    );
    let script = Script::from_text(
        "s.lua",
        "function process(log) return { event = json.decode(log.event, 1000) or log.event } end",
    );
    let run = |line: &str| run(&script, &config(), line).unwrap();
    let good = case(&deep(124), &format!(r#"{{"event": {}}}"#, deep(124)));
    assert!(run(&good).is_good(), "{}", run(&good));
    let text = case(&deep(400_000), &format!(r#"{{"event": "{}"}}"#, deep(400_000)));
    assert!(run(&text).is_good());
    let other = case(&deep(400_000), r#"{"event": "x"}"#);
    assert_eq!(run(&other).failures.len(), 1);
    for levels in [125, 1000] {
        let line = case(&deep(levels), r#"{"event": 1}"#);
        assert!(run(&line).to_string().ends_with(&format!("\"deep\": {TOO_DEEP}")), "{}", run(&line));
        assert_eq!(update(&script, &config(), &line).unwrap(), format!("{line}\n"));
    }
    let updated = update(&script, &config(), &case(&deep(124), "1")).unwrap();
    assert!(run(&updated).is_good() || updated.contains("events"), "{updated}");
}

#[test]
fn the_cases_of_a_script_are_in_the_file_beside_it() {
    assert_eq!(path_beside(Path::new("scripts/a.b.lua")), Path::new("scripts/a.b.test.jsonl"));
}
