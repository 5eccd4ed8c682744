use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::core::cursor::{Cursor, ShardId};
use crate::core::destination_name::DestinationName;
use crate::core::printable::is_unprintable;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/dead-letters-v1.jsonl");

/// The same dead letters with ids that do not name the logstore.
const GOLDEN_SHORT_IDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/dead-letters-v1-short-ids.jsonl");

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

/// Opens the store. A lock that was just released can still be held for a moment by a child process that another test
/// forks, until the child calls exec.
fn open(dir: &Path) -> Result<DirectoryStore, OpenError> {
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(1);
    loop {
        match DirectoryStore::open(Config { dir: dir.to_owned(), max_bytes: 1 << 30 }) {
            Err(OpenError::Locked { .. }) if std::time::Instant::now() < patience => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            opened => return opened,
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

fn arbitrary_record() -> impl Strategy<Value = Record> {
    let bytes =
        || prop_oneof![any::<Vec<u8>>(), ".{0,20}".prop_map(String::into_bytes), "[ab]".prop_map(String::into_bytes)];
    let log = prop::collection::vec((bytes(), bytes()), 0..8);
    let place = (any::<u32>(), ".{0,30}", any::<u32>(), any::<Option<u32>>());
    let destination = prop::option::of("[a-z][a-z0-9_-]{0,9}".prop_map(|name| DestinationName::new(&name).unwrap()));
    let words = (prop::sample::select(&Reason::ALL), destination, ".{0,16}", ".{0,200}");
    (words, place, log, prop::option::of(bytes()), -377_705_023_201i64..=253_402_207_200, 0i32..1_000_000_000).prop_map(
        |((reason, destination, code, message), (shard, cursor, log_index, event_index), log, event, second, nanos)| {
            Record {
                at: Timestamp::new(second, nanos).unwrap_or(Timestamp::MAX),
                reason,
                destination,
                code,
                message,
                origin: LogOrigin {
                    shard: ShardId(shard),
                    cursor: Cursor::new(cursor),
                    log: log_index,
                    event: event_index,
                    ..record(0).origin
                },
                log,
                event,
                ..record(0)
            }
        },
    )
}

proptest! {
    #[test]
    fn any_bytes_are_read_back_unchanged(record in arbitrary_record()) {
        let line = lines(std::slice::from_ref(&record));
        let (last, line) = line.split_last().unwrap();
        prop_assert_eq!(*last, b'\n');
        let text = std::str::from_utf8(line).unwrap();
        prop_assert!(!text.contains(is_unprintable), "{}", text);
        prop_assert_eq!(&codec::decode(line).unwrap(), &record);
        // What a program reads that keeps the last of two equal keys: every pair of the log is present.
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        let version = if record.reason == Reason::DestinationDown { 2 } else { 1 };
        prop_assert_eq!(value["v"].as_u64(), Some(version));
        let plain = value["log"].as_object().unwrap();
        prop_assert!(plain.values().all(serde_json::Value::is_string));
        let other = value.get("log_base64").map_or(0, |other| other.as_array().unwrap().len());
        prop_assert_eq!(plain.len() + other, record.log.len());
    }

    #[test]
    fn reading_noise_never_panics_and_reports_every_byte(noise in prop::collection::vec(
        prop_oneof![any::<u8>(), prop::sample::select(b"\n{\"v:1,".as_slice())], 0..300)
    ) {
        let dir = dir_with(&noise);
        let bytes: usize = read(dir.path()).into_iter().map(|found| found.unwrap_err().bytes).sum();
        let line_feeds = noise.iter().filter(|byte| **byte == b'\n').count();
        prop_assert_eq!(bytes + line_feeds, noise.len());
    }
}

#[test]
fn version_1_matches_the_golden_file_when_read_and_written() {
    let golden = fs::read(GOLDEN).unwrap();
    assert_eq!(String::from_utf8_lossy(&lines(&odd_records())), String::from_utf8_lossy(&golden));
    assert_eq!(readable(dir_with(&golden).path()), odd_records());
}

#[test]
fn lines_whose_id_does_not_name_the_logstore_are_read_and_get_the_whole_id() {
    let golden = fs::read(GOLDEN_SHORT_IDS).unwrap();
    assert!(golden.starts_with(b"{\"v\":1,\"id\":\"3-1447299606896632356-1-0\""));
    assert_eq!(readable(dir_with(&golden).path()), odd_records());
}

#[test]
fn a_delivery_that_was_recorded_without_the_logstore_in_its_id_counts() {
    let dir = dir_with(b"");
    fs::write(dir.path().join("dead-letters.1.jsonl"), fs::read(GOLDEN_SHORT_IDS).unwrap()).unwrap();
    let delivered = r#"{"project":"prod-security","logstore":"audit","id":"3-1447299606896632356-1-0"}"#;
    fs::write(dir.path().join("replayed.jsonl"), format!("{delivered}\n")).unwrap();
    assert_eq!(readable(dir.path()), odd_records()[1..]);
}

#[test]
fn a_reason_has_one_name_everywhere() {
    for reason in Reason::ALL {
        assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{reason}\""));
        assert_eq!(reason.as_str().parse(), Ok(reason));
    }
}

#[test]
fn deep_nesting_in_a_line_does_not_overflow_the_stack() {
    let deep = format!("{}{}", "[".repeat(400_000), "]".repeat(400_000));
    let record = Record {
        log: vec![(b"event".to_vec(), deep.clone().into_bytes())],
        event: Some(deep.clone().into_bytes()),
        ..record(0)
    };
    let line = lines(std::slice::from_ref(&record));
    assert_eq!(codec::decode(&line[..line.len() - 1]).unwrap(), record);
    let text = String::from_utf8(line).unwrap();
    let (checked, _) = text.split_once(",\"crc\"").unwrap();
    let sealed = |checked: String| {
        let mut crc = flate2::Crc::new();
        crc.update(checked.as_bytes());
        codec::decode(format!("{checked},\"crc\":\"{:08x}\"}}", crc.sum()).as_bytes())
    };
    assert_eq!(
        sealed(format!("{checked},\"new\":{deep}")).unwrap(),
        record,
        "what a newer program adds is passed over"
    );
    let wrong = sealed(checked.replacen("\"log\":{", &format!("\"log\":{{\"x\":{deep},"), 1)).unwrap_err();
    assert!(matches!(wrong, codec::Defect::Foreign(_)), "{wrong}");
}

#[test]
fn an_id_names_the_logstore_the_log_and_the_event_and_needs_no_quotes() {
    let ids = odd_records().iter().map(Record::id).collect::<Vec<_>>();
    let places = ["3-1447299606896632356-1-0", "3-not a number-0", "3-1447299606896632356-7-0"];
    assert_eq!(ids, places.map(|place| format!("prod-security/audit/{place}")));
}

#[test]
fn a_long_code_and_a_long_message_are_cut_between_characters() {
    let long = Record { code: "c".repeat(65), message: "张".repeat(1000), ..record(0) };
    let line = lines(&[long]);
    let read = codec::decode(&line[..line.len() - 1]).unwrap();
    assert_eq!(read.code, format!("{}…", "c".repeat(61)));
    assert_eq!(read.message, format!("{}…", "张".repeat(340)));
}

#[test]
fn appended_records_are_there_in_order_after_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let (first, rest) = (&odd_records()[..1], &odd_records()[1..]);
    open(dir.path()).unwrap().append(first).unwrap();
    open(dir.path()).unwrap().append(rest).unwrap();
    assert_eq!(readable(dir.path()), odd_records());
}

#[test]
fn f81_a_file_torn_at_any_byte_of_its_last_record_keeps_every_whole_record() {
    let whole = lines(&[record(1), record(2)]);
    let torn = lines(&[record(3)]);
    for cut in 0..torn.len() {
        let dir = dir_with(&[&whole, &torn[..cut]].concat());
        let unfinished = read(dir.path()).into_iter().filter_map(Result::err).collect::<Vec<_>>();
        let at = unfinished.iter().map(|found| (found.offset, found.bytes)).collect::<Vec<_>>();
        let expected = if cut == 0 { vec![] } else { vec![(whole.len() as u64, cut)] };
        assert_eq!(at, expected, "cut at {cut}");

        open(dir.path()).unwrap().append(&[record(4)]).unwrap();
        let kept = if cut == torn.len() - 1 { vec![1, 2, 3, 4] } else { vec![1, 2, 4] };
        assert_eq!(readable(dir.path()), kept.into_iter().map(record).collect::<Vec<_>>(), "cut at {cut}");
        let aside = fs::read(dir.path().join("dead-letters.torn")).unwrap_or_default();
        let expected = if (1..torn.len() - 1).contains(&cut) { [&torn[..cut], b"\n"].concat() } else { vec![] };
        assert_eq!(aside, expected, "cut at {cut}");
    }
}

#[test]
fn a_torn_record_longer_than_a_search_block_is_found() {
    let whole = lines(&[record(1)]);
    for torn in [65_535, 65_536, 65_537, 200_000] {
        let dir = dir_with(&[&whole[..], &vec![0; torn]].concat());
        open(dir.path()).unwrap();
        assert_eq!(fs::read(dir.path().join(FILE)).unwrap(), whole, "{torn} bytes");
    }
    let only_zeros = dir_with(&vec![0; 200_000]);
    open(only_zeros.path()).unwrap();
    assert_eq!(fs::read(only_zeros.path().join(FILE)).unwrap(), b"");
}

#[test]
fn a_file_that_does_not_begin_with_a_dead_letter_is_not_truncated() {
    for content in ["user secret", "line\nuser secret", "{\"time\":1}\n{\"v\":1"] {
        let dir = dir_with(content.as_bytes());
        let error = open(dir.path()).unwrap_err();
        assert!(error.to_string().contains("it does not begin with a dead letter"), "{error}");
        assert_eq!(fs::read_to_string(dir.path().join(FILE)).unwrap(), content);
        assert!(!dir.path().join("dead-letters.torn").exists());
    }
}

#[test]
fn a_symbolic_link_in_place_of_the_dead_letters_is_not_followed() {
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("passwd");
    let torn = [lines(&[record(1)]), b"user secret".to_vec()].concat();
    fs::write(&target, &torn).unwrap();
    for name in [FILE, "dead-letters.lock"] {
        let dir = tempfile::tempdir().unwrap();
        symlink(&target, dir.path().join(name)).unwrap();
        let error = open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("it is a symbolic link"), "{error}");
    }
    for name in [FILE, "dead-letters.1.jsonl", "replay.lock"] {
        let dir = tempfile::tempdir().unwrap();
        symlink(&target, dir.path().join(name)).unwrap();
        let error = ReplayClaim::take(dir.path()).unwrap_err().to_string();
        assert!(error.contains("it is a symbolic link"), "{name}: {error}");
        assert!(dir.path().join(name).is_symlink(), "{name} was moved");
    }
    // Also while a forwarder runs.
    let dir = tempfile::tempdir().unwrap();
    let letters = open(dir.path()).unwrap();
    fs::rename(dir.path().join(FILE), dir.path().join("away")).unwrap();
    symlink(dir.path().join("away"), dir.path().join(FILE)).unwrap();
    letters.append(&[record(2)]).unwrap_err();
    assert_eq!(fs::read(&target).unwrap(), torn);
    assert_eq!(fs::metadata(dir.path().join("away")).unwrap().len(), 0);
}

#[test]
fn a_pipe_in_place_of_the_lock_file_does_not_hang_the_start() {
    for name in ["dead-letters.lock", FILE] {
        let dir = tempfile::tempdir().unwrap();
        assert!(Command::new("mkfifo").arg(dir.path().join(name)).status().unwrap().success());
        let error = open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("not a regular file but a pipe"), "{error}");
        if name == FILE {
            let error = Reader::open(dir.path()).unwrap_err().to_string();
            assert!(error.contains("not a regular file but a pipe"), "{error}");
        }
    }
}

#[test]
fn dead_letters_are_not_kept_in_a_world_writable_directory() {
    let dir = dir_with(&lines(&[record(1)]));
    let permit = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let refused = |mend: &str| {
        for error in [open(dir.path()).unwrap_err().to_string(), ReplayClaim::take(dir.path()).unwrap_err().to_string()]
        {
            assert!(error.contains(mend), "{error}");
        }
    };
    permit(dir.path(), 0o777);
    refused(&format!("chmod o-w {}", dir.path().display()));
    permit(dir.path(), 0o700);
    permit(&dir.path().join(FILE), 0o666);
    refused(&format!("chmod o-w {}", dir.path().join(FILE).display()));
    permit(&dir.path().join(FILE), 0o660);
    open(dir.path()).unwrap();
}

#[test]
fn every_flipped_bit_is_detected_and_affects_no_other_record() {
    let all = [record(1), record(2), record(3)];
    let bytes = lines(&all);
    let start = lines(&all[..1]).len();
    let end = lines(&all[..2]).len();
    let dir = dir_with(&bytes);
    for bit in start * 8..end * 8 {
        let mut rotten = bytes.clone();
        rotten[bit / 8] ^= 1 << (bit % 8);
        fs::write(dir.path().join(FILE), rotten).unwrap();
        let found = read(dir.path());
        let good = found.iter().flatten().map(|record| record.origin.log).collect::<Vec<_>>();
        let bad = found.iter().filter_map(|found| found.as_ref().err()).collect::<Vec<_>>();
        assert_eq!(good, [1, 3], "bit {bit}");
        assert!(!bad.is_empty(), "bit {bit}");
        assert!(bad.iter().all(|bad| (start as u64..end as u64).contains(&bad.offset)), "bit {bit}: {bad:?}");
        assert!(bad.iter().all(|bad| matches!(bad.defect, Defect::Damaged)), "bit {bit}: {bad:?}");
    }
}

#[test]
fn a_damaged_record_is_reported_once_whatever_its_log_contains() {
    let mut bytes = lines(&odd_records());
    bytes.iter_mut().filter(|byte| **byte == b'5').for_each(|byte| *byte = b'6');
    let dir = dir_with(&bytes);
    let found = read(dir.path()).into_iter().map(|found| found.unwrap_err()).collect::<Vec<_>>();
    let starts = [0, 1, 2].map(|count| lines(&odd_records()[..count]).len() as u64);
    assert_eq!(found.iter().map(|found| found.offset).collect::<Vec<_>>(), starts);
}

#[test]
fn a_record_of_a_newer_version_is_reported_and_its_neighbours_are_read() {
    let mut newer = br#"{"v":3,"whatever":{"v":3}"#.to_vec();
    let mut crc = flate2::Crc::new();
    crc.update(&newer);
    newer.extend(format!(",\"crc\":\"{:08x}\"}}\n", crc.sum()).into_bytes());
    let dir = dir_with(&[lines(&[record(1)]), newer, lines(&[record(2)])].concat());
    let found = read(dir.path());
    assert!(matches!(found[1].as_ref().unwrap_err().defect, Defect::Newer(3)), "{found:?}");
    assert_eq!(found.into_iter().flatten().collect::<Vec<_>>(), [record(1), record(2)]);
}

#[test]
fn at_the_size_limit_nothing_is_written_and_the_error_names_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let cap = lines(&[record(1), record(2)]).len() as u64;
    let letters = DirectoryStore::open(Config { dir: dir.path().to_owned(), max_bytes: cap }).unwrap();
    letters.append(&[record(1)]).unwrap();
    let fault = letters.append(&[record(2), record(3)]).unwrap_err();
    assert!(matches!(fault, StoreError::Full { limit: Limit::Cap { cap: named, .. }, .. } if named == cap), "{fault}");
    assert!(fault.to_string().contains(&format!("exceed the limit of {cap};")), "{fault}");
    letters.append(&[record(2)]).unwrap();
    assert_eq!(readable(dir.path()), [record(1), record(2)]);

    fs::rename(dir.path().join(FILE), dir.path().join("seen.jsonl")).unwrap();
    letters.append(&[record(3)]).unwrap();
    assert_eq!(readable(dir.path()), [record(3)]);
}

#[test]
fn dead_letters_that_a_replay_has_set_aside_count_towards_the_size_limit() {
    let dir = tempfile::tempdir().unwrap();
    let cap = lines(&[record(1), record(2)]).len() as u64;
    let letters = DirectoryStore::open(Config { dir: dir.path().to_owned(), max_bytes: cap }).unwrap();
    letters.append(&[record(1), record(2)]).unwrap();
    let taken = take(dir.path());
    let fault = letters.append(&[record(3)]).unwrap_err();
    assert!(matches!(fault, StoreError::Full { limit: Limit::Cap { used, .. }, .. } if used == cap), "{fault}");
    drop(taken);
    assert!(letters.append(&[record(3)]).is_err(), "they were not delivered");
    fs::remove_file(dir.path().join("dead-letters.1.jsonl")).unwrap();
    letters.append(&[record(3)]).unwrap();
}

#[test]
fn dead_letters_that_an_ended_process_left_are_taken_over_by_the_next_one() {
    let base = tempfile::tempdir().unwrap();
    let config = Config { dir: base.path().to_owned(), max_bytes: 1 << 20 };
    let first = DirectoryStore::open_free(&config).unwrap();
    let second = DirectoryStore::open_free(&config).unwrap();
    let third = DirectoryStore::open_free(&config).unwrap();
    first.append(&[record(1)]).unwrap();
    second.append(&[record(2)]).unwrap();
    third.append(&[record(3)]).unwrap();
    let mut replay = take(second.dir());
    second.append(&[record(4)]).unwrap();
    replay.note_delivered([record(2)].iter()).unwrap();
    drop((first, second, replay));

    let only = DirectoryStore::open_free(&config).unwrap();
    assert_eq!(
        readable(base.path()),
        [record(1), record(4)],
        "in the order of the directories, without delivered ones"
    );
    assert_eq!(readable(third.dir()), [record(3)], "its process runs");
    only.append(&[record(5)]).unwrap();
    assert_eq!(readable(base.path()), [record(1), record(4), record(5)]);
}

#[test]
fn dead_letters_that_fit_no_file_are_refused_with_the_needed_limit() {
    let dir = tempfile::tempdir().unwrap();
    let needed = lines(&[record(1), record(2)]).len() as u64;
    let letters = DirectoryStore::open(Config { dir: dir.path().to_owned(), max_bytes: needed - 1 }).unwrap();
    let fault = letters.append(&[record(1), record(2)]).unwrap_err();
    assert!(matches!(fault, StoreError::Full { limit: Limit::Together { more, .. }, .. } if more == needed), "{fault}");
    assert!(!fault.to_string().contains("move"), "there is nothing to move: {fault}");
}

#[test]
fn a_file_that_is_removed_moved_truncated_or_edited_loses_no_later_record() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let letters = open(dir.path()).unwrap();
    let copy = dir.path().join("copy");
    let underneath: [(&str, &dyn Fn() -> io::Result<()>); 5] = [
        ("removed", &|| fs::remove_file(&path)),
        ("moved", &|| fs::rename(&path, dir.path().join("away"))),
        ("replaced by a copy", &|| fs::copy(&path, &copy).and_then(|_| fs::rename(&copy, &path))),
        ("emptied", &|| File::create(&path).map(drop)),
        ("half a line added", &|| OpenOptions::new().append(true).open(&path)?.write_all(b"{\"v\":")),
    ];
    for (what, act) in underneath {
        letters.append(&[record(1)]).unwrap();
        act().unwrap();
        letters.append(&[record(2)]).unwrap();
        assert_eq!(readable(dir.path()).last(), Some(&record(2)), "{what}");
    }
}

#[test]
fn a_write_to_a_file_that_was_removed_meanwhile_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let journal = journal::Journal::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let fault = journal.append(&lines(&[record(1)])).unwrap_err();
    assert!(fault.to_string().ends_with("the file was replaced meanwhile"), "{fault}");
}

#[test]
fn a_full_disk_is_an_error_that_says_so() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge] {
        let fault = StoreError::of("write to", Path::new(FILE))(kind.into());
        assert!(matches!(fault, StoreError::Full { limit: Limit::Disk(_), .. }), "{fault}");
    }
}

/// Mounts a file system at `target` that only the calling thread sees and that disappears with it. Returns whether
/// that is allowed: it requires root.
#[expect(unsafe_code, reason = "mounts a file system for one thread")]
fn mounted(target: &Path, options: &str) -> bool {
    let ok = |status: io::Result<std::process::ExitStatus>| status.is_ok_and(|status| status.success());
    // SAFETY: unshare(2) touches no memory; it separates the mounts of this thread and its children from the others.
    let alone = unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0;
    let mount = |args: &[&str]| ok(Command::new("mount").args(args).stderr(Stdio::null()).status());
    let done = alone
        && mount(&["--make-rprivate", "/"])
        && mount(&["-t", "tmpfs", "-o", options, "none", target.to_str().unwrap()]);
    if !done {
        eprintln!("not tested: mounting a tmpfs takes root");
    }
    done
}

#[test]
fn a_full_disk_leaves_whole_lines_and_writing_continues_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    if !mounted(dir.path(), "size=128k") {
        return;
    }
    let letters = open(dir.path()).unwrap();
    letters.append(&[record(1)]).unwrap();
    let ballast = dir.path().join("ballast");
    fs::write(&ballast, vec![0; 100 * 1024]).unwrap();
    let large = Record { event: Some(vec![b'x'; 60 * 1024]), ..record(2) };
    for _ in 0..3 {
        let fault = letters.append(std::slice::from_ref(&large)).unwrap_err();
        assert!(matches!(fault, StoreError::Full { limit: Limit::Disk(_), .. }), "{fault}");
        assert_eq!(readable(dir.path()), [record(1)]);
    }

    // Starting with a full disk and an incomplete last line that cannot be moved is no error either.
    drop(letters);
    let path = dir.path().join(FILE);
    OpenOptions::new().append(true).open(&path).unwrap().write_all(&[b'x'; 10_000]).unwrap();
    let filler = dir.path().join("filler");
    assert_eq!(fs::write(&filler, vec![0; 128 * 1024]).unwrap_err().kind(), io::ErrorKind::StorageFull);
    let room = fs::metadata(&filler).unwrap().len().checked_sub(8 * 1024).unwrap();
    OpenOptions::new().write(true).open(&filler).unwrap().set_len(room).unwrap();
    let letters = open(dir.path()).unwrap();
    assert!(matches!(letters.append(&[record(3)]).unwrap_err(), StoreError::Full { .. }));
    assert_eq!(fs::metadata(dir.path().join("dead-letters.torn")).unwrap().len(), 0);

    fs::remove_file(&ballast).unwrap();
    letters.append(&[large.clone(), record(3)]).unwrap();
    assert_eq!(readable(dir.path()), [record(1), large, record(3)]);
}

/// Runs `work` in a thread in which this system call fails with EIO, if the system allows it.
#[expect(unsafe_code, reason = "has the kernel fail a system call of one thread")]
fn where_fails<T: Send>(call: libc::c_long, work: impl FnOnce() -> T + Send) -> Option<T> {
    let step = |code: u32, skip: u8, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: skip, k };
    let mut filter = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, call as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | libc::EIO as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
    ];
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
            // SAFETY: the kernel reads the program, which outlives the calls; it applies to this thread only.
            let done = unsafe {
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                    && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
            };
            if !done {
                eprintln!("not tested: the system takes no filter of calls");
            }
            done.then(work)
        });
        thread.join().unwrap()
    })
}

#[test]
fn f75_dead_letters_whose_fsync_fails_do_not_count_and_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let letters = open(dir.path()).unwrap();
    letters.append(&[record(1)]).unwrap();
    let Some(refused) = where_fails(libc::SYS_fdatasync, || letters.append(&[record(2)])) else { return };
    assert!(matches!(refused, Err(StoreError::Io { doing: "write to", .. })), "{refused:?}");
    assert_eq!(fs::read(dir.path().join(FILE)).unwrap(), lines(&[record(1)]));
    letters.append(&[record(3)]).unwrap();
    assert_eq!(readable(dir.path()), [record(1), record(3)]);
}

#[test]
fn a_file_whose_directory_entry_is_not_fsynced_takes_no_dead_letter() {
    let dir = tempfile::tempdir().unwrap();
    let letters = open(dir.path()).unwrap();
    fs::remove_file(dir.path().join(FILE)).unwrap();
    let Some(refused) = where_fails(libc::SYS_fsync, || letters.append(&[record(1)])) else { return };
    assert!(matches!(refused, Err(StoreError::Io { doing: "sync the directory of", .. })), "{refused:?}");
    assert_eq!(readable(dir.path()), []);
    let new = dir.path().join("a/b");
    let refused = where_fails(libc::SYS_fsync, || open(&new)).unwrap();
    assert!(matches!(refused, Err(OpenError::Io { doing: "create", .. })), "{refused:?}");
}

#[test]
fn f82_replayed_dead_letters_are_removed_only_once_their_delivery_is_fsynced() {
    let dir = dir_with(&lines(&[record(1), record(2)]));
    let mut taken = take(dir.path());
    let Some(noted) = where_fails(libc::SYS_fdatasync, || taken.note_delivered([record(1)].iter())) else { return };
    assert!(noted.is_err());
    let noted = where_fails(libc::SYS_fsync, || taken.note_delivered([record(1)].iter())).unwrap();
    assert!(noted.is_err());
    let set_aside = dir.path().join("dead-letters.1.jsonl");
    let before = fs::read(&set_aside).unwrap();
    let closed = where_fails(libc::SYS_fdatasync, || taken.close()).unwrap();
    assert!(closed.is_err());
    assert_eq!(fs::read(&set_aside).unwrap(), before, "the new file took its place unconfirmed");
    take(dir.path()).close().unwrap();
    assert_eq!(logs(dir.path()), [2]);

    // If these ids were still there after a power failure, new dead letters with the same ids would count as
    // delivered.
    let mut taken = take(dir.path());
    taken.note_delivered([record(2)].iter()).unwrap();
    fs::remove_file(&set_aside).unwrap();
    let closed = where_fails(libc::SYS_fsync, || taken.close()).unwrap();
    assert!(matches!(closed, Err(StoreError::Io { doing: "remove", .. })), "{closed:?}");
}

#[test]
fn a_read_only_file_system_is_reported_at_the_start_with_path_and_uid() {
    let dir = tempfile::tempdir().unwrap();
    if mounted(dir.path(), "ro") {
        let error = open(&dir.path().join("a/b")).unwrap_err();
        assert!(matches!(&error, OpenError::Denied { cause, .. } if cause.kind() == io::ErrorKind::ReadOnlyFilesystem));
        assert!(error.to_string().contains("a/b: Read-only file system (os error 30) (running as uid 0)"), "{error}");
    }
}

#[test]
#[expect(unsafe_code, reason = "makes one thread somebody else")]
fn a_directory_of_another_user_is_refused_by_writer_and_reader() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap().append(&[record(1)]).unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o555)).unwrap();
    for file in fs::read_dir(dir.path()).unwrap() {
        fs::set_permissions(file.unwrap().path(), Permissions::from_mode(0o000)).unwrap();
    }
    // Root may do anything, so this thread alone changes its user. For other users this changes nothing.
    // SAFETY: touches no memory, and on Linux only the calling thread.
    unsafe { libc::setfsuid(65_534) };
    let (writer, reader) = (open(dir.path()), Reader::open(dir.path()));
    let made = open(&dir.path().join("new"));
    // SAFETY: as above.
    unsafe { libc::setfsuid(libc::geteuid()) };
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(writer, Err(OpenError::Denied { .. })), "{writer:?}");
    assert!(matches!(made, Err(OpenError::Denied { .. })), "{made:?}");
    assert!(matches!(reader, Err(ReadError::Denied { .. })), "{reader:?}");
}

#[test]
fn the_directory_and_its_files_are_accessible_to_their_owner_only() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("a/b");
    let letters = open(&dir).unwrap();
    letters.append(&[record(1)]).unwrap();
    OpenOptions::new().append(true).open(dir.join(FILE)).unwrap().write_all(b"torn").unwrap();
    letters.append(&[record(2)]).unwrap();
    let mut taken = take(&dir);
    taken.note_delivered([record(1)].iter()).unwrap();
    taken.close().unwrap();
    let mut taken = take(&dir);
    taken.note_delivered([record(7)].iter()).unwrap();
    letters.append(&[record(3)]).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!([mode(&root.path().join("a")), mode(&dir)], [0o700, 0o700]);
    let mut files = fs::read_dir(&dir).unwrap().map(|file| file.unwrap().path()).collect::<Vec<_>>();
    files.sort();
    let names = files.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect::<Vec<_>>();
    let expected = ["dead-letters.1.jsonl", "dead-letters.jsonl", "dead-letters.lock", "dead-letters.torn"];
    assert_eq!(names, [&expected[..], &["replay.lock", "replayed.jsonl"]].concat());
    assert!(files.iter().all(|path| mode(path) == 0o600));
}

/// Set for the other process of the test below: the directory that it opens.
const OTHER_PROCESS: &str = "FORWARDER_TEST_DEAD_LETTERS";

#[test]
fn a_second_process_is_refused_until_the_first_has_ended() {
    if let Some(dir) = std::env::var_os(OTHER_PROCESS) {
        let _letters = open(Path::new(&dir)).unwrap();
        fs::write(Path::new(&dir).join("taken"), "").unwrap();
        io::stdin().read_line(&mut String::new()).unwrap();
        std::process::abort();
    }
    let dir = tempfile::tempdir().unwrap();
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "dead_letter::tests::a_second_process_is_refused_until_the_first_has_ended", "--nocapture"])
        .env(OTHER_PROCESS, dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !dir.path().join("taken").exists() {
        assert_eq!(other.try_wait().unwrap(), None, "the other process ended early");
        std::thread::yield_now();
    }
    let refused = open(dir.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
    drop(other.stdin.take());
    other.wait().unwrap();
    open(dir.path()).unwrap();
}

#[test]
fn shards_append_concurrently_and_a_reader_sees_only_whole_records() {
    let dir = tempfile::tempdir().unwrap();
    let letters = open(dir.path()).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers = [0, 1, 2].map(|writer| {
            let letters = &letters;
            scope.spawn(move || (0..30).try_for_each(|n| letters.append(&[record(writer * 100 + n), record(1000)])))
        });
        scope.spawn(|| {
            let mut seen = 0;
            while !done.load(Ordering::Acquire) {
                let found = read(dir.path());
                let odd = |found: &&Result<_, Unreadable>| {
                    found.as_ref().is_err_and(|error| !matches!(error.defect, Defect::Unfinished))
                };
                assert_eq!(found.iter().filter(odd).count(), 0);
                let whole = found.iter().flatten().count();
                assert!(whole >= seen, "{whole} after {seen}");
                seen = whole;
            }
        });
        for writer in writers {
            writer.join().unwrap().unwrap();
        }
        done.store(true, Ordering::Release);
    });
    let mut logs = readable(dir.path()).iter().map(|record| record.origin.log).collect::<Vec<_>>();
    assert!(logs.chunks(2).all(|call| call[1] == 1000), "the records of one call stand together");
    logs.retain(|log| *log < 1000);
    logs.sort_unstable();
    assert_eq!(logs, [0, 1, 2].iter().flat_map(|writer| writer * 100..writer * 100 + 30).collect::<Vec<_>>());
}

#[test]
fn a_missing_directory_is_an_error_and_an_empty_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    assert!(readable(dir.path()).is_empty());
    let missing = Reader::open(&dir.path().join("elsewhere"));
    assert!(matches!(missing, Err(ReadError::Missing(_))), "{missing:?}");
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(Reader::open(&file), Err(ReadError::NoDirectory(_))));
    assert!(matches!(ReplayClaim::take(&file), Err(ClaimError::Read(ReadError::NoDirectory(_)))));
    assert!(matches!(open(&file), Err(OpenError::Io { .. })));
}

/// The log numbers of the dead letters that a reader finds.
fn logs(dir: &Path) -> Vec<u32> {
    readable(dir).iter().map(|record| record.origin.log).collect()
}

fn take(dir: &Path) -> ReplayClaim {
    ReplayClaim::take(dir).unwrap()
}

#[test]
fn replayed_dead_letters_are_removed_once_they_are_recorded_as_delivered() {
    let dir = dir_with(&lines(&[record(1), record(2), record(3)]));
    let mut taken = take(dir.path());
    assert_eq!(taken.letters().unwrap().count(), 3);
    taken.note_delivered([record(1), record(3)].iter()).unwrap();
    // A reader sees it at once.
    assert_eq!(logs(dir.path()), [2]);
    taken.close().unwrap();
    assert_eq!(logs(dir.path()), [2]);
    assert_eq!(files_in(dir.path()), ["dead-letters.1.jsonl", "replay.lock"]);
    let mut taken = take(dir.path());
    taken.note_delivered([record(2)].iter()).unwrap();
    taken.close().unwrap();
    assert_eq!(files_in(dir.path()), ["replay.lock"]);
}

#[test]
fn dead_letters_are_counted_until_a_replay_has_delivered_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut waiting = OpenDeadLetters::new(dir.path());
    assert_eq!(waiting.look().unwrap().open, 0);
    let store = open(dir.path()).unwrap();
    store.append(&[record(1), record(2), record(3)]).unwrap();
    assert_eq!(waiting.look().unwrap().open, 3);
    store.append(&[record(4)]).unwrap();
    let look = waiting.look().unwrap();
    assert_eq!(look.reasons.values().sum::<u64>(), 4, "{look:?}");
    assert!(look.bytes > 0 && look.newest.as_deref().is_some_and(|at| at.ends_with('Z')), "{look:?}");
    assert_eq!(waiting.look().unwrap().open, 4, "what is new is counted to it");
    let mut taken = take(dir.path());
    assert_eq!(waiting.look().unwrap().open, 4, "taken is not delivered");
    store.append(&[record(5)]).unwrap();
    taken.note_delivered([record(1), record(3)].iter()).unwrap();
    assert_eq!(waiting.look().unwrap().open, 3);
    taken.close().unwrap();
    assert_eq!(waiting.look().unwrap().open, 3);
    std::fs::remove_file(dir.path().join(FILE)).unwrap();
    assert_eq!(waiting.look().unwrap().open, 2, "somebody removed the newest");
}

#[test]
fn a_forwarder_keeps_writing_while_its_dead_letters_are_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.append(&[record(1)]).unwrap();
    let mut taken = take(dir.path());
    store.append(&[record(2)]).unwrap();
    assert_eq!(logs(dir.path()), [1, 2]);
    taken.note_delivered([record(1)].iter()).unwrap();
    taken.close().unwrap();
    store.append(&[record(3)]).unwrap();
    assert_eq!(logs(dir.path()), [2, 3]);
}

#[test]
fn an_interrupted_replay_is_finished_by_the_next() {
    let dir = dir_with(&lines(&[record(1), record(2)]));
    let mut taken = take(dir.path());
    taken.note_delivered([record(1)].iter()).unwrap();
    drop(taken);
    // The same log may become a dead letter again before that: it is then a new dead letter.
    fs::write(dir.path().join(FILE), lines(&[record(1)])).unwrap();
    assert_eq!(logs(dir.path()), [2, 1]);
    assert_eq!(
        take(dir.path()).letters().unwrap().map(|found| found.unwrap().record.origin.log).collect::<Vec<_>>(),
        [2, 1]
    );
}

#[test]
fn unreadable_records_stay_where_they_are() {
    let noise = b"noise";
    let bytes = [lines(&[record(1)]), noise.to_vec(), b"\n".to_vec(), lines(&[record(2)])].concat();
    let dir = dir_with(&bytes);
    let mut taken = take(dir.path());
    taken.note_delivered([record(1)].iter()).unwrap();
    taken.close().unwrap();
    let left = fs::read(dir.path().join("dead-letters.1.jsonl")).unwrap();
    assert_eq!(left, [b"noise\n".to_vec(), lines(&[record(2)])].concat());
}

#[test]
fn f81_a_replay_handles_a_torn_record_as_the_writer_does() {
    let torn = b"{\"v\":1,\"id\":\"3-".to_vec();
    let dir = dir_with(&[lines(&[record(1)]), torn.clone()].concat());
    let taken = take(dir.path());
    assert_eq!(readable(dir.path()), [record(1)]);
    assert_eq!(taken.letters().unwrap().filter(Result::is_ok).count(), 1);
    assert_eq!(fs::read(dir.path().join("dead-letters.torn")).unwrap(), [torn, b"\n".to_vec()].concat());
}

#[test]
fn two_replays_do_not_take_the_same_dead_letters() {
    let dir = dir_with(&lines(&[record(1)]));
    let taken = take(dir.path());
    let refused = ReplayClaim::take(dir.path()).unwrap_err().to_string();
    assert!(refused.starts_with("another replay is using the dead letters in "), "{refused}");
    drop(taken);
    take(dir.path());
}

fn files_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
