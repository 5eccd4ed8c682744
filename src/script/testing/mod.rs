//! Runs scripts on samples: test cases, their coverage, and the time of each line.

pub mod cases;
pub mod coverage;
pub mod profile;
pub(crate) mod sample;
