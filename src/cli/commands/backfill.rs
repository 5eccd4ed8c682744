//! `forwarder backfill`: delivers a time range without affecting the live group.

use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::task::JoinSet;

use crate::app;
use crate::app::backfill::{Backfill, BackfillEnd, BackfillRequest, Estimate, Progress, estimate, look};
use crate::cli::commands::run::obey;
use crate::cli::context::{machine, sources};
use crate::cli::exit::{ExitMessage, INTERNAL, USAGE, end, end_with, written};
use crate::cli::log;
use crate::cli::output::print_line;
use crate::cli::signals::Signals;
use crate::cli::source::{Existing, chosen};
use crate::core::count::{bytes, count};
use crate::core::duration::in_words;
use crate::core::stop::{Stop, stop};
use crate::settings;
use crate::settings::{LogSettings, Settings, SourceSettings};

/// Time between two lines without a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// The niceness of a backfill, unless it was started with more.
const NICENESS: i32 = 10;

/// Columns of the bar.
const BAR: usize = 30;

/// Clears the line of the bar on a terminal.
const CLEAR_LINE: &str = "\r\x1b[2K";

const HELP: &str = "\
Examples:
  forwarder backfill --from -2d --to -1d --dry-run     show how much it would deliver
  forwarder backfill --from -2d --to -1d               deliver it
  forwarder backfill --from 2026-01-31 --to end --script scripts/other.lua --rate 5MB

It does not affect the consumer group: it sends no heartbeats, and neither reads nor writes the group's checkpoints.
Settings, destinations, dead letters and the ids of the logs (meta.id), which identify repeats, are the same as in the
live job. Its positions are kept in state.dir: after a stop or a kill, the same command resumes with the original
range. When it is done, the same command starts from the beginning. It runs with low priority (nice 10), so that the
live job comes first when the processors are busy.

WHEN is begin, end, unix seconds, a span such as -2h, or a time; it refers to the time at which SLS received the logs.

Exit codes: as for the live job; 0 done, or asked to stop.";

/// Deliver a time range of a logstore again, beside the live group
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Start of the range: logs received at this time or later
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    from: String,
    /// End of the range: logs received before this time
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    to: String,
    /// The source, if there are several
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Settings file (TOML) [env: FORWARDER_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Deliver only to this destination [default: all]
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// The script [default: the one in the settings]
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Maximum bytes of unpacked logs per second over all shards: 500KB, 5MB
    #[arg(long, value_name = "SIZE", value_parser = settings::size)]
    rate: Option<usize>,
    /// Deliver nothing: show how much it would deliver
    #[arg(long)]
    dry_run: bool,
}

/// Runs until all is done or a signal arrives; returns the exit code.
pub(crate) fn main(args: &Args) -> ExitCode {
    let (config, environment) = sources(args.config.as_deref());
    let machine = machine();
    let range = settings::range(&args.from, &args.to, &machine);
    let (from, to) = match range {
        Ok(range) => range,
        Err(error) => return end(&error, USAGE),
    };
    let flags = args.script.iter().map(|script| ("script.file", script.display().to_string())).collect();
    let settings = match settings::load(config.as_deref(), &flags, &environment, &machine) {
        Ok(settings) => settings,
        Err(error) => return end(&error.to_string(), USAGE),
    };
    let wanted = BackfillRequest {
        from,
        to,
        destination: args.destination.clone(),
        script: args.script.clone(),
        bytes_a_second: args.rate,
    };
    // Only warnings are logged, so that the bar is not disturbed; the log file belongs to the live job.
    let level = if io::stdout().is_terminal() { tracing::Level::WARN } else { settings.log.level };
    let log = match log::start(&LogSettings { level, file: None, ..settings.log.clone() }) {
        Ok(log) => log,
        Err(error) => return end(&format!("cannot write the log: {error}"), USAGE),
    };
    if let Err(error) = lower_priority() {
        tracing::warn!("cannot lower the priority of the backfill, which may delay the live job: {error}");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(&format!("cannot start the threads: {error}"), INTERNAL),
    };
    let named: Vec<_> = settings.sources.iter().map(|source| (source.name.as_str(), &source.sls)).collect();
    let Existing { at, name, logstore } = match runtime.block_on(chosen(&named, args.source.as_deref())) {
        Ok(chosen) => chosen,
        Err(message) => {
            log.close();
            return end_with(&message);
        }
    };
    let mut source = SourceSettings { name, ..settings.sources[at].clone() };
    source.sls.logstore = logstore;
    let outcome = runtime.block_on(async {
        for warning in &settings.warnings {
            tracing::warn!("{warning}");
        }
        match args.dry_run {
            true => dry_run(&source, &wanted).await,
            false => run(&settings, &source, &wanted, log.clone()).await,
        }
    });
    runtime.shutdown_background();
    log.close();
    match outcome {
        Ok(output) => written(output, ExitCode::SUCCESS),
        Err(app::Error::Script(error)) => end_with(&ExitMessage::script(&error)),
        Err(error) => end(&error.to_string(), error.exit_code()),
    }
}

/// Delivers. Returns whether its output could be written, which does not stop the delivery.
async fn run(
    settings: &Settings,
    source: &SourceSettings,
    wanted: &BackfillRequest,
    log: log::Handle,
) -> Result<io::Result<()>, app::Error> {
    let signals = Signals::listen().map_err(|error| app::Error::Internal(format!("cannot catch signals: {error}")))?;
    let backfill = Backfill::new(settings, source, wanted).await?;
    let (first, last) = backfill.range();
    let began = if backfill.is_resumed() { ", resumed" } else { "" };
    let at_first = backfill.progress(Duration::ZERO);
    let _ = print_line(format_args!(
        "backfill of {}/{} from {} to {}{began}: {}, about {} of {} log groups left; {}",
        source.sls.project,
        source.sls.logstore,
        first.map_or_else(|| "the oldest log".to_owned(), time),
        time(last),
        count(backfill.shards() as u64, "shard"),
        at_first.groups - at_first.done,
        at_first.groups,
        backfill.promise(),
    ));
    let (stopper, stopped) = stop();
    let mut tasks = JoinSet::new();
    tasks.spawn(obey(signals, stopper, log, settings.run.drain_timeout, say_stopping));
    let mut progress_line = ProgressLine::new(stopped.clone());
    let ended = backfill.run(stopped, |progress| progress_line.show(progress)).await;
    tasks.shutdown().await;
    progress_line.close();
    let counts = backfill.counts();
    let ledger = format!(
        "pulled {} = delivered {} + dropped {} + dead-lettered {} + in flight {}",
        counts.pulled, counts.delivered, counts.dropped, counts.dead_lettered, counts.in_flight
    );
    let output = match ended {
        Ok(BackfillEnd::Done) => print_line(format_args!("done: {ledger}")),
        Ok(BackfillEnd::Stopped) => print_line(format_args!("stopped: {ledger}; the same command resumes")),
        Err(_) => print_line(format_args!("{ledger}; the same command resumes")),
    };
    ended.map(|_| output)
}

/// Lets the live job come first when the processors are busy. On Linux it applies to this thread and to those that it
/// starts afterwards.
fn lower_priority() -> io::Result<()> {
    let started_with = rustix::process::getpriority_process(None)?;
    Ok(rustix::process::setpriority_process(None, started_with.max(NICENESS))?)
}

/// Shows how much it would deliver.
async fn dry_run(source: &SourceSettings, wanted: &BackfillRequest) -> Result<io::Result<()>, app::Error> {
    let (sls, extents) = look(source, wanted).await?;
    let found = estimate(&sls, &extents).await.map_err(|error| app::Error::Refused(error.cause().clone()))?;
    let mut lines = vec![format!(
        "{}/{} from {} to {}; nothing is delivered",
        source.sls.project, source.sls.logstore, wanted.from, wanted.to
    )];
    let mut total = Estimate::default();
    for (shard, estimate) in &found {
        lines.push(format!("shard {shard}: {}", show(estimate)));
        total.groups += estimate.groups;
        total.logs += estimate.logs;
        total.bytes += estimate.bytes;
        total.wire_bytes += estimate.wire_bytes;
    }
    lines.push(format!("in all: {}", show(&total)));
    Ok(print_line(lines.join("\n")))
}

fn show(estimate: &Estimate) -> String {
    format!(
        "{}, about {}, {} over the network, {} unpacked",
        count(estimate.groups, "log group"),
        count(estimate.logs, "log"),
        bytes(estimate.wire_bytes),
        bytes(estimate.bytes)
    )
}

/// Shows the progress until a stop is asked for: on a terminal in a line that is updated, otherwise in a line from time
/// to time.
struct ProgressLine {
    is_terminal: bool,
    shown_at: Option<Instant>,
    stop: Stop,
}

impl ProgressLine {
    fn new(stop: Stop) -> Self {
        Self { is_terminal: io::stdout().is_terminal(), shown_at: None, stop }
    }

    fn show(&mut self, progress: &Progress) {
        // A closed terminal does not stop the backfill.
        let mut out = io::stdout().lock();
        if self.stop.is_raised() {
            return;
        }
        if self.is_terminal {
            let _ = write!(out, "{CLEAR_LINE}{} {}", bar(progress), line(progress)).and_then(|()| out.flush());
        } else if self.shown_at.is_none_or(|at| at.elapsed() >= LINE_INTERVAL) {
            self.shown_at = Some(Instant::now());
            let _ = writeln!(out, "{}", line(progress)).and_then(|()| out.flush());
        }
    }

    fn close(&self) {
        if self.is_terminal && !self.stop.is_raised() {
            let _ = print_line("");
        }
    }
}

/// Replaces the bar on a terminal, whose log has only warnings.
fn say_stopping(stopping: &str) {
    if io::stdout().is_terminal() {
        let _ = print_line(format_args!("{CLEAR_LINE}{stopping}"));
    }
}

fn bar(progress: &Progress) -> String {
    let filled = (progress.share() * BAR as f64) as usize;
    format!("[{}{}]", "=".repeat(filled.min(BAR)), " ".repeat(BAR - filled.min(BAR)))
}

fn line(progress: &Progress) -> String {
    let left = progress.left().map(|left| format!(", {} left", in_words(left))).unwrap_or_default();
    let percent = (progress.share() * 100.0).floor();
    format!("{percent:3.0} %  {}, {:.0} a second{left}", count(progress.logs, "log"), progress.logs_a_second())
}

fn time(second: i64) -> String {
    Timestamp::from_second(second).map_or_else(|_| second.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_shows_progress_rate_and_time_left() {
        let took = Duration::from_secs(10);
        let progress = Progress { groups: 100, done: 60, done_before: 40, logs: 2_000, took, debt: Duration::ZERO };
        assert_eq!(line(&progress), " 60 %  2000 logs, 200 a second, 20 s left");
        assert_eq!(bar(&progress), format!("[{}{}]", "=".repeat(18), " ".repeat(12)));
        assert_eq!(line(&Progress::default()), "100 %  0 logs, 0 a second");
    }
}
