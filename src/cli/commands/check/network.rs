//! Checks the connection to a server, step by step: its name, its port, its certificate.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hyper::Uri;
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::nid::Nid;
use openssl::ssl::{HandshakeError, SslConnector, SslMethod, SslVerifyMode};
use openssl::x509::{X509, X509NameRef};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::finding::{Findings, Level};
use crate::core::count::count;
use crate::core::printable::excerpt;
use crate::core::tls_fault::reason;

/// Time limit for each step.
const PATIENCE: Duration = Duration::from_secs(4);

/// A certificate that expires sooner causes a warning.
const DAYS_AHEAD: i32 = 21;

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Name or address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// The TLS server name, if it uses TLS.
    pub(super) tls: Option<String>,
    /// What to write in the settings to do without TLS.
    pub(super) plain: &'static str,
}

impl Place {
    /// From a validated URL.
    pub(super) fn of_url(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let host = uri.host()?.trim_matches(['[', ']']).to_owned();
        let is_https = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        Some(Self { tls: is_https.then(|| host.clone()), host, port, plain: "http://" })
    }

    fn shown(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// Connects through a proxy, if there is one, else directly. `setting` names the setting with the address. Returns
/// whether further checks make sense.
pub(super) async fn way(findings: &Findings, url: &str, proxy: Option<&str>, setting: &str) -> bool {
    match proxy {
        Some(proxy) => match Place::of_url(proxy) {
            Some(place) => {
                let reached =
                    reach(findings, &Place { tls: None, ..place }, &format!("the proxy {proxy}"), PROXY_SETTING).await;
                if reached {
                    findings.ok(format!("requests go through the proxy {proxy}"));
                }
                reached
            }
            None => true,
        },
        None => match Place::of_url(url) {
            Some(place) => reach(findings, &place, url, setting).await,
            None => true,
        },
    }
}

const PROXY_SETTING: &str = "http_proxy, https_proxy, no_proxy or hec.proxy";

/// Resolves the name, connects, and checks the certificate. Returns whether all steps succeeded.
pub(super) async fn reach(findings: &Findings, place: &Place, what: &str, setting: &str) -> bool {
    let Some(addresses) = resolve(findings, place, setting).await else { return false };
    let Some(stream) = connect(findings, place, what, &addresses, setting).await else { return false };
    match &place.tls {
        Some(name) => check_certificate(findings, place, name, stream).await,
        None => true,
    }
}

/// The addresses of a name.
pub(super) async fn resolve(findings: &Findings, place: &Place, setting: &str) -> Option<Vec<SocketAddr>> {
    let Place { host, port, .. } = place;
    let found = match timeout(PATIENCE, lookup_host((host.as_str(), *port))).await {
        Ok(Ok(found)) => found.collect::<Vec<_>>(),
        Ok(Err(error)) => {
            let fix = format!("check the name in {setting}, and that this machine's DNS knows it: getent hosts {host}");
            findings.fail(Level::UNREACHABLE, format!("DNS has no address for {host}: {error}"), fix);
            return None;
        }
        Err(_) => {
            let fix = "check the DNS servers in /etc/resolv.conf";
            findings.fail(Level::UNREACHABLE, format!("DNS gave no answer for {host} within {PATIENCE:?}"), fix);
            return None;
        }
    };
    if host.parse::<IpAddr>().is_err() {
        let shown: Vec<String> = found.iter().map(|address| address.ip().to_string()).collect();
        findings.ok(format!("{host} is {}", shown.join(", ")));
    }
    Some(found)
}

async fn connect(
    findings: &Findings,
    place: &Place,
    what: &str,
    addresses: &[SocketAddr],
    setting: &str,
) -> Option<TcpStream> {
    let at = place.shown();
    let (what, fix) = match timeout(PATIENCE, TcpStream::connect(addresses)).await {
        Ok(Ok(stream)) => {
            findings.ok(format!("a TCP connection to {at} works"));
            return Some(stream);
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let fix = format!(
                "check the port in {setting}; if it is right, start the server, or let it listen on that address"
            );
            (format!("{what}: nothing listens at {at}: {error}"), fix)
        }
        Ok(Err(error)) => (
            format!("{what}: cannot connect to {at}: {error}"),
            format!("check {setting}, the routes of this machine and the firewalls on the way"),
        ),
        Err(_) => (
            format!("{what}: no connection to {at} within {PATIENCE:?}"),
            format!("a firewall may drop it: let this machine reach TCP {at}; or check {setting}"),
        ),
    };
    findings.fail(Level::UNREACHABLE, what, fix);
    None
}

/// The certificates of a server.
struct Shown {
    /// Starting with its own certificate.
    chain: Vec<X509>,
}

/// Checks only the validity period of the certificate; the client checks later whether it is trusted.
async fn check_certificate(findings: &Findings, place: &Place, name: &str, stream: TcpStream) -> bool {
    let at = place.shown();
    let name = name.to_owned();
    let shaken = spawn_blocking(move || handshake(&name, stream)).await.expect("a handshake does not panic");
    let shown = match shaken {
        Ok(shown) => shown,
        Err(error) => {
            let fix = format!("if the server does not speak TLS there, write {}, or name its TLS port", place.plain);
            findings.fail(Level::SETUP, format!("no TLS at {at}: {}", excerpt(&reason(&error))), fix);
            return false;
        }
    };
    let Some(leaf) = shown.chain.first() else { return true };
    let about = format!(
        "the certificate of {at} is {}, issued by {}, in {}",
        common_name(leaf.subject_name()),
        common_name(leaf.issuer_name()),
        count(shown.chain.len() as u64, "certificate")
    );
    match (days_to(leaf.not_before()), first_to_end(&shown.chain)) {
        (Some(begins), _) if begins > 0 => findings.fail(
            Level::UNREACHABLE,
            format!("{about}; it is valid only in {}", count(begins.unsigned_abs(), "day")),
            "set the clock of this machine, or of the one that issued it",
        ),
        (_, Some(days)) if days < 0 => findings.fail(
            Level::UNREACHABLE,
            format!("{about}; it expired {} ago", count(days.unsigned_abs(), "day")),
            "renew the server's certificate; if it is valid, set the clock of this machine",
        ),
        (_, Some(days)) if days < DAYS_AHEAD => findings.warn(
            format!("{about}; it expires in {}", count(days.unsigned_abs(), "day")),
            "renew the server's certificate before that",
        ),
        (_, Some(days)) => findings.ok(format!("{about}; {} left", count(days.unsigned_abs(), "day"))),
        (_, None) => findings.ok(about),
    }
    true
}

/// Connects with TLS to any server, trusted or not.
fn handshake(name: &str, stream: TcpStream) -> Result<Shown, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let stream = stream.into_std().map_err(|error| text(&error))?;
    let prepared = stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(PATIENCE)));
    prepared.and_then(|()| stream.set_write_timeout(Some(PATIENCE))).map_err(|error| text(&error))?;
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(|error| text(&error))?;
    builder.set_verify(SslVerifyMode::NONE);
    let connector = builder.build().configure().map_err(|error| text(&error))?.verify_hostname(false);
    let stream = connector.connect(name, stream).map_err(|error| match &error {
        HandshakeError::Failure(stream) | HandshakeError::WouldBlock(stream) => text(stream.error()),
        HandshakeError::SetupFailure(stack) => text(stack),
    })?;
    let chain = stream.ssl().peer_cert_chain();
    Ok(Shown { chain: chain.map(|chain| chain.iter().map(ToOwned::to_owned).collect()).unwrap_or_default() })
}

/// Days until the first of these certificates expires: a chain is valid as long as all of them are.
fn first_to_end(chain: &[X509]) -> Option<i32> {
    chain.iter().filter_map(|certificate| days_to(certificate.not_after())).min()
}

/// Full days from now, negative for a past time.
fn days_to(time: &Asn1TimeRef) -> Option<i32> {
    let now = Asn1Time::days_from_now(0).ok()?;
    let difference = now.diff(time).ok()?;
    Some(if difference.days == 0 && difference.secs < 0 { -1 } else { difference.days })
}

fn common_name(name: &X509NameRef) -> String {
    let common = name.entries_by_nid(Nid::COMMONNAME).last().and_then(|entry| entry.data().to_string().ok());
    excerpt(&common.map_or_else(|| format!("{name:?}"), |common| format!("{common:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_validity_is_counted_in_full_days_and_ends_with_the_first_certificate_of_the_chain() {
        const HOUR: i64 = 3_600;
        let after = |hours: i64| Asn1Time::from_unix(jiff::Timestamp::now().as_second() + hours * HOUR).unwrap();
        let days = |hours| days_to(&after(hours));
        assert_eq!([-49, -1, 1, 49].map(days), [Some(-2), Some(-1), Some(0), Some(2)]);
        let until = |hours| {
            let mut builder = X509::builder().unwrap();
            builder.set_not_after(&after(hours)).unwrap();
            builder.build()
        };
        assert_eq!(first_to_end(&[until(100 * 24 + 1), until(9 * 24 + 1), until(30 * 24 + 1)]), Some(9));
        assert_eq!(first_to_end(&[]), None);
    }

    #[test]
    fn a_url_gives_host_port_and_tls() {
        let place = |url| Place::of_url(url).map(|place| (place.shown(), place.tls.is_some()));
        assert_eq!(place("https://splunk.example:8088"), Some(("splunk.example:8088".to_owned(), true)));
        assert_eq!(place("http://p.sls.example"), Some(("p.sls.example:80".to_owned(), false)));
        assert_eq!(place("https://[::1]"), Some(("[::1]:443".to_owned(), true)));
    }
}
