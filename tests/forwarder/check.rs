//! `forwarder check` with emulators and small servers: each fault is named with its fix, and a valid setup raises no
//! alarm.

mod destination;
mod host;
mod source;
mod valid;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use forwarder::core::secret::Secret;
use forwarder::emulator::hec::HecEmulator;
use forwarder::emulator::sls::{Call, SlsEmulator, SlsFault};
use forwarder::emulator::syslog::{Config as Receiver, Protocol, SyslogEmulator};
use forwarder::emulator::{hec, sls};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509Name};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const CERTIFICATE: &[u8] = include_bytes!("../../src/destination/hec/client/tests/tls/server.pem");
const KEY: &[u8] = include_bytes!("../../src/destination/hec/client/tests/tls/server.key");

const PROJECT: &str = "p";
const LOGSTORE: &str = "l";
const TOKEN: &str = "c4n4ry-hec-token";
const SECRET: &str = "c4n4ry-key-secret";
/// An address without a listener: the system never assigns this port to a program that asks for any port.
const CLOSED: &str = "127.0.0.1:9";
/// Every fault is named within this time.
const PATIENCE: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(3600);

/// An SLS, a Splunk and a directory: a valid setup until a fault is planted.
struct Site {
    directory: TempDir,
    sls: SlsEmulator,
    hec: HecEmulator,
    environment: BTreeMap<String, String>,
    /// Other servers, which run as long as the site exists.
    others: Vec<tokio::task::JoinHandle<()>>,
    receivers: Vec<SyslogEmulator>,
}

impl Site {
    async fn new() -> Self {
        let keys = Some(("key-id".to_owned(), Secret::new(SECRET)));
        let logstores = [(PROJECT, LOGSTORE), ("q", "m")];
        let logstores = logstores.map(|(project, logstore)| (project.to_owned(), logstore.to_owned())).to_vec();
        let sls = SlsEmulator::start(sls::Config { keys, logstores, ..sls::Config::default() }).await.unwrap();
        let hec = HecEmulator::start(hec::Config::new(Secret::new(TOKEN))).await.unwrap();
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("t.lua"), "function process(log) return { event = log } end\n").unwrap();
        let endpoint = format!("http://{}", sls.address());
        let environment = [
            ("SLS_ENDPOINT", endpoint.as_str()),
            ("SLS_PROJECT", PROJECT),
            ("SLS_LOGSTORE", LOGSTORE),
            ("SLS_CG", "siem"),
            ("SLS_AK_ID", "key-id"),
            ("SLS_AK_KEY", SECRET),
            ("FORWARDER_SCRIPT", "t.lua"),
            ("FORWARDER_HEC_URL", &hec.url()),
            ("FORWARDER_HEC_TOKEN", TOKEN),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self { directory, sls, hec, environment, others: Vec::new(), receivers: Vec::new() }
    }

    fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.insert(name.to_owned(), value.into());
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.directory.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn deny(&self, call: Call) {
        let denied = SlsFault::status(401, "Unauthorized", "denied by sts or ram, action: x, resource: y");
        self.sls.faults().next(call, denied, u32::MAX);
    }

    fn refuse(&self, call: Call, status: u16, code: &str) {
        self.sls.faults().next(call, SlsFault::status(status, code, "no"), u32::MAX);
    }

    /// A server that answers every connection with these bytes, or never; returns its address.
    async fn answers(&mut self, with: Option<&'static [u8]>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        self.others.push(tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                match with {
                    Some(bytes) => {
                        let _ = stream.read(&mut [0; 4_096]).await;
                        let _ = stream.write_all(bytes).await;
                    }
                    None => open.push(stream),
                }
            }
        }));
        address
    }

    /// Uses syslog instead of Splunk.
    fn over_syslog(&mut self, address: &str, protocol: &str) {
        let (host, port) = address.rsplit_once(':').unwrap();
        self.environment.remove("FORWARDER_HEC_URL");
        self.environment.remove("FORWARDER_HEC_TOKEN");
        self.set("FORWARDER_SYSLOG_HOST", host);
        self.set("FORWARDER_SYSLOG_PORT", port);
        self.set("FORWARDER_SYSLOG_PROTOCOL", protocol);
    }

    async fn receiver(&mut self, config: Receiver, protocol: &str) {
        let receiver = SyslogEmulator::start(config).await.unwrap();
        let address = receiver.address().to_string().replace("127.0.0.1", "localhost");
        self.receivers.push(receiver);
        self.over_syslog(&address, protocol);
    }

    /// The exit code and the findings.
    async fn check(&self) -> (i32, Vec<Value>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forwarder"));
        command.args(["check", "--json"]).env_clear().envs(&self.environment).current_dir(self.directory.path());
        let began = Instant::now();
        let output = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output().unwrap()).await.unwrap();
        let took = began.elapsed();
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
        for secret in [TOKEN, SECRET] {
            assert!(!text.contains(secret), "{text}");
        }
        assert!(took < PATIENCE, "it took {took:?}: {text}");
        let report: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let code = output.status.code().unwrap();
        assert_eq!(report["exit_code"], code, "{text}");
        (code, report["findings"].as_array().unwrap().clone())
    }
}

/// Missing findings, collected so that one run shows all of them.
#[derive(Default)]
struct Wrongs(Vec<String>);

impl Wrongs {
    /// Expects a finding with these words, this fix and this exit code.
    fn found(&mut self, name: &str, found: &(i32, Vec<Value>), level: &str, what: &str, fix: &str, expected: i32) {
        let (code, findings) = found;
        let has = |finding: &Value, key: &str, part: &str| finding[key].as_str().unwrap_or_default().contains(part);
        let is_it =
            |finding: &Value| finding["level"] == level && has(finding, "what", what) && has(finding, "fix", fix);
        if !findings.iter().any(is_it) || *code != expected {
            let all: Vec<_> = findings
                .iter()
                .map(Value::to_string)
                .filter(|line| !line.contains("\"settings\",\"level\":\"ok"))
                .collect();
            self.0.push(format!(
                "{name}: {level} with {what:?} and {fix:?}, code {expected}; got {code} and\n{}",
                all.join("\n")
            ));
        }
    }

    /// Expects no alarm.
    fn sound(&mut self, name: &str, (code, findings): &(i32, Vec<Value>)) {
        let is_alarm = |finding: &&Value| finding["level"] == "warn" || finding["level"] == "fail";
        let alarms: Vec<_> = findings.iter().filter(is_alarm).map(Value::to_string).collect();
        if !alarms.is_empty() || *code != 0 || findings.len() < 15 {
            self.0.push(format!("{name}: {code}, {} findings, {}", findings.len(), alarms.join("\n")));
        }
    }

    fn end(self) {
        assert!(self.0.is_empty(), "{}", self.0.join("\n\n"));
    }
}

fn certificate(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/forwarder/syslog/tls").join(name).display().to_string()
}

fn trusted() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("src/destination/hec/client/tests/tls/issuer.pem").display().to_string()
}

/// A certificate of localhost that its own key signs, valid for so many days, and the key; PEM.
fn certificate_for(days: u32) -> (Vec<u8>, Vec<u8>) {
    let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&curve).unwrap()).unwrap();
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_text("CN", "localhost").unwrap();
    let name = name.build();
    let mut made = X509::builder().unwrap();
    made.set_version(2).unwrap();
    made.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
    made.set_subject_name(&name).unwrap();
    made.set_issuer_name(&name).unwrap();
    made.set_pubkey(&key).unwrap();
    made.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    made.set_not_after(&Asn1Time::days_from_now(days).unwrap()).unwrap();
    let names = SubjectAlternativeName::new().dns("localhost").build(&made.x509v3_context(None, None)).unwrap();
    made.append_extension(names).unwrap();
    made.sign(&key, MessageDigest::sha256()).unwrap();
    (made.build().to_pem().unwrap(), key.private_key_to_pem_pkcs8().unwrap())
}
