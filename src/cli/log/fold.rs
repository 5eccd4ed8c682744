//! Folds repeated lines: writes a line once, then how often it was repeated.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::core::count::count;
use crate::settings::LogFormat;

/// A repeated line is only counted for this long.
const MAX_SILENCE: Duration = Duration::from_secs(60);

/// Folds lines on their way to `writer`, which receives one line per write.
pub(super) struct Folded<W: Write> {
    writer: W,
    fold: Fold,
}

impl<W: Write> Folded<W> {
    pub(super) fn new(writer: W, format: LogFormat) -> Self {
        Self { writer, fold: Fold { format, last: String::new(), repeats: None } }
    }
}

impl<W: Write> Write for Folded<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        let (before, is_new) = self.fold.next(&line, Instant::now());
        if let Some(before) = before {
            self.writer.write_all(before.as_bytes())?;
        }
        if is_new {
            self.writer.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// The count is not lost at the end.
impl<W: Write> Drop for Folded<W> {
    fn drop(&mut self) {
        if let Some(rest) = self.fold.rest() {
            let _ = self.writer.write_all(rest.as_bytes()).and_then(|()| self.writer.flush());
        }
    }
}

/// The last line, and its number of repeats.
struct Fold {
    format: LogFormat,
    /// The line without its time.
    last: String,
    repeats: Option<Repeats>,
}

struct Repeats {
    times: u64,
    since: Instant,
    /// The time of the latest repeat.
    time: String,
}

impl Fold {
    /// What to write before `line`, and whether to write `line`.
    fn next(&mut self, line: &str, now: Instant) -> (Option<String>, bool) {
        let (time, text) = self.split(line);
        if text != self.last {
            let before = self.rest();
            self.last = text.to_owned();
            return (before, true);
        }
        let repeats = self.repeats.get_or_insert_with(|| Repeats { times: 0, since: now, time: String::new() });
        repeats.times += 1;
        repeats.time = time.to_owned();
        let is_long = now.saturating_duration_since(repeats.since) >= MAX_SILENCE;
        (if is_long { self.rest() } else { None }, false)
    }

    /// The line with the number of repeats.
    fn rest(&mut self) -> Option<String> {
        let Repeats { times, time, .. } = self.repeats.take()?;
        let words = format!("the last line again, {}", count(times, "time"));
        Some(match self.format {
            LogFormat::Text => format!("{time}  INFO {words}\n"),
            LogFormat::Json => {
                format!(
                    "{time},\"level\":\"INFO\",\"message\":\"{words}\",\"times\":{times},\"target\":\"forwarder\"}}\n"
                )
            }
        })
    }

    /// A line starts with its time.
    fn split<'a>(&self, line: &'a str) -> (&'a str, &'a str) {
        let behind = match self.format {
            LogFormat::Text => ' ',
            LogFormat::Json => ',',
        };
        line.split_once(behind).unwrap_or(("", line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output for lines at these times, in seconds.
    fn folded(format: LogFormat, lines: &[(u64, &str)]) -> String {
        let mut fold = Fold { format, last: String::new(), repeats: None };
        let start = Instant::now();
        let mut out = String::new();
        for (second, line) in lines {
            let (before, is_new) = fold.next(line, start + Duration::from_secs(*second));
            out += &before.unwrap_or_default();
            out += if is_new { line } else { "" };
        }
        out + &fold.rest().unwrap_or_default()
    }

    #[test]
    fn a_repeated_line_is_counted_until_another_line_or_the_end() {
        let lines =
            [(1, "t1 WARN a\n"), (2, "t2 WARN a\n"), (3, "t3 WARN a\n"), (4, "t4 WARN b\n"), (5, "t5 WARN b\n")];
        let expected =
            "t1 WARN a\nt3  INFO the last line again, 2 times\nt4 WARN b\nt5  INFO the last line again, 1 time\n";
        assert_eq!(folded(LogFormat::Text, &lines), expected);
    }

    #[test]
    fn a_line_that_repeats_forever_is_reported_once_a_minute() {
        let lines: Vec<_> = (0..150).map(|second| (second, "t a\n")).collect();
        assert_eq!(folded(LogFormat::Text, &lines).matches("again").count(), 3, "two minutes and the rest");
    }

    #[test]
    fn the_repeat_count_is_json_when_lines_are_json() {
        let line = "{\"timestamp\":\"t\",\"level\":\"WARN\",\"message\":\"a\"}\n";
        let text = folded(LogFormat::Json, &[(1, line), (2, line), (2, line)]);
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!((&last["timestamp"], &last["times"]), (&"t".into(), &2.into()), "{text}");
        assert_eq!(last["message"], "the last line again, 2 times");
    }
}
