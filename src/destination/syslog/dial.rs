//! Connects to a target.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::connection::{Connection, Watched};
use super::tls;
use super::tls::{ConfigError, ConnectorFiles};
use super::{Config, Target, Transport, socket};
use crate::core::cause::Cause;
use crate::core::certificates::{CertificateEnds, Certificates};
use crate::core::reread::Reread;
use crate::core::tls_fault::{is_cut_short, reason};
use crate::destination::health::HealthTracker;

/// How long to wait for one address before the next is tried in parallel (RFC 8305 section 8).
const HEAD_START: Duration = Duration::from_millis(250);

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ConnectFault {
    /// It may work later.
    Down(Cause),
    /// It works only after a change: a certificate, a name.
    Refused(Cause),
}

impl ConnectFault {
    pub(super) fn cause(&self) -> &Cause {
        match self {
            Self::Down(cause) | Self::Refused(cause) => cause,
        }
    }

    /// Classifies an error on a connection: network errors are transient, TLS errors are not.
    pub(super) fn of(target: &Target, error: &io::Error) -> Self {
        if error.raw_os_error().is_none() && error.kind() == io::ErrorKind::Other {
            refused(target, &error.to_string())
        } else {
            Self::Down(Cause::new(format!("{target}: {error}")))
        }
    }

    /// Reports it. The try began at `began`.
    pub(super) fn report(&self, health: &HealthTracker, began: Instant, now: Instant) {
        match self {
            Self::Down(cause) => health.failed(began, now, cause),
            Self::Refused(cause) => health.held(now, cause),
        }
    }
}

/// How to connect.
#[derive(Clone)]
pub(super) struct Dial {
    connector: Option<Arc<Reread<ConnectorFiles>>>,
    certificates: Arc<Certificates>,
    server_name: Option<String>,
    patience: Duration,
}

impl Dial {
    pub(super) fn new(config: &Config) -> Result<Self, ConfigError> {
        let tls = match &config.transport {
            Transport::Udp { .. } | Transport::Tcp | Transport::Relp(None) => None,
            Transport::Tls(tls) | Transport::Relp(Some(tls)) => Some(tls),
        };
        let certificates = Arc::new(Certificates::default());
        Ok(Self {
            connector: tls.map(|tls| tls::connector(tls, &certificates)).transpose()?.map(Arc::new),
            certificates,
            server_name: tls.and_then(|tls| tls.server_name.clone()),
            patience: config.connect_timeout,
        })
    }

    /// When the receiver's certificate ends, and ours.
    pub(super) fn certificates(&self) -> CertificateEnds {
        self.certificates.ends()
    }

    /// Connects to the first address of the target that answers; names are resolved every time.
    pub(super) async fn connect(&self, target: &Target) -> Result<Connection, ConnectFault> {
        let until = Instant::now() + self.patience;
        let addresses = self.lookup(target).await?;
        self.connect_any(target, &addresses, until).await
    }

    /// The addresses of a target, all of them; there is at least one.
    pub(super) async fn lookup(&self, target: &Target) -> Result<Vec<SocketAddr>, ConnectFault> {
        match timeout(self.patience, lookup_host((target.host.as_str(), target.port))).await {
            Ok(Ok(found)) => {
                let found: Vec<_> = found.collect();
                if found.is_empty() { Err(down(format!("{target}: the name has no address"))) } else { Ok(found) }
            }
            Ok(Err(error)) => Err(down(format!("{target}: the name cannot be resolved: {error}"))),
            Err(_) => Err(down(format!("{target}: resolving the name took too long"))),
        }
    }

    /// Connects to one address of the target, to which another connection already exists.
    pub(super) async fn connect_beside(&self, target: &Target, peer: SocketAddr) -> Result<Connection, ConnectFault> {
        self.connect_any(target, &[peer], Instant::now() + self.patience).await
    }

    async fn connect_any(
        &self,
        target: &Target,
        addresses: &[SocketAddr],
        until: Instant,
    ) -> Result<Connection, ConnectFault> {
        let stream = match timeout_at(until, race(addresses)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(down(format!("{target}: cannot connect: {error}"))),
            Err(_) => return Err(down(format!("{target}: connecting took too long"))),
        };
        let peer = stream.peer_addr().and_then(|peer| socket::tune(&stream).map(|()| peer));
        let peer = peer.map_err(|error| down(format!("{target}: {error}")))?;
        let Some(connector) = &self.connector else { return Ok(Connection::plain(stream, peer)) };
        let name = self.server_name.as_deref().unwrap_or(&target.host);
        let connector = connector.current().await;
        match timeout_at(until, connector.connect(name, Watched::new(stream))).await {
            Ok(Ok(stream)) => {
                if let Ok(Some(shown)) = stream.get_ref().peer_certificate()
                    && let Ok(der) = shown.to_der()
                {
                    self.certificates.shows(&der);
                }
                Ok(Connection::tls(stream, peer))
            }
            Ok(Err(error)) => Err(handshake(target, &error)),
            Err(_) => Err(ConnectFault::Down(Cause {
                what: format!("{target}: the TLS handshake took too long"),
                hint: Some("is TLS spoken on this port?"),
            })),
        }
    }
}

/// Connects to all addresses, each with a head start over the next; the first connection wins.
async fn race(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut tries: FuturesUnordered<_> = addresses
        .iter()
        .zip(0..)
        .map(|(address, turn)| async move {
            sleep(HEAD_START * turn).await;
            TcpStream::connect(address).await
        })
        .collect();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    while let Some(tried) = tries.next().await {
        match tried {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn down(what: String) -> ConnectFault {
    ConnectFault::Down(Cause::new(what))
}

fn handshake(target: &Target, error: &native_tls::Error) -> ConnectFault {
    let words = error.to_string();
    if is_cut_short(error) { down(format!("{target}: no TLS: {words}")) } else { refused(target, &words) }
}

fn refused(target: &Target, error: &str) -> ConnectFault {
    ConnectFault::Refused(Cause { what: format!("{target}: no TLS: {}", reason(error)), hint: Some(advice(error)) })
}

/// The probable remedy for a TLS error, by the text of OpenSSL. An *alert* comes from the receiver.
fn advice(error: &str) -> &'static str {
    const ADVICE: [(&str, &str); 11] = [
        ("alert certificate required", "it demands a client certificate: set syslog.client_cert and syslog.client_key"),
        ("alert handshake failure", "it may demand a client certificate: set syslog.client_cert and syslog.client_key"),
        ("alert certificate expired", "our certificate has expired: renew syslog.client_cert"),
        ("alert unknown ca", "it does not know the issuer of our certificate: check syslog.client_cert"),
        ("alert", "it refuses our certificate or our version of TLS; its own log says why"),
        ("certificate has expired", "if the clock of this machine is right, renew the receiver's certificate"),
        ("not yet valid", "the clock of this machine or of the receiver is wrong"),
        ("mismatch", "its certificate is for another name: set syslog.server_name to one that it has"),
        (
            "certificate verify failed",
            "set syslog.ca_file to the certificate of its issuer, the self-signed one at the top: no other is enough",
        ),
        (
            "wrong version number",
            "the receiver does not speak TLS on this port: write protocol = \"tcp\", or its TLS port",
        ),
        ("", "does it speak TLS 1.2 or newer on this port?"),
    ];
    let known = ADVICE.iter().find(|(says, _)| error.contains(says));
    known.map_or("", |(_, advice)| advice)
}
