//! Differences between two JSON values.

use serde_json::{Map, Number, Value};

/// A difference between the expected and the actual result.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The path: `events[1].event.user`.
    pub path: String,
    /// The expected value; `None` if there should be none.
    pub expected: Option<Value>,
    /// The actual value; `None` if it is missing.
    pub got: Option<Value>,
}

/// All differences between two lists of events, in the order of the expected value. The order of an object's keys is
/// ignored.
pub(super) fn between(expected: &Value, got: &Value) -> Vec<Difference> {
    let mut differences = Vec::new();
    compare("events".to_owned(), Some(expected), Some(got), &mut differences);
    differences
}

fn compare(path: String, expected: Option<&Value>, got: Option<&Value>, out: &mut Vec<Difference>) {
    match (expected, got) {
        (Some(Value::Object(expected)), Some(Value::Object(got))) => objects(&path, expected, got, out),
        (Some(Value::Array(expected)), Some(Value::Array(got))) => {
            for at in 0..expected.len().max(got.len()) {
                compare(format!("{path}[{}]", at + 1), expected.get(at), got.get(at), out);
            }
        }
        (Some(Value::Number(expected)), Some(Value::Number(got))) if is_same(expected, got) => {}
        (expected, got) if expected == got => {}
        (expected, got) => out.push(Difference { path, expected: expected.cloned(), got: got.cloned() }),
    }
}

fn objects(path: &str, expected: &Map<String, Value>, got: &Map<String, Value>, out: &mut Vec<Difference>) {
    let unexpected = got.keys().filter(|key| !expected.contains_key(*key));
    for key in expected.keys().chain(unexpected) {
        let path = format!("{path}{}", crate::script::output::fault::step(key.as_bytes()));
        compare(path, expected.get(key), got.get(key), out);
    }
}

/// 1 and 1.0 are the same number.
fn is_same(one: &Number, other: &Number) -> bool {
    one == other || (one.is_f64() || other.is_f64()) && one.as_f64() == other.as_f64()
}
