//! `forwarder bench`: the cost of a log on this machine, for each stage and for the whole program.

mod corpus;
mod cpu;
mod identity;
mod line;
mod lines;
mod stages;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use crate::cli::commands::try_::samples;
use crate::cli::context::{machine, sources};
use crate::cli::exit::{ExitMessage, end_with, show};
use crate::core::destination_name::DestinationName;
use crate::core::event::{DestinationFormat, Format};
use crate::core::page::Page;
use crate::destination::Preview;
use crate::script::{Sample, Script};
use crate::settings;
use corpus::{Corpus, Kind};
use line::To;
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
stable: docs/performance.md explains how to count them.

Exit codes: 0 measured, 1 it could not be measured, 2 usage, settings or script.";

/// Measure the cost of a log, and the share of the script
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The script [default: the one in the settings, else scripts/transform.lua]
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
}

/// Measures and prints; returns the exit code.
pub(crate) fn main(args: &Args) -> ExitCode {
    match measure(args) {
        Ok(measured) => {
            let output = if args.json { format!("{}\n", table::json(&measured)) } else { table::text(&measured) };
            show(&output, ExitCode::SUCCESS)
        }
        Err(Fault::Usage(said)) => end_with(&said),
        Err(Fault::Failed(why)) => {
            eprintln!("forwarder bench: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Why nothing was measured.
enum Fault {
    /// The arguments cannot be used.
    Usage(ExitMessage),
    Failed(String),
}

fn measure(args: &Args) -> Result<Vec<Measured>, Fault> {
    let usage = |why: String| Fault::Usage(ExitMessage::Plain(why));
    let (config, environment) = sources(args.config.as_deref());
    let trial = settings::trial(config.as_deref(), None, &environment, &machine());
    let trial = trial.map_err(|error| usage(error.to_string()))?;
    let path = args.script.clone().or_else(|| trial.script.clone()).unwrap_or_else(|| "scripts/transform.lua".into());
    let script = Script::read(&path).map_err(|error| usage(error.to_string()))?;
    let named = |(name, format): &(DestinationName, Arc<dyn Preview>)| DestinationFormat {
        name: Some(name.clone()),
        format: Arc::clone(format) as Arc<dyn Format>,
    };
    let formats: Vec<DestinationFormat> = trial.formats.iter().map(named).collect();
    let stages = |pages: &[Page]| {
        stages::measure(&script, &trial.hook, &formats, pages).map_err(|error| match error {
            stages::Fault::Script(error) => Fault::Usage(ExitMessage::script(&error)),
            stages::Fault::Log(why) => Fault::Failed(why),
        })
    };
    if let Some(file) = &args.logs {
        let logs = samples::read(file).map_err(usage)?;
        let logs = logs.into_iter().map(|log| log.map(|origin| origin.sample));
        let logs = logs.collect::<Result<Vec<Sample>, String>>().map_err(usage)?;
        let page = [Sample::page(&logs)];
        let stages = stages(&page)?;
        let script_lines = lines::measure(&script, &trial.hook, &page);
        let script_lines = script_lines.map_err(|error| Fault::Usage(ExitMessage::script(&error)))?;
        let yardstick = cpu::gzip_each(&stages.events, stages.logs);
        let corpus = file.display().to_string();
        return Ok(vec![Measured { corpus, stages, script_lines, lines: Vec::new(), yardstick }]);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Fault::Failed(format!("cannot start the threads: {error}")))?;
    let mut measured = Vec::new();
    for kind in [Kind::Audit, Kind::Web] {
        let mut corpus = Corpus::new(kind);
        let pages: Vec<Page> = (0..PAGES).map(|_| corpus.page()).collect();
        let stages = stages(&pages)?;
        let yardstick = cpu::gzip_each(&stages.events, stages.logs);
        let run = |to| runtime.block_on(line::measure(kind, to, &path, args.shards, args.count)).map_err(Fault::Failed);
        let lines = To::ALL.into_iter().map(run).collect::<Result<_, _>>()?;
        let corpus = kind.name().to_owned();
        measured.push(Measured { corpus, stages, script_lines: Vec::new(), lines, yardstick });
    }
    Ok(measured)
}
