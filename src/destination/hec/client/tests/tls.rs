//! The certificates that the client trusts.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread::JoinHandle;

use super::*;
use crate::core::certificates::{CertificateEnds, Certificates};

const ISSUER: &[u8] = include_bytes!("tls/issuer.pem");
const CERTIFICATE: &[u8] = include_bytes!("tls/server.pem");
const KEY: &[u8] = include_bytes!("tls/server.key");

/// A collector behind TLS that accepts one connection; joined at the end of the test.
struct TlsCollector {
    port: u16,
    thread: JoinHandle<bool>,
}

impl TlsCollector {
    /// Answers one request with "no data", as Splunk answers an empty one.
    fn start() -> Self {
        Self::with(CERTIFICATE, KEY)
    }

    /// The same with this certificate.
    fn with(certificate: &[u8], key: &[u8]) -> Self {
        let identity = native_tls::Identity::from_pkcs8(certificate, key).unwrap();
        let acceptor = native_tls::TlsAcceptor::new(identity).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let Ok(mut stream) = acceptor.accept(stream) else {
                return false;
            };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read_exact(&mut byte).is_err() {
                    return false;
                }
                head.push(byte[0]);
            }
            let body = r#"{"text":"No data","code":5}"#;
            write!(stream, "HTTP/1.1 400 X\r\nContent-Length: {}\r\n\r\n{body}", body.len()).is_ok()
        });
        Self { port, thread }
    }

    /// Whether the client sent a request, and the result of its check.
    async fn check(self, host: &str, change: impl FnOnce(&mut Config)) -> (bool, Result<Checked, CheckError>) {
        let (asked, checked, _) = self.check_with_certificates(host, change).await;
        (asked, checked)
    }

    /// The same, and when the certificates expire.
    async fn check_with_certificates(
        self,
        host: &str,
        change: impl FnOnce(&mut Config),
    ) -> (bool, Result<Checked, CheckError>, CertificateEnds) {
        let mut config = config(&format!("https://{host}:{}", self.port));
        config.timeout = LONG;
        config.connect_timeout = LONG;
        change(&mut config);
        let hec = Hec::with(&config, QUICK, LookUp::system()).unwrap();
        let checked = hec.check().await;
        (self.thread.join().unwrap(), checked, hec.certificates())
    }
}

fn pem(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

#[tokio::test]
async fn a_server_with_an_untrusted_issuer_gets_no_token() {
    let (asked, checked) = TlsCollector::start().check("localhost", |_| {}).await;
    assert!(!asked);
    let Err(CheckError::Refused(cause)) = checked else { panic!("{checked:?}") };
    assert_eq!(cause.what.split_once(" (").unwrap().0, "cannot connect: no TLS: certificate verify failed", "{cause}");
    assert!(cause.hint.is_some_and(|hint| hint.contains("hec.ca_file")), "{cause}");
}

#[tokio::test]
async fn an_issuer_from_the_ca_file_is_trusted() {
    let issuer = pem(ISSUER);
    let trust = |config: &mut Config| config.ca_file = Some(issuer.path().to_owned());
    let (asked, checked) = TlsCollector::start().check("localhost", trust).await;
    assert!(asked && checked.is_ok(), "{checked:?}");
}

#[tokio::test]
async fn the_connection_reports_when_the_certificates_expire() {
    let (issuer, certificate, key) = (pem(ISSUER), pem(OTHER_CERTIFICATE), pem(OTHER_KEY));
    let trust = |config: &mut Config| {
        config.ca_file = Some(issuer.path().to_owned());
        config.client_cert = Some((certificate.path().to_owned(), key.path().to_owned()));
    };
    let (_, _, ends) = TlsCollector::start().check_with_certificates("localhost", trust).await;
    let (server, ours) = (Certificates::default(), Certificates::default());
    server.uses(Some(CERTIFICATE));
    ours.uses(Some(OTHER_CERTIFICATE));
    assert_eq!(ends, CertificateEnds { server: server.ends().ours, ours: ours.ends().ours });
    assert!(ends.server.is_some() && ends.ours.is_some(), "{ends:?}");
}

#[tokio::test]
async fn of_several_collectors_the_certificate_that_expires_first_counts_wherever_it_stands() {
    let (sooner, later) = (self_signed(30), self_signed(60));
    let end = |pair: &(Vec<u8>, Vec<u8>)| {
        let certificates = Certificates::default();
        certificates.uses(Some(&pair.0));
        certificates.ends().ours
    };
    for order in [[&later, &sooner, &later], [&sooner, &later, &later], [&later, &later, &sooner]] {
        let collectors = order.map(|(certificate, key)| TlsCollector::with(certificate, key));
        let trusted = pem(&[sooner.0.as_slice(), later.0.as_slice()].concat());
        let member = |collector: &TlsCollector| {
            let url = format!("https://localhost:{}", collector.port);
            MemberConfig { url, weight: 1 }
        };
        let mut config = config("https://localhost");
        config.members = collectors.iter().map(member).collect();
        config.ca_file = Some(trusted.path().to_owned());
        (config.timeout, config.connect_timeout) = (LONG, LONG);
        let hec = Hec::with(&config, QUICK, LookUp::system()).unwrap();
        for member in hec.members().iter() {
            member.check().await.unwrap();
        }
        assert!(collectors.into_iter().all(|collector| collector.thread.join().unwrap()));
        assert_eq!(hec.certificates(), CertificateEnds { server: end(&sooner), ours: None });
    }
}

/// A certificate for `localhost` that is valid for this many days, and its key.
fn self_signed(days: u32) -> (Vec<u8>, Vec<u8>) {
    use openssl::asn1::Asn1Time;
    use openssl::hash::MessageDigest;
    use openssl::pkey::PKey;
    use openssl::x509::extension::SubjectAlternativeName;
    use openssl::x509::{X509Builder, X509NameBuilder};

    let key = PKey::private_key_from_pem(KEY).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    // The issuers in the file of trusted ones are told apart by their names.
    name.append_entry_by_text("CN", &format!("localhost for {days} days")).unwrap();
    let name = name.build();
    let mut certificate = X509Builder::new().unwrap();
    certificate.set_version(2).unwrap();
    certificate.set_subject_name(&name).unwrap();
    certificate.set_issuer_name(&name).unwrap();
    certificate.set_pubkey(&key).unwrap();
    certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::days_from_now(days).unwrap()).unwrap();
    let names = SubjectAlternativeName::new().dns("localhost").build(&certificate.x509v3_context(None, None)).unwrap();
    certificate.append_extension(names).unwrap();
    certificate.sign(&key, MessageDigest::sha256()).unwrap();
    (certificate.build().to_pem().unwrap(), KEY.to_vec())
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let issuer = pem(ISSUER);
    let trust = |config: &mut Config| config.ca_file = Some(issuer.path().to_owned());
    // The same collector under a name that is not in its certificate.
    let (asked, checked) = TlsCollector::start().check("127.0.0.1", trust).await;
    let Err(CheckError::Refused(cause)) = checked else { panic!("{checked:?}") };
    assert!(!asked && cause.hint.is_some_and(|hint| hint.contains("use a host name that is in it")), "{cause}");
}

#[tokio::test]
async fn tls_verifies_the_name_even_when_each_address_is_a_member() {
    let issuer = pem(ISSUER);
    for (name, is_in_certificate) in [("localhost", true), ("splunk.test", false)] {
        let collector = TlsCollector::start();
        let config = Config {
            timeout: LONG,
            connect_timeout: LONG,
            ca_file: Some(issuer.path().to_owned()),
            ..config(&format!("https://{name}:{}", collector.port))
        };
        // The second address has no listener.
        let look_up = LookUp::new(|_| Box::pin(async { Ok(vec![[127, 0, 0, 1].into(), [127, 9, 9, 9].into()]) }));
        let hec = Hec::with(&config, QUICK, look_up).unwrap();
        let checked = hec.check().await;
        assert_eq!(collector.thread.join().unwrap(), is_in_certificate, "{name}: {checked:?}");
        match checked {
            Ok(checked) => assert!(checked.url.ends_with(" at 127.0.0.1"), "{checked:?}"),
            Err(error) => {
                let CheckError::Refused(cause) = error else { panic!("{error:?}") };
                assert!(cause.hint.is_some_and(|hint| hint.contains("use a host name that is in it")), "{cause}");
            }
        }
    }
}

#[tokio::test]
async fn a_refused_certificate_pauses_delivery_until_something_is_changed() {
    let collector = TlsCollector::start();
    let hec = hec_with(&Config {
        timeout: LONG,
        connect_timeout: LONG,
        ..config(&format!("https://localhost:{}", collector.port))
    });
    let (stopper, tenure) = tenure();
    let watch = async {
        while matches!(hec.health(), Health::Unknown) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let Health::Refusing { cause, .. } = hec.health() else { panic!("{:?}", hec.health()) };
        assert!(cause.contains("certificate verify failed") && cause.contains("hec.ca_file"), "{cause}");
        stopper.raise();
    };
    let (outcome, ()) = tokio::join!(hec.deliver(batch(1), tenure), watch);
    assert_eq!(outcome, Outcome::Abandoned);
    collector.thread.join().unwrap();
}

#[tokio::test]
async fn plain_text_in_place_of_tls_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let plain = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        let _ = stream.read(&mut [0; 1_000]);
    });
    let config = Config { timeout: LONG, connect_timeout: LONG, ..config(&format!("https://localhost:{port}")) };
    let checked = hec_with(&config).check().await;
    let Err(CheckError::Refused(cause)) = checked else { panic!("{checked:?}") };
    assert_eq!(cause.what, "cannot connect: no TLS: wrong version number");
    assert!(cause.hint.is_some_and(|hint| hint.contains("does not speak TLS on this port: write http://")), "{cause}");
    plain.join().unwrap();
}

#[tokio::test]
async fn a_handshake_that_is_cut_short_is_an_outage() {
    for reset in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // Unread data turns the close into a reset.
            let _ = stream.read(&mut vec![0; if reset { 1 } else { 10_000 }]);
        });
        let config = Config { timeout: LONG, connect_timeout: LONG, ..config(&format!("https://localhost:{port}")) };
        let checked = hec_with(&config).check().await;
        assert!(matches!(checked, Err(CheckError::Down(_))), "{checked:?}");
        cut.join().unwrap();
    }
}

#[tokio::test]
async fn verification_is_off_only_when_the_settings_say_so() {
    let (asked, checked) = TlsCollector::start().check("localhost", |config| config.verify = false).await;
    assert!(asked && checked.is_ok(), "{checked:?}");
}

#[test]
fn a_client_certificate_and_its_key_are_read() {
    let (certificate, key) = (pem(CERTIFICATE), pem(KEY));
    let client_cert = Some((certificate.path().to_owned(), key.path().to_owned()));
    let config = Config { client_cert, ..config("https://splunk.example:8088") };
    assert!(Hec::new(&config).is_ok());
}

const OTHER_CERTIFICATE: &[u8] = include_bytes!("../../../../../tests/forwarder/syslog/tls/client.pem");
const OTHER_KEY: &[u8] = include_bytes!("../../../../../tests/forwarder/syslog/tls/client.key");

/// A collector that requests a certificate, accepts any, and reports the subject of each. It accepts `connections`.
#[cfg(feature = "emulator")]
fn demanding(connections: usize) -> (u16, JoinHandle<Vec<String>>) {
    use openssl::nid::Nid;
    use openssl::pkey::PKey;
    use openssl::ssl::{SslAcceptor, SslMethod, SslVerifyMode};
    use openssl::x509::X509;

    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    acceptor.set_certificate(&X509::from_pem(CERTIFICATE).unwrap()).unwrap();
    acceptor.set_private_key(&PKey::private_key_from_pem(KEY).unwrap()).unwrap();
    acceptor.set_verify_callback(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT, |_, _| true);
    // A resumed session would show the certificate of the previous one.
    acceptor.set_session_id_context(b"test").unwrap();
    let acceptor = acceptor.build();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let mut shown = Vec::new();
        for _ in 0..connections {
            let (stream, _) = listener.accept().unwrap();
            let Ok(mut stream) = acceptor.accept(stream) else {
                shown.push("hung up".to_owned());
                continue;
            };
            let peer = stream.ssl().peer_certificate().unwrap();
            let name = peer.subject_name().entries_by_nid(Nid::COMMONNAME).next().unwrap().data().to_string();
            shown.push(name.unwrap());
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let body = r#"{"text":"No data","code":5}"#;
            let length = body.len();
            write!(stream, "HTTP/1.1 400 X\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
            let _ = stream.shutdown();
        }
        shown
    });
    (port, thread)
}

#[cfg(feature = "emulator")]
#[tokio::test]
async fn renewed_certificates_are_used_but_half_a_pair_is_not() {
    let (_log, lines) = log();
    let (port, collector) = demanding(5);
    let (issuer, certificate, key) = (pem(b""), pem(OTHER_CERTIFICATE), pem(OTHER_KEY));
    std::fs::write(issuer.path(), OTHER_CERTIFICATE).unwrap();
    let mut config = config(&format!("https://localhost:{port}"));
    (config.timeout, config.connect_timeout) = (LONG, LONG);
    config.ca_file = Some(issuer.path().to_owned());
    config.client_cert = Some((certificate.path().to_owned(), key.path().to_owned()));
    let hec = Hec::with(&config, QUICK, LookUp::system()).unwrap();
    let ask = async || {
        hec.members()[0].endpoint.check_certificate_files().await;
        hec.check().await.is_ok()
    };
    assert!(!ask().await, "its issuer is not in the file yet");
    std::fs::write(issuer.path(), ISSUER).unwrap();
    assert!(ask().await);
    // The new certificate is there, but not its key.
    std::fs::write(certificate.path(), CERTIFICATE).unwrap();
    assert!(ask().await && ask().await);
    assert_eq!(lines.text().matches("key values mismatch").count(), 1, "{}", lines.text());
    std::fs::write(key.path(), KEY).unwrap();
    assert!(ask().await);
    assert_eq!(collector.join().unwrap(), ["hung up", "forwarder", "forwarder", "forwarder", "localhost"]);
}
