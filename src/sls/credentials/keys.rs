//! The signing key, for all clients of a source.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::access_key::{AccessKey, KeyError};
use super::fetch::Fetcher;
use super::plan::{Credentials, KeyFiles};
use super::renewal::{RenewalState, SharedSession, renew};
use crate::core::duration::in_words;
use crate::core::failing::Failing;
use crate::core::reread::Reread;
use crate::core::source::SourceError;

/// Minimum time between two checks of the files.
const FILE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a request whose key was refused waits for a new key.
const OTHER_KEY: Duration = Duration::from_secs(1);

/// The source of the key, checked before every signature.
#[derive(Debug)]
pub struct Keys(Kind);

#[derive(Debug)]
enum Kind {
    Fixed(AccessKey),
    Files(Reread<KeyFiles>),
    Renewed(Arc<Renewed>),
}

/// A session that its own task renews, from the first use on.
#[derive(Debug)]
struct Renewed {
    fetcher: Arc<Fetcher>,
    held: Arc<SharedSession>,
    source: String,
    task: Mutex<JoinSet<()>>,
}

/// The current key, and the state of its renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStatus {
    /// The provider, for messages; empty until there is a key.
    pub provider: String,
    /// How long it is valid; `None` if it does not expire.
    pub valid_for: Option<Duration>,
    /// The current failure of its renewal.
    pub failing: Option<Failing>,
    /// Renewals that failed since the start.
    pub failures: u64,
}

impl fmt::Display for KeyStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.provider)?;
        self.valid_for.map_or(Ok(()), |left| write!(f, ", valid for {}", in_words(left)))
    }
}

impl Keys {
    /// Reads a key from files for the first time; contacts no provider yet. `source` names the source in the log.
    ///
    /// # Errors
    /// There is no key, or it is malformed.
    pub fn new(credentials: &Credentials, source: &str) -> Result<Self, KeyError> {
        Ok(Self(match credentials {
            Credentials::Fixed(key) => Kind::Fixed(key.clone().checked()?),
            Credentials::Files(files) => Kind::Files(Reread::new(files.clone(), FILE_CHECK_INTERVAL)?),
            Credentials::Lookup(lookup) => Kind::Renewed(Arc::new(Renewed {
                fetcher: Arc::new(Fetcher::new((**lookup).clone())),
                held: Arc::new(SharedSession::new()),
                source: source.to_owned(),
                task: Mutex::default(),
            })),
        }))
    }

    /// The same session for another client; `None` if each has its own.
    #[must_use]
    pub fn shared(&self) -> Option<Self> {
        match &self.0 {
            Kind::Renewed(renewed) => Some(Self(Kind::Renewed(Arc::clone(renewed)))),
            Kind::Fixed(_) | Kind::Files(_) => None,
        }
    }

    /// The signing key. Files are checked at most once a second; the call waits for a session only if there is none
    /// yet.
    ///
    /// # Errors
    /// No provider has given a key yet; the error is that of the last try.
    pub async fn current(&self) -> Result<AccessKey, SourceError> {
        match &self.0 {
            Kind::Fixed(key) => Ok(key.clone()),
            Kind::Files(files) => Ok(files.current().await),
            Kind::Renewed(renewed) => renewed.current().await,
        }
    }

    /// Whether there is a key other than `refused` by now.
    pub async fn other_than(&self, refused: &AccessKey) -> bool {
        match &self.0 {
            Kind::Fixed(_) => false,
            Kind::Files(files) => {
                files.look().await;
                files.last() != *refused
            }
            Kind::Renewed(renewed) => renewed.other_than(refused).await,
        }
    }

    /// The current key, and the state of its renewal.
    #[must_use]
    pub fn status(&self) -> KeyStatus {
        let lasting =
            |provider: &str| KeyStatus { provider: provider.to_owned(), valid_for: None, failing: None, failures: 0 };
        match &self.0 {
            Kind::Fixed(AccessKey { token: None, .. }) => lasting("AccessKey of the settings"),
            Kind::Fixed(_) => lasting("temporary AccessKey of the settings"),
            Kind::Files(_) => lasting("AccessKey files"),
            Kind::Renewed(renewed) => {
                let RenewalState { session, valid_until, failing, failures } = renewed.held.state();
                KeyStatus {
                    provider: session.map(|session| session.provider.clone()).unwrap_or_default(),
                    valid_for: valid_until.map(|end| end.saturating_duration_since(Instant::now())),
                    failing: failing.map(|(failing, _)| failing),
                    failures,
                }
            }
        }
    }
}

impl Renewed {
    async fn current(&self) -> Result<AccessKey, SourceError> {
        self.start();
        let mut changes = self.held.watch();
        loop {
            let RenewalState { session, failing, .. } = changes.borrow_and_update().clone();
            if let Some(session) = session {
                return Ok(session.key.clone());
            }
            if let Some((_, error)) = failing {
                return Err(error.to_source_error());
            }
            changes.changed().await.expect("its sender is ours");
        }
    }

    async fn other_than(&self, refused: &AccessKey) -> bool {
        let mut changes = self.held.watch();
        self.held.ask();
        let is_other = |state: &RenewalState| state.session.as_ref().is_some_and(|session| session.key != *refused);
        timeout(OTHER_KEY, changes.wait_for(is_other)).await.is_ok()
    }

    /// Starts the task in this runtime, unless it runs. A panic in it is passed on to its user.
    fn start(&self) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Err(error)) = task.try_join_next()
            && let Ok(panic) = error.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
        if task.is_empty() {
            task.spawn(renew(Arc::clone(&self.fetcher), Arc::clone(&self.held), self.source.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::core::secret::Secret;

    fn files(dir: &Path) -> Credentials {
        fs::write(dir.join("id"), "AKID\n").unwrap();
        fs::write(dir.join("secret"), " SECRET ").unwrap();
        fs::write(dir.join("token"), "TOKEN").unwrap();
        let [id, secret, token] = ["id", "secret", "token"].map(|name| dir.join(name));
        Credentials::Files(KeyFiles { id, secret, token: Some(token) })
    }

    fn keys(credentials: &Credentials) -> Keys {
        Keys::new(credentials, "").unwrap()
    }

    fn reread(keys: &Keys) -> &Reread<KeyFiles> {
        let Kind::Files(files) = &keys.0 else { panic!("{keys:?}") };
        files
    }

    async fn id_when_due(keys: &Keys) -> String {
        reread(keys).due_in(Duration::ZERO);
        keys.current().await.unwrap().id
    }

    #[tokio::test]
    async fn a_changed_key_file_is_used_and_a_broken_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let keys = keys(&files(dir.path()));
        let key = keys.current().await.unwrap();
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
    async fn key_files_are_checked_once_a_second_unless_the_key_was_refused() {
        let dir = tempfile::tempdir().unwrap();
        let keys = keys(&files(dir.path()));
        let old = keys.current().await.unwrap();
        fs::write(dir.path().join("id"), "OTHER").unwrap();
        reread(&keys).due_in(Duration::from_secs(3600));
        assert_eq!(keys.current().await.unwrap().id, "AKID");
        assert!(keys.other_than(&old).await);
        let new = keys.current().await.unwrap();
        assert_eq!(new.id, "OTHER");
        assert!(!keys.other_than(&new).await);
    }

    #[test]
    fn a_missing_file_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let credentials = files(dir.path());
        fs::remove_file(dir.path().join("secret")).unwrap();
        let shown = Keys::new(&credentials, "").unwrap_err().to_string();
        assert!(shown.starts_with("AccessKey secret in /") && shown.contains("No such file"), "{shown}");
    }

    #[test]
    fn a_key_of_the_settings_is_described_without_showing_it() {
        let key = AccessKey { id: "AKID".into(), secret: Secret::new("s"), token: None };
        let status = keys(&Credentials::Fixed(key)).status();
        assert_eq!(status.to_string(), "AccessKey of the settings");
        let status = KeyStatus { valid_for: Some(Duration::from_secs(2400)), ..status };
        assert_eq!(status.to_string(), "AccessKey of the settings, valid for 40m");
    }
}
