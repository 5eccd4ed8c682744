//! An event as the script returned it, in JSON. Cases compare this form, whatever the destination.
//!
//! ```json
//! {"time": 1700000000, "host": "web-1", "event": {"status": "200"}}
//! ```

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::core::event::{Body, BodyError, Format, Head, Pair, Time};
use crate::core::priority::{FACILITIES, SEVERITIES};
use crate::script::diagnostics::hint::nearest;
use crate::script::output::returned::KEYS;
use crate::script::testing::sample::kind;

/// Writes each event as one JSON object: the attributes set by the script, and `event`; `message` only if it differs
/// from the event.
#[derive(Debug, Clone, Copy, Default)]
pub struct EventJson;

/// Distinguishes a log from a message text: only a log has this before all its pairs.
const SEPARATOR: &[u8] = b"\0\x01\0";

impl Format for EventJson {
    fn write(&self, head: &Head<'_>, body: &mut dyn Body, out: &mut Vec<u8>) -> Result<(), BodyError> {
        out.push(b'{');
        if let Some(time) = &head.time {
            member("time", time_json(time).as_bytes(), out);
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
                member(name, quoted(text).as_bytes(), out);
            }
        }
        for (name, code, names) in
            [("facility", head.syslog.facility, &FACILITIES[..]), ("severity", head.syslog.severity, &SEVERITIES[..])]
        {
            if let Some(code) = code {
                member(name, quoted(names[usize::from(code)].as_bytes()).as_bytes(), out);
            }
        }
        if !head.fields.is_empty() {
            member("fields", Value::Object(grouped(&head.fields)).to_string().as_bytes(), out);
        }
        if !head.syslog.structured_data.is_empty() {
            let elements = head.syslog.structured_data.iter();
            let elements: Map<String, Value> =
                elements.map(|(id, pairs)| (lossy(id), Value::Object(grouped(pairs)))).collect();
            member("structured_data", Value::Object(elements).to_string().as_bytes(), out);
        }
        match &head.to[..] {
            [] => {}
            [one] => member("to", quoted(one).as_bytes(), out),
            several => {
                let names: Value = several.iter().map(|name| lossy(name)).collect();
                member("to", names.to_string().as_bytes(), out);
            }
        }
        let (mut event, mut text) = (Vec::new(), Vec::new());
        body.json(&mut event)?;
        body.text(SEPARATOR, &mut text)?;
        if let Some(message) = message(&event, &text) {
            member("message", message.as_bytes(), out);
        }
        member("event", &event, out);
        out.push(b'}');
        Ok(())
    }
}

/// The message as JSON, if it differs from the event.
fn message(event: &[u8], text: &[u8]) -> Option<String> {
    let is_the_log = text.starts_with(SEPARATOR) || text.is_empty();
    let quoted = quoted(text);
    (!is_the_log && event != text && event != quoted.as_bytes()).then_some(quoted)
}

fn member(key: &str, json: &[u8], out: &mut Vec<u8>) {
    if out.last() != Some(&b'{') {
        out.extend_from_slice(b", ");
    }
    out.extend_from_slice(format!("\"{key}\": ").as_bytes());
    out.extend_from_slice(json);
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn quoted(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    crate::script::output::escape::string(bytes, &mut out);
    lossy(&out)
}

fn digits(time: &Time<'_>) -> String {
    match time.nanos {
        Some(nanos) => format!("{}.{nanos:09}", time.digits),
        None => time.digits.clone().into_owned(),
    }
}

/// A JSON number if it can hold these digits, otherwise a string, so that no digit is lost.
fn time_json(time: &Time<'_>) -> String {
    let digits = digits(time);
    let number = digits.strip_prefix('-').unwrap_or(&digits);
    let is_number = (!number.starts_with('0') || number == "0") && !number.contains('.') && number.len() <= 15;
    if is_number { digits } else { format!("\"{digits}\"") }
}

/// Names and values; a repeated name has a list.
fn grouped(pairs: &[Pair<'_>]) -> Map<String, Value> {
    let mut all = Map::<String, Value>::new();
    for (key, value) in pairs {
        let value = Value::from(lossy(value));
        match all.get_mut(&lossy(key)) {
            None => {
                all.insert(lossy(key), value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    all
}

/// Normalizes an expected event for the comparison: a bare string becomes `{"event": …}`, times and attributes become
/// text, and codes become names.
pub(super) fn normal(event: &Value) -> Result<Value, String> {
    let Value::Object(event) = event else {
        return match event {
            Value::String(_) => Ok(Value::Object(Map::from_iter([("event".to_owned(), event.clone())]))),
            other => Err(format!(": an event is an object or a string, not {}", kind(other))),
        };
    };
    let mut normal = Map::new();
    for (key, value) in event {
        let value = match key.as_str() {
            "event" | "message" => value.clone(),
            "time" => match value {
                Value::Number(_) => value.clone(),
                Value::String(text) => match text.parse::<i64>() {
                    Ok(seconds) if text.len() <= 15 && seconds.to_string() == *text => Value::from(seconds),
                    _ => value.clone(),
                },
                other => return Err(format!(".time: unix seconds are a number or digits, not {}", kind(other))),
            },
            "host" | "source" | "sourcetype" | "index" | "program" | "procid" | "msgid" => text(value),
            "to" => match value {
                Value::Array(names) if names.len() == 1 => names[0].clone(),
                other => other.clone(),
            },
            "facility" => code(value, &FACILITIES),
            "severity" => code(value, &SEVERITIES),
            "fields" => texts(value),
            "structured_data" => match value {
                Value::Object(elements) => elements.iter().map(|(id, pairs)| (id.clone(), texts(pairs))).collect(),
                other => other.clone(),
            },
            _ => {
                let near = nearest(key, KEYS);
                let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                return Err(format!(": an event has no `{key}`{near}"));
            }
        };
        normal.insert(key.clone(), value);
    }
    if !normal.contains_key("event")
        && let Some(message) = normal.remove("message")
    {
        normal.insert("event".to_owned(), message);
    }
    Ok(Value::Object(normal))
}

fn text(value: &Value) -> Value {
    match value {
        Value::Number(_) | Value::Bool(_) => Value::from(value.to_string()),
        other => other.clone(),
    }
}

fn texts(value: &Value) -> Value {
    match value {
        Value::Object(pairs) => pairs
            .iter()
            .map(|(key, value)| {
                let value = match value {
                    Value::Array(values) => values.iter().map(text).collect(),
                    value => text(value),
                };
                (key.clone(), value)
            })
            .collect(),
        other => other.clone(),
    }
}

fn code(value: &Value, names: &[&str]) -> Value {
    let name = value.as_u64().and_then(|code| names.get(usize::try_from(code).ok()?));
    name.map_or_else(|| value.clone(), |name| Value::from(Cow::Borrowed(*name)))
}
