//! A server on a loopback socket that replies from a list.

use std::collections::VecDeque;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;
use crate::sls::test_config::test_config;

/// What the server does with a request.
#[derive(Clone)]
pub(super) enum Answer {
    /// Sends this.
    Whole(Vec<u8>),
    /// Sends this and hangs up.
    Torn(Vec<u8>),
    /// Sends this and then a byte from time to time, forever.
    Drip(Vec<u8>),
    /// Sends nothing.
    Silent,
}

/// A request as received over the network.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) line: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Received {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

pub(super) struct Server {
    pub(super) port: u16,
    pub(super) received: Arc<Mutex<Vec<Received>>>,
    pub(super) _tasks: JoinSet<()>,
}

impl Server {
    /// Answers requests from the list, one after the other, and sends nothing when the list is used up.
    pub(super) async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0), answers).await
    }

    pub(super) async fn start_at(address: (Ipv4Addr, u16), answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let answers = Arc::new(Mutex::new(answers.into_iter().collect::<VecDeque<_>>()));
        let mut tasks = JoinSet::new();
        let log = Arc::clone(&received);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, Arc::clone(&answers), Arc::clone(&log)));
            }
        });
        Self { port, received, _tasks: tasks }
    }

    pub(super) fn config(&self) -> Config {
        test_config(self.port)
    }

    pub(super) fn sls(&self) -> Sls {
        Sls::new(&self.config()).unwrap()
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.received().into_iter().map(|request| request.line).collect()
    }
}

pub(super) async fn serve(stream: TcpStream, answers: Arc<Mutex<VecDeque<Answer>>>, log: Arc<Mutex<Vec<Received>>>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = receive_request(&mut stream).await {
        log.lock().unwrap().push(request);
        let answer = answers.lock().unwrap().pop_front().unwrap_or(Answer::Silent);
        match answer {
            Answer::Whole(bytes) => {
                // The client may close the connection early.
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Answer::Torn(bytes) => return stream.write_all(&bytes).await.unwrap(),
            Answer::Drip(bytes) => {
                stream.write_all(&bytes).await.unwrap();
                while stream.write_all(b" ").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                return;
            }
            Answer::Silent => std::future::pending().await,
        }
    }
}

pub(super) async fn receive_request(stream: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers: Vec<(String, String)> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut request = Received { line: lines[0].trim_end_matches(" HTTP/1.1").to_owned(), headers, body: Vec::new() };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    request.body = vec![0; length];
    stream.read_exact(&mut request.body).await.ok()?;
    Some(request)
}

pub(super) fn raw(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status} X\r\nx-log-requestid: 5F00\r\n");
    for (name, value) in headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    if !headers.iter().any(|(name, _)| *name == "content-length") {
        out.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    out.push_str("\r\n");
    [out.as_bytes(), body].concat()
}

pub(super) fn ok(body: &str) -> Answer {
    Answer::Whole(raw(200, &[], body.as_bytes()))
}

pub(super) fn error(status: u16, code: &str, headers: &[(&str, &str)]) -> Answer {
    let body = format!(r#"{{"errorCode":"{code}","errorMessage":"no"}}"#);
    Answer::Whole(raw(status, headers, body.as_bytes()))
}
