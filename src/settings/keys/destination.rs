//! The settings of one destination among several: `[[destination]]`.

use super::array::Array;
use super::key::Key;
use super::row::{Row, Scope};

const fn of_type(of_type: &'static str) -> Array {
    Array { name: "destination", of_type: Some(of_type), table: of_type }
}

/// Each item is a destination; its type says which table of keys it takes.
pub const DESTINATIONS: [&Array; 3] = {
    const HEC: Array = of_type("hec");
    const SYSLOG: Array = of_type("syslog");
    const FILE: Array = of_type("file");
    [&HEC, &SYSLOG, &FILE]
};

/// In the order of the documentation.
pub(super) const KEYS: &[&Row] = &[&NAME.row, &TYPE.row];

pub const NAME: Key<String> = Key::text("destination.name")
    .scope(Scope::Item)
    .computed("the type")
    .means("name of the destination in scripts (`to`), logs, metrics and dead letters: letters, digits, - and _");

pub const TYPE: Key<String> = Key::text("destination.type")
    .scope(Scope::Item)
    .required()
    .means("hec, syslog or file: the item takes the keys of that table");
