//! Syslog from the command line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forwarder"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

/// Kills the program at the end of the test.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_demo_loses_nothing_over_syslog_when_the_receiver_dies_half_way() {
    let output = program(&["demo", "--to", "syslog", "--logs", "2000", "--shards", "2"]).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    for words in ["the receiver crashes", "nothing is missing", "as they were received"] {
        assert!(stdout.contains(words), "{words:?} is not in\n{stdout}");
    }
}

#[test]
fn an_emulated_receiver_prints_its_address_and_what_it_receives() {
    let mut child = program(&["emulate", "syslog", "--print", "--fault", "close-on=BAD"]);
    let mut child = Ending(child.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.next().unwrap();
    let address = first.strip_prefix("syslog over tcp on ").expect(&first).to_owned();
    assert_eq!(lines.next().unwrap(), "fault: CloseOn(\"BAD\")");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"<14>one\n7 <14>two<14>BAD\n").unwrap();
    assert_eq!([lines.next().unwrap(), lines.next().unwrap()], ["<14>one", "<14>two"]);
}

#[test]
fn an_unknown_fault_ends_with_2_and_the_list_of_faults() {
    let output = program(&["emulate", "syslog", "--fault", "explode"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("close-on=TEXT"));
}
