use std::io;
use std::path::Path;

use super::filter::Since;
use super::look::{List, run};
use super::output::DlqError;
use super::*;
use crate::cli::terminal::cells;
use crate::core::cursor::{Cursor, ShardId};
use crate::core::destination_name::DestinationName;
use crate::dead_letter::{Config, DirectoryStore, LogOrigin, Reason, Record};

fn record(log: u32) -> Record {
    Record {
        at: "2026-02-03T04:05:06.789Z".parse().unwrap(),
        reason: Reason::Rejected,
        destination: None,
        code: "hec 6".to_owned(),
        message: "Invalid data format".to_owned(),
        origin: LogOrigin {
            project: "prod".to_owned(),
            logstore: "audit".to_owned(),
            shard: ShardId(3),
            cursor: Cursor::from_number(1_447_299_606_896_632_356),
            log,
            event: Some(0),
        },
        script: "0123456789ab".to_owned(),
        log: vec![
            (b"__time__".to_vec(), b"1700000000".to_vec()),
            (b"caf\xe9\x1b[2J".to_vec(), "\u{202e}张\u{9b}\n".into()),
            (b"a".to_vec(), b"C:\\new".to_vec()),
        ],
        event: Some(b"{\"event\":\"x\"}\n".to_vec()),
    }
}

fn script_error() -> Record {
    Record {
        at: "2026-02-04T00:00:00Z".parse().unwrap(),
        reason: Reason::ScriptError,
        destination: None,
        code: "runtime".to_owned(),
        message: "transform.lua:3: 字段 'event' is nil\r\x1b]0;x\x07 and more of the kind".to_owned(),
        origin: LogOrigin { shard: ShardId(12), event: None, ..record(7).origin },
        event: None,
        ..record(7)
    }
}

fn letters(records: &[Record]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let letters = DirectoryStore::open(Config { dir: dir.path().to_owned(), max_bytes: 1 << 20 }).unwrap();
    letters.append(records).unwrap();
    dir
}

/// What `forwarder dlq ARGS` prints on standard output and as notes.
fn dlq(dir: &Path, args: &[&str], width: Option<usize>) -> Result<(String, String), DlqError> {
    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        dlq: Dlq,
    }
    let cli =
        <Cli as clap::Parser>::try_parse_from([&["dlq"], args].concat()).unwrap_or_else(|error| panic!("{error}"));
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    let now = "2026-02-04T01:00:00Z".parse().unwrap();
    let Action::Look(look) = &cli.dlq.action else { panic!("no replay here") };
    let dir = cli.dlq.dir.as_deref().unwrap_or(dir);
    run(look, dir, now, Output { out: &mut out, notes: &mut notes, width })?;
    Ok((String::from_utf8(out).unwrap(), String::from_utf8(notes).unwrap()))
}

fn ids(dir: &Path, args: &[&str]) -> Vec<String> {
    let (out, _) = dlq(dir, &[&["list", "--json"], args].concat(), None).unwrap();
    let id = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
    out.lines().map(id).collect()
}

#[test]
fn a_list_has_one_line_per_dead_letter_and_the_totals() {
    let dir = letters(&[record(1), script_error(), record(2)]);
    let (out, notes) = dlq(dir.path(), &["list"], None).unwrap();
    let expected = r"
ID                                                AT                    REASON          CODE        MESSAGE
prod/audit/3-1447299606896632356-1-0              2026-02-03T04:05:06Z  rejected        hec 6       Invalid data format
prod/audit/12-1447299606896632356-7               2026-02-04T00:00:00Z  script_error    runtime     transform.lua:3: 字段 'event' is nil\r\u{1b}]0;x\u{7} and more of the kind
prod/audit/3-1447299606896632356-2-0              2026-02-03T04:05:06Z  rejected        hec 6       Invalid data format

3 dead letters: script_error 1, rejected 2
";
    assert_eq!(out, expected[1..]);
    assert_eq!(notes, "");
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let dir = letters(&[script_error()]);
    for width in 1..220 {
        let (out, _) = dlq(dir.path(), &["list"], Some(width)).unwrap();
        let letter = out.lines().skip(if width < 124 { 2 } else { 1 }).take_while(|line| !line.is_empty());
        assert!(letter.clone().all(|line| cells(line) <= width), "{width}: {out}");
        assert_eq!(letter.clone().count(), if width < 124 { 2 } else { 1 }, "{width}: {out}");
    }
}

#[test]
fn on_a_narrow_terminal_the_message_has_its_own_line() {
    let dir = letters(&[script_error()]);
    let (out, _) = dlq(dir.path(), &["list"], Some(90)).unwrap();
    let expected = r"
ID                                                AT                    REASON          C…
    MESSAGE
prod/audit/12-1447299606896632356-7               2026-02-04T00:00:00Z  script_error    r…
    transform.lua:3: 字段 'event' is nil\r\u{1b}]0;x\u{7} and more of the kind

1 dead letter: script_error 1
";
    assert_eq!(out, expected[1..]);
}

#[test]
fn dead_letters_are_filtered_by_reason_shard_and_time() {
    let dir = letters(&[record(1), script_error()]);
    let (rejected, failed) = ("prod/audit/3-1447299606896632356-1-0", "prod/audit/12-1447299606896632356-7");
    assert_eq!(ids(dir.path(), &[]), [rejected, failed]);
    assert_eq!(ids(dir.path(), &["--reason", "rejected"]), [rejected]);
    assert_eq!(ids(dir.path(), &["--reason", "rejected,script_error"]), [rejected, failed]);
    assert_eq!(ids(dir.path(), &["--shard", "12", "--shard", "4"]), [failed]);
    assert_eq!(ids(dir.path(), &["--since", "2026-02-03T04:05:06.790Z"]), [failed]);
    assert_eq!(ids(dir.path(), &["--since", "2026-02-03T12:05:06.789+08:00"]), [rejected, failed]);
    assert_eq!(ids(dir.path(), &["--since", "61m"]), [failed]);
    assert_eq!(ids(dir.path(), &["--since", "59m"]), [""; 0]);
    assert_eq!(ids(dir.path(), &["--since", "3d"]), [rejected, failed]);
    assert_eq!(ids(dir.path(), &["--since", "2020-01-01"]), [rejected, failed]);
    assert_eq!(ids(dir.path(), &["--since", "9000y"]), [rejected, failed]);
    let (out, _) = dlq(dir.path(), &["list", "--shard", "3"], None).unwrap();
    assert!(out.ends_with("\n\n1 of 2 dead letters: rejected 1\n"), "{out}");
    let (out, _) = dlq(dir.path(), &["list", "--shard", "4"], None).unwrap();
    assert_eq!(out, format!("none of the 2 dead letters in {} matches\n", dir.path().display()));
}

#[test]
fn an_invalid_filter_is_refused_with_the_list_of_valid_ones() {
    let reason = "lost".parse::<Reason>().unwrap_err().to_string();
    assert!(reason.contains("script_error, script_timeout, "), "{reason}");
    let since = "yesterday".parse::<Since>().unwrap_err();
    assert!(since.contains("2026-02-03T04:05:06Z"), "{since}");
}

#[test]
fn show_prints_everything_and_cannot_control_the_terminal() {
    let dir = letters(&[record(1), script_error()]);
    let (out, _) = dlq(dir.path(), &["show", "prod/audit/3-1447299606896632356-1-0"], Some(80)).unwrap();
    let expected = r#"
id        prod/audit/3-1447299606896632356-1-0
at        2026-02-03T04:05:06.789Z
reason    rejected
code      hec 6
message   Invalid data format
project   prod
logstore  audit
shard     3
cursor    MTQ0NzI5OTYwNjg5NjYzMjM1Ng==
log       1 after the cursor, counted from 0
event     0 of the log, counted from 0
script    0123456789ab

log
  __time__          1700000000
  caf\xe9\u{1b}[2J  \u{202e}张\u{9b}\n
  a                 C:\new

event
  {"event":"x"}\n
"#;
    assert_eq!(out, expected[1..]);
    let (out, _) = dlq(dir.path(), &["show", "12-1447299606896632356-7"], None).unwrap();
    assert!(out.ends_with("\nevent\n  none was made\n"), "{out}");
}

#[test]
fn an_id_of_two_logstores_must_name_one_and_an_old_id_of_one_logstore_is_enough() {
    let of = |logstore: &str, log| {
        let origin = LogOrigin { logstore: logstore.to_owned(), ..record(log).origin };
        Record { origin, ..record(log) }
    };
    let dir = letters(&[of("audit", 1), of("waf", 1), of("waf", 2)]);
    let old = |log| format!("3-1447299606896632356-{log}-0");
    let show = |id: &str| dlq(dir.path(), &["show", "--json", id], None).map(|(out, _)| out.lines().count());
    let error = show(&old(1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the id 3-1447299606896632356-1-0 means dead letters of several logstores: use one of \
         prod/audit/3-1447299606896632356-1-0, prod/waf/3-1447299606896632356-1-0"
    );
    assert_eq!(error.exit_code(), 2);
    assert_eq!(show(&format!("prod/waf/{}", old(1))).unwrap(), 1);
    assert_eq!(show(&old(2)).unwrap(), 1);
    assert!(matches!(show("prod/oss/3-1447299606896632356-1-0"), Err(DlqError::Unknown { .. })));
}

#[test]
fn json_prints_the_lines_of_the_file() {
    let dir = letters(&[record(1), script_error(), record(1)]);
    let file = std::fs::read_to_string(dir.path().join("dead-letters.jsonl")).unwrap();
    assert_eq!(dlq(dir.path(), &["list", "--json"], Some(20)).unwrap().0, file);
    let twice = dlq(dir.path(), &["show", "--json", &record(1).id()], None).unwrap().0;
    assert_eq!(twice.lines().collect::<Vec<_>>(), file.lines().step_by(2).collect::<Vec<_>>());
}

#[test]
fn a_damaged_line_is_reported_and_skipped() {
    let dir = letters(&[record(1), record(2)]);
    let file = dir.path().join("dead-letters.jsonl");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (out, notes) = dlq(dir.path(), &["list"], None).unwrap();
    assert!(out.ends_with("\n1 dead letter: rejected 1; 1 could not be read\n"), "{out}");
    let start = format!("skipped: {} at byte 0 (", file.display());
    assert!(notes.starts_with(&start) && notes.ends_with("the line is damaged\n"), "{notes}");

    std::fs::write(&file, "noise\n").unwrap();
    let (out, _) = dlq(dir.path(), &["list"], None).unwrap();
    assert_eq!(out, format!("no dead letter in {} can be read\n", dir.path().display()));
}

#[test]
fn an_empty_directory_is_reported_as_no_dead_letters() {
    let dir = letters(&[]);
    let (out, _) = dlq(dir.path(), &["list"], None).unwrap();
    assert_eq!(out, format!("no dead letters in {}\n", dir.path().display()));
    let never = tempfile::tempdir().unwrap();
    let (out, _) = dlq(never.path(), &["list"], None).unwrap();
    let path = never.path().display();
    assert_eq!(out, format!("no dead letters in {path}, and no forwarder has written any there\n"));
    let file = dir.path().join("dead-letters.lock");
    let error = dlq(&file, &["list"], None).unwrap_err().to_string();
    assert_eq!(error, format!("{} is not a directory: name the directory with dead-letters.jsonl", file.display()));
    let unknown = dlq(dir.path(), &["show", "1-2-3\x1b"], None).unwrap_err().to_string();
    assert!(unknown.contains("has the id 1-2-3\\u{1b}: `forwarder dlq list`"), "{unknown}");
    let elsewhere = dir.path().join("elsewhere");
    let missing = dlq(dir.path(), &["list", "--dir", elsewhere.to_str().unwrap()], None).unwrap_err();
    assert!(missing.to_string().starts_with(&format!("there is no directory {}", elsewhere.display())), "{missing}");
}

#[test]
fn a_closed_output_pipe_is_not_an_error() {
    let dir = letters(&[record(1)]);
    let (mut closed, other) = std::os::unix::net::UnixStream::pair().unwrap();
    drop(other);
    let list = Look::List(List::default());
    let output = Output { out: &mut closed, notes: &mut io::sink(), width: None };
    run(&list, dir.path(), Timestamp::UNIX_EPOCH, output).unwrap();
}

#[test]
fn dead_letters_can_be_filtered_by_destination() {
    let of = |log, name: &str| Record { destination: Some(DestinationName::new(name).unwrap()), ..record(log) };
    let dir = letters(&[of(1, "splunk"), of(1, "archive"), script_error(), of(2, "splunk")]);
    let (out, _) = dlq(dir.path(), &["list"], None).unwrap();
    assert!(out.ends_with("script_error 1, rejected 3; by destination: archive 1, splunk 2\n"), "{out}");
    assert_eq!(ids(dir.path(), &["--destination", "splunk"]).len(), 2);
    assert_eq!(ids(dir.path(), &["--destination", "archive,splunk"]).len(), 3);
    let (out, _) = dlq(dir.path(), &["show", "3-1447299606896632356-1-0"], None).unwrap();
    assert!(out.contains("destination  splunk") && out.contains("destination  archive"), "{out}");
}
