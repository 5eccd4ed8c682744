//! The end of the program: exit codes, and the final message on standard error.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use super::output::note;
use super::terminal::colour;
use crate::core::printable::Escape;
use crate::script::{Beside, HookError};

/// Exit code if the output cannot be written.
pub(crate) const UNWRITTEN: u8 = 1;
/// Exit code if a shard of the group needs attention.
pub(crate) const TROUBLE: u8 = 1;
/// Exit code if the user has to change something.
pub(crate) const USAGE: u8 = 2;
/// Exit code if something does not answer.
pub(crate) const UNREACHABLE: u8 = 69;
/// Exit code if a permission is missing, or SLS refuses.
pub(crate) const DENIED: u8 = 77;
/// Exit code for a bug in this program.
pub(crate) const INTERNAL: u8 = 70;
/// Exit code for an incomplete stop.
pub(crate) const CUT_SHORT: u8 = 75;

/// Prints the error as one block on standard error.
pub(crate) fn end(error: &str, code: u8) -> ExitCode {
    let mut block = String::from("forwarder: ");
    for (number, line) in error.trim_end().lines().enumerate() {
        if number > 0 {
            block.push('\n');
        }
        write!(Escape(&mut block), "{line}").expect("writing to a String cannot fail");
    }
    note(&block);
    ExitCode::from(code)
}

/// Prints the reason; a rendered error stays as it is.
pub(crate) fn end_with(message: &ExitMessage) -> ExitCode {
    match message {
        ExitMessage::Plain(text) => end(text, USAGE),
        ExitMessage::Drawn(text) => {
            note(text);
            ExitCode::from(USAGE)
        }
        ExitMessage::Unwritten(error) => unwritten(error, ExitCode::SUCCESS),
    }
}

/// Prints the output of a command, and returns its exit code.
pub(crate) fn show(output: &str, code: ExitCode) -> ExitCode {
    let mut out = io::stdout().lock();
    written(out.write_all(output.as_bytes()).and_then(|()| out.flush()), code)
}

/// The exit code of a command after its output was written, or could not be. A reader that stops early, such as `head`,
/// causes no error.
pub(crate) fn written(output: io::Result<()>, code: ExitCode) -> ExitCode {
    output.map_or_else(|error| unwritten(&error, code), |()| code)
}

fn unwritten(error: &io::Error, code: ExitCode) -> ExitCode {
    match error.kind() {
        io::ErrorKind::BrokenPipe => code,
        _ => end(&format!("cannot write the output: {error}"), UNWRITTEN),
    }
}

/// Why a command cannot run.
pub(crate) enum ExitMessage {
    /// Plain text.
    Plain(String),
    /// As rendered by [`HookError::render`], safe for a terminal.
    Drawn(String),
    /// The output cannot be written.
    Unwritten(io::Error),
}

impl ExitMessage {
    /// The script cannot be used.
    pub(crate) fn script(error: &HookError) -> Self {
        Self::Drawn(error.render(Beside { colour: colour(&io::stderr()), ..Beside::default() }))
    }
}
