//! The settings of the script: `[script]`.

use std::path::PathBuf;
use std::time::Duration;

use super::key::{GIB, Key, MB, MILLISECOND, SECOND};
use super::row::{Kind, Row};
use crate::pipeline::OnError;

/// In the order of the documentation.
pub(super) const KEYS: &[&Row] = &[
    &FILE.row,
    &TIMEOUT.row,
    &MEMORY.row,
    &TOTAL_MEMORY.row,
    &ON_ERROR.row,
    &FORCE_RELOAD.row,
    &ROLLBACK_SHARE.row,
    &ROLLBACK_WITHIN.row,
    &LAST_GOOD.row,
    &VARS,
];

pub const FILE: Key<PathBuf> = Key::path("script.file").required().flag("script").also(&["FORWARDER_SCRIPT"]).means(
    "the Lua script whose process(log) turns each log into events; `script = \"…\"` at the top of the file \
                  says the same",
);

pub const TIMEOUT: Key<Duration> = Key::duration("script.timeout", MILLISECOND)
    .default("100ms")
    .means("computing time limit for one log; a log that exceeds it becomes a dead letter, and the other logs are not affected");

pub const MEMORY: Key<usize> = Key::size("script.memory", MB, 4 * GIB).default("64MiB").means(
    "memory limit of one Lua VM; each shard has one. The events of one log are limited to the same size, and to 32 MiB",
);

pub const TOTAL_MEMORY: Key<usize> = Key::size("script.total_memory", MB, 64 * GIB)
    .default("512MiB")
    .means("memory limit of all Lua VMs together; a VM that needs more is treated as one that exceeds script.memory");

pub const ON_ERROR: Key<OnError> = Key::choice("script.on_error").default("dead_letter").means(
    "what to do with a log that the script fails on: write it as a dead letter, halt its shard, pass \
         the log on unchanged, or drop it",
);

pub const FORCE_RELOAD: Key<bool> = Key::switch("script.force_reload")
    .default("false")
    .flag("force-reload")
    .means("accept a changed script even if it drops or fails many more of the latest logs than the running version");

pub const ROLLBACK_SHARE: Key<u32> = Key::count("script.rollback_share", 0, 100).default("20").means(
    "a changed script is rolled back when it fails on more than this percentage of logs and the version \
         before did not; 100 turns rollback off",
);

pub const ROLLBACK_WITHIN: Key<Duration> = Key::duration("script.rollback_within", SECOND)
    .default("5m")
    .means("how long after a reload a rollback can happen");

pub const LAST_GOOD: Key<bool> = Key::switch("script.last_good").default("true").means(
    "start with the last good version of the script, which is kept in state.dir, when the script's file does not load or \
     fails its tests",
);

pub const VARS: Row =
    Row { meaning: "the script's own settings: the global `settings` in Lua", ..Row::new("script.vars", Kind::Table) };
