//! The certificate and key files of a TLS connection.

use std::path::{Path, PathBuf};

use super::named_file;
use super::named_file::MOST_SETTINGS;

/// Their paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates to trust in addition to the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and its PKCS #8 key, PEM.
    pub client_cert: Option<(PathBuf, PathBuf)>,
}

/// The content of the files.
#[derive(PartialEq, Eq)]
pub struct TlsContent {
    /// Content of the CA file.
    pub ca: Option<Vec<u8>>,
    /// Content of our certificate file and of its key file.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

/// A file that cannot be read, or has invalid content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} {}: {problem}", path.display())]
pub struct TlsFileError {
    /// The kind of file.
    pub setting: &'static str,
    /// The path.
    pub path: PathBuf,
    /// The problem.
    pub problem: String,
}

impl TlsFiles {
    /// Whether no files are set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ca_file.is_none() && self.client_cert.is_none()
    }

    /// Reads the files.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read(&self) -> Result<TlsContent, TlsFileError> {
        let ca = self.ca_file.as_deref().map(|path| read("CA file", path)).transpose()?;
        let client = match &self.client_cert {
            Some((certificate, key)) => Some((read("client certificate", certificate)?, read("client key", key)?)),
            None => None,
        };
        Ok(TlsContent { ca, client })
    }

    /// The error for an invalid CA file.
    #[must_use]
    pub fn bad_ca(&self, problem: impl Into<String>) -> TlsFileError {
        let path = self.ca_file.clone().unwrap_or_default();
        TlsFileError { setting: "CA file", path, problem: problem.into() }
    }

    /// The error for an invalid client certificate or key.
    #[must_use]
    pub fn bad_client(&self, problem: impl Into<String>) -> TlsFileError {
        let path = self.client_cert.as_ref().map(|(certificate, _)| certificate.clone()).unwrap_or_default();
        TlsFileError { setting: "client certificate and PKCS #8 key", path, problem: problem.into() }
    }
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsFileError> {
    named_file::read_trusted(path, MOST_SETTINGS).map_err(|error| TlsFileError {
        setting,
        path: path.to_owned(),
        problem: error.to_string(),
    })
}
