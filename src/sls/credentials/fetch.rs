//! Requests sessions from providers.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::access_key::AccessKey;
use super::fetch_error::FetchError;
use super::http::Call;
use super::plan::{Lookup, OidcRole, Provider, Role};
use super::session::Session;
use super::{ecs, ini, profile, sts, uri};
use crate::core::cause::Cause;
use crate::core::named_file;
use crate::core::named_file::{MAX_CREDENTIAL_BYTES, MAX_SETTINGS};
use crate::core::reread::FromFiles as _;
use crate::core::secret::Secret;

/// A provider of sessions.
pub(super) trait Fetch: Send + Sync + 'static {
    /// A new session.
    fn fetch(&self) -> impl Future<Output = Result<Session, FetchError>> + Send;
}

/// Requests sessions from the providers in the settings.
#[derive(Debug)]
pub(super) struct Fetcher {
    lookup: Lookup,
    /// The first candidate that is set up.
    chosen: OnceLock<Provider>,
    /// Files for which a warning was logged that they are world-readable.
    warned: Mutex<BTreeSet<PathBuf>>,
}

impl Fetch for Fetcher {
    async fn fetch(&self) -> Result<Session, FetchError> {
        let base = self.choose().await?;
        match &self.lookup.role {
            Some(role) => self.assume(base, role).await,
            None => Ok(base),
        }
    }
}

impl Fetcher {
    pub(super) fn new(lookup: Lookup) -> Self {
        Self { lookup, chosen: OnceLock::new(), warned: Mutex::default() }
    }

    /// A session of the first candidate that is set up.
    async fn choose(&self) -> Result<Session, FetchError> {
        if let Some(provider) = self.chosen.get() {
            return self.ask(provider).await;
        }
        if let [only] = &self.lookup.candidates[..]
            && let Ok(provider) = &only.provider
        {
            return self.ask(provider).await;
        }
        let mut tried = Vec::new();
        for candidate in &self.lookup.candidates {
            let why = match &candidate.provider {
                Err(why) => why.clone(),
                Ok(provider) => match self.ask(provider).await {
                    Err(error) if error.is_absent => error.cause.what,
                    asked => {
                        // Only this task sets it.
                        let _ = self.chosen.set(provider.clone());
                        return asked;
                    }
                },
            };
            tried.push(format!("{}: {why}", candidate.name));
        }
        Err(FetchError::refused(
            format!("no credentials are set up. Tried: {}", tried.join("; ")),
            Some("give sls.access_key_id and its secret, or set up one of these: README, \"Without a standing key\""),
        ))
    }

    fn ask<'a>(&'a self, provider: &'a Provider) -> BoxFuture<'a, Result<Session, FetchError>> {
        Box::pin(async move {
            let services = &self.lookup.services;
            match provider {
                Provider::Key(key) => Ok(endless(key.clone(), provider.describe())),
                Provider::Files(files) => {
                    let reading = files.clone();
                    let key = blocking(move || reading.read().and_then(|key| reading.make(&key))).await;
                    let key = key.map_err(|error| FetchError::refused(error.to_string(), None))?;
                    Ok(endless(key, provider.describe()))
                }
                Provider::Oidc(oidc) => self.assume_with_token(oidc).await,
                Provider::Profile { file, name } => {
                    let text = self.read(file, MAX_SETTINGS).await?;
                    let found = profile::read(&text, name.as_deref(), services);
                    self.ask_found(file, found).await
                }
                Provider::Ini { file, name } => {
                    let text = self.read(file, MAX_SETTINGS).await?;
                    let found = ini::read(&String::from_utf8_lossy(&text), name, services);
                    self.ask_found(file, found).await
                }
                Provider::Ecs { role } => ecs::session(&services.metadata, role.as_deref(), services.metadata_v1).await,
                Provider::Uri(url) => uri::session(url.expose(), services.ca_file.clone()).await,
                Provider::Role(base, role) => {
                    let base = self.ask(base).await?;
                    self.assume(base, role).await
                }
            }
        })
    }

    /// Uses the provider that a file describes. It was chosen explicitly, so its refusal is final.
    async fn ask_found(
        &self,
        file: &Path,
        found: Result<(String, Provider), FetchError>,
    ) -> Result<Session, FetchError> {
        let in_file = |place: String, error: FetchError| FetchError {
            cause: Cause { what: format!("{place}: {}", error.cause.what), ..error.cause },
            ..error
        };
        let (label, provider) = found.map_err(|error| in_file(file.display().to_string(), error))?;
        let place = format!("{label} of {}", file.display());
        match self.ask(&provider).await {
            Ok(session) => Ok(Session { provider: format!("{place}: {}", session.provider), ..session }),
            Err(error) => Err(FetchError { is_absent: false, ..in_file(place, error) }),
        }
    }

    /// Assumes a role with the key of `base`.
    async fn assume(&self, base: Session, role: &Role) -> Result<Session, FetchError> {
        let step = format!("AssumeRole of {} by {}", role.arn, base.provider);
        let call = |now| sts::assume_role(role, &base.key, now, fastrand::u128(..));
        self.call(call, &step, &role.sts, format!("role {} assumed by {}", role.arn, base.provider)).await
    }

    async fn assume_with_token(&self, oidc: &OidcRole) -> Result<Session, FetchError> {
        let step = format!("AssumeRoleWithOIDC of {}", oidc.role.arn);
        let token = self
            .read(&oidc.token_file, MAX_CREDENTIAL_BYTES)
            .await
            .map_err(|error| FetchError { is_absent: false, ..error })?;
        let token = String::from_utf8_lossy(&token).trim().to_owned();
        if token.is_empty() {
            let what = format!("{step}: the token file {} is empty", oidc.token_file.display());
            return Err(FetchError::busy(what, Some("it is read again")));
        }
        let token = Secret::new(token);
        let call = |now| sts::assume_role_with_oidc(oidc, token.clone(), now);
        self.call(call, &step, &oidc.role.sts, Provider::Oidc(oidc.clone()).describe()).await
    }

    /// Calls STS with our time or, if it refuses that, with its own.
    async fn call(
        &self,
        call: impl Fn(Timestamp) -> Call,
        step: &str,
        sts: &str,
        provider: String,
    ) -> Result<Session, FetchError> {
        let send = async |now| {
            call(now).send(self.lookup.services.ca_file.clone()).await.map_err(|why| {
                let hint = "check DNS, the network and the proxy settings, or name another STS: sls.sts_endpoint, \
                            sls.sts_region";
                FetchError::busy(format!("{step}: no answer from {sts}: {why}"), Some(hint))
            })
        };
        let mut answer = send(Timestamp::now()).await?;
        if let Some(now) = sts::refused_time(&answer) {
            answer = send(now).await?;
        }
        sts::read(&answer, step, provider)
    }

    /// Reads a file with secrets, and warns once if others can read or replace it.
    async fn read(&self, path: &Path, most: u64) -> Result<Vec<u8>, FetchError> {
        let file = path.to_owned();
        let found = blocking(move || named_file::read_trusted(&file, most).map(|text| (text, weakness(&file))));
        let (text, weakness) = found.await.map_err(|error: io::Error| {
            let refused = FetchError::refused(format!("{} cannot be read: {error}", path.display()), None);
            if error.kind() == io::ErrorKind::NotFound { refused.absent() } else { refused }
        })?;
        if let Some(why) = weakness
            && self.warned.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned())
        {
            tracing::warn!("{why}");
        }
        Ok(text)
    }
}

/// What others can do with a file with secrets.
fn weakness(path: &Path) -> Option<String> {
    if named_file::is_public(path) {
        return Some(format!("a secret is world-readable: chmod o-r {} (in Kubernetes an fsGroup)", path.display()));
    }
    named_file::replaceable(path).map(|why| format!("{} is trusted: {why}", path.display()))
}

fn endless(key: AccessKey, provider: String) -> Session {
    Session { key, provider, end: None }
}

/// Runs work that may wait for a disk on a separate thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}
