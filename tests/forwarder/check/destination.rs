//! Faults of Splunk and of syslog receivers, and of the way there.

use forwarder::emulator::hec::{HecFault, On};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_splunk_and_of_the_way_there_is_named_with_its_fix() {
    let mut wrongs = Wrongs::default();
    let mut site = Site::new().await;
    let good = site.hec.url();
    site.set("FORWARDER_HEC_URL", format!("http://{CLOSED}"));
    wrongs.found("a closed port", &site.check().await, "fail", "nothing listens at", "hec.url", 69);
    site.set("FORWARDER_HEC_URL", "http://no-such-host.invalid:8088");
    wrongs.found("an unknown name", &site.check().await, "fail", "no-such-host.invalid", "hec.url", 69);
    site.set("FORWARDER_HEC_URL", good.replace("http:", "https:"));
    wrongs.found("no TLS", &site.check().await, "fail", "no TLS at", "write http://", 2);
    let page = site.answers(Some(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")).await;
    site.set("FORWARDER_HEC_URL", format!("http://{page}"));
    wrongs.found("a web server", &site.check().await, "fail", "not from a collector", "check the URL", 69);
    let silent = site.answers(None).await;
    site.set("FORWARDER_HEC_URL", format!("http://{silent}"));
    wrongs.found("silence", &site.check().await, "fail", "no reply in time", "", 69);

    site.set("FORWARDER_HEC_URL", good.clone());
    site.set("FORWARDER_HEC_TOKEN", "another");
    wrongs.found("a wrong token", &site.check().await, "fail", "Invalid token", "the token is wrong", 2);
    site.set("FORWARDER_HEC_TOKEN", TOKEN);
    for (name, fault, what, code) in [
        ("a disabled token", HecFault::token_disabled(), "403", 2),
        ("a busy Splunk", HecFault::busy(), "503", 69),
        ("a redirect", HecFault::redirect("http://elsewhere/"), "307", 2),
    ] {
        site.hec.faults().during(On::All, fault, HOUR);
        wrongs.found(name, &site.check().await, "fail", what, "", code);
        site.hec.faults().clear();
    }

    site.set("FORWARDER_HEC_PROXY", format!("http://{CLOSED}"));
    wrongs.found("no proxy", &site.check().await, "fail", "the proxy http://127.0.0.1:", "hec.proxy", 69);
    let proxy = site.answers(Some(b"HTTP/1.1 407 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")).await;
    site.set("FORWARDER_HEC_PROXY", format!("http://{proxy}"));
    site.set("FORWARDER_HEC_URL", "https://splunk.invalid:8088");
    wrongs.found(
        "a proxy with a password",
        &site.check().await,
        "fail",
        &format!("through the proxy http://{proxy}"),
        "https_proxy",
        2,
    );
    wrongs.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_a_syslog_receiver_is_named_with_its_fix() {
    let mut wrongs = Wrongs::default();
    let mut site = Site::new().await;
    site.over_syslog(CLOSED, "tcp");
    wrongs.found("a closed port", &site.check().await, "fail", "nothing listens at", "syslog.port", 69);
    site.over_syslog("no-such-host.invalid:514", "udp");
    wrongs.found("an unknown name", &site.check().await, "fail", "no-such-host.invalid", "syslog.host", 69);
    site.receiver(Receiver::new(Protocol::Tcp), "tls").await;
    wrongs.found("no TLS", &site.check().await, "fail", "no TLS at", "write protocol = \"tcp\", or name", 2);

    let server = || Receiver { identity: Some((CERTIFICATE.to_vec(), KEY.to_vec())), ..Receiver::new(Protocol::Tls) };
    site.receiver(server(), "tls").await;
    wrongs.found(
        "an unknown issuer",
        &site.check().await,
        "fail",
        "certificate verify failed",
        "set syslog.ca_file",
        2,
    );
    site.set("FORWARDER_SYSLOG_CA_FILE", trusted());
    site.set("FORWARDER_SYSLOG_SERVER_NAME", "other.example");
    wrongs.found("another name", &site.check().await, "fail", "mismatch", "set syslog.server_name", 2);
    site.set("FORWARDER_SYSLOG_SERVER_NAME", "");
    let client_ca = Some(fs::read(certificate("issuer.pem")).unwrap());
    site.receiver(Receiver { client_ca, ..server() }, "tls").await;
    wrongs.found("a certificate is demanded", &site.check().await, "fail", "no TLS", "set syslog.client_cert", 2);

    let expired = (fs::read(certificate("expired.pem")).unwrap(), fs::read(certificate("client.key")).unwrap());
    site.receiver(Receiver { identity: Some(expired), ..Receiver::new(Protocol::Tls) }, "tls").await;
    wrongs.found(
        "an expired certificate",
        &site.check().await,
        "fail",
        "it expired",
        "renew the server's certificate",
        2,
    );

    let soon = certificate_for(5);
    let authority = site.write("soon.pem", &soon.0);
    site.set("FORWARDER_SYSLOG_CA_FILE", authority);
    site.receiver(Receiver { identity: Some(soon), ..Receiver::new(Protocol::Tls) }, "tls").await;
    let found = site.check().await;
    wrongs.found("a certificate that expires", &found, "warn", "; it expires in ", "renew the server's certificate", 0);

    let mut site = Site::new().await;
    site.environment.remove("FORWARDER_HEC_URL");
    site.environment.remove("FORWARDER_HEC_TOKEN");
    site.set("FORWARDER_FILE_PATH", "t.lua/events.jsonl");
    wrongs.found(
        "a file below a file",
        &site.check().await,
        "fail",
        "file.path t.lua/events.jsonl",
        "set file.path",
        2,
    );
    wrongs.end();
}
