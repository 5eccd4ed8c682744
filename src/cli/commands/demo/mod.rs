//! `forwarder demo`: the main job on an emulated SLS and destination.

mod ending;
mod environment;
mod error;
mod files;
mod oracle;
mod places;
mod receiver;
mod screen;
mod stay;
mod watch;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use crate::app;
use crate::app::App;
use crate::cli::context::machine;
use crate::cli::exit::written;
use crate::cli::output::{note, print_line};
use crate::core::count::thousands;
use crate::core::secret::Secret;
use crate::core::stop::stop;
use crate::emulator::generate::Generator;
use crate::emulator::sls;
use crate::emulator::sls::SlsEmulator;
use crate::settings;
use ending::EndSignals;
use environment::{KEY_ID, KEY_SECRET, environment};
use error::DemoError;
use files::{DemoDeadLetters, DemoScript};
use oracle::Oracle;
use places::Places;
pub(crate) use places::{LOGSTORE, PROJECT};
use receiver::{Collectors, OUTAGE, Receiver, To};
use screen::Screen;
use stay::{Stage, stay};
use watch::watch;

/// Logs in a group, as a busy Logtail would send them.
const GROUP_LOGS: u64 = 50;

/// Exit code of a job that SIGHUP ends.
const HANGUP: u8 = 129;

/// Logs of each kind per second of generated time.
const LOGS_PER_SECOND: u64 = 50;

/// Run the whole program on generated logs, without any account.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The Lua script [default: scripts/transform.lua, or a copy of it while it is unchanged].
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,

    /// Logs to generate.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=5_000_000))]
    pub logs: u64,

    /// Logstores to spread them over, in two projects; the program reads them all.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=places::MAX_LOGSTORES_OF_DEMO))]
    pub sources: u32,

    /// Shards of each logstore.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub shards: u32,

    /// The destination.
    #[arg(long, value_name = "SIEM", value_enum, default_value_t = To::Hec)]
    pub to: To,

    #[command(flatten)]
    collectors: Collectors,

    /// Address of the status page [default: a free port of this machine with --keep, else none].
    #[arg(long, value_name = "ADDRESS")]
    pub admin_listen: Option<SocketAddr>,

    /// Keep running when all logs are delivered, and keep writing logs, so that you can edit the script and watch.
    #[arg(long)]
    pub keep: bool,
}

/// Runs it. Exit code 0 only if every log arrived or was dropped by the script, and the ledger balances.
pub(crate) fn run(args: &Args) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start the threads: {error}")),
    };
    match runtime.block_on(play(args)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(DemoError::Failed(error)) => fail(&error),
        Err(DemoError::Asked(signal)) => fail(&format!("{signal} ended it before all logs were delivered")),
        Err(DemoError::TerminalGone) => ExitCode::from(HANGUP),
        // It is not known whether a log is missing.
        Err(DemoError::Unwritten(error)) => written(Err(error), ExitCode::FAILURE),
    }
}

fn fail(error: &str) -> ExitCode {
    note(format_args!("forwarder demo: {error}"));
    ExitCode::FAILURE
}

/// Whether no log is missing.
async fn play(args: &Args) -> Result<bool, DemoError> {
    let text = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
    // Before the first file is written: each signal removes it.
    let mut signals = EndSignals::listen().map_err(text("signals cannot be caught"))?;
    let script = DemoScript::find(args.script.as_deref())?;
    let oracle = Arc::new(Oracle::default());
    let sls = SlsEmulator::start(sls::Config {
        keys: Some((KEY_ID.into(), Secret::new(KEY_SECRET))),
        shards: args.shards,
        ..sls::Config::default()
    })
    .await
    .map_err(text("the embedded SLS cannot listen"))?;
    let receiver = Receiver::start(args.to, args.collectors, &oracle)
        .await
        .map_err(text("the embedded receiver cannot listen"))?;

    let places = Places::new(args.sources, args.shards);
    print_line(format_args!("embedded SLS         http://{}  {}", sls.address(), places.describe()))?;
    print_line(format_args!("embedded receiver    {}", receiver.url()))?;
    print_line(format_args!("script               {}", script.path.display()))?;
    let letters = DemoDeadLetters::new();
    let admin = args.admin_listen.or_else(|| args.keep.then(free_address).flatten());
    let flags = admin.iter().map(|address| ("admin.listen", address.to_string())).collect();
    let settings =
        settings::load(None, &flags, &environment(&sls, &places, &receiver, &script.path, letters.path()), &machine())
            .map_err(|error| error.to_string())?;
    let mut app = App::new(settings).map_err(|error| error.to_string())?;
    let page = app.listen().await.map_err(|error| error.to_string())?;
    if let Some(address) = page {
        print_line(format_args!("status page          http://{address}/"))?;
    }
    let (ledger, hooks, socket) = (app.ledger(), app.hooks(), app.socket().map(Path::to_owned));

    let made = Instant::now();
    let mut generator = Generator::new(1, start_time(args.logs));
    fill(&sls, &places, &mut generator, &oracle, args.logs)?;
    print_line(format_args!(
        "wrote {} audit and web logs into {} shards in {:.1} s\n",
        thousands(args.logs),
        places.shards(),
        made.elapsed().as_secs_f64()
    ))?;

    let (stopper, stopped) = stop();
    let started = Instant::now();
    let mut running = JoinSet::new();
    running.spawn(app.run(stopped));

    let shown = async {
        let mut screen = Screen::new(args.logs);
        let delivered = tokio::select! {
            watched = watch(args.logs, &ledger, &receiver, &oracle, &mut screen, &mut running) => watched,
            ended = signals.next() => Err(ended),
        };
        screen.finish();
        let (fault, took) = (delivered?, started.elapsed());
        let with_outage = fault.is_some_and(|at| took >= at + OUTAGE);
        screen::report(&ledger, &receiver, &oracle, took, with_outage)?;
        if args.keep {
            if let Some(address) = page {
                print_line(format_args!("\nstatus page: http://{address}/"))?;
            }
            let (sls, places, receiver) = (&sls, &places, &receiver);
            let (script, hooks, socket) = (&*script.path, &*hooks, socket.as_deref());
            let stage = Stage { sls, places, receiver, script, hooks, socket };
            stay(&stage, &mut generator, &mut signals, &mut running).await?;
        }
        stopper.raise();
        tokio::select! {
            ended = all_ended(&mut running) => ended,
            signal = signals.next() => Err(signal),
        }
    };
    if let Err(error) = shown.await {
        // Tasks that still write would bring back the files that are removed below.
        running.shutdown().await;
        return Err(error);
    }

    let total = ledger.total();
    let missing = oracle.missing(total.dropped + total.dead_lettered);
    if args.keep {
        screen::ledger(&ledger, &oracle)?;
    }
    // Logs written while the demo kept running may be newer than the last pull.
    let unsaved = if args.keep { 0 } else { places.unsaved(&sls) };
    let good = missing == 0 && unsaved == 0 && total.difference() == 0 && total.in_flight == 0;
    if let Some(hint) = app::summary::dead_letters(ledger.total().dead_lettered, letters.path()) {
        print_line(format_args!("\n{hint}"))?;
    }
    if good {
        let checkpoints = if args.keep { "" } else { ", and every checkpoint is at the end of its shard" };
        print_line(format_args!("\nnothing is missing{checkpoints}"))?;
    } else {
        print_line(format_args!(
            "\nFAILED: {missing} logs missing, {unsaved} checkpoints not at the end, ledger off by {}",
            total.difference()
        ))?;
    }
    sls.stop().await;
    receiver.stop().await;
    Ok(good)
}

/// Waits until the program has ended.
async fn all_ended(running: &mut JoinSet<Result<(), app::Error>>) -> Result<(), DemoError> {
    while let Some(ended) = running.join_next().await {
        ended.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The start time for which the last log happens now.
fn start_time(logs: u64) -> u32 {
    let span = i64::try_from(logs / 2 / LOGS_PER_SECOND).unwrap_or(0) + 3;
    u32::try_from(app::summary::unix_now() - span).unwrap_or(u32::MAX)
}

/// A free port, preferably the usual one.
fn free_address() -> Option<SocketAddr> {
    let bound = [9464, 0].into_iter().find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
    bound.and_then(|listener| listener.local_addr().ok())
}

/// Half audit logs, half web logs, into the shards in turn.
fn fill(
    sls: &SlsEmulator,
    places: &Places,
    generator: &mut Generator,
    oracle: &Oracle,
    logs: u64,
) -> Result<(), String> {
    let audit = logs / 2;
    oracle.expect((0..audit).map(|i| generator.audit_id(i)));
    oracle.expect((0..logs - audit).map(|i| generator.nginx_id(i)));
    let mut left = [audit, logs - audit];
    let mut turn = 0;
    while left != [0, 0] {
        for (kind, left) in left.iter_mut().enumerate().filter(|(_, left)| **left > 0) {
            let count = (*left).min(GROUP_LOGS);
            *left -= count;
            let count = usize::try_from(count).expect("a group is small");
            let group = if kind == 0 { generator.audit(count) } else { generator.nginx(count) };
            places.put(sls, turn, group)?;
            turn += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    fn parse(line: &[&str]) -> Result<Args, clap::Error> {
        let command = Args::augment_args(clap::Command::new("demo"));
        Args::from_arg_matches(&command.try_get_matches_from(line)?)
    }

    #[test]
    fn a_demo_needs_no_arguments() {
        let args = parse(&["demo"]).unwrap();
        assert_eq!((args.logs, args.sources, args.shards, args.to, args.keep), (100_000, 1, 4, To::Hec, false));
    }

    #[test]
    fn a_demo_can_have_several_collectors_with_acknowledgements() {
        let collectors = |line| parse(line).map(|args| (args.collectors.ack, args.collectors.members));
        assert_eq!(collectors(&["demo"]).unwrap(), (false, 1));
        assert_eq!(collectors(&["demo", "--ack", "--members", "3"]).unwrap(), (true, 3));
        assert!(collectors(&["demo", "--members", "0"]).is_err());
    }

    #[test]
    fn a_demo_has_at_least_one_shard_and_one_log() {
        assert!(parse(&["demo", "--shards", "0"]).is_err());
        assert!(parse(&["demo", "--logs", "0"]).is_err());
        assert_eq!(parse(&["demo", "--shards", "2", "--logs", "5", "--keep"]).unwrap().shards, 2);
    }
}
