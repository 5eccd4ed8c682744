//! `/_emulator/…`: orders for, and state of, an emulator that runs as a separate program.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::{Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::faults::{Dislike, HecFault, On};
use super::received::Counts;
use super::reply;
use super::shared::CollectorShared;
use crate::core::secret::Secret;

/// The body of `POST /_emulator/faults`.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
enum Order {
    /// The next requests have a fault.
    Next {
        fault: HecFault,
        #[serde(default = "once")]
        times: u64,
        #[serde(default)]
        on: On,
    },
    /// All requests have a fault for some time.
    During {
        fault: HecFault,
        seconds: f64,
        #[serde(default)]
        on: On,
    },
    /// Requests with certain bodies have a fault, until all faults are cleared.
    Inspect { dislike: Dislike, fault: HecFault },
    /// Connections are refused for some time.
    Refuse { seconds: f64 },
    /// An indexer dies for some time, and loses the events that it has accepted but not indexed.
    Kill {
        #[serde(default)]
        indexer: usize,
        seconds: f64,
    },
    /// Idle connections are closed now.
    CloseIdle {},
    /// Another token becomes the valid one.
    RotateToken { token: String },
    /// Clears all faults.
    Clear {},
}

fn once() -> u64 {
    1
}

/// The body of `GET /_emulator/state`.
#[derive(Serialize)]
struct StateReply {
    #[serde(flatten)]
    counts: Counts,
    faults_pending: u64,
}

/// Answers a request under `/_emulator/`.
pub(super) fn answer(shared: &CollectorShared, request: &Request<Option<Bytes>>, now: Instant) -> Response<Bytes> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/_emulator/state") => {
            shared.collector.settle(now);
            let state = shared.collector.state();
            let counts = state.store.counts.clone();
            reply::json(StatusCode::OK, &StateReply { counts, faults_pending: state.faults.pending() })
        }
        (&Method::GET, "/_emulator/events") => {
            let events = shared.collector.state().store.kept();
            let mut lines = Vec::new();
            for event in events {
                serde_json::to_writer(&mut lines, &event).expect("an event is text, and writing to a Vec cannot fail");
                lines.push(b'\n');
            }
            reply::with(StatusCode::OK, "application/x-ndjson", lines)
        }
        (&Method::POST, "/_emulator/faults") => match order(shared, request.body().as_deref(), now) {
            Ok(()) => reply::json(StatusCode::OK, &serde_json::json!({ "done": true })),
            Err(error) => reply::json(StatusCode::BAD_REQUEST, &serde_json::json!({ "error": error })),
        },
        _ => reply::not_found(StatusCode::NOT_FOUND),
    }
}

/// Applies an order, or returns what is wrong with it.
fn order(shared: &CollectorShared, body: Option<&[u8]>, now: Instant) -> Result<(), String> {
    let body = body.ok_or("the body is too long")?;
    let order = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    match order {
        Order::Next { fault, times, on } => {
            fault.check().map_err(|error| error.to_string())?;
            shared.collector.state().faults.next(on, fault, times);
        }
        Order::During { fault, seconds, on } => {
            fault.check().map_err(|error| error.to_string())?;
            let end = now + duration(seconds)?;
            shared.collector.state().faults.until(on, fault, end);
        }
        Order::Inspect { dislike, fault } => {
            fault.check().map_err(|error| error.to_string())?;
            shared.collector.state().faults.inspect(dislike, fault);
        }
        Order::Refuse { seconds } => shared.refuse_until(Some(now + duration(seconds)?)),
        Order::Kill { indexer, seconds } => shared.kill(indexer, now + duration(seconds)?),
        Order::CloseIdle {} => shared.close_idle(),
        Order::RotateToken { token } => shared.collector.state().token = Secret::new(token),
        Order::Clear {} => shared.clear_faults(),
    }
    Ok(())
}

/// A day is the maximum, because an `Instant` is bounded.
fn duration(seconds: f64) -> Result<Duration, String> {
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if duration <= Duration::from_secs(86_400) => Ok(duration),
        _ => Err(format!("`seconds` is {seconds}, and must be between 0 and 86400")),
    }
}
