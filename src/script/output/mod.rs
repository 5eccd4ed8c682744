//! Formats the returned values as events.

pub(crate) mod escape;
pub(crate) mod fault;
pub(crate) mod number;
mod order;
pub(crate) mod pairs;
pub(crate) mod passthrough;
pub(crate) mod returned;
mod shape;
pub(crate) mod special_bytes;
pub(crate) mod time;
pub(crate) mod write;
