//! Syslog receivers that work, break and lie, and what arrives nevertheless.

mod bench;
mod certificates;
mod deaths;
mod delivery;
mod liars;
mod poison;
mod program;
