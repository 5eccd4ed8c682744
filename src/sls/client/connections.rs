//! The HTTP clients with the connections to SLS. Sources with the same connection settings share one, and its open connections.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use reqwest::{Client, ClientBuilder};

use super::config_error::ConfigError;
use super::dns::Remembering;
use crate::core::no_proxy;
use crate::core::reread::{FromFiles, Reread};
use crate::core::tls_connectors::TlsConnectors;
use crate::core::tls_files::{TlsContent, TlsFiles};
use crate::sls::Config;
use crate::sls::endpoint::Endpoint;

/// How long an idle connection is kept. A new connection asks DNS again, so a moved endpoint is followed within this
/// time.
pub(super) const KEEP_IDLE: Duration = Duration::from_secs(30);

/// Time limit for connecting, including TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Minimum time between two checks of the CA file.
const FILE_CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Connections that sources share. They belong to the runtime in which they are first used.
#[derive(Debug, Default, Clone)]
pub struct Connections {
    clients: Arc<Mutex<Vec<Known>>>,
    tls: TlsConnectors,
}

/// A client that may be in use, and its connection settings.
type Known = (Way, Weak<SharedClient>);

/// A client, which is created again when its certificates change.
pub(super) type SharedClient = Reread<ClientFiles>;

/// The properties by which clients are distinguished.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Way {
    ca_file: Option<PathBuf>,
    /// The proxy of the environment does not count.
    is_direct: bool,
    connect_timeout: Duration,
}

impl Connections {
    /// No connections yet. Connections that are opened later use these TLS connectors.
    #[must_use]
    pub fn with(tls: TlsConnectors) -> Self {
        Self { clients: Arc::default(), tls }
    }

    /// The client for a source; other sources may use it, too.
    pub(super) fn client(&self, config: &Config, endpoint: &Endpoint) -> Result<Arc<SharedClient>, ConfigError> {
        let way = way(config, endpoint);
        let mut known = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(_, client)| client.strong_count() > 0);
        let shared = known.iter().find(|(other, _)| *other == way).and_then(|(_, client)| client.upgrade());
        if let Some(client) = shared {
            return Ok(client);
        }
        let client = Arc::new(new_client(way.clone(), self.tls.clone(), |client| client)?);
        known.push((way, Arc::downgrade(&client)));
        Ok(client)
    }
}

/// A separate client for a source, with a final change to its builder.
#[cfg(test)]
pub(super) fn client_with(
    config: &Config,
    endpoint: &Endpoint,
    change: impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static,
) -> Result<Arc<SharedClient>, ConfigError> {
    new_client(way(config, endpoint), TlsConnectors::default(), change).map(Arc::new)
}

fn way(config: &Config, endpoint: &Endpoint) -> Way {
    Way {
        ca_file: config.ca_file.clone(),
        is_direct: endpoint.is_loopback() || no_proxy::is_for_all(),
        connect_timeout: CONNECT_TIMEOUT.min(config.timeout),
    }
}

fn new_client(
    way: Way,
    connectors: TlsConnectors,
    change: impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static,
) -> Result<SharedClient, ConfigError> {
    let files = TlsFiles { ca_file: way.ca_file.clone(), client_cert: None };
    Reread::new(ClientFiles { files, connectors, way, change: Box::new(change) }, FILE_CHECK_INTERVAL)
}

/// The parts of a client. A new client has its own connections; those of the old one end with their last request.
pub(super) struct ClientFiles {
    files: TlsFiles,
    connectors: TlsConnectors,
    way: Way,
    /// Adjusts the builder.
    change: Box<dyn Fn(ClientBuilder) -> ClientBuilder + Send + Sync>,
}

impl FromFiles for ClientFiles {
    type Content = TlsContent;
    type Value = Client;
    type Error = ConfigError;

    fn what(&self) -> &'static str {
        "sls.ca_file"
    }

    fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    fn read(&self) -> Result<TlsContent, ConfigError> {
        Ok(self.files.read()?)
    }

    fn make(&self, content: &TlsContent) -> Result<Client, ConfigError> {
        let mut builder = ClientBuilder::new()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(self.way.connect_timeout)
            .pool_idle_timeout(KEEP_IDLE)
            .tls_info(true)
            .dns_resolver(Remembering::system())
            .tcp_nodelay(true);
        if self.way.is_direct {
            builder = builder.no_proxy();
        }
        let connector = self.connectors.connector(&self.files, content, true)?;
        (self.change)(builder.tls_backend_preconfigured(connector)).build().map_err(ConfigError::Client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way_to(ca_file: Option<&str>, is_direct: bool) -> Way {
        Way { ca_file: ca_file.map(PathBuf::from), is_direct, connect_timeout: CONNECT_TIMEOUT }
    }

    #[test]
    fn only_clients_with_the_same_connection_settings_share_connections() {
        assert_eq!(way_to(None, true), way_to(None, true));
        assert_ne!(way_to(None, true), way_to(None, false));
        assert_ne!(way_to(None, true), way_to(Some("ca.pem"), true));
    }
}
