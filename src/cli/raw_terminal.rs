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

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::Command;

    use rustix::fs::{Mode, OFlags};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::LocalModes;

    use super::*;

    /// Set where the test runs as the program that panics.
    const PANICS: &str = "FORWARDER_TEST_PANICS";

    /// Both ends of a new terminal.
    fn pseudo_terminal() -> (File, OwnedFd) {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let end = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
        (File::from(controller), end)
    }

    #[test]
    fn a_panic_leaves_the_terminal_as_it_was_and_its_message_stays() {
        if std::env::var_os(PANICS).is_some() {
            let _terminal = RawTerminal::take().unwrap();
            // In another thread, and the process ends before the terminal is dropped.
            std::thread::spawn(|| panic!("out of luck")).join().unwrap_err();
            std::process::exit(0);
        }
        let (mut controller, end) = pseudo_terminal();
        let is_raw = |mode: Termios| !mode.local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO);
        assert!(!is_raw(tcgetattr(&end).unwrap()));
        let of = || end.try_clone().unwrap();
        let name = std::thread::current().name().unwrap().to_owned();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([&name, "--exact", "--nocapture"])
            .env(PANICS, "1")
            .stdin(of())
            .stdout(of())
            .stderr(of())
            .spawn()
            .unwrap();
        // The output is short enough for the buffer of a terminal.
        assert!(child.wait().unwrap().success());
        assert!(!is_raw(tcgetattr(&end).unwrap()), "keys are echoed again");
        drop(end);
        let (mut shown, mut bytes) = (Vec::new(), [0; 4_096]);
        // The last end is closed: the rest is read, and then an error.
        while let Ok(length @ 1..) = controller.read(&mut bytes) {
            shown.extend_from_slice(&bytes[..length]);
        }
        let shown = String::from_utf8_lossy(&shown);
        let (_, during) = shown.split_once(ENTER).expect("the terminal was taken");
        let (before, after) = during.split_once(LEAVE).expect("the screen was left");
        assert!(!before.contains("out of luck") && after.contains("out of luck"), "{shown:?}");
    }
}
