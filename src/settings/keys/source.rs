//! The settings of one source among several: `[[source]]`.

use std::path::PathBuf;

use super::array::Array;
use super::key::Key;
use super::row::{Row, Scope};

/// Each item is a logstore to read.
pub const SOURCES: Array = Array { name: "source", of_type: None, table: "sls" };

/// In the order of the documentation.
pub(super) const KEYS: &[&Row] = &[&NAME.row, &SCRIPT.row];

pub const NAME: Key<String> = Key::text("source.name")
    .scope(Scope::Item)
    .computed("the logstore, after its project and a dot where another source has the same logstore name")
    .means("name of the source in logs, metrics and on the status page: letters, digits, -, _ and .");

pub const SCRIPT: Key<PathBuf> = Key::path("source.script")
    .scope(Scope::Item)
    .computed("script.file")
    .means("the Lua script for the logs of this source");
