//! Connections of the admin listener: one request each, with deadlines, so that no client keeps a probe out.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::warn;

/// Connections at once. One more closes the oldest: a probe needs milliseconds, so the oldest is a client that is slow, or
/// does not read.
pub(super) const MOST_CONNECTIONS: usize = 64;

/// How long a client may take to send a request.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may last, from its first byte to the last of the reply.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Most bytes of a request's head. Hyper's least.
const MOST_HEAD: usize = 8_192;

/// A pause when the system gives us no connection.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Answers requests until it is dropped; connections end with it. `reply` also learns whether the client reached us at a
/// loopback address.
pub(super) async fn listen(
    listener: TcpListener,
    reply: impl Fn(&Request<Incoming>, bool) -> Response<Full<Bytes>> + Send + Sync + 'static,
) {
    let reply = Arc::new(reply);
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!("the status page accepts no connection: {error}");
                sleep(ACCEPT_RETRY_PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        oldest_first.retain(|connection| !connection.is_finished());
        if oldest_first.len() >= MOST_CONNECTIONS
            && let Some(oldest) = oldest_first.pop_front()
        {
            oldest.abort();
        }
        let reply = Arc::clone(&reply);
        // A client that is too slow, or goes away in the middle, is its own business.
        let answered = async move { drop(timeout(CONNECTION_TIMEOUT, answer(stream, &*reply)).await) };
        oldest_first.push_back(connections.spawn(answered));
    }
}

async fn answer(stream: TcpStream, reply: &(impl Fn(&Request<Incoming>, bool) -> Response<Full<Bytes>> + Sync)) {
    let is_local = stream.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
    let service = service_fn(|request: Request<Incoming>| {
        let response = reply(&request, is_local);
        async { Ok::<_, Infallible>(response) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIMEOUT).max_buf_size(MOST_HEAD).keep_alive(false);
    let _gone = server.serve_connection(TokioIo::new(stream), service).await;
}
