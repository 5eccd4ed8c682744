//! `forwarder completions` and `forwarder man`: prints completions and manual pages.

use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;

use crate::cli::exit::{INTERNAL, USAGE, end, show};

/// Print the completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "  forwarder completions bash > /etc/bash_completion.d/forwarder")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Print the manual page of the program or of a command
#[derive(Debug, clap::Args)]
#[command(after_help = "  forwarder man > forwarder.1; forwarder man check | man -l -")]
pub(crate) struct ManArgs {
    /// The command, such as `check` or `dlq replay`, or the name of its page: forwarder-check
    command: Vec<String>,
}

/// Prints the completions.
pub(crate) fn completions(args: &CompletionsArgs, mut program: Command) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "forwarder", &mut script);
    show(&String::from_utf8_lossy(&script), ExitCode::SUCCESS)
}

/// Prints the page.
pub(crate) fn man(args: &ManArgs, mut program: Command) -> ExitCode {
    // Gives every command its flags and its full name.
    program.build();
    let mut command = &program;
    // No command has a hyphen in its name.
    let mut names = args.command.iter().flat_map(|name| name.split('-')).peekable();
    names.next_if_eq(&program.get_name());
    for name in names {
        let Some(found) = command.find_subcommand(name) else {
            let known: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
            return end(&format!("there is no command {name:?}; the commands are {}", known.join(", ")), USAGE);
        };
        command = found;
    }
    let mut page = Vec::new();
    let manual = clap_mangen::Man::new(command.clone());
    let manual = manual.source(concat!("forwarder ", env!("CARGO_PKG_VERSION"))).manual("User commands");
    match manual.render(&mut page) {
        Ok(()) => show(&String::from_utf8_lossy(&page), ExitCode::SUCCESS),
        Err(error) => end(&format!("the page cannot be made: {error}"), INTERNAL),
    }
}
