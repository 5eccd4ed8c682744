use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::core::cursor::{Cursor, ShardId};
use crate::loggroup::proto;

type Dict = Vec<(Vec<u8>, Vec<u8>)>;

fn read(body: &[u8]) -> Result<Vec<Dict>, PageError> {
    let mut logs = Logs::default();
    logs.open(Bytes::copy_from_slice(body))?;
    let mut all = Vec::new();
    while let Some(log) = logs.read()? {
        all.push(log.fields().map(|(key, value)| (key.to_vec(), value.to_vec())).collect());
    }
    Ok(all)
}

/// The algorithm of the Python SDK, with a list instead of its dict.
fn flatten(list: &proto::LogGroupList) -> Vec<Dict> {
    fn set(dict: &mut Dict, key: &[u8], value: &[u8]) {
        match dict.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value.to_vec(),
            None => dict.push((key.to_vec(), value.to_vec())),
        }
    }
    let mut all = Vec::new();
    for group in &list.groups {
        for log in &group.logs {
            let mut dict = Dict::new();
            set(&mut dict, b"__time__", log.time.to_string().as_bytes());
            set(&mut dict, b"__topic__", group.topic.as_deref().unwrap_or_default());
            set(&mut dict, b"__source__", group.source.as_deref().unwrap_or_default());
            if let Some(nanos) = log.time_ns.filter(|&nanos| nanos != 0) {
                set(&mut dict, b"__time_ns_part__", nanos.to_string().as_bytes());
            }
            for tag in &group.tags {
                set(&mut dict, &[b"__tag__:", tag.key.as_slice()].concat(), &tag.value);
            }
            for content in &log.contents {
                set(&mut dict, &content.key, &content.value);
            }
            all.push(dict);
        }
    }
    all
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[track_caller]
fn check(hex: &str, expected: &[(&str, &str)]) {
    let logs = read(&unhex(hex)).unwrap();
    assert_eq!(logs.len(), 1);
    let fields: Vec<_> = logs[0].iter().map(|(k, v)| (str(k), str(v))).collect();
    assert_eq!(fields, expected);
}

fn str(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn tags_come_before_contents_and_the_machine_uuid_is_left_out() {
    check(
        "0a640a160880e2cfaa0612060a016212013112060a016112013212037265731a027431220831302e302e302e312a034d2d3132120a0c5f5f\
         686f73746e616d655f5f12026831321e0a105f5f726563656976655f74696d655f5f120a31373030303030303031",
        &[
            ("__time__", "1700000000"),
            ("__topic__", "t1"),
            ("__source__", "10.0.0.1"),
            ("__tag__:__hostname__", "h1"),
            ("__tag__:__receive_time__", "1700000001"),
            ("b", "1"),
            ("a", "2"),
        ],
    );
}

#[test]
fn absent_topic_and_source_are_empty() {
    check(
        "0a100a0e0880e2cfaa0612060a016b120176",
        &[("__time__", "1700000000"), ("__topic__", ""), ("__source__", ""), ("k", "v")],
    );
}

#[test]
fn nanoseconds_are_a_plain_decimal() {
    check(
        "0a190a130880e2cfaa0612060a016b1201762515cd5b071a002200",
        &[
            ("__time__", "1700000000"),
            ("__topic__", ""),
            ("__source__", ""),
            ("__time_ns_part__", "123456789"),
            ("k", "v"),
        ],
    );
}

#[test]
fn zero_nanoseconds_make_no_field() {
    check(
        "0a150a130880e2cfaa0612060a016b1201762500000000",
        &[("__time__", "1700000000"), ("__topic__", ""), ("__source__", ""), ("k", "v")],
    );
}

#[test]
fn f34_contents_override_everything_and_keep_the_first_position() {
    check(
        "0a8e010a72080112060a016b12013112150a095f5f746f7069635f5f12086f7665727269646512060a016b120132120f0a085f5f74696d65\
         5f5f120339393912100a0b5f5f7461675f5f3a647570120163120f0a0a5f5f736f757263655f5f12016f120c0a001208656d7074796b6579\
         12050a016512001a017422017332080a0364757012013132080a03647570120132",
        &[
            ("__time__", "999"),
            ("__topic__", "override"),
            ("__source__", "o"),
            ("__tag__:dup", "c"),
            ("k", "2"),
            ("", "emptykey"),
            ("e", ""),
        ],
    );
}

#[test]
fn a_log_without_contents_has_its_time_topic_and_source() {
    check("0a0b0a0608ffffffff0f1a0174", &[("__time__", "4294967295"), ("__topic__", "t"), ("__source__", "")]);
}

#[test]
fn a_log_without_a_time_has_time_zero_and_unknown_fields_are_skipped() {
    // Field 9 is a number, field 10 a group that holds four and eight bytes.
    check(
        "0a1c0a1a48015315000000001900000000000000005412060a016b120176",
        &[("__time__", "0"), ("__topic__", ""), ("__source__", ""), ("k", "v")],
    );
}

#[test]
fn an_empty_body_has_no_logs() {
    assert_eq!(read(b""), Ok(vec![]));
}

#[test]
fn a_torn_page_is_an_error_that_names_the_offset() {
    let check = |hex: &str, offset, fault| assert_eq!(read(&unhex(hex)), Err(PageError { offset, fault }), "{hex}");
    check("0a", 1, PageFault::Truncated);
    check("0a100a0e0880", 1, PageFault::Truncated);
    check("0a020a05", 3, PageFault::Truncated);
    check("0a040a022501", 5, PageFault::Truncated);
    check("08", 1, PageFault::WireType);
    check("00", 0, PageFault::Tag);
    check("0f", 0, PageFault::Tag);
    check("1001ff", 2, PageFault::Truncated);
    check("14", 1, PageFault::Nesting);
    check("10ffffffffffffffffffff01", 1, PageFault::Varint);
    check("1b", 1, PageFault::Truncated);
    check("1b24", 1, PageFault::Nesting);
    check("0a040a020a00", 5, PageFault::WireType);
}

#[test]
fn endlessly_nested_groups_are_an_error_and_not_a_stack_overflow() {
    let error = read(&vec![0x1b; 1 << 20]).unwrap_err();
    assert_eq!(error.fault, PageFault::Nesting);
}

#[test]
fn a_place_counts_within_the_group_if_the_page_gives_its_number() {
    let pair = |key: &[u8]| proto::Pair { key: key.to_vec(), value: vec![] };
    let log = || proto::Log { contents: vec![pair(b"k")], ..Default::default() };
    let group = |logs| proto::LogGroup { logs, ..Default::default() };
    let list = proto::LogGroupList { groups: vec![group(vec![log(), log()]), group(vec![]), group(vec![log()])] };
    let mut page = Page {
        shard: ShardId(7),
        cursor: Cursor::new("c0"),
        next: Cursor::new("c1"),
        body: list.encode_to_vec().into(),
        groups: 3,
        last_group: Some(42),
        first_log: 0,
        at_end: None,
        received_at: None,
        scanned_bytes: 0,
        packed: None,
        wire_bytes: 0,
    };
    let places = |page: &Page| {
        let mut logs = Logs::default();
        logs.open(page.body.clone()).unwrap();
        let mut places = Vec::new();
        while let Some(log) = logs.read().unwrap() {
            places.push(log.place(page).to_string());
        }
        places
    };
    assert_eq!(places(&page), ["7|40|0", "7|40|1", "7|42|0"]);
    page.last_group = None;
    assert_eq!(places(&page), ["7|c0|0", "7|c0|1", "7|c0|2"]);
}

#[test]
fn logs_of_the_same_second_share_only_that_second() {
    let log = |time, time_ns| proto::Log { time, contents: vec![], time_ns };
    let group = |topic: &str, logs| proto::LogGroup {
        logs,
        topic: Some(topic.into()),
        tags: vec![proto::Pair { key: topic.into(), value: b"tag".to_vec() }],
        ..proto::LogGroup::default()
    };
    let logs = vec![log(5, Some(7)), log(5, None), log(5, Some(123)), log(60, None), log(5, None)];
    let list =
        proto::LogGroupList { groups: vec![group("a", logs), group("longer", vec![log(5, None), log(5, Some(1))])] };
    assert_eq!(read(&list.encode_to_vec()).unwrap(), flatten(&list));
}

#[test]
fn many_repeated_keys_are_flattened_like_few() {
    let contents = (0..500u32)
        .map(|n| proto::Pair { key: (n % 120).to_string().into_bytes(), value: n.to_string().into_bytes() })
        .collect();
    let list = proto::LogGroupList {
        groups: vec![proto::LogGroup {
            logs: vec![proto::Log { contents, ..Default::default() }],
            ..Default::default()
        }],
    };
    assert_eq!(read(&list.encode_to_vec()).unwrap(), flatten(&list));
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-c]{0,2}".prop_map(String::into_bytes),
        1 => Just(b"__time__".to_vec()),
        1 => Just(b"__tag__:a".to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
        1 => (3..20_usize).prop_map(|len| vec![b'k'; len]),
        1 => (120..300_usize).prop_map(|len| vec![b'v'; len]),
    ]
}

fn list() -> impl Strategy<Value = proto::LogGroupList> {
    let pair = || (bytes(), bytes()).prop_map(|(key, value)| proto::Pair { key, value });
    let pairs = move || proptest::collection::vec(pair(), 0..5);
    let time = prop_oneof![Just(5), any::<u32>()];
    let log = (time, pairs(), proptest::option::of(prop_oneof![Just(0), any::<u32>()]))
        .prop_map(|(time, contents, time_ns)| proto::Log { time, contents, time_ns });
    let group =
        (proptest::collection::vec(log, 0..4), proptest::option::of(bytes()), proptest::option::of(bytes()), pairs())
            .prop_map(|(logs, topic, source, tags)| proto::LogGroup {
                logs,
                topic,
                source,
                machine_uuid: Some(b"M-1".to_vec()),
                tags,
            });
    proptest::collection::vec(group, 0..4).prop_map(|groups| proto::LogGroupList { groups })
}

/// Checks that prost and this reader agree: both return the same logs, or both fail.
fn agree(body: &[u8]) -> Result<(), TestCaseError> {
    match proto::LogGroupList::decode(body) {
        Ok(list) => prop_assert_eq!(read(body), Ok(flatten(&list))),
        Err(error) => prop_assert!(read(body).is_err(), "prost: {}", error),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn pages_are_decoded_as_prost_decodes_them(list in list()) {
        agree(&list.encode_to_vec())?;
    }

    #[test]
    fn pages_that_prost_refuses_are_refused(list in list(), changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..4), cut in any::<u16>()) {
        let mut body = list.encode_to_vec();
        for (at, byte) in changes {
            if !body.is_empty() {
                let at = usize::from(at) % body.len();
                body[at] = byte;
            }
        }
        agree(&body)?;
        body.truncate(usize::from(cut) % (body.len() + 1));
        agree(&body)?;
    }

    #[test]
    fn random_bytes_never_panic(body in proptest::collection::vec(prop_oneof![any::<u8>(), 0u8..0x40], 0..64)) {
        agree(&body)?;
    }
}
