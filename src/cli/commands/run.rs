//! `forwarder`: the main job, from the command line to the exit code.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::app;
use crate::app::App;
use crate::cli::context::{machine, sources};
use crate::cli::exit::{CUT_SHORT, ExitMessage, INTERNAL, USAGE, end, end_with};
use crate::cli::flags::SettingFlags;
use crate::cli::log;
use crate::cli::signals::{LevelSignals, Signals};
use crate::cli::systemd::Systemd;
use crate::core::duration::in_words;
use crate::core::mounts::ephemeral;
use crate::core::stop::{Stop, Stopper, stop};
use crate::script::Beside;
use crate::settings;
use crate::settings::Settings;

/// Shown when the program is started without arguments.
const FIRST_RUN_HINT: &str = if cfg!(feature = "emulator") {
    "forwarder --help shows a first run; forwarder demo needs no settings at all"
} else {
    "forwarder --help shows a first run"
};

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
            return end(&format!("{error}\n{FIRST_RUN_HINT}"), USAGE);
        }
        Err(error) => return end(&error.to_string(), USAGE),
    };
    let log = match log::start(&settings.log) {
        Ok(log) => log,
        Err(error) => {
            return end(&format!("cannot write the log: {error}; set log.file to another file"), USAGE);
        }
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| work(settings, log.clone())));
    let failure = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(app::Error::Script(error))) => {
            tracing::error!(exit_code = USAGE, "stopped: {}", error.line(Beside::default()));
            log.close();
            return end_with(&ExitMessage::script(&error));
        }
        Ok(Err(error)) => Some((error.to_string(), error.exit_code())),
        Err(_) => {
            Some(("BUG: forwarder stopped because of an internal error; the log says where".to_owned(), INTERNAL))
        }
    };
    match failure {
        None => {
            tracing::info!("stopped");
            log.close();
            ExitCode::SUCCESS
        }
        Some((error, code)) => {
            // Standard error has it as a line of the log.
            tracing::error!(exit_code = code, "stopped: {error}");
            log.close();
            ExitCode::from(code)
        }
    }
}

fn load(args: &Args) -> Result<Settings, settings::SettingsError> {
    let (config, environment) = sources(args.config.as_deref());
    settings::load(config.as_deref(), &args.settings.0, &environment, &machine())
}

/// What the loss of the directories costs, for those that do not last.
fn lost_directories(settings: &Settings) -> Vec<String> {
    let letters = &settings.dead_letters.dir;
    let letters = ephemeral(letters).map(|lasts| {
        format!(
            "dead_letters.dir {} {}: logs that could not be delivered are lost; mount a volume there",
            letters.display(),
            lasts.text()
        )
    });
    let state = &settings.state_dir;
    let state = ephemeral(state).map(|lasts| {
        format!(
            "state.dir {} {}: the next process has another consumer name, so that its shards wait for the group's \
             timeout, and neither the last good script nor what was learnt about destinations; mount a volume there",
            state.display(),
            lasts.text()
        )
    });
    letters.into_iter().chain(state).collect()
}

fn work(settings: Settings, log: log::Handle) -> Result<(), app::Error> {
    let internal = |what: &str, error: std::io::Error| app::Error::Internal(format!("{what}: {error}"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("forwarder-io")
        .build()
        .map_err(|error| internal("cannot start the threads", error))?;
    let outcome = runtime.block_on(async {
        let signals = Signals::listen().map_err(|error| internal("cannot catch signals", error))?;
        let levels = LevelSignals::listen().map_err(|error| internal("cannot catch signals", error))?;
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "starting");
        for warning in settings.warnings.iter().chain(&lost_directories(&settings)) {
            tracing::warn!("{warning}");
        }
        let (stopper, stop) = stop();
        let mut tasks = JoinSet::new();
        let systemd = Systemd::of_environment();
        tasks.spawn(turn_level(levels, log.clone()));
        tasks.spawn(obey(signals, stopper, log, settings.run.drain_timeout, |_| {}));
        let app = App::new(settings)?;
        if let Some(systemd) = systemd {
            systemd.ready();
            tasks.spawn(notify_systemd(systemd, stop.clone(), app.headline()));
        }
        let outcome = app.run(stop).await;
        tasks.shutdown().await;
        outcome
    });
    // A hanging name lookup must not delay the end.
    runtime.shutdown_background();
    outcome
}

/// Tells systemd that the program is alive and how it does, and when it begins to stop. A stop can take long, so the
/// watchdog notifications continue.
async fn notify_systemd(systemd: Systemd, leave: Stop, headline: watch::Receiver<String>) {
    let _ = leave.or(async { tokio::join!(systemd.live(), systemd.follow(headline)) }).await;
    systemd.stopping();
    systemd.live().await;
}

/// The first signal asks the program to stop; the second ends it at once. That is safe: a checkpoint never covers
/// undelivered logs. `say` gets what the first one does, after the stop is raised.
pub(crate) async fn obey(
    mut signals: Signals,
    stopper: Stopper,
    log: log::Handle,
    most: Duration,
    say: impl Fn(&str) + Send,
) {
    let signal = signals.next().await;
    let stopping = format!(
        "stopping: delivering and saving logs in flight, up to {}; Ctrl-C or SIGTERM again ends it at once",
        in_words(most)
    );
    tracing::info!(signal, "{stopping}");
    stopper.raise();
    say(&stopping);
    let signal = signals.next().await;
    tracing::warn!(signal, "ending at once: logs in flight will be sent again");
    log.close();
    std::process::exit(CUT_SHORT.into());
}

/// SIGUSR1 raises the level of detail of the log, SIGUSR2 lowers it.
async fn turn_level(mut signals: LevelSignals, log: log::Handle) {
    loop {
        let level = log.turn(signals.next().await);
        tracing::info!(target: log::LEVEL_TARGET, "log level is {level} from now on, until the next start");
    }
}
