//! The program `forwarder`: see the library of this name.

fn main() -> std::process::ExitCode {
    forwarder::cli::main()
}
