//! The key that signs: given once, or kept up to date from files.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{AccessKey, Credentials};
use crate::core::named_file;
use crate::core::named_file::MOST_CREDENTIAL;
use crate::core::reread::{FromFiles, Reread};
use crate::core::secret::Secret;

/// How often files are looked at, at most.
const FILE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file cannot be read.
    #[error("{what} in {path}: {source}", path = path.display())]
    File {
        /// Which credential.
        what: &'static str,
        /// Where it should be.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A credential that cannot be one.
    #[error("the {what} {problem}")]
    Malformed {
        /// Which credential.
        what: &'static str,
        /// What is wrong, without its text.
        problem: &'static str,
    },
}

/// The source of the key, asked before every signature.
#[derive(Debug)]
pub struct Keys(Reread<KeyFiles>);

#[derive(Debug, Clone)]
struct KeyFiles {
    id: PathBuf,
    secret: PathBuf,
    token: Option<PathBuf>,
}

impl Keys {
    /// Reads the key for the first time.
    ///
    /// # Errors
    /// There is none, or it cannot be one.
    pub fn new(credentials: &Credentials) -> Result<Self, KeyError> {
        Ok(Self(match credentials {
            Credentials::Fixed(key) => Reread::fixed(check(key.clone())?),
            Credentials::Files { id, secret, token } => {
                let files = KeyFiles { id: id.clone(), secret: secret.clone(), token: token.clone() };
                Reread::new(files, FILE_CHECK_INTERVAL)?
            }
        }))
    }

    /// The key to sign with. Files are looked at once a second at most.
    pub async fn current(&self) -> AccessKey {
        self.0.current().await
    }

    /// A key other than `refused`, if there is one by now.
    pub async fn other_than(&self, refused: &AccessKey) -> bool {
        self.0.look().await;
        self.0.has_files() && self.0.last() != *refused
    }
}

impl FromFiles for KeyFiles {
    type Content = AccessKey;
    type Value = AccessKey;
    type Error = KeyError;

    fn what(&self) -> &'static str {
        "the credential files of SLS"
    }

    fn read(&self) -> Result<AccessKey, KeyError> {
        Ok(AccessKey {
            id: read("AccessKey ID", &self.id)?,
            secret: Secret::new(read("AccessKey secret", &self.secret)?),
            token: match &self.token {
                Some(path) => Some(Secret::new(read("STS token", path)?)),
                None => None,
            },
        })
    }

    fn make(&self, key: &AccessKey) -> Result<AccessKey, KeyError> {
        check(key.clone())
    }
}

/// The text of a file, without the blanks around it.
fn read(what: &'static str, path: &Path) -> Result<String, KeyError> {
    let text = named_file::read_trusted(path, MOST_CREDENTIAL)
        .and_then(|text| String::from_utf8(text).map_err(io::Error::other))
        .map_err(|source| KeyError::File { what, path: path.to_owned(), source })?;
    Ok(text.trim().to_owned())
}

/// A key can stand in a header and is not empty, which a file may be while it is being written.
fn check(key: AccessKey) -> Result<AccessKey, KeyError> {
    let token = key.token.as_ref().map(Secret::expose);
    let parts = [
        ("AccessKey ID", Some(key.id.as_str())),
        ("AccessKey secret", Some(key.secret.expose())),
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
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn files(dir: &Path) -> Credentials {
        fs::write(dir.join("id"), "AKID\n").unwrap();
        fs::write(dir.join("secret"), " SECRET ").unwrap();
        fs::write(dir.join("token"), "TOKEN").unwrap();
        Credentials::Files { id: dir.join("id"), secret: dir.join("secret"), token: Some(dir.join("token")) }
    }

    async fn id_when_due(keys: &Keys) -> String {
        keys.0.due_in(Duration::ZERO);
        keys.current().await.id
    }

    #[tokio::test]
    async fn a_file_that_changes_is_used_and_one_that_breaks_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::new(&files(dir.path())).unwrap();
        let key = keys.current().await;
        assert_eq!((key.id.as_str(), key.secret.expose()), ("AKID", "SECRET"));
        assert_eq!(key.token.unwrap().expose(), "TOKEN");

        fs::write(dir.path().join("id"), "OTHER").unwrap();
        assert_eq!(id_when_due(&keys).await, "OTHER");
        fs::write(dir.path().join("id"), "").unwrap();
        assert_eq!(id_when_due(&keys).await, "OTHER");
        fs::remove_file(dir.path().join("id")).unwrap();
        assert_eq!(id_when_due(&keys).await, "OTHER");
        fs::write(dir.path().join("id"), "THIRD").unwrap();
        assert_eq!(id_when_due(&keys).await, "THIRD");
    }

    #[tokio::test]
    async fn files_are_looked_at_once_a_second_unless_the_key_was_refused() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::new(&files(dir.path())).unwrap();
        let old = keys.current().await;
        fs::write(dir.path().join("id"), "OTHER").unwrap();
        keys.0.due_in(Duration::from_secs(3600));
        assert_eq!(keys.current().await.id, "AKID");
        assert!(keys.other_than(&old).await);
        let new = keys.current().await;
        assert_eq!(new.id, "OTHER");
        assert!(!keys.other_than(&new).await);
    }

    #[test]
    fn what_cannot_be_a_key_is_an_error_that_does_not_show_it() {
        let key = |id: &str, secret: &str| {
            Credentials::Fixed(AccessKey { id: id.into(), secret: Secret::new(secret), token: None })
        };
        let error = |credentials| Keys::new(&credentials).unwrap_err().to_string();
        assert_eq!(error(key("", "s")), "the AccessKey ID is empty");
        let shown = error(key("AKID", "hush\nhush"));
        assert_eq!(shown, "the AccessKey secret has a blank, a line break or a character that is not ASCII");

        let dir = tempfile::tempdir().unwrap();
        let credentials = files(dir.path());
        fs::remove_file(dir.path().join("secret")).unwrap();
        let shown = error(credentials);
        assert!(shown.starts_with("AccessKey secret in /") && shown.contains("No such file"), "{shown}");
    }
}
