//! `forwarder policy`: the minimal RAM policy for these settings.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::context::sources;
use crate::cli::exit::{USAGE, end, show};
use crate::cli::flags::SettingFlags;
use crate::settings;
use crate::sls::permissions::policy;

const HELP: &str = "\
Paste it as a custom policy in RAM (JSON) and attach it to the user or the role that the program uses.
This command needs the names of project, logstore and consumer group, but no key. Once the group exists,
log:CreateConsumerGroup can be removed.";

/// Print the minimal RAM policy for these settings, as JSON
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Settings file (TOML) [env: FORWARDER_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    settings: SettingFlags,
}

/// Prints it; returns the exit code.
pub(crate) fn main(args: &Args) -> ExitCode {
    let (config, environment) = sources(args.config.as_deref());
    match settings::scopes(config.as_deref(), &args.settings.0, &environment) {
        Ok(scopes) => show(&format!("{:#}\n", policy(&scopes)), ExitCode::SUCCESS),
        Err(error) => end(&error.to_string(), USAGE),
    }
}
