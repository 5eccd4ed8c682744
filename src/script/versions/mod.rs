//! The steps from a saved script to the running one: trial, reload, probation.

pub(crate) mod probation;
pub(crate) mod reload;
pub(crate) mod samples;
pub(crate) mod trial;
