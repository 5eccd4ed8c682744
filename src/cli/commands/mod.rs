//! The commands, one file or folder each.

pub mod demo;
pub mod dlq;
pub mod emulate;
pub(super) mod run;
pub(super) mod test;
pub(super) mod try_;
