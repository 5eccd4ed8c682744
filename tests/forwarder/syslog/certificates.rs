//! Client certificates and their errors.

use std::path::{Path, PathBuf};
use std::time::Duration;

use forwarder::core::budget::SharedBudget;
use forwarder::core::state_dir::StateDir;
use forwarder::destination::syslog::{Config, Syslog, Tls, Transport, promise};
use forwarder::destination::{Destination as _, Health, Outcome};
use forwarder::emulator::syslog::{Config as Receiver, Protocol, SyslogEmulator};
use tokio::time::timeout;

use super::bench::{CERTIFICATE, KEY, batch, config, tenure};

const PATIENCE: Duration = Duration::from_secs(60);

/// The files are checked once a second, before a connection is made.
const CHECK_INTERVAL: Duration = Duration::from_millis(1_100);

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/forwarder/syslog/tls").join(name)
}

/// A receiver that requires a certificate of the issuer, and the settings of a client with this one.
async fn demanding(protocol: Protocol, shown: Option<&str>) -> (SyslogEmulator, Config) {
    let receiver = SyslogEmulator::start(Receiver {
        identity: Some((CERTIFICATE.to_vec(), KEY.to_vec())),
        client_ca: Some(std::fs::read(file("issuer.pem")).unwrap()),
        ..Receiver::new(protocol)
    });
    let receiver = receiver.await.unwrap();
    let mut config = config(protocol, &[&receiver]);
    let (Transport::Tls(tls) | Transport::Relp(Some(tls))) = &mut config.transport else { panic!("no TLS") };
    tls.client_cert = shown.map(|name| (file(name), file("client.key")));
    (receiver, config)
}

#[tokio::test]
async fn a_valid_client_certificate_is_accepted() {
    for protocol in [Protocol::Tls, Protocol::RelpTls] {
        let (receiver, config) = demanding(protocol, Some("client.pem")).await;
        let sink = Syslog::new(&config, StateDir::none(), SharedBudget::new(64 << 20)).unwrap();
        sink.check().await.unwrap();
        assert_eq!(sink.deliver(batch(0, 0..100), tenure().1).await, Outcome::Done(vec![]));
        assert_eq!(receiver.counts().messages, 100);
        assert_ne!(sink.promise(), promise::WRITTEN);
        let ends = sink.certificates();
        assert!(ends.server.is_some() && ends.ours.is_some(), "{ends:?}");
    }
}

/// No event is delivered; the check and the health have the remedy.
async fn refused(protocol: Protocol, shown: Option<&str>, advice: &str) {
    let (receiver, config) = demanding(protocol, shown).await;
    let sink = Syslog::new(&config, StateDir::none(), SharedBudget::new(64 << 20)).unwrap();
    let error = sink.check().await.unwrap_err().to_string();
    assert!(error.contains(advice), "{protocol:?}, {shown:?}: {error}");

    // A destination that has not been checked before detects it at delivery.
    let sink = Syslog::new(&config, StateDir::none(), SharedBudget::new(64 << 20)).unwrap();
    let (_stopper, tenure) = tenure();
    let delivery = sink.deliver(batch(0, 0..100), tenure);
    let known = async {
        loop {
            match sink.health() {
                Health::Refusing { cause, .. } if cause.contains(advice) => return,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::select! {
        outcome = delivery => panic!("{outcome:?}"),
        known = timeout(PATIENCE, known) => known.unwrap_or_else(|_| panic!("{:?}", sink.health())),
    }
    assert_eq!(receiver.counts().read, 0);
}

#[tokio::test]
async fn without_a_client_certificate_the_error_says_that_the_receiver_requires_one() {
    for protocol in [Protocol::Tls, Protocol::RelpTls] {
        refused(protocol, None, "set syslog.client_cert and syslog.client_key").await;
    }
}

#[tokio::test]
async fn an_untrusted_and_an_expired_certificate_are_reported_differently() {
    for protocol in [Protocol::Tls, Protocol::RelpTls] {
        refused(protocol, Some("stranger.pem"), "it does not know the issuer of our certificate").await;
        refused(protocol, Some("expired.pem"), "our certificate has expired").await;
    }
}

/// The error for the receiver's certificate, which is valid for `localhost` only and has an unknown issuer.
async fn distrusted(tls: Tls, host: &str, advice: &str) {
    let (_receiver, mut config) = demanding(Protocol::Tls, None).await;
    config.transport = Transport::Tls(Tls { verify: true, ..tls });
    host.clone_into(&mut config.targets[0].host);
    let sink = Syslog::new(&config, StateDir::none(), SharedBudget::new(64 << 20)).unwrap();
    let error = sink.check().await.unwrap_err().to_string();
    assert!(error.contains(advice), "{error}");
    assert!(matches!(sink.health(), Health::Refusing { .. }));
}

#[tokio::test]
async fn an_untrusted_certificate_is_reported_with_a_remedy() {
    let none = Tls { verify: true, ca_file: None, client_cert: None, server_name: None };
    let issuer = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/destination/hec/client/tests/tls/issuer.pem");
    let known = Tls { ca_file: Some(issuer), ..none.clone() };
    distrusted(none, "localhost", "set syslog.ca_file to the certificate of its issuer").await;
    distrusted(known, "127.0.0.1", "set syslog.server_name to one that it has").await;
}

#[tokio::test]
async fn a_renewed_client_certificate_is_used_without_a_restart() {
    for protocol in [Protocol::Tls, Protocol::RelpTls] {
        let (receiver, mut config) = demanding(protocol, None).await;
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("cert.key"));
        std::fs::copy(file("expired.pem"), &certificate).unwrap();
        std::fs::copy(file("client.key"), &key).unwrap();
        let (Transport::Tls(tls) | Transport::Relp(Some(tls))) = &mut config.transport else { panic!("no TLS") };
        tls.client_cert = Some((certificate.clone(), key.clone()));
        let sink = Syslog::new(&config, StateDir::none(), SharedBudget::new(64 << 20)).unwrap();
        let (_stopper, tenure) = tenure();
        let mut delivery = Box::pin(sink.deliver(batch(0, 0..100), tenure));
        let refused = async {
            while !matches!(sink.health(), Health::Refusing { cause, .. } if cause.contains("our certificate has expired"))
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            outcome = &mut delivery => panic!("{outcome:?}"),
            refused = timeout(PATIENCE, refused) => refused.unwrap_or_else(|_| panic!("{:?}", sink.health())),
        }
        std::fs::copy(file("client.pem"), &certificate).unwrap();
        let outcome = timeout(3 * PATIENCE, delivery).await.unwrap_or_else(|_| panic!("{:?}", sink.health()));
        assert_eq!((outcome, receiver.counts().messages), (Outcome::Done(vec![]), 100));

        // A certificate without its key is not used, and the receiver accepts the previous one.
        std::fs::write(&certificate, CERTIFICATE).unwrap();
        for _ in 0..2 {
            tokio::time::sleep(CHECK_INTERVAL).await;
            sink.check().await.unwrap();
        }
        // With its key it is used, and refused because its issuer is unknown.
        std::fs::write(&key, KEY).unwrap();
        let refused = async { while sink.check().await.is_ok() {} };
        timeout(PATIENCE, refused).await.unwrap();
    }
}
