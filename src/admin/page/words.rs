//! Formats numbers, times and foreign texts for the page.

use std::fmt::{self, Write as _};

use jiff::Timestamp;

use crate::core::printable::is_unprintable;

/// `2026-02-03 04:05:06 UTC`.
pub(super) fn time(seconds: i64) -> String {
    match Timestamp::from_second(seconds) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => format!("unix {seconds}"),
    }
}

/// The two largest units: `3 s`, `4 min 5 s`, `2 h 5 min`, `3 d 4 h`.
pub(super) fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {} min", minutes % 60),
        (days, hours, _) => format!("{days} d {} h", hours % 24),
    }
}

/// Escaped text for elements and attributes: it cannot end the element or attribute, or reorder neighbouring text.
pub(super) struct Text<T>(pub(super) T);

impl<T: AsRef<str>> fmt::Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.as_ref().chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c if is_unprintable(c) && c != '\n' => write!(f, "{}", c.escape_default())?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_human_readable() {
        let check = |seconds, expected| assert_eq!(span(seconds), expected);
        check(0, "0 s");
        check(59, "59 s");
        check(61, "1 min 1 s");
        check(7_500, "2 h 5 min");
        check(273_600, "3 d 4 h");
        assert_eq!(time(1_700_000_000), "2023-11-14 22:13:20 UTC");
    }

    #[test]
    fn markup_and_control_characters_in_text_are_escaped() {
        let evil = "</dd><script>\"'&amp;\u{202e}\u{1b}[31m";
        let shown = "&lt;/dd&gt;&lt;script&gt;&quot;&#39;&amp;amp;\\u{202e}\\u{1b}[31m";
        assert_eq!(Text(evil).to_string(), shown);
    }
}
