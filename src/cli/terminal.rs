//! The terminal: its width, its colours, and what fits into a line.

use std::io;

/// Columns of the terminal that standard output is, if it is one.
#[must_use]
pub fn terminal_width() -> Option<usize> {
    Some(usize::from(console::Term::stdout().size_checked()?.1))
}

/// Whether to colour what is written there: a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
pub(crate) fn colour(to: &impl io::IsTerminal) -> bool {
    to.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A text with blanks behind it, up to so many columns. What is wider stays as it is.
pub(crate) fn pad(text: &str, width: usize) -> String {
    console::pad_str(text, width, console::Alignment::Left, None).into_owned()
}

/// Cuts a line to the columns of a terminal.
pub(crate) fn fit(line: &str, width: usize) -> String {
    match console::truncate_str(line, width, "…").strip_suffix('…') {
        Some(kept) if cells(line) > width => format!("{}…", kept.trim_end()),
        _ => line.to_owned(),
    }
}

/// Columns that a text takes.
pub(crate) fn cells(text: &str) -> usize {
    console::measure_text_width(text)
}
