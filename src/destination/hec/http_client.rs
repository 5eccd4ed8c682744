//! The HTTP client of one collector: its connections, TLS and proxy.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Client, ClientBuilder, Proxy, Url, redirect, retry};

use super::Config;
use super::config_error::ConfigError;
use super::request_fault::chain;
use super::timing::FILE_AGE;
use crate::core::certificates::Certificates;
use crate::core::no_proxy;
use crate::core::reread::{FromFiles, Reread};
use crate::core::tls_files::{TlsContent, TlsFiles};

/// A busy Splunk closes idle connections after 12 s (`busyKeepAliveIdleTimeout`): close first, so that no request
/// meets a closing connection.
const POOL_IDLE: Duration = Duration::from_secs(10);

/// How long connections are used: new ones follow DNS changes, and a load balancer can spread them.
const CONNECTION_AGE: Duration = Duration::from_secs(120);

/// Without it, Splunk falls back to HTTP/1.0 and closes after every request (`forceHttp10 = auto`).
const USER_AGENT: &str = concat!("forwarder/", env!("CARGO_PKG_VERSION"));

/// The parts of a client. A new client has its own connections; those of the old one end with their last request.
pub(super) struct ClientFiles {
    tls: TlsFiles,
    config: Config,
    /// The name in the URL, and the address to connect to.
    pinned: Option<(String, SocketAddr)>,
    began: Instant,
    certificates: Arc<Certificates>,
}

impl FromFiles for ClientFiles {
    /// The files, and how many times the connections were renewed because of their age.
    type Content = (TlsContent, u64);
    type Value = Client;
    type Error = ConfigError;

    fn what(&self) -> &'static str {
        "the certificates of HEC"
    }

    fn is_logged(&self, (before, _): &Self::Content, (now, _): &Self::Content) -> bool {
        before != now
    }

    fn read(&self) -> Result<Self::Content, ConfigError> {
        Ok((self.tls.read()?, self.began.elapsed().as_secs() / CONNECTION_AGE.as_secs()))
    }

    fn make(&self, (content, _): &Self::Content) -> Result<Client, ConfigError> {
        let mut builder = client_builder(&self.config)?;
        if let Some((name, address)) = &self.pinned {
            builder = builder.resolve(name, *address);
        }
        let connector = self.config.tls.connector(&self.tls, content, self.config.verify)?;
        let client =
            builder.tls_backend_preconfigured(connector).build().map_err(|error| ConfigError::Client(chain(&error)))?;
        self.certificates.uses(content.client.as_ref().map(|(certificate, _)| certificate.as_slice()));
        Ok(client)
    }
}

/// The client for this URL, and for one address of its name if there are several. `certificates` records which of our
/// certificates it shows.
///
/// # Errors
/// A setting that cannot work, or a file that cannot be read.
pub(super) fn client(
    config: &Config,
    url: &Url,
    address: Option<IpAddr>,
    certificates: &Arc<Certificates>,
) -> Result<Reread<ClientFiles>, ConfigError> {
    let tls = TlsFiles { ca_file: config.ca_file.clone(), client_cert: config.client_cert.clone() };
    // The port of the URL replaces this one.
    let pinned = url.domain().zip(address).map(|(name, address)| (name.to_owned(), SocketAddr::new(address, 0)));
    let certificates = Arc::clone(certificates);
    let files = ClientFiles { tls, config: config.clone(), pinned, began: Instant::now(), certificates };
    Reread::new(files, FILE_AGE)
}

fn client_builder(config: &Config) -> Result<ClientBuilder, ConfigError> {
    let builder = ClientBuilder::new()
        .http1_only()
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        .referer(false)
        .retry(retry::never())
        .timeout(config.timeout)
        .connect_timeout(config.connect_timeout)
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(config.max_requests)
        .tls_info(true);
    match &config.proxy {
        Some(proxy) => Ok(builder.proxy(Proxy::all(proxy).map_err(|_| ConfigError::Proxy)?)),
        None if no_proxy::is_for_all() => Ok(builder.no_proxy()),
        None => Ok(builder),
    }
}
