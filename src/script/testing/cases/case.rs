//! One case: a line of a file of cases.

use serde_json::{Map, Value};

use super::event;
use crate::script::testing::sample::kind;
use crate::script::values::json::scan::levels;
use crate::script::{HookError, Sample};

/// A parsed and checked case.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Its name; `case` when it has none.
    pub name: String,
    pub(super) logs: Vec<Sample>,
    pub(super) settings: toml::Table,
    pub(super) expected: Expected,
    line: Map<String, Value>,
}

/// The expected result of a case.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expected {
    /// These events, in the form of [`event::normal`]; empty when all are dropped.
    Events(Vec<Value>),
    /// An error whose message contains this text.
    Error(String),
}

/// The keys of expected results.
const OUTCOMES: [&str; 3] = ["events", "dropped", "error"];

/// Additional keys of `forwarder try --json`, whose lines can be used as cases unchanged.
const IGNORED: [&str; 3] = ["sent", "cost", "at"];

/// Maximum nesting of objects and arrays in a line: the limit of serde_json for a `Value`.
pub(super) const MAX_LEVELS: i64 = 127;

/// Nesting levels around each event in a line.
pub(super) const LEVELS_AROUND: i64 = 2;

impl Case {
    /// Reads a line.
    ///
    /// # Errors
    /// The error, and the fix.
    pub fn read(line: &str) -> Result<Self, String> {
        if levels(line.as_bytes()) > MAX_LEVELS {
            return Err(format!("the line is nested deeper than the {MAX_LEVELS} levels that a case can hold"));
        }
        let line: Value = serde_json::from_str(line).map_err(|error| format!("the line is not JSON: {error}"))?;
        let Value::Object(line) = line else {
            return Err(format!("a case is an object, not {}", kind(&line)));
        };
        let known = ["name", "log", "logs", "settings"].iter().chain(&OUTCOMES).chain(&IGNORED);
        if let Some(key) = line.keys().find(|key| !known.clone().any(|known| known == key)) {
            return Err(format!(
                "a case has no `{key}`; it has name, log or logs, settings, and events, dropped or error"
            ));
        }
        let name = match line.get("name") {
            None => "case".to_owned(),
            Some(Value::String(name)) => name.clone(),
            Some(other) => return Err(format!("`name` is a string, not {}", kind(other))),
        };
        let logs = match (line.get("log"), line.get("logs")) {
            (Some(log), None) => vec![sample("log", log)?],
            (None, Some(Value::Array(logs))) => {
                let logs = logs.iter().enumerate();
                logs.map(|(at, log)| sample(&format!("logs[{}]", at + 1), log)).collect::<Result<_, _>>()?
            }
            (None, Some(other)) => return Err(format!("`logs` is a list of logs, not {}", kind(other))),
            (None, None) => return Err("there is no log: write \"log\": { … }".to_owned()),
            (Some(_), Some(_)) => return Err("a case has `log` or `logs`, not both".to_owned()),
        };
        let settings = line.get("settings").map_or_else(|| Ok(toml::Table::new()), settings)?;
        let expected = expected(&line)?;
        Ok(Self { name, logs, settings, expected, line })
    }

    /// The line of this case with another expected result.
    pub(super) fn with(&self, outcome: &Outcome) -> String {
        let (key, text) = match outcome {
            Outcome::Events(events) if events.is_empty() => ("dropped", "true".to_owned()),
            Outcome::Events(events) => ("events", format!("[{}]", events.join(", "))),
            Outcome::Failed(error) => ("error", Value::from(error.message()).to_string()),
        };
        let is_old = |key: &str| OUTCOMES.contains(&key) || IGNORED.contains(&key);
        let kept = self.line.iter().filter(|(key, _)| !is_old(key));
        let mut members: Vec<String> =
            kept.map(|(key, value)| format!("{}: {value}", Value::from(key.as_str()))).collect();
        members.push(format!("\"{key}\": {text}"));
        format!("{{{}}}", members.join(", "))
    }
}

fn sample(place: &str, log: &Value) -> Result<Sample, String> {
    Sample::from_json(log).map_err(|error| format!("{place}: {error}"))
}

fn settings(value: &Value) -> Result<toml::Table, String> {
    if !value.is_object() {
        return Err(format!("`settings` is an object, not {}", kind(value)));
    }
    toml::Table::try_from(value).map_err(|error| format!("`settings` cannot be those of a settings file: {error}"))
}

fn expected(line: &Map<String, Value>) -> Result<Expected, String> {
    let given: Vec<&str> = OUTCOMES.into_iter().filter(|key| line.contains_key(*key)).collect();
    match given.as_slice() {
        ["events"] => match &line["events"] {
            Value::Array(events) => {
                let events = events.iter().enumerate();
                let normal = |(at, value)| event::normal(value).map_err(|why| format!("events[{}]{why}", at + 1));
                events.map(normal).collect::<Result<_, _>>().map(Expected::Events)
            }
            other => Err(format!("`events` is a list of events, not {}", kind(other))),
        },
        ["dropped"] => match &line["dropped"] {
            Value::Bool(true) => Ok(Expected::Events(Vec::new())),
            _ => Err("`dropped` is true, or left out".to_owned()),
        },
        ["error"] => match &line["error"] {
            Value::String(part) if !part.is_empty() => Ok(Expected::Error(part.clone())),
            _ => Err("`error` is a part of the message that is expected".to_owned()),
        },
        [] => Err("nothing is expected: write events, dropped or error (or let `forwarder test --update` write it \
                   after adding \"dropped\": true)"
            .to_owned()),
        several => Err(format!("a case has one of {}", several.join(" and "))),
    }
}

/// The result of a case.
pub(super) enum Outcome {
    Events(Vec<String>),
    Failed(Box<HookError>),
}
