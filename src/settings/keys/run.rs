//! The settings of the process itself: `[run]`, `[log]` and `[admin]`.

use std::time::Duration;

use super::key::{Default, GIB, Key, Kind, MIB, PLAIN};

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "run.drain_timeout",
        kind: Kind::Duration(Duration::ZERO),
        default: Default::Is("25s"),
        meaning: "how long a stop, or giving a shard to another consumer, may take to deliver and save what is under way",
        ..PLAIN
    },
    Key {
        name: "run.memory",
        kind: Kind::Size(64 * MIB, 1024 * GIB),
        default: Default::Is("64MiB"),
        meaning: "most bytes of logs and events under way, over all shards; Lua VMs are extra",
        ..PLAIN
    },
    Key {
        name: "run.hook_threads",
        kind: Kind::Count(1, 256),
        default: Default::Computed("one per core"),
        meaning: "threads that run the script",
        ..PLAIN
    },
    Key {
        name: "log.level",
        kind: Kind::OneOf(&["error", "warn", "info", "debug", "trace"]),
        default: Default::Is("info"),
        flag: Some("log-level"),
        meaning: "how much to tell",
        ..PLAIN
    },
    Key {
        name: "log.format",
        kind: Kind::OneOf(&["text", "json"]),
        default: Default::Is("text"),
        flag: Some("log-format"),
        meaning: "form of the log lines",
        ..PLAIN
    },
    Key {
        name: "log.file",
        kind: Kind::Path,
        flag: Some("log-file"),
        meaning: "write the log to this file too; at 100 MB it becomes FILE.1, and five old ones are kept",
        ..PLAIN
    },
    Key {
        name: "admin.listen",
        kind: Kind::Text,
        flag: Some("admin-listen"),
        meaning: "address and port for the status page, /status, /metrics, /live and /ready, such as 127.0.0.1:9464; without it there \
                  are none",
        ..PLAIN
    },
];
