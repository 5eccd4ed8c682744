//! `forwarder types`: prints the types of the script's library, for editors.

use std::process::ExitCode;

use crate::cli::exit::show;
use crate::script::TYPES;

const HELP: &str = "\
  forwarder types > scripts/forwarder.d.lua

An editor with the Lua language server (LuaLS) then completes and checks log, meta, events and the library.";

/// Print annotations of the script's library for editors (LuaLS)
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {}

/// Prints them.
pub(crate) fn main(_: &Args) -> ExitCode {
    show(TYPES, ExitCode::SUCCESS)
}
