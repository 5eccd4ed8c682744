//! `forwarder dlq list` and `show`: shows dead letters as a table, or one of them in full.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::filter::Filter;
use super::ids::resolve;
use super::output::{DlqError, Output, for_each};
use crate::cli::terminal::{cells, fit, pad};
use crate::core::count::count;
use crate::core::destination_name::DestinationName;
use crate::core::printable::printable;
use crate::dead_letter::{Reason, Record, was_used};

/// Commands that only read.
#[derive(Debug, Subcommand)]
pub enum Look {
    /// List them in the order in which they were written, with totals by reason
    List(List),
    /// Show one with all details
    Show(Show),
}

/// Options of `list`.
#[derive(Debug, Default, Args)]
pub struct List {
    /// Print the records as they are in the file, one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Which dead letters.
    #[command(flatten)]
    pub filter: Filter,
}

/// Options of `show`.
#[derive(Debug, Args)]
pub struct Show {
    /// Its id, as in the list
    pub id: String,
    /// Print the record as it is in the file
    #[arg(long)]
    pub json: bool,
}

/// Prints the dead letters in `dir`; `now` is for `--since`. A reader that stops early, like `head`, causes no error.
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

fn print_list(list: &List, dir: &Path, now: Timestamp, output: &mut Output<'_>) -> Result<(), DlqError> {
    let since = list.filter.since.as_ref().map(|since| since.timestamp(now));
    let mut totals = BTreeMap::<Reason, u64>::new();
    let mut destinations = BTreeMap::<DestinationName, u64>::new();
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
        if let Some(name) = &letter.record.destination {
            *destinations.entry(name.clone()).or_default() += 1;
        }
        writeln!(output.out, "{}", row(&columns(&letter.record), output.width))
    })?;
    if list.json {
        return Ok(());
    }
    let letters = count(all, "dead letter");
    match (shown, all) {
        (_, 0) if skipped > 0 => writeln!(output.out, "no dead letter in {} can be read", dir.display()),
        (_, 0) if was_used(dir) => writeln!(output.out, "no dead letters in {}", dir.display()),
        (_, 0) => writeln!(output.out, "no dead letters in {}, and no forwarder has written any there", dir.display()),
        (0, _) => writeln!(output.out, "none of the {letters} in {} matches", dir.display()),
        _ => {
            let totals =
                totals.iter().map(|(reason, count)| format!("{reason} {count}")).collect::<Vec<_>>().join(", ");
            let part = if shown == all { String::new() } else { format!("{shown} of ") };
            let unreadable = if skipped == 0 { String::new() } else { format!("; {skipped} could not be read") };
            let named = match destinations.len() {
                0 | 1 => String::new(),
                _ => {
                    let each = destinations.iter().map(|(name, count)| format!("{name} {count}"));
                    format!("; by destination: {}", each.collect::<Vec<_>>().join(", "))
                }
            };
            writeln!(output.out, "\n{part}{letters}: {totals}{named}{unreadable}")
        }
    }
    .map_err(DlqError::Output)
}

fn print_one(show: &Show, dir: &Path, output: &mut Output<'_>) -> Result<(), DlqError> {
    let ids = resolve(dir, std::slice::from_ref(&show.id), output.notes)?;
    let mut shown = 0_u64;
    for_each(dir, output, |letter, output| {
        if !ids.contains(&letter.record.id()) {
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
    Ok(())
}

/// The columns of the list with their minimum widths. Wider text shifts its line to the right, and is never cut,
/// because ids and codes are meant to be copied. The id contains the logstore, the shard and the cursor.
const WIDTHS: [usize; 4] = [48, 20, 14, 10];
const HEADER: [&str; 5] = ["ID", "AT", "REASON", "CODE", "MESSAGE"];

/// Minimum width of the message. With less room it gets its own line.
const MIN_MESSAGE: usize = 24;

fn columns(record: &Record) -> [String; 5] {
    [
        printable(record.id().as_bytes()),
        format!("{:.0}", record.at),
        record.reason.to_string(),
        printable(record.code.as_bytes()),
        printable(record.message.as_bytes()),
    ]
}

fn row(columns: &[impl AsRef<str>; 5], width: Option<usize>) -> String {
    let line: String = columns.iter().zip(WIDTHS).map(|(text, least)| pad(text.as_ref(), least) + "  ").collect();
    let message = columns[4].as_ref();
    let full = WIDTHS.iter().map(|least| least + 2).sum::<usize>() + MIN_MESSAGE;
    match width {
        None => line + message,
        Some(width) if width >= full => fit(&(line + message), width),
        Some(width) => {
            format!("{}\n{}", fit(line.trim_end(), width), fit(&format!("    {message}"), width))
        }
    }
}

/// All details of one dead letter.
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
    if let Some(name) = &record.destination {
        head.push(("destination", name.to_string()));
    }
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

/// Names and texts, one line each, with the texts aligned.
fn table(rows: impl Iterator<Item = (String, String)>, indent: &str) -> String {
    let rows: Vec<_> = rows.collect();
    // A very long name must not shift all texts.
    let widest = rows.iter().map(|(name, _)| cells(name)).filter(|width| *width <= 32).max().unwrap_or(0);
    rows.iter()
        .map(|(name, text)| {
            let gap = if cells(name) > widest { "  " } else { "" };
            format!("{}\n", format!("{indent}{}{gap}{text}", pad(name, widest + 2)).trim_end())
        })
        .collect()
}
