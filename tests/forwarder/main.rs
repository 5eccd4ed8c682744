//! The program as its users meet it: one binary of tests, by what they exercise.

mod check;
mod cli;
mod corpus;
mod credentials;
mod destinations;
mod documents;
mod house;
mod letters;
mod messages;
mod mistakes;
mod packs;
mod pages;
#[cfg(unix)]
mod process;
mod settings;
mod sim;
mod sources;
mod syslog;
mod tries;
