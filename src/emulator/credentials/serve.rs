//! The sockets: receives requests and sends answers.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{DATE, HeaderValue};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::answer::{Answered, Asked, answer};
use super::conduct::{Conduct, lock};
use super::config::Config;
use crate::emulator::request::Request;
use crate::emulator::server_clock::{http_date, server_time};

/// Maximum size of a request's body, in bytes.
const MAX_BODY: usize = 64 << 10;

/// Accepts connections until it is dropped; they end with it.
pub(super) async fn serve(listener: TcpListener, config: Arc<Config>, conduct: Arc<Mutex<Conduct>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&config), Arc::clone(&conduct)));
                }
                // Usually no free file descriptors: some will be closed soon.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, config: Arc<Config>, conduct: Arc<Mutex<Conduct>>) {
    let respond = service_fn(move |request| respond(Arc::clone(&config), Arc::clone(&conduct), request));
    // Errors of a connection are the client's.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), respond).await;
}

async fn respond(
    config: Arc<Config>,
    conduct: Arc<Mutex<Conduct>>,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = server_time(now, lock(&conduct).skew);
    let answered = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => {
            let body = body.to_bytes();
            let form = format!("/?{}", String::from_utf8_lossy(&body)).parse().unwrap_or_default();
            let form = Request::new(head.method.clone(), &form, hyper::HeaderMap::new(), Bytes::new());
            let request = Request::new(head.method, &head.uri, head.headers, body.clone());
            let asked = Asked {
                metadata_token: request.header("x-aliyun-ecs-metadata-token"),
                parameters: request.query.into_iter().chain(form.query).collect(),
                method: request.method,
                path: request.path,
                body: body.to_vec(),
            };
            answer(&config, &conduct, &asked, now)
        }
        Err(_) => Answered::With(413, String::new()),
    };
    let (status, body) = match answered {
        Answered::With(status, body) => (status, body),
        Answered::Never => std::future::pending().await,
    };
    let mut response = hyper::Response::new(Full::new(body.into()));
    response.headers_mut().insert(DATE, HeaderValue::try_from(http_date(now)).expect("a date is a header"));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    Ok(response)
}
