//! A collector on a loopback socket: reads complete requests, keeps them, and replies as a test defines.

use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What to do with one request.
pub enum Act {
    Reply {
        status: u16,
        headers: String,
        body: String,
        after: Duration,
        /// Closes the connection after it.
        last: bool,
    },
    /// A reset instead of a reply.
    Reset,
    /// A close instead of a reply.
    Close,
    /// No reply, forever.
    Silent,
    /// An endless reply, one byte at a time.
    Trickle,
    /// A reply with a body of this many bytes.
    Flood(usize),
}

impl Act {
    /// A reply of Splunk.
    pub fn reply(status: u16, body: &str) -> Self {
        let headers = "Server: Splunkd\r\n".to_owned();
        Self::Reply { status, headers, body: body.to_owned(), after: Duration::ZERO, last: false }
    }

    /// A reply of a receiver that is not Splunk.
    pub fn without_server(mut self) -> Self {
        if let Self::Reply { headers, .. } = &mut self {
            headers.clear();
        }
        self
    }

    pub fn with(mut self, header: &str) -> Self {
        if let Self::Reply { headers, .. } = &mut self {
            headers.push_str(header);
            headers.push_str("\r\n");
        }
        self
    }

    pub fn then_close(mut self) -> Self {
        if let Self::Reply { last, .. } = &mut self {
            *last = true;
        }
        self
    }

    pub fn after(mut self, wait: Duration) -> Self {
        if let Self::Reply { after, .. } = &mut self {
            *after = wait;
        }
        self
    }
}

/// A request as it arrived, its body unpacked.
#[derive(Debug, Clone)]
pub struct Seen {
    pub line: String,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        Some(value)
    }

    pub fn lines(&self) -> Vec<String> {
        String::from_utf8_lossy(&self.body).lines().map(str::to_owned).collect()
    }
}

type Answer = Box<dyn FnMut(&Seen, &mut Vec<String>) -> Act + Send>;

struct State {
    answer: Answer,
    seen: Vec<Seen>,
    taken: Vec<String>,
    connections: usize,
    under_way: usize,
    peak: usize,
    flooded: usize,
}

/// The server; it ends when this is dropped.
pub struct Collector {
    pub url: String,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _tasks: JoinSet<()>,
}

impl Collector {
    /// `answer` sees every request, and records the events that it accepts.
    pub async fn start(answer: impl FnMut(&Seen, &mut Vec<String>) -> Act + Send + 'static) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), answer).await
    }

    pub async fn start_at(
        address: SocketAddr,
        answer: impl FnMut(&Seen, &mut Vec<String>) -> Act + Send + 'static,
    ) -> Self {
        Self::start_on(std::net::TcpListener::bind(address).unwrap(), answer)
    }

    pub fn start_on(
        listener: std::net::TcpListener,
        answer: impl FnMut(&Seen, &mut Vec<String>) -> Act + Send + 'static,
    ) -> Self {
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            answer: Box::new(answer),
            seen: Vec::new(),
            taken: Vec::new(),
            connections: 0,
            under_way: 0,
            peak: 0,
            flooded: 0,
        }));
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&state);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                shared.lock().unwrap().connections += 1;
                let state = Arc::clone(&shared);
                connections.spawn(async move {
                    let _ = serve(stream, &state).await;
                });
            }
        });
        Self { url: format!("http://{address}"), address, state, _tasks: tasks }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    /// The requests with events.
    pub fn with_events(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| !seen.body.is_empty()).collect()
    }

    /// The accepted events, in order.
    pub fn taken(&self) -> Vec<String> {
        self.state.lock().unwrap().taken.clone()
    }

    pub fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    /// The maximum number of concurrent requests.
    pub fn peak(&self) -> usize {
        self.state.lock().unwrap().peak
    }

    pub fn forget_peak(&self) {
        self.state.lock().unwrap().peak = 0;
    }

    /// Bytes of floods that the client accepted.
    pub fn flooded(&self) -> usize {
        self.state.lock().unwrap().flooded
    }
}

async fn serve(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(seen) = request(&mut stream).await? {
        let act = {
            let mut state = state.lock().unwrap();
            let state = &mut *state;
            state.under_way += 1;
            state.peak = state.peak.max(state.under_way);
            let act = (state.answer)(&seen, &mut state.taken);
            state.seen.push(seen);
            act
        };
        let goes_on = answer(stream.get_mut(), act, state).await;
        state.lock().unwrap().under_way -= 1;
        if !goes_on? {
            break;
        }
    }
    Ok(())
}

async fn request(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<Seen>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await?;
        match header.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_lowercase(), value.to_owned())),
            None => break,
        }
    }
    let mut seen = Seen { line: line.trim_end().to_owned(), headers, body: Vec::new() };
    let length = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
    seen.body.resize(length, 0);
    stream.read_exact(&mut seen.body).await?;
    if seen.header("content-encoding") == Some("gzip") {
        let packed = std::mem::take(&mut seen.body);
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut seen.body)?;
    }
    Ok(Some(seen))
}

/// Returns whether the connection continues.
async fn answer(stream: &mut TcpStream, act: Act, state: &Mutex<State>) -> std::io::Result<bool> {
    match act {
        Act::Reply { status, headers, body, after, last } => {
            tokio::time::sleep(after).await;
            let length = body.len();
            let reply = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
            stream.write_all(reply.as_bytes()).await?;
            Ok(!last)
        }
        Act::Reset => {
            stream.set_zero_linger()?;
            Ok(false)
        }
        Act::Close => Ok(false),
        Act::Silent => std::future::pending().await,
        Act::Trickle => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n").await?;
            loop {
                stream.write_all(b" ").await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Act::Flood(bytes) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            for _ in 0..bytes / 65_536 {
                stream.write_all(&[b' '; 65_536]).await?;
                state.lock().unwrap().flooded += 65_536;
            }
            Ok(true)
        }
    }
}
