//! The settings of the process itself: `[run]`, `[log]` and `[admin]`.

use std::path::PathBuf;
use std::time::Duration;

use super::key::{GIB, Key, MIB};
use super::row::Row;

/// In the order of the documentation.
pub(super) const KEYS: &[&Row] = &[
    &DRAIN_TIMEOUT.row,
    &MEMORY.row,
    &HOOK_THREADS.row,
    &LOG_LEVEL.row,
    &LOG_FORMAT.row,
    &LOG_FILE.row,
    &ADMIN_LISTEN.row,
];

pub const DRAIN_TIMEOUT: Key<Duration> = Key::duration("run.drain_timeout", Duration::ZERO)
    .default("25s")
    .means("how long a stop, or giving a shard to another consumer, may take to deliver and save what is under way");

pub const MEMORY: Key<usize> = Key::size("run.memory", 64 * MIB, 1024 * GIB)
    .default("64MiB")
    .means("most bytes of logs and events under way, over all shards; Lua VMs are extra");

pub const HOOK_THREADS: Key<u16> =
    Key::count("run.hook_threads", 1, 256).computed("one per core").means("threads that run the script");

pub const LOG_LEVEL: Key<&'static str> = Key::one_of("log.level", &["error", "warn", "info", "debug", "trace"])
    .default("info")
    .flag("log-level")
    .means("how much to tell");

pub const LOG_FORMAT: Key<&'static str> =
    Key::one_of("log.format", &["text", "json"]).default("text").flag("log-format").means("form of the log lines");

pub const LOG_FILE: Key<PathBuf> = Key::path("log.file")
    .flag("log-file")
    .means("write the log to this file too; at 100 MB it becomes FILE.1, and five old ones are kept");

pub const ADMIN_LISTEN: Key<String> = Key::text("admin.listen").flag("admin-listen").means(
    "address and port for the status page, /status, /metrics, /live and /ready, \
            such as 127.0.0.1:9464; without it there are none",
);
