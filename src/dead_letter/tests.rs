//! Dead letters on a real disk: what all these tests share.

mod access;
mod damage;
mod format;
mod replay;
mod room;
mod sharing;

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::*;
use crate::core::cursor::{Cursor, ShardId};

/// A record about log number `log`.
fn record(log: u32) -> Record {
    Record {
        at: "2026-02-03T04:05:06.789Z".parse().unwrap(),
        reason: Reason::Rejected,
        destination: None,
        code: "hec 6".to_owned(),
        message: "Invalid data format".to_owned(),
        origin: LogOrigin {
            project: "prod-security".to_owned(),
            logstore: "audit".to_owned(),
            shard: ShardId(3),
            cursor: Cursor::from_number(1_447_299_606_896_632_356),
            log,
            event: Some(0),
        },
        script: "0123456789ab".to_owned(),
        log: pairs(&[(b"__time__", b"1700000000"), (b"__topic__", b""), (b"user", "Zoë 张伟".as_bytes())]),
        event: Some(br#"{"time":1700000000,"event":{"user":"Zo\u00eb"}}"#.to_vec()),
    }
}

fn pairs(pairs: &[(&[u8], &[u8])]) -> Vec<(Vec<u8>, Vec<u8>)> {
    pairs.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

/// Records that cover all special cases of the format.
fn odd_records() -> Vec<Record> {
    let whole_log = Record {
        reason: Reason::ScriptError,
        code: "runtime".to_owned(),
        message: "transform.lua:3: attempt to index a nil value (field 'event')\n\x1b[31m".to_owned(),
        origin: LogOrigin { event: None, cursor: Cursor::new("not a number"), ..record(0).origin },
        log: pairs(&[(b"b", b"\xff\x00"), (b"a", b"1"), (b"\xfe", b"2"), (b"a", b"3"), (b"{\"v\":1", b"{\"v\":1,")]),
        event: None,
        ..record(0)
    };
    let bytes = Record {
        log: pairs(&[(b"v", b"1"), (b"esc", "\u{9b}31m \u{202e}\u{7f}\t\"\\".as_bytes())]),
        event: Some(b"<13>1 - - - - - - caf\xe9\n".to_vec()),
        ..record(7)
    };
    vec![record(1), whole_log, bytes]
}

/// Opens the store.
fn open(dir: &Path) -> Result<DirectoryStore, OpenError> {
    let open = || DirectoryStore::open(Config { dir: dir.to_owned(), max_bytes: 1 << 30 });
    once_free(open, |error| matches!(error, OpenError::Locked { .. }))
}

/// Takes a lock. One that was just released can still be held for a moment by a child process that another test forks,
/// until the child calls exec.
fn once_free<T, E>(take: impl Fn() -> Result<T, E>, is_locked: impl Fn(&E) -> bool) -> Result<T, E> {
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(1);
    loop {
        match take() {
            Err(error) if is_locked(&error) && std::time::Instant::now() < patience => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            taken => return taken,
        }
    }
}

fn read(dir: &Path) -> Vec<Result<Record, Unreadable>> {
    Reader::open(dir).unwrap().map(|found| found.map(|letter| letter.record)).collect()
}

fn readable(dir: &Path) -> Vec<Record> {
    read(dir).into_iter().map(|found| found.unwrap()).collect()
}

fn lines(records: &[Record]) -> Vec<u8> {
    let mut out = Vec::new();
    records.iter().for_each(|record| codec::encode(record, &mut out));
    out
}

/// A directory whose file has this content.
fn dir_with(bytes: &[u8]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(FILE), bytes).unwrap();
    dir
}

/// The log numbers of the dead letters that a reader finds.
fn logs(dir: &Path) -> Vec<u32> {
    readable(dir).iter().map(|record| record.origin.log).collect()
}

fn take(dir: &Path) -> ReplayClaim {
    once_free(|| ReplayClaim::take(dir), |error| matches!(error, ClaimError::Busy(_))).unwrap()
}
