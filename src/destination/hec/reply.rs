//! Classifies a collector's reply: one decision per reply for the events of a request.
//!
//! The codes are those of Splunk's "Troubleshoot HTTP Event Collector". Splunk parses a request from the front and
//! accepts each object as it goes: `invalid-event-number` counts from 0, the objects before it are indexed, it and
//! later ones are not. Other receivers refuse the whole request with the same number. Events before the bad one
//! therefore count as accepted only if the reply identifies Splunk (`Server: Splunkd`), or if the settings say so
//! ([`Partial`]).

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::num::ParseIntError;
use std::ops::Range;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::suspicion::Failure;
use super::verdict::{Before, Verdict};
use crate::core::batch::Events;
use crate::core::cause::Cause;
use crate::core::duration::in_words;
use crate::destination::quoted_reply::quoted;
use crate::destination::{CheckError, Rejection};

/// The largest event that Splunk accepts by default (`inputs.conf`, `maxEventSize`, 5 MB). It answers a larger one
/// with code 6 and number 0, as if it were malformed.
const MAX_EVENT_SIZE: usize = 5_000_000;

/// A pause that the collector asks for is named from this length on.
const LONG_PAUSE: Duration = Duration::from_secs(5);

/// Minimum wait after a 404: the cause is a rolling restart, a proxy without a backend, or a wrong URL, and takes a
/// while to end.
const NOT_FOUND_FLOOR: Duration = Duration::from_secs(5);

/// Maximum wait at the request of a server.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// The remedy if a proxy requires authentication.
pub(super) const PROXY_LOGIN: &str = "the proxy requires a user and a password: set the variable https_proxy \
     (http_proxy for \
                                      a collector without TLS) to http://user:password@host:port, and leave out hec.proxy";

/// A reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The wait that the server asks for (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// The body, truncated at the maximum size.
    pub body: Vec<u8>,
    /// Whether the reply identifies Splunk as its server.
    pub is_splunk: bool,
    /// The encoding of the body if it was not requested; such a body is not read.
    pub encoding: Option<String>,
    /// The proxy through which the request was sent, and which may have answered in place of the collector.
    pub proxy: Option<String>,
}

impl Reply {
    /// Whether Splunk refuses the token: it is disabled, or unknown.
    #[must_use]
    pub fn refuses_token(&self) -> bool {
        matches!((self.status, ReplyBody::parse(&self.body).code), (401 | 403, Some(1 | 4)))
    }

    /// The result of the events before the bad one in this reply.
    fn before(&self, partial: Partial) -> Before {
        match partial {
            Partial::Kept => Before::Taken,
            Partial::Auto if self.is_splunk => Before::Taken,
            Partial::Auto | Partial::Refused => Before::Unknown,
        }
    }
}

/// What a collector does with the events of a request before one that it refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partial {
    /// It keeps them if it identifies itself as Splunk (`Server: Splunkd`); for others this is unknown.
    Auto,
    /// It keeps them: they are delivered.
    Kept,
    /// It refuses the whole request: they are sent again without the bad one.
    Refused,
}

/// A sent request.
#[derive(Debug, Clone)]
pub struct Sent<'a> {
    /// The events of the batch.
    pub events: &'a Events,
    /// Those in this request; never empty.
    pub range: Range<usize>,
    /// The body was compressed.
    pub gzip: bool,
    /// The index that the settings name.
    pub index: Option<&'a str>,
    /// What the receiver does with the events before a bad one, as the settings say.
    pub partial: Partial,
}

impl Sent<'_> {
    /// The events as they were sent, before compression.
    fn bytes(&self) -> &[u8] {
        &self.events.bytes()[self.events.range(self.range.start).start..self.events.range(self.range.end - 1).end]
    }
}

/// Decides. Pure: the same reply to the same request always has the same result.
#[must_use]
pub fn classify(reply: &Reply, sent: &Sent<'_>) -> Verdict {
    let parsed = ReplyBody::parse(&reply.body);
    let count = sent.range.len();
    let retry_with = |floor: Option<Duration>, maybe_taken: usize, hint: Option<&'static str>| {
        let mut cause = cause(reply, &parsed, sent, hint);
        if let Some(pause) = reply.retry_after.filter(|pause| *pause >= LONG_PAUSE) {
            cause.what += &format!("; it asks for a pause of {}", in_words(pause));
            if pause > MAX_RETRY_AFTER {
                cause.what += &format!("; probing again in {}", in_words(MAX_RETRY_AFTER));
            }
        }
        let asked = reply.retry_after.map(|pause| pause.min(MAX_RETRY_AFTER));
        Verdict::Retry { floor: floor.max(asked), maybe_taken, cause }
    };
    let retry = |maybe_taken: usize| retry_with(None, maybe_taken, None);
    let hold = |hint: &'static str| Verdict::Hold { cause: cause(reply, &parsed, sent, Some(hint)) };
    match (reply.status, parsed.code) {
        (200..=299, Some(code @ (0 | 24 | 25))) => Verdict::Accepted { slow_down: code != 0, ack_id: parsed.ack_id },
        // A proxy's page, an incomplete reply, or something other than a collector: the events do not count as
        // accepted.
        (200..=299, _) => retry_with(
            None,
            count,
            Some("this is not an answer from a collector: check the URL; a proxy may answer in its place"),
        ),
        (300..=399, _) => hold("a redirect is not followed with a token: set the URL that it points to (https?)"),
        (400, Some(code @ (6 | 12 | 13 | 15))) => bad_event(reply, code, &parsed, sent),
        (400, Some(7)) => bad_index(reply, &parsed, sent),
        (400, Some(5)) if count == 1 => event(0, 5, reply, &parsed, sent),
        (400 | 401 | 403, Some(code)) => hold(hint(code)),
        (400, None) => hold(
            "this is not an answer from a collector: check the URL, and proxies and firewalls on the \
             way",
        ),
        (401 | 403, None) => hold("a proxy or a firewall refuses the request, not Splunk: let it allow this machine"),
        (407, _) => hold(PROXY_LOGIN),
        (404 | 405, _) => {
            retry_with(Some(NOT_FOUND_FLOOR), 0, Some("if this persists, there is no collector: check host and port"))
        }
        (413, _) if count == 1 => Verdict::Event {
            before: Before::Taken,
            bad: 0,
            ack_id: None,
            rejection: Rejection::TooLarge,
            code: "http 413".to_owned(),
            reason: format!("too large for the collector: {} bytes", sent.bytes().len()),
        },
        (413, _) => Verdict::Split,
        (415, _) if sent.gzip => Verdict::GzipOff,
        (429, _) => retry(0),
        // Busy. Events before the number may have been accepted; this is not documented, so all are sent again.
        (503, _) => retry(parsed.number.map_or(0, |number| number.min(count))),
        (501 | 505 | 511, _) => hold("this is not a collector, or a proxy requires a login: check the URL"),
        (408 | 425 | 500..=599, _) => retry(count),
        _ => hold("no collector answers like this: check the URL, and proxies and firewalls on the way"),
    }
}

/// How this reply fails its request, if it is not from a collector and the request itself may be the cause: the page of
/// a firewall or a portal, or the error of a gateway whose collector closed the connection. A reply that refuses every
/// client, asks for a login or reports load does not concern a particular request.
#[must_use]
pub fn foreign(reply: &Reply) -> Option<Failure> {
    if ReplyBody::parse(&reply.body).code.is_some() {
        return None;
    }
    match reply.status {
        200..=299 | 400 | 403 | 406 => Some(Failure::Ended),
        500 | 502 | 504 => Some(Failure::Silence),
        _ => None,
    }
}

/// The result for the token from the answer to an empty request. Splunk checks the token first, then reports no data.
///
/// # Errors
/// The answer is not known yet, or the operator must change something.
pub(super) fn classify_empty(reply: &Reply) -> Result<(), CheckError> {
    let parsed = ReplyBody::parse(&reply.body);
    // Receivers other than Splunk report a missing event, or invalid JSON.
    if matches!((reply.status, parsed.code), (400, Some(5 | 6 | 12 | 13)) | (200..=299, Some(0 | 24 | 25))) {
        return Ok(());
    }
    Err(without_events(reply, "no collector answers an empty request like this: check the URL"))
}

/// The acknowledged ids in the answer to a poll. An answer that is not exactly as expected confirms nothing.
///
/// # Errors
/// The answer is not known yet, or the operator must change something.
pub fn acknowledged(reply: &Reply) -> Result<BTreeSet<u64>, CheckError> {
    #[derive(Deserialize)]
    struct Acks {
        acks: BTreeMap<String, bool>,
    }
    if (200..=299).contains(&reply.status)
        && let Ok(Acks { acks }) = serde_json::from_slice(&reply.body)
        && let Ok(acks) =
            acks.iter().map(|(id, safe)| Ok((id.parse()?, *safe))).collect::<Result<Vec<(u64, bool)>, ParseIntError>>()
    {
        return Ok(acks.into_iter().filter(|(_, safe)| *safe).map(|(id, _)| id).collect());
    }
    Err(without_events(
        reply,
        "this is not an answer about acknowledgements: does a proxy answer in the collector's place?",
    ))
}

/// Classifies an unexpected reply to an empty request.
fn without_events(reply: &Reply, otherwise: &'static str) -> CheckError {
    let mut empty = Events::default();
    let Ok(()) = empty.push(0, |_| Ok::<_, Infallible>(()));
    let sent = Sent { events: &empty, range: 0..1, gzip: false, index: None, partial: Partial::Auto };
    match classify(reply, &sent) {
        Verdict::Retry { cause, .. } => CheckError::Down(cause),
        Verdict::Hold { cause } => CheckError::Refused(cause),
        _ => CheckError::Refused(cause(reply, &ReplyBody::parse(&reply.body), &sent, Some(otherwise))),
    }
}

/// The verdict with acknowledgements: events without an id do not count as accepted.
#[must_use]
pub fn with_acks(mut verdict: Verdict) -> Verdict {
    match &mut verdict {
        Verdict::Accepted { ack_id: None, .. } => {
            return Verdict::Hold {
                cause: Cause {
                    what: "events were accepted without an acknowledgement id".to_owned(),
                    hint: Some(hint(14)),
                },
            };
        }
        Verdict::Event { before, ack_id: None, .. } | Verdict::Alone { before, ack_id: None, .. } => {
            *before = Before::Unknown;
        }
        _ => {}
    }
    verdict
}

/// `Retry-After`, in seconds or as a date; a date counts from the reply's own `Date`, so our clock does not matter
/// (RFC 9110 section 10.2.3).
pub(super) fn retry_after(value: Option<&str>, date: Option<&str>) -> Option<Duration> {
    let value = value?.trim();
    match value.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let until = jiff::fmt::rfc2822::parse(value).ok()?;
            let now = jiff::fmt::rfc2822::parse(date?.trim()).ok()?;
            let seconds = until.timestamp().as_second() - now.timestamp().as_second();
            Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
        }
    }
}

/// The index that an encoded event names.
pub(super) fn index_of(event: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Envelope {
        index: Option<String>,
    }
    serde_json::from_slice::<Envelope>(event).ok()?.index
}

/// Foreign text for our log: one line, limited in length.
pub(super) fn words(text: &str) -> String {
    let mut words: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.retain(|letter| !letter.is_control());
    match words.char_indices().nth(200) {
        None => words,
        Some((at, _)) => format!("{}…", &words[..at]),
    }
}

/// The reply's JSON, as far as it can be parsed. Unknown codes and keys do not affect the rest.
#[derive(Debug, Default)]
struct ReplyBody {
    text: Option<String>,
    code: Option<u64>,
    number: Option<usize>,
    ack_id: Option<u64>,
}

impl ReplyBody {
    fn parse(body: &[u8]) -> Self {
        let Ok(Value::Object(reply)) = serde_json::from_slice(body) else {
            return Self::default();
        };
        Self {
            text: reply.get("text").and_then(Value::as_str).map(str::to_owned),
            code: reply.get("code").and_then(Value::as_u64),
            number: reply
                .get("invalid-event-number")
                .and_then(Value::as_u64)
                .and_then(|number| usize::try_from(number).ok()),
            ack_id: reply.get("ackId").and_then(Value::as_u64),
        }
    }
}

fn bad_event(reply: &Reply, code: u64, parsed: &ReplyBody, sent: &Sent<'_>) -> Verdict {
    let count = sent.range.len();
    match parsed.number {
        _ if count == 1 => event(0, code, reply, parsed, sent),
        Some(0) if code == 6 && sent.bytes().len() > MAX_EVENT_SIZE => Verdict::Split,
        Some(number) if number < count => event(number, code, reply, parsed, sent),
        _ => Verdict::Bisect,
    }
}

/// Code 7 reports a number one higher than the other codes: a single bad event is number 1. This is not documented,
/// so the suspected event is sent alone; and if the same request had an accepted event with its index, the number
/// means something else.
fn bad_index(reply: &Reply, parsed: &ReplyBody, sent: &Sent<'_>) -> Verdict {
    let index = |number: usize| index_of(sent.events.get(sent.range.start + number));
    let count = sent.range.len();
    if count == 1 {
        let index = index(0);
        return if index.as_deref() == sent.index {
            // All events without an index go there: the settings are wrong, not the event.
            Verdict::Hold { cause: cause(reply, parsed, sent, Some(hint(7))) }
        } else {
            Verdict::Index {
                reason: words(&format!("{}: {:?}", parsed.words(sent), index.as_deref().unwrap_or_default())),
                index,
                code: "hec 7".to_owned(),
            }
        };
    }
    match parsed.number {
        Some(number) if (1..=count).contains(&number) => {
            let suspect = number - 1;
            let suspected = index(suspect);
            if (0..suspect).any(|taken| index(taken) == suspected) {
                return Verdict::Bisect;
            }
            Verdict::Alone { before: reply.before(sent.partial), suspect, ack_id: parsed.ack_id }
        }
        _ => Verdict::Bisect,
    }
}

fn event(bad: usize, code: u64, reply: &Reply, parsed: &ReplyBody, sent: &Sent<'_>) -> Verdict {
    Verdict::Event {
        before: reply.before(sent.partial),
        bad,
        ack_id: parsed.ack_id,
        rejection: Rejection::Refused,
        code: format!("hec {code}"),
        reason: parsed.words(sent),
    }
}

impl ReplyBody {
    /// The reason that the collector gives.
    fn words(&self, sent: &Sent<'_>) -> String {
        let text = self.text.as_ref().map(|text| quoted(text.as_bytes(), sent.bytes()));
        text.unwrap_or_else(|| "no reason given".to_owned())
    }
}

fn hint(code: u64) -> &'static str {
    match code {
        1 | 22 => "enable the token in Splunk: Settings, Data inputs, HTTP Event Collector",
        2 | 3 => "the token did not arrive: does a proxy remove the Authorization header?",
        4 | 21 => "the token is wrong: compare it with Splunk's Settings, Data inputs, HTTP Event Collector",
        5 => "Splunk found no event in a request that has some: does a proxy cut the body?",
        7 => "allow the index for the token in Splunk, or set another index",
        10 | 11 => "the request channel did not arrive: does a proxy remove X-Splunk-Request-Channel?",
        14 => "turn on indexer acknowledgement for the token in Splunk, or leave out hec.ack",
        28 => {
            "the token requires the cookies of the load balancer: set hec.ack, or turn off its indexer acknowledgement"
        }
        _ => "change the token's settings in Splunk",
    }
}

fn cause(reply: &Reply, parsed: &ReplyBody, sent: &Sent<'_>, hint: Option<&'static str>) -> Cause {
    let status = reply.status;
    let over = reply.proxy.as_ref().map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default();
    let what = match parsed.code {
        Some(code) => format!("HTTP {status}, code {code}: {}", parsed.words(sent)),
        None => match (&reply.encoding, quoted(&reply.body, sent.bytes())) {
            (Some(encoding), _) => format!("HTTP {status}{over}, encoded as {encoding}, which was not requested"),
            (None, _) if reply.body.is_empty() => format!("HTTP {status}{over}, no body"),
            (None, body) if body.is_empty() => format!("HTTP {status}{over}, not from a collector"),
            (None, body) => format!("HTTP {status}{over}, not from a collector: {body}"),
        },
    };
    Cause { what, hint }
}

#[cfg(test)]
mod tests;
