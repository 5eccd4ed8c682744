//! `forwarder status`: the consumer group as recorded in SLS, without a running process.

mod look;
mod readers;
mod show;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use crate::cli::context::{machine, sources};
use crate::cli::exit::{DENIED, INTERNAL, TROUBLE, UNREACHABLE, USAGE, end, written};
use crate::cli::flags::SettingFlags;
use crate::cli::terminal::{colour, over, terminal_size};
use crate::script::Paint;
use crate::settings;
use look::Group;
use readers::{GroupReaders, Named};
use show::Look;

/// Time between two readings with `--watch`.
const INTERVAL: Duration = Duration::from_secs(5);

const HELP: &str = "\
It reads only from SLS, so it needs no running forwarder and works on any machine. It joins no group and moves
no checkpoint. SLS does not report who holds a shard: SAVED BY is the consumer that saved the checkpoint last.
LAG is the age of the oldest undelivered log, LOSS IN the time until SLS deletes it.

Exit codes: 0 no shard needs attention, 1 one does (or there is no such group), 2 usage or settings, 69 SLS does
not answer, 77 a permission is missing or SLS refuses.";

/// Show the consumer group: who has read which shard, how far
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Settings file (TOML) [env: FORWARDER_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Look again every 5 seconds
    #[arg(long)]
    watch: bool,

    /// Print JSON; with --watch an object a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    settings: SettingFlags,
}

/// Reads, prints, and returns the exit code.
pub(crate) fn main(args: &Args) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(&format!("no runtime: {error}"), INTERNAL),
    };
    let (config, environment) = sources(args.config.as_deref());
    let places = match settings::places(config.as_deref(), &args.settings.0, &environment, &machine()) {
        Ok(places) => places,
        Err(error) => return end(&error.to_string(), USAGE),
    };
    let ended: Result<_, String> = runtime.block_on(async {
        let mut readers = GroupReaders::new(places);
        loop {
            let groups = readers.look().await?;
            let code = exit_code(&groups);
            let output = write(args, &groups, code);
            if !args.watch || output.is_err() {
                return Ok((output, code));
            }
            tokio::time::sleep(INTERVAL).await;
        }
    });
    // A hung name lookup must not delay the exit.
    runtime.shutdown_background();
    match ended {
        Ok((output, code)) => written(output, ExitCode::from(code)),
        Err(error) => end(&error, USAGE),
    }
}

fn write(args: &Args, groups: &[Named], code: u8) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if args.json {
        let sources: Vec<_> = groups.iter().map(show::json).collect();
        let value = json!({ "exit_code": code, "sources": sources });
        return match args.watch {
            true => writeln!(out, "{value}"),
            false => writeln!(out, "{value:#}"),
        };
    }
    let size = terminal_size();
    let look = Look { paint: Paint(colour(&io::stdout())), width: size.map(|(_, columns)| columns) };
    let mut lines = Vec::new();
    for group in groups {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.extend(show::text(group, look));
    }
    match size {
        Some(size) if args.watch => write!(out, "{}", over(&lines, size))?,
        _ => writeln!(out, "{}", lines.join("\n"))?,
    }
    out.flush()
}

/// Order of precedence: settings, a missing permission, a service that does not answer, a shard that needs attention.
fn exit_code(groups: &[Named]) -> u8 {
    const RANK: [u8; 5] = [0, TROUBLE, UNREACHABLE, DENIED, USAGE];
    let of = |named: &Named| match &named.found {
        Err(trouble) => trouble.code,
        Ok(Group { hidden: Some(trouble), .. }) => trouble.code,
        Ok(Group { shards, .. }) if shards.is_empty() => TROUBLE,
        Ok(Group { shards, .. }) => u8::from(shards.iter().any(|judged| judged.state.is_trouble())) * TROUBLE,
    };
    let rank = |code: &u8| RANK.iter().position(|known| known == code);
    groups.iter().map(of).max_by_key(rank).unwrap_or(0)
}

#[cfg(test)]
mod tests;
