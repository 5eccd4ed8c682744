//! Why a request got no reply.
//!
//! The types of the HTTP library show whether it was connecting, and whether it timed out. The errors of TLS and
//! proxies are available only as text, because their types are not exported. Tests with a real proxy and a real TLS
//! server fail if these texts change.

use std::error::Error as _;
use std::io;
use std::iter;

use super::reply;
use super::reply::{PROXY_LOGIN, Verdict};
use super::suspicion::Failure;
use crate::core::cause::Cause;
use crate::core::tls_fault::is_cut_short;
use crate::destination::CheckError;

/// No reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestFault {
    /// The request was not sent: nothing can have been accepted.
    Unreachable(Cause),
    /// The request was not sent, and cannot be until the operator changes something: a certificate, a proxy's
    /// password.
    Refused(Cause),
    /// The peer ended the connection during the request: it may have been accepted.
    Ended(Cause),
    /// The request was sent, and no reply arrived in time: it may have been accepted.
    Silence(Cause),
}

impl RequestFault {
    /// Classifies an error of the HTTP library; `proxy` is the proxy used.
    pub(super) fn of(error: &reqwest::Error, proxy: Option<&str>) -> Self {
        if !error.is_connect() {
            return if error.is_timeout() {
                Self::Silence(Cause::new("no reply in time"))
            } else if is_networks(error) {
                Self::Silence(Cause::new(format!("no reply: {}", chain(error))))
            } else {
                Self::Ended(Cause::new(format!("no reply: {}", chain(error))))
            };
        }
        let over = proxy.map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default();
        if error.is_timeout() {
            return Self::Unreachable(Cause::new(format!("connecting{over} took too long")));
        }
        let why = chain(error);
        let what = format!("cannot connect{over}: {why}");
        if why.contains("proxy authorization required") {
            return Self::Refused(Cause { what, hint: Some(PROXY_LOGIN) });
        }
        match tls_refusal(error) {
            Some(advice) => Self::Refused(Cause { what, hint: Some(advice) }),
            None => Self::Unreachable(Cause::new(what)),
        }
    }

    /// The verdict for a request of `count` events.
    #[must_use]
    pub fn verdict(self, count: usize) -> Verdict {
        match self {
            Self::Refused(cause) => Verdict::Hold { cause },
            Self::Unreachable(cause) => Verdict::Retry { floor: None, maybe_taken: 0, cause },
            Self::Ended(cause) | Self::Silence(cause) => Verdict::Retry { floor: None, maybe_taken: count, cause },
        }
    }

    /// How it fails a request that was sent.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        match self {
            Self::Unreachable(_) | Self::Refused(_) => None,
            Self::Ended(_) => Some(Failure::Ended),
            Self::Silence(_) => Some(Failure::Silence),
        }
    }

    /// The result for a check.
    #[must_use]
    pub fn check_error(self) -> CheckError {
        match self {
            Self::Refused(cause) => CheckError::Refused(cause),
            Self::Unreachable(cause) | Self::Ended(cause) | Self::Silence(cause) => CheckError::Down(cause),
        }
    }
}

/// The remedy for a handshake that was refused, by us or by the collector; `None` if the network interrupted it.
fn tls_refusal(error: &reqwest::Error) -> Option<&'static str> {
    /// By the text of OpenSSL. An *alert* comes from the collector.
    const ADVICE: [(&str, &str); 11] = [
        ("alert certificate required", "it demands a client certificate: set hec.client_cert and hec.client_key"),
        ("alert handshake failure", "it may demand a client certificate: set hec.client_cert and hec.client_key"),
        ("alert certificate expired", "our certificate has expired: renew hec.client_cert"),
        ("alert unknown ca", "it does not know the issuer of our certificate: check hec.client_cert"),
        ("alert", "it refuses our certificate or our version of TLS; its own log says why"),
        ("certificate has expired", "if the clock of this machine is right, renew the collector's certificate"),
        ("not yet valid", "the clock of this machine or of the collector is wrong"),
        ("mismatch", "its certificate is for another name: use a host name that is in it"),
        (
            "certificate verify failed",
            "set hec.ca_file to the root of its issuer, the self-signed certificate at the top, if that is your own",
        ),
        ("wrong version number", "the server does not speak TLS on this port: write http://"),
        ("", "does it speak TLS 1.2 or newer on this port?"),
    ];
    let tls = causes(error).find_map(|cause| cause.downcast_ref::<native_tls::Error>())?;
    if is_cut_short(tls) {
        return None;
    }
    let words = tls.to_string();
    ADVICE.iter().find(|(says, _)| words.contains(says)).map(|(_, advice)| *advice)
}

/// Whether the network failed, not the peer.
fn is_networks(error: &reqwest::Error) -> bool {
    use io::ErrorKind::{HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut};
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|io| matches!(io.kind(), HostUnreachable | NetworkDown | NetworkUnreachable | TimedOut))
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    iter::successors(error.source(), |cause: &&(dyn std::error::Error + 'static)| (**cause).source())
}

/// The causes of an error, without its URL, without hyper's text for the failed step ("client error (Connect)"), and
/// without repetitions.
pub(super) fn chain(error: &reqwest::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    for cause in causes(error) {
        let text = reply::words(&cause.to_string());
        if !text.starts_with("client error (") && texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
    }
    if texts.is_empty() {
        return "unknown".to_owned();
    }
    texts.join(": ")
}
