//! The settings of the destination: which one is meant, and its table.

use std::sync::Arc;

use super::checked::Machine;
use super::hec::{read_hec, read_hec_format};
use super::read::Reader;
use super::syslog::{read_syslog, read_syslog_format};
use crate::destination::Preview;
use crate::destination::file::{Config, FileFormat};
use crate::destination::registry::{DESTINATIONS, DestinationConfig, DestinationKind, DestinationRow};
use crate::pipeline::OnReject;

/// Reads the one destination there is: the table that somebody wrote something into.
pub(super) fn read_destination(
    reader: &mut Reader<'_>,
    machine: &Machine,
    warnings: &mut Vec<String>,
) -> Option<DestinationConfig> {
    let given = given(reader);
    match given[..] {
        [(row, _)] => match row.kind {
            DestinationKind::Hec => read_hec(reader, warnings).map(Box::new).map(DestinationConfig::Hec),
            DestinationKind::Syslog => {
                read_syslog(reader, machine, warnings).map(Box::new).map(DestinationConfig::Syslog)
            }
            DestinationKind::File => read_file(reader).map(DestinationConfig::File),
        },
        [(_, one), (_, other), ..] => {
            reader.two_destinations([one, other]);
            None
        }
        [] => {
            reader.missing(&DESTINATIONS.iter().map(|row| row.needs).collect::<Vec<_>>());
            None
        }
    }
}

/// The kind of destination that the settings are about; where they are about none, the first of the list.
pub(super) fn chosen_kind(reader: &mut Reader<'_>) -> Option<DestinationKind> {
    let given = given(reader);
    match given[..] {
        [] => Some(DESTINATIONS[0].kind),
        [(row, _)] => Some(row.kind),
        [(_, one), (_, other), ..] => {
            reader.two_destinations([one, other]);
            None
        }
    }
}

/// Reads what events look like at a destination, wherever it is.
pub(super) fn read_format(
    kind: DestinationKind,
    reader: &mut Reader<'_>,
    machine: &Machine,
) -> Option<Arc<dyn Preview>> {
    match kind {
        DestinationKind::Hec => Some(Arc::new(read_hec_format(reader))),
        DestinationKind::Syslog => Some(Arc::new(read_syslog_format(reader, machine)?)),
        DestinationKind::File => Some(Arc::new(FileFormat::default())),
    }
}

fn read_file(reader: &mut Reader<'_>) -> Option<Config> {
    reader.demand(&["file.path"]);
    let path = reader.path("file.path");
    let (max_size, keep) = (reader.size("file.max_size"), reader.count("file.keep"));
    let fsync = reader.switch("file.fsync");
    Some(Config {
        path: path?,
        max_size: max_size? as u64,
        keep: u32::try_from(keep?).expect("bounded by the table of settings"),
        fsync: fsync?,
    })
}

/// Reads what becomes of an event that the destination refuses for good. Where there is none yet, or several, that is
/// said by [`read_destination`].
pub(super) fn read_on_reject(reader: &mut Reader<'_>) -> Option<OnReject> {
    let given = given(reader);
    let row = given.last().map_or(&DESTINATIONS[0], |(row, _)| row);
    let Some(name) = row.on_reject else { return Some(OnReject::DeadLetter) };
    Some(match reader.word(name)? {
        "halt" => OnReject::Halt,
        _ => OnReject::DeadLetter,
    })
}

/// The destinations that somebody gave a setting of, each with the first such setting.
fn given(reader: &Reader<'_>) -> Vec<(&'static DestinationRow, &'static str)> {
    DESTINATIONS.iter().filter_map(|row| Some((row, reader.first_given(row.name)?))).collect()
}
