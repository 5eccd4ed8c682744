//! A reply before it is sent.

use std::fmt::Display;

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use super::refusal::Refusal;

/// Status, headers and body. Header names are lower case: clients look them up that way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status; 200 for every success, because clients accept no other status as one.
    pub status: u16,
    /// Headers besides those that every reply has.
    pub headers: Vec<(&'static str, String)>,
    /// Body.
    pub body: Bytes,
}

impl Reply {
    /// 200 without content.
    #[must_use]
    pub fn empty() -> Self {
        Self { status: 200, headers: Vec::new(), body: Bytes::new() }
    }

    /// 200 with a JSON body.
    #[must_use]
    pub fn json(value: impl Serialize) -> Self {
        let body = serde_json::to_vec(&value).expect("the emulator's JSON has only strings as keys");
        Self::empty().with("content-type", "application/json").body(body)
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Display) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        let body = json!({ "errorCode": refusal.code, "errorMessage": refusal.message });
        Self { status: refusal.status, ..Self::json(body) }
    }
}
