//! `forwarder dlq`: looks into the dead letters, and delivers them after all. Works beside a running forwarder.

pub mod replay;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use clap::{Args, Subcommand};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, civil};

use super::run::{CUT_SHORT, USAGE, end, sources};
use crate::app::replay::ReplayError;
use crate::dead_letter::{Letter, ReadError, Reader, Reason, Record, TakeError, directories, is_unprintable, was_used};
use crate::settings;

/// Look into the dead letters, what could not be delivered and why, and deliver them after all
#[derive(Debug, Args)]
pub struct Dlq {
    /// Directory of the dead letters [default: the one in the settings]
    #[arg(long, global = true, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Settings file (TOML) that names the directory [env: FORWARDER_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with them.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Look into them.
    #[command(flatten)]
    Look(Look),
    /// Deliver them after all, through the script as it is now
    ///
    /// Those that are delivered, or that the script now drops, leave the dead letters once that is certain; the others
    /// stay. A replay that is cut short has noted what it delivered: the same command goes on with the rest.
    Replay(replay::Replay),
}

/// How to look into them. It changes nothing.
#[derive(Debug, Subcommand)]
pub enum Look {
    /// List them, as they were written, with totals by reason
    List(List),
    /// Show one with everything that is known about it
    Show(Show),
}

/// Which ones to list, and how.
#[derive(Debug, Default, Args)]
pub struct List {
    /// Print the records as they are in the file, one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Which ones.
    #[command(flatten)]
    pub filter: Filter,
}

/// Which letters.
#[derive(Debug, Default, Args)]
pub struct Filter {
    /// Only for these reasons
    #[arg(long, value_name = "REASON", value_delimiter = ',')]
    pub reason: Vec<Reason>,
    /// Only of these shards
    #[arg(long, value_name = "SHARD", value_delimiter = ',')]
    pub shard: Vec<u32>,
    /// Only since then: 2026-02-03T04:05:06Z, 2026-02-03 (local time), or 90m, 2h, 3d (ago)
    #[arg(long, value_name = "TIME")]
    pub since: Option<Since>,
}

/// Which one to show, and how.
#[derive(Debug, Args)]
pub struct Show {
    /// Its id, as in the list
    pub id: String,
    /// Print the record as it is in the file
    #[arg(long)]
    pub json: bool,
}

/// A moment, or a distance back from now.
#[derive(Debug, Clone)]
pub enum Since {
    /// At this time.
    At(Timestamp),
    /// So long ago.
    Ago(Span),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum DlqError {
    /// There is nothing to read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// No letter has this id.
    #[error("no dead letter in {} has the id {id}: `forwarder dlq list` shows the ids", dir.display())]
    Unknown {
        /// The directory.
        dir: PathBuf,
        /// The id, printable.
        id: String,
    },
    /// A replay of nobody said which.
    #[error("say which dead letters to deliver: their ids, --reason, --shard or --since, or --all of them")]
    NothingChosen,
    /// They cannot be taken for a replay.
    #[error(transparent)]
    Take(#[from] TakeError),
    /// A replay ended early.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The answer cannot be written.
    #[error("cannot write the answer: {0}")]
    Output(io::Error),
}

impl DlqError {
    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Read(ReadError::Denied { .. }) => 77,
            Self::Replay(ReplayError::Stopped) => CUT_SHORT,
            Self::Read(_) | Self::Unknown { .. } | Self::NothingChosen | Self::Replay(ReplayError::Script(_)) => USAGE,
            Self::Take(_) | Self::Replay(_) | Self::Output(_) => 1,
        }
    }
}

/// Where the answer goes.
pub struct Output<'a> {
    /// The answer itself.
    pub out: &'a mut dyn Write,
    /// What is wrong with the file, a line each.
    pub notes: &'a mut dyn Write,
    /// Columns of the terminal; without it lines are not cut.
    pub width: Option<usize>,
}

/// Answers on standard output; returns the exit code.
pub(crate) fn main(args: &Dlq) -> ExitCode {
    let (config, environment) = sources(args.config.as_deref());
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => match settings::dead_letters_dir(config.as_deref(), &environment) {
            Ok(dir) => dir,
            Err(error) => return end(&error.to_string(), USAGE),
        },
    };
    // In a message, `dead-letters` alone would not say where.
    let dir = std::path::absolute(&dir).unwrap_or(dir);
    let look = match &args.action {
        Action::Look(look) => look,
        Action::Replay(replay) => return replay::main(replay, (config.as_deref(), &environment), &dir),
    };
    let (out, notes) = (&mut io::BufWriter::new(io::stdout()), &mut io::stderr());
    let output = Output { out, notes, width: terminal_width() };
    match run(look, &dir, Timestamp::now(), output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => end(&error.to_string(), error.exit_code()),
    }
}

/// Answers about the letters in `dir`; `now` is for `--since`. Whoever stops reading the answer early, like `head`, gets no error.
///
/// # Errors
/// [`DlqError`]: nothing can be read, or nothing has the id.
pub fn run(look: &Look, dir: &Path, now: Timestamp, mut output: Output<'_>) -> Result<(), DlqError> {
    let outcome = match look {
        Look::List(list) => print_list(list, dir, now, &mut output),
        Look::Show(show) => print_one(show, dir, &mut output),
    };
    match outcome.and_then(|()| output.out.flush().map_err(DlqError::Output)) {
        Err(DlqError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// Columns of the terminal that standard output is, if it is one.
#[must_use]
pub fn terminal_width() -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ fills the one winsize that it is given, and `size` outlives the call.
    let answer = unsafe { libc::ioctl(io::stdout().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (answer == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        if let Ok(naive) = text.parse::<civil::DateTime>() {
            return naive
                .to_zoned(TimeZone::system())
                .map(|at| Self::At(at.timestamp()))
                .map_err(|error| error.to_string());
        }
        let span = text.parse::<Span>().map_err(|_| {
            "neither a time like 2026-02-03T04:05:06Z or 2026-02-03, nor a distance back like 90m, 2h or 3d".to_owned()
        })?;
        Ok(Self::Ago(span.abs()))
    }
}

impl Since {
    fn timestamp(&self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => *at,
            Self::Ago(span) => {
                // Further back than time goes is as good as no limit.
                let then = now.to_zoned(TimeZone::system()).checked_sub(*span);
                then.map_or(Timestamp::MIN, |then| then.timestamp())
            }
        }
    }
}

impl Filter {
    fn is_given(&self) -> bool {
        !self.reason.is_empty() || !self.shard.is_empty() || self.since.is_some()
    }

    fn wants(&self, record: &Record, since: Option<Timestamp>) -> bool {
        (self.reason.is_empty() || self.reason.contains(&record.reason))
            && (self.shard.is_empty() || self.shard.contains(&record.origin.shard.0))
            && since.is_none_or(|since| record.at >= since)
    }
}

fn print_list(list: &List, dir: &Path, now: Timestamp, output: &mut Output<'_>) -> Result<(), DlqError> {
    let since = list.filter.since.as_ref().map(|since| since.timestamp(now));
    let mut totals = BTreeMap::<Reason, u64>::new();
    let (mut shown, mut all) = (0_u64, 0_u64);
    let skipped = for_each(dir, output, |letter, output| {
        all += 1;
        if !list.filter.wants(&letter.record, since) {
            return Ok(());
        }
        if list.json {
            return writeln!(output.out, "{}", letter.line);
        }
        if shown == 0 {
            writeln!(output.out, "{}", row(&HEADER, output.width))?;
        }
        shown += 1;
        *totals.entry(letter.record.reason).or_default() += 1;
        writeln!(output.out, "{}", row(&columns(&letter.record), output.width))
    })?;
    if list.json {
        return Ok(());
    }
    let plural = if all == 1 { "" } else { "s" };
    match (shown, all) {
        (_, 0) if skipped > 0 => writeln!(output.out, "no dead letter in {} can be read", dir.display()),
        (_, 0) if was_used(dir) => writeln!(output.out, "no dead letters in {}", dir.display()),
        (_, 0) => writeln!(output.out, "no dead letters in {}, and no forwarder has kept any there", dir.display()),
        (0, _) => writeln!(output.out, "none of the {all} dead letter{plural} in {} matches", dir.display()),
        _ => {
            let totals =
                totals.iter().map(|(reason, count)| format!("{reason} {count}")).collect::<Vec<_>>().join(", ");
            let part = if shown == all { String::new() } else { format!("{shown} of ") };
            let unreadable = if skipped == 0 { String::new() } else { format!("; {skipped} could not be read") };
            writeln!(output.out, "\n{part}{all} dead letter{plural}: {totals}{unreadable}")
        }
    }
    .map_err(DlqError::Output)
}

fn print_one(show: &Show, dir: &Path, output: &mut Output<'_>) -> Result<(), DlqError> {
    let mut shown = 0_u64;
    for_each(dir, output, |letter, output| {
        if letter.record.id() != show.id {
            return Ok(());
        }
        shown += 1;
        if show.json {
            return writeln!(output.out, "{}", letter.line);
        }
        if shown > 1 {
            writeln!(output.out)?;
        }
        write!(output.out, "{}", page(&letter.record))
    })?;
    if shown == 0 {
        return Err(DlqError::Unknown { dir: dir.to_owned(), id: printable(show.id.as_bytes()) });
    }
    Ok(())
}

/// Hands every letter of every forwarder that keeps some here to `print`, and notes what is none; how much of that there is.
fn for_each(
    dir: &Path,
    output: &mut Output<'_>,
    mut print: impl FnMut(&Letter, &mut Output<'_>) -> io::Result<()>,
) -> Result<u64, DlqError> {
    let mut skipped = 0;
    for dir in directories(dir) {
        for found in Reader::open(&dir)? {
            skipped += u64::from(found.is_err());
            match found {
                Ok(letter) => print(&letter, output),
                Err(unreadable) => writeln!(output.notes, "skipped: {unreadable}"),
            }
            .map_err(DlqError::Output)?;
        }
    }
    Ok(skipped)
}

/// The columns of the list with their least widths. What is wider pushes its line to the right, and is never cut: ids,
/// codes and cursors are there to be copied.
const WIDTHS: [usize; 6] = [26, 20, 14, 10, 5, 28];
const HEADER: [&str; 7] = ["ID", "AT", "REASON", "CODE", "SHARD", "CURSOR", "MESSAGE"];

/// Least room for the message in its line. Where there is less it gets a line of its own, and shard and cursor go: the
/// id holds both.
const LEAST_MESSAGE: usize = 24;

fn columns(record: &Record) -> [String; 7] {
    [
        printable(record.id().as_bytes()),
        format!("{:.0}", record.at),
        record.reason.to_string(),
        printable(record.code.as_bytes()),
        record.origin.shard.to_string(),
        printable(record.origin.cursor.as_str().as_bytes()),
        printable(record.message.as_bytes()),
    ]
}

fn row(columns: &[impl AsRef<str>; 7], width: Option<usize>) -> String {
    let line = |count: usize| -> String {
        columns.iter().zip(WIDTHS).take(count).map(|(text, least)| pad(text.as_ref(), least) + "  ").collect()
    };
    let message = columns[6].as_ref();
    let full = WIDTHS.iter().map(|least| least + 2).sum::<usize>() + LEAST_MESSAGE;
    match width {
        None => line(6) + message,
        Some(width) if width >= full => fit(line(6) + message, width),
        Some(width) => {
            format!("{}\n{}", fit(line(4).trim_end().to_owned(), width), fit(format!("    {message}"), width))
        }
    }
}

/// A text with blanks behind it, up to so many columns.
pub(crate) fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(cells(text))))
}

/// Cuts a line to the columns of a terminal.
fn fit(line: String, width: usize) -> String {
    if cells(&line) <= width {
        return line;
    }
    let mut used = 0;
    let end = line.char_indices().find_map(|(at, c)| {
        used += cell(c);
        (used >= width).then_some(at)
    });
    format!("{}…", line[..end.unwrap_or(line.len())].trim_end())
}

pub(crate) fn cells(text: &str) -> usize {
    text.chars().map(cell).sum()
}

/// Columns that a character takes: two for the scripts and pictures of East Asia (the wide blocks of Unicode's UAX 11).
pub(crate) fn cell(c: char) -> usize {
    let wide = matches!(u32::from(c),
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60
        | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd);
    if wide { 2 } else { 1 }
}

/// Everything about one letter.
fn page(record: &Record) -> String {
    let origin = &record.origin;
    let mut head = vec![
        ("id", record.id()),
        ("at", record.at.to_string()),
        ("reason", record.reason.to_string()),
        ("code", record.code.clone()),
        ("message", record.message.clone()),
        ("project", origin.project.clone()),
        ("logstore", origin.logstore.clone()),
        ("shard", origin.shard.to_string()),
        ("cursor", origin.cursor.to_string()),
        ("log", format!("{} after the cursor, counted from 0", origin.log)),
    ];
    if let Some(event) = origin.event {
        head.push(("event", format!("{event} of the log, counted from 0")));
    }
    head.push(("script", record.script.clone()));
    let head = head.iter().map(|(name, text)| ((*name).to_owned(), printable(text.as_bytes())));
    let log = record.log.iter().map(|(key, value)| (printable(key), printable(value)));
    let event = match &record.event {
        Some(event) => format!("  {}\n", printable(event)),
        None => "  none was made\n".to_owned(),
    };
    format!("{}\nlog\n{}\nevent\n{event}", table(head, ""), table(log, "  "))
}

/// Names and texts, a line each, with the texts below each other.
fn table(rows: impl Iterator<Item = (String, String)>, indent: &str) -> String {
    let rows: Vec<_> = rows.collect();
    // One endless name shall not push all texts out of sight.
    let widest = rows.iter().map(|(name, _)| cells(name)).filter(|width| *width <= 32).max().unwrap_or(0);
    rows.iter()
        .map(|(name, text)| {
            let gap = if cells(name) > widest { "  " } else { "" };
            format!("{}\n", format!("{indent}{}{gap}{text}", pad(name, widest + 2)).trim_end())
        })
        .collect()
}

/// Bytes as text that does nothing to a terminal. For people: `--json` gives the exact bytes.
fn printable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_unprintable(c) {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
        }
        out.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    out
}
