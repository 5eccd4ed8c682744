//! Converts the returned values to the bytes of events.

pub(crate) mod escape;
pub(crate) mod number;
pub(crate) mod passthrough;
pub(crate) mod returned;
pub(crate) mod special_bytes;
pub(crate) mod time;
pub(crate) mod write;
