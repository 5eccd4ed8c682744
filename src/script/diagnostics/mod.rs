//! What went wrong with a script, where, and what to do about it.

pub(crate) mod error;
pub(crate) mod excerpt;
pub(crate) mod explain;
pub(crate) mod hint;
pub(crate) mod python;
pub(crate) mod render;
