//! An error and its causes as text.

use std::error::Error;

use super::printable::excerpt;
use super::tls_fault::reason;

/// An error and all its causes, on one line, safe to print and cut to a bound. Causes that only repeat what was said are
/// left out.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let mut reasons = vec![reason(&error.to_string())];
    let mut below = error.source();
    while let Some(error) = below {
        let text = reason(&error.to_string());
        if reasons.last().is_none_or(|last| !last.contains(&text)) {
            reasons.push(text);
        }
        below = error.source();
    }
    excerpt(&reasons.join(": "))
}
