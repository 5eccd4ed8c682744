//! The findings of a check, one line each, with the fix.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::cli::exit::{DENIED, UNREACHABLE, USAGE};
use crate::core::count::count;
use crate::core::printable::printable;
use crate::script::Paint;

/// The level of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Works.
    Ok,
    /// Worth knowing, or cannot be checked from here.
    Note,
    /// Works, but should be changed.
    Warn,
    /// Does not work; with the exit code.
    Fail(u8),
}

impl Level {
    pub(super) const SETUP: Self = Self::Fail(USAGE);
    pub(super) const DENIED: Self = Self::Fail(DENIED);
    pub(super) const UNREACHABLE: Self = Self::Fail(UNREACHABLE);

    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warn => "warn",
            Self::Fail(_) => "fail",
        }
    }
}

/// One line.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    area: String,
    level: Level,
    what: String,
    fix: Option<String>,
}

/// The findings of one area, shared by its concurrent parts.
#[derive(Debug)]
pub(super) struct Findings {
    area: String,
    found: Mutex<Vec<Finding>>,
}

impl Findings {
    pub(super) fn new(area: impl Into<String>) -> Self {
        Self { area: area.into(), found: Mutex::default() }
    }

    pub(super) fn ok(&self, what: impl Into<String>) {
        self.add(Level::Ok, what, None);
    }

    pub(super) fn note(&self, what: impl Into<String>) {
        self.add(Level::Note, what, None);
    }

    pub(super) fn warn(&self, what: impl Into<String>, fix: impl Into<String>) {
        self.add(Level::Warn, what, Some(fix.into()));
    }

    pub(super) fn fail(&self, level: Level, what: impl Into<String>, fix: impl Into<String>) {
        self.add(level, what, Some(fix.into()));
    }

    pub(super) fn add(&self, level: Level, what: impl Into<String>, fix: Option<String>) {
        let finding = Finding { area: self.area.clone(), level, what: what.into(), fix };
        self.found.lock().unwrap_or_else(PoisonError::into_inner).push(finding);
    }

    pub(super) fn take(&self) -> Vec<Finding> {
        std::mem::take(&mut self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The exit code: wrong settings take precedence over missing permissions, and these over missing answers.
pub(super) fn exit_code(findings: &[Finding]) -> u8 {
    let codes = findings.iter().filter_map(|finding| match finding.level {
        Level::Fail(code) => Some(code),
        _ => None,
    });
    let rank = |code: &u8| [UNREACHABLE, DENIED].iter().position(|known| known == code).unwrap_or(2);
    codes.max_by_key(rank).unwrap_or(0)
}

/// A line for each, with the fix below, and the summary at the end.
pub(super) fn text(findings: &[Finding], seconds: f64, paint: Paint) -> String {
    let width = findings.iter().map(|finding| finding.area.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for Finding { area, level, what, fix } in findings {
        let word = format!("{:<4}", level.word());
        let word = match level {
            Level::Ok => paint.green(&word),
            Level::Note => word,
            Level::Warn => paint.bold(&word),
            Level::Fail(_) => paint.red(&word),
        };
        writeln!(out, "{word}  {area:<width$}  {}", printable(what)).expect(TAKES);
        if let Some(fix) = fix {
            writeln!(out, "      {:<width$}  fix: {}", "", printable(fix)).expect(TAKES);
        }
    }
    let number = |wanted: &str| findings.iter().filter(|finding| finding.level.word() == wanted).count();
    let (failed, warned) = (number("fail"), number("warn"));
    let verdict = match (failed, warned) {
        (0, 0) => paint.green("no problems"),
        (0, _) => count(warned, "warning"),
        _ => paint.red(&format!("{failed} to correct, {}", count(warned, "warning"))),
    };
    writeln!(out, "\n{verdict}; {} checked in {seconds:.1} s", findings.len()).expect(TAKES);
    out
}

/// The same for a program.
pub(super) fn json(findings: &[Finding], seconds: f64) -> Value {
    let lines = findings.iter().map(|Finding { area, level, what, fix }| {
        let mut line = json!({ "area": area, "level": level.word(), "what": what });
        if let Some(fix) = fix {
            line["fix"] = fix.as_str().into();
        }
        line
    });
    json!({
        "exit_code": exit_code(findings),
        "seconds": (seconds * 10.0).round() / 10.0,
        "findings": lines.collect::<Vec<_>>(),
    })
}

const TAKES: &str = "writing to a String cannot fail";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_decide_the_exit_code_before_permissions_and_permissions_before_timeouts() {
        let code = |levels: &[Level]| {
            let findings = Findings::new("x");
            levels.iter().for_each(|level| findings.add(*level, "", None));
            exit_code(&findings.take())
        };
        assert_eq!(code(&[Level::Ok, Level::Note, Level::Warn]), 0);
        assert_eq!(code(&[Level::UNREACHABLE, Level::Ok]), 69);
        assert_eq!(code(&[Level::DENIED, Level::UNREACHABLE]), 77);
        assert_eq!(code(&[Level::DENIED, Level::SETUP, Level::UNREACHABLE]), 2);
    }

    #[test]
    fn a_line_cannot_control_the_terminal_and_has_its_fix_below() {
        let findings = Findings::new("sls");
        findings.warn("a\u{1b}[2Jb", "do\nthis");
        let text = text(&findings.take(), 0.04, Paint(false));
        assert_eq!(text, "warn  sls  a\\u{1b}[2Jb\n           fix: do\\nthis\n\n1 warning; 1 checked in 0.0 s\n");
    }
}
