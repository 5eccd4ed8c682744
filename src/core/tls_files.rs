//! The certificate and key files of a TLS connection.

use std::path::{Path, PathBuf};

use super::named_file;
use super::named_file::MOST_SETTINGS;

/// Where they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates to trust besides the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and its PKCS #8 key, PEM.
    pub client_cert: Option<(PathBuf, PathBuf)>,
}

/// What is in them.
#[derive(PartialEq, Eq)]
pub struct TlsContent {
    /// Of the CA file.
    pub ca: Option<Vec<u8>>,
    /// Of our certificate's file, and of its key's.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

/// A file that cannot be read, or does not hold what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} {}: {problem}", path.display())]
pub struct TlsFileError {
    /// What it should be.
    pub setting: &'static str,
    /// Where it is.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}

impl TlsFiles {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ca_file.is_none() && self.client_cert.is_none()
    }

    /// Reads them.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn read(&self) -> Result<TlsContent, TlsFileError> {
        let ca = self.ca_file.as_deref().map(|path| read("CA file", path)).transpose()?;
        let client = match &self.client_cert {
            Some((certificate, key)) => Some((read("client certificate", certificate)?, read("client key", key)?)),
            None => None,
        };
        Ok(TlsContent { ca, client })
    }

    /// The CA file is not as it should be.
    #[must_use]
    pub fn bad_ca(&self, problem: impl Into<String>) -> TlsFileError {
        let path = self.ca_file.clone().unwrap_or_default();
        TlsFileError { setting: "CA file", path, problem: problem.into() }
    }

    /// Our certificate and its key are not as they should be.
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
