//! Receivers that behave unlike any real one, and must not be trusted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use forwarder::core::budget::SharedBudget;
use forwarder::core::state_dir::StateDir;
use forwarder::destination::syslog::{Config, Delivery, Syslog, Target, promise};
use forwarder::destination::{Destination as _, Health, Outcome};
use forwarder::emulator::syslog::Protocol;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::bench::{batch, config, tenure};

const PATIENCE: Duration = Duration::from_secs(60);

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn towards(protocol: Protocol, address: SocketAddr) -> Config {
    let target = Target { host: "127.0.0.1".into(), port: address.port() };
    Config { targets: vec![target], ..config(protocol, &[]) }
}

/// Waits until the receiver counts as down, and returns why.
async fn reported_cause(sink: &Syslog) -> String {
    let down = async {
        loop {
            match sink.health() {
                Health::Down { cause, .. } => break cause,
                _ => sleep(Duration::from_millis(10)).await,
            }
        }
    };
    timeout(PATIENCE, down).await.expect("the outage is reported")
}

/// Reads everything up to the sender's end, and answers that.
async fn read(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

/// Fails if the receiver's end is taken for an answer though ours has not come yet.
#[tokio::test]
async fn an_end_of_stream_from_the_receiver_before_ours_confirms_nothing() {
    let (listener, address) = listener().await;
    let mut config = towards(Protocol::Tcp, address);
    // The second proof is due long after the receiver's end.
    config.delivery = Delivery::Confirmed { interval: Duration::from_secs(2), lag: Duration::from_millis(100) };
    let sink = Arc::new(Syslog::new(&config, StateDir::none(), SharedBudget::new(64 << 20)).unwrap());
    let (_stopper, tenure) = tenure();
    let lying = tokio::spawn(async move {
        let first = listener.accept().await.unwrap().0;
        let (mut second, _) = listener.accept().await.unwrap();
        assert!(!read(first).await.is_empty());
        // This connection's process accepts everything, stores nothing and ends; those of the other connections stay
        // alive.
        let mut lost = vec![0; 64 * 1024];
        assert!(second.read(&mut lost).await.unwrap() > 0);
        drop(second);
        let third = listener.accept().await.unwrap().0;
        let fourth = listener.accept().await.unwrap().0;
        (read(third).await, fourth)
    });
    let deliver = |from: usize| sink.deliver(batch(0, from..from + 1), tenure.clone());
    assert_eq!(timeout(PATIENCE, deliver(0)).await.unwrap(), Outcome::Done(vec![]));
    assert_eq!(timeout(PATIENCE, deliver(1)).await.unwrap(), Outcome::Done(vec![]));
    let (stored, _) = timeout(PATIENCE, lying).await.expect("the second message comes again").unwrap();
    assert_eq!(stored, batch(0, 1..2).events.bytes());
}

/// Fails if a second connection that is refused counts without a look at whether the receiver lives on.
#[tokio::test]
async fn a_receiver_that_is_restarted_before_its_first_proof_is_not_taken_for_one_that_proves_nothing() {
    let (mut listening, address) = listener().await;
    let mut config = towards(Protocol::Tcp, address);
    config.delivery = Delivery::Confirmed { interval: Duration::from_millis(200), lag: Duration::from_secs(1) };
    let sink = Arc::new(Syslog::new(&config, StateDir::none(), SharedBudget::new(64 << 20)).unwrap());
    let (_stopper, tenure) = tenure();
    let delivery = tokio::spawn({
        let sink = Arc::clone(&sink);
        // More than the kernel buffers, so that the witness is opened only after an interval, of 200 ms.
        async move { sink.deliver(batch(0, 0..60_000), tenure).await }
    });
    for _ in 0..4 {
        // A normal stop: no new connection is accepted, and a little later the existing ones are closed.
        let (connection, _) = timeout(PATIENCE, listening.accept()).await.unwrap().unwrap();
        drop(listening);
        sleep(Duration::from_millis(250)).await;
        drop(connection);
        listening = TcpListener::bind(address).await.unwrap();
    }
    assert_eq!(sink.promise(), promise::CONFIRMED);
    delivery.abort();
}

/// Fails if received data is read without limit, before anything else.
#[tokio::test]
async fn a_receiver_that_sends_without_end_is_down_and_stops_nothing() {
    let (listener, address) = listener().await;
    let state = StateDir::none();
    let sink = Syslog::new(&towards(Protocol::Tcp, address), state, SharedBudget::new(64 << 20)).unwrap();
    let talking = tokio::spawn(async move {
        let mut talks = tokio::task::JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            talks.spawn(async move { while stream.write_all(&[b'x'; 65_536]).await.is_ok() {} });
        }
    });
    let (_stopper, tenure) = tenure();
    let delivery = sink.deliver(batch(0, 0..1), tenure);
    let cause = tokio::select! {
        outcome = delivery => panic!("{outcome:?}"),
        cause = reported_cause(&sink) => cause,
    };
    assert!(cause.contains("it sends data without end"), "{cause}");
    // Waits for the end of the session.
    let ended = tokio::task::spawn_blocking(move || drop(sink));
    timeout(PATIENCE, ended).await.expect("it ends").unwrap();
    talking.abort();
}

/// Fails if an opened session counts as a success.
#[tokio::test]
async fn a_relp_receiver_that_refuses_every_message_is_down() {
    let (listener, address) = listener().await;
    let sink = Syslog::new(&towards(Protocol::Relp, address), StateDir::none(), SharedBudget::new(64 << 20)).unwrap();
    let refusing = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = [0; 4096];
            assert!(stream.read(&mut bytes).await.unwrap() > 0);
            stream.write_all(b"1 rsp 37 200 OK\nrelp_version=0\ncommands=syslog\n").await.unwrap();
            if stream.read(&mut bytes).await.unwrap() > 0 {
                stream.write_all(b"2 rsp 9 500 error\n").await.unwrap();
                let _ = stream.read(&mut bytes).await;
            }
        }
    });
    let (_stopper, tenure) = tenure();
    let delivery = sink.deliver(batch(0, 0..2), tenure);
    tokio::select! {
        outcome = delivery => panic!("{outcome:?}"),
        _ = reported_cause(&sink) => {}
    }
    refusing.abort();
}

/// Fails if an answer counts whatever its transaction number.
#[tokio::test]
async fn a_relp_answer_to_another_message_acknowledges_nothing() {
    let (listener, address) = listener().await;
    let sink = Arc::new(
        Syslog::new(&towards(Protocol::Relp, address), StateDir::none(), SharedBudget::new(64 << 20)).unwrap(),
    );
    let lying = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = [0; 4096];
            assert!(stream.read(&mut bytes).await.unwrap() > 0);
            stream.write_all(b"1 rsp 37 200 OK\nrelp_version=0\ncommands=syslog\n").await.unwrap();
            if stream.read(&mut bytes).await.unwrap() > 0 {
                stream.write_all(b"3 rsp 6 200 OK\n").await.unwrap();
                let _ = stream.read(&mut bytes).await;
            }
        }
    });
    let delivery = sink.deliver(batch(0, 0..1), tenure().1);
    assert!(timeout(Duration::from_secs(1), delivery).await.is_err());
    lying.abort();
}

/// Answers the beginning of a session, then this many messages, all at once, and closes the session.
async fn answer(stream: &mut TcpStream, most: usize) {
    let mut bytes = vec![0; 64 * 1024];
    assert!(stream.read(&mut bytes).await.unwrap() > 0);
    stream.write_all(b"1 rsp 37 200 OK\nrelp_version=0\ncommands=syslog\n").await.unwrap();
    let mut heard = Vec::new();
    let mut messages = 0;
    while messages < most {
        let length = stream.read(&mut bytes).await.unwrap();
        assert!(length > 0);
        heard.extend_from_slice(&bytes[..length]);
        messages = memchr::memmem::find_iter(&heard, b" syslog ").count();
    }
    let answers: String = (2..2 + most).map(|txnr| format!("{txnr} rsp 6 200 OK\n")).collect();
    stream.write_all((answers + "0 serverclose 0\n").as_bytes()).await.unwrap();
}

/// Fails if what was begun is not begun again after a session that ended in order.
#[tokio::test]
async fn a_relp_receiver_that_closes_within_a_batch_gets_the_rest_later() {
    let (listener, address) = listener().await;
    let sink = Arc::new(
        Syslog::new(&towards(Protocol::Relp, address), StateDir::none(), SharedBudget::new(64 << 20)).unwrap(),
    );
    let answering = tokio::spawn(async move {
        // The maximum number of unanswered messages, and fewer.
        for most in [128, 72] {
            answer(&mut listener.accept().await.unwrap().0, most).await;
        }
    });
    let outcome = timeout(PATIENCE, sink.deliver(batch(0, 0..200), tenure().1)).await.expect("all are answered");
    assert_eq!(outcome, Outcome::Done(vec![]));
    timeout(PATIENCE, answering).await.expect("the rest is sent before it counts").unwrap();
}
