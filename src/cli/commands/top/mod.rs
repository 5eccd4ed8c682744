//! `forwarder top`: a running forwarder, live on the terminal.

mod keys;
mod reasons;
mod rows;
mod status;
mod view;

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::cli::admin_client::{Place, find, place, read};
use crate::cli::exit::{INTERNAL, UNREACHABLE, USAGE, end};
use crate::cli::raw_terminal::{RawTerminal, draw};
use crate::cli::terminal::{colour, over, terminal_size};
use crate::script::Paint;
use keys::{Key, keys};
use status::Status;
use view::View;

/// Time between two requests for the status.
const INTERVAL: Duration = Duration::from_secs(1);

const HELP: &str = "\
It finds the forwarder by its settings: at the socket of admin.listen = \"unix:/PATH\", else in state.dir, else at \
the address of admin.listen. Run it as the user of the forwarder, or as root.

Keys: q quit, s sort, / filter, p pause, ? help.
Exit codes: 0 ended by the user, 2 usage or no terminal, 69 no forwarder answers.";

/// Show a running forwarder live: verdict, destinations, shards
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Settings file of the forwarder (TOML) [env: FORWARDER_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where it answers: unix:PATH, or an address and a port
    #[arg(long, value_name = "PLACE", value_parser = place)]
    connect: Option<Place>,
}

/// Shows the view until a key or a signal ends it; returns the exit code.
pub(crate) fn main(args: &Args) -> ExitCode {
    let place = match args.connect.clone().map_or_else(|| find(args.config.as_deref()), Ok) {
        Ok(place) => place,
        Err(error) => return end(&error, UNREACHABLE),
    };
    // Connection errors are reported before the screen changes.
    let first = match look(&place) {
        Ok(status) => status,
        Err(error) => return end(&error, UNREACHABLE),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(&format!("no runtime: {error}"), INTERNAL),
    };
    let shown = runtime.block_on(show(place, first));
    // The thread that reads keys is blocked until the next key.
    runtime.shutdown_background();
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => end(&format!("forwarder top needs a terminal: {error}; forwarder status does not"), USAGE),
    }
}

fn look(place: &Place) -> Result<Status, String> {
    let text = read(place, "/status")?;
    serde_json::from_str(&text).map_err(|error| format!("{place} is not a forwarder: {error}"))
}

async fn show(place: Place, first: Status) -> std::io::Result<()> {
    let mut ends = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()].map(signal);
    let [Ok(terminated), Ok(hung_up), Ok(interrupted)] = &mut ends else {
        return Err(std::io::Error::other("signals cannot be caught"));
    };
    let mut resized = signal(SignalKind::window_change())?;
    let terminal = RawTerminal::take()?;
    let (pressed, mut keyboard) = mpsc::channel(16);
    let mut input = terminal.keys()?;
    std::thread::spawn(move || {
        let mut bytes = [0; 64];
        while let Ok(length @ 1..) = input.read(&mut bytes) {
            for key in keys(&bytes[..length]) {
                if pressed.blocking_send(key).is_err() {
                    return;
                }
            }
        }
        // The terminal is gone.
        let _ended = pressed.blocking_send(Key::Interrupt);
    });
    let paint = Paint(colour(&std::io::stdout()));
    let mut view = View::new(place.to_string());
    view.take(Ok(first), Instant::now());
    let (answers, mut answered) = mpsc::channel(1);
    let looking = async {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let place = place.clone();
            // A panic has left the screen already, so nothing more can be drawn.
            let reply = tokio::task::spawn_blocking(move || look(&place)).await.expect("a look does not panic");
            if answers.send(reply).await.is_err() {
                return;
            }
        }
    };
    tokio::pin!(looking);
    loop {
        let size = terminal_size().filter(|(rows, columns)| *rows > 0 && *columns > 0).unwrap_or((24, 80));
        draw(&over(&view.lines(size, paint), size))?;
        tokio::select! {
            () = &mut looking => return Ok(()),
            Some(reply) = answered.recv() => view.take(reply, Instant::now()),
            key = keyboard.recv() => match key {
                Some(key) if view.press(key) => {}
                _ => return Ok(()),
            },
            _ = resized.recv() => {}
            _ = terminated.recv() => return Ok(()),
            _ = hung_up.recv() => return Ok(()),
            _ = interrupted.recv() => return Ok(()),
        }
    }
}
