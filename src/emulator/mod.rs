//! An SLS and a HEC receiver in the box: for the demo, for tests, and for trying a script on a laptop.

pub mod generate;
pub mod hec;
pub mod sls;
pub mod syslog;
