//! The admin listener: the status of a running forwarder over HTTP.
//!
//! | path | answers |
//! |---|---|
//! | `/` | [`Snapshot`] as a page for people |
//! | `/events` | the same for an open page: one server-sent event, after which the browser reconnects |
//! | `/status` | the same as JSON; as a page for a browser |
//! | `/metrics` | the same as metrics, in the text format of Prometheus |
//! | `/live` | 200 as long as the program runs |
//! | `/ready` | 200 while it can read from SLS and deliver, or a destination is down that comes back by itself, else 503; with the known problems |
//! | `/tap` | events as they are processed, line by line; only over the socket, because it shows log text |
//! | `POST /gaps/acknowledge` | acknowledges the open gaps |
//!
//! It listens on an address, on a Unix socket that only our user can open, or on both. It has no access to secrets, and
//! except for `/tap` it shows only counts of logs. Changes are accepted only from this machine, and with a header that
//! a page of another site cannot set without a preflight request.

mod ack_limit;
mod body;
mod destination_history;
mod exposition;
mod headline;
mod history;
mod listener;
mod memory_wait;
mod metrics;
mod page;
mod process;
mod reason;
mod reasons;
mod shard_names;
mod snapshot;
mod status;
mod unread;
mod unwritten;
mod verdict;

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::core::count::count;
use crate::pipeline::tap::{TapQuery, Tapped, TooManyTaps};
use body::Body;
use exposition::Dialect;
use history::History;
use listener::{Accept, Reach, listen};
use verdict::{Verdict, verdict};

pub use memory_wait::{REMEDY as MEMORY_REMEDY, memory_wait};
pub use snapshot::{GroupHealth, Identity, Memory, RecentDeliveries, ShardOwner, Snapshot, SourceSnapshot};
pub use unwritten::{REMEDY as UNWRITTEN_REMEDY, unwritten};

/// The observed program.
pub trait Program: Send + Sync + 'static {
    /// Its current state.
    fn read(&self) -> Snapshot;

    /// Acknowledges the open gaps; returns how many there were.
    ///
    /// # Errors
    /// It cannot be saved.
    fn acknowledge_gaps(&self) -> io::Result<u64>;

    /// Streams what is processed from now on.
    ///
    /// # Errors
    /// [`TooManyTaps`]
    fn tap(&self, wanted: TapQuery) -> Result<Tapped, TooManyTaps>;
}

/// Time between two looks at the headline.
const HEADLINE_INTERVAL: Duration = Duration::from_secs(5);

/// Answers at an address and at a socket until it is dropped; connections end with it. Receivers of `headline` get the
/// headline of the verdict and its first reason.
pub async fn serve(
    tcp: Option<TcpListener>,
    unix: Option<UnixListener>,
    program: impl Program,
    headline: watch::Sender<String>,
) {
    let asked = Arc::new(Asked { program, history: Mutex::default() });
    let at_address = async {
        if let Some(listener) = tcp {
            answer_at(listener, Arc::clone(&asked)).await;
        }
    };
    let at_socket = async {
        if let Some(listener) = unix {
            answer_at(listener, Arc::clone(&asked)).await;
        }
    };
    tokio::join!(at_address, at_socket, asked.remember(), asked.publish(headline));
}

async fn answer_at(listener: impl Accept, asked: Arc<Asked<impl Program>>) {
    let reply = move |request: &Request<Incoming>, reach| {
        let headers = request.headers();
        // A web page cannot connect to a Unix socket.
        match (reach == Reach::Loopback && is_misled(headers), request.method()) {
            (true, _) => text(StatusCode::FORBIDDEN, WRONG_HOST_REPLY),
            (false, &Method::POST) => asked.act(request.uri().path(), headers, reach),
            (false, &Method::GET) if request.uri().path() == "/tap" => asked.tap(request.uri().query(), reach),
            (false, method) => asked.reply(method, request.uri().path(), headers),
        }
    };
    listen(listener, reply).await;
}

/// The program, and samples of its history.
struct Asked<P> {
    program: P,
    history: Mutex<History>,
}

/// Required for changes. A script of another site can set it only after a preflight request of the browser, which we
/// do not answer.
const CHANGE_HEADER: &str = "x-forwarder";

const WRONG_HOST_REPLY: &str = "the Host header must be localhost or an address, not another name\n";

/// Whether a browser on this machine may have been directed here by another site: a foreign name in `Host` may belong
/// to that site and resolve to our address ("DNS rebinding"). The site could then read our answers. Requests from
/// other machines may use any name.
fn is_misled(headers: &HeaderMap) -> bool {
    let is_ours = |host: &HeaderValue| {
        let authority = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
        authority.is_some_and(|authority| {
            let host = authority.host();
            host.eq_ignore_ascii_case("localhost") || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
        })
    };
    !headers.get_all(HOST).iter().all(is_ours)
}

impl<P: Program> Asked<P> {
    /// Samples the program periodically.
    async fn remember(&self) {
        loop {
            let snapshot = self.program.read();
            self.history().sample(&snapshot);
            sleep(history::INTERVAL).await;
        }
    }

    /// Publishes each change of the headline, as long as somebody listens.
    async fn publish(&self, headline: watch::Sender<String>) {
        while !headline.is_closed() {
            let now = verdict(&self.read()).short();
            headline.send_if_modified(|last| std::mem::replace(last, now.clone()) != now);
            sleep(HEADLINE_INTERVAL).await;
        }
    }

    /// The tap, only for clients that could also read the files of the process.
    fn tap(&self, query: Option<&str>, reach: Reach) -> Response<Body> {
        if reach != Reach::Socket {
            return text(StatusCode::FORBIDDEN, "events are shown only at the socket of the process: forwarder tap\n");
        }
        let tapped = match TapQuery::parse(query.unwrap_or_default()) {
            Ok(wanted) => self.program.tap(wanted),
            Err(wrong) => return text(StatusCode::BAD_REQUEST, &format!("{wrong}\n")),
        };
        match tapped {
            Ok(tapped) => answer(StatusCode::OK, "application/x-ndjson", Body::lines(tapped)),
            Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{error}\n")),
        }
    }

    fn reply(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response<Body> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        }
        match path {
            "/live" => text(StatusCode::OK, "live\n"),
            "/ready" => ready(&verdict(&self.read())),
            "/" => self.page(),
            "/events" => answer(StatusCode::OK, "text/event-stream", page::event(&self.read(), &self.history())),
            "/status" if wants_a_page(headers) => self.page(),
            "/status" => answer(StatusCode::OK, "application/json", status::json(&self.read())),
            "/metrics" => {
                let dialect = dialect(headers);
                answer(StatusCode::OK, dialect.content_type(), metrics::text(&self.read(), dialect))
            }
            _ => text(StatusCode::NOT_FOUND, "the paths are /, /status, /metrics, /live and /ready\n"),
        }
    }

    /// Handles a request.
    fn act(&self, path: &str, headers: &HeaderMap, reach: Reach) -> Response<Body> {
        if path != "/gaps/acknowledge" {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD, and POST /gaps/acknowledge\n");
        }
        if reach == Reach::Network || !headers.contains_key(CHANGE_HEADER) {
            return text(StatusCode::FORBIDDEN, "only from this machine, and with the header X-Forwarder: 1\n");
        }
        match self.program.acknowledge_gaps() {
            Ok(gaps) => text(StatusCode::OK, &format!("{} acknowledged\n", count(gaps, "gap"))),
            Err(error) => text(
                StatusCode::INTERNAL_SERVER_ERROR,
                &format!("it cannot be saved in the state directory (state.dir): {error}\n"),
            ),
        }
    }

    /// The current state of the program, completed from its history.
    fn read(&self) -> Snapshot {
        let snapshot = self.program.read();
        let history = self.history();
        Snapshot { lag_change: history.lag_change(), recent: history.recent(&snapshot), ..snapshot }
    }

    fn page(&self) -> Response<Body> {
        let mut response =
            answer(StatusCode::OK, "text/html; charset=utf-8", page::html(&self.read(), &self.history()));
        let policy = HeaderValue::try_from(page::policy()).expect("a policy is ASCII");
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
        response
    }

    /// Every writer leaves the value consistent before it can panic.
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ready means that it can read from SLS and deliver, or waits for a shard. Other problems are listed too.
fn ready(verdict: &Verdict) -> Response<Body> {
    match (verdict.is_ready(), verdict.line()) {
        (true, line) if line.is_empty() => text(StatusCode::OK, "ready\n"),
        (true, line) => text(StatusCode::OK, &format!("ready; {line}\n")),
        (false, line) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("not ready: {line}\n")),
    }
}

/// A browser requests HTML explicitly; other clients request nothing or any type.
fn wants_a_page(headers: &HeaderMap) -> bool {
    accepts(headers, "text/html")
}

/// Prometheus requests OpenMetrics by name, in several versions; any version counts as this one.
fn dialect(headers: &HeaderMap) -> Dialect {
    if accepts(headers, "application/openmetrics-text") { Dialect::OpenMetrics } else { Dialect::Prometheus }
}

fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    let mut accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.to_ascii_lowercase().contains(kind))
}

fn text(status: StatusCode, text: &str) -> Response<Body> {
    answer(status, "text/plain; charset=utf-8", text.to_owned())
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response<Body> {
    /// Headers against caching, and against guessing of the content type.
    const ALWAYS: [(HeaderName, &str); 4] = [
        (CACHE_CONTROL, "no-store"),
        (VARY, "accept"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in ALWAYS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests;
