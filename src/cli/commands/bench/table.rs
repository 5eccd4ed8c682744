//! Prints the results as text and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::line::Line;
use super::lines;
use super::stages::Stages;

/// The results for one kind of logs.
pub(super) struct Measured {
    pub(super) corpus: String,
    pub(super) stages: Stages,
    /// The lines of the script, most expensive first; none for generated logs.
    pub(super) script_lines: Vec<lines::Line>,
    /// Results of the whole program; empty for a user's own logs.
    pub(super) lines: Vec<Line>,
    /// Nanoseconds of `gzip -1` per log; none if there is no gzip.
    pub(super) yardstick: Option<f64>,
}

/// Maximum number of script lines in the text; JSON has all.
const MAX_LINES: usize = 15;

/// A table for each kind of logs.
pub(super) fn text(measured: &[Measured]) -> String {
    let mut out = String::new();
    for Measured { corpus, stages, script_lines, lines, yardstick } in measured {
        let bytes = stages.events.len() as f64 / stages.logs.max(1) as f64;
        let _ = writeln!(out, "{corpus}: {bytes:.0} bytes of events per log");
        let _ = writeln!(out, "  {:<28} {:>10}", "one thread, per log", "ns");
        for (name, ns) in rows(stages) {
            let _ = writeln!(out, "  {name:<28} {ns:>10.0}");
        }
        match yardstick {
            Some(ns) => {
                let _ = writeln!(out, "  {:<28} {ns:>10.0}", "gzip -1, the reference");
            }
            None => out.push_str("  gzip is not installed, so there is no reference\n"),
        }
        if !script_lines.is_empty() {
            let _ = writeln!(out, "\n  {:<28} {:>10} {:>7} {:>9}", "line of the script", "ns", "share", "times");
        }
        for line in script_lines.iter().take(MAX_LINES) {
            let place = format!("{}:{}", line.file, line.number);
            let (ns, share, text) = (line.share * stages.hook, line.share * 100.0, &line.text);
            let _ = writeln!(out, "  {place:<28} {ns:>10.0} {share:>6.1}% {:>9.2}  {text}", line.times);
        }
        if !lines.is_empty() {
            let _ = writeln!(
                out,
                "\n  {:<28} {:>10} {:>11} {:>10} {:>10} {:>12}",
                "whole program, per log", "CPU ns", "of gzip -1", "logs/s", "memory", "MB per proof"
            );
        }
        for line in lines {
            let ratio = yardstick.map_or("-".to_owned(), |yardstick| format!("{:.2}", line.cpu / yardstick));
            let proven = line.proven.map_or_else(String::new, |proven| format!("{proven:.1}"));
            let row = format!(
                "  {:<28} {:>10.0} {ratio:>11} {:>10.0} {:>6} MiB {proven:>12}",
                line.to.name(),
                line.cpu,
                line.logs_per_second,
                line.memory
            );
            let _ = writeln!(out, "{}", row.trim_end());
        }
        out.push('\n');
    }
    out
}

/// One array, an object for each kind of logs; times in nanoseconds per log.
pub(super) fn json(measured: &[Measured]) -> Value {
    let one = |Measured { corpus, stages, script_lines, lines, yardstick }: &Measured| {
        let stage_times: serde_json::Map<String, Value> =
            rows(stages).into_iter().map(|(name, ns)| (name.to_owned(), json!(ns.round()))).collect();
        let lines = lines.iter().map(|line| {
            json!({
                "to": line.to.name(),
                "cpu_ns": line.cpu.round(),
                "of_gzip_1": yardstick.map(|yardstick| line.cpu / yardstick),
                "logs_per_second": line.logs_per_second.round(),
                "memory_mib": line.memory,
                "mb_per_proof": line.proven,
            })
        });
        json!({
            "corpus": corpus,
            "event_bytes": stages.events.len() / stages.logs.max(1),
            "stages_ns": stage_times,
            "script_lines": script_lines.iter().map(|line| json!({
                "file": line.file,
                "line": line.number,
                "text": line.text,
                "ns": (line.share * stages.hook).round(),
                "share": line.share,
                "times": line.times,
            })).collect::<Vec<_>>(),
            "gzip_1_ns": yardstick.map(f64::round),
            "program": lines.collect::<Vec<_>>(),
        })
    };
    measured.iter().map(one).collect()
}

fn rows(stages: &Stages) -> [(&'static str, f64); 5] {
    [
        ("inflate (LZ4)", stages.inflate),
        ("decode the page", stages.decode),
        ("script", stages.hook),
        ("format the events", stages.format),
        ("gzip", stages.gzip),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::bench::line::To;

    fn measured(yardstick: Option<f64>) -> Measured {
        let stages =
            Stages { logs: 2, events: vec![b'x'; 20], inflate: 1.0, decode: 2.0, hook: 3.0, format: 4.0, gzip: 5.0 };
        let line = Line { to: To::Hec, cpu: 3000.0, logs_per_second: 100_000.0, memory: 60, proven: None };
        let text = "return log".to_owned();
        let dear = lines::Line { file: "s.lua".to_owned(), number: 2, text, times: 1.0, share: 0.5 };
        Measured { corpus: "audit".to_owned(), stages, script_lines: vec![dear], lines: vec![line], yardstick }
    }

    #[test]
    fn the_program_is_compared_with_the_reference_figures() {
        let shown = text(&[measured(Some(6000.0))]);
        let line = shown.lines().find(|line| line.trim_start().starts_with("HEC")).unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words, ["HEC", "3000", "0.50", "100000", "60", "MiB"]);
        let json = json(&[measured(Some(6000.0))]);
        assert_eq!(json[0]["program"][0]["of_gzip_1"], 0.5);
        assert_eq!(json[0]["stages_ns"]["script"], 3.0);
    }

    #[test]
    fn each_line_of_the_script_is_shown_with_its_share_of_the_scripts_time() {
        let shown = text(&[measured(None)]);
        let line = shown.lines().find(|line| line.contains("s.lua:2")).unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words, ["s.lua:2", "2", "50.0%", "1.00", "return", "log"]);
        assert_eq!(json(&[measured(None)])[0]["script_lines"][0]["ns"], 2.0);
    }

    #[test]
    fn without_gzip_there_is_no_ratio() {
        let shown = text(&[measured(None)]);
        assert!(shown.contains("there is no reference"), "{shown}");
        assert!(json(&[measured(None)])[0]["program"][0]["of_gzip_1"].is_null());
    }
}
