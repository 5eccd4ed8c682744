//! A terminal that a program has to itself: each key comes at once, what is drawn covers what was there, and all of it is as
//! before when the program ends, however it does.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::panic;
use std::sync::Arc;

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};

/// Another screen than the one with the command line, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// The terminal, until it is dropped.
pub(crate) struct RawTerminal(Arc<Before>);

/// What the terminal was like.
struct Before {
    input: OwnedFd,
    mode: Termios,
}

impl RawTerminal {
    /// Takes the terminal that standard input and output are.
    ///
    /// # Errors
    /// They are none.
    pub(crate) fn take() -> io::Result<Self> {
        let none = || io::Error::other("standard input and output are not a terminal");
        let (stdin, stdout) = (io::stdin(), io::stdout());
        if !isatty(&stdin) || !isatty(&stdout) {
            return Err(none());
        }
        let before = Arc::new(Before { input: stdin.as_fd().try_clone_to_owned()?, mode: tcgetattr(&stdin)? });
        let mut raw = before.mode.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        let terminal = Self(Arc::clone(&before));
        // What a panic says would be drawn over, and is gone with this screen.
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            before.restore();
            hook(panicked);
        }));
        draw(ENTER)?;
        Ok(terminal)
    }

    /// The bytes that keys make.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn keys(&self) -> io::Result<File> {
        self.0.input.try_clone().map(File::from)
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        self.0.restore();
    }
}

impl Before {
    fn restore(&self) {
        let _gone = draw(LEAVE);
        let _gone = tcsetattr(&self.input, OptionalActions::Now, &self.mode);
    }
}

/// Draws at once.
///
/// # Errors
/// The terminal is gone.
pub(crate) fn draw(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
