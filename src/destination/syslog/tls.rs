//! The trusted and the own certificates of TLS connections.

use std::sync::Arc;
use std::time::Duration;

use tokio_native_tls::TlsConnector;

use super::Tls;
use crate::core::certificates::Certificates;
use crate::core::reread::{FromFiles, Reread};
use crate::core::tls_files::{TlsContent, TlsError, TlsFiles};

/// A wrong setting, by its name.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A certificate or key cannot be used.
    #[error("syslog {0}")]
    Tls(#[from] TlsError),
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
        let connector = self.files.connector(content, self.verify)?;
        self.certificates.uses(content.client.as_ref().map(|(certificate, _)| certificate.as_slice()));
        Ok(connector.into())
    }
}
