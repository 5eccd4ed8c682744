//! The test cases of a script: logs, and the expected events.
//!
//! `NAME.test.jsonl` is in the same directory as `NAME.lua`, with one case per line:
//!
//! ```json
//! {"name": "debug is dropped", "log": {"level": "debug"}, "dropped": true}
//! ```
//!
//! Besides `log` (or `logs`, several for one Lua state in turn), a case has the expected result: `events`,
//! `"dropped": true`, or `error` with a part of the message. `settings` replaces `[script.vars]`, key by key.
//!
//! Each case runs in its own Lua state, with the same [`Hook`] as in production. The comparison uses the returned
//! events, not the format of a destination: see [`EventJson`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::core::cursor::ShardId;
use crate::script::values::json::scan::levels;
use crate::script::{Config, Hook, HookError, HookOutput, Meta, Sample, Script};

mod case;
mod diff;
mod event;
mod report;

pub use case::Case;
pub use diff::Difference;
pub use event::EventJson;
pub use report::{Failure, Report, TOO_DEEP, Why};

use case::{Expected, LEVELS_AROUND, MAX_LEVELS, Outcome};

/// The suffix of the names of files with cases.
pub const SUFFIX: &str = ".test.jsonl";

/// The file of a script's cases: `scripts/transform.test.jsonl` for `scripts/transform.lua`.
#[must_use]
pub fn path_beside(script: &Path) -> PathBuf {
    let stem = script.file_stem().unwrap_or_default();
    let mut name = stem.to_owned();
    name.push(SUFFIX);
    script.with_file_name(name)
}

/// Runs the cases in `text`, the content of a file of cases. Errors of cases are in the report.
///
/// # Errors
/// The script does not load.
pub fn run(script: &Script, config: &Config, text: &str) -> Result<Report, HookError> {
    let _loads = hook(script, config)?;
    let mut report = Report::default();
    for (line, case) in read(text) {
        let (name, outcome) = match case {
            Ok(case) => (case.name.clone(), check(script, config, &case)),
            Err(why) => (String::new(), Err(Why::NotACase(why))),
        };
        match outcome {
            Ok(()) => report.passed += 1,
            Err(why) => report.failures.push(Failure { line, name, why }),
        }
    }
    Ok(report)
}

/// The text of a file of cases with the current results as expected results. A line that is not a case is unchanged.
///
/// # Errors
/// The script does not load.
pub fn update(script: &Script, config: &Config, text: &str) -> Result<String, HookError> {
    let _loads = hook(script, config)?;
    let mut updated = String::new();
    for line in text.lines() {
        match Case::read(line) {
            Ok(case) if !line.trim().is_empty() => match outcome(script, config, &case) {
                // A passing case keeps its text: `"error": "nil value"` is not extended.
                Ok(outcome) => match compare(&case, &outcome) {
                    Ok(()) | Err(Why::TooDeep) => updated += line,
                    Err(_) => updated += &case.with(&outcome),
                },
                Err(_) => updated += line,
            },
            _ => updated += line,
        }
        updated.push('\n');
    }
    Ok(updated)
}

/// The cases with the numbers of their lines, from 1.
fn read(text: &str) -> impl Iterator<Item = (usize, Result<Case, String>)> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(number, line)| (number + 1, Case::read(line)))
}

fn check(script: &Script, config: &Config, case: &Case) -> Result<(), Why> {
    let outcome = outcome(script, config, case).map_err(|error| Why::Unloaded(Box::new(error)))?;
    compare(case, &outcome)
}

fn outcome(script: &Script, config: &Config, case: &Case) -> Result<Outcome, HookError> {
    let mut config = config.clone();
    config.vars.extend(case.settings.clone());
    let mut made = made_of(&mut hook(script, &config)?, &case.logs);
    if !made.failed.is_empty() {
        return Ok(Outcome::Failed(Box::new(made.failed.swap_remove(0).error)));
    }
    Ok(Outcome::Events(texts(&made)))
}

/// A hook whose events are those of [`EventJson`].
///
/// # Errors
/// The script does not load.
pub fn hook(script: &Script, config: &Config) -> Result<Hook, HookError> {
    let meta = Meta {
        source: "source".to_owned(),
        project: "project".to_owned(),
        logstore: "logstore".to_owned(),
        shard: ShardId(0),
    };
    Hook::load(script, config, Arc::new(EventJson), meta)
}

fn made_of(hook: &mut Hook, logs: &[Sample]) -> HookOutput {
    hook.run(&Sample::page(logs)).expect("the pages of samples are readable")
}

/// The events as text.
fn texts(made: &HookOutput) -> Vec<String> {
    let events = 0..made.events().len();
    events.map(|event| String::from_utf8_lossy(made.events().get(event)).into_owned()).collect()
}

fn compare(case: &Case, outcome: &Outcome) -> Result<(), Why> {
    match (&case.expected, outcome) {
        (Expected::Events(expected), Outcome::Events(got)) => {
            if got.iter().any(|event| levels(event.as_bytes()) + LEVELS_AROUND > MAX_LEVELS) {
                return Err(Why::TooDeep);
            }
            let read =
                |event: &String| serde_json::from_str(event).expect("json.decode or the writer has checked this JSON");
            let got = got.iter().map(read).collect();
            let differences = diff::between(&Value::Array(expected.clone()), &Value::Array(got));
            if differences.is_empty() { Ok(()) } else { Err(Why::Differs(differences)) }
        }
        (Expected::Error(part), Outcome::Failed(error)) if error.fault.to_string().contains(part) => Ok(()),
        (Expected::Error(part), Outcome::Failed(error)) => Err(Why::OtherError(part.clone(), error.clone())),
        (Expected::Error(part), Outcome::Events(got)) => Err(Why::NoError(part.clone(), got.clone())),
        (Expected::Events(_), Outcome::Failed(error)) => Err(Why::Failed(error.clone())),
    }
}

#[cfg(test)]
mod tests;
