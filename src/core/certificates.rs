//! When the certificates of a destination or of SLS end: the server's as it showed it, and our own.

use std::sync::{Mutex, MutexGuard, PoisonError};

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::x509::X509;

const DAY: i64 = 86_400;

/// Unix seconds at which certificates end, as far as they are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CertificateEnds {
    /// The server's.
    pub server: Option<i64>,
    /// Our own, which the server asks for.
    pub ours: Option<i64>,
}

impl CertificateEnds {
    /// The earlier of both, for servers that stand for each other.
    #[must_use]
    pub fn earliest(self, other: Self) -> Self {
        let earliest = |one: Option<i64>, other: Option<i64>| one.into_iter().chain(other).min();
        Self { server: earliest(self.server, other.server), ours: earliest(self.ours, other.ours) }
    }
}

/// What the connections to one server learn of its certificate, and which of ours they show. No connection is made for it.
#[derive(Debug, Default)]
pub struct Certificates(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The certificate that the server showed last, DER: the same one is not read twice.
    shown: Vec<u8>,
    ends: CertificateEnds,
}

impl Certificates {
    /// The server showed this certificate, DER.
    pub fn shows(&self, der: &[u8]) {
        let mut known = self.known();
        if known.shown != der {
            known.ends.server = X509::from_der(der).ok().and_then(|shown| unix(shown.not_after()));
            known.shown = der.to_vec();
        }
    }

    /// We show this certificate, PEM, with its issuers behind it; or none.
    pub fn uses(&self, pem: Option<&[u8]>) {
        self.known().ends.ours = pem.and_then(|pem| X509::from_pem(pem).ok()).and_then(|ours| unix(ours.not_after()));
    }

    /// When they end.
    #[must_use]
    pub fn ends(&self) -> CertificateEnds {
        self.known().ends
    }

    /// Every writer leaves it whole.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unix(time: &Asn1TimeRef) -> Option<i64> {
    let since = Asn1Time::from_unix(0).ok()?.diff(time).ok()?;
    Some(i64::from(since.days) * DAY + i64::from(since.secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &[u8] = include_bytes!("../destination/hec/client/tests/tls/server.pem");
    const CLIENT: &[u8] = include_bytes!("../../tests/forwarder/syslog/tls/client.pem");

    fn end_of(pem: &[u8]) -> i64 {
        let text = X509::from_pem(pem).unwrap().not_after().to_string();
        let end = jiff::fmt::strtime::parse("%b %d %H:%M:%S %Y GMT", &text).unwrap().to_datetime().unwrap();
        end.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second()
    }

    #[test]
    fn the_ends_of_both_certificates_are_known_and_follow_a_renewal() {
        let certificates = Certificates::default();
        assert_eq!(certificates.ends(), CertificateEnds::default());
        let der = |pem| X509::from_pem(pem).unwrap().to_der().unwrap();
        certificates.shows(&der(SERVER));
        certificates.uses(Some(CLIENT));
        let both = CertificateEnds { server: Some(end_of(SERVER)), ours: Some(end_of(CLIENT)) };
        assert_eq!(certificates.ends(), both);
        certificates.shows(&der(CLIENT));
        certificates.uses(None);
        assert_eq!(certificates.ends(), CertificateEnds { server: Some(end_of(CLIENT)), ours: None });
        certificates.shows(b"no certificate");
        assert_eq!(certificates.ends().server, None);
    }

    #[test]
    fn of_several_servers_the_first_end_counts() {
        let ends = |server, ours| CertificateEnds { server, ours };
        assert_eq!(ends(Some(5), None).earliest(ends(Some(3), Some(9))), ends(Some(3), Some(9)));
        assert_eq!(ends(None, None).earliest(ends(None, None)), ends(None, None));
    }
}
