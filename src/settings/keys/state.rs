//! The settings of the state that survives a restart: `[state]`.

use std::path::PathBuf;

use super::key::Key;
use super::row::Row;

/// In the order of the documentation.
pub(super) const KEYS: &[&Row] = &[&DIR.row];

pub const DIR: Key<PathBuf> = Key::path("state.dir").default("state").means(
    "directory for the state that survives a restart: the consumer name, the last good script, and which syslog \
     targets prove nothing; created if it is missing; the default is relative to the working directory; if it is not \
     writable, the program works without it, and the log names the consequences",
);
