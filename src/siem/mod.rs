//! Destinations.

pub mod hec;
