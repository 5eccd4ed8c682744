//! What a person or a monitoring system can ask a running forwarder over HTTP.
//!
//! | path | answers |
//! |---|---|
//! | `/live` | 200 as long as the program runs |
//! | `/ready` | 200 once it has joined its consumer group, before that 503 |
//! | `/status` | [`Snapshot`] as JSON |
//! | `/metrics` | the same in figures, in the text format of Prometheus |
//!
//! It only reads. It knows no secret, and what it tells of logs are counts.

mod metrics;
mod status;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::warn;

use crate::ledger::Entry;
use crate::model::ShardId;
use crate::script::Reloads;
use crate::sink::Health;

/// Connections at once; more wait to be accepted.
const MOST_CONNECTIONS: usize = 16;

/// How long a client may take to send a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// A pause when the system gives us no connection.
const BREATH: Duration = Duration::from_millis(100);

/// How the program does at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Whether the consumer group was joined.
    pub joined: bool,
    /// What *delivered* means: `accepted`, `confirmed`, …
    pub promise: String,
    /// How the destination does.
    pub health: Health,
    /// The books of every shard that this process has worked on.
    pub shards: BTreeMap<ShardId, Entry>,
    /// Version of the script in force.
    pub script: String,
    /// What became of other versions.
    pub reloads: Reloads,
    /// Now, unix seconds.
    pub now: i64,
}

/// Answers until it is dropped; connections end with it.
pub async fn serve(listener: TcpListener, read: impl Fn() -> Snapshot + Send + Sync + 'static) {
    let read = Arc::new(read);
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let permit = Arc::clone(&room).acquire_owned().await.expect("nobody closes it");
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!("the status page accepts no connection: {error}");
                sleep(BREATH).await;
                continue;
            }
        };
        let read = Arc::clone(&read);
        connections.spawn(async move {
            let answer = service_fn(|request: Request<Incoming>| {
                let reply = reply(request.method(), request.uri().path(), &*read);
                async { Ok::<_, Infallible>(reply) }
            });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
            // A client that goes away in the middle is its own business.
            let _gone = server.serve_connection(TokioIo::new(stream), answer).await;
            drop(permit);
        });
    }
}

fn reply(method: &Method, path: &str, read: &dyn Fn() -> Snapshot) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    let (status, kind, body) = match (method, path) {
        (&Method::GET | &Method::HEAD, "/live") => (StatusCode::OK, TEXT, "live\n".to_owned()),
        (&Method::GET | &Method::HEAD, "/ready") if read().joined => (StatusCode::OK, TEXT, "ready\n".to_owned()),
        (&Method::GET | &Method::HEAD, "/ready") => {
            (StatusCode::SERVICE_UNAVAILABLE, TEXT, "the consumer group is not joined yet\n".to_owned())
        }
        (&Method::GET | &Method::HEAD, "/status") => (StatusCode::OK, "application/json", status::json(&read())),
        (&Method::GET | &Method::HEAD, "/metrics") => {
            (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics::text(&read()))
        }
        (&Method::GET | &Method::HEAD, _) => {
            (StatusCode::NOT_FOUND, TEXT, "there are /live, /ready, /status and /metrics\n".to_owned())
        }
        _ => (StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".to_owned()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests;
