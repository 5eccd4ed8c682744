//! What the readers of replies have in common.

use serde::Deserialize;

use crate::sls::unpack::UnpackError;

/// Maximum number of shards of a source. SLS gives a logstore 256, more on request; a longer list is an error.
pub const MAX_SHARDS: usize = 10_000;

/// A reply with status 200 that does not have the form that the call promises.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Something is missing or malformed.
    #[error("the reply cannot be understood: {0}")]
    Garbled(String),
    /// The body of a page.
    #[error("the reply cannot be understood: {0}")]
    Body(#[from] UnpackError),
}

pub(super) fn garbled(problem: impl Into<String>) -> ReadError {
    ReadError::Garbled(problem.into())
}

/// Reads a list about shards.
pub(super) fn read_list<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<Vec<T>, ReadError> {
    bounded(read_json(body)?)
}

pub(super) fn bounded<T>(list: Vec<T>) -> Result<Vec<T>, ReadError> {
    if list.len() > MAX_SHARDS {
        return Err(garbled(format!("it lists {} shards; a source may have at most {MAX_SHARDS}", list.len())));
    }
    Ok(list)
}

pub(in crate::sls) fn read_json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ReadError> {
    serde_json::from_slice(body).map_err(|error| garbled(error.to_string()))
}

/// Distinguishes the two forms of a reply by the first byte, so that an error refers to the form that was sent.
pub(super) fn is_object(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'{')
}
