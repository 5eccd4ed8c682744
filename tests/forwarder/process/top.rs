//! `forwarder top` in a pseudo-terminal: keys work, the output fits, and the terminal is restored at the end.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::bench::{Bench, command, until_or};

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
struct Terminal {
    keyboard: File,
    /// Kept open, so that the state of the terminal can be checked after the program ends.
    end: OwnedFd,
    child: Child,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    fn start(mut command: Command, rows: u16, columns: u16) -> Self {
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

    fn all(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// The lines of the last whole screen, without colours.
    fn screen(&self) -> Vec<String> {
        let all = self.all();
        let Some(end) = all.rfind("\x1b[J") else { return Vec::new() };
        let Some(start) = all[..end].rfind("\x1b[H") else { return Vec::new() };
        let screen = all[start + 3..end].replace("\x1b[K", "");
        screen.split("\r\n").map(|line| console::strip_ansi_codes(line).into_owned()).collect()
    }

    async fn shows(&self, words: &str) {
        let has = || self.screen().iter().any(|line| line.contains(words));
        until_or(&format!("it shows {words:?}"), 60, has, || format!("{:#?}", self.screen())).await;
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Whether the terminal delivers each key at once and does not echo it.
    fn is_raw(&self) -> bool {
        !tcgetattr(&self.end).unwrap().local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
    }

    async fn ends(&mut self) -> Option<i32> {
        let child = &mut self.child;
        until_or("it ends", 60, || child.try_wait().unwrap().is_some(), String::new).await;
        self.child.wait().unwrap().code()
    }

    /// Waits until the alternate screen is left, the cursor is visible, and keys are echoed again.
    async fn is_as_before(&self) {
        until_or("the screen is left", 60, || self.all().ends_with("\x1b[?25h\x1b[?1049l"), || self.all()).await;
        assert!(!self.is_raw());
    }

    #[expect(unsafe_code, reason = "sends signals as an operator does")]
    fn signal(&self, signal: i32) {
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

fn top(bench: &Bench, rows: u16, columns: u16) -> Terminal {
    let mut command = command(bench.directory.path(), &bench.sls_endpoint());
    command.arg("top");
    Terminal::start(command, rows, columns)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_filter_and_pause_every_line_fits_and_the_terminal_is_restored() {
    let bench = Bench::new().await;
    (0..2).for_each(|shard| bench.put(shard, 2, 10));
    let owner = bench.start("a");
    bench.settled().await;
    owner.to_say("reach this process at unix:").await;

    for (rows, columns) in [(24, 80), (24, 40)] {
        let mut terminal = top(&bench, rows, columns);
        terminal.shows("l/1").await;
        terminal.shows("q quit").await;
        assert!(terminal.is_raw());
        let screen = terminal.screen();
        assert!(screen.len() <= rows.into(), "{screen:#?}");
        let widest = screen.iter().map(|line| console::measure_text_width(line)).max().unwrap();
        assert!(widest <= columns.into(), "{widest}: {screen:#?}");

        terminal.press("/l/1\r");
        terminal.shows("filter l/1").await;
        assert!(!terminal.screen().iter().any(|line| line.starts_with("l/0")), "{:#?}", terminal.screen());
        terminal.press("\x1b");
        terminal.shows("l/0").await;
        terminal.press("p");
        terminal.shows("PAUSED").await;
        terminal.press("p?");
        terminal.shows("show or hide the keys").await;
        terminal.press("q");
        assert_eq!(terminal.ends().await, Some(0));
        terminal.is_as_before().await;
    }

    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let mut terminal = top(&bench, 24, 80);
        terminal.shows("l/1").await;
        terminal.signal(signal);
        assert_eq!(terminal.ends().await, Some(0));
        terminal.is_as_before().await;
    }
    let mut terminal = top(&bench, 24, 80);
    terminal.shows("l/1").await;
    terminal.press("\x03");
    assert_eq!(terminal.ends().await, Some(0));
    terminal.is_as_before().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_forwarder_is_reported_and_top_needs_a_terminal_and_a_forwarder() {
    let bench = Bench::new().await;
    let mut owner = bench.start("a");
    owner.to_say("reach this process at unix:").await;
    let mut terminal = top(&bench, 24, 80);
    terminal.shows("l").await;
    owner.signal(libc::SIGTERM);
    assert_eq!(owner.exit(Duration::from_secs(60)).await, Some(0));
    terminal.shows("no answer").await;
    terminal.press("q");
    assert_eq!(terminal.ends().await, Some(0));

    for listen in [None, Some("127.0.0.1:0")] {
        let mut command = command(bench.directory.path(), &bench.sls_endpoint());
        command.arg("top").envs(listen.map(|listen| ("FORWARDER_ADMIN_LISTEN", listen)));
        let none = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert_eq!(none.status.code(), Some(69));
        assert!(String::from_utf8_lossy(&none.stderr).contains("no forwarder answers in the state directory state"));
    }
}
