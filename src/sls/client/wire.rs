//! Sends a signed request and reads the reply, up to the limit for its kind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::tls::TlsInfo;
use reqwest::{Response, Url};

use super::config_error::ConfigError;
#[cfg(test)]
use super::connections::client_with;
use super::connections::{Connections, SharedClient};
use crate::core::budget::Credit;
use crate::core::cause::Cause;
use crate::core::certificates::Certificates;
use crate::core::env_proxy;
use crate::core::error_chain::error_chain;
use crate::core::printable::excerpt;
use crate::core::secret::{Redactor, Secret};
use crate::core::source::SourceError;
use crate::sls::Config;
use crate::sls::api;
use crate::sls::endpoint::{Endpoint, EndpointError};
use crate::sls::error::busy;
use crate::sls::message::{Call, Method, Reply, Request};
use crate::sls::unpack::MAX_RAW_SIZE;

/// Maximum bytes of a refusal that are read: its beginning is enough.
pub(super) const MAX_REFUSAL: usize = 64 << 10;

/// Maximum bytes of a reply that is not a page: a list of the maximum number of shards ([`api::MAX_SHARDS`]), with
/// 400 bytes for each.
pub(super) const MAX_REPLY: usize = 400 * api::MAX_SHARDS;

/// Maximum bytes of a compressed page. Incompressible data grows by less than one percent.
const MAX_PACKED: usize = MAX_RAW_SIZE as usize / 64 * 65;

/// Connections to an endpoint.
#[derive(Debug)]
pub(super) struct Wire {
    endpoint: Endpoint,
    /// The base of every request's URL.
    base: Url,
    user_agent: HeaderValue,
    client: Arc<SharedClient>,
    /// The certificates that the server shows.
    pub(super) certificates: Certificates,
    /// The last reply reported a failure of the server. Until a reply does not, no connection is reused: the name may
    /// have moved to another server.
    failing: AtomicBool,
}

impl Wire {
    pub(super) fn new(config: &Config, connections: &Connections) -> Result<Self, ConfigError> {
        let endpoint = Endpoint::parse(&config.endpoint, &config.project)?;
        let client = connections.client(config, &endpoint)?;
        Self::over(config, endpoint, client)
    }

    fn over(config: &Config, endpoint: Endpoint, client: Arc<SharedClient>) -> Result<Self, ConfigError> {
        let (certificates, failing) = (Certificates::default(), AtomicBool::new(false));
        let base = Url::parse(&endpoint.base).map_err(|_| EndpointError::Host(endpoint.host.clone()))?;
        Ok(Self { endpoint, base, user_agent: user_agent(config), client, certificates, failing })
    }

    /// With a separate client, and a final change to its builder.
    #[cfg(test)]
    pub(super) fn with(
        config: &Config,
        change: impl Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        let endpoint = Endpoint::parse(&config.endpoint, &config.project)?;
        let client = client_with(config, &endpoint, change)?;
        Self::over(config, endpoint, client)
    }

    /// The `Host` header that a request must carry and sign.
    pub(super) fn host(&self) -> &str {
        &self.endpoint.host
    }

    /// Checks the CA file now.
    #[cfg(test)]
    pub(super) async fn check_certificate_files(&self) {
        self.client.settle().await;
    }

    /// Sends `request` unchanged: signed, with its `host`. Any status counts as a reply. A page is read only if
    /// `room` can grow to the announced size.
    pub(super) async fn send(&self, request: &Request, room: Option<&mut Credit>) -> Result<Reply, SourceError> {
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
        };
        let url = self.base.join(&request.target()).expect("a path with parameters is a relative URL");
        let mut outgoing = reqwest::Request::new(method, url);
        let mut headers = header_map(&request.headers);
        headers.insert(USER_AGENT, self.user_agent.clone());
        if self.failing.load(Ordering::Relaxed) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        *outgoing.headers_mut() = headers;
        if !request.body.is_empty() {
            *outgoing.body_mut() = Some(request.body.clone().into());
        }
        let client = self.client.current().await;
        let response = client.execute(outgoing).await.map_err(|error| self.unreachable(request.call, error))?;
        if let Some(shown) = response.extensions().get::<TlsInfo>().and_then(TlsInfo::peer_certificate) {
            self.certificates.shows(shown);
        }
        self.failing.store(response.status().is_server_error(), Ordering::Relaxed);
        let mut reply = self.receive(request.call, response, room).await?;
        if reply.status != 200 {
            reply.body = redact(request, reply.body);
        }
        Ok(reply)
    }

    async fn receive(
        &self,
        call: Call,
        mut response: Response,
        room: Option<&mut Credit>,
    ) -> Result<Reply, SourceError> {
        let headers = std::mem::take(response.headers_mut());
        let mut reply = Reply { status: response.status().as_u16(), headers, body: Bytes::new() };
        if let Some(encoding) = reply.header("content-encoding").filter(|encoding| *encoding != "identity") {
            let problem = format!("the reply is encoded as {}, which was not requested", excerpt(encoding));
            return Err(busy(call, problem, Some("does a proxy compress replies?")));
        }
        let is_page = call == Call::Pull && reply.status == 200;
        if is_page {
            let raw_size = match api::read_raw_size(&reply) {
                // There is no usable body; the caller finds the reason in the headers.
                Ok(0) | Err(_) => return Ok(reply),
                Ok(raw_size) => raw_size,
            };
            let bytes = unpacking(&reply, raw_size, response.content_length());
            if room.is_some_and(|room| !room.grow(bytes)) {
                let cause = Cause::new(format!("{call}: a page needs {bytes} bytes of memory, which are not free now"));
                return Err(SourceError::NoRoom { bytes, cause });
            }
        }
        let limit = match reply.status {
            200 if is_page => MAX_PACKED,
            200 => MAX_REPLY,
            _ => MAX_REFUSAL,
        };
        let announced = response.content_length().and_then(|len| usize::try_from(len).ok()).unwrap_or(0);
        let mut body = BytesMut::with_capacity(announced.min(limit));
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(call, error))? {
            let room = limit - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                if reply.status == 200 {
                    return Err(busy(call, format!("the reply is longer than {limit} bytes"), None));
                }
                // The beginning of a refusal is enough.
                break;
            }
        }
        // A page is kept packed: in as much memory as it needs.
        let is_exact = body.capacity() == body.len();
        reply.body = if is_exact { body.freeze() } else { Bytes::copy_from_slice(&body) };
        Ok(reply)
    }

    /// No reply, or an incomplete one.
    fn unreachable(&self, call: Call, error: reqwest::Error) -> SourceError {
        let is_connect = error.is_connect();
        let text = error_chain(&error.without_url());
        let proxy = if self.endpoint.is_loopback() { None } else { env_proxy::of(&self.endpoint.base) };
        let hint = if text.contains("wrong version number") {
            Some("the server does not speak TLS on this port: write http:// in `endpoint`")
        } else if proxy.is_some() && text.contains("proxy authorization required") {
            Some("the proxy requires credentials: set them in `http_proxy` or `https_proxy`")
        } else if text.contains("certificate") {
            Some(
                "if the certificate is signed by a CA of your own, name its root in `ca_file`: the self-signed certificate at the top",
            )
        } else if is_connect {
            Some("check `endpoint`, `project` (it is part of the host name), DNS, the network and the proxy settings")
        } else {
            None
        };
        let over = proxy.map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default();
        busy(call, format!("{text} ({}{over})", self.endpoint.base), hint)
    }
}

/// Bytes that a page needs while it is unpacked: compressed, as announced, and unpacked.
fn unpacking(reply: &Reply, raw_size: u64, packed: Option<u64>) -> usize {
    let is_packed = reply.header("x-log-compresstype").is_some_and(|name| !name.is_empty());
    let packed = if is_packed { packed.unwrap_or(raw_size).min(MAX_PACKED as u64) } else { 0 };
    usize::try_from(raw_size + packed).unwrap_or(usize::MAX)
}

/// Contains the group and the consumer, as in the vendor's consumer libraries.
fn user_agent(config: &Config) -> HeaderValue {
    let version = env!("CARGO_PKG_VERSION");
    let (group, consumer) = (&config.group, &config.consumer);
    let text = format!("forwarder/{version}-consumergroup-{group}-{consumer}");
    HeaderValue::from_bytes(text.as_bytes()).expect("names without control characters are valid in a header")
}

fn header_map(headers: &[(&'static str, String)]) -> HeaderMap {
    headers
        .iter()
        .map(|(name, value)| {
            let mut value =
                HeaderValue::from_str(value).expect("keys, dates and names were checked to be valid in a header");
            value.set_sensitive(is_secret(name));
            (HeaderName::from_static(name), value)
        })
        .collect()
}

/// Removes secrets from a reply that echoes our headers: the signature and the token of a temporary key.
fn redact(request: &Request, body: Bytes) -> Bytes {
    let secrets = request.headers.iter().filter(|(name, _)| is_secret(name));
    let redactors = secrets.map(|(_, value)| Redactor::new(&Secret::new(value)));
    redactors.fold(body.to_vec(), |body, redactor| redactor.redact(body)).into()
}

fn is_secret(header: &str) -> bool {
    matches!(header, "authorization" | "x-acs-security-token")
}
