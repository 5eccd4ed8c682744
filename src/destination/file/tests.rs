use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;
use crate::core::batch::{Events, Output};
use crate::core::cursor::ShardId;
use crate::core::event::{Body, BodyError, Format as _, Head, Time};
use crate::core::lease::{Lease, Tenure};
use crate::core::stop::{Stopper, stop};
use crate::destination::{Destination as _, Health, Outcome};

fn config(dir: &TempDir) -> Config {
    Config { path: dir.path().join("events.jsonl"), max_size: 1_000_000, keep: 2, fsync: true }
}

fn batch(lines: &[&str]) -> Arc<Output> {
    let mut events = Events::default();
    for (log, line) in (0..).zip(lines) {
        events.push(log, |out| writeln!(out, "{line}")).unwrap();
    }
    Arc::new(Output { shard: ShardId(0), events })
}

fn tenure() -> (Stopper, Tenure) {
    let (stopper, over) = stop();
    (stopper, Tenure::new(Lease::endless(Instant::now()), over))
}

async fn deliver(file: &FileDestination, lines: &[&str]) {
    let (_stopper, tenure) = tenure();
    assert_eq!(file.deliver(batch(lines), tenure).await, Outcome::Done(Vec::new()));
}

fn text(path: &Path, end: &str) -> String {
    fs::read_to_string(format!("{}{end}", path.display())).unwrap_or_else(|_| "none".to_owned())
}

/// A disk that takes `bytes` of each of the first `failures` writes and then is full.
fn full_disk(config: &Config, failures: usize, bytes: usize) -> FileDestination {
    let left = AtomicUsize::new(failures);
    FileDestination::with_write(
        config,
        Box::new(move |file, lines| {
            if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err() {
                return file.write_all(lines);
            }
            file.write_all(&lines[..bytes])?;
            Err(io::ErrorKind::StorageFull.into())
        }),
    )
}

#[tokio::test]
async fn events_are_whole_lines_in_a_file_that_only_its_owner_can_read() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    let file = FileDestination::new(&config);
    assert_eq!(file.health(), Health::Unknown);
    deliver(&file, &["one", "two"]).await;
    deliver(&file, &["three"]).await;
    assert_eq!(text(&config.path, ""), "one\ntwo\nthree\n");
    assert_eq!(fs::metadata(&config.path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(file.health(), Health::Up { .. }));
}

#[tokio::test]
async fn a_file_that_would_grow_too_large_is_rotated_and_the_oldest_is_removed() {
    let dir = TempDir::new().unwrap();
    let config = Config { max_size: 10, ..config(&dir) };
    let file = FileDestination::new(&config);
    deliver(&file, &["aaaa", "bbbb", "cccc"]).await;
    assert_eq!((text(&config.path, ""), text(&config.path, ".1")), ("cccc\n".into(), "aaaa\nbbbb\n".into()));
    deliver(&file, &["larger than any file", "dddd"]).await;
    let files = ["", ".1", ".2", ".3"].map(|end| text(&config.path, end));
    assert_eq!(files, ["dddd\n", "larger than any file\n", "cccc\n", "none"]);
}

#[tokio::test]
async fn a_torn_line_of_a_failed_write_is_truncated_before_the_next_attempt() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    let file = full_disk(&config, 3, 6);
    deliver(&file, &["{\"one\"}", "two", "three"]).await;
    assert_eq!(text(&config.path, ""), "{\"one\"}\ntwo\nthree\n");
}

#[tokio::test]
async fn a_torn_line_of_a_crash_is_truncated_when_the_file_is_opened() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    fs::write(&config.path, "{\"event\":1}\n{\"ev").unwrap();
    deliver(&FileDestination::new(&config), &["two"]).await;
    assert_eq!(text(&config.path, ""), "{\"event\":1}\ntwo\n");
}

#[tokio::test]
async fn a_file_that_does_not_begin_with_an_event_is_refused_and_not_changed() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    for content in ["line\nuser secret", "function process(log)\nend\n"] {
        fs::write(&config.path, content).unwrap();
        let error = FileDestination::new(&config).check().await.unwrap_err().to_string();
        assert!(error.contains("it does not begin with an event") && error.contains("file.path"), "{error}");
        assert_eq!(text(&config.path, ""), content);
    }
}

#[tokio::test]
async fn a_file_that_anyone_can_change_or_replace_is_not_written_to() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    fs::write(&config.path, "").unwrap();
    let permit = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for (path, open, closed) in [(&*config.path, 0o666, 0o664), (dir.path(), 0o777, 0o1777)] {
        permit(path, open);
        let error = FileDestination::new(&config).check().await.unwrap_err().to_string();
        assert!(error.contains(&format!("chmod o-w {}", path.display())), "{error}");
        permit(path, closed);
    }
    FileDestination::new(&config).check().await.unwrap();
}

#[tokio::test]
async fn a_full_disk_pauses_delivery_visibly_until_there_is_room() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    let file = Arc::new(full_disk(&config, 4, 1));
    let (_stopper, tenure) = tenure();
    let mut under_way = JoinSet::new();
    under_way.spawn({
        let file = Arc::clone(&file);
        async move { file.deliver(batch(&["one"]), tenure).await }
    });
    let seen = async {
        loop {
            if let Health::Down { cause, .. } = file.health() {
                break cause;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let cause = tokio::time::timeout(Duration::from_secs(20), seen).await.expect("the outage is seen");
    assert!(cause.contains("events.jsonl") && cause.contains("free some space"), "{cause}");
    assert_eq!(under_way.join_next().await.unwrap().unwrap(), Outcome::Done(Vec::new()));
    assert_eq!(text(&config.path, ""), "one\n");
    assert!(matches!(file.health(), Health::Up { .. }));
}

#[tokio::test]
async fn nothing_is_written_for_a_shard_that_is_lost() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    let (stopper, tenure) = tenure();
    let file = full_disk(&config, 1_000, 0);
    let delivery = file.deliver(batch(&["one"]), tenure);
    let ended = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        stopper.raise();
    };
    assert_eq!(tokio::join!(delivery, ended).0, Outcome::Abandoned);
    assert_eq!(text(&config.path, ""), "");
}

#[tokio::test]
async fn a_link_a_directory_and_a_file_of_another_process_are_not_written_to() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    fs::write(dir.path().join("target"), "").unwrap();
    std::os::unix::fs::symlink(dir.path().join("target"), &config.path).unwrap();
    assert!(FileDestination::new(&config).check().await.is_err());
    fs::remove_file(&config.path).unwrap();
    fs::create_dir(&config.path).unwrap();
    assert!(FileDestination::new(&config).check().await.is_err());
    fs::remove_dir(&config.path).unwrap();
    let first = FileDestination::new(&config);
    assert_eq!(first.check().await.unwrap().agrees, "can be written to");
    let error = FileDestination::new(&config).check().await.unwrap_err().to_string();
    assert!(error.contains("another process writes to it"), "{error}");
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_created_again() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    let file = FileDestination::new(&config);
    deliver(&file, &["one"]).await;
    fs::rename(&config.path, dir.path().join("archived")).unwrap();
    deliver(&file, &["two"]).await;
    assert_eq!(text(&config.path, ""), "two\n");
}

#[test]
fn delivered_means_stored_and_the_sentence_says_whether_it_is_fsynced() {
    let dir = TempDir::new().unwrap();
    let promise = |fsync| FileDestination::new(&Config { fsync, ..config(&dir) }).promise();
    assert_eq!((promise(true).label, promise(false).label), ("stored", "stored"));
    assert!(promise(true).sentence.ends_with("in the file, and fsynced"));
    assert!(!promise(false).sentence.contains("fsynced"));
}

#[test]
fn an_event_without_a_time_has_that_of_its_log() {
    struct Hello;
    impl Body for Hello {
        fn json(&mut self, out: &mut Vec<u8>) -> Result<(), BodyError> {
            out.extend_from_slice(b"\"hello\"");
            Ok(())
        }

        fn text(&mut self, _: &[u8], _: &mut Vec<u8>) -> Result<(), BodyError> {
            unreachable!("a line is JSON")
        }

        fn log_time(&mut self) -> Option<Time<'static>> {
            Some(Time { digits: "1700000000".into(), nanos: None })
        }
    }

    let line = |head: &Head<'_>| {
        let mut out = Vec::new();
        FileFormat::default().write(head, &mut Hello, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(line(&Head::default()), "{\"time\":1700000000,\"event\":\"hello\"}\n");
    let time = Some(Time { digits: "5.25".into(), nanos: None });
    let head = Head { time, host: Some(b"h".into()), ..Head::default() };
    assert_eq!(line(&head), "{\"time\":5.25,\"host\":\"h\",\"event\":\"hello\"}\n");
}

#[tokio::test]
async fn a_batch_that_waits_for_another_is_not_written_once_its_shard_is_lost() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    let (began, has_begun) = std::sync::mpsc::channel();
    let (go, may_go) = std::sync::mpsc::channel::<()>();
    let may_go = std::sync::Mutex::new(may_go);
    let write = move |file: &mut fs::File, lines: &[u8]| {
        let _ = began.send(());
        let _ = may_go.lock().unwrap().recv();
        file.write_all(lines)
    };
    let file = Arc::new(FileDestination::with_write(&config, Box::new(write)));
    let start = |line: &'static str| {
        let (stopper, tenure) = tenure();
        let file = Arc::clone(&file);
        let mut delivery = JoinSet::new();
        delivery.spawn(async move { file.deliver(batch(&[line]), tenure).await });
        (stopper, delivery)
    };
    let (_stopper, mut first) = start("one");
    tokio::task::spawn_blocking(move || has_begun.recv()).await.unwrap().unwrap();
    let (stopper, mut second) = start("two");
    tokio::time::sleep(Duration::from_millis(50)).await;
    stopper.raise();
    assert_eq!(second.join_next().await.unwrap().unwrap(), Outcome::Abandoned);
    drop(go);
    assert_eq!(first.join_next().await.unwrap().unwrap(), Outcome::Done(Vec::new()));
    deliver(&file, &["three"]).await;
    assert_eq!(text(&config.path, ""), "one\nthree\n");
}
