//! A log that somebody typed or kept, as a page like those that are pulled: what is tried and tested goes the same way
//! as what is shipped.

use prost::Message as _;
use serde_json::{Map, Value};

use crate::model::{Cursor, Page, ShardId};
use crate::page::Log as PageLog;
use crate::sls::proto::{Log, LogGroup, LogGroupList, Pair};

/// The time of a sample that names none.
const TIME: u32 = 1_700_000_000;

/// A flattened log: keys and values in the order of the dict that `process(log)` gets.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    group: LogGroup,
}

/// Why a text is no log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SampleError(String);

impl Sample {
    /// The log that a JSON object of strings stands for, as a script sees it:
    /// `{"__time__": "1700000000", "__tag__:host": "web-1", "status": "200"}`. What SLS gives every log is there even when
    /// it is left out: `__time__` (then 1700000000), an empty `__topic__` and an empty `__source__`.
    ///
    /// # Errors
    /// A value is no string, or a field that SLS keeps as a number is none.
    pub fn from_json(log: &Value) -> Result<Self, SampleError> {
        let Value::Object(fields) = log else {
            return Err(SampleError(format!("a log is an object of strings, not {}", kind(log))));
        };
        check_strings(fields)?;
        Self::from_fields(fields.iter().map(|(key, value)| {
            let value = value.as_str().expect("checked above");
            (key.as_bytes(), value.as_bytes())
        }))
    }

    /// The log with these fields, any bytes.
    ///
    /// # Errors
    /// A field that SLS keeps as a number is none.
    pub fn from_fields<'a>(fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<Self, SampleError> {
        let mut group = LogGroup::default();
        let mut log = Log { time: TIME, ..Log::default() };
        for (key, value) in fields {
            match key {
                b"__time__" => log.time = number(key, value, u32::MAX)?,
                b"__time_ns_part__" => log.time_ns = Some(number(key, value, 999_999_999)?),
                b"__topic__" => group.topic = Some(value.to_vec()),
                b"__source__" => group.source = Some(value.to_vec()),
                _ => match key.strip_prefix(b"__tag__:") {
                    Some(tag) => group.tags.push(Pair { key: tag.to_vec(), value: value.to_vec() }),
                    None => log.contents.push(Pair { key: key.to_vec(), value: value.to_vec() }),
                },
            }
        }
        group.logs = vec![log];
        Ok(Self { group })
    }

    /// The log that was read from a page.
    #[must_use]
    pub fn from_page(log: PageLog<'_>) -> Self {
        Self::from_fields(log.fields()).expect("the numbers of a page are numbers")
    }

    /// A page of these logs, each in a log group of its own, as if it had been pulled from shard 0.
    #[must_use]
    pub fn page(samples: &[Self]) -> Page {
        let groups: Vec<LogGroup> = samples.iter().map(|sample| sample.group.clone()).collect();
        let count = u32::try_from(groups.len()).expect("samples are typed by people");
        let body = LogGroupList { groups }.encode_to_vec();
        Page {
            shard: ShardId(0),
            cursor: Cursor::from_number(0),
            next: Cursor::from_number(count.into()),
            scanned_bytes: body.len() as u64,
            body: body.into(),
            groups: count,
            last_group: Some(i64::from(count) - 1),
            at_end: Some(true),
            received_at: None,
        }
    }
}

fn check_strings(fields: &Map<String, Value>) -> Result<(), SampleError> {
    match fields.iter().find(|(_, value)| !value.is_string()) {
        None => Ok(()),
        Some((key, value)) => {
            let text = serde_json::to_string(&value.to_string()).expect("a string is JSON");
            Err(SampleError(format!("`{key}` is {}, and the fields of a log are strings: write {text}", kind(value))))
        }
    }
}

fn number(key: &[u8], value: &[u8], most: u32) -> Result<u32, SampleError> {
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).filter(|&number| number <= most).ok_or_else(|| {
        let (key, value) = (String::from_utf8_lossy(key), String::from_utf8_lossy(value));
        SampleError(format!("`{key}` is a whole number from 0 to {most} in SLS, not {value:?}"))
    })
}

/// What JSON calls a value.
pub(super) fn kind(value: &Value) -> &'static str {
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
    use crate::page::Logs;

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
        assert_eq!(fields(json!({})), "__time__=1700000000 __topic__= __source__=");
    }

    #[test]
    fn what_no_log_can_hold_is_named() {
        let check = |log: Value, expected: &str| assert_eq!(Sample::from_json(&log).unwrap_err().to_string(), expected);
        check(json!([]), "a log is an object of strings, not an array");
        check(json!({ "a": 200 }), "`a` is a number, and the fields of a log are strings: write \"200\"");
        check(
            json!({ "event": { "k": "v" } }),
            r#"`event` is an object, and the fields of a log are strings: write "{\"k\":\"v\"}""#,
        );
        check(json!({ "__time__": "now" }), "`__time__` is a whole number from 0 to 4294967295 in SLS, not \"now\"");
    }
}
