//! Scripts on samples: test cases, and what they cover.

pub mod cases;
pub mod coverage;
pub(crate) mod sample;
