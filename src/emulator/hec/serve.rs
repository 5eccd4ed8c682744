//! The collector's sockets: accepts connections, reads requests, and sends answers or applies faults.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::collector::Answer;
use super::control;
use super::faults::Cut;
use super::shared::CollectorShared;

/// A pause after a failed accept or bind, to avoid a busy loop.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(20);

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Accepts connections until it is dropped; they end with it.
///
/// # Panics
/// When a connection's task has panicked.
pub(super) async fn listen(listener: TcpListener, address: SocketAddr, idle: Duration, shared: Arc<CollectorShared>) {
    let mut refuse = shared.refuse_until.subscribe();
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        let refused = *refuse.borrow_and_update();
        if let Some(end) = refused.filter(|end| *end > Instant::now()) {
            // As when the process dies: its connections end with its listener.
            listener = None;
            connections.shutdown().await;
            tokio::select! {
                _ = refuse.changed() => {}
                () = tokio::time::sleep_until(end.into()) => {}
            }
            continue;
        }
        let Some(listening) = &listener else {
            match TcpListener::bind(address).await {
                Ok(bound) => listener = Some(bound),
                Err(_) => sleep(ACCEPT_RETRY_PAUSE).await,
            }
            continue;
        };
        let accepted = tokio::select! {
            biased;
            _ = refuse.changed() => continue,
            Some(ended) = connections.join_next() => {
                propagate_panic(ended);
                continue;
            }
            accepted = listening.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                shared.collector.state().store.counts.connections += 1;
                connections.spawn(converse(stream, peer, idle, shared.clone()));
            }
            Err(_) => sleep(ACCEPT_RETRY_PAUSE).await,
        }
    }
}

/// A panic in a task is passed on to its waiter.
pub(super) fn propagate_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Serves one connection to its end.
async fn converse(stream: TcpStream, peer: SocketAddr, idle: Duration, shared: Arc<CollectorShared>) {
    let mut close_idle = shared.close_idle.subscribe();
    // Without it a reply may wait 40 ms for the client's delayed ACK. If it fails, the connection is closed already.
    let _ = stream.set_nodelay(true);
    let is_local = peer.ip().to_canonical().is_loopback();
    let service = service_fn(|request| reply(request, is_local, &shared));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // The time counts while a connection waits for a request, so it is the keep-alive limit too.
        .header_read_timeout(idle)
        .serve_connection(TokioIo::new(stream), service);
    let ended = loop {
        let ended = tokio::select! {
            ended = &mut connection => Some(ended),
            Ok(()) = close_idle.changed() => None,
        };
        match ended {
            Some(ended) => break ended,
            None => Pin::new(&mut connection).graceful_shutdown(),
        }
    };
    let cut = ended.as_ref().err().and_then(|error| error.source()).and_then(|cause| cause.downcast_ref::<Cut>());
    if cut == Some(&Cut::Reset) {
        // With no time to linger, closing sends RST. A connection that the client has closed needs none.
        let _ = connection.into_parts().io.into_inner().set_zero_linger();
    }
}

/// Answers one request.
async fn reply(
    request: Request<Incoming>,
    is_local: bool,
    shared: &CollectorShared,
) -> Result<Response<Body>, Box<dyn Error + Send + Sync>> {
    let (head, body) = request.into_parts();
    let body = read(body, shared.collector.max_content_length()).await?;
    let request = Request::from_parts(head, body);
    let now = Instant::now();
    let answer = if is_local && request.uri().path().starts_with("/_emulator/") {
        Answer::Whole(control::answer(shared, &request, now))
    } else {
        shared.collector.answer(&request, now)
    };
    match answer {
        Answer::Whole(response) => Ok(response.map(|body| Full::new(body).boxed_unsync())),
        Answer::Trickle(response, every) => Ok(response.map(|body| trickle(body, every))),
        Answer::Flood(response, bytes) => Ok(response.map(|_| flood(bytes))),
        Answer::Cut(Cut::Silence) => std::future::pending().await,
        Answer::Cut(cut) => Err(cut.into()),
    }
}

/// The whole body, or `None` if it is longer than `most`: then it has been read and discarded, so that the client can
/// read the reply.
async fn read(mut body: Incoming, most: usize) -> Result<Option<Bytes>, hyper::Error> {
    let mut kept = Vec::new();
    let mut is_too_long = false;
    while let Some(frame) = body.frame().await {
        let Ok(part) = frame?.into_data() else { continue };
        is_too_long |= part.len() > most - kept.len();
        if is_too_long {
            kept = Vec::new();
        } else {
            kept.extend_from_slice(&part);
        }
    }
    Ok((!is_too_long).then(|| kept.into()))
}

fn trickle(body: Bytes, every: Duration) -> Body {
    let bytes = stream::unfold(body, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        sleep(every).await;
        Some((Ok(Frame::data(rest.split_to(1))), rest))
    });
    StreamBody::new(bytes).boxed_unsync()
}

fn flood(bytes: u64) -> Body {
    const PART: usize = 64 * 1024;
    let part = Bytes::from(vec![b' '; PART]);
    let parts = stream::unfold((part, bytes), |(part, left)| async move {
        let now = usize::try_from(left).unwrap_or(PART).min(PART);
        (now > 0).then(|| (Ok(Frame::data(part.slice(..now))), (part, left - now as u64)))
    });
    StreamBody::new(parts).boxed_unsync()
}
