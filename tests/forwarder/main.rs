//! The program as its users meet it: one binary of tests, by what they exercise.

mod cli;
mod documents;
mod letters;
mod mistakes;
mod settings;
mod sim;
