//! The settings of the destinations: which ones are meant, and the table of each.

use std::sync::Arc;

use super::checked::{DestinationSettings, Machine};
use super::hec::{read_hec, read_hec_format};
use super::keys;
use super::keys::{Key, Row};
use super::problem::Complaint;
use super::read::Reader;
use super::syslog::{read_syslog, read_syslog_format};
use crate::core::destination_name::DestinationName;
use crate::destination::Preview;
use crate::destination::file::{Config, FileFormat};
use crate::destination::registry::DestinationConfig;
use crate::pipeline::OnReject;

/// How the settings of a kind of destination are read.
struct Kind {
    /// Its table in the settings file, and the name of the destination that stands there.
    table: &'static str,
    /// The setting that it cannot do without.
    needs: &'static Row,
    /// How to reach it.
    read: fn(&mut Reader<'_>, &Machine) -> Option<DestinationConfig>,
    /// What events look like there, wherever it is.
    format: fn(&mut Reader<'_>, &Machine) -> Option<Arc<dyn Preview>>,
    /// What becomes of an event that it refuses for good; none for one that refuses no event.
    on_reject: Option<&'static Key<OnReject>>,
}

/// Every kind of destination. The first is the one that is meant where nothing else is said.
static KINDS: [Kind; 3] = [
    Kind {
        table: "hec",
        needs: &keys::hec::URL.row,
        read: |reader, _| read_hec(reader).map(Box::new).map(DestinationConfig::Hec),
        format: |reader, _| Some(Arc::new(read_hec_format(reader))),
        on_reject: Some(&keys::hec::ON_REJECT),
    },
    Kind {
        table: "syslog",
        needs: &keys::syslog::HOST.row,
        read: |reader, machine| read_syslog(reader, machine).map(Box::new).map(DestinationConfig::Syslog),
        format: |reader, machine| Some(Arc::new(read_syslog_format(reader, machine)?)),
        on_reject: Some(&keys::syslog::ON_REJECT),
    },
    Kind {
        table: "file",
        needs: &keys::file::PATH.row,
        read: |reader, _| read_file(reader).map(DestinationConfig::File),
        format: |_, _| Some(Arc::new(FileFormat::default())),
        on_reject: None,
    },
];

/// Reads every destination there is: the tables that somebody wrote something into.
pub(super) fn read_destinations(reader: &mut Reader<'_>, machine: &Machine) -> Option<Vec<DestinationSettings>> {
    let given = given(reader);
    if given.is_empty() {
        reader.missing(&KINDS.each_ref().map(|kind| kind.needs));
        return None;
    }
    // All are read before any is given up, so that every problem is said.
    let read: Vec<_> = given.iter().map(|kind| kind.read(reader, machine)).collect();
    read.into_iter().collect()
}

/// Reads what events look like at the destination `to`, or at all there are, and at the first kind where there is none.
pub(super) fn read_formats(
    to: Option<&str>,
    reader: &mut Reader<'_>,
    machine: &Machine,
) -> Option<Vec<(DestinationName, Arc<dyn Preview>)>> {
    let chosen = match to {
        Some(to) => match KINDS.iter().find(|kind| kind.table == to) {
            Some(kind) => vec![kind],
            None => {
                let known = KINDS.each_ref().map(|kind| kind.table).join(", ");
                reader.complain_at(
                    "--to",
                    Complaint::new(format!("no destination is called {to:?}"), format!("write one of {known}")),
                );
                return None;
            }
        },
        None => Some(given(reader)).filter(|given| !given.is_empty()).unwrap_or_else(|| vec![&KINDS[0]]),
    };
    let read: Vec<_> = chosen.iter().map(|kind| Some((kind.name(), (kind.format)(reader, machine)?))).collect();
    read.into_iter().collect()
}

impl Kind {
    fn read(&self, reader: &mut Reader<'_>, machine: &Machine) -> Option<DestinationSettings> {
        let config = (self.read)(reader, machine);
        let on_reject = self.on_reject.map_or(Some(OnReject::DeadLetter), |key| reader.get(key));
        Some(DestinationSettings { name: self.name(), config: config?, on_reject: on_reject? })
    }

    fn name(&self) -> DestinationName {
        DestinationName::new(self.table).expect("the name of a table is a name")
    }
}

fn read_file(reader: &mut Reader<'_>) -> Option<Config> {
    reader.demand(&[&keys::file::PATH.row]);
    let path = reader.get(&keys::file::PATH);
    let (max_size, keep) = (reader.get(&keys::file::MAX_SIZE), reader.get(&keys::file::KEEP));
    let fsync = reader.get(&keys::file::FSYNC);
    Some(Config { path: path?, max_size: max_size? as u64, keep: keep?, fsync: fsync? })
}

/// The kinds of destination that somebody gave a setting of.
fn given(reader: &Reader<'_>) -> Vec<&'static Kind> {
    KINDS.iter().filter(|kind| reader.first_given(kind.table).is_some()).collect()
}
