//! Checks that the script loads and its test cases pass.

use std::path::Path;

use super::finding::{Findings, Level};
use crate::core::count::count;
use crate::core::named_file;
use crate::core::named_file::MAX_LOGS;
use crate::script::testing::cases;
use crate::script::{Beside, Config, Script, drop_mark, negated_comparison, unused_drop};

pub(super) fn check(findings: &Findings, path: &Path, config: &Config) {
    let script = match Script::read(path) {
        Ok(script) => script,
        Err(error) => {
            findings.fail(Level::SETUP, error.to_string(), "check script.file, and the permissions of the file");
            return;
        }
    };
    let (name, version) = (&script.name, &script.version);
    match cases::hook(&script, config) {
        Ok(_loads) => findings.ok(format!("{name} loads, version {version}")),
        Err(error) => {
            let fix = format!("correct the line; forwarder try --script {name} shows it in place");
            findings.fail(Level::SETUP, error.line(Beside::default()), fix);
            return;
        }
    }
    if let Some(line) = unused_drop(&script) {
        let what = format!("{name}:{line} calls drop and does not return its value, so nothing is dropped");
        findings.warn(what, "write return drop \"reason\"");
    }
    if let Some(line) = negated_comparison(&script) {
        let what = format!("{name}:{line} compares `not x`, not x, so the result is always the same");
        findings.warn(what, "write x ~= y, or not (x == y)");
    }
    let beside = cases::path_beside(path);
    if !beside.exists() {
        findings.note(format!("{name} has no test cases ({} does not exist)", beside.display()));
        return;
    }
    let text = named_file::read_trusted(&beside, MAX_LOGS).map_err(|error| error.to_string()).and_then(|mut text| {
        drop_mark(&mut text);
        String::from_utf8(text).map_err(|_| "it is not UTF-8 text".to_owned())
    });
    let text = match text {
        Ok(text) => text,
        Err(error) => {
            let shown = beside.display();
            findings.fail(
                Level::SETUP,
                format!("the test cases {shown} can't be read: {error}"),
                "correct the file, or remove it",
            );
            return;
        }
    };
    match cases::run(&script, config, &text) {
        Ok(report) if report.is_good() => findings.ok(format!("its {} passed", count(report.cases(), "test case"))),
        Ok(report) => findings.fail(
            Level::SETUP,
            format!("its test cases: {report}; while the program runs, a saved script that fails them is refused"),
            format!("forwarder test {name} shows all; forwarder test --update {name} accepts the current results"),
        ),
        Err(error) => findings.fail(Level::SETUP, error.line(Beside::default()), "correct the line"),
    }
}
