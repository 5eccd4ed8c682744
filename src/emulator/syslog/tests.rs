use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

async fn sent(emulator: &SyslogEmulator, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(emulator.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

#[tokio::test]
async fn messages_of_both_framings_are_kept() {
    let emulator = SyslogEmulator::start(Config::new(Protocol::Tcp)).await.unwrap();
    assert_eq!(sent(&emulator, b"4 <1>a<2>b\n").await, b"");
    assert_eq!(emulator.received(), [b"<1>a", b"<2>b"]);
}

#[tokio::test]
async fn relp_is_answered() {
    let emulator = SyslogEmulator::start(Config::new(Protocol::Relp)).await.unwrap();
    emulator.faults().add(ReceiverFault::Refuse("bad".to_owned()));
    let answer = sent(&emulator, b"1 open 0\n2 syslog 4 <1>a\n3 syslog 3 bad\n4 close 0\n").await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.ends_with("2 rsp 6 200 OK\n3 rsp 11 500 refused\n4 rsp 0\n0 serverclose 0\n"), "{answer}");
    assert_eq!(emulator.received(), [b"<1>a"]);
}

#[tokio::test]
async fn messages_in_memory_are_lost_with_the_receiver() {
    let config = Config { memory: Duration::from_secs(3_600), ..Config::new(Protocol::Tcp) };
    let emulator = SyslogEmulator::start(config).await.unwrap();
    sent(&emulator, b"<1>a\n").await;
    emulator.faults().die_for(Duration::ZERO);
    while emulator.counts().deaths == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!((emulator.counts().messages, emulator.counts().forgotten), (0, 1));
}
