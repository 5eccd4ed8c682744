//! The settings of the destinations: which ones are configured, and the table of each.

use std::sync::Arc;

use super::checked::{DestinationSettings, Machine};
use super::hec::{read_hec, read_hec_format};
use super::keys;
use super::keys::destination::DESTINATIONS;
use super::keys::{Key, Row};
use super::own_file::refuse_shared;
use super::problem::Complaint;
use super::read::{NamedPath, Reader};
use super::syslog::{read_syslog, read_syslog_format};
use super::typed::Item;
use crate::core::destination_name::DestinationName;
use crate::destination::Preview;
use crate::destination::file::{Config, FileFormat};
use crate::destination::registry::DestinationConfig;
use crate::pipeline::OnReject;

const TABLE_NAME: &str = "the name of a table is a name";

/// How to read the settings of a type of destination.
struct Kind {
    /// Its table in the settings file, which is also the default name.
    table: &'static str,
    /// The alternative settings of its address, of which one is required.
    address: &'static [&'static Row],
    /// Reads the settings of its connection.
    read: fn(&mut Reader<'_>, &Machine) -> Option<DestinationConfig>,
    /// Reads its format, without its address.
    format: fn(&mut Reader<'_>, &Machine) -> Option<Arc<dyn Preview>>,
    /// What to do with an event that it refuses for good; `None` if it never refuses events.
    on_reject: Option<&'static Key<OnReject>>,
    /// Whether the others continue while it is down.
    isolate: &'static Key<bool>,
}

/// Every type of destination. The first is the default.
static KINDS: [Kind; 3] = [
    Kind {
        table: "hec",
        address: &[&keys::hec::URL.row, &keys::hec::HOST.row],
        read: |reader, _| read_hec(reader).map(Box::new).map(DestinationConfig::Hec),
        format: |reader, _| Some(Arc::new(read_hec_format(reader))),
        on_reject: Some(&keys::hec::ON_REJECT),
        isolate: &keys::hec::ISOLATE,
    },
    Kind {
        table: "syslog",
        address: &[&keys::syslog::HOST.row],
        read: |reader, machine| read_syslog(reader, machine).map(Box::new).map(DestinationConfig::Syslog),
        format: |reader, machine| Some(Arc::new(read_syslog_format(reader, machine)?)),
        on_reject: Some(&keys::syslog::ON_REJECT),
        isolate: &keys::syslog::ISOLATE,
    },
    Kind {
        table: "file",
        address: &[&keys::file::PATH.row],
        read: |reader, _| read_file(reader).map(DestinationConfig::File),
        format: |_, _| Some(Arc::new(FileFormat::default())),
        on_reject: None,
        isolate: &keys::file::ISOLATE,
    },
];

/// Reads every destination: each item of `[[destination]]`, and each table with a value that is not only a default
/// for items of its type.
pub(super) fn read_destinations(reader: &mut Reader<'_>, machine: &Machine) -> Option<Vec<DestinationSettings>> {
    let found = find(reader)?;
    if found.is_empty() {
        reader.missing(&KINDS.each_ref().map(|kind| kind.address[0]));
        return None;
    }
    refuse_unused_addresses(reader, &found);
    let files: Vec<NamedPath> = found.iter().filter_map(|one| one.file(reader)).collect();
    refuse_shared(reader, &files);
    // All are read, so that every problem is reported.
    let is_alone = found.len() == 1;
    let read: Vec<_> = found.iter().map(|one| one.read(reader, machine, is_alone)).collect();
    read.into_iter().collect()
}

/// Refuses the address of a table that no destination uses.
fn refuse_unused_addresses<'a>(reader: &mut Reader<'a>, found: &[Found<'a>]) {
    for kind in &KINDS {
        let items: Vec<&Item> =
            found.iter().filter(|one| one.kind.table == kind.table).filter_map(|one| one.item).collect();
        reader.refuse_unused(&items, kind.address);
    }
}

/// Reads the format of the destination `to`, or of all destinations, or of the default type if there is none.
pub(super) fn read_formats(
    to: Option<&str>,
    reader: &mut Reader<'_>,
    machine: &Machine,
) -> Option<Vec<(DestinationName, Arc<dyn Preview>)>> {
    let mut found = find(reader)?;
    refuse_unused_addresses(reader, &found);
    let by_table = |table: &str| KINDS.iter().find(|kind| kind.table == table).map(Found::table);
    if let Some(to) = to {
        let of_name = found.iter().position(|one| one.name.as_str() == to).map(|at| found.swap_remove(at));
        let Some(one) = of_name.or_else(|| by_table(to)) else {
            let known: Vec<_> =
                found.iter().map(|one| one.name.as_str()).chain(KINDS.each_ref().map(|kind| kind.table)).collect();
            let complaint = Complaint::new(
                format!("no destination is called {to:?}"),
                format!("write one of {}", known.join(", ")),
            );
            reader.complain_at("--to", complaint);
            return None;
        };
        found = vec![one];
    } else if found.is_empty() {
        found = vec![Found::table(&KINDS[0])];
    }
    let read: Vec<_> = found.iter().map(|one| Some((one.name.clone(), one.format(reader, machine)?))).collect();
    read.into_iter().collect()
}

/// A configured destination.
struct Found<'a> {
    name: DestinationName,
    kind: &'static Kind,
    /// Its item; `None` if it is the table of its type.
    item: Option<&'a Item>,
}

/// The configured destinations: tables first, then items, each in order. `None` if two have the same name.
fn find<'a>(reader: &mut Reader<'a>) -> Option<Vec<Found<'a>>> {
    let items: Vec<&Item> = reader.items(DESTINATIONS[0]).collect();
    let has_items = |kind: &Kind| items.iter().any(|item| item.array.table == kind.table);
    let tables = KINDS.iter().filter(|kind| !has_items(kind) && reader.first_given(kind.table).is_some());
    let mut found: Vec<Found<'a>> = tables.map(Found::table).collect();
    let mut is_good = true;
    for item in items {
        let kind = KINDS.iter().find(|kind| kind.table == item.array.table).expect("each type of item has a row");
        let Some(name) = reader.within(item, |reader| kind.name_of_item(reader)) else {
            is_good = false;
            continue;
        };
        if let Some(other) = found.iter().find(|other| other.name == name) {
            let complaint =
                Complaint::new(format!("two destinations are called {name}"), "give each a name of its own");
            match other.item {
                Some(other) => reader.complain_of_items([other, item], complaint),
                None => {
                    reader.complain_at(&format!("[{}], {} ({})", other.kind.table, item.label, item.place), complaint)
                }
            }
            is_good = false;
        }
        found.push(Found { name, kind, item: Some(item) });
    }
    is_good.then_some(found)
}

impl<'a> Found<'a> {
    /// The table of a type.
    fn table(kind: &'static Kind) -> Self {
        let name = DestinationName::new(kind.table).expect(TABLE_NAME);
        Self { name, kind, item: None }
    }

    fn read(&self, reader: &mut Reader<'a>, machine: &Machine, is_alone: bool) -> Option<DestinationSettings> {
        let kind = self.kind;
        self.within(reader, |reader, name| {
            let config = (kind.read)(reader, machine);
            let on_reject = kind.on_reject.map_or(Some(OnReject::DeadLetter), |key| reader.get(key));
            let isolate = reader.get(kind.isolate);
            if is_alone && isolate == Some(true) {
                let what =
                    format!("{} is true, and there is no other destination that could continue", kind.isolate.row.name);
                let fix = "leave it out: logs wait in SLS while the only destination is down";
                reader.complain(&kind.isolate.row, Complaint::new(what, fix));
            }
            Some(DestinationSettings { name, config: config?, on_reject: on_reject?, isolate: isolate? })
        })
    }

    fn format(&self, reader: &mut Reader<'a>, machine: &Machine) -> Option<Arc<dyn Preview>> {
        let kind = self.kind;
        self.within(reader, |reader, _| (kind.format)(reader, machine))
    }

    /// The file that it writes to, if it is one.
    fn file(&self, reader: &mut Reader<'a>) -> Option<NamedPath> {
        let path = &keys::file::PATH;
        if self.kind.table != "file" {
            return None;
        }
        self.within(reader, |reader, name| {
            let name = format!("destination {name}");
            Some(NamedPath { name, place: reader.origin(&path.row), path: reader.get(path)? })
        })
    }

    fn within<T>(&self, reader: &mut Reader<'a>, read: impl FnOnce(&mut Reader<'a>, DestinationName) -> T) -> T {
        match self.item {
            Some(item) => reader.within(item, |reader| read(reader, self.name.clone())),
            None => read(reader, self.name.clone()),
        }
    }
}

impl Kind {
    /// The name of an item: its name, or its type.
    fn name_of_item(&self, reader: &mut Reader<'_>) -> Option<DestinationName> {
        if !reader.is_given(&keys::destination::NAME.row) {
            return Some(DestinationName::new(self.table).expect(TABLE_NAME));
        }
        reader.parse(&keys::destination::NAME, |text| {
            DestinationName::new(&text)
                .map_err(|bad| Complaint::new(format!("{text:?} is not a name for a destination"), bad.to_string()))
        })
    }
}

fn read_file(reader: &mut Reader<'_>) -> Option<Config> {
    reader.demand(&[&keys::file::PATH.row]);
    let path = reader.get(&keys::file::PATH);
    let (max_size, keep) = (reader.get(&keys::file::MAX_SIZE), reader.get(&keys::file::KEEP));
    let fsync = reader.get(&keys::file::FSYNC);
    Some(Config { path: path?, max_size: max_size? as u64, keep: keep?, fsync: fsync? })
}
