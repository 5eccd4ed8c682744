//! The lines of the file: every record survives them, and they name their log.

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::core::destination_name::DestinationName;
use crate::core::printable::is_unprintable;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/dead-letters-v1.jsonl");

/// The same dead letters with ids that do not name the logstore.
const GOLDEN_SHORT_IDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/dead-letters-v1-short-ids.jsonl");

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
