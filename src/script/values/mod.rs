//! The values of a script: the log, JSON, and its state.

pub(crate) mod drop;
pub(crate) mod json;
pub(crate) mod log;
pub(crate) mod state;
pub(crate) mod table;
