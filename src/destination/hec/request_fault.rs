//! Why a request got no reply.
//!
//! The types of the HTTP library show whether it was connecting, and whether it timed out. The errors of TLS and
//! proxies are available only as text, because their types are not exported. Tests with a real proxy and a real TLS
//! server fail if these texts change.

use std::error::Error as _;
use std::io;
use std::iter;

use super::reply;
use super::reply::PROXY_LOGIN;
use super::suspicion::Failure;
use super::verdict::Verdict;
use crate::core::cause::Cause;
use crate::core::tls_fault;
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
            if error.is_timeout() {
                return Self::Silence(Cause::new("no reply in time"));
            }
            let why = chain(error);
            // With TLS 1.3, the collector may refuse our certificate after the handshake.
            let hint = Some(why.as_str()).filter(|why| why.contains(ALERT)).and_then(tls_advice);
            let cause = Cause { what: format!("no reply: {why}"), hint };
            return if is_networks(error) { Self::Silence(cause) } else { Self::Ended(cause) };
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
            Some(advice) => {
                let what = format!("cannot connect{over}: no TLS: {why}");
                Self::Refused(Cause { what, hint: Some(advice) })
            }
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

/// In the text of OpenSSL, if the other side refused us.
const ALERT: &str = "alert";

/// The remedy for a handshake that was refused, by us or by the collector; `None` if the network interrupted it.
fn tls_refusal(error: &reqwest::Error) -> Option<&'static str> {
    let tls = causes(error).find_map(|cause| cause.downcast_ref::<native_tls::Error>())?;
    if is_cut_short(tls) { None } else { tls_advice(&tls.to_string()) }
}

/// The probable remedy for a TLS error, by the text of OpenSSL.
fn tls_advice(words: &str) -> Option<&'static str> {
    const ADVICE: [(&str, &str); 11] = [
        ("alert certificate required", "it demands a client certificate: set hec.client_cert and hec.client_key"),
        ("alert handshake failure", "it may demand a client certificate: set hec.client_cert and hec.client_key"),
        ("alert certificate expired", "our certificate has expired: renew hec.client_cert"),
        ("alert unknown ca", "it does not know the issuer of our certificate: check hec.client_cert"),
        (ALERT, "it refuses our certificate or our version of TLS; its own log says why"),
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
        let text = reply::words(&tls_fault::reason(&cause.to_string()));
        if !text.starts_with("client error (") && texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
    }
    if texts.is_empty() {
        return "unknown".to_owned();
    }
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_of_the_collector_has_advice_and_is_not_mistaken_for_a_fault_of_its_certificate() {
        let advice = |words| tls_advice(words).unwrap();
        assert!(advice("tlsv13 alert certificate required").contains("set hec.client_cert"));
        assert!(advice("sslv3 alert certificate expired").contains("renew hec.client_cert"));
        assert!(advice("tlsv1 alert protocol version").contains("its own log says why"));
        assert!(advice("certificate verify failed (certificate has expired)").contains("renew the collector's"));
    }
}
