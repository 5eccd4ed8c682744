//! The settings of the dead letters: `[dead_letters]`.

use std::path::PathBuf;

use super::key::{GIB, Key, MB};
use super::row::Row;

/// In the order of the documentation.
pub(super) const KEYS: &[&Row] = &[&DIR.row, &TO.row, &DISK.row, &MAX_SIZE.row, &MAX_SHARE.row];

pub const DIR: Key<PathBuf> = Key::path("dead_letters.dir").default("dead-letters").known_as(&["dlq"]).means(
    "directory of the dead letters, created if it is missing; the default is relative to the working \
         directory",
);

pub const TO: Key<String> = Key::text("dead_letters.to").means(
    "name of a destination that gets a copy of each dead letter; a checkpoint passes the log when disk and destination have it",
);

pub const DISK: Key<bool> = Key::switch("dead_letters.disk").default("true").means(
    "whether each dead letter is on disk; false, if dead_letters.to is set: only those that this destination does not take",
);

pub const MAX_SIZE: Key<usize> = Key::size("dead_letters.max_size", MB, 1024 * GIB)
    .default("1GB")
    .means("maximum size of all dead letters; when it is reached, shards are paused and no log is lost");

pub const MAX_SHARE: Key<u32> = Key::count("dead_letters.max_share", 1, 100).default("20").means(
    "a shard is paused when more than this percentage of at least 200 logs within a minute would become \
         dead letters, or more than 100 logs in a row; 100 never pauses it",
);
