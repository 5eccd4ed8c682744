//! Destinations.

pub mod hec;
mod standing;
pub mod syslog;
