//! `forwarder tap`: shows events of a running forwarder, a few lines a second.

mod line;

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::admin_client::{Place, find, get, place};
use crate::cli::exit::{UNREACHABLE, USAGE, end, written};
use crate::cli::output::note;
use crate::cli::terminal::colour;
use crate::core::printable::excerpt;
use crate::pipeline::tap::{Kind, MAX_RATE, USUAL_RATE, query};
use crate::script::Paint;

/// Maximum length of a line, in bytes.
const MAX_LINE: u64 = 1 << 20;

const HELP: &str = "\
Examples:
  forwarder tap                                   events as they go to the destinations
  forwarder tap --failures --letters              failed logs and events, and why they failed
  forwarder tap --match '\"status\": *\"?5' --limit 20
  forwarder tap --logs --field user=ann           raw logs, with everything that the script masks or removes

Without --logs, data that the script removes is not shown. It works only over the socket of the forwarder, which \
only its user and root can open. It delays no log: lines beyond --rate, or beyond what the reader keeps up with, are \
left out, and their number is printed on standard error.

Exit codes: 0 the limit is reached, or the forwarder ended, 2 usage, 69 no forwarder answers.";

/// Show the logs and events of a running forwarder as they pass
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Settings file of the forwarder (TOML) [env: FORWARDER_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where it answers: unix:PATH
    #[arg(long, value_name = "PLACE", value_parser = place)]
    connect: Option<Place>,
    /// Raw logs, as they were pulled
    #[arg(long)]
    logs: bool,
    /// Events, as they go to the destinations (the default)
    #[arg(long)]
    events: bool,
    /// Errors of the script
    #[arg(long)]
    failures: bool,
    /// Dead letters that are written
    #[arg(long)]
    letters: bool,
    /// Only lines that match this regular expression
    #[arg(long = "match", value_name = "PATTERN")]
    pattern: Option<String>,
    /// Only what comes of logs with this field
    #[arg(long, value_name = "NAME=VALUE")]
    field: Option<String>,
    /// End after so many lines
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroU64>,
    /// Most lines a second
    #[arg(long, value_name = "N", default_value_t = USUAL_RATE, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_RATE)))]
    rate: u32,
    /// Print JSON, an object a line
    #[arg(long)]
    json: bool,
}

/// Prints the lines until the end; returns the exit code.
pub(crate) fn main(args: &Args) -> ExitCode {
    let place = match args.connect.clone().map_or_else(|| find(args.config.as_deref()), Ok) {
        Ok(place) => place,
        Err(error) => return end(&error, UNREACHABLE),
    };
    let wanted = [
        (args.logs, Kind::Log),
        (args.events, Kind::Event),
        (args.failures, Kind::Failure),
        (args.letters, Kind::Letter),
    ];
    let kinds: Vec<Kind> = wanted.into_iter().filter_map(|(is_wanted, kind)| is_wanted.then_some(kind)).collect();
    let path = format!("/tap?{}", query(&kinds, args.pattern.as_deref(), args.field.as_deref(), args.rate));
    let reply = match get(&place, &path, None) {
        Ok(reply) => reply,
        Err(error) => return end(&format!("no forwarder answers at {place}: {error}"), UNREACHABLE),
    };
    if reply.status != 200 {
        let code = if reply.status == 503 { UNREACHABLE } else { USAGE };
        return end(&excerpt(&reply.text().unwrap_or_default()), code);
    }
    let mut body = reply.body;
    let (paint, mut left) = (Paint(colour(&io::stdout())), args.limit.map(NonZeroU64::get));
    let mut out = io::stdout().lock();
    loop {
        let mut text = Vec::new();
        match (&mut body).take(MAX_LINE).read_until(b'\n', &mut text) {
            Ok(1..) => {}
            Ok(0) | Err(_) => return ExitCode::SUCCESS,
        }
        let shown = match line::read(&text) {
            Some(line::Line::Missed(missed)) => {
                note(format_args!(
                    "{missed} more passed, beyond the rate of {} a second or faster than they were read",
                    args.rate
                ));
                continue;
            }
            Some(line::Line::Shown(_)) if args.json => String::from_utf8_lossy(text.trim_ascii_end()).into_owned(),
            Some(line::Line::Shown(shown)) => line::text(&shown, paint),
            None => continue,
        };
        let output = writeln!(out, "{shown}").and_then(|()| out.flush());
        if output.is_err() {
            return written(output, ExitCode::SUCCESS);
        }
        left = left.map(|left| left - 1);
        if left == Some(0) {
            return ExitCode::SUCCESS;
        }
    }
}
