//! `forwarder bench`: the cost of a log on this machine, for each stage and for the whole program.

mod corpus;
mod cpu;
mod identity;
mod line;
mod lines;
mod stages;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use crate::cli::commands::try_::samples;
use crate::cli::context::{machine, sources};
use crate::cli::exit::{ExitMessage, end_with, show};
use crate::cli::output::note;
use crate::core::destination_name::DestinationName;
use crate::core::event::{DestinationFormat, Format};
use crate::core::page::Page;
use crate::destination::Preview;
use crate::script::{Sample, Script};
use crate::settings;
use corpus::{Corpus, Kind};
use line::To;
use stages::Stage;
use table::Measured;

/// Pages of generated logs for measuring the stages.
const PAGES: usize = 4;

const HELP: &str = "\
Without --logs, it generates audit logs (one large field of JSON) and web logs (many small fields). The stages
are measured in this process, and then the whole program as a child process, from an emulated SLS to emulated
receivers. The reference is `gzip -1` of the same events in the same run: times depend on the machine and its load,
the ratio to the reference hardly does.

With --logs, your own logs go through your script, stage by stage: `script` is its cost per log. The rows below it
show the cost of each line, including the library functions that it calls, but not the script lines that it calls.
The logs have the format of `forwarder try`.

Times are CPU time, which other programs do not add to but do slow down. Instructions per log are more
stable. With --stage, only one stage runs, as often as --passes says, for a profiler that counts them.

Exit codes: 0 measured, 1 it could not be measured, 2 usage, settings or script.";

/// Measure the cost of a log, and the share of the script
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The script [default: the one in the settings, else scripts/transform.lua, and scripts/syslog.lua for syslog]
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
    /// Your own logs, one JSON object each, instead of generated ones; - for standard input
    #[arg(long, value_name = "FILE")]
    pub logs: Option<PathBuf>,
    /// Settings file (TOML), for [script.vars], limits and the destination's form [env: FORWARDER_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Generated logs that the whole program delivers to each receiver
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1_000..=5_000_000), conflicts_with = "logs")]
    pub count: u64,
    /// Shards that these logs are in
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256), conflicts_with = "logs")]
    pub shards: u32,
    /// Print JSON instead of the table
    #[arg(long)]
    pub json: bool,
    /// Run only this stage, and measure nothing: for a profiler
    #[arg(long, value_enum, conflicts_with_all = ["json", "count", "shards"], hide_short_help = true)]
    pub stage: Option<Stage>,
    /// Passes of that stage over the logs
    #[arg(long, value_name = "N", default_value_t = 100, requires = "stage", hide_short_help = true)]
    pub passes: u32,
    /// The generated logs of that stage
    #[arg(long, value_enum, default_value_t = Kind::Audit, requires = "stage", conflicts_with = "logs", hide_short_help = true)]
    pub kind: Kind,
}

/// Measures and prints; returns the exit code.
pub(crate) fn main(args: &Args) -> ExitCode {
    match report(args) {
        Ok(report) => show(&report, ExitCode::SUCCESS),
        Err(BenchError::Usage(message)) => end_with(&message),
        Err(BenchError::Failed(why)) => {
            note(format_args!("forwarder bench: {why}"));
            ExitCode::FAILURE
        }
    }
}

/// Why nothing was measured.
enum BenchError {
    /// The arguments cannot be used.
    Usage(ExitMessage),
    Failed(String),
}

impl From<stages::StageError> for BenchError {
    fn from(fault: stages::StageError) -> Self {
        match fault {
            stages::StageError::Script(error) => Self::Usage(ExitMessage::script(&error)),
            stages::StageError::Log(why) => Self::Failed(why),
        }
    }
}

fn report(args: &Args) -> Result<String, BenchError> {
    let usage = |why: String| BenchError::Usage(ExitMessage::Plain(why));
    let (config, environment) = sources(args.config.as_deref());
    let trial = settings::trial(config.as_deref(), None, &environment, &machine());
    let trial = trial.map_err(|error| usage(error.to_string()))?;
    let given = args.script.as_deref().or(trial.script.as_deref());
    let read = |to: To| Script::read(given.unwrap_or(to.default_script())).map_err(|error| usage(error.to_string()));
    let script = read(To::Hec)?;
    let named = |(name, format): &(DestinationName, Arc<dyn Preview>)| DestinationFormat {
        name: Some(name.clone()),
        format: Arc::clone(format) as Arc<dyn Format>,
    };
    let formats: Vec<DestinationFormat> = trial.formats.iter().map(named).collect();
    let own_page = args.logs.as_deref().map(own_page).transpose().map_err(usage)?;
    if let Some(stage) = args.stage {
        let pages = own_page.map_or_else(|| Corpus::new(args.kind).pages(PAGES), |page| vec![page]);
        let logs = stages::repeat(stage, args.passes, &script, &trial.hook, &formats, &pages)?;
        return Ok(format!("{} passes over {logs} logs\n", args.passes));
    }
    let stages = |pages: &[Page]| stages::measure(&script, &trial.hook, &formats, pages);
    if let (Some(page), Some(file)) = (own_page, &args.logs) {
        let page = [page];
        let stages = stages(&page)?;
        let script_lines = lines::measure(&script, &trial.hook, &page);
        let script_lines = script_lines.map_err(|error| BenchError::Usage(ExitMessage::script(&error)))?;
        let yardstick = cpu::gzip_each(&stages.events, stages.logs);
        let corpus = file.display().to_string();
        return Ok(shown(args, &[Measured { corpus, stages, script_lines, lines: Vec::new(), yardstick }]));
    }
    for to in To::ALL {
        read(to)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| BenchError::Failed(format!("cannot start the threads: {error}")))?;
    let mut measured = Vec::new();
    for kind in [Kind::Audit, Kind::Web] {
        let pages = Corpus::new(kind).pages(PAGES);
        let stages = stages(&pages)?;
        let yardstick = cpu::gzip_each(&stages.events, stages.logs);
        let run = |to: To| {
            let script = given.unwrap_or(to.default_script());
            runtime.block_on(line::measure(kind, to, script, args.shards, args.count)).map_err(BenchError::Failed)
        };
        let lines = To::ALL.into_iter().map(run).collect::<Result<_, _>>()?;
        let corpus = kind.name().to_owned();
        measured.push(Measured { corpus, stages, script_lines: Vec::new(), lines, yardstick });
    }
    Ok(shown(args, &measured))
}

fn shown(args: &Args, measured: &[Measured]) -> String {
    if args.json { format!("{}\n", table::json(measured)) } else { table::text(measured) }
}

/// The user's own logs as one page.
fn own_page(file: &Path) -> Result<Page, String> {
    let logs = samples::read(file)?.into_iter().map(|log| log.map(|origin| origin.sample));
    Ok(Sample::page(&logs.collect::<Result<Vec<Sample>, String>>()?))
}
