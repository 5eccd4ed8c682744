//! Lines of commands on standard output, and notes on standard error.

use std::fmt::Display;
use std::io::{self, Write as _};

use crate::settings::Problem;

/// Prints a line on standard output.
///
/// # Errors
/// It cannot be written. [`written`](super::exit::written) makes the exit code of that.
pub(crate) fn print_line(line: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush())
}

/// Prints a note on standard error. If nobody can read it, the exit code still tells the result.
pub(crate) fn note(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Notes problems of settings that the command does not need: one of them may be a typo in one that it does need.
pub(crate) fn note_problems(problems: &[Problem]) {
    for Problem { what, place, fix } in problems {
        note(format_args!("note: {what} ({place}): {fix}"));
    }
}
