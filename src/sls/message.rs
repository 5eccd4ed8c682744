//! Requests and replies, independent of the transport.

use std::fmt;

use bytes::Bytes;
use hyper::HeaderMap;
use serde::Serialize;

use super::percent::percent_encode;

/// Version of the API that every request names in `x-log-apiversion`.
pub(super) const API_VERSION: &str = "0.6.0";

/// The call of a request, with its name for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// ListConsumerGroup.
    ListGroups,
    /// CreateConsumerGroup.
    CreateGroup,
    /// UpdateConsumerGroup.
    UpdateGroup,
    /// ConsumerGroupHeartBeat.
    Heartbeat,
    /// GetCheckPoint.
    Checkpoint,
    /// ConsumerGroupUpdateCheckPoint.
    Save,
    /// GetCursor.
    Cursor,
    /// GetCursorTime.
    CursorTime,
    /// PullLogs.
    Pull,
    /// ListShards.
    ListShards,
    /// GetProject.
    Project,
    /// GetLogStore.
    Logstore,
    /// PutLogs.
    Put,
    /// ListLogStores.
    ListLogstores,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ListGroups => "list consumer groups",
            Self::CreateGroup => "create consumer group",
            Self::UpdateGroup => "update consumer group",
            Self::Heartbeat => "heartbeat",
            Self::Checkpoint => "get checkpoint",
            Self::Save => "save checkpoint",
            Self::Cursor => "get cursor",
            Self::CursorTime => "get cursor time",
            Self::Pull => "pull",
            Self::ListShards => "list shards",
            Self::Project => "get project",
            Self::Logstore => "get logstore",
            Self::Put => "put logs",
            Self::ListLogstores => "list logstores",
        })
    }
}

/// HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    Get,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
}

impl Method {
    /// As written in the request line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
        }
    }
}

/// A request before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The call.
    pub call: Call,
    /// Method.
    pub method: Method,
    /// Path, percent-encoded.
    pub path: String,
    /// Parameters, not encoded. No name occurs twice.
    pub query: Vec<(&'static str, String)>,
    /// Headers with names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// Body; empty means none.
    pub body: Vec<u8>,
}

impl Request {
    /// A request without a body.
    #[must_use]
    pub fn new(call: Call, method: Method, path: String, query: Vec<(&'static str, String)>) -> Self {
        let headers = vec![("x-log-apiversion", API_VERSION.to_owned()), ("x-log-bodyrawsize", "0".to_owned())];
        Self { call, method, path, query, headers, body: Vec::new() }
    }

    /// With a JSON body. Such calls send a raw body size of 0, as the Go SDK does.
    #[must_use]
    pub fn json(mut self, body: &impl Serialize) -> Self {
        self.body = serde_json::to_vec(body).expect("numbers, flags and text have a JSON form");
        self.headers.push(("content-type", "application/json".to_owned()));
        self
    }

    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }

    /// Path and parameters as written in the request line; parameters in form encoding, a space as `+`.
    #[must_use]
    pub fn target(&self) -> String {
        let mut target = self.path.clone();
        for (at, (name, value)) in self.query.iter().enumerate() {
            let value = percent_encode(value).replace("%20", "+");
            target.extend([if at == 0 { "?" } else { "&" }, name, "=", &value]);
        }
        target
    }
}

/// A reply with any status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, already limited in size.
    pub body: Bytes,
}

impl Reply {
    /// The value of a header that is text; `name` in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
