//! The settings of the process itself: `[run]`, `[log]` and `[admin]`.

use std::path::PathBuf;
use std::time::Duration;

use tracing::Level;

use super::choices::LogFormat;
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
    .means("how long a stop, or the release of a shard, may take to deliver and save what is in flight");

pub const MEMORY: Key<usize> = Key::size("run.memory", 64 * MIB, 1024 * GIB).default("64MiB").means(
    "maximum size of logs and events in flight, over all shards; the Lua VMs need memory beside it; the events of one \
     log may exceed it, and then nothing else is pulled or processed until memory is free again",
);

pub const HOOK_THREADS: Key<u16> = Key::count("run.hook_threads", 1, 256)
    .computed("one per core")
    .means("number of threads that run the script; shards take turns, and a slow one takes no more than its share");

pub const LOG_LEVEL: Key<Level> =
    Key::choice("log.level").default("info").flag("log-level").means("lowest level to log");

pub const LOG_FORMAT: Key<LogFormat> =
    Key::choice("log.format").default("text").flag("log-format").means("format of the log lines");

pub const LOG_FILE: Key<PathBuf> = Key::path("log.file")
    .flag("log-file")
    .means("also write the log to this file; at 100 MB it becomes FILE.1, and five old files are kept");

pub const ADMIN_LISTEN: Key<String> = Key::text("admin.listen").flag("admin-listen").means(
    "address and port of the status page, /status, /metrics, /live and /ready, such as 127.0.0.1:9464, or unix:/PATH of a socket; \
         without it, they are available only at a socket in state.dir",
);
