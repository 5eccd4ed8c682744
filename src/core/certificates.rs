//! Expiry times of the certificates of a connection to a destination or to SLS: the server's and our own.

use std::sync::{Mutex, MutexGuard, PoisonError};

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::x509::X509;

const DAY: i64 = 86_400;

/// Expiry times in unix seconds, as far as known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CertificateEnds {
    /// Of the server's certificate.
    pub server: Option<i64>,
    /// Of our client certificate, if there is one.
    pub ours: Option<i64>,
}

impl CertificateEnds {
    /// The earlier time of each, for servers that are used interchangeably.
    #[must_use]
    pub fn earliest(self, other: Self) -> Self {
        let earliest = |one: Option<i64>, other: Option<i64>| one.into_iter().chain(other).min();
        Self { server: earliest(self.server, other.server), ours: earliest(self.ours, other.ours) }
    }
}

/// Collects the certificates of the connections to one server. It opens no connections itself.
#[derive(Debug, Default)]
pub struct Certificates(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The last server certificate, DER. The same certificate is not parsed twice.
    shown: Vec<u8>,
    ends: CertificateEnds,
}

impl Certificates {
    /// The server presented this certificate (DER).
    pub fn shows(&self, der: &[u8]) {
        let mut known = self.known();
        if known.shown != der {
            known.ends.server = X509::from_der(der).ok().and_then(|shown| unix(shown.not_after()));
            known.shown = der.to_vec();
        }
    }

    /// We present this certificate (PEM, followed by its issuers); `None` if we present none.
    pub fn uses(&self, pem: Option<&[u8]>) {
        self.known().ends.ours = pem.and_then(|pem| X509::from_pem(pem).ok()).and_then(|ours| unix(ours.not_after()));
    }

    /// The expiry times.
    #[must_use]
    pub fn ends(&self) -> CertificateEnds {
        self.known().ends
    }

    /// A poisoned lock is usable: every writer leaves the state complete.
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
    fn the_expiry_of_both_certificates_is_known_and_follows_a_renewal() {
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
    fn the_earliest_expiry_of_several_servers_counts() {
        let ends = |server, ours| CertificateEnds { server, ours };
        assert_eq!(ends(Some(5), None).earliest(ends(Some(3), Some(9))), ends(Some(3), Some(9)));
        assert_eq!(ends(None, None).earliest(ends(None, None)), ends(None, None));
    }
}
