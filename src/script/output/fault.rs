//! Why a value cannot be written, and where in it.

use crate::core::event::BodyError;

/// A value that cannot be written, with its path; every level prepends its own step.
pub(super) struct WriteFault {
    path: String,
    problem: String,
}

pub(super) type Written = Result<(), WriteFault>;

impl WriteFault {
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self { path: String::new(), problem: problem.into() }
    }

    pub(super) fn in_key(mut self, key: &[u8]) -> Self {
        self.path.insert_str(0, &step(key));
        self
    }

    pub(super) fn in_item(mut self, index: usize) -> Self {
        self.path.insert_str(0, &format!("[{index}]"));
        self
    }

    pub(super) fn under(self, root: &str) -> BodyError {
        let (shown, more) = match self.path.char_indices().nth(MAX_PATH_CHARS) {
            Some((end, _)) => (&self.path[..end], "…"),
            None => (self.path.as_str(), ""),
        };
        BodyError::new(format!("{root}{shown}{more}"), self.problem)
    }
}

/// A key as a step of a path: `.name`, or `["any text"]`.
pub(crate) fn step(key: &[u8]) -> String {
    let plain = |&byte: &u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let text = String::from_utf8_lossy(&key[..key.len().min(100)]);
    if key.iter().all(plain) && !key.is_empty() { format!(".{text}") } else { format!("[{text:?}]") }
}

/// The error for a log whose events are too large.
pub(crate) const TOO_MANY_BYTES: &str = "one log may become 32 MiB of events, and no more than script.memory";

/// The error for a result of `drop` that is used inside another value.
pub(crate) const DROPPED_INSIDE: &str =
    "drop stands for the whole log, in the place of an event or a list: return drop \"reason\"";

/// The error for a log that is used after its call.
pub(super) const STALE_LOG: &str =
    "this is the log of an earlier call and its fields are gone; copy what you need later";

/// Maximum length of a path in an error, in characters.
const MAX_PATH_CHARS: usize = 80;
