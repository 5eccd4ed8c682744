//! The trusted and the own certificates of TLS connections.

use std::sync::Arc;
use std::time::Duration;

use native_tls::{Certificate, Identity, Protocol};
use tokio_native_tls::TlsConnector;

use super::Tls;
use crate::core::certificates::Certificates;
use crate::core::reread::{FromFiles, Reread};
use crate::core::tls_files::{TlsContent, TlsFileError, TlsFiles};

/// A wrong setting, by its name.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read, or has the wrong content.
    #[error("syslog {0}")]
    File(#[from] TlsFileError),
    /// The TLS library cannot be initialized.
    #[error("syslog: no TLS: {0}")]
    Tls(String),
    /// The sending thread cannot be started.
    #[error("syslog: cannot start the sending thread: {0}")]
    Thread(std::io::Error),
}

/// Minimum time between two checks of the files, which happen when a connection is made.
const FILE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The connector of the next connection.
pub(super) fn connector(config: &Tls, certificates: &Arc<Certificates>) -> Result<Reread<ConnectorFiles>, ConfigError> {
    let files = TlsFiles { ca_file: config.ca_file.clone(), client_cert: config.client_cert.clone() };
    let files = ConnectorFiles { files, verify: config.verify, certificates: Arc::clone(certificates) };
    Reread::new(files, FILE_CHECK_INTERVAL)
}

/// The parts of a connector.
pub(super) struct ConnectorFiles {
    files: TlsFiles,
    verify: bool,
    certificates: Arc<Certificates>,
}

impl FromFiles for ConnectorFiles {
    type Content = TlsContent;
    type Value = TlsConnector;
    type Error = ConfigError;

    fn what(&self) -> &'static str {
        "the certificates of syslog"
    }

    fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    fn read(&self) -> Result<TlsContent, ConfigError> {
        Ok(self.files.read()?)
    }

    fn make(&self, content: &TlsContent) -> Result<TlsConnector, ConfigError> {
        let mut builder = native_tls::TlsConnector::builder();
        builder
            .min_protocol_version(Some(Protocol::Tlsv12))
            .danger_accept_invalid_certs(!self.verify)
            .danger_accept_invalid_hostnames(!self.verify);
        if let Some(ca) = &content.ca {
            let certificates = Certificate::stack_from_pem(ca).map_err(|error| self.files.bad_ca(error.to_string()))?;
            if certificates.is_empty() {
                return Err(self.files.bad_ca("no PEM certificate in it").into());
            }
            for certificate in certificates {
                builder.add_root_certificate(certificate);
            }
        }
        if let Some((certificate, key)) = &content.client {
            let identity = Identity::from_pkcs8(certificate, key);
            builder.identity(identity.map_err(|error| self.files.bad_client(error.to_string()))?);
        }
        // This detects a certificate and a key that do not match.
        let connector = builder.build().map_err(|error| ConfigError::Tls(error.to_string()))?;
        self.certificates.uses(content.client.as_ref().map(|(certificate, _)| certificate.as_slice()));
        Ok(connector.into())
    }
}
