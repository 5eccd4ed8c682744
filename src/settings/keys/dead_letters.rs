//! The settings of what cannot be delivered: `[dead_letters]`.

use super::key::{Default, GIB, Key, Kind, MIB, PLAIN};

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "dead_letters.dir",
        kind: Kind::Path,
        default: Default::Is("dead-letters"),
        known_as: &["dlq"],
        meaning: "directory of the dead letters, created when absent; the default is in the directory that the program is \
                  started in",
        ..PLAIN
    },
    Key {
        name: "dead_letters.max_size",
        kind: Kind::Size(MIB, 1024 * GIB),
        default: Default::Is("1GB"),
        meaning: "most bytes of dead letters; when there is no room left, shards wait and nothing is lost",
        ..PLAIN
    },
    Key {
        name: "dead_letters.max_share",
        kind: Kind::Count(1, 100),
        default: Default::Is("20"),
        meaning: "a shard is held when more than so many percent of at least 200 logs within a minute would become dead \
                  letters, or more than 100 logs in a row; 100 never holds",
        ..PLAIN
    },
];
