//! Settings of HEC that cannot work.

use std::path::PathBuf;

use crate::core::tls_files::TlsFileError;

/// A setting that cannot work, by its name.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The URL of the collector.
    #[error("hec url: {0}")]
    Url(String),
    /// The token itself. What it is is not said.
    #[error("hec token: {0}")]
    Token(String),
    /// A file that cannot be read, or does not hold what it should.
    #[error("hec {0}")]
    File(#[from] TlsFileError),
    /// The file with the token.
    #[error("hec token file {}: {problem}", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The proxy's URL. It is not shown, since it may hold a password.
    #[error("hec proxy: not a URL like http://proxy.example:3128")]
    Proxy,
    /// The TLS library refuses to start.
    #[error("hec: no HTTP client: {0}")]
    Client(String),
}
