//! Emulators of SLS and of receivers, for the demo, for tests, and for trying a script on a laptop.

pub mod credentials;
pub mod generate;
pub mod hec;
pub mod issued;
mod request;
mod server_clock;
pub mod sls;
pub mod syslog;
