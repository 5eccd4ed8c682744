//! Endpoints: unusable settings, TLS, and addresses that move.

use std::net::SocketAddr;

use super::connections::KEEP_IDLE;
use super::*;

#[tokio::test]
async fn impossible_settings_are_errors_that_name_them() {
    let server = Server::start([]).await;
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, "no certificate").unwrap();
    let check = |change: &dyn Fn(&mut Config), expected: &str| {
        let mut config = server.config();
        change(&mut config);
        let error = Sls::new(&config).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(&|config| config.endpoint.clear(), "the endpoint is empty");
    check(&|config| config.project = "my.project".into(), "the project \"my.project\" is not a project name");
    check(&|config| config.logstore = "..".into(), "the logstore \"..\" is not a name");
    check(&|config| config.group.clear(), "the consumer group \"\" is empty");
    check(&|config| config.consumer = "a\nb".into(), "the consumer \"a\\nb\" has a control character");
    check(&|config| config.signature = Signature::V4 { region: "".into() }, "the region \"\"");
    check(&|config| config.ca_file = Some(ca_file.clone()), "it contains no PEM certificate");
    check(&|config| config.ca_file = Some(dir.path().join("none")), "No such file");
}

#[tokio::test]
async fn an_unreachable_endpoint_is_a_transient_error_that_says_what_to_check() {
    let server = Server::start([]).await;
    // The system never assigns this port to a program that asks for any port.
    let sls = Sls::new(&Config { endpoint: "127.0.0.1:9".to_owned(), ..server.config() });
    let outcome = pull(&sls.unwrap()).await;
    assert!(matches!(&outcome, Err(SourceError::Busy { cause, .. }) if cause.hint.unwrap().contains("`endpoint`")));
}

/// Answers `connections` TLS connections with an empty heartbeat each. Certificate and key serve this test alone.
fn start_tls(connections: usize) -> (u16, std::thread::JoinHandle<()>) {
    use std::io::{Read as _, Write as _};
    let (cert, key) = (include_bytes!("../test-cert.pem"), include_bytes!("../test-key.pem"));
    let identity = native_tls::Identity::from_pkcs8(cert, key).unwrap();
    let acceptor = native_tls::TlsAcceptor::new(identity).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        for _ in 0..connections {
            let (stream, _) = listener.accept().unwrap();
            // A client that does not trust the certificate closes the connection here.
            if let Ok(mut stream) = acceptor.accept(stream) {
                let mut request = [0; 4096];
                if stream.read(&mut request).is_ok_and(|length| length > 0) {
                    stream.write_all(&raw(200, &[("connection", "close")], b"[]")).unwrap();
                    let _ = stream.shutdown();
                }
            }
        }
    });
    (port, thread)
}

#[tokio::test]
async fn tls_is_verified_against_the_ca_file() {
    let (port, thread) = start_tls(2);
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, include_bytes!("../test-cert.pem")).unwrap();
    let server = Server::start([]).await;
    let distrusting = Config { endpoint: format!("https://127.0.0.1:{port}"), ..server.config() };
    let trusting = Config { ca_file: Some(ca_file), ..distrusting.clone() };
    let outcome = Sls::new(&distrusting).unwrap().heartbeat(&BTreeSet::new()).await;
    assert!(matches!(&outcome, Err(SourceError::Busy { cause, .. }) if cause.hint.unwrap().contains("`ca_file`")));
    let sls = Sls::new(&trusting).unwrap();
    assert_eq!(sls.heartbeat(&BTreeSet::new()).await.unwrap(), BTreeSet::new());
    assert!(sls.certificate_end().is_some(), "the connection has shown it");
    thread.join().unwrap();
}

#[tokio::test]
async fn an_echo_of_our_headers_does_not_show_the_token() {
    // "token: TOKEN-0123456789" in base64.
    let echo = "you sent dG9rZW46IFRPS0VOLTAxMjM0NTY3ODk= and TOKEN-0123456789";
    let server = Server::start([error(403, echo, &[])]).await;
    let token = Some(crate::core::secret::Secret::new("TOKEN-0123456789"));
    let key = AccessKey { id: "AKID".into(), secret: crate::core::secret::Secret::new("SECRET"), token };
    let sls = Sls::new(&Config { credentials: Credentials::Fixed(key), ..server.config() }).unwrap();
    let message = sls.heartbeat(&BTreeSet::new()).await.unwrap_err().to_string();
    assert!(message.contains("you sent *** and ***"), "{message}");
}

#[tokio::test]
async fn a_renewed_ca_file_is_read_again() {
    let (port, thread) = start_tls(2);
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, include_bytes!("../../../destination/hec/client/tests/tls/issuer.pem")).unwrap();
    let server = Server::start([]).await;
    let endpoint = format!("https://127.0.0.1:{port}");
    let sls = Sls::new(&Config { endpoint, ca_file: Some(ca_file.clone()), ..server.config() }).unwrap();
    check_busy(sls.heartbeat(&BTreeSet::new()).await, "certificate verify failed");
    std::fs::write(&ca_file, include_bytes!("../test-cert.pem")).unwrap();
    sls.wire.check_certificate_files().await;
    sls.heartbeat(&BTreeSet::new()).await.unwrap();
    thread.join().unwrap();
}

/// Replaces the DNS: every name resolves to the current address.
struct Dns(Mutex<Ipv4Addr>);

impl reqwest::dns::Resolve for Dns {
    fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
        // The port comes from the URL.
        let found: reqwest::dns::Addrs = Box::new(std::iter::once(SocketAddr::from((*self.0.lock().unwrap(), 0))));
        Box::pin(std::future::ready(Ok(found)))
    }
}

const OLD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const NEW: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A client of an endpoint whose name moves from one server to another, and both servers.
async fn moving(old: impl IntoIterator<Item = Answer>, keep_idle: Duration) -> (Sls, Arc<Dns>, Server, Server) {
    let old = Server::start_at((OLD, 0), old).await;
    let new = Server::start_at((NEW, old.port), vec![ok("[]"); 9]).await;
    let dns = Arc::new(Dns(Mutex::new(OLD)));
    let endpoint = format!("http://sls.test:{}", old.port);
    let config = Config { endpoint, timeout: Duration::from_millis(500), ..old.config() };
    let mut sls = Sls::new(&config).unwrap();
    let resolver = Arc::clone(&dns);
    let change = move |client: reqwest::ClientBuilder| {
        client.no_proxy().dns_resolver(Arc::clone(&resolver)).pool_idle_timeout(keep_idle)
    };
    sls.wire = Wire::with(&config, change).unwrap();
    (sls, dns, old, new)
}

#[tokio::test]
async fn f26_an_endpoint_that_moves_is_followed_when_its_old_address_closes() {
    let (sls, dns, old, new) = moving([ok("[]"), ok("[]")], KEEP_IDLE).await;
    sls.heartbeat(&BTreeSet::new()).await.unwrap();
    *dns.0.lock().unwrap() = NEW;
    drop(old);
    // The first request may use the dead connection.
    let _ = sls.heartbeat(&BTreeSet::new()).await;
    sls.heartbeat(&BTreeSet::new()).await.unwrap();
    assert!(!new.lines().is_empty());
}

#[tokio::test]
async fn f26_an_endpoint_that_moves_is_followed_when_its_old_address_becomes_silent() {
    let (sls, dns, old, new) = moving([ok("[]"), Answer::Silent], KEEP_IDLE).await;
    sls.heartbeat(&BTreeSet::new()).await.unwrap();
    *dns.0.lock().unwrap() = NEW;
    check_busy(sls.heartbeat(&BTreeSet::new()).await, "no complete reply");
    sls.heartbeat(&BTreeSet::new()).await.unwrap();
    assert_eq!((old.lines().len(), new.lines().len()), (2, 1), "a connection that hung is not used again");
}

#[tokio::test]
async fn f26_an_endpoint_that_moves_is_followed_when_its_old_address_only_refuses() {
    let gone = error(503, "ServerBusy", &[]);
    let (sls, dns, old, new) = moving([ok("[]"), gone.clone(), gone], KEEP_IDLE).await;
    sls.heartbeat(&BTreeSet::new()).await.unwrap();
    *dns.0.lock().unwrap() = NEW;
    for _ in 0..2 {
        check_busy(sls.heartbeat(&BTreeSet::new()).await, "503");
    }
    sls.heartbeat(&BTreeSet::new()).await.unwrap();
    assert_eq!((old.lines().len(), new.lines().len()), (3, 1), "an endpoint that fails is looked up again");
}

#[tokio::test]
async fn f26_an_endpoint_that_moves_is_followed_after_an_idle_connection() {
    const { assert!(KEEP_IDLE.as_secs() <= 60) };
    let idle = Duration::from_millis(200);
    let (sls, dns, old, new) = moving(vec![ok("[]"); 9], idle).await;
    sls.heartbeat(&BTreeSet::new()).await.unwrap();
    *dns.0.lock().unwrap() = NEW;
    sls.heartbeat(&BTreeSet::new()).await.unwrap();
    assert_eq!((old.lines().len(), new.lines().len()), (2, 0), "a connection in use stays");
    tokio::time::sleep(2 * idle).await;
    sls.heartbeat(&BTreeSet::new()).await.unwrap();
    assert_eq!((old.lines().len(), new.lines().len()), (2, 1));
}
