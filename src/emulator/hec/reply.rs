//! What Splunk's HTTP Event Collector replies.

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, SERVER};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// A HEC reply code (Splunk, "Troubleshoot HTTP Event Collector": possible error codes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Code(pub(super) u16);

impl Code {
    pub(super) const SUCCESS: Self = Self(0);
    pub(super) const TOKEN_REQUIRED: Self = Self(2);
    pub(super) const INVALID_AUTHORIZATION: Self = Self(3);
    pub(super) const INVALID_TOKEN: Self = Self(4);
    pub(super) const NO_DATA: Self = Self(5);
    pub(super) const INVALID_DATA: Self = Self(6);
    pub(super) const INCORRECT_INDEX: Self = Self(7);
    pub(super) const CHANNEL_MISSING: Self = Self(10);
    pub(super) const INVALID_CHANNEL: Self = Self(11);
    pub(super) const EVENT_REQUIRED: Self = Self(12);
    pub(super) const EVENT_BLANK: Self = Self(13);
    pub(super) const ACK_DISABLED: Self = Self(14);
    pub(super) const INDEXED_FIELDS: Self = Self(15);
    pub(super) const QUERY_AUTHORIZATION: Self = Self(16);
    pub(super) const HEALTHY: Self = Self(17);
    pub(super) const QUEUES_FULL: Self = Self(18);

    fn row(self) -> (StatusCode, &'static str) {
        const OK: StatusCode = StatusCode::OK;
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;
        const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;
        const BUSY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
        const FULL: StatusCode = StatusCode::TOO_MANY_REQUESTS;
        match self.0 {
            0 => (OK, "Success"),
            1 => (FORBIDDEN, "Token disabled"),
            2 => (UNAUTHORIZED, "Token is required"),
            3 => (UNAUTHORIZED, "Invalid authorization"),
            4 => (FORBIDDEN, "Invalid token"),
            5 => (BAD, "No data"),
            6 => (BAD, "Invalid data format"),
            7 => (BAD, "Incorrect index"),
            9 => (BUSY, "Server is busy"),
            10 => (BAD, "Data channel is missing"),
            11 => (BAD, "Invalid data channel"),
            12 => (BAD, "Event field is required"),
            13 => (BAD, "Event field cannot be blank"),
            14 => (BAD, "ACK is disabled"),
            15 => (BAD, "Error in handling indexed fields"),
            16 => (BAD, "Query string authorization is not enabled"),
            17 => (OK, "HEC is healthy"),
            18 => (BUSY, "HEC is unhealthy, queues are full"),
            19 => (BUSY, "HEC is unhealthy, ack service unavailable"),
            20 => (BUSY, "HEC is unhealthy, queues are full, ack service unavailable"),
            21 => (BAD, "Invalid token"),
            22 => (BAD, "Token disabled"),
            23 => (BUSY, "Server is shutting down"),
            24 => (OK, "Queue approaching capacity"),
            25 => (OK, "ACK channel approaching capacity"),
            26 => (FULL, "HEC queue at capacity"),
            27 => (FULL, "HEC ACK channel at capacity"),
            28 => (BAD, "Data channel or sticky cookie is missing"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "Internal server error"),
        }
    }

    /// The status that Splunk sends it with.
    pub(super) fn status(self) -> StatusCode {
        self.row().0
    }

    /// The text that Splunk sends with it.
    pub(super) fn text(self) -> &'static str {
        self.row().1
    }
}

/// The JSON of a reply; fields that are `None` are omitted, as Splunk does.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    text: &'static str,
    code: u16,
    #[serde(rename = "invalid-event-number", skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    #[serde(rename = "ackId", skip_serializing_if = "Option::is_none")]
    ack: Option<u64>,
}

impl Verdict {
    pub(super) fn new(code: Code, number: Option<u64>, ack: Option<u64>) -> Self {
        Self { text: code.text(), code: code.0, number, ack }
    }
}

/// A reply that carries a code alone.
pub(super) fn plain(code: Code) -> Response<Bytes> {
    verdict(code, None, None)
}

/// A reply with a code, the number of the bad event and an ack id, as far as there are any.
pub(super) fn verdict(code: Code, number: Option<u64>, ack: Option<u64>) -> Response<Bytes> {
    json(code.status(), &Verdict::new(code, number, ack))
}

/// Splunk's JSON for a path or a method that it does not know: 404 is not a HEC code, but Splunk puts it into `code`.
pub(super) fn not_found(status: StatusCode) -> Response<Bytes> {
    json(
        status,
        &Verdict { text: "The requested URL was not found on this server.", code: 404, number: None, ack: None },
    )
}

/// Any JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    let body = serde_json::to_vec(body).expect("replies hold only text and numbers");
    with(status, "application/json; charset=UTF-8", body)
}

/// A page, as Splunk sends for 413 and 415, and as proxies send for everything.
pub(super) fn html(status: StatusCode) -> Response<Bytes> {
    let reason = status.canonical_reason().unwrap_or("Error");
    let page = format!(
        "<!doctype html><html><head><title>{0} {reason}</title></head><body><h1>{reason}</h1></body></html>\r\n",
        status.as_u16()
    );
    with(status, "text/html; charset=UTF-8", page.into_bytes())
}

/// Any body of any type.
pub(super) fn with(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    // As Splunk identifies itself; senders may rely on it.
    response.headers_mut().insert(SERVER, HeaderValue::from_static("Splunkd"));
    response
}
