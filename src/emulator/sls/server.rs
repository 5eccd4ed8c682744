//! HTTP/1.1 on a socket: receives requests, sends replies, and applies faults.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::calls::Target;
use super::faults::SlsFault;
use super::pull::{MAX_BODY, too_large};
use super::refusal::Refusal;
use super::reply::Reply;
use super::service::Service;
use super::{admin, calls};
use crate::emulator::request::Request;
use crate::emulator::server_clock::http_date;

/// Number of pieces of a slowly sent body.
const DRIP_PIECES: usize = 10;

type Body = UnsyncBoxBody<Bytes, Cut>;

/// The connection is ended deliberately.
#[derive(Debug)]
struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cut on purpose")
    }
}

impl std::error::Error for Cut {}

/// Accepts connections until it is dropped; they end with it.
pub(super) async fn serve(listener: TcpListener, service: Arc<Service>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(connection(stream, peer, service.clone()));
                }
                // Usually no free file descriptors: some will be closed soon.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, service: Arc<Service>) {
    // Answers are written in one go, so waiting for more data would only delay them.
    let _ = stream.set_nodelay(true);
    let reset = Arc::new(AtomicBool::new(false));
    let wire = Wire { stream, reset: reset.clone() };
    let respond = service_fn(move |request| {
        let (service, reset) = (service.clone(), reset.clone());
        async move {
            let response = respond(&service, peer, request).await;
            reset.store(response.is_err(), Ordering::Relaxed);
            response
        }
    });
    // The end of a connection is no error: the client disconnected, or a fault cut it off.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(wire), respond).await;
}

async fn respond(
    service: &Arc<Service>,
    peer: SocketAddr,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Body>, Cut> {
    let (head, body) = request.into_parts();
    let announced = body.size_hint().lower();
    let body = if announced > MAX_BODY as u64 {
        Err(too_large(announced))
    } else {
        match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(too_large("in chunks")),
            Err(_) => return Err(Cut),
        }
    };
    let now = service.now();
    let id = format!("{:024X}", service.requests.fetch_add(1, Ordering::Relaxed) + 1);

    let request = body.map(|body| Request::new(head.method, &head.uri, head.headers, body));
    let (reply, fault) = match request {
        Ok(request) if request.path.starts_with("/_emulator/") => {
            let reply = if peer.ip().to_canonical().is_loopback() {
                admin::answer(service, &request, now)
            } else {
                Err(Refusal::new(403, "Unauthorized", "emulator: /_emulator is for this machine only"))
            };
            (reply, None)
        }
        Ok(request) => match Target::of(&request) {
            Ok(target) => {
                let fault = service.faults.take(target.call, &request.project, target.logstore());
                match &fault {
                    Some(SlsFault::Reset) => return Err(Cut),
                    Some(SlsFault::Status { status, code, message }) => {
                        (Err(Refusal::new(*status, code.clone(), message.clone())), fault)
                    }
                    _ => (carry_out(service, target, request, now).await, fault),
                }
            }
            Err(refusal) => (Err(refusal), None),
        },
        Err(refusal) => (Err(refusal), None),
    };
    let reply = reply.unwrap_or_else(Reply::from);
    let reply = reply.with("x-log-requestid", id).with("date", http_date(now));
    misbehave(reply, fault).await
}

/// Verifies and answers on a separate thread, so that hashing or compressing 10 MB delays no other connection.
async fn carry_out(service: &Arc<Service>, target: Target, request: Request, now: Duration) -> Result<Reply, Refusal> {
    let service = service.clone();
    let answer = move || {
        if let Some(verifier) = &service.verifier {
            verifier.verify(&request, now)?;
        }
        calls::answer(&service, &target, &request, now)
    };
    let broken = |_| Err(Refusal::new(500, "InternalServerError", "emulator: this call made it panic"));
    tokio::task::spawn_blocking(answer).await.unwrap_or_else(broken)
}

/// Applies a fault to a reply.
async fn misbehave(mut reply: Reply, fault: Option<SlsFault>) -> Result<hyper::Response<Body>, Cut> {
    let whole =
        |reply: &Reply| Full::new(reply.body.clone()).map_err(|never: Infallible| match never {}).boxed_unsync();
    let body = match fault {
        Some(SlsFault::Reset | SlsFault::DropReply) => return Err(Cut),
        Some(SlsFault::Truncate) => pieces([Ok(reply.body.slice(..reply.body.len() / 2)), Err(Cut)], Duration::ZERO),
        Some(SlsFault::Drip { pause }) => {
            let size = reply.body.len().div_ceil(DRIP_PIECES).max(1);
            let piece = |start| reply.body.slice(start..reply.body.len().min(start + size));
            let all: Vec<_> = (0..reply.body.len()).step_by(size).map(|start| Ok(piece(start))).collect();
            pieces(all, pause)
        }
        Some(SlsFault::Delay { by }) => {
            tokio::time::sleep(by).await;
            whole(&reply)
        }
        Some(SlsFault::Corrupt) => {
            // In every encoding this is a literal run, a magic or a field tag that cannot be.
            reply.body = vec![0xff; reply.body.len()].into();
            whole(&reply)
        }
        Some(SlsFault::RawSize { size }) => {
            for (_, value) in reply.headers.iter_mut().filter(|(name, _)| *name == "x-log-bodyrawsize") {
                *value = size.to_string();
            }
            whole(&reply)
        }
        Some(SlsFault::Status { .. }) | None => whole(&reply),
    };
    let mut response = hyper::Response::builder()
        .status(reply.status)
        .header("server", "forwarder-emulator")
        .header("content-length", reply.body.len());
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    // Only a fault's status can be one that HTTP does not have.
    response.body(body).map_err(|_| Cut)
}

/// A body in pieces with a pause before each.
fn pieces(pieces: impl IntoIterator<Item = Result<Bytes, Cut>>, pause: Duration) -> Body {
    let pieces: std::collections::VecDeque<_> = pieces.into_iter().collect();
    let frames = stream::unfold(pieces, move |mut pieces| async move {
        let piece = pieces.pop_front()?;
        tokio::time::sleep(pause).await;
        Some((piece.map(Frame::data), pieces))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// A stream that can end with a reset instead of a regular close.
struct Wire {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            // If this fails, the connection ends with a plain close, which is a fault as well.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
