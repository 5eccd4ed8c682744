//! One collector's address: its connections, its credentials, and one request at a time.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, DATE, HeaderMap,
    HeaderName, HeaderValue, RETRY_AFTER, SERVER, SET_COOKIE,
};
use reqwest::{Certificate, Client, ClientBuilder, Identity, Proxy, Url, redirect, retry, tls};

use super::channel::Channel;
use super::proxy;
use super::reply;
use super::reply::Reply;
use super::request_fault::{RequestFault, chain};
use super::transport::{Request, Transport};
use super::{Config, Token};
use crate::core::named_file;
use crate::core::named_file::MOST_CREDENTIAL;
use crate::core::no_proxy;
use crate::core::reread::{FromFiles, Reread};
use crate::core::secret::{Redactor, Secret};
use crate::core::tls_files::{TlsContent, TlsFileError, TlsFiles};

/// What a reply may weigh; an honest one has a hundred bytes.
const MAX_REPLY: usize = 64 * 1024;

/// A busy Splunk closes idle connections after 12 s (`busyKeepAliveIdleTimeout`): leave first, so that no request
/// meets a closing door.
const POOL_IDLE: Duration = Duration::from_secs(10);

/// How old may be what was read from a file when it is used: the token, the certificates.
const FILE_AGE: Duration = Duration::from_secs(10);

/// How long connections are used: new ones follow the addresses of the name, and let a balancer spread them.
const CONNECTION_AGE: Duration = Duration::from_secs(120);

/// Without it, Splunk falls back to HTTP/1.0 and closes after every request (`forceHttp10 = auto`).
const USER_AGENT: &str = concat!("forwarder/", env!("CARGO_PKG_VERSION"));

/// The one encoding of a reply that is asked for and read.
const PLAIN: &str = "identity";

/// Where indexers are asked what they have acknowledged.
const ACK_PATH: &str = "/services/collector/ack";

const CHANNEL: HeaderName = HeaderName::from_static("x-splunk-request-channel");

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

/// One collector.
#[derive(Debug)]
pub struct Endpoint {
    url: Url,
    name: String,
    /// Where acknowledgements are asked for.
    ack_url: Url,
    /// The proxy on the way there.
    proxy: Option<String>,
    carrier: Carrier,
    /// The channel of requests that no acknowledgement is waited for.
    channel: Channel,
    /// At least one.
    tokens: Vec<Reread<TokenFile>>,
    /// The one that was taken last.
    taken: AtomicUsize,
}

impl Endpoint {
    /// Checks the settings and reads the files that they name. Nothing is sent. `address`: where to connect to, instead of
    /// wherever the name in the URL leads. TLS verifies the name all the same.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub fn new(config: &Config, url: &str, address: Option<IpAddr>, channel: Channel) -> Result<Self, ConfigError> {
        let url = collector(url)?;
        let mut ack_url = url.clone();
        ack_url.set_path(ACK_PATH);
        Ok(Self {
            proxy: proxy::of(config, &url),
            name: address.map_or_else(|| url.to_string(), |address| format!("{url} at {address}")),
            carrier: Carrier::of(config, &url, address)?,
            url,
            ack_url,
            channel,
            tokens: tokens(&config.token)?,
            taken: AtomicUsize::new(0),
        })
    }

    /// Where requests go, for people: the URL, and the address if there is one.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends one request with events: over a channel where an acknowledgement will be waited for.
    ///
    /// # Errors
    /// There is no reply, or none that could be read to its end.
    pub async fn post(&self, body: Bytes, gzip: bool, channel: Option<&Channel>) -> Result<Reply, RequestFault> {
        self.send(&self.url, body, gzip, channel).await
    }

    /// Sends a request without events, which asks how the collector does.
    ///
    /// # Errors
    /// There is no reply, or none that could be read to its end.
    pub async fn post_empty(&self) -> Result<Reply, RequestFault> {
        self.send(&self.url, Bytes::new(), false, None).await
    }

    /// Asks which of these ids of a channel are acknowledged.
    ///
    /// # Errors
    /// There is no reply, or none that could be read to its end.
    pub async fn ask(&self, ids: &[u64], channel: &Channel) -> Result<Reply, RequestFault> {
        let body = serde_json::json!({ "acks": ids }).to_string();
        self.send(&self.ack_url, body.into(), false, Some(channel)).await
    }

    /// Sends a request, with another token when one is refused.
    async fn send(&self, url: &Url, body: Bytes, gzip: bool, channel: Option<&Channel>) -> Result<Reply, RequestFault> {
        let first = self.taken.load(Ordering::Relaxed);
        let mut reply = self.send_with(first, url, body.clone(), gzip, channel).await?;
        for turn in 1..self.tokens.len() {
            if !reply.refuses_token() {
                break;
            }
            let other = (first + turn) % self.tokens.len();
            reply = self.send_with(other, url, body.clone(), gzip, channel).await?;
            if !reply.refuses_token() && self.taken.swap(other, Ordering::Relaxed) != other {
                tracing::info!(
                    url = self.name(),
                    "the collector refuses one HEC token and takes another: that one is used"
                );
            }
        }
        Ok(reply)
    }

    async fn send_with(
        &self,
        token: usize,
        url: &Url,
        body: Bytes,
        gzip: bool,
        channel: Option<&Channel>,
    ) -> Result<Reply, RequestFault> {
        let token = self.tokens[token].current().await;
        let client = match &self.carrier {
            Carrier::Http(client) => client.current().await,
            Carrier::Other(transport) => {
                let channel = channel.unwrap_or(&self.channel).id();
                let channel = channel.to_str().expect("hex digits and dashes are text").to_owned();
                return transport.send(Request { url: url.to_string(), channel, body, gzip }).await;
            }
        };
        let mut request = client
            .post(url.clone())
            .header(AUTHORIZATION, token.header.clone())
            .header(CHANNEL, channel.unwrap_or(&self.channel).id())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT_ENCODING, PLAIN)
            // Left out by itself when the body is empty, where some balancers insist on it.
            .header(CONTENT_LENGTH, body.len());
        if gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        if let Some(cookies) = channel.and_then(Channel::cookies) {
            request = request.header(COOKIE, cookies);
        }
        let fault = |error: reqwest::Error| RequestFault::of(&error, self.proxy.as_deref());
        let mut response = request.body(body).send().await.map_err(fault)?;
        if let Some(channel) = channel {
            channel.keep_cookies(response.headers().get_all(SET_COOKIE));
        }
        let mut reply = Reply {
            is_splunk: text(response.headers(), SERVER).is_some_and(|server| server.starts_with("Splunkd")),
            status: response.status().as_u16(),
            retry_after: reply::retry_after(text(response.headers(), RETRY_AFTER), text(response.headers(), DATE)),
            encoding: text(response.headers(), CONTENT_ENCODING)
                .filter(|encoding| *encoding != PLAIN)
                .map(reply::words),
            // Over TLS, whatever answers is behind the proxy.
            proxy: self.proxy.clone().filter(|_| self.url.scheme() == "http"),
            body: Vec::new(),
        };
        if reply.encoding.is_some() {
            return Ok(reply);
        }
        while let Some(chunk) = response.chunk().await.map_err(fault)? {
            let room = MAX_REPLY - reply.body.len();
            reply.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                break;
            }
        }
        // Whoever echoes our token does not bring it into our log.
        reply.body = token.redactor.redact(reply.body);
        for token in &self.tokens {
            reply.body = token.last().redactor.redact(reply.body);
        }
        Ok(reply)
    }

    /// As if the token had been read so much earlier.
    #[cfg(test)]
    pub(super) fn age_token(&self, by: Duration) {
        self.tokens.iter().for_each(|token| token.due_in(FILE_AGE.saturating_sub(by)));
    }

    /// Looks at the certificates now.
    #[cfg(test)]
    pub(super) async fn look_at_certificates(&self) {
        if let Carrier::Http(client) = &self.carrier {
            client.settle().await;
        }
    }

    /// Resolves when a token changes, if one can: looks at the files every `poll`.
    pub async fn token_changed(&self, poll: Duration) {
        if !self.tokens.iter().any(Reread::has_files) {
            std::future::pending::<()>().await;
        }
        let changes = || self.tokens.iter().map(Reread::changes).sum::<u64>();
        let before = changes();
        loop {
            for token in &self.tokens {
                token.look().await;
            }
            if changes() != before {
                return;
            }
            tokio::time::sleep(poll).await;
        }
    }
}

/// What carries the requests.
#[derive(Debug)]
enum Carrier {
    Http(Box<Reread<ClientFiles>>),
    Other(Arc<dyn Transport>),
}

impl Carrier {
    fn of(config: &Config, url: &Url, address: Option<IpAddr>) -> Result<Self, ConfigError> {
        Ok(match &config.transport {
            Some(transport) => Self::Other(Arc::clone(transport)),
            None => Self::Http(Box::new(client(config, url, address)?)),
        })
    }
}

/// The file that the token comes from.
#[derive(Debug)]
struct TokenFile(PathBuf);

impl FromFiles for TokenFile {
    type Content = Secret;
    type Value = Arc<UsableToken>;
    type Error = String;

    fn what(&self) -> &'static str {
        "the HEC token file"
    }

    fn read(&self) -> Result<Secret, String> {
        let text = named_file::read_trusted(&self.0, MOST_CREDENTIAL).map_err(|error| error.to_string())?;
        Ok(Secret::new(String::from_utf8_lossy(&text).trim()))
    }

    fn make(&self, token: &Secret) -> Result<Arc<UsableToken>, String> {
        usable(token)
    }
}

fn tokens(token: &Token) -> Result<Vec<Reread<TokenFile>>, ConfigError> {
    match token {
        Token::Fixed(token) => Ok(vec![Reread::fixed(usable(token).map_err(ConfigError::Token)?)]),
        Token::Files(paths) => {
            let file = |path: &PathBuf| {
                Reread::new(TokenFile(path.clone()), FILE_AGE)
                    .map_err(|problem| ConfigError::TokenFile { path: path.clone(), problem })
            };
            paths.iter().map(file).collect()
        }
    }
}

/// A token as it is sent.
#[derive(Debug)]
struct UsableToken {
    header: HeaderValue,
    redactor: Redactor,
}

/// Splunk takes any string for a token; a header takes no more than this.
fn usable(secret: &Secret) -> Result<Arc<UsableToken>, String> {
    let token = secret.expose();
    if token.is_empty() {
        return Err("it is empty".to_owned());
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it contains white space, control or non-ASCII characters".to_owned());
    }
    let mut header = HeaderValue::from_str(&format!("Splunk {token}")).expect("graphic ASCII fits a header");
    header.set_sensitive(true);
    Ok(Arc::new(UsableToken { header, redactor: Redactor::new(secret) }))
}

fn collector(text: &str) -> Result<Url, ConfigError> {
    let wrong = |problem: &str| ConfigError::Url(format!("{problem}; it should look like https://splunk.example:8088"));
    let mut url = Url::parse(text).map_err(|error| wrong(&format!("not a URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("neither http nor https"));
    }
    if !url.has_host() {
        return Err(wrong("no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("a user or a password has no place in it"));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("/services/collector is added to it, so it must end behind the port"));
    }
    url.set_path("/services/collector");
    Ok(url)
}

/// What a client is made of. A new one has connections of its own; those of the old one end with their last request.
struct ClientFiles {
    tls: TlsFiles,
    config: Config,
    /// The name in the URL, and the one address that it stands for.
    pinned: Option<(String, SocketAddr)>,
    began: Instant,
}

impl FromFiles for ClientFiles {
    /// The files, and how many times the connections have grown old.
    type Content = (TlsContent, u64);
    type Value = Client;
    type Error = ConfigError;

    fn what(&self) -> &'static str {
        "the certificates of HEC"
    }

    fn is_told(&self, (before, _): &Self::Content, (now, _): &Self::Content) -> bool {
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
        if let Some(ca) = &content.ca {
            let certificates = Certificate::from_pem_bundle(ca).map_err(|error| self.tls.bad_ca(chain(&error)))?;
            if certificates.is_empty() {
                return Err(self.tls.bad_ca("no PEM certificate in it").into());
            }
            builder = builder.tls_certs_merge(certificates);
        }
        if let Some((certificate, key)) = &content.client {
            let identity = Identity::from_pkcs8_pem(certificate, key);
            builder = builder.identity(identity.map_err(|error| self.tls.bad_client(chain(&error)))?);
        }
        // A certificate and a key that do not belong together are found out here.
        builder.build().map_err(|error| ConfigError::Client(chain(&error)))
    }
}

fn client(config: &Config, url: &Url, address: Option<IpAddr>) -> Result<Reread<ClientFiles>, ConfigError> {
    let tls = TlsFiles { ca_file: config.ca_file.clone(), client_cert: config.client_cert.clone() };
    // The port of the URL takes the place of this one.
    let pinned = url.domain().zip(address).map(|(name, address)| (name.to_owned(), SocketAddr::new(address, 0)));
    let files = ClientFiles { tls, config: config.clone(), pinned, began: Instant::now() };
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
        .tls_version_min(tls::Version::TLS_1_2)
        .tls_danger_accept_invalid_certs(!config.verify)
        .tls_danger_accept_invalid_hostnames(!config.verify);
    match &config.proxy {
        Some(proxy) => Ok(builder.proxy(Proxy::all(proxy).map_err(|_| ConfigError::Proxy)?)),
        None if no_proxy::is_for_all() => Ok(builder.no_proxy()),
        None => Ok(builder),
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
