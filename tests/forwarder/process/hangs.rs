//! Files that are replaced by pipes, which would block a program that opens them without care.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use super::bench::{Bench, KEY_SECRET};
use super::destination::{beats, no_beat_was_missed};

/// Puts a pipe in the place of a file: opening it to read waits for a writer that never comes.
#[expect(unsafe_code, reason = "makes a named pipe")]
fn hang(path: &Path) {
    let name = path.with_extension("hangs");
    let text = CString::new(name.as_os_str().as_bytes()).unwrap();
    // SAFETY: the text ends in NUL and outlives the call.
    assert_eq!(unsafe { libc::mkfifo(text.as_ptr(), 0o600) }, 0);
    fs::rename(name, path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f13_files_that_hang_on_open_delay_no_heartbeat_lose_no_log_and_block_no_stop() {
    let bench = Bench::new().await;
    let secret = bench.directory.path().join("secret");
    fs::write(&secret, KEY_SECRET).unwrap();
    fs::write(bench.directory.path().join("id"), "key-id").unwrap();
    let settings = [
        ("SLS_AK_ID", ""),
        ("SLS_AK_KEY", ""),
        ("FORWARDER_SLS_ACCESS_KEY_ID_FILE", "id"),
        ("FORWARDER_SLS_ACCESS_KEY_SECRET_FILE", "secret"),
    ];
    (0..2).for_each(|shard| bench.put(shard, 10, 20));
    let mut program = bench.start_with("a", &settings);
    bench.settled().await;

    hang(&secret);
    hang(&bench.directory.path().join("t.lua"));
    program.to_say("it is not a regular file but a pipe").await;
    (0..2).for_each(|shard| bench.put(shard, 10, 20));
    bench.settled().await;
    beats(&bench, 6).await;
    no_beat_was_missed(&bench);

    program.signal(libc::SIGTERM);
    assert_eq!(program.exit(Duration::from_secs(15)).await, Some(0), "{}", program.printed());
    assert_eq!(bench.oracle.repeats(), 0);
}
