//! Over real sockets, with a hand-written client that sees the bytes on the wire.

use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::core::secret::Secret;
use crate::emulator::sls::faults::{Call, SlsEvent};
use crate::emulator::sls::{Config, SlsEmulator};
use crate::loggroup::proto::{Log, LogGroup, Pair};

const PULL: &str = "GET /logstores/l/shards/0?type=log&cursor=MTcwMDAwMDAwMDAwMDAwMDAwMA%3D%3D&count=10";

async fn emulator() -> SlsEmulator {
    SlsEmulator::start(Config::default()).await.unwrap()
}

/// An emulator with one log group in shard 0, and a connection to it.
async fn with_logs() -> (SlsEmulator, TcpStream) {
    let emulator = emulator().await;
    let log = Log { time: 1, contents: vec![Pair { key: b"k".to_vec(), value: vec![b'v'; 500] }], time_ns: None };
    emulator.put("p", "l", 0, [LogGroup { logs: vec![log], ..LogGroup::default() }]).unwrap();
    let stream = connect(&emulator).await;
    (emulator, stream)
}

async fn connect(emulator: &SlsEmulator) -> TcpStream {
    TcpStream::connect(emulator.address()).await.unwrap()
}

struct Seen {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn code(&self) -> String {
        self.json()["errorCode"].as_str().unwrap().to_owned()
    }
}

async fn send(stream: &mut TcpStream, line: &str, headers: &str, body: &str) {
    let text = format!("{line} HTTP/1.1\r\nHost: p.emu\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// Reads one reply; an error when the connection ends before the reply does.
async fn receive(stream: &mut TcpStream) -> io::Result<Seen> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        more(stream, &mut bytes).await?;
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut seen = Seen { status: head[9..12].parse().unwrap(), head, body: bytes[end..].to_vec() };
    let length: usize = seen.header("content-length").unwrap().parse().unwrap();
    while seen.body.len() < length {
        more(stream, &mut seen.body).await?;
    }
    Ok(seen)
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(bytes).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

async fn ask(stream: &mut TcpStream, line: &str, body: &str) -> Seen {
    send(stream, line, "", body).await;
    receive(stream).await.unwrap()
}

async fn failure(stream: &mut TcpStream, line: &str, body: &str) -> io::ErrorKind {
    send(stream, line, "", body).await;
    receive(stream).await.err().expect("the connection is cut").kind()
}

#[tokio::test]
async fn a_connection_is_kept_and_every_reply_has_its_id() {
    let (_emulator, mut stream) = with_logs().await;
    let first = ask(&mut stream, "GET /logstores/l/consumergroups", "").await;
    assert_eq!((first.status, &first.body[..]), (200, &b"[]"[..]));
    assert_eq!(first.header("content-type"), Some("application/json"));
    let second = ask(&mut stream, "GET /nonsense", "").await;
    assert_eq!((second.status, second.code().as_str()), (400, "BadRequest"));
    let ids = [first.header("x-log-requestid"), second.header("x-log-requestid")];
    assert!(ids[0].is_some() && ids[0] != ids[1], "{ids:?}");
}

#[tokio::test]
async fn a_proxys_absolute_request_target_is_accepted() {
    let (_emulator, mut stream) = with_logs().await;
    let seen = ask(&mut stream, &PULL.replace("GET ", "GET http://p.emu:80"), "").await;
    assert_eq!((seen.status, seen.header("x-log-count")), (200, Some("1")));
}

#[tokio::test]
async fn header_names_are_lower_case_on_the_wire() {
    let (_emulator, mut stream) = with_logs().await;
    let seen = ask(&mut stream, PULL, "").await;
    for line in seen.head.lines().skip(1).filter(|line| !line.is_empty()) {
        let name = line.split(':').next().unwrap();
        assert_eq!(name, name.to_ascii_lowercase());
    }
    assert_eq!(seen.header("x-log-cursor"), Some("MTcwMDAwMDAwMDAwMDAwMDAwMQ=="));
    assert_eq!(seen.header("content-encoding"), None);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let emulator = emulator().await;
    let mut stream = connect(&emulator).await;
    let head = format!("POST /logstores/l/shards/lb HTTP/1.1\r\nHost: p\r\nContent-Length: {}\r\n\r\n", MAX_BODY + 1);
    stream.write_all(head.as_bytes()).await.unwrap();
    let seen = receive(&mut stream).await.unwrap();
    assert_eq!((seen.status, seen.code().as_str()), (400, "PostBodyTooLarge"));
}

#[tokio::test]
async fn unsigned_requests_are_refused_when_there_is_a_key() {
    let keys = Some(("id".to_owned(), Secret::new("secret")));
    let emulator = SlsEmulator::start(Config { keys, ..Config::default() }).await.unwrap();
    let mut stream = connect(&emulator).await;
    send(&mut stream, PULL, "x-log-apiversion: 0.6.0\r\n", "").await;
    let seen = receive(&mut stream).await.unwrap();
    assert_eq!((seen.status, seen.code().as_str()), (401, "Unauthorized"));
}

#[tokio::test]
async fn a_scripted_status_comes_as_often_as_configured() {
    let (emulator, mut stream) = with_logs().await;
    emulator.faults().next(Call::Pull, SlsFault::status(500, "InternalServerError", "planned"), 2);
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(ask(&mut stream, PULL, "").await.status);
    }
    assert_eq!(seen, [500, 500, 200]);
    let groups = ask(&mut stream, "GET /logstores/l/consumergroups", "").await;
    assert_eq!(groups.status, 200, "other calls are left alone");
}

#[tokio::test]
async fn a_reset_closes_the_connection_and_the_call_has_no_effect() {
    let (emulator, mut stream) = with_logs().await;
    emulator.faults().next(Call::CreateGroup, SlsFault::Reset, 1);
    let create = ("POST /logstores/l/consumergroups", r#"{"consumerGroup":"g","timeout":9}"#);
    assert_eq!(failure(&mut stream, create.0, create.1).await, io::ErrorKind::ConnectionReset);
    let mut stream = connect(&emulator).await;
    assert_eq!(ask(&mut stream, "GET /logstores/l/consumergroups", "").await.body, b"[]");
}

#[tokio::test]
async fn a_save_whose_reply_is_dropped_takes_effect() {
    let (emulator, mut stream) = with_logs().await;
    ask(&mut stream, "POST /logstores/l/consumergroups", r#"{"consumerGroup":"g","timeout":9}"#).await;
    emulator.faults().next(Call::Save, SlsFault::DropReply, 1);
    let save = "POST /logstores/l/consumergroups/g?type=checkpoint&forceSuccess=true";
    let kind = failure(&mut stream, save, r#"{"shard":0,"checkpoint":"Nw=="}"#).await;
    assert_eq!(kind, io::ErrorKind::ConnectionReset);
    assert_eq!(emulator.checkpoint("p", "l", "g", 0).map(|saved| saved.cursor), Some(7));
    assert_eq!(emulator.saves("p", "l", "g").len(), 1);
}

#[tokio::test]
async fn a_truncated_body_ends_in_the_middle() {
    let (emulator, mut stream) = with_logs().await;
    emulator.faults().next(Call::Pull, SlsFault::Truncate, 1);
    assert_eq!(failure(&mut stream, PULL, "").await, io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_corrupt_body_and_a_wrong_size_are_well_formed_http() {
    let (emulator, mut stream) = with_logs().await;
    let honest = ask(&mut stream, PULL, "").await;
    emulator.faults().next(Call::Pull, SlsFault::Corrupt, 1);
    emulator.faults().next(Call::Pull, SlsFault::RawSize { size: 7 }, 1);
    let corrupt = ask(&mut stream, PULL, "").await;
    assert_eq!(corrupt.body, vec![0xff; honest.body.len()]);
    let lying = ask(&mut stream, PULL, "").await;
    assert_eq!((lying.header("x-log-bodyrawsize"), &lying.body), (Some("7"), &honest.body));
}

#[tokio::test]
async fn a_body_can_be_slow_and_a_reply_can_be_late() {
    let (emulator, mut stream) = with_logs().await;
    let honest = ask(&mut stream, PULL, "").await;
    emulator.faults().next(Call::Pull, SlsFault::Drip { pause: Duration::from_millis(5) }, 1);
    emulator.faults().next(Call::Pull, SlsFault::Delay { by: Duration::from_millis(50) }, 1);
    for _ in 0..2 {
        let start = Instant::now();
        assert_eq!(ask(&mut stream, PULL, "").await.body, honest.body);
        assert!(start.elapsed() >= Duration::from_millis(50), "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn the_date_header_shows_the_clock_offset() {
    let (emulator, mut stream) = with_logs().await;
    emulator.faults().skew(86_400 * 365);
    let seen = ask(&mut stream, PULL, "").await;
    let date = seen.header("date").unwrap().to_owned();
    let parsed = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(&date).unwrap();
    let ahead = parsed.as_second() - Timestamp::now().as_second();
    assert!((ahead - 86_400 * 365).abs() < 60, "{date}");
}

#[tokio::test]
async fn logs_shards_and_checkpoints_are_dated_by_the_servers_clock() {
    let emulator = emulator().await;
    let mut stream = connect(&emulator).await;
    let beat = "POST /logstores/l/consumergroups/g?type=heartbeat&consumer=a";
    ask(&mut stream, "POST /logstores/l/consumergroups", r#"{"consumerGroup":"g","timeout":60}"#).await;
    ask(&mut stream, beat, "[]").await;
    for ahead in [3_600, -3_600] {
        emulator.faults().skew(ahead);
        let held = ask(&mut stream, beat, "[0,1]").await;
        assert_eq!(held.json(), json!([0, 1]), "a clock that is set makes no consumer silent");
        let now = Timestamp::now().as_second() + ahead;
        let logstore = format!("l{ahead}");
        emulator.put("p", &logstore, 0, [LogGroup::default()]).unwrap();
        let mut cursor = async |from: i64| {
            let line = format!("GET /logstores/{logstore}/shards/0?type=cursor&from={from}");
            ask(&mut stream, &line, "").await.json()
        };
        let [first, before, after] = [cursor(0).await, cursor(now - 60).await, cursor(now + 60).await];
        assert!(before == first && after != first, "{ahead}: {first}, {before}, {after}");
    }
    let save = json!({"shard": 0, "checkpoint": "MTcwMDAwMDAwMDAwMDAwMDAwMA=="}).to_string();
    ask(&mut stream, "POST /logstores/l/consumergroups/g?type=checkpoint&consumer=a", &save).await;
    let saved = ask(&mut stream, "GET /logstores/l/consumergroups/g?shard=0", "").await.json();
    let micros = saved[0]["updateTime"].as_i64().unwrap();
    assert!((micros / 1_000_000 - Timestamp::now().as_second() + 3_600).abs() < 60, "{saved}");
}

#[tokio::test]
async fn faults_and_events_can_be_triggered_over_http_and_the_state_can_be_read() {
    let (_emulator, mut stream) = with_logs().await;
    let order = async |stream: &mut TcpStream, body: Value| {
        let seen = ask(stream, "POST /_emulator/faults", &body.to_string()).await;
        (seen.status, String::from_utf8(seen.body).unwrap())
    };
    let done = (200, String::new());
    ask(&mut stream, "POST /logstores/l/consumergroups", r#"{"consumerGroup":"g","timeout":9}"#).await;
    ask(&mut stream, "POST /logstores/l/consumergroups/g?type=heartbeat&consumer=a", "[]").await;
    let assign = json!({"project": "p", "logstore": "l", "event": "assign", "group": "g", "shard": 1, "consumer": "b"});
    assert_eq!(order(&mut stream, assign).await, done);
    let expire = json!({"project": "p", "logstore": "l", "event": "expire", "shard": 0, "keep": 0});
    assert_eq!(order(&mut stream, expire).await, done);
    let fault =
        json!({"call": "heartbeat", "fault": "status", "status": 500, "code": "InternalServerError", "times": 2});
    assert_eq!(order(&mut stream, fault).await, done);
    assert_eq!(ask(&mut stream, PULL, "").await.code(), "InvalidCursor");
    let beat = ask(&mut stream, "POST /logstores/l/consumergroups/g?type=heartbeat&consumer=a", "[]").await;
    assert_eq!(beat.status, 500);

    let state = ask(&mut stream, "GET /_emulator/state", "").await.json();
    let logstore = &state["logstores"][0];
    assert_eq!(logstore["shards"][0]["log_groups"], 0);
    let owners = logstore["consumer_groups"][0]["shards"].as_array().unwrap();
    assert_eq!(owners.iter().map(|slot| &slot["owner"]).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(state["faults_waiting"], json!([["heartbeat", 1]]));

    assert_eq!(order(&mut stream, json!({"clear": true})).await, done);
    assert_eq!(order(&mut stream, json!({"clean": true})).await.0, 400);
}

#[tokio::test]
async fn events_affect_what_they_name() {
    let emulator = emulator().await;
    emulator.happen("p", "l", &SlsEvent::Split { shard: 0 }).unwrap();
    assert!(emulator.range("p", "l", 3).is_some());
    let missing = SlsEvent::Evict { group: "g".to_owned(), consumer: "a".to_owned() };
    assert_eq!(emulator.happen("p", "l", &missing).unwrap_err().code, "ConsumerGroupNotExist");
}

#[tokio::test]
async fn a_stopped_emulator_ends_its_connections_and_frees_its_port() {
    for drop_it in [false, true] {
        let emulator = emulator().await;
        let address = emulator.address();
        let mut stream = connect(&emulator).await;
        ask(&mut stream, "GET /logstores/l/shards", "").await;
        if drop_it {
            drop(emulator);
        } else {
            emulator.stop().await;
        }
        let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "the connection ends");
        assert!(TcpListener::bind(address).await.is_ok(), "the port is free");
    }
}
