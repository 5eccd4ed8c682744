//! An AccessKey, and its validation.

use std::io;
use std::path::PathBuf;

use crate::core::secret::Secret;

/// An AccessKey pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// AccessKey ID.
    pub id: String,
    /// AccessKey secret.
    pub secret: Secret,
    /// STS token, for temporary keys.
    pub token: Option<Secret>,
}

/// Why there is no key.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeyError {
    /// A file cannot be read.
    #[error("{what} in {path}: {problem}", path = path.display())]
    File {
        /// Which credential.
        what: &'static str,
        /// Where it should be.
        path: PathBuf,
        /// What the system says.
        problem: String,
    },
    /// A malformed credential.
    #[error("the {what} {problem}")]
    Malformed {
        /// Which credential.
        what: &'static str,
        /// What is wrong, without the credential.
        problem: &'static str,
    },
}

impl KeyError {
    /// A file cannot be read.
    pub(super) fn file(what: &'static str, path: &std::path::Path, source: &io::Error) -> Self {
        Self::File { what, path: path.to_owned(), problem: source.to_string() }
    }
}

impl AccessKey {
    /// The key, if it is valid in a header and not empty. A file may be empty while it is being written.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub(super) fn checked(self) -> Result<Self, KeyError> {
        let token = self.token.as_ref().map(Secret::expose);
        let parts = [
            ("AccessKey ID", Some(self.id.as_str())),
            ("AccessKey secret", Some(self.secret.expose())),
            ("STS token", token),
        ];
        for (what, text) in parts {
            let problem = match text {
                Some("") => "is empty",
                Some(text) if !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                    "has a blank, a line break or a character that is not ASCII"
                }
                _ => continue,
            };
            return Err(KeyError::Malformed { what, problem });
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_access_key_is_an_error_that_does_not_show_it() {
        let key = |id: &str, secret: &str| AccessKey { id: id.into(), secret: Secret::new(secret), token: None };
        let error = |key: AccessKey| key.checked().unwrap_err().to_string();
        assert_eq!(error(key("", "s")), "the AccessKey ID is empty");
        let shown = error(key("AKID", "hush\nhush"));
        assert_eq!(shown, "the AccessKey secret has a blank, a line break or a character that is not ASCII");
    }
}
