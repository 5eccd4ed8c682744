//! An error and its causes as text.

use std::error::Error;

use super::printable::excerpt;

/// An error and all its causes, on one line, safe to print and cut to a bound.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        text.push_str(": ");
        text.push_str(&error.to_string());
        below = error.source();
    }
    excerpt(&text)
}
