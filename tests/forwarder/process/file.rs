//! A file as destination, on a disk that is full for a while.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use super::bench::{Bench, command, until_or};
use super::program::Program;

/// The program with a file as destination, and with room for 4 or 8 KB in any file that it writes.
fn with_little_room(bench: &Bench) -> Command {
    let usual = command(bench.directory.path(), &bench.sls_endpoint());
    let mut command = Command::new("/bin/sh");
    command.env_clear().current_dir(bench.directory.path());
    command.envs(usual.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env_remove("FORWARDER_HEC_TOKEN").env("FORWARDER_FILE_PATH", "events.jsonl");
    // The signal of the limit would end the program. If it is ignored, the write returns an error.
    command.args(["-c", "trap '' XFSZ; ulimit -S -f 8; exec \"$0\""]).arg(usual.get_program());
    command
}

#[expect(unsafe_code, reason = "raises the limit of the running program")]
fn make_room(program: &Program) {
    let room = libc::rlimit { rlim_cur: 1 << 30, rlim_max: libc::RLIM_INFINITY };
    let pid = i32::try_from(program.pid()).unwrap();
    // SAFETY: prlimit reads the limit, which lives on, and writes nowhere; the child has not been waited for.
    assert_eq!(unsafe { libc::prlimit(pid, libc::RLIMIT_FSIZE, &raw const room, std::ptr::null_mut()) }, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_destination_without_room_pauses_and_then_gets_every_log_once() {
    let bench = Bench::new().await;
    (0..2).for_each(|shard| bench.put(shard, 10, 50));
    let path = bench.directory.path().join("events.jsonl");
    let mut program = Program::start("forwarder", with_little_room(&bench));
    program.to_say("delivered means stored: the events are in the file, and fsynced").await;
    program.to_say("file is down; nothing is lost").await;
    let is_through = |shard| bench.checkpoint(shard) == Some(bench.end(shard));
    assert!(!is_through(0) && !is_through(1), "a checkpoint passed what is not stored");
    make_room(&program);
    let ends = || (0..2).all(is_through);
    let state = || (0..2).map(|shard| format!("{:?} of {} ", bench.checkpoint(shard), bench.end(shard))).collect();
    until_or("every checkpoint is at the end of its shard", 60, ends, state).await;
    program.signal(libc::SIGTERM);
    assert_eq!(program.exit(Duration::from_secs(10)).await, Some(0));
    let text = fs::read_to_string(&path).unwrap();
    let events: BTreeSet<String> =
        text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect(line).to_string()).collect();
    assert_eq!((text.lines().count(), events.len()), (1_000, 1_000));
    assert_eq!(program.says("delivered 1000 + dropped 0 + dead-lettered 0"), 1, "{}", program.printed());
}
