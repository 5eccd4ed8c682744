//! One call to a service that provides sessions.
//!
//! Calls are minutes apart, so each has its own client: the certificates are read when needed, and no connection is
//! kept.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderName, HeaderValue};
use reqwest::{Client, ClientBuilder, Method, Response};

use crate::core::error_chain::error_chain;
use crate::core::no_proxy;
use crate::core::secret::{Redactor, Secret};
use crate::core::tls_files::TlsFiles;
use crate::sls::http_date::parse_http_date;

/// Maximum bytes of a reply: a session has two thousand.
const MAX_REPLY: usize = 64 << 10;

/// A call. It contains secrets, so it has no `Debug`.
pub(super) struct Call {
    pub(super) method: &'static str,
    pub(super) url: String,
    pub(super) headers: Vec<(&'static str, String)>,
    /// A form, encoded; empty means no body.
    pub(super) form: String,
    /// Total time limit.
    pub(super) timeout: Duration,
    /// Whether the proxy of the environment may be used.
    pub(super) may_be_proxied: bool,
    /// Secrets to remove from the reply.
    pub(super) secrets: Vec<Secret>,
}

/// A reply with any status. It contains keys, so it has no `Debug`.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// When the service answered, by its clock, if it says so.
    pub(super) date: Option<Timestamp>,
}

impl Answer {
    /// The clock by which the end of a key in it is judged.
    pub(super) fn clock(&self) -> Clock {
        self.date.map_or_else(|| Clock::Host(Timestamp::now()), Clock::Service)
    }
}

/// The time at which an answer came. The end of a key is a time of the service, whose clock is the better one: this
/// host's may be wrong.
#[derive(Debug, Clone, Copy)]
pub(super) enum Clock {
    /// By the clock of the service that issued it.
    Service(Timestamp),
    /// By this host's clock: the service does not say its time.
    Host(Timestamp),
}

impl Clock {
    pub(super) fn time(self) -> Timestamp {
        match self {
            Self::Service(now) | Self::Host(now) => now,
        }
    }
}

impl Call {
    /// A call to this machine or its network, without a proxy.
    pub(super) fn near(method: &'static str, url: String, timeout: Duration) -> Self {
        let (headers, secrets) = (Vec::new(), Vec::new());
        Self { method, url, headers, form: String::new(), timeout, may_be_proxied: false, secrets }
    }

    /// Sends it, trusting the certificates of `ca_file` in addition to the system's.
    ///
    /// # Errors
    /// There is no complete answer; the text says why.
    pub(super) async fn send(self, ca_file: Option<PathBuf>) -> Result<Answer, String> {
        let (timeout, may_be_proxied) = (self.timeout, self.may_be_proxied && !is_loopback(&self.url));
        // Reading the system's certificates takes a while.
        let client = tokio::task::spawn_blocking(move || client(ca_file, may_be_proxied));
        let client = client.await.map_err(|error| error.to_string())??;
        let answer = tokio::time::timeout(timeout, self.attempt(&client)).await;
        answer.unwrap_or_else(|_| Err(format!("no answer within {timeout:?}")))
    }

    async fn attempt(self, client: &Client) -> Result<Answer, String> {
        let method = Method::from_bytes(self.method.as_bytes()).map_err(|error| error.to_string())?;
        let mut request = client.request(method, &self.url);
        for (name, value) in self.headers {
            let mut value = HeaderValue::from_str(&value).map_err(|_| format!("{name} cannot be a header"))?;
            value.set_sensitive(true);
            request = request.header(HeaderName::from_static(name), value);
        }
        if !self.form.is_empty() {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(self.form);
        }
        let response = request.send().await.map_err(chain)?;
        let status = response.status().as_u16();
        let date = response.headers().get(DATE).and_then(|date| parse_http_date(date.to_str().ok()?));
        let body = read(response).await?;
        let redactors = self.secrets.iter().map(Redactor::new);
        Ok(Answer { status, body: redactors.fold(body, |body, redactor| redactor.redact(body)), date })
    }
}

async fn read(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(chain)? {
        if body.len() + chunk.len() > MAX_REPLY {
            return Err(format!("the reply is longer than {MAX_REPLY} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn client(ca_file: Option<PathBuf>, may_be_proxied: bool) -> Result<Client, String> {
    let mut builder = ClientBuilder::new()
        .user_agent(concat!("forwarder/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .pool_max_idle_per_host(0);
    if !may_be_proxied || no_proxy::is_for_all() {
        builder = builder.no_proxy();
    }
    let files = TlsFiles { ca_file, client_cert: None };
    let connector =
        files.read().and_then(|content| files.connector(&content, true)).map_err(|error| error.to_string())?;
    builder.tls_backend_preconfigured(connector).build().map_err(chain)
}

/// Whether the host is the loopback address, which needs no proxy.
fn is_loopback(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest.split('/').next().unwrap_or_default());
    ["127.0.0.1", "[::1]", "localhost"].iter().any(|host| authority.starts_with(host))
}

/// An error and all its causes, on one line, without the URL.
fn chain(error: reqwest::Error) -> String {
    error_chain(&error.without_url())
}
