//! The terminal: its size, its colours, and text of a given width.

use std::io;

/// Number of columns, if standard output is a terminal.
#[must_use]
pub fn terminal_width() -> Option<usize> {
    terminal_size().map(|(_, columns)| columns)
}

/// Number of rows and columns, if standard output is a terminal.
pub(crate) fn terminal_size() -> Option<(usize, usize)> {
    let (rows, columns) = console::Term::stdout().size_checked()?;
    Some((rows.into(), columns.into()))
}

/// The output that draws lines over the content of a terminal of this size, without flicker: nothing is cleared before
/// it is drawn again. Lines that do not fit are left out.
pub(crate) fn over(lines: &[String], (rows, columns): (usize, usize)) -> String {
    let wrapped = lines.iter().flat_map(|line| wrap(line, columns));
    let drawn: Vec<String> = wrapped.take(rows.max(1)).map(|line| format!("{line}\x1b[K")).collect();
    format!("\x1b[H{}\x1b[J", drawn.join("\r\n"))
}

/// Breaks a line between words; a word that is wider than all columns is broken anywhere.
pub(crate) fn wrap(line: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    if cells(line) <= width {
        return vec![line.to_owned()];
    }
    let mut lines = vec![String::new()];
    for word in line.split_inclusive(' ') {
        let last = lines.last_mut().expect("there is one from the start");
        if cells(last) + cells(word.trim_end()) <= width {
            last.push_str(word);
            continue;
        }
        let mut rest = word.to_owned();
        while cells(rest.trim_end()) > width {
            let part = console::truncate_str(&rest, width, "").into_owned();
            let Some(more) = rest.strip_prefix(&part).filter(|more| more.len() < rest.len()) else { break };
            let more = more.to_owned();
            lines.push(part);
            rest = more;
        }
        lines.push(rest);
    }
    lines.into_iter().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// Whether to colour this output: if it is a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
pub(crate) fn colour(to: &impl io::IsTerminal) -> bool {
    to.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A text padded with spaces to this many columns. A wider text is returned unchanged.
pub(crate) fn pad(text: &str, width: usize) -> String {
    console::pad_str(text, width, console::Alignment::Left, None).into_owned()
}

/// Cuts a line to the columns of a terminal.
pub(crate) fn fit(line: &str, width: usize) -> String {
    if cells(line) <= width {
        return line.to_owned();
    }
    let cut = console::truncate_str(line, width, "…");
    // The end of a coloured text, after the cut mark, resets the colour.
    cut.strip_suffix('…').map_or_else(|| cut.to_string(), |kept| format!("{}…", kept.trim_end()))
}

/// Number of columns of a text.
pub(crate) fn cells(text: &str) -> usize {
    console::measure_text_width(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_text_fits_the_terminal_in_height_and_width() {
        let lines = ["short", "a line of some words that is wider", "0123456789abcdefghij and more", "你好你好你好你"];
        let lines = lines.map(ToOwned::to_owned);
        for (rows, columns) in [(3, 10), (24, 10), (24, 9), (24, 80), (1, 4), (9, 1)] {
            let drawn = over(&lines, (rows, columns));
            let shown: Vec<&str> = drawn.strip_prefix("\x1b[H").unwrap().split("\r\n").collect();
            assert!(shown.len() <= rows, "{shown:?}");
            assert!(columns == 1 || shown.iter().all(|line| cells(line) <= columns), "{columns}: {shown:?}");
        }
        assert_eq!(
            (fit("\x1b[31mred and long\x1b[0m", 5), fit("a and long", 3)),
            ("\x1b[31mred …\x1b[0m".to_owned(), "a…".to_owned())
        );
        assert_eq!(wrap(&lines[1], 10), ["a line of", "some words", "that is", "wider"]);
        assert_eq!(wrap(&lines[2], 10), ["0123456789", "abcdefghij", "and more"]);
    }
}
