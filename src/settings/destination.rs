//! The settings of the destination: which one is meant, and its table.

use std::sync::Arc;

use super::checked::Machine;
use super::hec::{read_hec, read_hec_format};
use super::keys;
use super::keys::Row;
use super::read::Reader;
use super::syslog::{read_syslog, read_syslog_format};
use crate::destination::Preview;
use crate::destination::file::{Config, FileFormat};
use crate::destination::registry::{DESTINATIONS, DestinationConfig, DestinationKind, DestinationRow};
use crate::pipeline::OnReject;

/// Reads the one destination there is: the table that somebody wrote something into.
pub(super) fn read_destination(reader: &mut Reader<'_>, machine: &Machine) -> Option<DestinationConfig> {
    let given = given(reader);
    match given[..] {
        [(row, _)] => match row.kind {
            DestinationKind::Hec => read_hec(reader).map(Box::new).map(DestinationConfig::Hec),
            DestinationKind::Syslog => read_syslog(reader, machine).map(Box::new).map(DestinationConfig::Syslog),
            DestinationKind::File => read_file(reader).map(DestinationConfig::File),
        },
        [(_, one), (_, other), ..] => {
            reader.two_destinations([one, other]);
            None
        }
        [] => {
            let needs = DESTINATIONS.iter().map(|row| keys::find(row.needs).expect("the registry names settings"));
            reader.missing(&needs.collect::<Vec<_>>());
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
    reader.demand(&[&keys::file::PATH.row]);
    let path = reader.get(&keys::file::PATH);
    let (max_size, keep) = (reader.get(&keys::file::MAX_SIZE), reader.get(&keys::file::KEEP));
    let fsync = reader.get(&keys::file::FSYNC);
    Some(Config { path: path?, max_size: max_size? as u64, keep: keep?, fsync: fsync? })
}

/// Reads what becomes of an event that the destination refuses for good. Where there is none yet, or several, that is
/// said by [`read_destination`].
pub(super) fn read_on_reject(reader: &mut Reader<'_>) -> Option<OnReject> {
    let given = given(reader);
    let key = match given.last().map_or(DESTINATIONS[0].kind, |(row, _)| row.kind) {
        DestinationKind::Hec => &keys::hec::ON_REJECT,
        DestinationKind::Syslog => &keys::syslog::ON_REJECT,
        // It refuses no event.
        DestinationKind::File => return Some(OnReject::DeadLetter),
    };
    reader.get(key)
}

/// The destinations that somebody gave a setting of, each with the first such setting.
fn given(reader: &Reader<'_>) -> Vec<(&'static DestinationRow, &'static Row)> {
    DESTINATIONS.iter().filter_map(|row| Some((row, reader.first_given(row.name)?))).collect()
}
