//! `forwarder dlq`: shows dead letters, and delivers them. It works while a forwarder is running.

mod filter;
mod ids;
mod look;
mod output;
pub mod replay;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use self::look::Look;
use self::output::Output;
use crate::cli::context::sources;
use crate::cli::exit::{USAGE, end};
use crate::cli::output::note_problems;
use crate::cli::terminal::terminal_width;
use crate::settings;

/// Show and deliver dead letters (logs that could not be delivered)
#[derive(Debug, Args)]
pub struct Dlq {
    /// Directory of the dead letters [default: the one in the settings]
    #[arg(long, global = true, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Settings file (TOML) that names the directory [env: FORWARDER_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The command.
    #[command(subcommand)]
    pub action: Action,
}

/// The subcommand.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Commands that only read.
    #[command(flatten)]
    Look(Look),
    /// Deliver them, through the current version of the script
    ///
    /// Dead letters that are delivered, or that the script now drops, are removed once that is certain; the others
    /// remain. After an interrupted replay, the same command continues with the rest.
    Replay(replay::Replay),
}

/// Prints the answer; returns the exit code.
pub(crate) fn main(args: &Dlq) -> ExitCode {
    let (config, environment) = sources(args.config.as_deref());
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => match settings::dead_letters_dir(config.as_deref(), &environment) {
            Ok((dir, problems)) => {
                note_problems(&problems);
                dir
            }
            Err(error) => return end(&error.to_string(), USAGE),
        },
    };
    // Messages need the full path.
    let dir = std::path::absolute(&dir).unwrap_or(dir);
    let look = match &args.action {
        Action::Look(look) => look,
        Action::Replay(replay) => return replay::main(replay, (config.as_deref(), &environment), &dir),
    };
    let (out, notes) = (&mut io::BufWriter::new(io::stdout()), &mut io::stderr());
    let output = Output { out, notes, width: terminal_width() };
    match look::run(look, &dir, Timestamp::now(), output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => end(&error.to_string(), error.exit_code()),
    }
}
