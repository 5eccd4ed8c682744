//! The settings of a file as destination: `[file]`.

use super::key::{Default, GIB, Key, Kind, MIB, PLAIN};

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "file.path",
        kind: Kind::Path,
        meaning: "file to write events to, one JSON object a line; its directory has to be there",
        ..PLAIN
    },
    Key {
        name: "file.max_size",
        kind: Kind::Size(MIB, 1024 * GIB),
        default: Default::Is("100MB"),
        meaning: "most bytes of the file: when it is full it becomes PATH.1, and PATH.1 becomes PATH.2",
        ..PLAIN
    },
    Key {
        name: "file.keep",
        kind: Kind::Count(1, 10_000),
        default: Default::Is("10"),
        meaning: "full files that are kept; an older one is removed, so take away before what you want to keep",
        ..PLAIN
    },
    Key {
        name: "file.fsync",
        kind: Kind::Switch,
        default: Default::Is("true"),
        meaning: "events count as delivered once the disk has them; without it a power cut can lose the last of them",
        ..PLAIN
    },
];
