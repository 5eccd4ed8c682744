//! The settings of the script: `[script]`.

use std::path::PathBuf;
use std::time::Duration;

use super::key::{GIB, Key, MIB, MILLISECOND, SECOND};
use super::row::{Kind, Row};

/// In the order of the documentation.
pub(super) const KEYS: &[&Row] = &[
    &FILE.row,
    &TIMEOUT.row,
    &MEMORY.row,
    &ON_ERROR.row,
    &FORCE_RELOAD.row,
    &ROLLBACK_SHARE.row,
    &ROLLBACK_WITHIN.row,
    &VARS,
];

pub const FILE: Key<PathBuf> = Key::path("script.file").required().flag("script").also(&["FORWARDER_SCRIPT"]).means(
    "the Lua script whose process(log) turns each log into events; `script = \"…\"` at the top of the file \
                  says the same",
);

pub const TIMEOUT: Key<Duration> = Key::duration("script.timeout", MILLISECOND)
    .default("100ms")
    .means("longest time for one log; a log that takes longer is set aside and its neighbours go on");

pub const MEMORY: Key<usize> =
    Key::size("script.memory", MIB, 4 * GIB).default("64MiB").means("most memory for one Lua VM; each shard has one");

pub const ON_ERROR: Key<&'static str> =
    Key::one_of("script.on_error", &["dead_letter", "halt", "pass", "drop"]).default("dead_letter").means(
        "what to do with a log that the script fails on: keep it as a dead letter and go on, halt its shard, pass \
                  it on as it is, or drop it",
    );

pub const FORCE_RELOAD: Key<bool> = Key::switch("script.force_reload").default("false").flag("force-reload").means(
    "put a changed script in force even if it drops or fails many more of the last logs than the version \
                  before",
);

pub const ROLLBACK_SHARE: Key<u32> = Key::count("script.rollback_share", 0, 100).default("20").means(
    "percent of the logs: a changed script that fails on more than these, where the version before did not, \
                  is taken back; 100 is never",
);

pub const ROLLBACK_WITHIN: Key<Duration> = Key::duration("script.rollback_within", SECOND)
    .default("5m")
    .means("how long after a change of the script it is looked at that way");

pub const VARS: Row =
    Row { meaning: "the script's own settings: the global `settings` in Lua", ..Row::new("script.vars", Kind::Table) };
