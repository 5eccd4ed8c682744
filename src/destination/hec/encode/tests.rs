use serde_json::json;

use super::*;

/// A body of this JSON.
struct Json(&'static str);

impl Body for Json {
    fn json(&mut self, out: &mut Vec<u8>) -> Result<(), BodyError> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(())
    }

    fn text(&mut self, _: &[u8], _: &mut Vec<u8>) -> Result<(), BodyError> {
        unreachable!("HEC asks for JSON")
    }
}

fn config() -> Config {
    Config::plain("https://splunk.example:8088", "t")
}

fn defaults() -> Config {
    Config {
        host: Some("h".to_owned()),
        source: Some("s".to_owned()),
        sourcetype: Some("st".to_owned()),
        index: Some("main".to_owned()),
        ..config()
    }
}

fn seed() -> Config {
    Config { sourcetype: Some("st".to_owned()), index: Some("main".to_owned()), compat: true, ..config() }
}

fn written(config: &Config, head: &Head<'_>, body: &'static str) -> Result<String, BodyError> {
    // Not empty, as in the middle of a batch.
    let mut out = b"before\n".to_vec();
    HecFormat::new(config).write(head, &mut Json(body), &mut out)?;
    let text = String::from_utf8(out).unwrap();
    Ok(text.strip_prefix("before\n").unwrap().to_owned())
}

#[track_caller]
fn check(config: &Config, head: &Head<'_>, body: &'static str, expected: &str) {
    let written = written(config, head, body).unwrap();
    serde_json::from_str::<serde_json::Value>(&written).expect("one JSON object");
    assert_eq!(written, format!("{expected}\n"));
}

#[track_caller]
fn check_refused(config: &Config, head: &Head<'_>, body: &'static str, path: &str) {
    let error = written(config, head, body).unwrap_err();
    assert_eq!(error.path, path, "{error}");
}

fn at(digits: &'static str, nanos: Option<u32>) -> Head<'static> {
    Head { time: Some(Time { digits: digits.into(), nanos }), ..Head::default() }
}

fn bytes(text: &'static [u8]) -> Option<Cow<'static, [u8]>> {
    Some(Cow::Borrowed(text))
}

#[test]
fn an_event_without_attributes_has_only_the_event_key() {
    check(&config(), &Head::default(), r#"{"a":1}"#, r#"{"event":{"a":1}}"#);
}

#[test]
fn attributes_missing_from_the_event_come_from_the_settings() {
    check(
        &defaults(),
        &at("1700000000", None),
        r#""x""#,
        r#"{"time":1700000000,"host":"h","source":"s","sourcetype":"st","index":"main","event":"x"}"#,
    );
}

#[test]
fn attributes_of_the_event_override_the_settings() {
    let head = Head { index: bytes(b"audit"), ..Head::default() };
    check(&defaults(), &head, "1", r#"{"host":"h","source":"s","sourcetype":"st","index":"audit","event":1}"#);
}

#[test]
fn an_empty_attribute_is_left_out() {
    let head = Head { index: bytes(b""), host: bytes(b""), ..Head::default() };
    check(&seed_without_compat(), &head, "1", r#"{"sourcetype":"st","index":"main","event":1}"#);
}

fn seed_without_compat() -> Config {
    Config { compat: false, ..seed() }
}

#[test]
fn f35_nanoseconds_are_nine_digits_after_the_point() {
    check(&config(), &at("1790000000", Some(123_456_789)), "1", r#"{"time":1790000000.123456789,"event":1}"#);
    check(&config(), &at("1790000000", Some(5)), "1", r#"{"time":1790000000.000000005,"event":1}"#);
    check(&config(), &at("1790000000", Some(0)), "1", r#"{"time":1790000000.000000000,"event":1}"#);
}

#[test]
fn digits_are_copied_however_many_there_are() {
    check(
        &config(),
        &at("99999999999999999999.12345678901234567890", None),
        "1",
        r#"{"time":99999999999999999999.12345678901234567890,"event":1}"#,
    );
}

#[test]
fn leading_zeros_are_removed_because_json_forbids_them() {
    check(&config(), &at("0017", None), "1", r#"{"time":17,"event":1}"#);
    check(&config(), &at("000", None), "1", r#"{"time":0,"event":1}"#);
    check(&config(), &at("00.5", None), "1", r#"{"time":0.5,"event":1}"#);
    check(&config(), &at("-007", None), "1", r#"{"time":-7,"event":1}"#);
}

#[test]
fn nanoseconds_beyond_a_second_are_refused() {
    check_refused(&config(), &at("1", Some(1_000_000_000)), "1", "time_ns");
    check_refused(&config(), &at("-1", Some(1)), "1", "time_ns");
    check_refused(&seed(), &at("1", Some(1_000_000_000)), "1", "time_ns");
}

#[test]
fn invalid_utf8_becomes_the_replacement_character() {
    let head = Head { host: bytes(b"a\xffb\xe4\xbd"), ..Head::default() };
    check(&config(), &head, "1", "{\"host\":\"a\u{fffd}b\u{fffd}\",\"event\":1}");
}

#[test]
fn an_attribute_cannot_break_out_of_its_string() {
    let head = Head { source: bytes(b"\",\"index\":\"x\n\x00\\"), ..Head::default() };
    check(&config(), &head, "1", r#"{"source":"\",\"index\":\"x\n\u0000\\","event":1}"#);
}

#[test]
fn fields_are_strings_and_a_repeated_key_is_an_array_at_its_first_place() {
    let field = |key: &'static str, value: &'static str| (key.as_bytes().into(), value.as_bytes().into());
    let head =
        Head { fields: vec![field("b", "1"), field("a", "x"), field("b", "2"), field("c\"", "")], ..Head::default() };
    check(&config(), &head, "1", r#"{"event":1,"fields":{"b":["1","2"],"a":"x","c\"":""}}"#);
    check(
        &seed(),
        &head,
        r#"{"x":1}"#,
        r#"{"event": "{\"x\": 1}", "fields": {"b": ["1", "2"], "a": "x", "c\"": ""}, "index": "main", "sourcetype": "st"}"#,
    );
}

#[test]
fn a_blank_event_is_refused_because_splunk_would_refuse_it() {
    for body in ["null", "\"\"", "\" \"", "\" \\n\\t\\u0020\"", "{}", "{ }", "[]", "[\n]"] {
        check_refused(&config(), &Head::default(), body, "event");
    }
    for body in ["\"\"", "\"  \\n\""] {
        check_refused(&seed(), &Head::default(), body, "event");
    }
}

#[test]
fn an_event_that_only_looks_blank_is_written() {
    for body in ["0", "false", "\"null\"", "\" x\"", "\"\\u0041\"", "[null]", "[{}]", "\"{}\""] {
        assert!(written(&config(), &Head::default(), body).is_ok(), "{body}");
    }
}

#[test]
fn compat_writes_what_the_python_script_wrote() {
    // Checked against CPython: json.dumps({"event": json.dumps(log), …}, sort_keys=True).
    check(
        &seed(),
        &at("1700000000", None),
        concat!(
            r#"{"__topic__":"actiontrail_audit_event","__source__":"10.0.0.1","__time_ns_part__":["5"],"#,
            r#""__tag__:__receive_time__":"1700000001","event":{"eventId":"1","n":{"a":[1,2]}},"#,
            r#""msg":"你好 \"q\"\nline2"}"#
        ),
        concat!(
            r#"{"event": "{\"__topic__\": \"actiontrail_audit_event\", \"__source__\": \"10.0.0.1\", "#,
            r#"\"__time_ns_part__\": [\"5\"], \"__tag__:__receive_time__\": \"1700000001\", "#,
            r#"\"event\": {\"eventId\": \"1\", \"n\": {\"a\": [1, 2]}}, "#,
            r#"\"msg\": \"\\u4f60\\u597d \\\"q\\\"\\nline2\"}", "#,
            r#""index": "main", "sourcetype": "st", "time": "1700000000"}"#
        ),
    );
}

#[test]
fn compat_sorts_the_keys_and_writes_attributes_in_ascii() {
    let head = Head { host: bytes("höst".as_bytes()), source: bytes(b"src"), ..at("0017", Some(5)) };
    check(
        &seed(),
        &head,
        "[1,2]",
        r#"{"event": "[1, 2]", "host": "h\u00f6st", "index": "main", "source": "src", "sourcetype": "st", "time": "17.000000005"}"#,
    );
}

#[test]
fn compat_does_not_quote_text_twice() {
    check(
        &seed(),
        &Head::default(),
        r#""{\"a\": \"é\"}""#,
        r#"{"event": "{\"a\": \"\u00e9\"}", "index": "main", "sourcetype": "st"}"#,
    );
}

#[test]
fn the_default_and_the_compat_form_have_the_same_event() {
    let body = r#"{"k\u0000":"v\"\\\n😀","n":9007199254740993}"#;
    let plain: serde_json::Value = serde_json::from_str(&written(&config(), &Head::default(), body).unwrap()).unwrap();
    let compat: serde_json::Value = serde_json::from_str(&written(&seed(), &Head::default(), body).unwrap()).unwrap();
    let inner: serde_json::Value = serde_json::from_str(compat["event"].as_str().unwrap()).unwrap();
    assert_eq!(plain["event"], inner);
    assert_eq!(plain["event"]["n"], json!(9_007_199_254_740_993_u64));
}
