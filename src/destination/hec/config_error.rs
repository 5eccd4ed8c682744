//! Settings of HEC that cannot work.

use std::path::PathBuf;

use crate::core::tls_files::TlsError;

/// A wrong setting, by its name.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The URL of the collector.
    #[error("hec url: {0}")]
    Url(String),
    /// The token itself, which is not shown.
    #[error("hec token: {0}")]
    Token(String),
    /// A certificate or key cannot be used.
    #[error("hec {0}")]
    Tls(#[from] TlsError),
    /// The file with the token.
    #[error("hec token file {}: {problem}", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The proxy's URL. It is not shown, because it may contain a password.
    #[error("hec proxy: not a URL like http://proxy.example:3128")]
    Proxy,
    /// The HTTP library cannot be initialized.
    #[error("hec: no HTTP client: {0}")]
    Client(String),
}
