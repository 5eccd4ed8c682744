//! Scripts on samples: test cases, what they cover, and what each line takes.

pub mod cases;
pub mod coverage;
pub mod profile;
pub(crate) mod sample;
