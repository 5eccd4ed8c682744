//! The same over real sockets, and the faults that only sockets have.

use std::sync::Mutex;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::TOKEN;
use crate::emulator::hec::*;

async fn started(change: impl FnOnce(&mut Config)) -> HecEmulator {
    let mut config = Config::new(Secret::new(TOKEN));
    change(&mut config);
    HecEmulator::start(config).await.unwrap()
}

fn request_text(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: test\r\nAuthorization: Splunk {TOKEN}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

async fn send(stream: &mut TcpStream, path: &str, body: &str) {
    stream.write_all(request_text(path, body).as_bytes()).await.unwrap();
}

/// Reads one reply with a `Content-Length`; `None` when the connection ended instead.
async fn read_reply(stream: &mut TcpStream) -> io::Result<Option<(u16, String)>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let mut body = vec![0; length.unwrap_or("0").parse().unwrap()];
    stream.read_exact(&mut body).await?;
    Ok(Some((head[9..12].parse().unwrap(), String::from_utf8(body).unwrap())))
}

async fn ask(stream: &mut TcpStream, path: &str, body: &str) -> (u16, String) {
    send(stream, path, body).await;
    read_reply(stream).await.unwrap().expect("a reply")
}

/// Waits until the connection ends, for less time than an idle connection is kept.
async fn assert_closes(stream: &mut TcpStream) {
    let reply = tokio::time::timeout(Duration::from_secs(5), read_reply(stream)).await;
    assert_eq!(reply.expect("it stays open").unwrap(), None);
}

const EVENT: &str = r#"{"event":"e"}"#;

#[tokio::test]
async fn one_connection_carries_many_requests_and_the_tap_sees_all_events() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    let tap = move |event: &Received<'_>| sink.lock().unwrap().push(event.event_raw.to_vec());
    let emulator = started(|config| {
        config.keep = Keep::Last(1);
        config.tap = Some(Arc::new(tap));
    })
    .await;
    let mut stream = TcpStream::connect(emulator.address()).await.unwrap();
    for text in ["a", "b", "c"] {
        let reply = ask(&mut stream, "/services/collector", &format!(r#"{{"event":"{text}"}}"#)).await;
        assert_eq!(reply, (200, r#"{"text":"Success","code":0}"#.to_owned()));
    }
    assert_eq!(*seen.lock().unwrap(), [b"a", b"b", b"c"]);
    assert_eq!(emulator.received()[0].event_raw, &b"c"[..]);
    let counts = emulator.counts();
    assert_eq!((counts.connections, counts.requests, counts.events, counts.event_bytes), (1, 3, 3, 3));
    let address = emulator.address();
    emulator.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
    assert_closes(&mut stream).await;
}

#[tokio::test]
async fn dropping_the_emulator_ends_it() {
    let emulator = started(|_| {}).await;
    let mut stream = TcpStream::connect(emulator.address()).await.unwrap();
    ask(&mut stream, "/services/collector", EVENT).await;
    drop(emulator);
    assert_closes(&mut stream).await;
}

#[tokio::test]
async fn a_reply_can_be_lost_by_a_close_a_reset_or_silence() {
    let emulator = started(|_| {}).await;
    let faults = emulator.faults();
    faults.next(HecFault::reply_lost(), 1);
    faults.next(HecFault::Cut { how: Cut::Reset, indexed: false }, 1);
    faults.next(HecFault::Cut { how: Cut::Silence, indexed: true }, 1);
    let connect = || TcpStream::connect(emulator.address());

    let mut stream = connect().await.unwrap();
    send(&mut stream, "/services/collector", EVENT).await;
    assert_closes(&mut stream).await;
    assert_eq!(emulator.counts().events, 1);

    let mut stream = connect().await.unwrap();
    send(&mut stream, "/services/collector", EVENT).await;
    assert_eq!(read_reply(&mut stream).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(emulator.counts().events, 1);

    let mut stream = connect().await.unwrap();
    send(&mut stream, "/services/collector", EVENT).await;
    let waited = tokio::time::timeout(Duration::from_millis(100), read_reply(&mut stream)).await;
    assert!(waited.is_err(), "nothing may come: {waited:?}");
    assert_eq!(emulator.counts().events, 2);
    assert_eq!(faults.pending(), 0);
    assert_eq!(emulator.counts().replies, [(0, 3)].into());
}

#[tokio::test]
async fn a_reply_can_trickle_and_it_can_flood() {
    let emulator = started(|_| {}).await;
    let mut stream = TcpStream::connect(emulator.address()).await.unwrap();
    emulator.faults().next(HecFault::Trickle { every_ms: 5 }, 1);
    let start = Instant::now();
    send(&mut stream, "/services/collector", EVENT).await;
    let mut head = [0; 400];
    let mut read = 0;
    while !String::from_utf8_lossy(&head[..read]).contains("\r\n0\r\n") {
        read += stream.read(&mut head[read..]).await.unwrap();
    }
    assert!(start.elapsed() >= Duration::from_millis(27 * 5));

    let mut stream = TcpStream::connect(emulator.address()).await.unwrap();
    emulator.faults().next(HecFault::Flood { bytes: 1 << 30 }, 1);
    send(&mut stream, "/services/collector", EVENT).await;
    let (mut total, mut part) = (0, vec![0; 1 << 20]);
    while total < 32 << 20 {
        total += stream.read(&mut part).await.unwrap();
    }
    drop(stream);
    assert_eq!(emulator.counts().events, 2);
}

#[tokio::test]
async fn idle_connections_close_on_request_and_by_themselves() {
    let emulator = started(|_| {}).await;
    let mut asked = TcpStream::connect(emulator.address()).await.unwrap();
    ask(&mut asked, "/services/collector", EVENT).await;
    emulator.faults().close_idle();
    assert_closes(&mut asked).await;

    let emulator = started(|config| config.idle = Duration::from_millis(150)).await;
    let mut left_alone = TcpStream::connect(emulator.address()).await.unwrap();
    ask(&mut left_alone, "/services/collector", EVENT).await;
    let start = Instant::now();
    assert_closes(&mut left_alone).await;
    assert!(start.elapsed() >= Duration::from_millis(140), "{:?}", start.elapsed());
}

#[tokio::test]
async fn it_refuses_connections_for_a_while_and_returns_at_the_same_address() {
    let emulator = started(|_| {}).await;
    let mut stream = TcpStream::connect(emulator.address()).await.unwrap();
    ask(&mut stream, "/services/collector", EVENT).await;
    emulator.faults().refuse_for(Duration::from_secs(60));
    assert_closes(&mut stream).await;
    assert!(TcpStream::connect(emulator.address()).await.is_err());
    emulator.faults().clear();
    let mut stream = loop {
        if let Ok(stream) = TcpStream::connect(emulator.address()).await {
            break stream;
        }
    };
    assert_eq!(ask(&mut stream, "/services/collector", EVENT).await.0, 200);
}

#[tokio::test]
async fn a_rotated_token_is_the_only_valid_one() {
    let emulator = started(|_| {}).await;
    let mut stream = TcpStream::connect(emulator.address()).await.unwrap();
    emulator.faults().rotate_token(Secret::new("next"));
    assert_eq!(ask(&mut stream, "/services/collector", EVENT).await.0, 403);
    emulator.faults().rotate_token(Secret::new(TOKEN));
    assert_eq!(ask(&mut stream, "/services/collector", EVENT).await.0, 200);
}

#[tokio::test]
async fn a_body_over_the_limit_is_read_to_its_end_so_that_the_reply_arrives() {
    let emulator = started(|config| config.max_content_length = 1000).await;
    let mut stream = TcpStream::connect(emulator.address()).await.unwrap();
    let (status, page) = ask(&mut stream, "/services/collector", &" ".repeat(8 << 20)).await;
    assert_eq!((status, &page[..5]), (413, "<!doc"));
    assert_eq!(ask(&mut stream, "/services/collector", EVENT).await.0, 200);
}

async fn get(emulator: &HecEmulator, path: &str) -> String {
    let mut stream = TcpStream::connect(emulator.address()).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    read_reply(&mut stream).await.unwrap().unwrap().1
}

#[tokio::test]
async fn the_control_interface_takes_faults_and_shows_the_state() {
    let emulator = started(|_| {}).await;
    for (order, status) in [
        (json!({"do": "next", "fault": {"kind": "reply", "status": 503, "code": 9}, "times": 2}), 200),
        (json!({"do": "during", "fault": {"kind": "cut", "how": "reset"}, "seconds": 0.5, "on": "acks"}), 200),
        (json!({"do": "next", "fault": {"kind": "trickle", "every_ms": 1}}), 200),
        (json!({"do": "close_idle"}), 200),
        (json!({"do": "kill", "seconds": 0}), 200),
        (json!({"do": "kill", "indexer": -1, "seconds": 0}), 400),
        (json!({"do": "refuse", "seconds": 0}), 200),
        (json!({"do": "refuse", "seconds": -1}), 400),
        (json!({"do": "during", "fault": {"kind": "unacked"}, "seconds": 1e300}), 400),
        (json!({"do": "next", "fault": {"kind": "reply", "status": 5}}), 400),
        (json!({"do": "next", "fault": {"kind": "reply", "status": 307, "location": "a\nb"}}), 400),
        (json!({"do": "next", "fault": {"kind": "reply", "sttus": 503}}), 400),
        (json!({"do": "next", "fault": {"kind": "nothing"}}), 400),
        (json!({"do": "nothing"}), 400),
    ] {
        let mut stream = TcpStream::connect(emulator.address()).await.unwrap();
        let reply = ask(&mut stream, "/_emulator/faults", &order.to_string()).await;
        assert_eq!(reply.0, status, "{order}: {}", reply.1);
    }
    let state: Value = serde_json::from_str(&get(&emulator, "/_emulator/state").await).unwrap();
    assert_eq!((&state["faults_pending"], &state["events"]), (&json!(3), &json!(0)));
    let mut stream = TcpStream::connect(emulator.address()).await.unwrap();
    assert_eq!(ask(&mut stream, "/services/collector", EVENT).await.0, 503);
    assert_eq!(ask(&mut stream, "/_emulator/faults", r#"{"do":"clear"}"#).await.0, 200);
    assert_eq!(ask(&mut stream, "/services/collector", EVENT).await.0, 200);
    assert_eq!(ask(&mut stream, "/services/collector/raw", "a").await.0, 200);
    send_bytes(&mut stream, b"\xff\n").await;
    let events = get(&emulator, "/_emulator/events").await;
    let lines: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(
        (&lines[0]["raw"], &lines[1]["raw"], &lines[2]["raw_base64"]),
        (&json!("e"), &json!("a"), &json!("/w=="))
    );
}

async fn send_bytes(stream: &mut TcpStream, body: &[u8]) {
    let head = request_text("/services/collector/raw", &" ".repeat(body.len()));
    let head = &head.as_bytes()[..head.len() - body.len()];
    stream.write_all(&[head, body].concat()).await.unwrap();
    assert_eq!(read_reply(stream).await.unwrap().unwrap().0, 200);
}

#[tokio::test]
async fn a_fault_for_a_body_affects_only_requests_with_that_body() {
    let emulator = started(|_| {}).await;
    let faults = emulator.faults();
    faults.inspect(Dislike::LargerThan(100), HecFault::Cut { how: Cut::Reset, indexed: false });
    faults.inspect(Dislike::Containing("drop table".to_owned()), HecFault::page(200));
    let mut stream = TcpStream::connect(emulator.address()).await.unwrap();
    let reply = ask(&mut stream, "/services/collector", r#"{"event":"drop table logs"}"#).await;
    assert!(reply.0 == 200 && reply.1.starts_with("<!doctype html>"), "{reply:?}");
    assert_eq!(ask(&mut stream, "/services/collector", EVENT).await.0, 200);
    send(&mut stream, "/services/collector", &format!(r#"{{"event":"{}"}}"#, "x".repeat(100))).await;
    assert_eq!(read_reply(&mut stream).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(emulator.counts().events, 1);
}

#[tokio::test]
async fn a_fault_for_events_does_not_affect_a_request_without_events() {
    let emulator = started(|_| {}).await;
    emulator.faults().next(HecFault::busy(), 1);
    let mut stream = TcpStream::connect(emulator.address()).await.unwrap();
    assert_eq!(ask(&mut stream, "/services/collector", "").await.0, 400);
    assert_eq!(ask(&mut stream, "/services/collector", EVENT).await.0, 503);
    assert_eq!(emulator.faults().pending(), 0);
}
