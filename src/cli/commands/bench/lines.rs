//! Measures the cost of each line of a script.

use std::collections::BTreeMap;
use std::time::Duration;

use super::stages;
use crate::core::page::Page;
use crate::script;
use crate::script::profile::{LineCost, profile};
use crate::script::{HookError, Script};

/// Number of rounds; the median of each line is used.
const ROUNDS: usize = 9;

/// Minimum number of logs per round; fewer logs are repeated.
const MIN_LOGS: usize = 2_000;

/// A line that was executed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    pub(super) file: String,
    pub(super) number: u32,
    /// Its text, without the space before and after it.
    pub(super) text: String,
    /// Executions per log.
    pub(super) times: f64,
    /// Its share of the time of all lines, from 0 to 1.
    pub(super) share: f64,
}

/// Times every line that these logs execute; the most expensive line is first.
///
/// # Errors
/// The script does not load.
pub(super) fn measure(script: &Script, config: &script::Config, pages: &[Page]) -> Result<Vec<Line>, HookError> {
    let (logs, rounds) = profile(|take| {
        let mut hook = stages::load(script, config, vec![stages::nothing()])?;
        let mut run = || pages.iter().map(|page| hook.run(page).map_or(0, |made| made.logs as usize)).sum::<usize>();
        let logs = run().max(1);
        let times = MIN_LOGS.div_ceil(logs);
        take();
        let rounds = (0..ROUNDS).map(|_| {
            for _ in 0..times {
                run();
            }
            take()
        });
        Ok((logs * times, rounds.collect::<Vec<_>>()))
    })?;
    Ok(ranked(script, logs, rounds))
}

/// The lines of all rounds, each with the median of its times.
fn ranked(script: &Script, logs: usize, rounds: Vec<Vec<LineCost>>) -> Vec<Line> {
    let mut found = BTreeMap::<(String, u32), (u64, Vec<Duration>)>::new();
    let most = rounds.len();
    for LineCost { file, line, times, time } in rounds.into_iter().flatten() {
        let (total, taken) = found.entry((file, line)).or_default();
        *total = times;
        taken.push(time);
    }
    let median = |mut taken: Vec<Duration>| {
        // A line that was not executed in a round took no time in it.
        taken.resize(most, Duration::ZERO);
        taken.sort_unstable();
        taken[most / 2]
    };
    let timed: Vec<_> = found.into_iter().map(|(place, (times, taken))| (place, times, median(taken))).collect();
    let all = timed.iter().map(|(.., time)| *time).sum::<Duration>().max(Duration::from_nanos(1));
    let mut lines: Vec<Line> = timed
        .into_iter()
        .map(|((file, number), times, time)| Line {
            text: text_of(script, &file, number),
            file,
            number,
            times: times as f64 / logs as f64,
            share: time.as_secs_f64() / all.as_secs_f64(),
        })
        .collect();
    lines.sort_by(|one, other| other.share.total_cmp(&one.share));
    lines
}

fn text_of(script: &Script, file: &str, number: u32) -> String {
    let mut modules = script.files.modules().map(|(name, text)| (script.name_of(name), text));
    let module = modules.find(|(name, _)| name == file).map(|(_, text)| text);
    let text = String::from_utf8_lossy(module.unwrap_or(&script.text)).into_owned();
    text.lines().nth((number as usize).saturating_sub(1)).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Sample;

    fn cost(line: u32, times: u64, micros: u64) -> LineCost {
        LineCost { file: "s.lua".to_owned(), line, times, time: Duration::from_micros(micros) }
    }

    #[test]
    fn lines_are_ordered_by_their_median_cost_the_most_expensive_first() {
        let script = Script::from_text("s.lua", "first()\n  second()  \n");
        let rounds = vec![
            vec![cost(1, 10, 10), cost(2, 20, 30)],
            vec![cost(1, 10, 900), cost(2, 20, 31)],
            vec![cost(2, 20, 29), cost(1, 10, 9)],
        ];
        let lines = ranked(&script, 10, rounds);
        let shown: Vec<_> =
            lines.iter().map(|line| (line.number, line.text.as_str(), line.times, line.share)).collect();
        assert_eq!(shown, [(2, "second()", 2.0, 0.75), (1, "first()", 1.0, 0.25)]);
    }

    #[test]
    fn a_slow_line_of_a_script_comes_first() {
        let text = "function process(log)\n  local s = string.rep('x', 100000)\n  log.n = #s\n  return log\nend\n";
        let config = script::Config {
            timeout: Duration::from_secs(10),
            memory: 64 << 20,
            total: std::sync::Arc::default(),
            vars: toml::Table::new(),
        };
        let logs = vec![Sample::from_json(&serde_json::json!({ "a": "1" })).unwrap(); 100];
        let lines = measure(&Script::from_text("s.lua", text), &config, &[Sample::page(&logs)]).unwrap();
        assert_eq!((lines[0].number, lines[0].times, lines.len()), (2, 1.0, 3));
        assert!(lines[0].share > 0.5, "{lines:?}");
    }
}
