//! A file of JSON lines on this machine, rotated by size: for archives, dry runs and laptops.
//!
//! [`FileFormat`] formats events, [`FileDestination`] writes them to the disk, `rotating` manages the files.

mod client;
mod format;
mod rotating;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use client::FileDestination;
pub use format::FileFormat;
pub use rotating::is_in_use;

/// Where events go; all fields are validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The current file. Full files are beside it; the newest has the suffix `.1`.
    pub path: PathBuf,
    /// Maximum size in bytes: a file that would grow beyond it is rotated first. A larger event gets its own file.
    pub max_size: u64,
    /// Number of rotated files to keep, at least one; older ones are removed.
    pub keep: u32,
    /// A batch counts as delivered only once the disk has confirmed it (fsync).
    pub fsync: bool,
}
