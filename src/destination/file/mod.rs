//! A file of JSON lines on this machine, rotated by size: for archives, dry runs and laptops.
//!
//! [`FileFormat`] lays events out, [`FileDestination`] brings them to the disk, `rotating` knows the files.

mod client;
mod format;
mod rotating;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use client::FileDestination;
pub use format::FileFormat;

/// Where events go, checked: every field means something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file that is written to. Full ones are beside it, with `.1` for the newest.
    pub path: PathBuf,
    /// A file that would grow beyond so many bytes is rotated first. One event that is larger has a file of its own.
    pub max_size: u64,
    /// Rotated files that stay, at least one; the oldest beyond them is removed.
    pub keep: u32,
    /// A batch counts as delivered only once the disk has confirmed it (fsync).
    pub fsync: bool,
}
