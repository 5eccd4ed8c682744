use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hyper::{HeaderMap, Method};
use prost::Message as _;

use super::*;
use crate::emulator::sls::Tap;
use crate::emulator::sls::codec::Codec;
use crate::emulator::sls::faults::Faults;
use crate::emulator::sls::state::{Shape, SlsState};
use crate::loggroup::proto::{Log, LogGroup, LogGroupList, Pair};

/// 2025-03-01 12:00:00 UTC.
const NOON: u64 = 1_740_830_400;
const FIRST: i64 = 1_700_000_000_000_000_000;

fn service() -> Service {
    Service {
        state: Mutex::new(SlsState::new(Shape {
            shards: 2,
            retention: Duration::from_secs(3600),
            shard_bytes: 100 << 20,
            logstores: Vec::new(),
            elsewhere: Vec::new(),
        })),
        faults: Faults::default(),
        verifier: None,
        tap: None,
        requests: AtomicU64::new(0),
    }
}

/// Calls at a number of seconds after noon.
fn call_at(
    service: &Service,
    second: u64,
    line: &str,
    headers: &[(&'static str, &str)],
    body: &[u8],
) -> Result<Reply, Refusal> {
    let (method, path) = line.split_once(' ').unwrap();
    let mut map = HeaderMap::new();
    map.insert("host", "p.emu.log.example".parse().unwrap());
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    let method: Method = method.parse().unwrap();
    let uri = format!("/logstores/l{path}").parse().unwrap();
    let request = Request::new(method, &uri, map, Bytes::copy_from_slice(body));
    answer(service, &Target::of(&request)?, &request, Duration::from_secs(NOON + second))
}

fn call(service: &Service, line: &str, body: &str) -> Result<Reply, Refusal> {
    call_at(service, 0, line, &[], body.as_bytes())
}

/// The body of a success, or `status code`.
fn text(result: Result<Reply, Refusal>) -> String {
    match result {
        Ok(reply) => String::from_utf8(reply.body.to_vec()).unwrap(),
        Err(refusal) => format!("{} {}", refusal.status, refusal.code),
    }
}

/// Makes the calls in order and compares the results.
fn check(service: &Service, calls: &[(&str, &str, &str)]) {
    for (line, body, expected) in calls {
        assert_eq!(text(call(service, line, body)), *expected, "{line} {body}");
    }
}

fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    let found = reply.headers.iter().find(|(key, _)| *key == name);
    found.map(|(_, value)| value.as_str())
}

fn cursor_text(number: i64) -> String {
    Cursor::from_number(number).as_str().to_owned()
}

/// A group whose logs are `n=<name>`.
fn group(names: &[&str]) -> LogGroup {
    let log = |name: &&str| Log {
        time: NOON as u32,
        contents: vec![Pair { key: b"n".to_vec(), value: name.as_bytes().to_vec() }],
        time_ns: None,
    };
    LogGroup { logs: names.iter().map(log).collect(), topic: Some(b"t".to_vec()), ..LogGroup::default() }
}

fn put(service: &Service, shard: u32, group: &LogGroup, second: u64) {
    let now = Duration::from_secs(NOON + second);
    let mut state = super::super::lock(&service.state);
    let logstore = state.logstore("p", "l", now).unwrap();
    logstore.append(shard, &group.encode_to_vec(), now).unwrap();
}

fn pull_line(number: i64, rest: &str) -> String {
    let cursor = cursor_text(number).replace('=', "%3D");
    format!("GET /shards/0?type=log&cursor={cursor}&count=1000{rest}")
}

#[test]
fn a_consumer_group_lives_and_dies() {
    let service = service();
    check(
        &service,
        &[
            ("GET /consumergroups", "", "[]"),
            ("POST /consumergroups", r#"{"consumerGroup":"g","timeout":40,"order":false}"#, ""),
            ("POST /consumergroups", r#"{"consumerGroup":"g","timeout":40}"#, "400 ConsumerGroupAlreadyExist"),
            ("POST /consumergroups", "{}", "400 JsonInfoInvalid"),
            ("GET /consumergroups", "", r#"[{"name":"g","timeout":40,"order":false}]"#),
            ("PUT /consumergroups/g", r#"{"timeout":60}"#, ""),
            ("PUT /consumergroups/g", r#"{"order":true}"#, ""),
            ("PUT /consumergroups/g", "{}", "400 JsonInfoInvalid"),
            ("PUT /consumergroups/x", r#"{"timeout":60}"#, "404 ConsumerGroupNotExist"),
            ("GET /consumergroups", "", r#"[{"name":"g","timeout":60,"order":true}]"#),
            ("DELETE /consumergroups/g", "", ""),
            ("DELETE /consumergroups/g", "", "404 ConsumerGroupNotExist"),
            ("GET /consumergroups/g", "", "404 ConsumerGroupNotExist"),
        ],
    );
}

#[test]
fn a_heartbeat_answers_an_array_of_shards() {
    let service = service();
    let beat = "POST /consumergroups/g?type=heartbeat&consumer=a";
    check(
        &service,
        &[
            (beat, "[]", "404 ConsumerGroupNotExist"),
            ("POST /consumergroups", r#"{"consumerGroup":"g","timeout":40}"#, ""),
            (beat, "[0]", "400 NotExistConsumerWithBody"),
            (beat, "[]", "[0,1]"),
            (beat, "[0, 1]", "[0,1]"),
            (beat, "x", "400 JsonInfoInvalid"),
            ("POST /consumergroups/g?type=heartbeat", "[]", "400 ParameterInvalid"),
        ],
    );
}

#[test]
fn a_tap_sees_accepted_heartbeats_and_saves() {
    #[derive(Default)]
    struct Seen(Mutex<Vec<String>>);

    impl Tap for Seen {
        fn beat(&self, consumer: &str) {
            self.0.lock().unwrap().push(consumer.to_owned());
        }

        fn saved(&self, save: &Save) {
            self.0.lock().unwrap().push(format!("{} saved {}", save.consumer, save.cursor));
        }
    }

    let seen = Arc::<Seen>::default();
    let service = Service { tap: Some(Arc::clone(&seen) as _), ..service() };
    let body = json!({ "shard": 0, "checkpoint": cursor_text(FIRST) }).to_string();
    call(&service, "POST /consumergroups", r#"{"consumerGroup": "g", "timeout": 60}"#).unwrap();
    for consumer in ["a", "b"] {
        let of = |kind: &str| format!("POST /consumergroups/g?type={kind}&consumer={consumer}");
        call(&service, &of("heartbeat"), if consumer == "a" { "[]" } else { "[1]" }).ok();
        call(&service, &of("checkpoint"), &body).ok();
    }
    assert_eq!(*seen.0.lock().unwrap(), ["a".to_owned(), format!("a saved {FIRST}")]);
}

#[test]
fn every_shard_has_a_checkpoint_entry_even_before_the_first_save() {
    let service = service();
    call(&service, "POST /consumergroups", r#"{"consumerGroup":"g","timeout":40}"#).unwrap();
    call(&service, "POST /consumergroups/g?type=heartbeat&consumer=a", "[]").unwrap();
    let save = |rest: &str| format!("POST /consumergroups/g?type=checkpoint{rest}");
    let body = r#"{"shard":0,"checkpoint":"MTcwMDAwMDAwMDAwMDAwMDAwMA=="}"#;
    check(
        &service,
        &[
            ("GET /consumergroups/g?shard=1", "", r#"[{"shard":1,"checkpoint":"","updateTime":0,"consumer":""}]"#),
            ("GET /consumergroups/g?shard=7", "", "[]"),
            (&save("&consumer=a&forceSuccess=false"), body, ""),
            (
                "GET /consumergroups/g",
                "",
                r#"[{"shard":0,"checkpoint":"MTcwMDAwMDAwMDAwMDAwMDAwMA==","updateTime":1740830400000000,"consumer":"a"},{"shard":1,"checkpoint":"","updateTime":0,"consumer":""}]"#,
            ),
            (&save("&consumer=b&forceSuccess=false"), body, "404 ConsumerNotExist"),
            (&save("&consumer=b"), body, "404 ConsumerNotExist"),
            (&save("&consumer=b&forceSuccess=True"), body, ""),
            (&save("&forceSuccess=TRUE"), body, ""),
            (&save(""), body, "400 ParameterInvalid"),
            (&save("&consumer=a"), r#"{"shard":0,"checkpoint":"%"}"#, "400 InvalidShardCheckPoint"),
            (&save("&consumer=a"), r#"{"shard":9,"checkpoint":"MQ=="}"#, "404 ShardNotExist"),
        ],
    );
}

#[test]
fn shards_are_listed_split_and_merged() {
    let service = service();
    let low = r#"{"shardID":0,"status":"readwrite","inclusiveBeginKey":"00000000000000000000000000000000","exclusiveEndKey":"7fffffffffffffffffffffffffffffff","createTime":1740830400}"#;
    let high = r#"{"shardID":1,"status":"readwrite","inclusiveBeginKey":"7fffffffffffffffffffffffffffffff","exclusiveEndKey":"ffffffffffffffffffffffffffffffff","createTime":1740830400}"#;
    check(&service, &[("GET /shards", "", &format!("[{low},{high}]"))]);
    let ids = |line: &str| -> Vec<(u64, String)> {
        let shards: Vec<Value> = serde_json::from_slice(&call(&service, line, "").unwrap().body).unwrap();
        let id = |shard: &Value| (shard["shardID"].as_u64().unwrap(), shard["status"].as_str().unwrap().to_owned());
        shards.iter().map(id).collect()
    };
    let pair = |id, status: &str| (id, status.to_owned());
    let split = ids("POST /shards/0?action=split&key=0000000000000000000000000000000f&shardCount=2");
    assert_eq!(split, [pair(0, "readonly"), pair(2, "readwrite"), pair(3, "readwrite")]);
    let merged = ids("POST /shards/2?action=merge");
    assert_eq!(merged, [pair(4, "readwrite"), pair(2, "readonly"), pair(3, "readonly")]);
    check(
        &service,
        &[
            ("POST /shards/0?action=split", "", "400 ParameterInvalid"),
            ("POST /shards/1?action=split&key=xyz", "", "400 ParameterInvalid"),
            ("POST /shards/9?action=merge", "", "404 ShardNotExist"),
        ],
    );
}

#[test]
fn cursors_are_found_by_position_and_by_receipt_time() {
    let service = service();
    for second in [10, 20] {
        put(&service, 0, &group(&["x"]), second);
    }
    let cursor = |from: &str| text(call(&service, &format!("GET /shards/0?type=cursor&from={from}"), ""));
    let is = |number| format!(r#"{{"cursor":"{}"}}"#, cursor_text(number));
    assert_eq!([cursor("begin"), cursor("end")], [is(FIRST), is(FIRST + 2)]);
    let found = [0, NOON + 11, NOON + 21].map(|from| cursor(&from.to_string()));
    assert_eq!(found, [is(FIRST), is(FIRST + 1), is(FIRST + 2)]);
    let invalid = ["", "tomorrow", "-1"].map(cursor);
    assert_eq!(invalid, ["400 ParameterInvalid"; 3]);
    let time = |number| {
        let cursor = cursor_text(number).replace('=', "%3D");
        text(call(&service, &format!("GET /shards/0?type=cursor_time&cursor={cursor}"), ""))
    };
    assert_eq!(time(FIRST + 1), format!(r#"{{"cursor_time":{}}}"#, NOON + 20));
    assert_eq!([time(FIRST + 2), time(FIRST - 1)], ["400 InvalidCursor"; 2]);
}

#[test]
fn a_pull_reply_has_its_end_and_the_groups_in_the_requested_encoding() {
    let service = service();
    let groups = [group(&["a", "b"]), group(&["c"])];
    put(&service, 0, &groups[0], 10);
    put(&service, 0, &groups[1], 20);
    let raw = LogGroupList { groups: groups.to_vec() }.encode_to_vec();
    for (encoding, codec) in
        [("lz4", Some(Codec::Lz4)), ("zstd", Some(Codec::Zstd)), ("deflate", Some(Codec::Deflate)), ("", None)]
    {
        let reply = call_at(&service, 30, &pull_line(FIRST, ""), &[("accept-encoding", encoding)], b"").unwrap();
        let sent = |name| header(&reply, name);
        assert_eq!(sent("x-log-cursor"), Some(cursor_text(FIRST + 2).as_str()));
        assert_eq!((sent("x-log-count"), sent("x-log-end-of-cursor")), (Some("2"), Some("1")));
        assert_eq!(sent("x-log-bodyrawsize"), Some(raw.len().to_string().as_str()));
        assert_eq!(sent("x-log-read-last-cursor"), Some("1700000000000000001"));
        assert_eq!(sent("x-log-cursor-time"), Some((NOON + 20).to_string().as_str()));
        assert_eq!(sent("x-log-compresstype"), codec.map(Codec::name));
        assert_eq!(sent("x-log-rawdatasize"), None, "only under a query");
        let body = codec.map_or(reply.body.to_vec(), |codec| codec.decompress(&reply.body, raw.len()).unwrap());
        assert_eq!(body, raw);
    }
}

#[test]
fn a_pull_at_the_end_is_empty_and_does_not_move_the_cursor() {
    let service = service();
    put(&service, 0, &group(&["a"]), 10);
    let reply = call_at(&service, 30, &pull_line(FIRST + 1, ""), &[("accept-encoding", "lz4")], b"").unwrap();
    let sent = |name| header(&reply, name);
    assert_eq!(sent("x-log-cursor"), Some(cursor_text(FIRST + 1).as_str()));
    assert_eq!((sent("x-log-count"), sent("x-log-bodyrawsize")), (Some("0"), Some("0")));
    assert_eq!((sent("x-log-compresstype"), sent("x-log-read-last-cursor")), (None, None));
    assert!(reply.body.is_empty());
}

#[test]
fn a_head_request_returns_the_same_headers_without_logs() {
    let service = service();
    put(&service, 0, &group(&["a"]), 10);
    let line = pull_line(FIRST, "").replace("GET", "HEAD");
    let reply = call(&service, &line, "").unwrap();
    assert_eq!(header(&reply, "x-log-count"), Some("1"));
    assert!(reply.body.is_empty());
}

#[test]
fn a_query_that_filters_out_everything_still_moves_the_cursor() {
    let service = service();
    put(&service, 0, &group(&["a", "b"]), 10);
    put(&service, 0, &group(&["c"]), 10);
    let pull = |value: &str| {
        let rest = format!("&pullMode=scan_on_stream&query=%2A+%7C+where+n+%3D+%27{value}%27");
        call(&service, &pull_line(FIRST, &rest), "").unwrap()
    };
    let none = pull("x");
    let sent = |name| header(&none, name);
    assert_eq!(sent("x-log-cursor"), Some(cursor_text(FIRST + 2).as_str()));
    assert_eq!((sent("x-log-count"), sent("x-log-bodyrawsize")), (Some("0"), Some("0")));
    assert_eq!((sent("x-log-rawdatacount"), sent("x-log-rawdatalines")), (Some("2"), Some("3")));
    let raw = LogGroupList { groups: vec![group(&["a", "b"]), group(&["c"])] }.encoded_len();
    assert_eq!(sent("x-log-rawdatasize"), Some(raw.to_string().as_str()));

    let some = pull("b");
    assert_eq!((header(&some, "x-log-count"), header(&some, "x-log-resultlines")), (Some("1"), Some("1")));
    assert_eq!(LogGroupList::decode(some.body).unwrap().groups, [group(&["b"])]);
}

#[test]
fn an_invalid_pull_is_refused() {
    let service = service();
    let cursor = cursor_text(FIRST);
    let pull = |rest: String| text(call(&service, &format!("GET /shards/{rest}"), ""));
    let check = |rest: String, expected: &str| assert_eq!(pull(rest.clone()), expected, "{rest}");
    check(format!("0?type=logs&cursor={cursor}&count=1"), "");
    check(format!("0?type=log&cursor={cursor}&count=0"), "400 ParameterInvalid");
    check(format!("0?type=log&cursor={cursor}&count=1001"), "400 ParameterInvalid");
    check(format!("0?type=log&cursor={cursor}"), "400 ParameterInvalid");
    check("0?type=log&count=1".to_owned(), "400 ParameterInvalid");
    check("0?type=log&cursor=nonsense&count=1".to_owned(), "400 ParameterInvalid");
    check(format!("0?type=log&cursor={}&count=1", cursor_text(FIRST + 1)), "400 InvalidCursor");
    check(format!("9?type=log&cursor={cursor}&count=1"), "404 ShardNotExist");
    check(format!("x?type=log&cursor={cursor}&count=1"), "400 ParameterInvalid");
    check(format!("0?type=log&cursor={cursor}&count=1&processor=p"), "400 ParameterInvalid");
    check(format!("0?type=log&cursor={cursor}&count=1&query=error"), "400 ParameterInvalid");
    check(format!("0?cursor={cursor}&count=1"), "400 BadRequest");
}

#[test]
fn logs_are_written_at_three_paths_and_in_every_encoding() {
    let service = service();
    let raw = group(&["a"]).encode_to_vec();
    let size = raw.len().to_string();
    let put = |path: &str, headers: &[_], body: &[u8]| text(call_at(&service, 0, path, headers, body));
    assert_eq!(put("POST /shards/lb", &[], &raw), "");
    for codec in [Codec::Lz4, Codec::Zstd, Codec::Deflate] {
        let headers = [("x-log-compresstype", codec.name()), ("x-log-bodyrawsize", &size)];
        assert_eq!(put("POST ", &headers, &codec.compress(&raw).unwrap()), "");
    }
    let key = "f".repeat(32);
    assert_eq!(put(&format!("POST /shards/route?key={key}"), &[], &raw), "");
    assert_eq!(put("POST /shards/route?key=ff", &[], &raw), "400 ParameterInvalid");
    let mut state = super::super::lock(&service.state);
    let logstore = state.logstore("p", "l", Duration::from_secs(NOON)).unwrap();
    let written: Vec<_> = logstore.shards().values().map(|shard| shard.end() - shard.begin()).collect();
    assert_eq!(written, [2, 3]);
}

#[test]
fn a_write_that_the_service_would_refuse_is_refused() {
    let service = service();
    let put = |headers: &[_], body: &[u8]| text(call_at(&service, 0, "POST /shards/lb", headers, body));
    let with = |change: &dyn Fn(&mut LogGroup)| {
        let mut group = group(&["a"]);
        change(&mut group);
        put(&[], &group.encode_to_vec())
    };
    let at = |second: u64| with(&|group| group.logs[0].time = second as u32);
    assert_eq!([at(NOON - 7 * 86_400), at(NOON + 900)], ["", ""]);
    assert_eq!([at(NOON - 7 * 86_400 - 1), at(NOON + 901)], ["400 InvalidTimestamp"; 2]);
    assert_eq!(with(&|group| group.logs[0].contents[0].value = vec![0xff]), "400 InvalidEncoding");
    assert_eq!(with(&|group| group.topic = Some(vec![0xff])), "400 InvalidEncoding");
    assert_eq!(put(&[], b"\xff"), "400 PostBodyInvalid");
    let lz4 = |size| [("x-log-compresstype", "lz4"), ("x-log-bodyrawsize", size)];
    assert_eq!(put(&lz4("9"), b"\xff"), "400 PostBodyUncompressError");
    assert_eq!(put(&lz4("99999999999"), b"x"), "400 PostBodyTooLarge");
    assert_eq!(put(&lz4("-1"), b"x"), "400 InvalidBodyRawSize");
    assert_eq!(put(&[("x-log-compresstype", "lz4")], b"x"), "400 MissingBodyRawSize");
    assert_eq!(put(&[("x-log-compresstype", "snappy")], b"x"), "400 InvalidCompressType");
}

#[test]
fn an_unknown_call_is_refused_with_its_path() {
    let service = service();
    for line in [
        "DELETE /",
        "PATCH /shards",
        "POST /consumergroups/g?type=other",
        "POST /shards/0",
        "HEAD /shards/0?type=cursor",
    ] {
        assert_eq!(text(call(&service, line, "")), "400 BadRequest", "{line}");
    }
}
