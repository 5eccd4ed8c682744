//! The certificate and key files of a TLS connection.

use std::path::{Path, PathBuf};

use native_tls::{Certificate, Identity, Protocol, TlsConnector};

use super::named_file;
use super::named_file::MAX_SETTINGS;
use super::tls_fault::reason;

/// What the file with certificates to trust is called in errors.
const CA_FILE: &str = "CA file";

/// Their paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates to trust in addition to the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and its PKCS #8 key, PEM.
    pub client_cert: Option<(PathBuf, PathBuf)>,
}

/// The content of the files. It contains a private key, so it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsContent {
    /// Content of the CA file.
    pub ca: Option<Vec<u8>>,
    /// Content of our certificate file and of its key file.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

/// Why there is no TLS connector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or has invalid content.
    #[error("{setting} {}: {problem}", path.display())]
    File {
        /// The kind of file.
        setting: &'static str,
        /// The path.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// The TLS library cannot be initialized.
    #[error("TLS library: {0}")]
    Library(String),
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
    pub fn read(&self) -> Result<TlsContent, TlsError> {
        let ca = self.ca_file.as_deref().map(|path| read(CA_FILE, path)).transpose()?;
        let client = match &self.client_cert {
            Some((certificate, key)) => Some((read("client certificate", certificate)?, read("client key", key)?)),
            None => None,
        };
        Ok(TlsContent { ca, client })
    }

    /// A connector that trusts and shows `content`, which was read from these files. It accepts TLS 1.2 and newer. With `verify =
    /// false`, any certificate of the server is accepted.
    ///
    /// # Errors
    /// A file has invalid content, or the TLS library cannot be initialized.
    pub fn connector(&self, content: &TlsContent, verify: bool) -> Result<TlsConnector, TlsError> {
        let mut builder = TlsConnector::builder();
        builder
            .min_protocol_version(Some(Protocol::Tlsv12))
            .danger_accept_invalid_certs(!verify)
            .danger_accept_invalid_hostnames(!verify);
        if let Some(ca) = &content.ca {
            let certificates =
                Certificate::stack_from_pem(ca).map_err(|error| self.bad_ca(reason(&error.to_string())))?;
            if certificates.is_empty() {
                return Err(self.bad_ca("it contains no PEM certificate".to_owned()));
            }
            for certificate in certificates {
                builder.add_root_certificate(certificate);
            }
        }
        if let Some((certificate, key)) = &content.client {
            let identity = Identity::from_pkcs8(certificate, key);
            builder.identity(identity.map_err(|error| self.bad_client(reason(&error.to_string())))?);
        }
        builder.build().map_err(|error| match content.client {
            // The certificate and the key do not match.
            Some(_) => self.bad_client(reason(&error.to_string())),
            None => TlsError::Library(reason(&error.to_string())),
        })
    }

    fn bad_ca(&self, problem: String) -> TlsError {
        TlsError::File { setting: CA_FILE, path: self.ca_file.clone().unwrap_or_default(), problem }
    }

    fn bad_client(&self, problem: String) -> TlsError {
        let path = self.client_cert.as_ref().map(|(certificate, _)| certificate.clone()).unwrap_or_default();
        TlsError::File { setting: "client certificate and PKCS #8 key", path, problem }
    }
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    named_file::read_trusted(path, MAX_SETTINGS).map_err(|error| TlsError::File {
        setting,
        path: path.to_owned(),
        problem: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &[u8] = include_bytes!("../destination/hec/client/tests/tls/server.pem");
    const KEY: &[u8] = include_bytes!("../destination/hec/client/tests/tls/server.key");
    const OTHER_KEY: &[u8] = include_bytes!("../../tests/forwarder/syslog/tls/client.key");

    #[test]
    fn a_certificate_with_the_key_of_another_is_refused_by_the_name_of_its_file() {
        let client_cert = Some((PathBuf::from("our.pem"), PathBuf::from("our.key")));
        let files = TlsFiles { ca_file: None, client_cert };
        let connector = |key: &[u8]| {
            let content = TlsContent { ca: None, client: Some((CERTIFICATE.to_vec(), key.to_vec())) };
            files.connector(&content, true)
        };
        assert!(connector(KEY).is_ok());
        let error = connector(OTHER_KEY).expect_err("the key is of another certificate");
        assert!(error.to_string().starts_with("client certificate and PKCS #8 key our.pem: "), "{error}");
    }
}
