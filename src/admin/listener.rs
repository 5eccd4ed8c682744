//! Connections of the admin listener: one request each, with deadlines, so that no client blocks a probe.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;
use tracing::warn;

use super::body::Body;

/// Maximum number of connections. A further one closes the oldest: a probe needs milliseconds, so the oldest client
/// is slow, or does not read.
pub(super) const MAX_CONNECTIONS: usize = 64;

/// How long a client may take to send a request.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may last, from its first byte to the last of the reply, unless the reply has no end.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum size of a request's head, in bytes: the smallest value that hyper allows.
const MAX_HEAD: usize = 8_192;

/// A pause after a failed accept.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(100);

/// How a client reached us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Over our socket: a program of our user, or of root.
    Socket,
    /// Over a loopback address: a program on this machine.
    Loopback,
    /// Over another address.
    Network,
}

/// A listening socket.
pub(super) trait Accept {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next one.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// How it reached us.
    fn reach(stream: &Self::Stream) -> Reach;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        Ok(self.accept().await?.0)
    }

    fn reach(stream: &TcpStream) -> Reach {
        let is_local = stream.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
        if is_local { Reach::Loopback } else { Reach::Network }
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        Ok(self.accept().await?.0)
    }

    fn reach(_: &UnixStream) -> Reach {
        Reach::Socket
    }
}

/// Answers requests until it is dropped; connections end with it.
pub(super) async fn listen<L: Accept>(
    listener: L,
    reply: impl Fn(&Request<Incoming>, Reach) -> Response<Body> + Send + Sync + 'static,
) {
    let reply = Arc::new(reply);
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let stream = match listener.next().await {
            Ok(stream) => stream,
            Err(error) => {
                warn!("the status page accepts no connection: {error}");
                sleep(ACCEPT_RETRY_PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        oldest_first.retain(|connection| !connection.is_finished());
        if oldest_first.len() >= MAX_CONNECTIONS
            && let Some(oldest) = oldest_first.pop_front()
        {
            oldest.abort();
        }
        let reply = Arc::clone(&reply);
        oldest_first.push_back(connections.spawn(async move { answer::<L>(stream, &*reply).await }));
    }
}

async fn answer<L: Accept>(stream: L::Stream, reply: &(impl Fn(&Request<Incoming>, Reach) -> Response<Body> + Sync)) {
    let reach = L::reach(&stream);
    let is_endless = AtomicBool::new(false);
    let service = service_fn(|request: Request<Incoming>| {
        let response = reply(&request, reach);
        is_endless.store(response.body().is_endless(), Ordering::Relaxed);
        async { Ok::<_, Infallible>(response) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIMEOUT).max_buf_size(MAX_HEAD).keep_alive(false);
    let late = async {
        sleep(CONNECTION_TIMEOUT).await;
        if is_endless.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    // A client that is too slow, or disconnects early, is not an error of ours.
    tokio::select! {
        _gone = server.serve_connection(TokioIo::new(stream), service) => {}
        () = late => {}
    }
}
