//! A log from a file, as a page like a pulled one, so that `try` and tests use the same code as production.

use prost::Message as _;
use serde_json::Value;

use crate::core::cursor::{Cursor, ShardId};
use crate::core::page::Page;
use crate::loggroup::Log as PageLog;
use crate::loggroup::flat;
use crate::loggroup::proto::{LogGroup, LogGroupList};

/// The time of a sample without one.
const TIME: &[u8] = b"1700000000";

/// A flattened log: keys and values in the order of the dict that `process(log)` gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Why a JSON value is not a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SampleError(String);

impl Sample {
    /// The log for a JSON object of strings, as a script sees it:
    /// `{"__time__": "1700000000", "__tag__:host": "web-1", "status": "200"}`. Fields that SLS adds to every log are
    /// added if they are missing: `__time__` (then 1700000000), an empty `__topic__` and an empty `__source__`.
    ///
    /// # Errors
    /// It is not an object, or a value is not a string.
    pub fn from_json(log: &Value) -> Result<Self, SampleError> {
        let Value::Object(fields) = log else {
            return Err(SampleError(format!("a log is an object of strings, not {}", kind(log))));
        };
        let field = |(key, value): (&String, &Value)| match value {
            Value::String(text) => Ok((key.clone().into_bytes(), text.clone().into_bytes())),
            other => {
                let text = Value::from(other.to_string());
                let why = format!("`{key}` is {}, and the fields of a log are strings: write {text}", kind(other));
                Err(SampleError(why))
            }
        };
        Ok(Self { fields: fields.iter().map(field).collect::<Result<_, _>>()? })
    }

    /// A log of a page.
    #[must_use]
    pub fn from_page(log: PageLog<'_>) -> Self {
        Self { fields: log.fields().map(|(key, value)| (key.to_vec(), value.to_vec())).collect() }
    }

    /// The keys and values in their original order.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    /// A page of these logs, each in its own log group, as if it had been pulled from shard 0.
    #[must_use]
    pub fn page(samples: &[Self]) -> Page {
        let groups: Vec<LogGroup> = samples.iter().map(Self::group).collect();
        let count = u32::try_from(groups.len()).expect("a sample is small");
        let body = LogGroupList { groups }.encode_to_vec();
        Page {
            shard: ShardId(0),
            cursor: Cursor::from_number(0),
            next: Cursor::from_number(count.into()),
            scanned_bytes: body.len() as u64,
            packed: None,
            wire_bytes: 0,
            body: body.into(),
            groups: count,
            last_group: Some(i64::from(count) - 1),
            first_log: 0,
            at_end: Some(true),
            received_at: None,
        }
    }

    fn group(&self) -> LogGroup {
        if self.fields.iter().any(|(key, _)| key == b"__time__") {
            return flat::group_of(&self.fields);
        }
        let time = (b"__time__".to_vec(), TIME.to_vec());
        flat::group_of(&[&[time], self.fields.as_slice()].concat())
    }
}

/// The JSON name of a value's type.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::loggroup::Logs;

    fn fields(log: Value) -> String {
        let mut logs = Logs::default();
        logs.open(Sample::page(&[Sample::from_json(&log).unwrap()]).body).unwrap();
        let log = logs.read().unwrap().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        log.fields().map(|(key, value)| format!("{}={}", text(key), text(value))).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_sample_becomes_the_log_that_a_script_would_see() {
        assert_eq!(
            fields(json!({ "b": "1", "__tag__:host": "h", "a": "2", "__topic__": "t", "__time__": "5",
                           "__time_ns_part__": "7" })),
            "__time__=5 __topic__=t __source__= __time_ns_part__=7 __tag__:host=h b=1 a=2"
        );
        assert_eq!(fields(json!({ "__time__": "now" })), "__time__=now __topic__= __source__=");
        assert_eq!(fields(json!({})), "__time__=1700000000 __topic__= __source__=");
    }

    #[test]
    fn a_sample_that_no_log_could_be_is_an_error_that_says_why() {
        let check = |log: Value, expected: &str| assert_eq!(Sample::from_json(&log).unwrap_err().to_string(), expected);
        check(json!([]), "a log is an object of strings, not an array");
        check(json!({ "a": 200 }), "`a` is a number, and the fields of a log are strings: write \"200\"");
        check(
            json!({ "event": { "k": "v" } }),
            r#"`event` is an object, and the fields of a log are strings: write "{\"k\":\"v\"}""#,
        );
    }
}
