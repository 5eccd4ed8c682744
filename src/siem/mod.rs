//! Destinations.

pub mod hec;
pub mod syslog;
