//! The samples to try, and the origin of each.

use std::io::Read as _;
use std::path::Path;

use serde_json::Value;

use crate::core::destination_name::DestinationName;
use crate::core::drop_reasons::DropReasons;
use crate::core::named_file;
use crate::core::named_file::MAX_LOGS;
use crate::script::{Cost, HookError, Sample, drop_mark};

/// A sample and its origin.
#[derive(Debug, Clone)]
pub(in crate::cli::commands) struct SampleOrigin {
    /// "samples.jsonl:3", or "shard 2, cursor MTIz, log 5".
    pub(super) place: String,
    pub(in crate::cli::commands) sample: Sample,
}

/// An event as its destination would get it.
pub(super) struct TriedEvent {
    /// The name of that destination, if there are several.
    pub(super) to: Option<DestinationName>,
    /// The texts in which it is sent.
    pub(super) texts: Vec<String>,
}

/// The result for one sample.
pub(super) struct Tried {
    /// The events, grouped by destination.
    pub(super) events: Vec<TriedEvent>,
    pub(super) error: Option<HookError>,
    /// The reason for dropping it, if the script gives one.
    pub(super) drop_reasons: DropReasons,
    pub(super) cost: Cost,
}

/// A log; or the problem with a sample, its place, and what to write.
pub(in crate::cli::commands) type Read = Result<SampleOrigin, String>;

/// Reads the logs of a file; `-` is standard input. Invalid samples are among the results.
///
/// # Errors
/// The file cannot be read, or contains no log.
pub(in crate::cli::commands) fn read(file: &Path) -> Result<Vec<Read>, String> {
    let (name, mut bytes) = (file.display().to_string(), Vec::new());
    let (name, read) = if name == "-" {
        ("standard input".to_owned(), std::io::stdin().read_to_end(&mut bytes).map(drop))
    } else {
        let read = named_file::read(file, MAX_LOGS).map(|content| bytes = content);
        (name, read)
    };
    read.map_err(|error| format!("{name} can't be read: {error} (- is standard input)"))?;
    drop_mark(&mut bytes);
    let logs = logs(&name, &bytes);
    if logs.is_empty() {
        return Err(format!(
            "{name} has no log: write one JSON object a line, {{\"__topic__\": \"t\", \"field\": \"text\"}}"
        ));
    }
    Ok(logs)
}

/// The logs in a text of JSON objects with any white space between and within them.
fn logs(name: &str, bytes: &[u8]) -> Vec<Read> {
    let mut logs = Vec::new();
    let mut start = 0;
    // Invalid JSON is skipped up to the end of its line.
    while start < bytes.len() {
        let mut values = serde_json::Deserializer::from_slice(&bytes[start..]).into_iter::<Value>();
        let behind = loop {
            let begins = start + values.byte_offset();
            let skipped = bytes[begins..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let line = 1 + memchr::memchr_iter(b'\n', &bytes[..begins + skipped]).count();
            match values.next() {
                None => return logs,
                Some(Ok(value)) => take(&format!("{name}:{line}"), &value, &mut logs),
                Some(Err(error)) => {
                    let before = memchr::memchr_iter(b'\n', &bytes[..start]).count();
                    let at = (before + error.line()).max(line);
                    let column = error.column();
                    let error = error.to_string();
                    // It names a line of the text that was left.
                    let what = error.rsplit_once(" at line ").map_or(error.as_str(), |(what, _)| what);
                    logs.push(Err(format!("{name}:{at}: this is not JSON: {what} at column {column}")));
                    let from = begins + skipped;
                    break memchr::memchr(b'\n', &bytes[from..]).map_or(bytes.len(), |end| from + end + 1);
                }
            }
        };
        start = behind;
    }
    logs
}

/// Reads a log, the log of a dead letter or a test case, the logs of a case, or a list of logs.
fn take(place: &str, value: &Value, logs: &mut Vec<Read>) {
    let sample = |value| Sample::from_json(value).map_err(|error| format!("{place}: {error}"));
    match (value, value.get("log"), value.get("logs")) {
        (Value::Array(values), ..) | (_, None, Some(Value::Array(values))) => {
            values.iter().for_each(|value| take(place, value, logs));
        }
        (_, Some(log @ Value::Object(_)), _) => {
            if value.get("log_base64").is_some() {
                logs.push(Err(format!(
                    "{place}: this dead letter has invalid UTF-8, which JSON samples cannot contain"
                )));
                return;
            }
            logs.push(sample(log).map(|sample| SampleOrigin { place: place.to_owned(), sample }));
        }
        _ => logs.push(sample(value).map(|sample| SampleOrigin { place: place.to_owned(), sample })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let shown = |read: &Read| match read {
            Ok(origin) => {
                let fields: Vec<_> = origin.sample.fields().map(|(key, value)| [key, b"=", value].concat()).collect();
                format!("{} {}", origin.place, String::from_utf8_lossy(&fields.join(&b' ')))
            }
            Err(error) => error.clone(),
        };
        let found: Vec<String> = logs("s", text.as_bytes()).iter().map(shown).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn logs_are_found_with_their_line_numbers() {
        check("{\"a\":\"1\"}\n\n{\"b\":\"2\",\n \"c\":\"3\"}\n", &["s:1 a=1", "s:3 b=2 c=3"]);
        check("[{\"a\":\"1\"}, {\"b\":\"2\"}]", &["s:1 a=1", "s:1 b=2"]);
        check("\n{\"v\":1,\"reason\":\"rejected\",\"log\":{\"a\":\"1\"}}", &["s:2 a=1"]);
        check("{\"name\":\"n\",\"logs\":[{\"a\":\"1\"},{}],\"dropped\":true}", &["s:1 a=1", "s:1 "]);
        check("{\"log\":\"text\"}", &["s:1 log=text"]);
        check("", &[]);
    }

    #[test]
    fn a_byte_order_mark_before_the_logs_is_ignored() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, "\u{feff}{\"a\":\"\u{feff}\"}".as_bytes()).unwrap();
        let logs = read(file.path()).unwrap();
        assert_eq!(logs[0].as_ref().unwrap().sample.fields().next().unwrap().1, "\u{feff}".as_bytes());
    }

    #[test]
    fn a_sample_that_is_not_a_log_is_named_with_its_line() {
        check(
            "{}\n{\"a\":5}\n{}",
            &["s:1 ", "s:2: `a` is a number, and the fields of a log are strings: write \"5\"", "s:3 "],
        );
        check("{}\n7", &["s:1 ", "s:2: a log is an object of strings, not a number"]);
        let deep = format!("{}{}", "[".repeat(400_000), "]".repeat(400_000));
        check(&format!("{{\"a\":{deep}}}"), &["s:1: this is not JSON: recursion limit exceeded at column 132"]);
        check(&format!("{{\"a\":\"{deep}\"}}"), &[&format!("s:1 a={deep}")]);
        check("{]\n{}", &["s:1: this is not JSON: key must be a string at column 2", "s:2 "]);
        check("{}\n{\"a\"", &["s:1 ", "s:2: this is not JSON: EOF while parsing an object at column 4"]);
    }
}
