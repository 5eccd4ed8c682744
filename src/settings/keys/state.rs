//! The settings of what outlives the process: `[state]`.

use std::path::PathBuf;

use super::key::Key;
use super::row::Row;

/// In the order of the documentation.
pub(super) const KEYS: &[&Row] = &[&DIR.row];

pub const DIR: Key<PathBuf> = Key::path("state.dir").default("state").means(
    "directory for what makes the next start better: the consumer name, the last good script, and which syslog targets \
     prove nothing; created if it is missing; the default is relative to the working directory; without a writable one \
     everything works, and the log says what it costs",
);
