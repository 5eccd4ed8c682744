//! Whom a TLS connection trusts, and what it shows.

use std::path::{Path, PathBuf};

use native_tls::{Certificate, Identity, Protocol};

use super::Tls;
use crate::core::named_file;
use crate::core::named_file::MOST_SETTINGS;

/// A setting that cannot work, by its name.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that cannot be read, or does not hold what it should.
    #[error("syslog {setting} {}: {problem}", path.display())]
    File {
        /// Which setting names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The TLS library refuses to start.
    #[error("syslog: no TLS: {0}")]
    Tls(String),
    /// The thread that sends cannot be started.
    #[error("syslog: cannot start the sending thread: {0}")]
    Thread(std::io::Error),
}

/// Reads the files that the settings name.
pub(super) fn connector(config: &Tls) -> Result<tokio_native_tls::TlsConnector, ConfigError> {
    let mut builder = native_tls::TlsConnector::builder();
    builder
        .min_protocol_version(Some(Protocol::Tlsv12))
        .danger_accept_invalid_certs(!config.verify)
        .danger_accept_invalid_hostnames(!config.verify);
    if let Some(path) = &config.ca_file {
        let certificates = Certificate::stack_from_pem(&read("CA file", path)?).map_err(not_pem("CA file", path))?;
        if certificates.is_empty() {
            let problem = "no PEM certificate in it".to_owned();
            return Err(ConfigError::File { setting: "CA file", path: path.clone(), problem });
        }
        for certificate in certificates {
            builder.add_root_certificate(certificate);
        }
    }
    if let Some((certificate, key)) = &config.client_cert {
        let identity = Identity::from_pkcs8(&read("client certificate", certificate)?, &read("client key", key)?)
            .map_err(not_pem("client certificate and PKCS #8 key", certificate))?;
        builder.identity(identity);
    }
    let connector = builder.build().map_err(|error| ConfigError::Tls(error.to_string()))?;
    Ok(connector.into())
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, ConfigError> {
    named_file::read_trusted(path, MOST_SETTINGS).map_err(|error| ConfigError::File {
        setting,
        path: path.to_owned(),
        problem: error.to_string(),
    })
}

fn not_pem(setting: &'static str, path: &Path) -> impl FnOnce(native_tls::Error) -> ConfigError {
    move |error| ConfigError::File { setting, path: path.to_owned(), problem: error.to_string() }
}
