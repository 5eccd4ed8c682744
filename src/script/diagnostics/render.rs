//! Renders an error: the place, the marked line, the call stack, the consequence for the log, and the remedy.

use std::fmt::Write as _;

use crate::core::printable::printable;
use crate::script::{HookError, ScriptLocation};

/// Additional details of an error.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beside<'a> {
    /// Which log: "log 3 of shard 1 at MTIz".
    pub log: Option<&'a str>,
    /// The consequence: "written as a dead letter".
    pub fate: Option<&'a str>,
    /// Whether to colour it, for a terminal.
    pub colour: bool,
}

impl HookError {
    /// The error on several lines, without a line feed at the end. It contains no control sequences except colours.
    ///
    /// ```text
    /// error: attempt to index a nil value (field 'user')
    ///  --> scripts/transform.lua:7:20
    ///     |
    ///   7 |   return log.event.user.name
    ///     |                    ^^^^
    ///     = called: tidy, from process at line 12
    ///     = log: log 5 of the page at MTIz of shard 3
    ///     = then: written as a dead letter
    ///     = hint: `event` is JSON as text here: decode it first, `local event = json.decode(log.event)`
    /// ```
    #[must_use]
    pub fn render(&self, beside: Beside<'_>) -> String {
        let paint = Paint(beside.colour);
        let message = printable(self.message());
        let mut out = format!("{}{}", paint.red("error"), paint.bold(&format!(": {message}")));
        let mut gutter = 4;
        if let Some(place) = &self.place {
            gutter = gutter.max(place.line.to_string().len() + 2);
            draw(&mut out, place, gutter, paint);
        } else if let Some(script) = self.script() {
            point(&mut out, script, gutter, paint);
        }
        for (name, text) in self.notes(beside) {
            if let Some(text) = text {
                let name = if name == "hint" { paint.green(name) } else { paint.bold(name) };
                write!(out, "\n{:gutter$}{} {name}: {}", "", paint.blue("="), printable(&text)).expect(TAKES);
            }
        }
        out
    }

    /// The error on one line, with what [`HookError::render`] has on several: for the program's own log.
    #[must_use]
    pub fn line(&self, beside: Beside<'_>) -> String {
        let code = self.place.as_ref().map(|place| place.text.trim()).filter(|code| !code.is_empty());
        let mut line = self.to_string();
        for (name, text) in [("code", code.map(ToOwned::to_owned))].into_iter().chain(self.notes(beside)) {
            if let Some(text) = text {
                write!(line, "; {name}: {text}").expect(TAKES);
            }
        }
        line
    }

    /// Details beside the place and the message.
    fn notes(&self, beside: Beside<'_>) -> [(&'static str, Option<String>); 4] {
        [
            ("called", self.place.as_ref().and_then(|place| place.chain())),
            ("log", beside.log.map(ToOwned::to_owned)),
            ("then", beside.fate.map(ToOwned::to_owned)),
            ("hint", self.hint.as_deref().map(ToOwned::to_owned)),
        ]
    }
}

const TAKES: &str = "writing to a String cannot fail";

/// Longest part of a line of the script that is shown, in characters.
const MAX_LINE_CHARS: usize = 160;

fn point(out: &mut String, at: &str, gutter: usize, paint: Paint) {
    let arrow = paint.blue("-->");
    write!(out, "\n{arrow:>gutter$} {}", printable(at), gutter = gutter + paint.invisible()).expect(TAKES);
}

fn draw(out: &mut String, place: &ScriptLocation, gutter: usize, paint: Paint) {
    let column = place.column.map(|column| format!(":{column}")).unwrap_or_default();
    point(out, &format!("{}:{}{column}", place.file, place.line), gutter, paint);
    if place.text.trim().is_empty() {
        return;
    }
    // Tabs would shift the mark.
    let text = printable(place.text.replace('\t', "    "));
    let (cut, more) = match text.char_indices().nth(MAX_LINE_CHARS) {
        Some((end, _)) => (&text[..end], "…"),
        None => (text.as_str(), ""),
    };
    let bar = paint.blue("|");
    let number = paint.blue(&format!("{:>width$}", place.line, width = gutter - 1));
    write!(out, "\n{:gutter$}{bar}\n{number} {bar} {cut}{more}", "").expect(TAKES);
    if let Some(column) = place.column {
        let before: String = place.text.chars().take(column as usize - 1).collect();
        let before = printable(before.replace('\t', "    "));
        if before.chars().count() < MAX_LINE_CHARS {
            let before = console::measure_text_width(&before);
            let mark = paint.red(&"^".repeat(place.width.max(1) as usize));
            write!(out, "\n{:gutter$}{bar} {:before$}{mark}", "", "").expect(TAKES);
        }
    }
}

impl ScriptLocation {
    /// The way from the outermost function to the error, when there is more than one: "tidy, from process at line 12".
    #[must_use]
    pub fn chain(&self) -> Option<String> {
        let (inner, outer) = self.calls.split_first()?;
        if outer.is_empty() {
            return None;
        }
        let mut chain = inner.function.clone();
        for call in outer {
            write!(chain, ", from {} at ", call.function).expect(TAKES);
            if call.file != self.file {
                write!(chain, "{} ", call.file).expect(TAKES);
            }
            write!(chain, "line {}", call.line).expect(TAKES);
        }
        Some(chain)
    }
}

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub struct Paint(
    /// Whether to colour at all.
    pub bool,
);

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Bytes around a painted text that no terminal shows.
    fn invisible(self) -> usize {
        if self.0 { "\x1b[1;34m\x1b[0m".len() } else { 0 }
    }

    /// For errors.
    #[must_use]
    pub fn red(self, text: &str) -> String {
        self.with("1;31", text)
    }

    /// For success.
    #[must_use]
    pub fn green(self, text: &str) -> String {
        self.with("1;32", text)
    }

    /// For emphasis.
    #[must_use]
    pub fn yellow(self, text: &str) -> String {
        self.with("1;33", text)
    }

    /// For lines and numbers.
    #[must_use]
    pub fn blue(self, text: &str) -> String {
        self.with("1;34", text)
    }

    /// For warnings and highlights.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// For secondary text.
    #[must_use]
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }
}
