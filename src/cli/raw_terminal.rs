//! The terminal in raw mode: each key is read at once, the output covers the screen, and the terminal is restored
//! however the program ends.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::panic;
use std::sync::Arc;

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};

/// Switches to the alternate screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// The terminal in raw mode, until it is dropped.
pub(crate) struct RawTerminal(Arc<Before>);

/// The state of the terminal before.
struct Before {
    input: OwnedFd,
    mode: Termios,
}

impl RawTerminal {
    /// Switches the terminal of standard input and output to raw mode.
    ///
    /// # Errors
    /// They are not a terminal.
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
        // The message of a panic would be overwritten, and disappear with this screen.
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            before.restore();
            hook(panicked);
        }));
        draw(ENTER)?;
        Ok(terminal)
    }

    /// The bytes of pressed keys.
    ///
    /// # Errors
    /// An error of the system.
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

/// Draws immediately.
///
/// # Errors
/// The terminal is gone.
pub(crate) fn draw(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
