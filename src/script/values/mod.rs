//! What a script works with: the log, JSON, and what it keeps.

pub(crate) mod drop;
pub(crate) mod json;
pub(crate) mod log;
pub(crate) mod state;
pub(crate) mod table;
