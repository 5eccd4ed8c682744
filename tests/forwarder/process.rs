//! The whole program as a process, against an SLS and a Splunk in this process, over real sockets: faults around it,
//! and their effect on the logs.
//!
//! Every test ends with the same check: all logs have arrived, and everything before each accepted checkpoint had
//! arrived before it was saved.

mod acks;
mod bench;
mod credentials;
mod destination;
#[cfg(target_os = "linux")]
mod file;
mod group;
mod hangs;
mod kills;
mod oracle;
#[cfg(target_os = "linux")]
mod parts;
mod patterns;
mod positions;
mod program;
mod reload;
mod replays;
mod reports;
mod routes;
#[cfg(target_os = "linux")]
mod soak;
mod source;
mod sources;
mod status;
mod stop;
#[cfg(target_os = "linux")]
mod sums;
mod tap;
mod terminal;
mod top;
