//! The connections of the receiver, and the messages in its memory.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openssl::ssl::SslAcceptor;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_openssl::SslStream;

use super::config::{Config, Counts, Protocol};
use super::faults::ReceiverFault;
use super::frames;
use super::frames::Garbage;
use super::tls;

/// How often a stalled receiver checks whether it may continue.
const STALL_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// How often messages that are old enough are stored.
const WRITE_INTERVAL: Duration = Duration::from_millis(5);

/// Bytes of a read.
const READ_BYTES: usize = 64 * 1024;

/// Until when the receiver is dead; nothing before its first death.
pub(super) type Death = Option<Instant>;

pub(super) struct ReceiverShared {
    config: Config,
    acceptor: Option<SslAcceptor>,
    state: Mutex<ReceiverState>,
    deaths: watch::Sender<Death>,
    resets: Notify,
}

impl std::fmt::Debug for ReceiverShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiverShared").field("config", &self.config).finish_non_exhaustive()
    }
}

#[derive(Default)]
pub(super) struct ReceiverState {
    pub(super) kept: VecDeque<Vec<u8>>,
    pub(super) counts: Counts,
    pub(super) faults: Vec<ReceiverFault>,
    /// Read, but not stored.
    memory: VecDeque<(Instant, Vec<u8>)>,
}

/// The result of a message for its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Go,
    /// The message is taken, and the connection ends.
    Close,
    Reset,
    /// The message is lost, and the connection ends.
    Lose,
    /// The message is refused.
    Refuse,
}

impl ReceiverShared {
    pub(super) fn new(config: Config, deaths: watch::Sender<Death>) -> io::Result<Self> {
        let acceptor = match (&config.protocol, &config.identity) {
            (Protocol::Tls | Protocol::RelpTls, Some((certificate, key))) => {
                Some(tls::acceptor(certificate, key, config.client_ca.as_deref())?)
            }
            (Protocol::Tls | Protocol::RelpTls, None) => {
                return Err(io::Error::other("TLS needs a certificate and its key"));
            }
            _ => None,
        };
        Ok(Self { config, acceptor, state: Mutex::default(), deaths, resets: Notify::new() })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, ReceiverState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn die(&self, duration: Duration) {
        self.deaths.send_replace(Some(Instant::now() + duration));
    }

    /// Called after its connections were cut: drops the messages that were not old enough to be stored. In the other
    /// order, a sender could find a connection alive whose receiver has lost its memory.
    fn died(&self) {
        let mut state = self.state();
        self.write_down(&mut state);
        let forgotten = std::mem::take(&mut state.memory).len() as u64;
        state.counts.forgotten += forgotten;
        state.counts.deaths += 1;
    }

    pub(super) fn reset_all(&self) {
        self.resets.notify_waiters();
    }

    fn is(&self, fault: &ReceiverFault) -> bool {
        self.state().faults.contains(fault)
    }

    /// Whether one more connection fits beside this many.
    fn has_room(&self, connections: usize) -> bool {
        let is_full =
            |fault: &ReceiverFault| matches!(fault, ReceiverFault::AtMost(most) if connections as u64 >= *most);
        !self.state().faults.iter().any(is_full)
    }

    /// Handles a message, the `count`th of its connection.
    fn take(&self, message: &[u8], count: u64) -> Next {
        let mut state = self.state();
        let holds = |text: &str| memchr::memmem::find(message, text.as_bytes()).is_some();
        let mut next = Next::Go;
        for fault in &state.faults {
            next = match fault {
                ReceiverFault::CloseOn(text) if holds(text) => return Next::Lose,
                ReceiverFault::Refuse(text) if holds(text) => return Next::Refuse,
                ReceiverFault::CloseAfter(most) if count >= *most => Next::Close,
                ReceiverFault::ResetAfter(most) if count >= *most => Next::Reset,
                _ => continue,
            };
        }
        state.counts.read += 1;
        state.counts.bytes += message.len() as u64;
        state.memory.push_back((Instant::now(), message.to_vec()));
        if self.config.memory.is_zero() {
            self.write_down(&mut state);
        }
        next
    }

    fn write_down(&self, state: &mut ReceiverState) {
        let now = Instant::now();
        while state.memory.front().is_some_and(|(read, _)| *read + self.config.memory <= now) {
            let Some((_, message)) = state.memory.pop_front() else { return };
            state.counts.messages += 1;
            if let Some(tap) = &self.config.tap {
                tap.received(&message);
            }
            if state.kept.len() >= self.config.keep {
                state.kept.pop_front();
            }
            if self.config.keep > 0 {
                state.kept.push_back(message);
            }
        }
    }
}

/// Stores messages that were in memory for long enough.
pub(super) async fn write_down(shared: Arc<ReceiverShared>) {
    loop {
        sleep(WRITE_INTERVAL).await;
        shared.write_down(&mut shared.state());
    }
}

/// Accepts connections, dies and restarts.
pub(super) async fn listen(
    mut listener: TcpListener,
    address: SocketAddr,
    shared: Arc<ReceiverShared>,
    mut died: watch::Receiver<Death>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = died.changed() => None,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => Some(accepted),
        };
        match accepted {
            Some(Ok(_)) if !shared.has_room(connections.len()) => {}
            Some(Ok((stream, _))) => {
                shared.state().counts.connections += 1;
                connections.spawn(serve(stream, Arc::clone(&shared)));
            }
            Some(Err(_)) => sleep(STALL_POLL_INTERVAL).await,
            None => {
                drop(listener);
                connections.shutdown().await;
                shared.died();
                let until = *died.borrow_and_update();
                sleep_until(until.unwrap_or_else(Instant::now)).await;
                listener = loop {
                    match TcpListener::bind(address).await {
                        Ok(listener) => break listener,
                        Err(_) => sleep(STALL_POLL_INTERVAL).await,
                    }
                };
            }
        }
    }
}

/// Receives datagrams, dies and restarts.
pub(super) async fn receive(
    socket: UdpSocket,
    address: SocketAddr,
    shared: Arc<ReceiverShared>,
    mut died: watch::Receiver<Death>,
) {
    let mut buffer = vec![0; READ_BYTES];
    let mut socket = Some(socket);
    loop {
        let Some(open) = &socket else {
            let until = *died.borrow_and_update();
            sleep_until(until.unwrap_or_else(Instant::now)).await;
            socket = UdpSocket::bind(address).await.ok();
            continue;
        };
        let received = tokio::select! {
            biased;
            _ = died.changed() => None,
            received = open.recv(&mut buffer), if !shared.is(&ReceiverFault::Stall) => received.ok(),
            () = sleep(STALL_POLL_INTERVAL) => continue,
        };
        match received {
            Some(length) => {
                shared.take(&buffer[..length], 0);
            }
            None => {
                socket = None;
                shared.died();
            }
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<ReceiverShared>) {
    let Some(acceptor) = &shared.acceptor else {
        return converse(stream, &shared, |stream| stream).await;
    };
    if let Ok(stream) = tls::accept(acceptor, stream).await {
        converse(stream, &shared, |stream: &SslStream<TcpStream>| stream.get_ref()).await;
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    shared: &ReceiverShared,
    raw: impl Fn(&S) -> &TcpStream,
) {
    let reset = shared.resets.notified();
    let is_relp = matches!(shared.config.protocol, Protocol::Relp | Protocol::RelpTls);
    let ended = tokio::select! {
        biased;
        () = reset => Ok(Next::Reset),
        ended = read(&mut stream, shared, is_relp) => ended,
    };
    match ended {
        Ok(Next::Reset) => {
            // If this fails, the connection is closed in order instead.
            let _ = SockRef::from(raw(&stream)).set_linger(Some(Duration::ZERO));
        }
        Ok(Next::Go) if shared.is(&ReceiverFault::IgnoreClose) => std::future::pending().await,
        Ok(Next::Go) if !shared.is(&ReceiverFault::BareClose) => {
            // The peer may be gone already.
            let _ = stream.shutdown().await;
        }
        Ok(_) | Err(_) => {}
    }
}

/// Reads until the peer or a fault ends it.
async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    shared: &ReceiverShared,
    is_relp: bool,
) -> io::Result<Next> {
    let mut buffer = Vec::with_capacity(READ_BYTES);
    let mut start = 0;
    let mut count = 0;
    let mut answers = Vec::new();
    loop {
        while shared.is(&ReceiverFault::Stall) {
            sleep(STALL_POLL_INTERVAL).await;
        }
        buffer.drain(..start);
        start = 0;
        buffer.reserve(READ_BYTES);
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(Next::Go);
        }
        let ends = loop {
            let bytes = &buffer[start..];
            let (message, length) = if is_relp {
                let Some(frame) = frames::relp(bytes).map_err(garbage)? else { break None };
                let message = match frame.command {
                    b"syslog" => Some((frame.data, frame.txnr)),
                    other => {
                        answer(&mut answers, other, frame.txnr);
                        None
                    }
                };
                let ends = frame.command == b"close";
                start += frame.length;
                let Some((message, txnr)) = message else {
                    if ends {
                        break Some(Next::Close);
                    }
                    continue;
                };
                count += 1;
                match shared.take(message, count) {
                    Next::Go => answers.extend_from_slice(format!("{txnr} rsp 6 200 OK\n").as_bytes()),
                    Next::Refuse => answers.extend_from_slice(format!("{txnr} rsp 11 500 refused\n").as_bytes()),
                    other => break Some(other),
                }
                continue;
            } else {
                match frames::message(bytes).map_err(garbage)? {
                    Some(found) => found,
                    None => break None,
                }
            };
            count += 1;
            let next = shared.take(message, count);
            start += length;
            if next != Next::Go {
                break Some(next);
            }
        };
        if !answers.is_empty() {
            stream.write_all(&answers).await?;
            answers.clear();
        }
        if let Some(ends) = ends {
            return Ok(ends);
        }
    }
}

fn garbage(garbage: Garbage) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, garbage)
}

fn answer(answers: &mut Vec<u8>, command: &[u8], txnr: usize) {
    const HELLO: &str = "200 OK\nrelp_version=0\nrelp_software=forwarder-emulator\ncommands=syslog";
    match command {
        b"open" => answers.extend_from_slice(format!("{txnr} rsp {} {HELLO}\n", HELLO.len()).as_bytes()),
        b"close" => answers.extend_from_slice(format!("{txnr} rsp 0\n0 serverclose 0\n").as_bytes()),
        _ => answers.extend_from_slice(b"0 serverclose 0\n"),
    }
}
