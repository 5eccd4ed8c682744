//! Faults between a sender and its collector, on demand.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue, InvalidHeaderValue, LOCATION, RETRY_AFTER};
use hyper::http::status::InvalidStatusCode;
use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::reply;
use super::reply::{Code, Verdict};

/// The fault of one request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum HecFault {
    /// This reply, whatever the request was.
    Reply(Canned),
    /// No reply at all. With `indexed`, the events are accepted first.
    Cut {
        /// How the connection ends.
        how: Cut,
        /// Whether the events are taken.
        #[serde(default)]
        indexed: bool,
    },
    /// The true reply, one byte at a time.
    Trickle {
        /// The pause before each byte.
        every_ms: u64,
    },
    /// The true status, and a body of this many bytes.
    Flood {
        /// Length of the body.
        bytes: u64,
    },
    /// The events are accepted with an ack id that never becomes `true`.
    Unacked,
}

/// How a connection ends without a reply, after the whole request was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// It is closed in order (FIN).
    #[error("closed without a reply")]
    Close,
    /// It is reset (RST).
    #[error("reset without a reply")]
    Reset,
    /// It stays open without a reply.
    #[error("silent")]
    Silence,
}

/// A reply that a fault gives. A field that is missing in JSON is `None`, `false` or 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Canned {
    /// HTTP status.
    pub status: u16,
    /// HEC code, with Splunk's text for it.
    pub code: Option<u16>,
    /// `invalid-event-number`, sent only along with a code.
    pub event_number: Option<u64>,
    /// An HTML page in place of HEC's JSON, as from a proxy. Without this and without a code the body is empty.
    pub html: bool,
    /// `Retry-After`, in seconds or as a date.
    pub retry_after: Option<String>,
    /// `Location`, for a redirect.
    pub location: Option<String>,
    /// How many of the request's events are accepted nevertheless, from the first one on.
    pub indexed: u64,
}

/// Why a [`Canned`] reply cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum CannedError {
    /// The status is not 100..=999.
    #[error("a reply needs a `status` between 200 and 599: {0}")]
    Status(#[from] InvalidStatusCode),
    /// A header value is invalid.
    #[error("`retry_after` and `location` must be printable: {0}")]
    Header(#[from] InvalidHeaderValue),
}

impl HecFault {
    fn canned(status: u16, canned: Canned) -> Self {
        Self::Reply(Canned { status, ..canned })
    }

    /// 503, code 9.
    #[must_use]
    pub fn busy() -> Self {
        Self::canned(503, Canned { code: Some(9), ..Canned::default() })
    }

    /// 503, code 9 with the number of the event that found no room; the events before it are taken.
    #[must_use]
    pub fn busy_at(event: u64) -> Self {
        Self::canned(503, Canned { code: Some(9), event_number: Some(event), indexed: event, ..Canned::default() })
    }

    /// 429, code 26, with `Retry-After`.
    #[must_use]
    pub fn throttled(retry_after: Duration) -> Self {
        let retry_after = Some(retry_after.as_secs().to_string());
        Self::canned(429, Canned { code: Some(26), retry_after, ..Canned::default() })
    }

    /// 403, code 1.
    #[must_use]
    pub fn token_disabled() -> Self {
        Self::canned(403, Canned { code: Some(1), ..Canned::default() })
    }

    /// 404 in HEC's JSON, as in a rolling restart.
    #[must_use]
    pub fn rolling_restart() -> Self {
        Self::canned(404, Canned { code: Some(404), ..Canned::default() })
    }

    /// 200, code 24: the events are taken, the queue is filling.
    #[must_use]
    pub fn nearly_full() -> Self {
        Self::canned(200, Canned { code: Some(24), indexed: u64::MAX, ..Canned::default() })
    }

    /// A page from a proxy; nothing is accepted. Also what Splunk itself sends for 413 and 415.
    #[must_use]
    pub fn page(status: u16) -> Self {
        Self::canned(status, Canned { html: true, ..Canned::default() })
    }

    /// 307 to another address.
    #[must_use]
    pub fn redirect(to: &str) -> Self {
        Self::canned(307, Canned { location: Some(to.to_owned()), ..Canned::default() })
    }

    /// The events are taken, and the connection is closed without a reply.
    #[must_use]
    pub fn reply_lost() -> Self {
        Self::Cut { how: Cut::Close, indexed: true }
    }

    /// Whether it can be sent.
    ///
    /// # Errors
    /// It is a reply with a status or a header that HTTP does not have.
    pub fn check(&self) -> Result<(), CannedError> {
        match self {
            Self::Reply(canned) => canned.response().map(drop),
            _ => Ok(()),
        }
    }
}

impl Canned {
    pub(super) fn response(&self) -> Result<Response<Bytes>, CannedError> {
        let status = StatusCode::from_u16(self.status)?;
        let mut response = match self.code {
            _ if self.html => reply::html(status),
            Some(404) => reply::not_found(status),
            Some(code) => reply::json(status, &Verdict::new(Code(code), self.event_number, None)),
            None => Response::new(Bytes::new()),
        };
        *response.status_mut() = status;
        let mut set = |name: HeaderName, value: &Option<String>| -> Result<(), InvalidHeaderValue> {
            if let Some(value) = value {
                response.headers_mut().insert(name, HeaderValue::from_str(value)?);
            }
            Ok(())
        };
        set(RETRY_AFTER, &self.retry_after)?;
        set(LOCATION, &self.location)?;
        Ok(response)
    }
}

/// The kind of requests that a fault applies to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// Requests that bring events.
    #[default]
    Events,
    /// Ack polls.
    Acks,
    /// Both, and the health check when the fault is a reply.
    All,
}

impl On {
    fn covers(self, kind: On) -> bool {
        self == On::All || self == kind
    }
}

/// The bodies that a device between sender and collector rejects, as they are on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dislike {
    /// Those of more bytes.
    LargerThan(usize),
    /// Those that contain this text.
    Containing(String),
}

impl Dislike {
    fn meets(&self, body: &[u8]) -> bool {
        match self {
            Self::LargerThan(bytes) => body.len() > *bytes,
            Self::Containing(text) => memchr::memmem::find(body, text.as_bytes()).is_some(),
        }
    }
}

/// Faults that wait for their request.
#[derive(Debug, Default)]
pub(super) struct Queue {
    scripted: VecDeque<(On, HecFault, u64)>,
    lasting: Vec<(On, HecFault, Instant)>,
    inspecting: Vec<(Dislike, HecFault)>,
}

impl Queue {
    /// The next `times` requests get `fault`, after the faults that were scripted before.
    pub(super) fn next(&mut self, on: On, fault: HecFault, times: u64) {
        if times > 0 {
            self.scripted.push_back((on, fault, times));
        }
    }

    /// Every request until `end` gets `fault`, unless another is scripted for it.
    pub(super) fn until(&mut self, on: On, fault: HecFault, end: Instant) {
        self.lasting.push((on, fault, end));
    }

    /// Every request with events whose body is disliked gets `fault`, unless another is scripted for it.
    pub(super) fn inspect(&mut self, dislike: Dislike, fault: HecFault) {
        self.inspecting.push((dislike, fault));
    }

    /// Takes the fault of a request of this kind with this body.
    pub(super) fn take(&mut self, kind: On, body: &[u8], now: Instant) -> Option<HecFault> {
        if let Some(at) = self.scripted.iter().position(|(on, ..)| on.covers(kind)) {
            let (_, fault, times) = &mut self.scripted[at];
            let fault = fault.clone();
            *times -= 1;
            if *times == 0 {
                self.scripted.remove(at);
            }
            return Some(fault);
        }
        self.lasting.retain(|(.., end)| now < *end);
        let lasting = self.lasting.iter().find(|(on, ..)| on.covers(kind)).map(|(_, fault, _)| fault);
        let mut inspecting = self.inspecting.iter().filter(|(dislike, _)| kind == On::Events && dislike.meets(body));
        lasting.or_else(|| inspecting.next().map(|(_, fault)| fault)).cloned()
    }

    /// The reply to every request now, including the health check.
    pub(super) fn outage(&self, now: Instant) -> Option<&Canned> {
        self.lasting.iter().find_map(|(on, fault, end)| match fault {
            HecFault::Reply(canned) if *on == On::All && now < *end => Some(canned),
            _ => None,
        })
    }

    /// The number of scripted faults that no request got yet.
    pub(super) fn pending(&self) -> u64 {
        self.scripted.iter().map(|(.., times)| times).sum()
    }

    pub(super) fn clear(&mut self) {
        self.scripted.clear();
        self.lasting.clear();
        self.inspecting.clear();
    }
}
