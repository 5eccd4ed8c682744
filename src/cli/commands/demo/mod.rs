//! `forwarder demo`: the main job on an emulated SLS and destination.

mod oracle;
mod places;
mod receiver;
mod screen;

use std::io;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::app;
use crate::app::App;
use crate::cli::context::machine;
use crate::cli::exit::written;
use crate::cli::output::{note, print_line};
use crate::core::count::thousands;
use crate::core::named_file;
use crate::core::secret::Secret;
use crate::core::stop::stop;
use crate::emulator::generate::Generator;
use crate::emulator::sls;
use crate::emulator::sls::SlsEmulator;
use crate::script::{Hooks, MAX_TEXT};
use crate::settings;
use crate::settings::Environment;
use oracle::Oracle;
use places::{GROUP, Places};
pub(crate) use places::{LOGSTORE, PROJECT};
use receiver::{Collectors, OUTAGE, Receiver, To};
use screen::Screen;

const KEY_ID: &str = "demo-key-id";
/// Guards nothing: the emulator is on the loopback address and holds made-up logs.
const KEY_SECRET: &str = "demo-key-secret";
/// Logs in a group, as a busy Logtail would send them.
const GROUP_LOGS: u64 = 50;

/// How often the demo checks the progress.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Exit code of a job that SIGHUP ends.
const HANGUP: u8 = 129;

/// Logs of each kind per second of generated time.
const LOGS_PER_SECOND: u64 = 50;

/// Longest time without any progress before the demo gives up.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The shipped script.
const SCRIPT: &str = include_str!("../../../../scripts/transform.lua");

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
    // The main job uses SIGHUP for reloads; the demo ends with its terminal.
    let ended = runtime.block_on(async {
        tokio::select! {
            played = play(args) => Some(played),
            () = terminal_gone() => None,
        }
    });
    let Some(played) = ended else { return ExitCode::from(HANGUP) };
    match played {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(DemoError::Failed(error)) => fail(&error),
        // It is not known whether a log is missing.
        Err(DemoError::Unwritten(error)) => written(Err(error), ExitCode::FAILURE),
    }
}

/// Why the demo ended early.
enum DemoError {
    Failed(String),
    /// The output cannot be written.
    Unwritten(io::Error),
}

impl From<String> for DemoError {
    fn from(error: String) -> Self {
        Self::Failed(error)
    }
}

/// Only the output fails with such an error.
impl From<io::Error> for DemoError {
    fn from(error: io::Error) -> Self {
        Self::Unwritten(error)
    }
}

/// Resolves when the terminal that the demo runs in is closed.
async fn terminal_gone() {
    #[cfg(unix)]
    if let Ok(mut hangup) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()) {
        hangup.recv().await;
        return;
    }
    std::future::pending().await
}

fn fail(error: &str) -> ExitCode {
    note(format_args!("forwarder demo: {error}"));
    ExitCode::FAILURE
}

/// Whether no log is missing.
async fn play(args: &Args) -> Result<bool, DemoError> {
    let script = DemoScript::find(args.script.as_deref())?;
    let text = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
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
    let (ledger, hooks) = (app.ledger(), app.hooks());

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

    let mut screen = Screen::new(args.logs);
    let fault = watch(args.logs, &ledger, &receiver, &oracle, &mut screen, &mut running).await?;
    let took = started.elapsed();
    screen.finish();
    let with_outage = fault.is_some_and(|at| took >= at + OUTAGE);
    screen::report(&ledger, &receiver, &oracle, took, with_outage)?;
    if args.keep {
        if let Some(address) = page {
            print_line(format_args!("\nstatus page: http://{address}/"))?;
        }
        stay(&sls, &places, &receiver, &mut generator, &script.path, &hooks, &mut running).await?;
    }
    stopper.raise();
    while let Some(ended) = running.join_next().await {
        ended.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
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

/// The script's file.
struct DemoScript {
    path: PathBuf,
    /// Where the embedded script was unpacked; removed when the demo ends.
    unpacked: bool,
}

impl DemoScript {
    fn find(given: Option<&Path>) -> Result<Self, String> {
        // The shipped script is copied without its test cases, so that an edited copy is not refused because of them.
        let usual = Path::new("scripts/transform.lua");
        let is_changed = || named_file::read(usual, MAX_TEXT).is_ok_and(|text| text != SCRIPT.as_bytes());
        if let Some(path) = given.or_else(|| is_changed().then_some(usual)) {
            named_file::open(path).map_err(|error| format!("--script {} can't be read: {error}", path.display()))?;
            return Ok(Self { path: path.to_owned(), unpacked: false });
        }
        let path = std::env::temp_dir().join(format!("forwarder-demo-{}.lua", std::process::id()));
        // Left by a killed process with our id. A directory of another user cannot be removed from /tmp, and is not
        // used.
        let _ = std::fs::remove_file(&path);
        named_file::create(&path)
            .and_then(|mut file| file.write_all(SCRIPT.as_bytes()))
            .map_err(|error| format!("{} can't be written: {error}", path.display()))?;
        Ok(Self { path, unpacked: true })
    }
}

impl Drop for DemoScript {
    fn drop(&mut self) {
        if self.unpacked {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The directory of the dead letters; removed when the demo ends, unless there are some.
struct DemoDeadLetters(PathBuf);

impl DemoDeadLetters {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("forwarder-demo-{}-dead-letters", std::process::id())))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for DemoDeadLetters {
    fn drop(&mut self) {
        let is_empty = |path: &Path| std::fs::metadata(path).is_ok_and(|file| file.len() == 0);
        if is_empty(&self.0.join("dead-letters.jsonl")) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
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

/// The settings that a user would write.
fn environment(sls: &SlsEmulator, places: &Places, receiver: &Receiver, script: &Path, letters: &Path) -> Environment {
    let pairs: [(&str, String); 4] = [
        ("SLS_CG", GROUP.into()),
        ("SLS_AK_ID", KEY_ID.into()),
        ("SLS_AK_KEY", KEY_SECRET.into()),
        ("FORWARDER_SLS_HEARTBEAT_INTERVAL", "5s".into()),
    ];
    let endpoint = format!("http://{}", sls.address());
    let pairs = pairs.into_iter().chain(places.environment(&endpoint)).chain(receiver.environment());
    let mut environment: Environment = pairs.map(|(name, value)| (name.to_owned(), value.into())).collect();
    environment.insert("FORWARDER_SCRIPT".into(), script.as_os_str().to_owned());
    environment.insert("FORWARDER_DEAD_LETTERS_DIR".into(), letters.as_os_str().to_owned());
    environment.insert("FORWARDER_STATE_DIR".into(), letters.join("state").into_os_string());
    environment
}

/// Waits until all logs are completed; half-way it causes the outage of the receiver. Returns when that was.
async fn watch(
    logs: u64,
    ledger: &crate::core::ledger::Ledger,
    receiver: &Receiver,
    oracle: &Oracle,
    screen: &mut Screen,
    running: &mut JoinSet<Result<(), app::Error>>,
) -> Result<Option<Duration>, DemoError> {
    let started = Instant::now();
    let mut progressed = (started, 0);
    let mut fault = None;
    loop {
        tokio::select! {
            biased;
            ended = running.join_next() => return Err(ended_early(ended).into()),
            () = tokio::time::sleep(POLL_INTERVAL) => {}
        }
        let total = ledger.total();
        let done = total.delivered + total.dropped + total.dead_lettered;
        if done != progressed.1 {
            progressed = (Instant::now(), done);
        }
        screen.show(done, &total)?;
        // An outage after everything is delivered would have no effect.
        if fault.is_none() && done < logs && oracle.arrived() >= logs / 2 {
            fault = Some(started.elapsed());
            screen.say(receiver.go_away())?;
        }
        if let Some(why) = ledger.read().into_values().find_map(|entry| entry.standstill().map(str::to_owned)) {
            return Err(why.into());
        }
        if done >= logs {
            if fault.is_none() {
                screen.say("everything was delivered before an outage could be shown: use --logs 100000")?;
            }
            return Ok(fault);
        }
        if progressed.0.elapsed() > STALL_TIMEOUT {
            return Err(format!("no progress for {STALL_TIMEOUT:?} at {done} of {logs} logs").into());
        }
    }
}

fn ended_early(ended: Option<Result<Result<(), app::Error>, tokio::task::JoinError>>) -> String {
    match ended {
        Some(Ok(Err(error))) => error.to_string(),
        Some(Err(error)) => error.to_string(),
        Some(Ok(Ok(()))) | None => "the program ended by itself".into(),
    }
}

/// Keeps everything running and writes logs from time to time, until a signal arrives.
async fn stay(
    sls: &SlsEmulator,
    places: &Places,
    receiver: &Receiver,
    generator: &mut Generator,
    script: &Path,
    hooks: &Hooks,
    running: &mut JoinSet<Result<(), app::Error>>,
) -> Result<(), DemoError> {
    let port = sls.address().port();
    print_line("\nStill running, and writing a few logs a second. Press Ctrl-C to stop. Meanwhile:")?;
    print_line("")?;
    if let Some(how) = receiver.how_to_look() {
        print_line(format_args!("  events received          {how}"))?;
    }
    print_line(format_args!("  state of SLS             curl http://{}/_emulator/state", sls.address()))?;
    print_line(format_args!(
        "  script                   edit {}: a save takes effect within seconds",
        script.display()
    ))?;
    print_line("\n  a second process, which takes over half of the shards:")?;
    let places_set = places.environment(&format!("http://{}", sls.address()));
    let places_set: Vec<String> = places_set.iter().map(|(name, value)| format!("{name}='{value}'")).collect();
    print_line(format_args!("    {} SLS_CG={GROUP} \\", places_set.join(" ")))?;
    let there: Vec<String> = receiver.environment().iter().map(|(name, value)| format!("{name}={value}")).collect();
    print_line(format_args!("    SLS_AK_ID={KEY_ID} SLS_AK_KEY={KEY_SECRET} {} \\", there.join(" ")))?;
    print_line(format_args!("    forwarder --script {}", script.display()))?;
    print_line(format_args!(
        "\n  the vendor's Python SDK: http_proxy=http://127.0.0.1:{port} and any http endpoint, such as"
    ))?;
    print_line(format_args!("    LogClient('http://demo.log.example', '{KEY_ID}', '{KEY_SECRET}')\n"))?;
    let signal = tokio::signal::ctrl_c();
    tokio::pin!(signal);
    let mut turn = 0;
    let state = || (hooks.script().version.clone(), hooks.reloads());
    let mut seen = state();
    loop {
        let (version, reloads) = state();
        if (&version, &reloads) != (&seen.0, &seen.1) {
            print_line(format_args!("{}", app::summary::script(&version, &reloads).trim_start_matches("; ")))?;
            seen = (version, reloads);
        }
        tokio::select! {
            biased;
            _ = &mut signal => return Ok(()),
            ended = running.join_next() => return Err(ended_early(ended).into()),
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
        let group = if turn % 2 == 0 { generator.audit(1) } else { generator.nginx(1) };
        places.put(sls, turn, group)?;
        turn += 1;
    }
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
