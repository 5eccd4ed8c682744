//! One collector's address: its connections, its credentials, and one request at a time.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::Url;
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, DATE, HeaderMap,
    HeaderName, RETRY_AFTER, SERVER, SET_COOKIE,
};
use reqwest::tls::TlsInfo;

use super::Config;
use super::channel::Channel;
use super::config_error::ConfigError;
use super::http_client::{ClientFiles, client};
use super::proxy;
use super::reply;
use super::reply::Reply;
use super::request_fault::RequestFault;
#[cfg(test)]
use super::timing::FILE_AGE;
use super::token::{TokenFile, tokens};
use super::transport::{Request, Transport};
use crate::core::certificates::{CertificateEnds, Certificates};
use crate::core::reread::Reread;

/// Maximum size of a reply; a normal one has a hundred bytes.
const MAX_REPLY: usize = 64 * 1024;

/// The only encoding of a reply that is requested and read.
const PLAIN: &str = "identity";

/// The path of polls for acknowledgements.
const ACK_PATH: &str = "/services/collector/ack";

const CHANNEL: HeaderName = HeaderName::from_static("x-splunk-request-channel");

/// One collector.
#[derive(Debug)]
pub struct Endpoint {
    url: Url,
    name: String,
    /// The URL of polls.
    ack_url: Url,
    /// The proxy.
    proxy: Option<String>,
    carrier: Carrier,
    certificates: Arc<Certificates>,
    /// The channel of requests without acknowledgement.
    channel: Channel,
    /// At least one.
    tokens: Vec<Reread<TokenFile>>,
    /// The token that was accepted last.
    taken: AtomicUsize,
}

impl Endpoint {
    /// Checks the settings and reads the files that they name. It sends nothing yet. `address`: where to connect to,
    /// instead of wherever the name in the URL leads. TLS verifies the name all the same.
    ///
    /// # Errors
    /// A setting is wrong.
    pub fn new(config: &Config, url: &str, address: Option<IpAddr>, channel: Channel) -> Result<Self, ConfigError> {
        let url = collector(url)?;
        let mut ack_url = url.clone();
        ack_url.set_path(ACK_PATH);
        let certificates = Arc::new(Certificates::default());
        Ok(Self {
            proxy: proxy::of(config, &url),
            name: address.map_or_else(|| url.to_string(), |address| format!("{url} at {address}")),
            carrier: Carrier::of(config, &url, address, &certificates)?,
            certificates,
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

    /// When its certificate ends, and ours.
    #[must_use]
    pub fn certificates(&self) -> CertificateEnds {
        self.certificates.ends()
    }

    /// Sends one request with events, on a channel if acknowledgements are used.
    ///
    /// # Errors
    /// There is no reply, or no complete one.
    pub async fn post(&self, body: Bytes, gzip: bool, channel: Option<&Channel>) -> Result<Reply, RequestFault> {
        self.send(&self.url, body, gzip, channel).await
    }

    /// Sends a request without events, to probe the collector.
    ///
    /// # Errors
    /// There is no reply, or no complete one.
    pub async fn post_empty(&self) -> Result<Reply, RequestFault> {
        self.send(&self.url, Bytes::new(), false, None).await
    }

    /// Asks which of these ids of a channel are acknowledged.
    ///
    /// # Errors
    /// There is no reply, or no complete one.
    pub async fn ask(&self, ids: &[u64], channel: &Channel) -> Result<Reply, RequestFault> {
        let body = serde_json::json!({ "acks": ids }).to_string();
        self.send(&self.ack_url, body.into(), false, Some(channel)).await
    }

    /// Sends a request, with another token if one is refused.
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
                    "the collector refuses one HEC token and accepts the other, which is used from now on"
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
            // The library omits it for an empty body, but some load balancers require it.
            .header(CONTENT_LENGTH, body.len());
        if gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        if let Some(cookies) = channel.and_then(Channel::cookies) {
            request = request.header(COOKIE, cookies);
        }
        let fault = |error: reqwest::Error| RequestFault::of(&error, self.proxy.as_deref());
        let mut response = request.body(body).send().await.map_err(fault)?;
        if let Some(shown) = response.extensions().get::<TlsInfo>().and_then(TlsInfo::peer_certificate) {
            self.certificates.shows(shown);
        }
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
            // Over TLS, any answer comes from behind the proxy.
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
        // Removes our token from a reply that echoes it.
        reply.body = token.redactor.redact(reply.body);
        for token in &self.tokens {
            reply.body = token.last().redactor.redact(reply.body);
        }
        Ok(reply)
    }

    /// As if the token had been read this much earlier.
    #[cfg(test)]
    pub(super) fn age_token(&self, by: Duration) {
        self.tokens.iter().for_each(|token| token.due_in(FILE_AGE.saturating_sub(by)));
    }

    /// Checks the certificate files now.
    #[cfg(test)]
    pub(super) async fn check_certificate_files(&self) {
        if let Carrier::Http(client) = &self.carrier {
            client.settle().await;
        }
    }

    /// Resolves when a token changes, if it comes from a file: reads the files every `poll`.
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
    fn of(
        config: &Config,
        url: &Url,
        address: Option<IpAddr>,
        certificates: &Arc<Certificates>,
    ) -> Result<Self, ConfigError> {
        Ok(match &config.transport {
            Some(transport) => Self::Other(Arc::clone(transport)),
            None => Self::Http(Box::new(client(config, url, address, certificates)?)),
        })
    }
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
        return Err(wrong("it must not contain a user or a password"));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("/services/collector is added to it, so it must end after the port"));
    }
    url.set_path("/services/collector");
    Ok(url)
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
