//! Requests to the listener and to the socket, and the published headline.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;

use super::*;

async fn ask(address: std::net::SocketAddr, request: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    reply
}

#[tokio::test]
async fn each_path_is_answered_and_an_unknown_one_gets_the_list_of_paths() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let joined = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = Arc::clone(&joined);
    let read = move || {
        let joined = seen.load(std::sync::atomic::Ordering::Relaxed);
        in_group(GroupHealth { joined, ..GroupHealth::default() }, with_letters(2, well()))
    };
    let mut serving = JoinSet::new();
    serving.spawn(serve(Some(listener), None, read, watch::Sender::default()));
    let check_with = async |request: &str, headers: &str, status: &str, part: &str| {
        let reply = ask(address, request, headers).await;
        let is_good = reply.starts_with(&format!("HTTP/1.1 {status}")) && reply.contains(part);
        assert!(is_good, "{request} {headers}: {reply}");
    };
    let check = async |request: &str, status: &str, part: &str| {
        check_with(request, "Host: localhost:9464\r\n", status, part).await;
    };
    check("GET /live", "200", "live").await;
    check("GET /ready", "503", "not joined").await;
    joined.store(true, std::sync::atomic::Ordering::Relaxed);
    check("GET /ready", "200", "ready; 2 dead letters wait").await;
    check("GET /status", "200", "\"shards\"").await;
    check("GET /metrics", "200", "forwarder_pulled_total{").await;
    let open = "Host: localhost\r\nAccept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    check_with("GET /metrics", open, "200", "\n# EOF\n").await;
    check_with("GET /metrics", open, "200", "application/openmetrics-text; version=1.0.0").await;
    check("GET /nothing", "404", "/metrics").await;
    check("GET /tap", "403", "only at the socket of the process").await;
    check("POST /status", "405", "GET").await;
    check("OPTIONS /gaps/acknowledge", "405", "GET").await;
    check("POST /gaps/acknowledge", "403", "X-Forwarder").await;
    check_with("POST /gaps/acknowledge", "Host: localhost\r\nX-Forwarder: 1\r\n", "200", "2 gaps acknowledged").await;
    check_with("POST /gaps/acknowledge", "Host: evil.example\r\nX-Forwarder: 1\r\n", "403", "Host").await;

    check("GET /", "200", "<h1>forwarder").await;
    check("GET /events", "200", "content-type: text/event-stream").await;
    check("GET /events", "200", "data: <main ").await;
    check("GET /", "200", "content-security-policy: default-src 'none'; style-src 'sha256-").await;
    check("GET /", "200", "x-content-type-options: nosniff").await;
    let browser = "Host: [::1]:9464\r\nAccept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n";
    check_with("GET /status", browser, "200", "<h1>forwarder").await;
    check_with("GET /status", "Host: 127.0.0.1\r\nAccept: */*\r\n", "200", "\"shards\"").await;

    // A page of another site whose name was made to resolve to this address.
    for host in ["evil.example", "evil.example:9464", "127.0.0.1.evil.example", "localhost.evil.example", "", "a b"] {
        for path in ["/", "/status", "/metrics", "/live"] {
            check_with(&format!("GET {path}"), &format!("Host: {host}\r\n"), "403", "the Host header must be").await;
        }
    }
    let two = "Host: localhost\r\nHost: evil.example\r\n";
    check_with("GET /status", two, "403", "the Host header must be").await;
}

#[tokio::test]
async fn the_socket_serves_the_same_paths_and_also_accepts_changes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let mut serving = JoinSet::new();
    serving.spawn(serve(None, Some(UnixListener::bind(&path).unwrap()), snapshot, watch::Sender::default()));
    for (request, status, part) in [
        ("GET /status HTTP/1.0\r\n", "200", "\"shards\""),
        ("GET /metrics HTTP/1.1\r\nHost: what.ever\r\n", "200", "forwarder_pulled_total{"),
        ("GET /tap?kind=nothing HTTP/1.0\r\n", "400", "log, event, failure or letter"),
        ("POST /gaps/acknowledge HTTP/1.1\r\nHost: x\r\nX-Forwarder: 1\r\n", "200", "2 gaps acknowledged"),
    ] {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(format!("{request}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        let is_good = reply.split(' ').nth(1) == Some(status) && reply.contains(part);
        assert!(is_good, "{request}: {reply}");
    }
}

/// Starts the listener with a snapshot of many shards, so that a reply is larger than the socket buffer.
async fn start_with_shards(shards: u32) -> (std::net::SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ledger = Ledger::default();
    for id in 0..shards {
        ledger.account(&shard(id)).acquired();
    }
    let mut serving = JoinSet::new();
    let read = move || Snapshot { shards: ledger.read(), ..snapshot() };
    serving.spawn(serve(Some(listener), None, read, watch::Sender::default()));
    (address, serving)
}

/// Asserts that the answer comes before any deadline could have closed a connection.
async fn assert_answers_at_once(address: std::net::SocketAddr, path: &str) {
    let request = format!("GET {path}");
    let reply = tokio::time::timeout(listener::REQUEST_TIMEOUT * 4 / 5, ask(address, &request, "Host: localhost\r\n"));
    let reply = reply.await.expect("a probe is answered");
    assert!(reply.starts_with("HTTP/1.1 200"), "{path}: {reply}");
}

#[tokio::test]
async fn silent_clients_do_not_block_probes() {
    let (address, _serving) = start_with_shards(1).await;
    let mut silent = Vec::new();
    for _ in 0..2 * listener::MAX_CONNECTIONS {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    assert_answers_at_once(address, "/live").await;
}

#[tokio::test]
async fn clients_that_pipeline_and_never_read_do_not_block_probes() {
    let (address, _serving) = start_with_shards(2_000).await;
    let many = "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    let mut greedy = Vec::new();
    for _ in 0..2 * listener::MAX_CONNECTIONS {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(many.as_bytes()).await.unwrap();
        greedy.push(stream);
    }
    for path in ["/live", "/ready", "/metrics"] {
        assert_answers_at_once(address, path).await;
    }
}

#[tokio::test]
async fn a_connection_carries_one_request() {
    let (address, _serving) = start_with_shards(1).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let two = "GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2);
    stream.write_all(two.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert_eq!(reply.matches("HTTP/1.1 200").count(), 1, "{reply}");
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_headline_is_published_within_seconds() {
    let is_known = Arc::new(AtomicBool::new(true));
    let now = Arc::clone(&is_known);
    let read = move || match now.load(Ordering::Relaxed) {
        true => well(),
        false => with_health(Health::Unknown, well()),
    };
    let headline = watch::Sender::default();
    let (mut heard, mut serving) = (headline.subscribe(), JoinSet::new());
    serving.spawn(serve(None, None, read, headline));
    heard.changed().await.unwrap();
    assert_eq!(*heard.borrow_and_update(), "Delivering");
    is_known.store(false, Ordering::Relaxed);
    let began = tokio::time::Instant::now();
    heard.changed().await.unwrap();
    assert_eq!(*heard.borrow_and_update(), "Waiting: the destination has not answered yet");
    assert!(began.elapsed() <= Duration::from_secs(5));
    let more = tokio::time::timeout(Duration::from_secs(60), heard.changed()).await;
    assert!(more.is_err(), "the same headline is published once");
}
