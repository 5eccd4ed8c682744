//! Shows a log and its result.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::pretty;
use super::samples::{SampleOrigin, Tried, TriedEvent};
use crate::cli::terminal::{cells, pad};
use crate::core::batch::Events;
use crate::core::count::count;
use crate::core::printable::printable;
use crate::script::{Beside, Cost, HookError, Paint, Sample};

/// From this many columns on, a log and its events are shown side by side.
const WIDE: usize = 110;

/// Maximum lines of a log, and of its events, without `--full`.
const MAX_LINES: usize = 40;

/// Maximum width of the column of field names.
const MAX_NAME_WIDTH: usize = 24;

/// How to show the results.
#[derive(Debug, Clone, Copy)]
pub(super) struct DisplayOptions {
    pub(super) json: bool,
    /// Show long events in full.
    pub(super) full: bool,
    pub(super) width: usize,
    pub(super) paint: Paint,
}

/// A log and its result.
pub(super) fn log(origin: &SampleOrigin, tried: &Tried, printed: &[String], look: DisplayOptions) -> String {
    let DisplayOptions { width, paint, full, .. } = look;
    let shown = |width| cut(events(tried, width, paint), full, paint);
    let cost = cost(&tried.cost);
    let title = format!("{} {cost}", origin.place);
    let rule = "─".repeat(width.saturating_sub(cells(&title) + 5));
    let mut out = format!("{} {}  {} {}\n", paint.dim("──"), paint.bold(&origin.place), cost, paint.dim(&rule));
    if width >= WIDE && tried.error.is_none() {
        let left = (width - 3) * 2 / 5;
        let right = width - 3 - left;
        let (input, output) = (cut(fields(&origin.sample, left), full, paint), shown(right));
        let bar = paint.dim("│");
        for at in 0..input.len().max(output.len()) {
            let input = input.get(at).map(String::as_str).unwrap_or_default();
            let output = output.get(at).map(String::as_str).unwrap_or_default();
            out += format!("{} {bar} {output}", pad(input, left)).trim_end();
            out.push('\n');
        }
    } else {
        let width = width.saturating_sub(5).max(20);
        out += &labelled("in", &cut(fields(&origin.sample, width), full, paint), paint);
        match &tried.error {
            None => out += &labelled("out", &shown(width), paint),
            Some(error) => {
                out += &error.render(Beside { colour: paint.0, ..Beside::default() });
                out.push('\n');
            }
        }
    }
    out += &labelled("log", printed, paint);
    out
}

/// The first of many lines, or all of them with `--full`.
fn cut(mut lines: Vec<String>, full: bool, paint: Paint) -> Vec<String> {
    if !full && lines.len() > MAX_LINES {
        let more = lines.len() - (MAX_LINES - 1);
        lines.truncate(MAX_LINES - 1);
        lines.push(paint.dim(&format!("… {more} more lines: --full shows them")));
    }
    lines
}

/// Lines with a word before the first one.
fn labelled(word: &str, lines: &[String], paint: Paint) -> String {
    let mut out = String::new();
    for (at, line) in lines.iter().enumerate() {
        let label = if at == 0 { paint.blue(&pad(word, 4)) } else { "    ".to_owned() };
        out += format!("{label} {line}").trim_end();
        out.push('\n');
    }
    out
}

/// The fields, with their texts aligned.
fn fields(sample: &Sample, width: usize) -> Vec<String> {
    let text = |bytes: &[u8]| printable(String::from_utf8_lossy(bytes).as_ref());
    let fields: Vec<(String, String)> = sample.fields().map(|(key, value)| (text(key), text(value))).collect();
    let names = fields.iter().map(|(name, _)| cells(name)).filter(|cells| *cells <= MAX_NAME_WIDTH).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (name, value) in fields {
        let name = pad(&name, names) + "  ";
        let room = width.saturating_sub(cells(&name)).max(8);
        for (at, piece) in wrap(&value, room).into_iter().enumerate() {
            let before = if at == 0 { name.clone() } else { " ".repeat(names + 2) };
            lines.push(before + &piece);
        }
    }
    if lines.is_empty() { vec!["(no field)".to_owned()] } else { lines }
}

/// The events as the destination would see them; JSON is pretty-printed.
fn events(tried: &Tried, width: usize, paint: Paint) -> Vec<String> {
    let events = &tried.events;
    if events.is_empty() {
        let reasons: String = tried.drop_reasons.iter().map(|(reason, _)| format!(": {reason}")).collect();
        return vec![paint.yellow(&format!("dropped{reasons}"))];
    }
    let mut lines = Vec::new();
    for (to, text) in events.iter().flat_map(|event| event.texts.iter().map(|text| (&event.to, text))) {
        if let Some(to) = to {
            lines.push(paint.dim(&format!("to {to}")));
        }
        let text = printable(text.trim_end_matches('\n'));
        let event = pretty::lines(&text, width).unwrap_or_else(|| vec![text]);
        for line in event {
            // Continuation lines are indented, to show that they belong to their line.
            let indent = line.len() - line.trim_start().len();
            for (at, piece) in wrap(&line, width).into_iter().enumerate() {
                lines.push(if at == 0 { piece } else { " ".repeat(indent.min(width / 2)) + &piece });
            }
        }
    }
    lines
}

/// The pieces of a text, each at most this many columns wide.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut used = 0;
    for c in text.chars() {
        let columns = cells(c.encode_utf8(&mut [0; 4]));
        if used + columns > width {
            pieces.push(String::new());
            used = 0;
        }
        used += columns;
        pieces.last_mut().expect("there is always one").push(c);
    }
    pieces
}

fn cost(cost: &Cost) -> String {
    let memory = cost.memory.map(|bytes| format!(", {}", size(bytes))).unwrap_or_default();
    format!("{}{memory}", time(cost.time))
}

fn time(time: Duration) -> String {
    match time.as_micros() {
        micros @ 0..10_000 => format!("{micros} µs"),
        micros => format!("{} ms", micros / 1000),
    }
}

fn size(bytes: usize) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} KB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// A log and its result as one line of JSON, which can be used as a test case unchanged.
pub(super) fn json(origin: &SampleOrigin, tried: &Tried, returned: &Events) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let log: Map<String, Value> =
        origin.sample.fields().map(|(key, value)| (text(key), Value::from(text(value)))).collect();
    let sent = sent(&tried.events);
    let events: Vec<String> = (0..returned.len()).map(|event| text(returned.get(event))).collect();
    let outcome = match &tried.error {
        Some(error) => format!("\"error\": {}, \"at\": {}", Value::from(error.message()), at(error)),
        None if tried.events.is_empty() => "\"dropped\": true".to_owned(),
        None => format!("\"events\": [{}], \"sent\": {sent}", events.join(", ")),
    };
    let cost = json!({ "time_us": tried.cost.time.as_micros() as u64, "memory_bytes": tried.cost.memory });
    let name = Value::from(origin.place.as_str());
    format!("{{\"name\": {name}, \"log\": {}, {outcome}, \"cost\": {cost}}}", Value::Object(log))
}

fn at(error: &HookError) -> Value {
    let place = error.place.as_deref();
    json!({
        "file": place.map(|place| &place.file),
        "line": place.map(|place| place.line),
        "column": place.and_then(|place| place.column),
        "called": place.and_then(|place| place.chain()),
        "hint": error.hint,
        "script": error.version,
    })
}

/// The sent text: a list of texts, or with several destinations a list for each name.
fn sent(events: &[TriedEvent]) -> Value {
    let mut by_name = Map::new();
    let mut all = Vec::new();
    for TriedEvent { to, texts } in events {
        let texts = texts.iter().map(|text| Value::from(text.as_str()));
        match to {
            None => all.extend(texts),
            Some(name) => {
                let of_it = by_name.entry(name.as_str()).or_insert_with(|| Value::Array(Vec::new()));
                of_it.as_array_mut().expect("it was made as an array").extend(texts);
            }
        }
    }
    if by_name.is_empty() { Value::Array(all) } else { Value::Object(by_name) }
}

/// The totals of all logs.
#[derive(Debug, Default)]
pub(super) struct Sum {
    pub(super) logs: u64,
    pub(super) dropped: u64,
    failed: u64,
    no_logs: u64,
    sent: u64,
    events: u64,
    time: Duration,
    longest: Duration,
}

impl Sum {
    /// Counts an invalid sample.
    pub(super) fn no_log(&mut self) {
        self.no_logs += 1;
    }

    /// Number of failed logs and invalid samples.
    pub(super) fn failed(&self) -> u64 {
        self.failed + self.no_logs
    }

    pub(super) fn add(&mut self, tried: &Tried) {
        self.logs += 1;
        self.events += tried.events.len() as u64;
        match (&tried.error, tried.events.is_empty()) {
            (Some(_), _) => self.failed += 1,
            (None, true) => self.dropped += 1,
            (None, false) => self.sent += 1,
        }
        self.time += tried.cost.time;
        self.longest = self.longest.max(tried.cost.time);
    }

    /// "4 logs: 2 sent as 3 events, 1 dropped, 1 failed; 12 µs a log, 30 µs at most".
    pub(super) fn line(&self, paint: Paint) -> String {
        let (dropped, failed) = (format!("{} dropped", self.dropped), format!("{} failed", self.failed));
        let dropped = if self.dropped > 0 { paint.yellow(&dropped) } else { dropped };
        let failed = if self.failed > 0 { paint.red(&failed) } else { failed };
        let failed = if self.no_logs > 0 {
            format!("{failed}, {}", paint.red(&format!("{} not read", count(self.no_logs, "sample"))))
        } else {
            failed
        };
        let each = self.time / u32::try_from(self.logs.max(1)).unwrap_or(u32::MAX);
        format!(
            "{}: {} sent as {}, {dropped}, {failed}; {} a log, {} at most",
            count(self.logs, "log"),
            self.sent,
            count(self.events, "event"),
            time(each),
            time(self.longest),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::drop_reasons::DropReasons;

    fn shown(log: Value, event: Option<&str>, width: usize) -> String {
        let origin = SampleOrigin { place: "s:1".to_owned(), sample: Sample::from_json(&log).unwrap() };
        let events = event.into_iter().map(|event| TriedEvent { to: None, texts: vec![event.to_owned()] }).collect();
        let cost = Cost { time: Duration::from_micros(12), memory: Some(1_234) };
        let look = DisplayOptions { json: false, full: false, width, paint: Paint(false) };
        super::log(&origin, &Tried { events, error: None, drop_reasons: DropReasons::default(), cost }, &[], look)
    }

    #[test]
    fn a_wide_terminal_shows_a_log_and_its_events_side_by_side() {
        let shown = shown(json!({ "名前": "日本", "k": "v" }), Some("{\"event\":{\"k\":\"v\"}}\n"), 110);
        let gap = " ".repeat(42 - 10);
        let expected = [
            format!("── s:1  12 µs, 1.2 KB {}", "─".repeat(110 - 22)),
            format!("名前  日本{gap} │ {{"),
            format!("k     v   {gap}  │   \"event\": {{\"k\":\"v\"}}").replace("  │", " │"),
            format!("{} │ }}\n", " ".repeat(42)),
        ];
        assert_eq!(shown, expected.join("\n"));
    }

    #[test]
    fn a_dropped_log_shows_its_reason() {
        let origin = SampleOrigin { place: "s:1".to_owned(), sample: Sample::from_json(&json!({ "k": "v" })).unwrap() };
        let mut drop_reasons = DropReasons::default();
        drop_reasons.add(b"health check", 1);
        let cost = Cost { time: Duration::from_micros(12), memory: None };
        let look = DisplayOptions { json: false, full: false, width: 40, paint: Paint(false) };
        let shown = super::log(&origin, &Tried { events: Vec::new(), error: None, drop_reasons, cost }, &[], look);
        assert!(shown.ends_with("out  dropped: health check\n"), "{shown}");
    }

    #[test]
    fn text_that_is_not_json_is_shown_escaped() {
        let shown = shown(json!({}), Some("<13>1 \u{1b}[2J x"), 40);
        assert!(shown.ends_with("in   (no field)\nout  <13>1 \\u{1b}[2J x\n"), "{shown}");
    }

    #[test]
    fn bidirectional_and_invisible_characters_are_shown_as_escapes() {
        let marks = "\u{feff}\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}\u{2028}\u{85}\u{1b}";
        let shown = shown(json!({ "k": marks, marks: "v" }), Some(marks), 120);
        assert!(!shown.contains(|c| marks.contains(c)), "{shown}");
        assert!(shown.contains("\\u{202e}"), "{shown}");
    }

    #[test]
    fn a_long_event_is_cut_unless_the_full_text_is_requested() {
        let lines: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let shown = cut(lines.clone(), false, Paint(false));
        assert_eq!((shown.len(), shown.last().unwrap().as_str()), (40, "… 61 more lines: --full shows them"));
        assert_eq!(cut(lines.clone(), true, Paint(false)), lines);
    }

    #[test]
    fn long_texts_wrap_within_their_column() {
        let shown = shown(json!({ "k": "a".repeat(50) }), Some(&"b".repeat(50)), 40);
        let (a, b) = ("a".repeat(32), "b".repeat(35));
        let rest = format!("in   k  {a}\n        {}\nout  {b}\n     {}\n", "a".repeat(18), "b".repeat(15));
        assert!(shown.ends_with(&rest), "{shown}");
    }
}
