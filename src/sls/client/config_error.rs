//! Why a client cannot be created from the settings.

use crate::core::tls_files::TlsError;
use crate::sls::credentials::KeyError;
use crate::sls::endpoint::EndpointError;

/// Why a client cannot be created from the settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The endpoint.
    #[error("the endpoint {0}")]
    Endpoint(#[from] EndpointError),
    /// A name that is invalid in SLS, or that cannot be sent.
    #[error("the {what} {name:?} {problem}")]
    Name {
        /// Which name.
        what: &'static str,
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The credentials.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The certificates to trust cannot be used.
    #[error("the {0}")]
    Tls(#[from] TlsError),
    /// The HTTP library cannot be initialized.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(reqwest::Error),
}
