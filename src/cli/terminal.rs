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

/// A text with blanks behind it, up to so many columns.
pub(crate) fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(cells(text))))
}

/// Cuts a line to the columns of a terminal.
pub(crate) fn fit(line: String, width: usize) -> String {
    if cells(&line) <= width {
        return line;
    }
    let mut used = 0;
    let end = line.char_indices().find_map(|(at, c)| {
        used += cell(c);
        (used >= width).then_some(at)
    });
    format!("{}…", line[..end.unwrap_or(line.len())].trim_end())
}

pub(crate) fn cells(text: &str) -> usize {
    text.chars().map(cell).sum()
}

/// Columns that a character takes: two for the scripts and pictures of East Asia (the wide blocks of Unicode's UAX 11).
pub(crate) fn cell(c: char) -> usize {
    let wide = matches!(u32::from(c),
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60
        | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd);
    if wide { 2 } else { 1 }
}
