//! The settings of what cannot be delivered: `[dead_letters]`.

use std::path::PathBuf;

use super::key::{GIB, Key, MIB};
use super::row::Row;

/// In the order of the documentation.
pub(super) const KEYS: &[&Row] = &[&DIR.row, &MAX_SIZE.row, &MAX_SHARE.row];

pub const DIR: Key<PathBuf> = Key::path("dead_letters.dir").default("dead-letters").known_as(&["dlq"]).means(
    "directory of the dead letters, created when absent; the default is in the directory that the program is \
                  started in",
);

pub const MAX_SIZE: Key<usize> = Key::size("dead_letters.max_size", MIB, 1024 * GIB)
    .default("1GB")
    .means("most bytes of dead letters; when there is no room left, shards wait and nothing is lost");

pub const MAX_SHARE: Key<u32> = Key::count("dead_letters.max_share", 1, 100).default("20").means(
    "a shard is held when more than so many percent of at least 200 logs within a minute would become dead \
                  letters, or more than 100 logs in a row; 100 never holds",
);
