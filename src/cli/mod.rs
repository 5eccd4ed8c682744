//! The command line.

mod admin_client;
mod columns;
pub mod commands;
mod context;
mod exit;
mod flags;
mod log;
mod output;
mod raw_terminal;
mod signals;
mod source;
mod systemd;
mod terminal;

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, Parser};

use crate::settings::keys;
use crate::settings::keys::Row;

const FIRST_RUN: &str = "\
First run:
  export SLS_ENDPOINT=https://cn-hangzhou.log.aliyuncs.com
  export SLS_PROJECT=my-project SLS_LOGSTORE=my-logstore SLS_CG=siem
  export SLS_AK_ID=… SLS_AK_KEY=…     # of a RAM user; secrets are never flags
  export FORWARDER_HEC_TOKEN=…
  forwarder --script scripts/transform.lua --hec-url https://splunk.example:8088

For another SIEM use syslog: --syslog-host siem.example; it needs no token. TLS
and RELP have settings: docs/syslog.md.

The script is Lua: process(log) gets each log and returns what to send.
  function process(log)
    local time = log.__time__
    log.__time__ = nil
    return { time = time, event = log }
  end

The same with a file, forwarder --config forwarder.toml (or FORWARDER_CONFIG):
  script = \"scripts/transform.lua\"
  [hec]
  url = \"https://splunk.example:8088\"
  token_file = \"hec.token\"              # relative to this file

Every setting can be given in the file and in the environment (hec.timeout as
FORWARDER_HEC_TIMEOUT); common settings are also flags. Flags override the
environment, the environment overrides the file. docs/settings.md and
examples/forwarder.toml list all settings.

You can start several processes on several machines: processes of one group
share the shards, and take over from each other.

Stop it with SIGTERM or Ctrl-C: it delivers the logs in flight and saves the
checkpoints (run.drain_timeout). A second signal ends it at once: no log is
lost, but some logs will be sent twice.

Exit codes: 0 asked to stop, 2 usage, settings or script, 70 internal error,
75 the stop took too long, 77 permission denied.";

/// The text below the short help, which fits on one screen.
const SHORT: &str = "\
forwarder --script scripts/transform.lua --hec-url https://splunk.example:8088
runs until a signal stops it. --help has all flags, a first run and the exit
codes; forwarder config example has all settings.";

/// Ships logs from Alibaba Cloud Simple Log Service (SLS) to a SIEM, each through your Lua script, and never loses one.
#[derive(Debug, Parser)]
#[command(name = "forwarder", version, after_help = SHORT, after_long_help = FIRST_RUN, max_term_width = 120)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    run: commands::run::Args,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Backfill(commands::backfill::Args),
    Check(commands::check::Args),
    Completions(commands::manual::CompletionsArgs),
    Config(commands::config::Args),
    #[cfg(feature = "emulator")]
    Bench(commands::bench::Args),
    #[cfg(feature = "emulator")]
    Demo(commands::demo::Args),
    Dlq(commands::dlq::Dlq),
    #[cfg(feature = "emulator")]
    Emulate(commands::emulate::Args),
    Man(commands::manual::ManArgs),
    Policy(commands::policy::Args),
    Seek(commands::seek::Args),
    Status(commands::status::Args),
    Tap(commands::tap::Args),
    Test(commands::test::Args),
    Top(commands::top::Args),
    Try(commands::try_::Args),
    Types(commands::types::Args),
}

/// The program: parses the command line, runs the command, and returns the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| with_tip(error).exit());
    match &cli.command {
        None => commands::run::run(&cli.run),
        Some(Command::Backfill(args)) => commands::backfill::main(args),
        Some(Command::Check(args)) => commands::check::main(args),
        Some(Command::Completions(args)) => commands::manual::completions(args, Cli::command()),
        Some(Command::Config(args)) => commands::config::main(args),
        #[cfg(feature = "emulator")]
        Some(Command::Bench(args)) => commands::bench::main(args),
        #[cfg(feature = "emulator")]
        Some(Command::Demo(args)) => commands::demo::run(args),
        Some(Command::Dlq(args)) => commands::dlq::main(args),
        #[cfg(feature = "emulator")]
        Some(Command::Emulate(args)) => commands::emulate::run(args),
        Some(Command::Man(args)) => commands::manual::man(args, Cli::command()),
        Some(Command::Policy(args)) => commands::policy::main(args),
        Some(Command::Seek(args)) => commands::seek::main(args),
        Some(Command::Status(args)) => commands::status::main(args),
        Some(Command::Tap(args)) => commands::tap::main(args),
        Some(Command::Test(args)) => commands::test::main(args),
        Some(Command::Top(args)) => commands::top::main(args),
        Some(Command::Try(args)) => commands::try_::main(args),
        Some(Command::Types(args)) => commands::types::main(args),
    }
}

/// Adds advice to errors: the right place for a secret that was given as a flag, and that `forwarder run` needs no
/// `run`.
fn with_tip(mut error: clap::Error) -> clap::Error {
    if let Some(tip) = tip(&error) {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

fn tip(error: &clap::Error) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let secret = keys::all().find(|key| is_meant(key, text(ContextKind::InvalidArg)))?;
            let variable = secret.variable().expect("only tables have no variable");
            Some(format!(
                "secrets are never flags, because every user of the machine can read command lines: set {variable}, or \
                 name a file that contains it with {}_file",
                secret.name
            ))
        }
        ErrorKind::InvalidSubcommand if matches!(text(ContextKind::InvalidSubcommand), "run" | "start") => {
            Some("forwarder needs no command to run: leave the word out".to_owned())
        }
        _ => None,
    }
}

/// Whether a flag looks like this secret: `--hec-token`, `--token`.
fn is_meant(secret: &Row, flag: &str) -> bool {
    let flag = flag.trim_start_matches('-').replace('-', "_");
    secret.is_secret() && (secret.name.replace('.', "_") == flag || secret.parts().1 == flag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
