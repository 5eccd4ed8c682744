//! The TLS connectors of clients that trust and show the same certificates. Each connector holds all certificates of the system: about a
//! megabyte, and milliseconds to read.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use native_tls::TlsConnector;

use super::tls_files::{TlsContent, TlsError, TlsFiles};

/// How long a connector is given to new clients. Later clients read the certificates of the system again, which may have
/// changed.
const SHARED_FOR: Duration = Duration::from_secs(60);

/// Connectors that clients share. A clone shares them, too.
#[derive(Default, Clone)]
pub struct TlsConnectors(Arc<Mutex<Recent<TlsConnector>>>);

impl TlsConnectors {
    /// The connector for `content`, which was read from `files`. With `verify = false`, any certificate of the server is accepted.
    ///
    /// # Errors
    /// A file has invalid content, or the TLS library cannot be initialized.
    pub fn connector(&self, files: &TlsFiles, content: &TlsContent, verify: bool) -> Result<TlsConnector, TlsError> {
        // The lock is held meanwhile, so that several clients that start at once read the certificates once. A poisoned lock is
        // usable: nothing is half-changed when a connector cannot be made.
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = Key { content: content.clone(), verify };
        recent.get(key, Instant::now(), || files.connector(content, verify))
    }
}

impl fmt::Debug for TlsConnectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnectors").finish_non_exhaustive()
    }
}

/// What tells one connector from another.
#[derive(PartialEq, Eq)]
struct Key {
    content: TlsContent,
    verify: bool,
}

/// Values that were made a short time ago.
struct Recent<T>(Vec<(Key, Instant, T)>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Clone> Recent<T> {
    /// The value for `key`, made if there is no recent one.
    fn get<E>(&mut self, key: Key, now: Instant, make: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.0.retain(|(_, made, _)| now.duration_since(*made) < SHARED_FOR);
        if let Some((_, _, value)) = self.0.iter().find(|(known, _, _)| *known == key) {
            return Ok(value.clone());
        }
        let value = make()?;
        self.0.push((key, now, value.clone()));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(ca: &str, verify: bool) -> Key {
        Key { content: TlsContent { ca: Some(ca.into()), client: None }, verify }
    }

    #[test]
    fn clients_share_a_connector_while_it_is_recent_and_their_certificates_are_the_same() {
        let (mut recent, start, mut made) = (Recent::default(), Instant::now(), 0);
        let mut get = |key: Key, seconds: u64| {
            let number = recent.get::<()>(key, start + Duration::from_secs(seconds), || {
                made += 1;
                Ok(made)
            });
            number.unwrap()
        };
        assert_eq!(get(key("one", true), 0), 1);
        assert_eq!(get(key("one", true), 59), 1);
        assert_eq!(get(key("two", true), 59), 2, "other certificates");
        assert_eq!(get(key("one", false), 59), 3, "the server is not verified");
        assert_eq!(get(key("one", true), 60), 4, "the certificates of the system may have changed");
        assert_eq!(get(key("two", true), 60), 2);
        get(key("two", true), 1_000);
        assert_eq!(recent.0.len(), 1, "old connectors are not kept");
    }

    #[test]
    fn a_connector_that_cannot_be_made_is_tried_again() {
        let (mut recent, now) = (Recent::default(), Instant::now());
        assert_eq!(recent.get(key("one", true), now, || Err("no")), Err("no"));
        assert_eq!(recent.get::<&str>(key("one", true), now, || Ok(7)), Ok(7));
    }
}
