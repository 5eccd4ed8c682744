//! The name of a destination.

use std::fmt;
use std::sync::Arc;

/// Maximum number of bytes of a name.
const MAX_BYTES: usize = 64;

/// The name of a destination, unique within a process: letters, digits, `_` and `-`, starting with a letter. It needs
/// no escapes in metric labels, in ids of dead letters and in a shell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestinationName(Arc<str>);

/// Why a text is not a valid name of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has letters, digits, - and _, begins with a letter, and has at most {MAX_BYTES} characters")]
pub struct BadName;

impl DestinationName {
    /// Checks a name.
    ///
    /// # Errors
    /// It is too long or has a character that is not allowed.
    pub fn new(name: &str) -> Result<Self, BadName> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let is_name = name.as_bytes().first().is_some_and(u8::is_ascii_alphabetic)
            && name.len() <= MAX_BYTES
            && name.bytes().all(is_plain);
        if is_name { Ok(Self(name.into())) } else { Err(BadName) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DestinationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_safe_in_labels_and_shells() {
        for good in ["hec", "q-radar_2", "A", &"a".repeat(64)] {
            assert_eq!(DestinationName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "2", "-a", "a b", "a\"", "a.b", "é", &"a".repeat(65)] {
            assert_eq!(DestinationName::new(bad), Err(BadName), "{bad}");
        }
    }
}
