//! Tests of the program from the outside, in one binary, by topic.

mod check;
mod cli;
mod corpus;
mod credentials;
mod dead_letters;
mod destinations;
mod documents;
mod house;
mod messages;
mod mistakes;
mod packs;
mod pages;
#[cfg(unix)]
mod process;
#[cfg(unix)]
mod running;
mod settings;
mod sim;
mod sources;
mod syslog;
mod tries;
