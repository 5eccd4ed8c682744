use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::*;
use crate::ledger::{Ledger, Settled, Wait};

fn snapshot() -> Snapshot {
    let ledger = Ledger::default();
    let account = ledger.account(ShardId(2));
    account.taken_up();
    account.pulled(10, 100, None);
    account.settled(Settled { delivered: 6, dropped: 1, dead_lettered: 2, events: 6 }, Some(100));
    account.waits(Wait::Disk, "no room \"here\"".into());
    Snapshot {
        joined: true,
        promise: "confirmed".into(),
        health: Health::Down { since: Instant::now(), cause: "siem: refused".into() },
        shards: ledger.read(),
        script: "0123456789ab".into(),
        reloads: Reloads { taken: 3, refused: 1, taken_back: 0, trouble: Some("s.lua:3: no".into()) },
        now: 105,
    }
}

#[test]
fn the_status_tells_where_every_log_is_and_what_is_wrong() {
    let status: serde_json::Value = serde_json::from_str(&status::json(&snapshot())).unwrap();
    let shard = &status["shards"][0];
    for (key, expected) in
        [("shard", 2), ("pulled", 10), ("delivered", 6), ("dropped", 1), ("dead_lettered", 2), ("in_flight", 1)]
    {
        assert_eq!(shard[key], expected, "{key}");
    }
    assert_eq!((&shard["missing"], &shard["lag_seconds"]), (&0.into(), &5.into()));
    assert_eq!(shard["standstill"], "no room \"here\"");
    assert_eq!(status["destination"]["state"], "down");
    assert_eq!(status["destination"]["cause"], "siem: refused");
    assert_eq!(status["script"]["trouble"], "s.lua:3: no");
}

#[test]
fn every_metric_has_help_and_one_line_a_shard() {
    let text = metrics::text(&snapshot());
    for line in [
        "forwarder_delivered_total{shard=\"2\"} 6",
        "forwarder_dead_lettered_total{shard=\"2\"} 2",
        "forwarder_pulled{shard=\"2\"} 10",
        "forwarder_missing{shard=\"2\"} 0",
        "forwarder_lag_seconds{shard=\"2\"} 5",
        "forwarder_standstill{shard=\"2\"} 1",
        "forwarder_shards_held 1",
        "forwarder_destination{delivered_means=\"confirmed\",state=\"down\"} 1",
        "forwarder_destination{delivered_means=\"confirmed\",state=\"up\"} 0",
        "forwarder_script_refused_total 1",
        "forwarder_script_trouble 1",
        "forwarder_script_info{version=\"0123456789ab\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        assert!(text.contains(&format!("# HELP {name} ")) && text.contains(&format!("# TYPE {name} ")), "{name}");
    }
}

async fn ask(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    reply
}

#[tokio::test]
async fn it_answers_what_is_there_and_says_what_there_is() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let joined = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = Arc::clone(&joined);
    let read = move || Snapshot { joined: seen.load(std::sync::atomic::Ordering::Relaxed), ..snapshot() };
    let mut serving = JoinSet::new();
    serving.spawn(serve(listener, read));
    let check = async |request: &str, status: &str, part: &str| {
        let reply = ask(address, request).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")) && reply.contains(part), "{request}: {reply}");
    };
    check("GET /live", "200", "live").await;
    check("GET /ready", "503", "not joined").await;
    joined.store(true, std::sync::atomic::Ordering::Relaxed);
    check("GET /ready", "200", "ready").await;
    check("GET /status", "200", "\"shards\"").await;
    check("GET /metrics", "200", "forwarder_pulled{").await;
    check("GET /", "404", "/metrics").await;
    check("POST /status", "405", "GET").await;
    // Clients that say nothing do not keep the others out for ever.
    let mut silent = Vec::new();
    for _ in 0..MOST_CONNECTIONS - 1 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    check("GET /live", "200", "live").await;
}
