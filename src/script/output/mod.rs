//! Formats the returned values as events.

mod body;
pub(crate) mod escape;
pub(crate) mod fault;
mod fields;
pub(crate) mod number;
mod order;
pub(crate) mod pairs;
pub(crate) mod passthrough;
pub(crate) mod returned;
mod scalar;
mod shape;
pub(crate) mod special_bytes;
pub(crate) mod time;
pub(crate) mod write;
