//! A program on a pseudo-terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::bench::until_or;

/// Both ends of a terminal of this size, which no child inherits.
fn open(rows: u16, columns: u16) -> (OwnedFd, OwnedFd) {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let end = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
    tcsetwinsize(&end, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    (controller, end)
}

/// The program on a terminal of its own.
pub(super) struct Terminal {
    keyboard: File,
    /// Kept open, so that the state of the terminal can be checked after the program ends.
    end: OwnedFd,
    child: Child,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    pub(super) fn start(mut command: Command, rows: u16, columns: u16) -> Self {
        let (controller, end) = open(rows, columns);
        let of = || end.try_clone().unwrap();
        let child = command.env("TERM", "xterm").stdin(of()).stdout(of()).stderr(of()).spawn().unwrap();
        let mut reading = File::from(controller.try_clone().unwrap());
        let shown = Arc::<Mutex<String>>::default();
        let showing = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            let mut rest = Vec::new();
            while let Ok(length @ 1..) = reading.read(&mut bytes) {
                rest.extend_from_slice(&bytes[..length]);
                let whole = match std::str::from_utf8(&rest) {
                    Ok(text) => text.len(),
                    Err(error) => error.valid_up_to(),
                };
                let text = String::from_utf8(rest.drain(..whole).collect()).unwrap();
                showing.lock().unwrap().push_str(&text);
            }
        });
        Self { keyboard: File::from(controller), end, child, shown }
    }

    pub(super) fn all(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// The lines of the last whole screen, without colours.
    pub(super) fn screen(&self) -> Vec<String> {
        let all = self.all();
        let Some(end) = all.rfind("\x1b[J") else { return Vec::new() };
        let Some(start) = all[..end].rfind("\x1b[H") else { return Vec::new() };
        let screen = all[start + 3..end].replace("\x1b[K", "");
        screen.split("\r\n").map(|line| console::strip_ansi_codes(line).into_owned()).collect()
    }

    pub(super) async fn shows(&self, words: &str) {
        let has = || self.screen().iter().any(|line| line.contains(words));
        until_or(&format!("it shows {words:?}"), 60, has, || format!("{:#?}", self.screen())).await;
    }

    pub(super) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Whether the terminal delivers each key at once and does not echo it.
    pub(super) fn is_raw(&self) -> bool {
        !tcgetattr(&self.end).unwrap().local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
    }

    pub(super) async fn ends(&mut self) -> Option<i32> {
        let child = &mut self.child;
        until_or("it ends", 60, || child.try_wait().unwrap().is_some(), String::new).await;
        self.child.wait().unwrap().code()
    }

    /// Waits until the alternate screen is left, the cursor is visible, and keys are echoed again.
    pub(super) async fn is_as_before(&self) {
        until_or("the screen is left", 60, || self.all().ends_with("\x1b[?25h\x1b[?1049l"), || self.all()).await;
        assert!(!self.is_raw());
    }

    #[expect(unsafe_code, reason = "sends signals as an operator does")]
    pub(super) fn signal(&self, signal: i32) {
        // SAFETY: kill has no memory to misuse, and the child has not been waited for, so the pid is still its own.
        assert_eq!(unsafe { libc::kill(i32::try_from(self.child.id()).unwrap(), signal) }, 0);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}
