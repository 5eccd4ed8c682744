//! The settings of the script: `[script]`.

use super::key::{Default, GIB, Key, Kind, MIB, MILLISECOND, PLAIN, SECOND};

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "script.file",
        kind: Kind::Path,
        default: Default::Required,
        flag: Some("script"),
        also: &["FORWARDER_SCRIPT"],
        meaning: "the Lua script whose process(log) turns each log into events; `script = \"…\"` at the top of the file \
                  says the same",
        ..PLAIN
    },
    Key {
        name: "script.timeout",
        kind: Kind::Duration(MILLISECOND),
        default: Default::Is("100ms"),
        meaning: "longest time for one log; a log that takes longer is set aside and its neighbours go on",
        ..PLAIN
    },
    Key {
        name: "script.memory",
        kind: Kind::Size(MIB, 4 * GIB),
        default: Default::Is("64MiB"),
        meaning: "most memory for one Lua VM; each shard has one",
        ..PLAIN
    },
    Key {
        name: "script.on_error",
        kind: Kind::OneOf(&["dead_letter", "halt", "pass", "drop"]),
        default: Default::Is("dead_letter"),
        meaning: "what to do with a log that the script fails on: keep it as a dead letter and go on, halt its shard, pass \
                  it on as it is, or drop it",
        ..PLAIN
    },
    Key {
        name: "script.force_reload",
        kind: Kind::Switch,
        default: Default::Is("false"),
        flag: Some("force-reload"),
        meaning: "put a changed script in force even if it drops or fails many more of the last logs than the version \
                  before",
        ..PLAIN
    },
    Key {
        name: "script.rollback_share",
        kind: Kind::Count(0, 100),
        default: Default::Is("20"),
        meaning: "percent of the logs: a changed script that fails on more than these, where the version before did not, \
                  is taken back; 100 is never",
        ..PLAIN
    },
    Key {
        name: "script.rollback_within",
        kind: Kind::Duration(SECOND),
        default: Default::Is("5m"),
        meaning: "how long after a change of the script it is looked at that way",
        ..PLAIN
    },
    Key {
        name: "script.vars",
        kind: Kind::Table,
        meaning: "the script's own settings: the global `settings` in Lua",
        ..PLAIN
    },
];
