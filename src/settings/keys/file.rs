//! The settings of the file destination: `[file]`.

use std::path::PathBuf;

use super::key::{GIB, Key, MB};
use super::row::Row;

/// In the order of the documentation.
pub(super) const KEYS: &[&Row] = &[&PATH.row, &MAX_SIZE.row, &KEEP.row, &FSYNC.row, &ISOLATE.row];

pub const PATH: Key<PathBuf> =
    Key::path("file.path").means("file to write events to, one JSON object per line; its directory must exist");

pub const MAX_SIZE: Key<usize> = Key::size("file.max_size", MB, 1024 * GIB)
    .default("100MB")
    .means("maximum size of the file: when it is full it becomes PATH.1, and PATH.1 becomes PATH.2");

pub const KEEP: Key<u32> = Key::count("file.keep", 1, 10_000)
    .default("10")
    .means("number of full files to keep; older ones are removed, so move the ones that you need in time");

pub const FSYNC: Key<bool> = Key::switch("file.fsync")
    .default("true")
    .means("count events as delivered only once they are on the disk; without it a power cut can lose the last ones");

pub const ISOLATE: Key<bool> = Key::switch("file.isolate").default("false").means(
    "let the other destinations continue while this one is down: missed events are written as dead letters and replayed when it is back",
);
