//! `forwarder`: the main job, from the command line to the exit code.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::available_parallelism;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::task::JoinSet;

use super::try_::{Said, end_with};
use crate::app;
use crate::cli::flags::SettingFlags;
use crate::cli::log;
use crate::core::stop::{Stopper, stop};
use crate::script::Beside;
use crate::settings;
use crate::settings::{Environment, Machine, Settings, keys};

/// Exit code for what a user has to change.
pub(crate) const USAGE: u8 = 2;
/// Exit code for a bug of ours.
pub(crate) const INTERNAL: u8 = 70;
/// Exit code for a stop that was cut short.
pub(crate) const CUT_SHORT: u8 = 75;

/// For whoever types the name of the program to see what happens.
const NEWCOMER: &str = "forwarder --help shows a first run; forwarder demo needs no settings at all";

/// The flags of the main job.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Settings file (TOML) [env: FORWARDER_CONFIG].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    settings: SettingFlags,
}

/// Runs until a signal or an error ends it.
pub(crate) fn run(args: &Args) -> ExitCode {
    let settings = match load(args) {
        Ok(settings) => settings,
        Err(error) if args.config.is_none() && args.settings.0.is_empty() => {
            return end(&format!("{error}\n{NEWCOMER}"), USAGE);
        }
        Err(error) => return end(&error.to_string(), USAGE),
    };
    let log = match log::start(&settings.log) {
        Ok(log) => log,
        Err(error) => {
            return end(&format!("the log can't be written: {error}; name another file with log.file"), USAGE);
        }
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| work(settings, log.clone())));
    let failure = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(app::Error::Script(error))) => {
            tracing::error!(exit_code = USAGE, "stopped: {}", error.line(Beside::default()));
            log.close();
            return end_with(&Said::script(&error));
        }
        Ok(Err(error)) => Some((error.to_string(), error.exit_code())),
        Err(_) => Some(("a bug of forwarder stopped it; the log tells where".to_owned(), INTERNAL)),
    };
    match failure {
        None => {
            tracing::info!("stopped");
            log.close();
            ExitCode::SUCCESS
        }
        Some((error, code)) => {
            tracing::error!(exit_code = code, "stopped: {error}");
            log.close();
            end(&error, code)
        }
    }
}

fn load(args: &Args) -> Result<Settings, settings::SettingsError> {
    let (config, environment) = sources(args.config.as_deref());
    settings::load(config.as_deref(), &args.settings.0, &environment, &machine())
}

/// The settings file, given or from the environment, and the environment itself.
pub(crate) fn sources(config: Option<&Path>) -> (Option<PathBuf>, Environment) {
    let environment: Environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
    let from_environment = || environment.get(keys::CONFIG).filter(|path| !path.is_empty()).map(PathBuf::from);
    (config.map(Path::to_owned).or_else(from_environment), environment)
}

/// Where and when we are.
pub(crate) fn machine() -> Machine {
    Machine {
        hostname: gethostname::gethostname().to_string_lossy().into_owned(),
        pid: std::process::id(),
        cores: available_parallelism().map_or(1, usize::from),
        now: Timestamp::now(),
        zone: TimeZone::system(),
    }
}

fn work(settings: Settings, log: log::Handle) -> Result<(), app::Error> {
    let internal = |what: &str, error: std::io::Error| app::Error::Internal(format!("{what}: {error}"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("forwarder-io")
        .build()
        .map_err(|error| internal("the threads can't be started", error))?;
    let outcome = runtime.block_on(async {
        let signals = Signals::listen().map_err(|error| internal("signals can't be caught", error))?;
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "starting");
        for warning in &settings.warnings {
            tracing::warn!("{warning}");
        }
        let (stopper, stop) = stop();
        let mut tasks = JoinSet::new();
        tasks.spawn(obey(signals, stopper, log));
        let outcome = app::run(settings, stop).await;
        tasks.shutdown().await;
        outcome
    });
    // A name lookup that hangs is no reason to stay.
    runtime.shutdown_background();
    outcome
}

/// The first signal asks the program to stop; the second ends it where it stands. That is safe: a checkpoint is only
/// ever behind what was delivered.
async fn obey(mut signals: Signals, stopper: Stopper, log: log::Handle) {
    let signal = signals.next().await;
    tracing::info!(signal, "stopping: delivering and saving what is under way");
    stopper.raise();
    let signal = signals.next().await;
    tracing::warn!(signal, "ending at once: what is under way will be sent again");
    log.close();
    std::process::exit(CUT_SHORT.into());
}

/// The signals that ask a program to stop.
#[cfg(unix)]
pub(crate) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    pub(crate) fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The name of the next one.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// The signals that ask a program to stop.
#[cfg(windows)]
pub(crate) struct Signals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Signals {
    pub(crate) fn listen() -> std::io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    /// The name of the next one.
    pub(crate) async fn next(&mut self) -> &'static str {
        self.0.recv().await;
        "Ctrl-C"
    }
}

/// Says why it ends, in one block on standard error.
pub(crate) fn end(error: &str, code: u8) -> ExitCode {
    let mut block = String::from("forwarder: ");
    for (number, line) in error.trim_end().lines().enumerate() {
        if number > 0 {
            block.push('\n');
        }
        write!(log::Escape(&mut block), "{line}").expect("a String takes everything");
    }
    eprintln!("{block}");
    ExitCode::from(code)
}
