//! Why something failed, in words.

/// What happened, for people: nobody reads it to decide.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}{}", hint.map(|hint| format!(" ({hint})")).unwrap_or_default())]
pub struct Cause {
    /// The server's words or ours, without secrets: "404 LogStoreNotExist: logstore x does not exist [request 5F…]".
    pub what: String,
    /// What to do about it.
    pub hint: Option<&'static str>,
}

impl Cause {
    /// A cause without advice.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), hint: None }
    }
}
