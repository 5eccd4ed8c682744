//! Syslog receivers that work, fail and lie, and the messages that arrive nevertheless.

mod bench;
mod certificates;
mod deaths;
mod delivery;
mod liars;
mod poison;
mod program;
