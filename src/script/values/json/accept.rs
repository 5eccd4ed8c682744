//! Decides whether a text is accepted as JSON, and corrects what some receivers would refuse.

use super::check;
use super::check::Look;
use super::{repaired_keys, scan};

/// Default maximum nesting of objects and arrays. Receivers fail at a depth of about 128, and some then reject the
/// whole request.
pub(super) const MAX_LEVELS: i64 = 64;

/// Whether `json.decode` accepts a text.
///
/// # Errors
/// It does not; the error is the reason.
pub(crate) fn check(text: &[u8]) -> Result<(), Refusal> {
    accept(text, MAX_LEVELS, &mut Vec::new()).map(|_| ())
}

/// Whether and how a text is accepted; the corrected text is in `mended`. An accepted text can be copied into an
/// event: every known receiver accepts it too.
pub(super) fn accept(text: &[u8], most: i64, mended: &mut Vec<u8>) -> Result<Accepted, Refusal> {
    let look = check::look(text);
    mended.clear();
    if most >= MAX_LEVELS {
        match look {
            Look::Json => return Ok(Accepted::AsItIs),
            Look::JsonOnLines => {
                mended.extend_from_slice(text);
                join_lines(mended);
                return Ok(Accepted::Mended);
            }
            Look::Unknown => {}
        }
    }
    for chunk in text.utf8_chunks() {
        mended.extend_from_slice(chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            mended.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    if look == Look::Unknown {
        // Decides the cases that the first check does not, such as deep nesting.
        let error = serde_json::from_slice::<serde::de::IgnoredAny>(mended).err();
        if let Some(error) = error {
            return Err(Refusal::Syntax { line: error.line(), column: error.column() });
        }
        if let Some(at) = scan::number_beyond_doubles(mended) {
            let before = &mended[..at];
            let line_start = memchr::memrchr(b'\n', before).map_or(0, |feed| feed + 1);
            let line = 1 + memchr::memchr_iter(b'\n', before).count();
            return Err(Refusal::Number { line, column: at - line_start + 1 });
        }
    }
    if scan::levels(mended) > most {
        return Err(Refusal::Levels(most));
    }
    scan::mend_surrogates(mended);
    if mended != text && repaired_keys::is_any_twice(mended) {
        return Err(Refusal::RepairedKeys);
    }
    join_lines(mended);
    Ok(if mended == text { Accepted::AsItIs } else { Accepted::Mended })
}

/// How a text is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepted {
    AsItIs,
    /// On one line, with U+FFFD for invalid UTF-8 and for unpaired surrogates.
    Mended,
}

/// Why a text is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("not JSON at line {line}, column {column}")]
    Syntax { line: usize, column: usize },
    #[error("nested deeper than {0} levels")]
    Levels(i64),
    #[error("two keys of an object are the same when invalid characters are replaced by U+FFFD")]
    RepairedKeys,
    #[error("a number beyond 1.8e308, which most readers refuse, at line {line}, column {column}")]
    Number { line: usize, column: usize },
}

/// Removes line breaks, and other white space that is a control character, from JSON, so that it is written on one
/// line. Strings contain none.
fn join_lines(json: &mut Vec<u8>) {
    if memchr::memchr2(b'\n', b'\r', json).is_some() {
        json.retain(|&byte| byte >= b' ');
    }
}
