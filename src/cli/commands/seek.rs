//! `forwarder seek`: moves checkpoints of the consumer group, after showing the effect and asking.

use std::io::{self, BufRead as _, IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;

use crate::app::seek;
use crate::app::seek::{Effect, Move, SeekError, Spot, Target};
use crate::cli::context::{machine, sources};
use crate::cli::exit::{ExitMessage, USAGE, end, end_with};
use crate::cli::source::{Existing, chosen};
use crate::core::count::count;
use crate::core::cursor::{Cursor, Start};
use crate::core::duration::in_words;
use crate::core::printable::excerpt;
use crate::core::source::{Source as _, SourceError};
use crate::settings;
use crate::sls::{Config, Sls};

/// Exit code if nothing was moved, because it was not confirmed, or because a save undid a move.
const NOT_MOVED: u8 = 1;

/// How long after the move to check whether the owner undid it.
const SECOND_CHECK_DELAY: Duration = Duration::from_secs(2);

const HELP: &str = "\
Examples:
  forwarder seek --shard all --to -2h      deliver the logs of the last two hours again
  forwarder seek --shard 3 --to end        skip the logs that wait in shard 3
  forwarder seek --shard all --to 2026-01-31T08:00:00+08:00 --yes

WHEN is begin, end, unix seconds, a span such as -2h, or a time; it refers to the time at which SLS received the logs.
The command shows the old and the new position of each checkpoint, and what is repeated or skipped, and asks first.

A shard that a live consumer holds is refused: stop the consumers first, or use --force. A running forwarder
notices the move within 20 seconds, logs it, and continues from there.

Exit codes: 0 moved, 1 not moved, 2 usage, settings or a live consumer.";

/// Move checkpoints of the consumer group to another position
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The shard to move, or all
    #[arg(long, value_name = "N|all", value_parser = shard)]
    shard: Shard,
    /// The new position: WHEN, or a cursor of the shard
    #[arg(long, value_name = "WHEN|CURSOR", allow_hyphen_values = true)]
    to: String,
    /// Settings file (TOML) [env: FORWARDER_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The source, if there are several
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Also move shards that a live consumer holds
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Clone, Copy)]
enum Shard {
    All,
    One(u32),
}

fn shard(text: &str) -> Result<Shard, String> {
    match text {
        "all" => Ok(Shard::All),
        number => number.parse().map(Shard::One).map_err(|_| "write a shard's number, or all".to_owned()),
    }
}

/// Moves; returns the exit code.
pub(crate) fn main(args: &Args) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(&format!("no runtime: {error}"), USAGE),
    };
    match runtime.block_on(run(args, &mut io::stdout())) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(NOT_MOVED),
        Err(message) => end_with(&message),
    }
}

/// Returns whether everything was moved.
async fn run(args: &Args, out: &mut impl Write) -> Result<bool, ExitMessage> {
    let machine = machine();
    let (config, environment) = sources(args.config.as_deref());
    let to = target(args, &settings::position(&args.to, &machine).map(|position| position.start))?;
    let places = settings::places(config.as_deref(), &Vec::new(), &environment, &machine);
    let places = places.map_err(|error| ExitMessage::Plain(error.to_string()))?;
    let named: Vec<_> = places.iter().map(|(name, config, _)| (name.as_str(), config)).collect();
    let Existing { at, logstore, .. } = chosen(&named, args.source.as_deref()).await?;
    let config = Config { logstore, ..places[at].1.clone() };
    let sls = Sls::new(&config).map_err(|error| ExitMessage::Plain(error.to_string()))?;
    let one = match args.shard {
        Shard::All => None,
        Shard::One(shard) => Some(shard),
    };
    let planned = seek::plan(&sls, &config.group, one, &to).await;
    let planned = planned.map_err(|error: SeekError| ExitMessage::Plain(error.to_string()))?;
    let (planned, there): (Vec<_>, Vec<_>) = planned.into_iter().partition(|wanted| wanted.effect() != Effect::None);
    let say = |out: &mut dyn Write, line: &str| {
        writeln!(out, "{line}").and_then(|()| out.flush()).map_err(ExitMessage::Unwritten)
    };
    say(out, &format!("consumer group {} of {}/{}:", config.group, config.project, config.logstore))?;
    for wanted in &there {
        say(out, &format!("shard {}: is at {} already", wanted.shard, show(&wanted.to)))?;
    }
    for wanted in &planned {
        say(out, &line(wanted))?;
    }
    if planned.is_empty() {
        return Ok(true);
    }
    let held: Vec<&Move> = planned.iter().filter(|wanted| wanted.holder.is_some()).collect();
    if !held.is_empty() && !args.force {
        return Err(ExitMessage::Plain(format!(
            "nothing was moved: {} held by a live consumer; stop it and wait for the group's timeout, or use \
             --force: a running forwarder follows the move",
            count(held.len() as u64, "shard") + if held.len() == 1 { " is" } else { " are" }
        )));
    }
    if !args.yes && !agreed(out, planned.len())? {
        say(out, "nothing was moved")?;
        return Ok(false);
    }
    for wanted in &planned {
        let failed = |error: SourceError| ExitMessage::Plain(format!("shard {} was not moved: {error}", wanted.shard));
        seek::carry_out(&sls, wanted).await.map_err(failed)?;
        say(out, &format!("shard {}: moved to {}", wanted.shard, show(&wanted.to)))?;
    }
    let mut is_done = true;
    if held.is_empty() {
        return Ok(is_done);
    }
    tokio::time::sleep(SECOND_CHECK_DELAY).await;
    for wanted in held {
        let found = sls.checkpoint(wanted.shard).await;
        let found =
            found.map_err(|error| ExitMessage::Plain(format!("whether it was moved cannot be checked: {error}")))?;
        if found.is_some_and(|found| wanted.is_undone_by(&found.cursor)) {
            is_done = false;
            say(
                out,
                &format!(
                    "shard {}: its consumer saved at the same moment, so the checkpoint is at another position (or \
                     already further on): check the log of that consumer, or run the command again",
                    wanted.shard
                ),
            )?;
        }
    }
    Ok(is_done)
}

/// A position, or else a cursor of one shard.
fn target(args: &Args, position: &Result<Start, String>) -> Result<Target, ExitMessage> {
    let cursor = Cursor::new(args.to.trim());
    match (position, args.shard) {
        (Ok(start), _) => Ok(Target::Position(*start)),
        (Err(_), Shard::One(_)) if cursor.number().is_some() => Ok(Target::Cursor(cursor)),
        (Err(_), Shard::All) if cursor.number().is_some() => {
            Err(ExitMessage::Plain("a cursor belongs to one shard: name it with --shard".to_owned()))
        }
        (Err(error), _) => Err(ExitMessage::Plain(format!("--to: {error}, or a cursor as SLS writes it"))),
    }
}

/// Asks on the terminal.
fn agreed(out: &mut impl Write, moves: usize) -> Result<bool, ExitMessage> {
    if !io::stdin().is_terminal() {
        return Err(ExitMessage::Plain("nothing was moved: there is no terminal to ask on; use --yes".to_owned()));
    }
    let failed = |error: io::Error| ExitMessage::Plain(error.to_string());
    write!(out, "move {}? [y/N] ", count(moves as u64, "checkpoint")).and_then(|()| out.flush()).map_err(failed)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn line(wanted: &Move) -> String {
    let from = wanted.from.as_ref().map_or_else(|| "no checkpoint".to_owned(), show);
    let effect = match wanted.effect() {
        Effect::None | Effect::Unknown => String::new(),
        Effect::Repeats(groups) => format!("; delivers {} again", count(groups, "log group")),
        Effect::Skips(groups) => format!("; leaves {} undelivered", count(groups, "log group")),
    };
    let holder = wanted.holder.as_ref().map_or_else(String::new, |holder| {
        format!("; held by {}, which saved {} ago", excerpt(&holder.name), in_words(holder.saved_ago))
    });
    format!("shard {}: from {from} to {}{effect}{holder}", wanted.shard, show(&wanted.to))
}

/// `2026-01-31T08:00:00Z (cursor MTcw…)`
fn show(spot: &Spot) -> String {
    let time = spot.received_at.and_then(|second| Timestamp::from_second(second).ok());
    let time = time.map_or_else(|| "where no log is (yet, or any more)".to_owned(), |time| time.to_string());
    format!("{time} (cursor {})", excerpt(spot.cursor.as_str()))
}
