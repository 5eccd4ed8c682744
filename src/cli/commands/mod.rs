//! The commands, one file or folder each.

pub(super) mod backfill;
#[cfg(feature = "emulator")]
pub mod bench;
pub(super) mod check;
pub(super) mod config;
#[cfg(feature = "emulator")]
pub mod demo;
pub mod dlq;
#[cfg(feature = "emulator")]
pub mod emulate;
pub(super) mod manual;
pub(super) mod policy;
pub(super) mod run;
pub(super) mod seek;
pub(super) mod status;
pub(super) mod tap;
pub(super) mod test;
pub(super) mod top;
pub(super) mod try_;
pub(super) mod types;
