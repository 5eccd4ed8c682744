//! `forwarder dlq replay`: sends dead letters through the current script and to the destination.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use tokio::time::Instant;

use super::filter::Filter;
use super::ids::resolve;
use super::output::{DlqError, Output, for_each};
use crate::app::destinations;
use crate::app::replay::{Fate, Remade, Remaker, ReplayError, ReplayOptions, ReplayScripts, replay};
use crate::cli::context::machine;
use crate::cli::exit::{INTERNAL, USAGE, end};
use crate::cli::log;
use crate::cli::signals::Signals;
use crate::core::budget::SharedBudget;
use crate::core::count::count;
use crate::core::event::Formats;
use crate::core::lease::{Lease, Tenure};
use crate::core::printable::printable;
use crate::core::state_dir::StateDir;
use crate::core::stop::{Stop, stop};
use crate::core::tls_connectors::TlsConnectors;
use crate::dead_letter::{Letter, Record, ReplayClaim, Unreadable, directories};
use crate::destination::Destination;
use crate::pipeline::Route;
use crate::settings;
use crate::settings::{DeliverySettings, Environment, LogFormat, LogSettings};

/// Options of `replay`.
#[derive(Debug, Args)]
pub struct Replay {
    /// Their ids, as in the list
    pub id: Vec<String>,
    /// All of them
    #[arg(long, conflicts_with = "id")]
    pub all: bool,
    #[command(flatten)]
    /// Which of the dead letters.
    pub filter: Filter,
    /// The script for all of them [default: for each letter the one of its source in the settings]
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
    /// Deliver nothing: show the events that the script makes of them now, beside the refused event
    #[arg(long)]
    pub dry_run: bool,
    /// Maximum dead letters per second
    #[arg(long, value_name = "NUMBER", default_value = "200")]
    pub rate: NonZeroU32,
}

impl Replay {
    /// Whether there is a selection: replaying everything must be explicit.
    fn chooses(&self) -> bool {
        self.all || !self.id.is_empty() || self.filter.is_given()
    }
}

/// The results of the selected ones.
#[derive(Debug, Default)]
struct Totals {
    delivered: u64,
    dropped: u64,
    stay: u64,
    /// Invalid pieces of the files, which also remain.
    unreadable: u64,
}

/// Delivers to the destinations of the settings; returns the exit code.
pub(super) fn main(
    args: &Replay,
    (config, environment): (Option<&Path>, &Environment),
    dir: &Path,
) -> std::process::ExitCode {
    let flags = args.script.iter().map(|file| ("script.file", file.display().to_string())).collect();
    let mut delivery = match settings::delivery(config, &flags, environment, &machine()) {
        Ok(delivery) => delivery,
        Err(error) => return end(&error.to_string(), USAGE),
    };
    if args.script.is_some() {
        let common = delivery.script.clone();
        delivery.sources.iter_mut().for_each(|source| source.script.clone_from(&common));
    }
    // The replay waits for a destination that is down or refuses requests, so this must be visible.
    let log = match log::start(&LogSettings { level: tracing::Level::INFO, format: LogFormat::Text, file: None }) {
        Ok(log) => log,
        Err(error) => return end(&format!("cannot write the log: {error}"), USAGE),
    };
    for warning in &delivery.warnings {
        tracing::warn!("{warning}");
    }
    let (budget, state, tls) = (SharedBudget::new(0), StateDir::none(), TlsConnectors::default());
    let (destinations, formats) = match destinations(&delivery.destinations, &budget, &state, &tls) {
        Ok(parts) => parts,
        Err(error) => return end(&error.to_string(), error.exit_code()),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(&format!("cannot start the threads: {error}"), INTERNAL),
    };
    let (out, notes) = (&mut io::BufWriter::new(io::stdout()), &mut io::stderr());
    let mut output = Output { out, notes, width: None };
    let outcome = runtime.block_on(async {
        let mut signals = Signals::listen().map_err(DlqError::Output)?;
        let (stopper, asked) = stop();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            signals.next().await;
            stopper.raise();
        });
        let parts = Parts { delivery: &delivery, destinations: &destinations, formats, asked };
        run(args, dir, Timestamp::now(), parts, &mut output).await
    });
    runtime.shutdown_background();
    log.close();
    match outcome {
        Ok(left) => std::process::ExitCode::from(u8::from(left > 0)),
        Err(error) => end(&error.to_string(), error.exit_code()),
    }
}

/// The parts of a replay.
pub struct Parts<'a, K> {
    /// Script and limits.
    pub delivery: &'a DeliverySettings,
    /// The destinations.
    pub destinations: &'a [Route<K>],
    /// Their formats.
    pub formats: Formats,
    /// Raised to stop it.
    pub asked: Stop,
}

/// Replays the selected dead letters; returns how many remain.
///
/// # Errors
/// `DlqError`: nothing is selected, nothing can be read or recorded, the script does not load, or it was asked to
/// stop.
pub async fn run<K: Destination>(
    args: &Replay,
    dir: &Path,
    now: Timestamp,
    parts: Parts<'_, K>,
    output: &mut Output<'_>,
) -> Result<u64, DlqError> {
    if !args.chooses() {
        return Err(DlqError::NothingChosen);
    }
    let scripts = ReplayScripts::read(parts.delivery).map_err(ReplayError::Script)?;
    let named = scripts.named();
    let mut remaker = Remaker::new(scripts, parts.delivery.hook.clone(), parts.formats.clone());
    let since = args.filter.since.as_ref().map(|since| since.timestamp(now));
    let ids = resolve(dir, &args.id, output.notes)?;
    let wants = |record: &Record| args.filter.wants(record, since) && (ids.is_empty() || ids.contains(&record.id()));

    // Unreadable pieces are reported once, at their place after the claim.
    let mut notes = Vec::new();
    let chosen = choose(dir, &wants, &mut Output { out: output.out, notes: &mut notes, width: None })?;
    let unknown = ids.iter().find(|id| !chosen.contains(*id));
    if unknown.is_some() || chosen.is_empty() {
        output.notes.write_all(&notes).map_err(DlqError::Output)?;
    }
    if let Some(unknown) = unknown {
        return Err(DlqError::Unknown { dir: dir.to_owned(), id: printable(unknown.as_bytes()) });
    }
    if chosen.is_empty() {
        print_line(output.out, &format!("none of the dead letters in {} is selected", dir.display()))?;
        return Ok(0);
    }
    let letters = count(chosen.len(), "dead letter");
    if args.dry_run {
        print_line(output.out, &format!("{letters} through {named}; nothing is delivered\n"))?;
        return preview(dir, wants, &mut remaker, output);
    }
    print_line(output.out, &format!("{letters} through {named}, at most {} a second", args.rate))?;

    let tenure = Tenure::new(Lease::endless(Instant::now()), parts.asked);
    let mut totals = Totals::default();
    let mut outcome = Ok(());
    for dir in directories(dir) {
        let options = ReplayOptions { destinations: parts.destinations, rate: args.rate.get(), tenure: &tenure };
        outcome = replay_one(&dir, &wants, &mut remaker, options, |found| match totals.count(found) {
            Some(line) => print_line(output.notes, &line),
            None => Ok(()),
        })
        .await;
        if outcome.is_err() {
            break;
        }
    }
    print_line(output.out, &totals.line(chosen.len() as u64))?;
    outcome?;
    // Unreadable pieces cannot be the named dead letters, because they have no ids.
    Ok(totals.stay + if args.id.is_empty() { totals.unreadable } else { 0 })
}

/// The ids of the selected dead letters.
fn choose(dir: &Path, wants: &impl Fn(&Record) -> bool, output: &mut Output<'_>) -> Result<BTreeSet<String>, DlqError> {
    let mut chosen = BTreeSet::new();
    for_each(dir, output, |letter, _| {
        if wants(&letter.record) {
            chosen.insert(letter.record.id());
        }
        Ok(())
    })?;
    Ok(chosen)
}

/// Replays the dead letters of one directory, of any forwarder.
async fn replay_one<K: Destination>(
    dir: &Path,
    wants: &impl Fn(&Record) -> bool,
    remaker: &mut Remaker,
    options: ReplayOptions<'_, K>,
    mut print: impl FnMut(Result<(&Record, &Fate), &Unreadable>) -> Result<(), DlqError>,
) -> Result<(), DlqError> {
    let mut taken = ReplayClaim::take(dir)?;
    let mut printed = Ok(());
    let replayed = replay(&mut taken, wants, remaker, options, |found| {
        if printed.is_ok() {
            printed = print(found);
        }
    })
    .await;
    taken.close().map_err(ReplayError::Fault)?;
    replayed?;
    printed
}

impl Totals {
    /// Counts a dead letter; returns the message about one that remains.
    fn count(&mut self, found: Result<(&Record, &Fate), &Unreadable>) -> Option<String> {
        let (record, fate) = match found {
            Ok(found) => found,
            Err(unreadable) => {
                self.unreadable += 1;
                return Some(format!("skipped: {unreadable}"));
            }
        };
        let why = match fate {
            Fate::Delivered => {
                self.delivered += 1;
                return None;
            }
            Fate::Dropped => {
                self.dropped += 1;
                return None;
            }
            fate => words(fate),
        };
        self.stay += 1;
        Some(format!("{} stays: {}", printable(record.id().as_bytes()), printable(why.as_bytes())))
    }

    /// The summary of `chosen` dead letters.
    fn line(&self, chosen: u64) -> String {
        let Self { delivered, dropped, stay, unreadable } = self;
        let mut line = format!("{delivered} delivered, {dropped} dropped by the script, {stay} stay");
        let untried = chosen.saturating_sub(delivered + dropped + stay);
        if untried > 0 {
            line += &format!(", {untried} not tried");
        }
        if *unreadable > 0 {
            line += &format!("; {unreadable} could not be read and stay");
        }
        line
    }
}

/// Why a dead letter remains.
fn words(fate: &Fate) -> String {
    match fate {
        Fate::Delivered | Fate::Dropped => String::new(),
        Fate::Failed(error) => error.fault.to_string(),
        Fate::Gone => "the script now makes other events from this log, but not the one of this dead letter".to_owned(),
        Fate::NoDestination(name) => {
            format!("it is a dead letter of the destination {name}, which the settings do not have")
        }
        Fate::Ambiguous => {
            "it does not say which destination refused it: replay it with settings of that destination alone".to_owned()
        }
        Fate::NoScript => {
            "no source of the settings that reads its logstore has a script, or several have different ones, and \
                           script.file is not given: replay it with --script"
                .to_owned()
        }
        Fate::Rejected { code, reason } => format!("{code}: {reason}"),
    }
}

/// Shows the events that the script makes from the dead letters; returns how many it still fails on.
fn preview(
    dir: &Path,
    wants: impl Fn(&Record) -> bool,
    remaker: &mut Remaker,
    output: &mut Output<'_>,
) -> Result<u64, DlqError> {
    let mut fault = None;
    let mut stay = 0;
    for_each(dir, output, |Letter { record, .. }, output| {
        if !wants(record) || fault.is_some() {
            return Ok(());
        }
        let made = match remaker.make(record) {
            Ok(made) => made,
            Err(error) => {
                fault = Some(error);
                return Ok(());
            }
        };
        stay += u64::from(!matches!(made, Remade::Events(_) | Remade::Dropped));
        writeln!(output.out, "{}", difference(record, &made))
    })?;
    match fault {
        Some(error) => Err(ReplayError::Script(error).into()),
        None => Ok(stay),
    }
}

/// A dead letter, its reason, and its current events.
fn difference(record: &Record, made: &Remade) -> String {
    let line = |sign: char, event: &[u8]| format!("  {sign} {}\n", printable(event.trim_ascii_end()));
    let before = record.event.as_deref();
    let mut out =
        format!("{}  {} ({})\n", printable(record.id().as_bytes()), record.reason, printable(record.code.as_bytes()));
    match made {
        Remade::Events(events) if events.len() == 1 && before == Some(events[0].1.as_slice()) => {
            out += "  = the same event as before\n";
        }
        Remade::Events(events) => {
            out.extend(before.map(|event| line('-', event)));
            out.extend(events.iter().map(|(_, event)| line('+', event)));
        }
        Remade::Dropped => out += "  dropped by the script\n",
        Remade::Gone => out += &format!("  stays: {}\n", words(&Fate::Gone)),
        Remade::NoDestination(name) => out += &format!("  stays: {}\n", words(&Fate::NoDestination(name.clone()))),
        Remade::Ambiguous => out += &format!("  stays: {}\n", words(&Fate::Ambiguous)),
        Remade::NoScript => out += &format!("  stays: {}\n", words(&Fate::NoScript)),
        Remade::Failed(error) => out += &format!("  stays: {}\n", printable(error.fault.to_string().as_bytes())),
    }
    out
}

fn print_line(out: &mut dyn Write, line: &str) -> Result<(), DlqError> {
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(DlqError::Output)
}
