//! The settings of the probe: `[probe]`.

use super::key::Key;
use super::row::{Row, Scope};

/// In the order of the documentation.
pub(super) const KEYS: &[&Row] = &[&ENABLED.row];

pub const ENABLED: Key<bool> = Key::switch("probe.enabled").default("false").scope(Scope::Process).means(
    "write a probe log every minute into a shard that this process reads, and watch until it is delivered; it needs the permission \
     log:PostLogStoreLogs, and goes through the script like any log",
);
