use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::HeaderName;

use super::*;
use crate::core::budget::Buffers;
use crate::core::cursor::{Cursor, ShardId, Start};
use crate::core::page::Page;
use crate::core::source::Checkpoint;
use crate::sls::message::{Method, Reply, Request};
use crate::sls::test_config::test_config;
use crate::sls::{Compression, Config};

const CURSOR: &str = "MTcwMDAwMDAwMDAwMDAwMDAwMA==";
const SHARD: ShardId = ShardId(3);

fn read(config: &Config, reply: Reply) -> Result<Page, ReadError> {
    read_pull(config, SHARD, &cursor(), reply, &Buffers::none())
}

pub(in crate::sls) fn config() -> Config {
    Config { endpoint: "sls.test".into(), timeout: Duration::from_secs(60), ..test_config(0) }
}

fn cursor() -> Cursor {
    Cursor::new(CURSOR)
}

fn json(body: &str) -> Reply {
    Reply { status: 200, body: Bytes::copy_from_slice(body.as_bytes()), ..Reply::default() }
}

#[track_caller]
fn check(request: &Request, method: Method, target: &str, body: &str) {
    assert_eq!(request.method, method);
    assert_eq!(request.target(), target);
    assert_eq!(String::from_utf8_lossy(&request.body), body);
    assert_eq!(request.header("x-log-apiversion"), Some("0.6.0"));
    assert_eq!(request.header("x-log-bodyrawsize"), Some("0"));
    assert_eq!(request.header("content-type").is_some(), !body.is_empty());
}

#[test]
fn groups_are_listed_created_and_updated() {
    let config = config();
    let groups = "/logstores/my-logstore/consumergroups";
    check(&build_list_groups(&config), Method::Get, groups, "");
    let body = r#"{"consumerGroup":"cg1","timeout":40,"order":false}"#;
    check(&build_create_group(&config), Method::Post, groups, body);
    let body = r#"{"order":false,"timeout":40}"#;
    check(&build_update_group(&config), Method::Put, "/logstores/my-logstore/consumergroups/cg1", body);
}

#[test]
fn a_group_timeout_is_whole_seconds_and_never_zero() {
    let seconds = |group_timeout| {
        let group = configured_group(&Config { group_timeout, ..config() });
        group.timeout.get()
    };
    assert_eq!(seconds(Duration::ZERO), 1);
    assert_eq!(seconds(Duration::from_millis(1500)), 2);
    assert_eq!(seconds(Duration::from_secs(60)), 60);
}

#[test]
fn a_heartbeat_lists_the_held_shards_in_order() {
    let target = "/logstores/my-logstore/consumergroups/cg1?type=heartbeat&consumer=cg1-123";
    let held = BTreeSet::from([ShardId(7), ShardId(0)]);
    check(&build_heartbeat(&config(), &held), Method::Post, target, "[0,7]");
    check(&build_heartbeat(&config(), &BTreeSet::new()), Method::Post, target, "[]");
}

#[test]
fn a_save_names_the_consumer_and_is_forced_only_for_an_operator() {
    let target = "/logstores/my-logstore/consumergroups/cg1?type=checkpoint&consumer=cg1-123&forceSuccess=false";
    let body = format!(r#"{{"shard":3,"checkpoint":"{CURSOR}"}}"#);
    check(&build_save(&config(), SHARD, &cursor()), Method::Post, target, &body);
    let saved = SavedAt { shard: 3, cursor: cursor(), consumer: "other".into(), micros: 0 };
    check(&build_save_of(&config(), &saved), Method::Post, &target.replace("cg1-123", "other"), &body);
    let target = "/logstores/my-logstore/consumergroups/cg1?type=checkpoint&consumer=forwarder-seek&forceSuccess=true";
    check(&build_forced_save(&config(), SHARD, &cursor()), Method::Post, target, &body);
}

#[test]
fn checkpoint_cursor_and_time_of_a_shard_are_requested() {
    let config = config();
    let target = "/logstores/my-logstore/consumergroups/cg1?shard=3";
    check(&build_checkpoint(&config, SHARD), Method::Get, target, "");
    for (start, from) in [(Start::Begin, "begin"), (Start::End, "end"), (Start::Time(1_545_782_400), "1545782400")] {
        let target = format!("/logstores/my-logstore/shards/3?type=cursor&from={from}");
        check(&build_cursor(&config, SHARD, start), Method::Get, &target, "");
    }
    let target = "/logstores/my-logstore/shards/3?type=cursor_time&cursor=MTcwMDAwMDAwMDAwMDAwMDAwMA%3D%3D";
    check(&build_cursor_time(&config, SHARD, &cursor()), Method::Get, target, "");
    check(&build_list_shards(&config), Method::Get, "/logstores/my-logstore/shards", "");
}

#[test]
fn a_pull_carries_query_and_processor_in_form_encoding() {
    let plain = "/logstores/my-logstore/shards/3?type=log&cursor=MTcwMDAwMDAwMDAwMDAwMDAwMA%3D%3D&count=500";
    check(&build_pull(&config(), SHARD, &cursor(), 500, None), Method::Get, plain, "");
    let config =
        Config { query: Some("* | where a = 'x y'".into()), processor: Some("consume-processor-1".into()), ..config() };
    let target =
        format!("{plain}&pullMode=scan_on_stream&query=%2A+%7C+where+a+%3D+%27x+y%27&processor=consume-processor-1");
    check(&build_pull(&config, SHARD, &cursor(), 500, None), Method::Get, &target, "");
    let until = build_pull(&config, SHARD, &cursor(), 500, Some(&Cursor::new("ZW5k")));
    check(&until, Method::Get, &target.replace("&pullMode", "&end_cursor=ZW5k&pullMode"), "");
}

#[test]
fn a_pull_requests_the_configured_compression() {
    for (compression, encoding) in [(Compression::Lz4, "lz4"), (Compression::Zstd, "zstd"), (Compression::Plain, "")] {
        let config = Config { compression, ..config() };
        let request = build_pull(&config, SHARD, &cursor(), 1, None);
        assert_eq!(request.header("accept-encoding"), Some(encoding));
        assert_eq!(request.header("accept"), Some("application/x-protobuf"));
    }
}

#[test]
fn names_cannot_break_out_of_their_path_segment() {
    let config = Config { logstore: "a/../b?c#d".into(), group: "ü %".into(), ..config() };
    let target = "/logstores/a%2F..%2Fb%3Fc%23d/consumergroups/%C3%BC%20%25?shard=3";
    check(&build_checkpoint(&config, SHARD), Method::Get, target, "");
}

#[test]
fn groups_are_read_as_a_bare_list_and_as_a_named_one() {
    let expected = Ok(vec![Group { name: "cg1".into(), timeout: NonZeroU32::new(40).unwrap(), order: true }]);
    let bare = r#"[{"name":"cg1","timeout":40,"order":true,"more":{}}]"#;
    assert_eq!(read_groups(&json(bare)), expected);
    let named = format!(r#" {{"count":1,"consumerGroups":{bare}}}"#);
    assert_eq!(read_groups(&json(&named)), expected);
    assert_eq!(read_groups(&json("[]")), Ok(vec![]));
    for wrong in ["", "{}", "null", r#"[{"name":"cg1"}]"#, r#"[{"name":"cg1","timeout":0}]"#, "<html>"] {
        assert!(read_groups(&json(wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn heartbeats_are_read_as_a_bare_list_and_as_a_named_one() {
    let expected = Ok(BTreeSet::from([ShardId(0), ShardId(5)]));
    assert_eq!(read_heartbeat(&json("[5, 0]")), expected);
    assert_eq!(read_heartbeat(&json(r#"{"shards":[0,5]}"#)), expected);
    assert_eq!(read_heartbeat(&json("[]")), Ok(BTreeSet::new()));
    for wrong in ["", "null", "{}", "[-1]", "[\"0\"]", "[0"] {
        assert!(read_heartbeat(&json(wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn the_checkpoint_of_the_requested_shard_is_read() {
    let entry = |shard: u32, checkpoint: &str| {
        format!(r#"{{"shard":{shard},"checkpoint":"{checkpoint}","updateTime":1,"consumer":"c"}}"#)
    };
    let read = |body: &str| read_checkpoint(&json(body), SHARD);
    let both = format!("[{},{}]", entry(0, "b3RoZXI="), entry(3, CURSOR));
    assert_eq!(read(&both), Ok(Some(Checkpoint { cursor: cursor(), consumer: "c".into() })));
    assert_eq!(read(&format!("[{}]", entry(3, ""))), Ok(None));
    assert_eq!(read(&format!("[{}]", entry(0, CURSOR))), Ok(None));
    assert_eq!(read("[]"), Ok(None));
    for wrong in ["", "{}", r#"[{"shard":3}]"#] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn replies_with_cursors_times_and_shards_are_read() {
    assert_eq!(read_cursor(&json(&format!(r#"{{"cursor":"{CURSOR}"}}"#))), Ok(cursor()));
    assert!(read_cursor(&json(r#"{"cursor":""}"#)).is_err());
    assert!(read_cursor(&json("{}")).is_err());
    assert_eq!(read_cursor_time(&json(r#"{"cursor_time":1554260243}"#)), Ok(1_554_260_243));
    let body = r#"[{"shardID":0,"status":"readwrite","inclusiveBeginKey":"00","createTime":1453949705}]"#;
    let expected = Shard {
        id: 0,
        status: "readwrite".into(),
        begin_key: "00".into(),
        end_key: String::new(),
        created: 1_453_949_705,
    };
    assert_eq!(read_shards(&json(body)), Ok(vec![expected]));
}

fn page(headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let size = body.len().to_string();
    let always = [("x-log-cursor", "bmV4dA=="), ("x-log-count", "2"), ("x-log-bodyrawsize", size.as_str())];
    let mut all = HeaderMap::new();
    for (name, value) in always.iter().chain(headers) {
        let name: HeaderName = name.parse().unwrap();
        match *value {
            "absent" => all.remove(name),
            value => all.insert(name, value.parse().unwrap()),
        };
    }
    Reply { status: 200, headers: all, body: Bytes::copy_from_slice(body) }
}

#[test]
fn a_page_has_all_values_of_the_headers() {
    let reply = page(
        &[
            ("x-log-read-last-cursor", "1700000000000000009"),
            ("x-log-end-of-cursor", "1"),
            ("x-log-cursor-time", "1554260243"),
            ("x-log-rawdatasize", "4096"),
        ],
        b"body",
    );
    let page = read(&config(), reply.clone()).unwrap();
    assert_eq!((page.shard, &page.cursor, page.next.as_str()), (SHARD, &cursor(), "bmV4dA=="));
    assert_eq!((&page.body[..], page.groups), (&b"body"[..], 2));
    assert_eq!(page.group_number(0), Some(1_700_000_000_000_000_008));
    assert_eq!((page.at_end, page.received_at, page.scanned_bytes), (Some(true), Some(1_554_260_243), 4096));
    assert_eq!(page.wire_bytes, 4);
    assert!(page.packed.is_none(), "it came unpacked");

    for filter in ["query", "processor"] {
        let mut config = config();
        match filter {
            "query" => config.query = Some("*".into()),
            _ => config.processor = Some("p".into()),
        }
        assert_eq!(read(&config, reply.clone()).unwrap().last_group, None, "{filter}");
    }
}

#[test]
fn optional_headers_of_a_page_may_be_missing_or_invalid() {
    let plain = page(&[], b"body");
    let odd =
        page(&[("x-log-read-last-cursor", "MTcw"), ("x-log-cursor-time", ""), ("x-log-rawdatasize", "-1")], b"body");
    for reply in [plain, odd] {
        let page = read(&config(), reply).unwrap();
        assert_eq!((page.last_group, page.at_end, page.received_at, page.scanned_bytes), (None, None, None, 4));
    }
    let reply = page(&[("x-log-end-of-cursor", "0")], b"body");
    assert_eq!(read(&config(), reply).unwrap().at_end, Some(false));
}

#[test]
fn a_compressed_page_can_be_decompressed_again_from_exactly_its_bytes() {
    let body = b"log".repeat(1000);
    let lz4 = lz4::block::compress(&body, None, false).unwrap();
    let zstd = zstd::bulk::compress(&body, 1).unwrap();
    for (compression, name, packed) in [(Compression::Lz4, "lz4", lz4), (Compression::Zstd, "zstd", zstd)] {
        let config = Config { compression, ..config() };
        let reply = page(&[("x-log-compresstype", name), ("x-log-bodyrawsize", "3000")], &packed);
        let mut page = read(&config, reply).unwrap();
        assert_eq!((page.weight(), page.packed_weight()), (3000 + packed.len(), packed.len()), "{name}");
        page.pack();
        assert_eq!((&page.unpacked()[..], page.weight()), (&body[..], packed.len()), "{name}");
    }
}

#[test]
fn an_empty_page_may_still_move_the_cursor() {
    let reply = page(&[("x-log-count", "0"), ("x-log-bodyrawsize", "0")], b"");
    let page = read(&config(), reply).unwrap();
    assert!(page.body.is_empty() && !page.is_idle());
}

#[test]
fn a_page_without_a_required_header_is_an_error_that_names_it() {
    let check = |name: &str, value: &str, expected: &str| {
        let error = read(&config(), page(&[(name, value)], b"body")).unwrap_err();
        assert_eq!(error.to_string(), format!("the reply cannot be understood: {expected}"));
    };
    check("x-log-cursor", "absent", "there is no x-log-cursor");
    check("x-log-cursor", "", "there is no x-log-cursor");
    check("x-log-count", "absent", "there is no x-log-count");
    check("x-log-bodyrawsize", "absent", "there is no x-log-bodyrawsize");
    check("x-log-bodyrawsize", "-1", "x-log-bodyrawsize is -1, which is not a valid number");
    check("x-log-bodyrawsize", "5", "the page has 4 bytes where 5 were announced");
    check("x-log-bodyrawsize", "0", "x-log-count says 2, but there is no body");
    let too_large = "a page of 67108865 bytes is above the limit of 67108864 bytes";
    check("x-log-bodyrawsize", "67108865", too_large);
}
