//! From a saved script to the one in force: trial, reload, probation.

pub(crate) mod probation;
pub(crate) mod reload;
pub(crate) mod samples;
pub(crate) mod trial;
