//! Formats the returned values as events.

pub(crate) mod escape;
pub(crate) mod number;
pub(crate) mod passthrough;
pub(crate) mod returned;
pub(crate) mod special_bytes;
pub(crate) mod time;
pub(crate) mod write;
