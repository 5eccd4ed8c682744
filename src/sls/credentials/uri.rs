//! A session from a URL of the user's own service, as named in `ALIBABA_CLOUD_CREDENTIALS_URI`.

use std::path::PathBuf;
use std::time::Duration;

use super::fetch_error::FetchError;
use super::http::Call;
use super::session::{Session, read_session, shown_url};

/// Time limit of a call.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Requests a session.
///
/// # Errors
/// It cannot be reached, or returns none.
pub(super) async fn session(url: &str, ca_file: Option<PathBuf>) -> Result<Session, FetchError> {
    let step = format!("URI {}", shown_url(url));
    let call = Call { may_be_proxied: true, ..Call::near("GET", url.to_owned(), TIMEOUT) };
    let answer = call.send(ca_file).await.map_err(|why| {
        FetchError::busy(format!("{step}: {why}"), Some("check sls.credentials_uri, and that its service runs"))
    })?;
    if answer.status != 200 {
        let what = format!("{step}: HTTP status {}", answer.status);
        return Err(match answer.status {
            429 | 500.. => FetchError::busy(what, None),
            _ => FetchError::refused(what, Some("check sls.credentials_uri")),
        });
    }
    read_session(&answer, step.clone()).map_err(|why| {
        FetchError::busy(format!("{step}: {why}"), Some("it must answer in the format of the ECS metadata service"))
    })
}
