//! Tables for a terminal. On a narrow one, the less important columns are left out.

use super::terminal::{cells, fit, pad};

/// Spaces between two columns.
const GAP: usize = 2;

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// The heading.
    pub(crate) heading: &'static str,
    /// Whether its cells are aligned right, as numbers are.
    pub(crate) is_number: bool,
    /// If not all columns fit, those with the highest number are left out first.
    pub(crate) order: u8,
}

impl Column {
    /// A column of text.
    pub(crate) const fn text(heading: &'static str, order: u8) -> Self {
        Self { heading, is_number: false, order }
    }

    /// A column of numbers.
    pub(crate) const fn number(heading: &'static str, order: u8) -> Self {
        Self { heading, is_number: true, order }
    }
}

/// The lines of a table, headings first. Each row has a cell for each column, and may be coloured. No line is wider
/// than `width`, if that is given: columns are left out, and lines that still do not fit are cut.
pub(crate) fn table(columns: &[Column], rows: &[Vec<String>], width: Option<usize>) -> Vec<String> {
    let wide = |at: usize| {
        let cells = rows.iter().map(|row| cells(&row[at])).max().unwrap_or(0);
        cells.max(columns[at].heading.len())
    };
    let widths: Vec<usize> = (0..columns.len()).map(wide).collect();
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    let total = |shown: &[usize]| shown.iter().map(|at| widths[*at] + GAP).sum::<usize>().saturating_sub(GAP);
    while shown.len() > 1 && width.is_some_and(|width| total(&shown) > width) {
        let least = shown.iter().copied().max_by_key(|at| columns[*at].order).expect("there is more than one");
        shown.retain(|at| *at != least);
    }
    let line = |cell: &dyn Fn(usize) -> String| {
        let cells = shown.iter().map(|at| match columns[*at].is_number {
            true => " ".repeat(widths[*at].saturating_sub(cells(&cell(*at)))) + &cell(*at),
            false => pad(&cell(*at), widths[*at]),
        });
        let line = cells.collect::<Vec<_>>().join(&" ".repeat(GAP));
        let line = line.trim_end();
        width.map_or_else(|| line.to_owned(), |width| fit(line, width))
    };
    let headings = line(&|at| columns[at].heading.to_owned());
    std::iter::once(headings).chain(rows.iter().map(|row| line(&|at| row[at].clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [Column::text("NAME", 0), Column::number("LAG", 1), Column::text("OWNER", 2)];

    fn rows() -> Vec<Vec<String>> {
        let rows = [["a", "1 s", "somebody"], ["long one", "\x1b[1;31m120 s\x1b[0m", "you 你好"]];
        rows.into_iter().map(|row| row.into_iter().map(ToOwned::to_owned).collect()).collect()
    }

    #[test]
    fn numbers_are_aligned_right_and_colours_take_no_width() {
        let lines = table(&COLUMNS, &rows(), None);
        assert_eq!(
            lines,
            ["NAME        LAG  OWNER", "a           1 s  somebody", "long one  \x1b[1;31m120 s\x1b[0m  you 你好"]
        );
    }

    #[test]
    fn a_narrow_terminal_loses_the_least_important_column_and_no_line_is_wider() {
        for width in 1..40 {
            for line in table(&COLUMNS, &rows(), Some(width)) {
                assert!(cells(&line) <= width, "{width}: {line:?}");
            }
        }
        assert_eq!(table(&COLUMNS, &rows(), Some(20))[0], "NAME        LAG");
        assert_eq!(table(&COLUMNS, &rows(), Some(6)), ["NAME", "a", "long…"]);
        assert_eq!(table(&COLUMNS, &[], Some(80)), ["NAME  LAG  OWNER"]);
    }
}
