//! Why a request got no reply.
//!
//! The HTTP library tells by types whether it was connecting, and whether it ran out of time; what TLS and a proxy said is
//! in its words alone, since the errors that have them are not exported. Tests with a real proxy and a real TLS server notice
//! when these words change.

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
    /// The request never left: nothing can have been taken.
    Unreachable(Cause),
    /// The request never left, and will not before somebody changes something: a certificate, a proxy's password.
    Refused(Cause),
    /// The peer ended the connection while the request was under way: it may have been taken.
    Ended(Cause),
    /// The request was under way, and nothing came in time: it may have been taken.
    Silence(Cause),
}

impl RequestFault {
    /// What an error of the HTTP library means, over this proxy.
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
        let over = proxy.map(|proxy| format!(" over the proxy {proxy}")).unwrap_or_default();
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

    /// What it means for a request of `count` events.
    #[must_use]
    pub fn verdict(self, count: usize) -> Verdict {
        match self {
            Self::Refused(cause) => Verdict::Hold { cause },
            Self::Unreachable(cause) => Verdict::Retry { floor: None, maybe_taken: 0, cause },
            Self::Ended(cause) | Self::Silence(cause) => Verdict::Retry { floor: None, maybe_taken: count, cause },
        }
    }

    /// How it fails a request that was under way.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        match self {
            Self::Unreachable(_) | Self::Refused(_) => None,
            Self::Ended(_) => Some(Failure::Ended),
            Self::Silence(_) => Some(Failure::Silence),
        }
    }

    /// What it means for a check.
    #[must_use]
    pub fn check_error(self) -> CheckError {
        match self {
            Self::Refused(cause) => CheckError::Refused(cause),
            Self::Unreachable(cause) | Self::Ended(cause) | Self::Silence(cause) => CheckError::Down(cause),
        }
    }
}

/// What to do about a handshake that was refused, by us or by the collector; nothing when the network cut it short.
fn tls_refusal(error: &reqwest::Error) -> Option<&'static str> {
    /// By what OpenSSL calls it. An *alert* is what the collector says of us.
    const ADVICE: [(&str, &str); 11] = [
        ("alert certificate required", "it demands a client certificate: set hec.client_cert and hec.client_key"),
        ("alert handshake failure", "it may demand a client certificate: set hec.client_cert and hec.client_key"),
        ("alert certificate expired", "our certificate has expired: renew hec.client_cert"),
        ("alert unknown ca", "it does not know the issuer of our certificate: look at hec.client_cert"),
        ("alert", "it refuses our certificate or our version of TLS; its own log says why"),
        (
            "certificate has expired",
            "the collector has to renew its certificate, if the clock of this machine is right",
        ),
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

/// Whether the network gave up, not the peer.
fn is_networks(error: &reqwest::Error) -> bool {
    use io::ErrorKind::{HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut};
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|io| matches!(io.kind(), HostUnreachable | NetworkDown | NetworkUnreachable | TimedOut))
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    iter::successors(error.source(), |cause: &&(dyn std::error::Error + 'static)| (**cause).source())
}

/// The causes behind an error, without its URL, without hyper's word for the step that failed ("client error
/// (Connect)"), and without saying anything twice.
pub(super) fn chain(error: &reqwest::Error) -> String {
    let mut said: Vec<String> = Vec::new();
    for cause in causes(error) {
        let text = reply::words(&cause.to_string());
        if !text.starts_with("client error (") && said.last().is_none_or(|last| !last.contains(&text)) {
            said.push(text);
        }
    }
    if said.is_empty() {
        return "unknown".to_owned();
    }
    said.join(": ")
}
