//! The settings of a file as destination: `[file]`.

use std::path::PathBuf;

use super::key::{GIB, Key, MIB};
use super::row::Row;

/// In the order of the documentation.
pub(super) const KEYS: &[&Row] = &[&PATH.row, &MAX_SIZE.row, &KEEP.row, &FSYNC.row];

pub const PATH: Key<PathBuf> =
    Key::path("file.path").means("file to write events to, one JSON object a line; its directory has to be there");

pub const MAX_SIZE: Key<usize> = Key::size("file.max_size", MIB, 1024 * GIB)
    .default("100MB")
    .means("most bytes of the file: when it is full it becomes PATH.1, and PATH.1 becomes PATH.2");

pub const KEEP: Key<u32> = Key::count("file.keep", 1, 10_000)
    .default("10")
    .means("full files that are kept; an older one is removed, so take away before what you want to keep");

pub const FSYNC: Key<bool> = Key::switch("file.fsync")
    .default("true")
    .means("events count as delivered once the disk has them; without it a power cut can lose the last of them");
