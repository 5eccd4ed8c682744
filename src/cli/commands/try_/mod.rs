//! `forwarder try`: runs a script on samples, without an account, a destination or a checkpoint.

mod peek;
mod pretty;
mod printed;
pub(super) mod samples;
mod show;

use std::io::{self, IsTerminal as _, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

use crate::cli::context::{machine, sources};
use crate::cli::exit::{ExitMessage, end_with};
use crate::cli::output::note;
use crate::cli::source::{Existing, chosen};
use crate::cli::terminal::{colour, terminal_width};
use crate::core::batch::Events;
use crate::core::cursor::ShardId;
use crate::core::destination_name::DestinationName;
use crate::core::event::DestinationFormat;
use crate::core::named_file;
use crate::core::named_file::MAX_LOGS;
use crate::core::printable::printable;
use crate::destination::Preview;
use crate::script::testing::cases;
use crate::script::{Cost, Hook, HookError, Meta, Paint, Sample, Script};
use crate::settings;
use crate::settings::TrialSettings;
use crate::sls::Config;
use printed::Printed;
use samples::{SampleOrigin, Tried, TriedEvent};
use show::DisplayOptions;

/// How often `--watch` checks the files.
const POLL_INTERVAL: Duration = Duration::from_millis(300);

/// Exit code if a log failed.
const EXIT_FAILED: u8 = 1;

/// The settings and files that `try` may be given.
const HELP: &str = "\
Samples are logs as the script sees them, one JSON object of strings a line:
  {\"__time__\": \"1700000000\", \"__topic__\": \"web\", \"__tag__:host\": \"a\", \"status\": \"200\"}
A line with such a log under `log`, as in dead letters and test cases, works too.

Run scripts/transform.lua on some logs, and again at each save of the script:
  forwarder try scripts/samples.jsonl
  forwarder try --watch scripts/samples.jsonl
Run it on logs of the logstore:
  forwarder try --from-sls 10 --config forwarder.toml
Write the results as test cases:
  forwarder try --json samples.jsonl >> scripts/transform.test.jsonl

The samples are processed like pulled logs, with the limits of the settings. Neither an SLS account nor a \
destination is needed. --from-sls reads without joining the consumer group and does not change its checkpoints.

The output of the script (print, logger) is shown below each log.

Exit codes: 0 every log was sent or dropped, 1 the script failed on a log, or a sample is invalid, 2 usage, \
settings or script.";

/// Try a script on samples: show the events that it makes
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// File with logs, a JSON object each; - for standard input
    #[arg(value_name = "SAMPLES", required_unless_present = "from_sls", conflicts_with = "from_sls")]
    samples: Option<PathBuf>,
    /// The script [default: the one in the settings, else scripts/transform.lua]
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Settings file (TOML), for [script.vars], limits and the destination's form [env: FORWARDER_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Show events only for this destination: hec, syslog or file [default: all in the settings, else hec]
    #[arg(long, value_name = "NAME")]
    to: Option<String>,
    /// Use this many logs of the logstore in the settings instead: the newest, or the first from --start on
    #[arg(long, value_name = "N")]
    from_sls: Option<NonZeroUsize>,
    /// The source to read them from, if there are several
    #[arg(long, value_name = "NAME", requires = "from_sls")]
    source: Option<String>,
    /// Where to start reading them: begin, or a time [default: so that they are the newest]
    #[arg(long, value_name = "WHEN", requires = "from_sls")]
    start: Option<String>,
    /// Show long events in full
    #[arg(long, conflicts_with = "json")]
    full: bool,
    /// Print one JSON object per log, which is also a test case
    #[arg(long)]
    json: bool,
    /// Run again whenever the script or the samples are saved
    #[arg(long, conflicts_with_all = ["json", "from_sls"])]
    watch: bool,
}

/// Runs once, or at each save; returns the exit code.
pub(crate) fn main(args: &Args) -> ExitCode {
    let printed = Printed::default();
    let subscriber = tracing_subscriber::registry().with(printed.clone().with_filter(LevelFilter::DEBUG));
    match tracing::subscriber::with_default(subscriber, || tried(args, &printed)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(EXIT_FAILED),
        Err(message) => end_with(&message),
    }
}

fn tried(args: &Args, printed: &Printed) -> Result<u64, ExitMessage> {
    let plain = |error: &dyn std::error::Error| ExitMessage::Plain(error.to_string());
    let (config, environment) = sources(args.config.as_deref());
    let trial = settings::trial(config.as_deref(), args.to.as_deref(), &environment, &machine());
    let trial = trial.map_err(|error| plain(&error))?;
    let path = args.script.clone().or_else(|| trial.script.clone()).unwrap_or_else(|| "scripts/transform.lua".into());
    let look = DisplayOptions {
        json: args.json,
        full: args.full,
        width: terminal_width().unwrap_or(80),
        paint: Paint(colour(&io::stdout())),
    };

    if let Some(count) = args.from_sls {
        let flags = args.start.iter().map(|start| ("sls.start", start.clone())).collect();
        let places = settings::places(config.as_deref(), &flags, &environment, &machine());
        let places = places.map_err(|error| plain(&error))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| ExitMessage::Plain(format!("no runtime: {error}")))?;
        let named: Vec<_> = places.iter().map(|(name, config, _)| (name.as_str(), config)).collect();
        let Existing { at, logstore, .. } = runtime.block_on(chosen(&named, args.source.as_deref()))?;
        let (_, sls, start) = &places[at];
        let sls = Config { logstore, ..sls.clone() };
        let start_at = args.start.as_ref().map(|_| start.start);
        let logs = runtime.block_on(peek::logs(&sls, start_at, count.get())).map_err(ExitMessage::Plain)?;
        if logs.is_empty() {
            let at = args.start.as_ref().map(|_| format!(" at {start}")).unwrap_or_default();
            return Err(ExitMessage::Plain(format!("there is no log in the logstore {}{at}", sls.logstore)));
        }
        let logs = logs.into_iter().map(Ok).collect::<Vec<_>>();
        return try_once(&read_script(&path)?, &trial, &logs, look, printed);
    }
    let file = args.samples.as_deref().expect("the command line requires one of the two");
    if !args.watch {
        let script = read_script(&path)?;
        let logs = samples::read(file).map_err(ExitMessage::Plain)?;
        return try_once(&script, &trial, &logs, look, printed);
    }
    watch(&path, file, &trial, look, printed)
}

fn read_script(path: &std::path::Path) -> Result<Script, ExitMessage> {
    Script::read(path).map_err(|error| ExitMessage::Plain(error.to_string()))
}

/// Runs again whenever the files change; ends with a signal.
fn watch(
    path: &std::path::Path,
    file: &std::path::Path,
    trial: &TrialSettings,
    look: DisplayOptions,
    printed: &Printed,
) -> Result<u64, ExitMessage> {
    let is_stdin = file.as_os_str() == "-";
    let typed = if is_stdin { Some(samples::read(file).map_err(ExitMessage::Plain)?) } else { None };
    let content = |path| named_file::read(path, MAX_LOGS).ok();
    let content = || (content(path), if is_stdin { None } else { content(file) });
    let mut before = None;
    loop {
        let now = content();
        if before.as_ref() != Some(&now) {
            let out = &mut io::stdout();
            if look.paint.0 || out.is_terminal() {
                write!(out, "\x1b[2J\x1b[H").map_err(ExitMessage::Unwritten)?;
            }
            let logs = typed.clone().map_or_else(|| samples::read(file).map_err(ExitMessage::Plain), Ok);
            let outcome = logs.and_then(|logs| try_once(&read_script(path)?, trial, &logs, look, printed));
            match outcome {
                Ok(_) => Ok(()),
                Err(ExitMessage::Plain(text) | ExitMessage::Drawn(text)) => writeln!(out, "{text}"),
                Err(ExitMessage::Unwritten(error)) => Err(error),
            }
            .map_err(ExitMessage::Unwritten)?;
            let watched = format!("\nwatching {} and {}", path.display(), file.display());
            let written = writeln!(out, "{}", look.paint.dim(&watched)).and_then(|()| out.flush());
            written.map_err(ExitMessage::Unwritten)?;
            before = Some(now);
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Runs the script over the logs and shows the results; returns how many failed.
fn try_once(
    script: &Script,
    trial: &TrialSettings,
    logs: &[Result<SampleOrigin, String>],
    look: DisplayOptions,
    printed: &Printed,
) -> Result<u64, ExitMessage> {
    let named = |(name, format): &(DestinationName, Arc<dyn Preview>)| DestinationFormat {
        name: Some(name.clone()),
        format: format.clone(),
    };
    let formats: Vec<DestinationFormat> = trial.formats.iter().map(named).collect();
    let meta = Meta {
        source: "source".to_owned(),
        project: "project".to_owned(),
        logstore: "logstore".to_owned(),
        shard: ShardId(0),
    };
    let load = |error: HookError| ExitMessage::script(&error);
    let mut hook = Hook::load(script, &trial.hook, formats, meta).map_err(load)?;
    // A second Lua state processes the same logs, to show what the script returned, independent of the destination.
    let mut plain = if look.json { Some(cases::hook(script, &trial.hook).map_err(load)?) } else { None };

    let out = &mut io::BufWriter::new(io::stdout().lock());
    let mut sum = show::Sum::default();
    printed.take();
    for origin in logs {
        let origin = match origin {
            Ok(origin) => origin,
            Err(why) => {
                sum.no_log();
                // JSON is written to standard output.
                note(printable(why));
                continue;
            }
        };
        let tried = try_log(&mut hook, origin, &trial.formats);
        sum.add(&tried);
        let shown = match &mut plain {
            Some(plain) => show::json(origin, &tried, &run(plain, &origin.sample).0),
            None => show::log(origin, &tried, &printed.take(), look),
        };
        match writeln!(out, "{shown}") {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(sum.failed()),
            written => written.map_err(ExitMessage::Unwritten)?,
        }
    }
    let mut end = String::new();
    if !look.json {
        end = format!("{}\n", sum.line(look.paint));
        let nothing = crate::script::returns_nothing(script).filter(|_| sum.dropped == sum.logs).map(str::to_owned);
        let drop = crate::script::unused_drop(script)
            .map(|line| format!("line {line} calls drop and does not return its value: write return drop \"reason\""));
        let negated = crate::script::negated_comparison(script)
            .map(|line| format!("line {line} compares `not x`, not x: write x ~= y, or not (x == y)"));
        for hint in nothing.into_iter().chain(drop).chain(negated) {
            end += &format!("{}: {hint}\n", look.paint.green("hint"));
        }
    }
    match out.write_all(end.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(ExitMessage::Unwritten(error)),
        _ => Ok(sum.failed()),
    }
}

/// Events of one log, and why there are none.
fn run(hook: &mut Hook, sample: &Sample) -> (Events, Option<HookError>) {
    let mut made = hook.run(&Sample::page(std::slice::from_ref(sample))).expect("the page of a sample is readable");
    (made.outputs.swap_remove(0), made.failed.pop().map(|failed| failed.error))
}

fn try_log(hook: &mut Hook, origin: &SampleOrigin, formats: &[(DestinationName, Arc<dyn Preview>)]) -> Tried {
    let page = Sample::page(std::slice::from_ref(&origin.sample));
    let (mut made, cost): (_, Cost) = hook.measure(&page).expect("the page of a sample is readable");
    let of_one = |((name, format), events): (&(DestinationName, Arc<dyn Preview>), &Events)| {
        let to = (formats.len() > 1).then(|| name.clone());
        let tried = |event| TriedEvent { to: to.clone(), texts: format.preview(events.get(event)) };
        (0..events.len()).map(tried).collect::<Vec<_>>()
    };
    let events = formats.iter().zip(&made.outputs).flat_map(of_one).collect();
    Tried { events, error: made.failed.pop().map(|failed| failed.error), drop_reasons: made.drop_reasons, cost }
}
