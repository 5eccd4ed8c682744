//! What a person or a monitoring system can ask a running forwarder over HTTP.
//!
//! | path | answers |
//! |---|---|
//! | `/` | [`Snapshot`] as a page for people |
//! | `/status` | the same as JSON; as a page for a browser |
//! | `/metrics` | the same in figures, in the text format of Prometheus |
//! | `/live` | 200 as long as the program runs |
//! | `/ready` | 200 while it can read from SLS, else 503; with what is known to be wrong |
//!
//! It only reads. It knows no secret, and what it tells of logs are counts.

mod listener;
mod metrics;
mod page;
mod snapshot;
mod status;
mod verdict;

use std::net::IpAddr;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::uri::Authority;
use hyper::{Method, Response, StatusCode};
use tokio::net::TcpListener;

use listener::listen;
use verdict::{State, Verdict, verdict};

pub use snapshot::{GroupHealth, Identity, Memory, Snapshot};

/// Answers until it is dropped; connections end with it.
pub async fn serve(listener: TcpListener, read: impl Fn() -> Snapshot + Send + Sync + 'static) {
    listen(listener, move |request, is_local| match is_local && is_misled(request.headers()) {
        true => text(StatusCode::FORBIDDEN, WRONG_HOST_REPLY),
        false => reply(request.method(), request.uri().path(), request.headers(), &read),
    })
    .await;
}

const WRONG_HOST_REPLY: &str = "the Host header must be localhost or an address, not another name\n";

/// Whether a browser on this machine may have been led here by somebody else's page: a name in `Host` that is none of
/// this machine may belong to that page, and be made to mean our address ("DNS rebinding"). The page could then read what
/// we answer. Requests that come from other machines may use whatever name theirs know us by.
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

fn reply(method: &Method, path: &str, headers: &HeaderMap, read: &dyn Fn() -> Snapshot) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    }
    match path {
        "/live" => text(StatusCode::OK, "live\n"),
        "/ready" => ready(&verdict(&read())),
        "/" => page(&read()),
        "/status" if wants_a_page(headers) => page(&read()),
        "/status" => answer(StatusCode::OK, "application/json", status::json(&read())),
        "/metrics" => answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics::text(&read())),
        _ => text(StatusCode::NOT_FOUND, "there are /, /status, /metrics, /live and /ready\n"),
    }
}

/// Ready is what can read from SLS, or waits for a shard to read. What is wrong beside that is said.
fn ready(verdict: &Verdict) -> Response<Full<Bytes>> {
    match verdict.state() {
        State::Well => text(StatusCode::OK, "ready\n"),
        State::Stopped => text(StatusCode::SERVICE_UNAVAILABLE, &format!("not ready: {}\n", verdict.line())),
        State::Waiting | State::Trouble => text(StatusCode::OK, &format!("ready; {}\n", verdict.line())),
    }
}

/// A browser asks for HTML by name; other clients ask for nothing or for anything.
fn wants_a_page(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.to_ascii_lowercase().contains("text/html"))
}

fn page(snapshot: &Snapshot) -> Response<Full<Bytes>> {
    let mut response = answer(StatusCode::OK, "text/html; charset=utf-8", page::html(snapshot));
    let policy = HeaderValue::try_from(page::policy()).expect("a policy is ASCII");
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    response
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    answer(status, "text/plain; charset=utf-8", text.to_owned())
}

fn answer(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    /// What is true now is not worth keeping, and is what it says it is.
    const ALWAYS: [(HeaderName, &str); 4] = [
        (CACHE_CONTROL, "no-store"),
        (VARY, "accept"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in ALWAYS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests;
