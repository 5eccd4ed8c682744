//! The collector's logic: takes a request and the time, returns an answer.

use std::borrow::Cow;
use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use hyper::header::{ALLOW, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, COOKIE, HeaderValue, SET_COOKIE, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;

use super::faults::{Cut, HecFault, On, Queue};
use super::indexers::Indexers;
use super::parse;
use super::parse::{End, Rules};
use super::received::{Store, Tap};
use super::reply;
use super::reply::Code;
use crate::core::secret::Secret;

const CHANNEL: &str = "x-splunk-request-channel";

/// What a request gets.
#[derive(Debug)]
pub(super) enum Answer {
    /// A reply.
    Whole(Response<Bytes>),
    /// A reply whose body comes one byte at a time.
    Trickle(Response<Bytes>, Duration),
    /// A reply with a body of this many bytes instead of its own.
    Flood(Response<Bytes>, u64),
    /// None.
    Cut(Cut),
}

/// The collector's settings.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) use_ack: bool,
    pub(super) ack_after: Duration,
    pub(super) indexes: Option<Vec<String>>,
    pub(super) indexers: usize,
    pub(super) queue: bool,
    pub(super) max_content_length: usize,
    pub(super) max_event: usize,
    pub(super) tap: Option<Arc<dyn Tap>>,
}

/// A collector without its sockets.
#[derive(Debug)]
pub(super) struct Collector {
    settings: Settings,
    state: Mutex<CollectorState>,
}

/// The state that requests change.
#[derive(Debug)]
pub(super) struct CollectorState {
    pub(super) token: Secret,
    pub(super) faults: Queue,
    pub(super) store: Store,
    indexers: Indexers,
}

/// The endpoints under `/services/collector`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Event,
    Raw,
    Ack,
    Health,
}

impl Endpoint {
    fn at(path: &str) -> Option<Self> {
        match path.strip_prefix("/services/collector")? {
            "" | "/event" | "/event/1.0" => Some(Self::Event),
            "/raw" | "/raw/1.0" => Some(Self::Raw),
            "/ack" | "/ack/1.0" => Some(Self::Ack),
            "/health" | "/health/1.0" => Some(Self::Health),
            _ => None,
        }
    }
}

impl Collector {
    pub(super) fn new(settings: Settings, token: Secret, store: Store) -> Self {
        let indexers = Indexers::new(settings.indexers);
        let state = CollectorState { token, faults: Queue::default(), store, indexers };
        Self { settings, state: Mutex::new(state) }
    }

    /// Locks the state for a short time; never across an await.
    pub(super) fn state(&self) -> MutexGuard<'_, CollectorState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Indexes accepted events that are due.
    pub(super) fn settle(&self, now: Instant) {
        let mut state = self.state();
        let due = state.indexers.due(now);
        if let Some(tap) = &self.settings.tap {
            due.iter().for_each(|event| tap.indexed(event));
        }
        state.store.index(due);
    }

    /// An indexer dies, loses the events that it has accepted but not indexed, and restarts empty. Returns whether
    /// another one is alive.
    pub(super) fn kill(&self, indexer: usize, until: Instant, now: Instant) -> bool {
        self.settle(now);
        self.state().indexers.kill(indexer, until, now)
    }

    /// Maximum size of a request's body, in bytes.
    pub(super) fn max_content_length(&self) -> usize {
        self.settings.max_content_length
    }

    /// Answers a request. Its body is `None` when it was longer than [`Collector::max_content_length`].
    pub(super) fn answer(&self, request: &Request<Option<Bytes>>, now: Instant) -> Answer {
        self.settle(now);
        let indexer = self.indexer(request, now);
        let mut answer = match Endpoint::at(request.uri().path()) {
            None => Answer::Whole(reply::not_found(StatusCode::NOT_FOUND)),
            Some(endpoint) => self.at(endpoint, request, indexer, now),
        };
        if let Answer::Whole(response) | Answer::Trickle(response, _) | Answer::Flood(response, _) = &mut answer {
            if self.settings.indexers > 1 {
                let cookie = HeaderValue::from_str(&format!("AWSALB={indexer}; Path=/")).expect("digits are printable");
                response.headers_mut().insert(SET_COOKIE, cookie);
            }
            // `forceHttp10 = auto` in inputs.conf: a client without a User-Agent gets no persistent connection.
            if !request.headers().contains_key(USER_AGENT) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
        }
        self.count(&answer);
        answer
    }

    fn count(&self, answer: &Answer) {
        let status = match answer {
            Answer::Whole(response) | Answer::Trickle(response, _) | Answer::Flood(response, _) => {
                response.status().as_u16()
            }
            Answer::Cut(_) => 0,
        };
        *self.state().store.counts.replies.entry(status).or_default() += 1;
    }

    fn at(&self, endpoint: Endpoint, request: &Request<Option<Bytes>>, indexer: usize, now: Instant) -> Answer {
        match (endpoint, request.method()) {
            (Endpoint::Health, &Method::OPTIONS) => Answer::Whole(options("GET,HEAD,OPTIONS")),
            (_, &Method::OPTIONS) => Answer::Whole(options("POST,OPTIONS")),
            (Endpoint::Health, &Method::GET | &Method::HEAD) => Answer::Whole(self.health(now)),
            (Endpoint::Ack, &Method::POST) => {
                self.state().store.counts.polls += 1;
                self.with_fault(On::Acks, &[], now, |_| self.poll(request, indexer, now))
            }
            (Endpoint::Event | Endpoint::Raw, &Method::POST) => {
                let mut state = self.state();
                state.store.counts.requests += 1;
                state.store.counts.body_bytes += request.body().as_ref().map_or(0, Bytes::len) as u64;
                drop(state);
                let body = request.body().as_deref().unwrap_or_default();
                // A request without a body has no events: it is a probe.
                let kind = if matches!(request.body(), Some(body) if body.is_empty()) { On::All } else { On::Events };
                self.with_fault(kind, body, now, |fate| self.ingest(endpoint, request, indexer, fate, now))
            }
            _ => Answer::Whole(reply::not_found(StatusCode::METHOD_NOT_ALLOWED)),
        }
    }

    /// Answers with `truth`, changed by a fault if there is one.
    fn with_fault(&self, kind: On, body: &[u8], now: Instant, truth: impl Fn(Fate) -> Response<Bytes>) -> Answer {
        let fault = {
            let mut state = self.state();
            let fault = state.faults.take(kind, body, now);
            state.store.counts.faults += u64::from(fault.is_some());
            fault
        };
        match fault {
            None => Answer::Whole(truth(Fate::default())),
            Some(HecFault::Unacked) => Answer::Whole(truth(Fate { unacked: true, ..Fate::default() })),
            Some(HecFault::Trickle { every_ms }) => {
                Answer::Trickle(truth(Fate::default()), Duration::from_millis(every_ms))
            }
            Some(HecFault::Flood { bytes }) => Answer::Flood(truth(Fate::default()), bytes),
            Some(HecFault::Cut { how, indexed }) => {
                if indexed {
                    truth(Fate::default());
                }
                Answer::Cut(how)
            }
            Some(HecFault::Reply(canned)) => {
                if canned.indexed > 0 {
                    truth(Fate { most: canned.indexed, ..Fate::default() });
                }
                let broken = |error| {
                    let text = format!("the emulator cannot send this fault: {error}");
                    reply::with(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", text.into_bytes())
                };
                Answer::Whole(canned.response().unwrap_or_else(broken))
            }
        }
    }

    /// Splunk answers this without checking the token.
    fn health(&self, now: Instant) -> Response<Bytes> {
        match self.state().faults.outage(now) {
            None => reply::plain(Code::HEALTHY),
            Some(canned) if matches!(canned.status, 429 | 503) => reply::plain(Code::QUEUES_FULL),
            Some(canned) => canned.response().unwrap_or_else(|_| reply::plain(Code::QUEUES_FULL)),
        }
    }

    /// Accepts events.
    fn ingest(
        &self,
        endpoint: Endpoint,
        request: &Request<Option<Bytes>>,
        indexer: usize,
        fate: Fate,
        now: Instant,
    ) -> Response<Bytes> {
        let channel = match self.admit(request) {
            Ok(channel) => channel,
            Err(code) => return reply::plain(code),
        };
        let body = match self.plain_body(request) {
            Ok(body) => body,
            Err(refusal) => return *refusal,
        };
        let rules = Rules {
            host: query(request, "host"),
            source: query(request, "source"),
            sourcetype: query(request, "sourcetype"),
            index: query(request, "index"),
            channel,
            indexes: self.settings.indexes.clone(),
            max_event: self.settings.max_event,
        };
        let mut reading = match endpoint {
            Endpoint::Raw => parse::lines(&body, &rules),
            _ => parse::events(&body, &rules),
        };
        reading.events.truncate(usize::try_from(fate.most).unwrap_or(usize::MAX));

        let taken = reading.events.len();
        let ready = (!fate.unacked).then_some(now + self.settings.ack_after);
        if !self.settings.queue
            && let Some(tap) = &self.settings.tap
        {
            reading.events.iter().for_each(|event| tap.indexed(event));
        }
        let mut state = self.state();
        if self.settings.queue {
            state.indexers.queue(indexer, reading.events, ready);
        } else {
            state.store.index(reading.events);
        }
        state.store.counts.skipped += reading.skipped;
        let anything = taken > 0 || reading.skipped > 0;
        let ack = match &rules.channel {
            Some(channel) if self.settings.use_ack && anything => {
                Some(state.indexers.accept(indexer, channel, ready, now))
            }
            _ => None,
        };
        match reading.end {
            End::Refused { code, number } => reply::verdict(code, Some(number), ack),
            End::Complete | End::ForeignKey if anything => reply::verdict(Code::SUCCESS, None, ack),
            End::Complete | End::ForeignKey => reply::plain(Code::NO_DATA),
        }
    }

    /// Answers an ack poll.
    fn poll(&self, request: &Request<Option<Bytes>>, indexer: usize, now: Instant) -> Response<Bytes> {
        #[derive(Deserialize)]
        struct Poll {
            acks: Vec<u64>,
        }
        let channel = match self.admit(request) {
            Ok(_) if !self.settings.use_ack => return reply::plain(Code::ACK_DISABLED),
            Ok(channel) => channel.unwrap_or_default(),
            Err(code) => return reply::plain(code),
        };
        let body = match self.plain_body(request) {
            Ok(body) => body,
            Err(refusal) => return *refusal,
        };
        if body.trim_ascii().is_empty() {
            return reply::plain(Code::NO_DATA);
        }
        let Ok(Poll { acks }) = serde_json::from_slice(&body) else {
            return reply::plain(Code::INVALID_DATA);
        };
        let known = self.state().indexers.poll(indexer, &channel, &acks, now);
        reply::json(StatusCode::OK, &serde_json::json!({ "acks": known }))
    }

    /// Checks token and channel, in Splunk's order; returns the channel.
    fn admit(&self, request: &Request<Option<Bytes>>) -> Result<Option<String>, Code> {
        let token = query(request, "token");
        let header = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
        match (header, token) {
            (Some(header), _) => {
                let given = credential(header).ok_or(Code::INVALID_AUTHORIZATION)?;
                self.known(&given)?;
            }
            (None, Some(token)) => {
                self.known(&token)?;
                return Err(Code::QUERY_AUTHORIZATION);
            }
            (None, None) => return Err(Code::TOKEN_REQUIRED),
        }
        let header = request.headers().get(CHANNEL).and_then(|value| value.to_str().ok().map(str::to_owned));
        let channel = header.or_else(|| query(request, "channel"));
        match &channel {
            _ if !self.settings.use_ack => Ok(channel),
            None => Err(Code::CHANNEL_MISSING),
            Some(guid) if is_guid(guid) => Ok(channel),
            Some(_) => Err(Code::INVALID_CHANNEL),
        }
    }

    fn known(&self, token: &str) -> Result<(), Code> {
        if self.state().token.expose() == token { Ok(()) } else { Err(Code::INVALID_TOKEN) }
    }

    /// The unpacked body, or Splunk's refusal.
    fn plain_body<'a>(&self, request: &'a Request<Option<Bytes>>) -> Result<Cow<'a, [u8]>, Box<Response<Bytes>>> {
        let too_large = || Box::new(reply::html(StatusCode::PAYLOAD_TOO_LARGE));
        let body = request.body().as_ref().ok_or_else(too_large)?;
        match request.headers().get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
            None | Some(b"identity") => Ok(Cow::Borrowed(body)),
            Some(b"gzip") => {
                let most = self.settings.max_content_length;
                let mut plain = Vec::new();
                let limit = (most as u64).saturating_add(1);
                if MultiGzDecoder::new(&body[..]).take(limit).read_to_end(&mut plain).is_err() {
                    return Err(reply::verdict(Code::INVALID_DATA, Some(0), None).into());
                }
                if plain.len() > most { Err(too_large()) } else { Ok(Cow::Owned(plain)) }
            }
            Some(_) => Err(reply::html(StatusCode::UNSUPPORTED_MEDIA_TYPE).into()),
        }
    }

    /// The indexer of a request: the one named by its cookie, else the next one that is alive.
    fn indexer(&self, request: &Request<Option<Bytes>>, now: Instant) -> usize {
        let cookies = request.headers().get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let named = pairs.find(|(name, _)| *name == "AWSALB").and_then(|(_, indexer)| indexer.parse().ok());
        self.state().indexers.reached(named, now)
    }
}

/// How a fault changes the acceptance of a request's events.
#[derive(Debug, Clone, Copy)]
struct Fate {
    /// Maximum number of events to accept.
    most: u64,
    /// Whether the ack never arrives.
    unacked: bool,
}

impl Default for Fate {
    fn default() -> Self {
        Self { most: u64::MAX, unacked: false }
    }
}

fn options(allow: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// The token in an `Authorization` header: `Splunk <token>`, or the password of `Basic`.
fn credential(header: &str) -> Option<String> {
    let (scheme, rest) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("splunk") {
        return Some(rest.trim().to_owned());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = String::from_utf8(BASE64_STANDARD.decode(rest.trim()).ok()?).ok()?;
        return pair.split_once(':').map(|(_, password)| password.to_owned());
    }
    None
}

/// Eight, four, four, four and twelve hexadecimal digits.
fn is_guid(text: &str) -> bool {
    let groups = || text.split('-');
    groups().map(str::len).eq([8, 4, 4, 4, 12]) && groups().all(|group| group.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A parameter of the URL's query.
fn query(request: &Request<Option<Bytes>>, name: &str) -> Option<String> {
    let pairs = request.uri().query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| percent_decoded(value)).next()
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escape = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (first, escape.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = tail;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
