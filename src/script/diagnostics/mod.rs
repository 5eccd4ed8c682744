//! Errors of scripts, with place and remedy.

pub(crate) mod error;
pub(crate) mod excerpt;
pub(crate) mod explain;
pub(crate) mod hint;
pub(crate) mod names;
pub(crate) mod python;
pub(crate) mod render;
