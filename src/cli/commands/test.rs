//! `forwarder test`: runs the test cases beside scripts.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;

use crate::cli::context::{machine, sources};
use crate::cli::exit::{ExitMessage, end_with, show};
use crate::cli::terminal::colour;
use crate::core::count::count;
use crate::core::named_file;
use crate::core::named_file::MAX_LOGS;
use crate::core::printable::printable;
use crate::script::testing::cases;
use crate::script::testing::cases::{Difference, Failure, Report, SUFFIX, TOO_DEEP, Why};
use crate::script::testing::coverage::{Coverage, cover};
use crate::script::{Beside, Config, Paint, Script, drop_mark};
use crate::settings;

/// Exit code when a case failed.
const EXIT_FAILED: u8 = 1;

/// Maximum number of differences to show for a case.
const MAX_DIFFERENCES: usize = 20;

const HELP: &str = "\
Cases are in NAME.test.jsonl beside NAME.lua, one JSON object a line:
  {\"name\": \"debug is dropped\", \"log\": {\"level\": \"debug\"}, \"dropped\": true}
  {\"name\": \"the host is kept\", \"log\": {\"h\": \"a\"}, \"events\": [{\"host\": \"a\", \"event\": {…}}]}
  {\"name\": \"bad JSON fails\", \"log\": {\"event\": \"{\"}, \"error\": \"attempt to index\"}

`events` is what the script returns, whatever the destination; `settings` replaces [script.vars].
To write a case, start with \"dropped\": true and let --update fill in the result, or append the output of
`forwarder try --json`; then check the result.

Exit codes: 0 all passed, 1 a case failed, 2 the tests could not run.";

/// Run the test cases beside scripts: logs in, events out
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// A script, a file of cases, or a directory with such
    #[arg(value_name = "PATH", default_value = "scripts")]
    path: PathBuf,
    /// Settings file (TOML), for [script.vars] and limits [env: FORWARDER_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write the current results into the files of cases
    #[arg(long)]
    update: bool,
    /// List the lines that no case ran
    #[arg(long)]
    coverage: bool,
}

/// Runs the cases; returns the exit code.
pub(crate) fn main(args: &Args) -> ExitCode {
    let mut output = String::new();
    let result = test(args, &mut output);
    match result {
        Ok(true) => show(&output, ExitCode::SUCCESS),
        Ok(false) => show(&output, ExitCode::from(EXIT_FAILED)),
        Err(message) => {
            show(&output, ExitCode::SUCCESS);
            end_with(&message)
        }
    }
}

fn test(args: &Args, output: &mut String) -> Result<bool, ExitMessage> {
    let (config, environment) = sources(args.config.as_deref());
    // Cases are independent of the destination.
    let trial = settings::trial(config.as_deref(), Some("hec"), &environment, &machine());
    let hook = trial.map_err(|error| ExitMessage::Plain(error.to_string()))?.hook;
    let paint = Paint(colour(&io::stdout()));
    let files = files(&args.path).map_err(ExitMessage::Plain)?;
    let (mut passed, mut all) = (0, 0);
    for (script, cases) in &files {
        let text = read_text(cases).map_err(ExitMessage::Plain)?;
        let script = Script::read(script).map_err(|error| ExitMessage::Plain(error.to_string()))?;
        let text = if args.update { update(&script, &hook, cases, text, output)? } else { text };
        let (report, coverage) = cover(&script, || cases::run(&script, &hook, &text));
        let report = report.map_err(|error| ExitMessage::script(&error))?;
        passed += report.passed;
        all += report.cases();
        *output += &shown(&script, cases, &report, &coverage, args.coverage, paint);
    }
    let failed = all - passed;
    let failed = if failed > 0 { paint.red(&format!(", {failed} failed")) } else { String::new() };
    *output += &format!("{} in {}: {passed} passed{failed}\n", count(all, "case"), count(files.len(), "file"));
    Ok(passed == all)
}

/// Writes the current results; returns the new text.
fn update(
    script: &Script,
    hook: &Config,
    path: &Path,
    text: String,
    output: &mut String,
) -> Result<String, ExitMessage> {
    let updated = cases::update(script, hook, &text).map_err(|error| ExitMessage::script(&error))?;
    if updated != text {
        let written = std::fs::write(path, &updated);
        written.map_err(|error| ExitMessage::Plain(format!("{} can't be written: {error}", path.display())))?;
        *output += &format!("updated {}\n", path.display());
    }
    Ok(updated)
}

fn read_text(path: &Path) -> Result<String, String> {
    let unreadable = |error: io::Error| format!("{} can't be read: {error}", path.display());
    let mut text = named_file::read(path, MAX_LOGS).map_err(unreadable)?;
    drop_mark(&mut text);
    String::from_utf8(text).map_err(|_| format!("{} is not UTF-8 text", path.display()))
}

/// The scripts that have cases, with these, in the order of their names.
fn files(path: &Path) -> Result<Vec<(PathBuf, PathBuf)>, String> {
    let mut found = Vec::new();
    if path.is_dir() {
        search(path, &mut found)?;
        found.sort();
        if found.is_empty() {
            return Err(format!(
                "no file in {} ends in {SUFFIX}: cases of NAME.lua are in NAME{SUFFIX}",
                path.display()
            ));
        }
    } else {
        found.push(path.to_owned());
    }
    found.into_iter().map(|path| pair(&path)).collect()
}

fn search(dir: &Path, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let unreadable = |error: io::Error| format!("{} can't be read: {error}", dir.display());
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        // A link to a directory could be circular.
        if path.is_dir() && !path.is_symlink() {
            search(&path, found)?;
        } else if path.to_string_lossy().ends_with(SUFFIX) {
            found.push(path);
        }
    }
    Ok(())
}

/// The script and its cases, given one of the two.
fn pair(path: &Path) -> Result<(PathBuf, PathBuf), String> {
    let text = path.to_string_lossy();
    let (script, cases) = match text.strip_suffix(SUFFIX) {
        Some(stem) => (PathBuf::from(format!("{stem}.lua")), path.to_owned()),
        None => (path.to_owned(), cases::path_beside(path)),
    };
    for (file, other) in [(&script, &cases), (&cases, &script)] {
        if !file.exists() {
            return Err(format!("there is no {} for {}", file.display(), other.display()));
        }
    }
    Ok((script, cases))
}

fn shown(script: &Script, cases: &Path, report: &Report, coverage: &[Coverage], list: bool, paint: Paint) -> String {
    let sum = |lines: fn(&Coverage) -> usize| coverage.iter().map(lines).sum::<usize>();
    let ran = format!("{} of {} lines ran", sum(|file| file.ran.len()), sum(|file| file.lines.len()));
    let cases_run = count(report.cases(), "case");
    let mut out = if report.is_good() {
        format!("{}    {}: {cases_run}, {ran}\n", paint.green("ok"), script.name)
    } else {
        let failed = report.failures.len();
        format!("{}  {}: {failed} of {cases_run} failed, {ran}\n", paint.red("FAIL"), script.name)
    };
    for failure in &report.failures {
        push_failure(&mut out, cases, failure, paint);
    }
    for file in coverage.iter().filter(|file| list && file.missed().next().is_some()) {
        let whose = if file.file == script.name { String::new() } else { format!(" in {}", printable(&file.file)) };
        writeln!(out, "      never ran{whose}:").expect(TAKES);
        let lines: Vec<&str> = file.text.lines().collect();
        for line in file.missed() {
            let code = lines.get(line as usize - 1).copied().unwrap_or_default();
            writeln!(out, "{:>8} {} {}", line, paint.blue("|"), printable(code)).expect(TAKES);
        }
    }
    out
}

const TAKES: &str = "writing to a String cannot fail";

fn push_failure(out: &mut String, cases: &Path, failure: &Failure, paint: Paint) {
    let place = format!("{}:{}", cases.display(), failure.line);
    writeln!(out, "\n  {}  {place}", paint.bold(&printable(&failure.name))).expect(TAKES);
    let drawn = |error: &crate::script::HookError| error.render(Beside { colour: paint.0, ..Beside::default() });
    let text = match &failure.why {
        Why::NotACase(why) => printable(why),
        Why::Differs(differences) => differing(differences, paint),
        Why::TooDeep => TOO_DEEP.to_owned(),
        Why::Failed(error) => drawn(error),
        Why::Unloaded(error) => format!("with the settings of the case the script does not load\n{}", drawn(error)),
        Why::OtherError(part, error) => format!("an error other than {part:?} was raised\n{}", drawn(error)),
        Why::NoError(part, events) if events.is_empty() => {
            format!("an error with {part:?} was expected, but the log was dropped")
        }
        Why::NoError(part, events) => {
            let events: Vec<String> = events.iter().map(printable).collect();
            format!("an error with {part:?} was expected, but these events were returned\n  {}", events.join("\n  "))
        }
    };
    for line in text.lines() {
        out.push_str(format!("    {line}").trim_end());
        out.push('\n');
    }
    out.push('\n');
}

fn differing(differences: &[Difference], paint: Paint) -> String {
    let mut text = String::new();
    for Difference { path, expected, got } in differences.iter().take(MAX_DIFFERENCES) {
        let value = |value: &Option<Value>| {
            value.as_ref().map_or_else(|| "nothing".to_owned(), |value| printable(value.to_string()))
        };
        let (expected, got) = (value(expected), value(got));
        let (minus, plus) = (paint.green("expected"), paint.red("got"));
        writeln!(text, "{}\n  {minus}  {expected}\n  {plus}       {got}", printable(path)).expect(TAKES);
    }
    if differences.len() > MAX_DIFFERENCES {
        writeln!(text, "and {} more", differences.len() - MAX_DIFFERENCES).expect(TAKES);
    }
    text
}
