//! The output of the demo: a bar on a terminal, plain lines elsewhere, and the summary at the end.

use std::io;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::oracle::Oracle;
use super::receiver::Receiver;
use crate::cli::output::print_line;
use crate::core::count::thousands;
use crate::core::ledger::{Counts, Ledger};
use crate::core::printable::Escape;

/// How often a plain line is written.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Longest piece of an event that is shown.
const EXCERPT: usize = 320;

/// The progress of the demo.
pub(super) struct Screen {
    /// Only on a terminal.
    bar: Option<ProgressBar>,
    logs: u64,
    last_line: Instant,
}

impl Screen {
    pub(super) fn new(logs: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:24} {pos}/{len} logs, {msg}");
            ProgressBar::new(logs).with_style(style.expect("the template is well-formed"))
        });
        Self { bar, logs, last_line: Instant::now() }
    }

    pub(super) fn show(&mut self, done: u64, total: &Counts) -> io::Result<()> {
        match &self.bar {
            Some(bar) => {
                bar.set_position(done);
                bar.set_message(format!("{:.0}/s, {} in flight", bar.per_sec(), total.in_flight));
            }
            None if self.last_line.elapsed() >= LINE_INTERVAL => {
                self.last_line = Instant::now();
                let [done, logs, in_flight] = [done, self.logs, total.in_flight].map(thousands);
                print_line(format_args!("{done} of {logs} logs done, {in_flight} in flight"))?;
            }
            None => {}
        }
        Ok(())
    }

    pub(super) fn say(&self, what: &str) -> io::Result<()> {
        match &self.bar {
            Some(bar) => bar.println(what),
            None => print_line(what)?,
        }
        Ok(())
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Shows a few received events, the ledger, and the rates.
pub(super) fn report(
    ledger: &Ledger,
    receiver: &Receiver,
    oracle: &Oracle,
    took: Duration,
    with_outage: bool,
) -> io::Result<()> {
    let (heading, events) = receiver.last();
    print_line(format_args!("the last events, {heading}:"))?;
    for event in events {
        print_line(format_args!("  {}", excerpt(&event)))?;
    }

    self::ledger(ledger, oracle)?;
    let total = ledger.total();
    let seconds = took.as_secs_f64();
    let rate = total.pulled as f64 / seconds;
    let megabytes = total.bytes as f64 / 1e6 / seconds;
    let with = if with_outage { ", the outage of two seconds included" } else { "" };
    print_line(format_args!(
        "{seconds:.1} s: {} logs/s, {megabytes:.1} MB/s of logs{with}",
        thousands(rate.round() as u64)
    ))
}

/// The ledger, and how often each log arrived.
pub(super) fn ledger(ledger: &Ledger, oracle: &Oracle) -> io::Result<()> {
    print_line("\nshard      pulled   delivered     dropped  dead letters   in flight   saves")?;
    for (shard, entry) in ledger.read() {
        row(&shard.to_string(), &entry.counts)?;
    }
    let total = ledger.total();
    row("all", &total)?;
    print_line(format_args!("{}", arrivals(oracle.arrived(), oracle.repeats(), oracle.unexpected())))
}

/// "100,000 logs arrived, 408 of them twice": repeats must not look like a loss.
fn arrivals(arrived: u64, repeats: u64, unexpected: u64) -> String {
    let twice = match repeats {
        0 => String::new(),
        repeats => {
            format!(
                ", {} of them twice: they were sent again, because their receipt was not confirmed",
                thousands(repeats)
            )
        }
    };
    let unknown = if unexpected > 0 {
        format!("; {} events that belong to no log", thousands(unexpected))
    } else {
        String::new()
    };
    format!("{} logs arrived{twice}{unknown}", thousands(arrived))
}

fn row(name: &str, counts: &Counts) -> io::Result<()> {
    let Counts { pulled, delivered, dropped, dead_lettered, in_flight, saves, .. } = *counts;
    let [pulled, delivered, dropped, dead_lettered, in_flight, saves] =
        [pulled, delivered, dropped, dead_lettered, in_flight, saves].map(thousands);
    print_line(format_args!(
        "{name:<6} {pulled:>10}  {delivered:>10}  {dropped:>10}  {dead_lettered:>12}  {in_flight:>10}  {saves:>6}"
    ))
}

fn excerpt(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let mut shown = String::new();
    let cut: String = text.chars().take(EXCERPT).collect();
    std::fmt::Write::write_str(&mut Escape(&mut shown), &cut).expect("writing to a String cannot fail");
    if cut.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_logs_are_not_shown_as_lost() {
        assert_eq!(arrivals(100_000, 0, 0), "100,000 logs arrived");
        let again = "they were sent again, because their receipt was not confirmed";
        assert_eq!(arrivals(1_234_567, 408, 0), format!("1,234,567 logs arrived, 408 of them twice: {again}"));
        assert_eq!(arrivals(7, 0, 1_000), "7 logs arrived; 1,000 events that belong to no log");
    }
}
