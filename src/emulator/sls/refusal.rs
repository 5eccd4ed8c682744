//! A refusal of the server.

use std::borrow::Cow;

/// A call that is refused: `{"errorCode": …, "errorMessage": …}` under a status other than 200.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status} {code}: {message}")]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Error code as the API reference of SLS spells it.
    pub code: Cow<'static, str>,
    /// What is wrong, for people.
    pub message: String,
}

impl Refusal {
    /// A refusal under the given status.
    #[must_use]
    pub fn new(status: u16, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }

    /// 400 `ParameterInvalid`.
    #[must_use]
    pub fn parameter(message: impl Into<String>) -> Self {
        Self::new(400, "ParameterInvalid", message)
    }

    /// 400 `JsonInfoInvalid`.
    #[must_use]
    pub fn json(message: impl Into<String>) -> Self {
        Self::new(400, "JsonInfoInvalid", message)
    }

    /// 400 `InvalidCursor`: the cursor names nothing that the shard retains.
    #[must_use]
    pub fn cursor() -> Self {
        Self::new(400, "InvalidCursor", "This cursor is invalid")
    }

    /// 404 `ShardNotExist`.
    #[must_use]
    pub fn shard(id: u32) -> Self {
        Self::new(404, "ShardNotExist", format!("Shard {id} does not exist"))
    }

    /// 404 `ConsumerGroupNotExist`.
    #[must_use]
    pub fn group(name: &str) -> Self {
        Self::new(404, "ConsumerGroupNotExist", format!("consumer group {name} does not exist"))
    }
}
