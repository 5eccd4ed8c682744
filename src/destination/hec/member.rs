//! One collector's address: its connections, its credentials, and one request at a time.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderMap, HeaderName,
    HeaderValue, RETRY_AFTER, SERVER,
};
use reqwest::{Certificate, Client, ClientBuilder, Identity, Proxy, Url, redirect, retry, tls};
use tokio::time::Instant;

use super::proxy;
use super::reply;
use super::reply::Reply;
use super::request_fault::{RequestFault, chain};
use super::{Config, Token};
use crate::core::named_file;
use crate::core::named_file::{MOST_CREDENTIAL, MOST_SETTINGS};
use crate::core::no_proxy;
use crate::core::secret::Secret;

/// What a reply may weigh; an honest one has a hundred bytes.
const MAX_REPLY: usize = 64 * 1024;

/// A busy Splunk closes idle connections after 12 s (`busyKeepAliveIdleTimeout`): leave first, so that no request
/// meets a closing door.
const POOL_IDLE: Duration = Duration::from_secs(10);

/// How old a token from a file may be when it is sent.
const TOKEN_AGE: Duration = Duration::from_secs(10);

/// Without it, Splunk falls back to HTTP/1.0 and closes after every request (`forceHttp10 = auto`).
const USER_AGENT: &str = concat!("forwarder/", env!("CARGO_PKG_VERSION"));

/// The one encoding of a reply that is asked for and read.
const PLAIN: &str = "identity";

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
    #[error("hec {setting} {}: {problem}", path.display())]
    File {
        /// Which setting names it.
        setting: &'static str,
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
pub struct Member {
    url: Url,
    /// The proxy on the way there.
    proxy: Option<String>,
    client: Client,
    channel: HeaderValue,
    credential: Credential,
}

impl Member {
    /// Checks the settings and reads the files that they name. Nothing is sent.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub fn new(config: &Config, channel: &str) -> Result<Self, ConfigError> {
        let url = collector(&config.url)?;
        Ok(Self {
            proxy: proxy::of(config, &url),
            url,
            client: client(config)?,
            channel: HeaderValue::from_str(channel).expect("hex digits and dashes are a header value"),
            credential: Credential::new(&config.token)?,
        })
    }

    /// Where requests go.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Whether the token travels unprotected.
    #[must_use]
    pub fn is_plain_and_remote(&self) -> bool {
        let local = match self.url.host_str() {
            Some(host) => {
                let address = host.trim_start_matches('[').trim_end_matches(']');
                host == "localhost" || address.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
            }
            None => false,
        };
        self.url.scheme() == "http" && !local
    }

    /// Sends one request.
    ///
    /// # Errors
    /// There is no reply, or none that could be read to its end.
    pub async fn post(&self, body: Bytes, gzip: bool) -> Result<Reply, RequestFault> {
        self.credential.refresh(TOKEN_AGE).await;
        let mut request = self
            .client
            .post(self.url.clone())
            .header(AUTHORIZATION, self.credential.header())
            .header(CHANNEL, self.channel.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT_ENCODING, PLAIN)
            // Left out by itself when the body is empty, where some balancers insist on it.
            .header(CONTENT_LENGTH, body.len());
        if gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        let fault = |error: reqwest::Error| RequestFault::of(&error, self.proxy.as_deref());
        let mut response = request.body(body).send().await.map_err(fault)?;
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
        reply.body = self.credential.redact(reply.body);
        Ok(reply)
    }

    /// As if the token had been read so much earlier.
    #[cfg(test)]
    pub(super) fn age_token(&self, by: Duration) {
        self.credential.lock().read_at -= by;
    }

    /// Resolves when the token changes, if it can: looks at its file every `poll`.
    pub async fn token_changed(&self, poll: Duration) {
        if self.credential.file.is_none() {
            std::future::pending::<()>().await;
        }
        loop {
            if self.credential.refresh(Duration::ZERO).await {
                return;
            }
            tokio::time::sleep(poll).await;
        }
    }
}

/// The token that is sent at the moment.
#[derive(Debug)]
struct Credential {
    file: Option<PathBuf>,
    state: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    token: Secret,
    read_at: Instant,
    /// What is wrong with the file now, so that it is said once.
    problem: Option<String>,
}

impl Credential {
    fn new(token: &Token) -> Result<Self, ConfigError> {
        let (token, file) = match token {
            Token::Fixed(token) => (usable(token.expose()).map_err(ConfigError::Token)?, None),
            Token::File(path) => {
                let token = read_token(path).map_err(|problem| ConfigError::File {
                    setting: "token file",
                    path: path.clone(),
                    problem,
                })?;
                (token, Some(path.clone()))
            }
        };
        let state = Loaded { token, read_at: Instant::now(), problem: None };
        Ok(Self { file, state: Mutex::new(state) })
    }

    /// Reads the file again if it was last read `age` ago or earlier; returns whether the token is another one now.
    /// A file that cannot be used changes nothing: the old token may still be good.
    async fn refresh(&self, age: Duration) -> bool {
        let Some(path) = &self.file else { return false };
        if self.lock().read_at.elapsed() < age {
            return false;
        }
        let read = tokio::task::spawn_blocking({
            let path = path.clone();
            move || read_token(&path)
        });
        let read = read.await.unwrap_or_else(|error| Err(error.to_string()));
        let mut state = self.lock();
        state.read_at = Instant::now();
        match read {
            Ok(token) => {
                state.problem = None;
                let changed = state.token != token;
                state.token = token;
                changed
            }
            Err(problem) => {
                if state.problem.as_ref() != Some(&problem) {
                    tracing::warn!(file = %path.display(), problem, "cannot use the HEC token file; keeping the token");
                    state.problem = Some(problem);
                }
                false
            }
        }
    }

    fn header(&self) -> HeaderValue {
        let mut header = HeaderValue::from_str(&format!("Splunk {}", self.lock().token.expose()))
            .expect("a token was checked to fit a header when it was read");
        header.set_sensitive(true);
        header
    }

    /// Whoever echoes our token does not bring it into our log.
    fn redact(&self, body: Vec<u8>) -> Vec<u8> {
        let state = self.lock();
        let token = state.token.expose();
        if memchr::memmem::find(&body, token.as_bytes()).is_none() {
            return body;
        }
        String::from_utf8_lossy(&body).replace(token, "***").into_bytes()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Loaded> {
        self.state.lock().expect("nothing panics while it holds the token")
    }
}

fn read_token(path: &Path) -> Result<Secret, String> {
    let text = named_file::read_trusted(path, MOST_CREDENTIAL).map_err(|error| error.to_string())?;
    usable(String::from_utf8_lossy(&text).trim())
}

/// Splunk takes any string for a token; a header takes no more than this.
fn usable(token: &str) -> Result<Secret, String> {
    if token.is_empty() {
        return Err("it is empty".to_owned());
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it contains white space, control or non-ASCII characters".to_owned());
    }
    Ok(Secret::new(token))
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

fn client(config: &Config) -> Result<Client, ConfigError> {
    let mut builder = ClientBuilder::new()
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
    if let Some(path) = &config.ca_file {
        let setting = "CA file";
        let certificates =
            Certificate::from_pem_bundle(&read(setting, path)?).map_err(|error| not_pem(setting, path, &error))?;
        if certificates.is_empty() {
            return Err(ConfigError::File {
                setting,
                path: path.clone(),
                problem: "no PEM certificate in it".to_owned(),
            });
        }
        builder = builder.tls_certs_merge(certificates);
    }
    if let Some((certificate, key)) = &config.client_cert {
        let identity = Identity::from_pkcs8_pem(&read("client certificate", certificate)?, &read("client key", key)?);
        builder = builder
            .identity(identity.map_err(|error| not_pem("client certificate and PKCS #8 key", certificate, &error))?);
    }
    if let Some(proxy) = &config.proxy {
        builder = builder.proxy(Proxy::all(proxy).map_err(|_| ConfigError::Proxy)?);
    } else if no_proxy::is_for_all() {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| ConfigError::Client(chain(&error)))
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, ConfigError> {
    named_file::read_trusted(path, MOST_SETTINGS).map_err(|error| ConfigError::File {
        setting,
        path: path.to_owned(),
        problem: error.to_string(),
    })
}

fn not_pem(setting: &'static str, path: &Path, error: &reqwest::Error) -> ConfigError {
    ConfigError::File { setting, path: path.to_owned(), problem: chain(error) }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
