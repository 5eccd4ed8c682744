//! Tests of the generated logs.

use std::collections::BTreeSet;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use serde_json::Value;

use super::*;
use crate::loggroup::proto::LogGroupList;

const START: u32 = 1_790_000_000;

fn value<'a>(log: &'a Log, key: &str) -> &'a str {
    let pair = log.contents.iter().find(|pair| pair.key == key.as_bytes()).expect(key);
    std::str::from_utf8(&pair.value).unwrap()
}

/// Mean bytes of a log's fields, and how far gzip level 1 shrinks a thousand of them.
fn size_and_ratio(logs: &[Log]) -> (usize, f64) {
    let mut plain = Vec::new();
    for log in logs {
        let fields = log.contents.iter().map(|pair| (value(log, std::str::from_utf8(&pair.key).unwrap()), &pair.key));
        for (text, key) in fields {
            serde_json::to_writer(&mut plain, text).unwrap();
            plain.extend_from_slice(key);
        }
        plain.push(b'\n');
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&plain).unwrap();
    (plain.len() / logs.len(), plain.len() as f64 / encoder.finish().unwrap().len() as f64)
}

#[test]
fn the_same_seed_makes_the_same_logs_and_another_seed_makes_others() {
    let make = |seed| {
        let mut generator = Generator::new(seed, START);
        [generator.audit(20), generator.nginx(20), generator.audit(20)].map(|group| group.encode_to_vec())
    };
    assert_eq!(make(1), make(1));
    assert_ne!(make(1), make(2));
}

#[test]
fn a_log_is_the_same_alone_and_in_its_group() {
    let mut generator = Generator::new(7, START);
    generator.audit(5);
    assert_eq!(generator.audit(5).logs[3], Generator::new(7, START).audit_log(8));
    assert_eq!(generator.nginx(5).logs[3], Generator::new(7, START).nginx_log(3));
}

#[test]
fn every_id_is_in_its_log_and_unique() {
    let mut generator = Generator::new(3, START);
    let (audit, nginx) = (generator.audit(2_000), generator.nginx(2_000));
    let mut ids = BTreeSet::new();
    for (i, log) in (0..).zip(&audit.logs) {
        let event: Value = serde_json::from_str(value(log, "event")).unwrap();
        assert_eq!(event["eventId"], generator.audit_id(i));
        ids.insert(generator.audit_id(i));
    }
    for (i, log) in (0..).zip(&nginx.logs) {
        assert_eq!(value(log, "request_id"), generator.nginx_id(i));
        ids.insert(generator.nginx_id(i));
    }
    assert_eq!(ids.len(), 4_000);
}

#[test]
fn audit_logs_are_as_varied_and_as_large_as_real_ones() {
    let logs = Generator::new(3, START).audit(2_000).logs;
    let (size, ratio) = size_and_ratio(&logs);
    assert!((1_000..1_500).contains(&size) && (4.0..9.0).contains(&ratio), "{size} bytes, ratio {ratio}");
    let events: Vec<Value> = logs.iter().map(|log| serde_json::from_str(value(log, "event")).unwrap()).collect();
    let different =
        |path: &str| events.iter().filter_map(|event| event.pointer(path)?.as_str()).collect::<BTreeSet<_>>().len();
    assert!(different("/userIdentity/userName") > 300, "{}", different("/userIdentity/userName"));
    assert!(different("/sourceIpAddress") > 500, "{}", different("/sourceIpAddress"));
    assert!(different("/errorCode") >= 4);
    assert!(events.iter().any(|event| !event["userIdentity"]["userName"].as_str().unwrap().is_ascii()));
    assert!(events.iter().all(|event| event["requestParameters"]["OwnerId"].as_u64().unwrap() > 1 << 53));
    assert!(events.iter().all(|event| event["requestParameters"]["Filter"].as_str().unwrap().contains('\\')));
}

#[test]
fn access_logs_have_twelve_fields_and_compress_like_real_ones() {
    let logs = Generator::new(3, START).nginx(2_000).logs;
    assert!(logs.iter().all(|log| log.contents.len() == 12));
    let (size, ratio) = size_and_ratio(&logs);
    assert!((380..560).contains(&size) && (3.0..8.0).contains(&ratio), "{size} bytes, ratio {ratio}");
}

#[test]
fn times_are_written_as_utc() {
    assert_eq!(Utc(0).to_string(), "1970-01-01T00:00:00Z");
    assert_eq!(Utc(951_868_800 - 1).to_string(), "2000-02-29T23:59:59Z");
    assert_eq!(Utc(u32::MAX).to_string(), "2106-02-07T06:28:15Z");
    assert_eq!(Stamp(1_700_000_000).to_string(), "14/Nov/2023:22:13:20 +0000");
}

#[test]
fn the_nasty_corpus_survives_the_wire_and_names_its_logs() {
    let groups = nasty();
    let bytes = LogGroupList { groups: groups.clone() }.encode_to_vec();
    assert_eq!(LogGroupList::decode(&bytes[..]).unwrap().groups, groups);
    let logs = || groups.iter().flat_map(|group| &group.logs);
    let ids: Vec<_> = logs().filter_map(|log| log.contents.iter().find(|pair| pair.key == b"id")).collect();
    let different: BTreeSet<_> = ids.iter().map(|pair| &pair.value).collect();
    assert_eq!((ids.len(), different.len()), (logs().count() - 1, ids.len()));
    assert!(logs().any(|log| log.contents.iter().any(|pair| pair.value.len() == 1 << 20)));
    assert!(logs().any(|log| log.time == 0) && logs().any(|log| log.time == u32::MAX));
}
