//! `forwarder check` with emulators and small servers: each fault is named with its fix, and a valid setup raises no
//! alarm.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use forwarder::core::secret::Secret;
use forwarder::emulator::hec;
use forwarder::emulator::hec::{HecEmulator, HecFault, On};
use forwarder::emulator::sls;
use forwarder::emulator::sls::{Call, SlsEmulator, SlsEvent, SlsFault};
use forwarder::emulator::syslog::{Config as Receiver, Protocol, SyslogEmulator};
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

use crate::pages::post;

const CERTIFICATE: &[u8] = include_bytes!("../../src/destination/hec/client/tests/tls/server.pem");
const KEY: &[u8] = include_bytes!("../../src/destination/hec/client/tests/tls/server.key");

const PROJECT: &str = "p";
const LOGSTORE: &str = "l";
const TOKEN: &str = "c4n4ry-hec-token";
const SECRET: &str = "c4n4ry-key-secret";
/// An address without a listener: the system never assigns this port to a program that asks for any port.
const CLOSED: &str = "127.0.0.1:9";
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
        let output = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output().unwrap()).await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
        for secret in [TOKEN, SECRET] {
            assert!(!said.contains(secret), "{said}");
        }
        let report: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        let code = output.status.code().unwrap();
        assert_eq!(report["exit_code"], code, "{said}");
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

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_the_settings_the_script_and_the_disk_is_named_with_its_fix() {
    let mut wrongs = Wrongs::default();
    type Seed = fn(&mut Site);
    let faults: [(&str, Seed, &str, &str, &str, i32); 20] = [
        ("no project", |site| site.set("SLS_PROJECT", ""), "fail", "sls.project is missing", "SLS_PROJECT", 2),
        (
            "a typo",
            |site| site.set("FORWARDER_HEC_TIMOUT", "1s"),
            "fail",
            "is not a setting",
            "FORWARDER_HEC_TIMEOUT",
            2,
        ),
        ("no token", |site| site.set("FORWARDER_HEC_TOKEN", ""), "fail", "hec.token", "FORWARDER_HEC_TOKEN", 2),
        (
            "a start in words",
            |site| site.set("FORWARDER_SLS_START", "soon"),
            "fail",
            "is not a position",
            "write begin",
            2,
        ),
        ("no script", |site| site.set("FORWARDER_SCRIPT", "x.lua"), "fail", "x.lua can't be read", "check the path", 2),
        (
            "everybody may read the token",
            |site| {
                site.write("token", TOKEN);
                site.chmod("token", 0o644);
                site.set("FORWARDER_HEC_TOKEN", "");
                site.set("FORWARDER_HEC_TOKEN_FILE", "token");
            },
            "warn",
            "everybody on this machine may read a secret",
            "docs/settings.md",
            0,
        ),
        (
            "no Lua",
            |site| drop(site.write("t.lua", "function process(log) retrun log end")),
            "fail",
            "t.lua:1",
            "correct the line",
            2,
        ),
        ("no process", |site| drop(site.write("t.lua", "x = 1")), "fail", "process", "correct the line", 2),
        (
            "a top level that fails",
            |site| drop(site.write("t.lua", "local x = nil .. 1")),
            "fail",
            "concatenate",
            "correct the line",
            2,
        ),
        (
            "a drop that drops nothing",
            |site| {
                let text = "function process(log)\n  if log.a then drop 'a' end\n  return { event = log }\nend\n";
                drop(site.write("t.lua", text));
            },
            "warn",
            "t.lua:2 calls drop and does not return its value",
            "write return drop",
            0,
        ),
        (
            "cases that fail",
            |site| drop(site.write("t.test.jsonl", r#"{"name": "a", "log": {"a": "1"}, "dropped": true}"#)),
            "fail",
            "1 of 1 case failed",
            "forwarder test --update",
            2,
        ),
        (
            "a case that is none",
            |site| drop(site.write("t.test.jsonl", "{\"name\":")),
            "fail",
            "line 1",
            "forwarder test",
            2,
        ),
        (
            "the dead letters are a file",
            |site| drop(site.write("dead-letters", "")),
            "fail",
            "dead_letters.dir dead-letters cannot be used",
            "set dead_letters.dir",
            2,
        ),
        (
            "everybody may write to the dead letters",
            |site| {
                fs::create_dir(site.directory.path().join("dead-letters")).unwrap();
                site.chmod("dead-letters", 0o777);
            },
            "fail",
            "everybody may replace files in it",
            "set dead_letters.dir",
            2,
        ),
        (
            "the state is a file",
            |site| drop(site.write("state", "")),
            "warn",
            "state.dir state cannot be used",
            "set state.dir",
            0,
        ),
        (
            "a log below a file",
            |site| site.set("FORWARDER_LOG_FILE", "t.lua/x"),
            "fail",
            "log.file t.lua/x",
            "set log.file",
            2,
        ),
        (
            "a log that is a link",
            |site| {
                std::os::unix::fs::symlink("/dev/null", site.directory.path().join("own.log")).unwrap();
                site.set("FORWARDER_LOG_FILE", "own.log");
            },
            "fail",
            "log.file own.log cannot be written to",
            "set log.file",
            2,
        ),
        (
            "the port of the page is taken",
            |site| {
                let taken = site.sls.address().to_string();
                site.set("FORWARDER_ADMIN_LISTEN", taken);
            },
            "warn",
            "another process already listens on admin.listen",
            "set another port",
            0,
        ),
        (
            "the page at an address of another machine",
            |site| site.set("FORWARDER_ADMIN_LISTEN", "192.0.2.1:9464"),
            "fail",
            "cannot be listened on",
            "an address of this machine",
            2,
        ),
        (
            "a file to trust without a root",
            |site| {
                let path = site.write("server.pem", CERTIFICATE);
                site.set("FORWARDER_HEC_CA_FILE", path);
            },
            "warn",
            "is issued by",
            "",
            0,
        ),
    ];
    for (name, seed, level, what, fix, code) in faults {
        let mut site = Site::new().await;
        seed(&mut site);
        wrongs.found(name, &site.check().await, level, what, fix, code);
    }
    wrongs.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_sls_is_named_with_its_fix() {
    let mut wrongs = Wrongs::default();
    type Seed = fn(&Site);
    let faults: [(&str, Seed, &str, &str, &str, i32); 17] = [
        (
            "may not list shards",
            |site| site.deny(Call::ListShards),
            "fail",
            "denied by",
            "grant log:ListShards in RAM: {",
            77,
        ),
        (
            "may not list groups",
            |site| site.deny(Call::ListGroups),
            "fail",
            "denied by",
            "grant log:ListConsumerGroup",
            77,
        ),
        ("may not read", |site| site.deny(Call::Cursor), "fail", "denied by", "project/p/logstore/l\"", 77),
        ("may not pull", |site| site.deny(Call::Pull), "fail", "denied by", "grant log:GetCursorOrData", 77),
        (
            "may not read checkpoints",
            |site| site.deny(Call::Checkpoint),
            "fail",
            "denied by",
            "log:GetConsumerGroupCheckPoint",
            77,
        ),
        ("may not save", |site| site.deny(Call::Save), "fail", "denied by", "log:ConsumerGroupUpdateCheckPoint", 77),
        ("may not send heartbeats", |site| site.deny(Call::Heartbeat), "fail", "denied by", "consumergroup/siem", 77),
        (
            "an expired token",
            |site| site.refuse(Call::ListShards, 401, "SecurityTokenExpired"),
            "fail",
            "TokenExpired",
            "renew",
            77,
        ),
        (
            "no project",
            |site| site.refuse(Call::ListShards, 404, "ProjectNotExist"),
            "fail",
            "ProjectNotExist",
            "`endpoint`",
            77,
        ),
        (
            "throttled",
            |site| site.refuse(Call::Pull, 403, "ReadQuotaExceed"),
            "fail",
            "ReadQuotaExceed",
            "split the shard",
            69,
        ),
        (
            "broken",
            |site| site.refuse(Call::ListShards, 500, "InternalServerError"),
            "fail",
            "500",
            "the program retries",
            69,
        ),
        (
            "a filter that is none",
            |site| site.refuse(Call::Pull, 400, "ParameterInvalid"),
            "fail",
            "Parameter",
            "`query`",
            77,
        ),
        ("a clock that SLS refuses", |site| site.sls.faults().skew(1230), "warn", "is 20m ", "set the clock", 0),
        ("a clock that is a minute off", |site| site.sls.faults().skew(-90), "warn", "is 1m ", "set the clock", 0),
        (
            "resets",
            |site| site.sls.faults().next(Call::ListShards, SlsFault::Reset, u32::MAX),
            "fail",
            "list shards",
            "",
            69,
        ),
        (
            "late",
            |site| site.sls.faults().next(Call::Pull, SlsFault::Delay { by: HOUR }, 9),
            "fail",
            "no complete reply",
            "wait",
            69,
        ),
        (
            "garbage",
            |site| site.sls.faults().next(Call::ListShards, SlsFault::Corrupt, 9),
            "fail",
            "cannot be understood",
            "",
            69,
        ),
    ];
    for (name, seed, level, what, fix, code) in faults {
        let site = Site::new().await;
        seed(&site);
        wrongs.found(name, &site.check().await, level, what, fix, code);
    }
    wrongs.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_is_checked_with_the_first_logstore_that_it_matches() {
    let mut wrongs = Wrongs::default();
    let mut site = Site::new().await;
    site.set("SLS_LOGSTORE", "?");
    wrongs.found("a pattern", &site.check().await, "ok", "1 logstore called ?; looks at l", "", 0);
    site.deny(Call::Save);
    let found = site.check().await;
    wrongs.found("may not save", &found, "fail", "denied by", "log:ConsumerGroupUpdateCheckPoint", 77);
    site.sls.faults().clear(Call::Save);
    site.set("SLS_LOGSTORE", "audit-*");
    let what = "no logstore of project p matches audit-*";
    wrongs.found("a pattern that finds nothing", &site.check().await, "warn", what, "every minute", 0);
    site.deny(Call::ListLogstores);
    let found = site.check().await;
    wrongs.found("may not list logstores", &found, "fail", "denied by", "grant log:ListLogStores in RAM: {", 77);
    wrongs.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_on_the_way_to_sls_is_named_with_its_fix() {
    let mut wrongs = Wrongs::default();
    let mut site = Site::new().await;
    site.set("SLS_ENDPOINT", format!("http://{CLOSED}"));
    wrongs.found("a closed port", &site.check().await, "fail", "nothing listens at 127.0.0.1:", "check the port", 69);

    site.set("SLS_ENDPOINT", "http://no-such-host.invalid");
    wrongs.found("an unknown name", &site.check().await, "fail", "p.no-such-host.invalid", "sls.endpoint", 69);

    site.set("SLS_ENDPOINT", format!("https://{}", site.sls.address()));
    wrongs.found("no TLS", &site.check().await, "fail", "no TLS at 127.0.0.1:", "write http://", 2);

    let silent = site.answers(None).await;
    site.set("SLS_ENDPOINT", format!("http://{silent}"));
    wrongs.found("silence", &site.check().await, "fail", "no complete reply within 4s", "wait", 69);

    let page =
        site.answers(Some(b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")).await;
    site.set("SLS_ENDPOINT", format!("http://{page}"));
    wrongs.found("not SLS", &site.check().await, "fail", "404: hello", "not an answer from SLS", 77);

    let mut site = Site::new().await;
    site.set("SLS_AK_ID", "another");
    wrongs.found("an unknown key", &site.check().await, "fail", "AccessKey", "AccessKey", 77);
    site.set("SLS_AK_ID", "key-id");
    site.set("SLS_AK_KEY", "wrong");
    wrongs.found("a wrong secret", &site.check().await, "fail", "SignatureNotMatch", "check the AccessKey secret", 77);
    site.set("SLS_AK_KEY", SECRET);
    site.set("SLS_LOGSTORE", "other");
    wrongs.found("no logstore", &site.check().await, "fail", "LogStoreNotExist", "`logstore`", 77);

    let elsewhere = vec![("away".to_owned(), "cn-shanghai".to_owned())];
    let logstores = vec![(PROJECT.to_owned(), LOGSTORE.to_owned())];
    site.sls = SlsEmulator::start(sls::Config { elsewhere, logstores, ..sls::Config::default() }).await.unwrap();
    site.set("SLS_ENDPOINT", format!("http://{}", site.sls.address()));
    site.set("SLS_PROJECT", "away");
    wrongs.found("another region", &site.check().await, "fail", "in region \"cn-shanghai\"", "`endpoint`", 77);
    wrongs.end();
}

/// Writes the checkpoints that a running group leaves behind.
fn saved(site: &Site, consumer: &str) {
    let logs = forwarder::emulator::generate::Generator::new(7, 1_800_000_000).nginx(5);
    site.sls.put(PROJECT, LOGSTORE, 0, [logs.clone(), logs]).unwrap();
    let assign = SlsEvent::Assign { group: "siem".to_owned(), shard: 0, consumer: consumer.to_owned() };
    site.sls.happen(PROJECT, LOGSTORE, &assign).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_differing_group_a_duplicate_consumer_and_an_expired_checkpoint_are_named() {
    let mut wrongs = Wrongs::default();
    let mut site = Site::new().await;
    let keyless = sls::Config { logstores: vec![], ..sls::Config::default() };
    let sls = SlsEmulator::start(keyless).await.unwrap();
    site.set("SLS_ENDPOINT", format!("http://{}", sls.address()));
    site.sls = sls;
    let address = site.sls.address().to_string();
    let host = format!("{PROJECT}.localhost");
    site.sls.happen(PROJECT, LOGSTORE, &SlsEvent::Expire { shard: 0, keep: 0 }).unwrap();
    let group = r#"{"consumerGroup": "siem", "timeout": 90, "order": false}"#;
    post(&address, &host, "/logstores/l/consumergroups", group).await;
    wrongs.found("a group's timeout", &site.check().await, "warn", "a timeout of 90 s", "sls.group_timeout", 0);
    site.set("FORWARDER_SLS_GROUP_TIMEOUT", "90s");
    wrongs.sound("the same timeout", &site.check().await);

    site.set("FORWARDER_SLS_CONSUMER", "me");
    saved(&site, "me");
    let cursor = forwarder::core::cursor::Cursor::from_number(site.sls.range(PROJECT, LOGSTORE, 0).unwrap().start);
    let save = format!(r#"{{"shard": 0, "checkpoint": "{}"}}"#, cursor.as_str());
    let path = "/logstores/l/consumergroups/siem?type=checkpoint&consumer=me&forceSuccess=false";
    let reply = post(&address, &host, path, &save).await;
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    wrongs.found("a twin", &site.check().await, "warn", "a consumer with our name, me", "another sls.consumer", 0);

    site.environment.remove("FORWARDER_SLS_CONSUMER");
    wrongs.sound("another consumer at work", &site.check().await);

    site.sls.happen(PROJECT, LOGSTORE, &SlsEvent::Expire { shard: 0, keep: 1 }).unwrap();
    wrongs.found("an expired checkpoint", &site.check().await, "warn", "has expired", "retention", 0);
    assert_eq!(site.sls.saves(PROJECT, LOGSTORE, "siem").len(), 1, "no check saves anything");
    wrongs.end();
}

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
    wrongs.found("no TLS", &site.check().await, "fail", "no TLS at", "protocol = \"tcp\"", 2);

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

#[tokio::test(flavor = "multi_thread")]
async fn valid_setups_raise_no_alarm_and_nothing_is_left_behind() {
    let mut wrongs = Wrongs::default();
    type Seed = fn(&mut Site);
    let set_ups: [(&str, Seed); 20] = [
        ("the plain one", |_| {}),
        ("from the end", |site| site.set("FORWARDER_SLS_START", "end")),
        ("with a filter", |site| site.set("FORWARDER_SLS_QUERY", "* | where status = '200'")),
        ("zstd", |site| site.set("FORWARDER_SLS_COMPRESSION", "zstd")),
        ("signature 4", |site| {
            site.set("FORWARDER_SLS_SIGNATURE", "v4");
            site.set("FORWARDER_SLS_REGION", "cn-hangzhou");
        }),
        ("with an index", |site| site.set("FORWARDER_HEC_INDEX", "main")),
        ("with cases that pass", |site| {
            let text = "function process(log) if log.a then return nil end return { event = log } end\n";
            drop(site.write("t.lua", text));
            drop(site.write("t.test.jsonl", r#"{"name": "a", "log": {"a": "1"}, "dropped": true}"#));
        }),
        ("with a page and a log", |site| {
            site.set("FORWARDER_ADMIN_LISTEN", "127.0.0.1:0");
            site.set("FORWARDER_LOG_FILE", "own.log");
        }),
        ("to a file", |site| {
            site.environment.remove("FORWARDER_HEC_URL");
            site.environment.remove("FORWARDER_HEC_TOKEN");
            site.set("FORWARDER_FILE_PATH", "out/events.jsonl");
        }),
        ("with a proxy for others", |site| {
            site.set("http_proxy", "http://127.0.0.1:1");
            site.set("no_proxy", "*");
        }),
        ("two sources", |site| {
            let [endpoint, project] =
                ["SLS_ENDPOINT", "SLS_PROJECT"].map(|name| site.environment.remove(name).unwrap());
            site.environment.remove("SLS_LOGSTORE");
            site.set("SLS_ENDPOINTS", format!("{endpoint};{endpoint}"));
            site.set("SLS_PROJECTS", format!("{project};q"));
            site.set("SLS_LOGSTORES", "l;m");
        }),
        ("a named consumer", |site| site.set("FORWARDER_SLS_CONSUMER", "me")),
        ("pages as they are", |site| site.set("FORWARDER_SLS_COMPRESSION", "none")),
        ("a time range", |site| {
            site.set("FORWARDER_SLS_START", "-2h");
            site.set("FORWARDER_SLS_UNTIL", "end");
        }),
        ("secrets in files", |site| {
            for (name, variable, secret) in [
                ("token", "FORWARDER_HEC_TOKEN", TOKEN),
                ("id", "SLS_AK_ID", "key-id"),
                ("secret", "SLS_AK_KEY", SECRET),
            ] {
                site.write(name, secret);
                site.chmod(name, 0o600);
                site.environment.remove(variable);
            }
            site.set("FORWARDER_HEC_TOKEN_FILE", "token");
            site.set("FORWARDER_SLS_ACCESS_KEY_ID_FILE", "id");
            site.set("FORWARDER_SLS_ACCESS_KEY_SECRET_FILE", "secret");
        }),
        ("a page at a socket", |site| {
            let socket = format!("unix:{}", site.directory.path().join("own.sock").display());
            site.set("FORWARDER_ADMIN_LISTEN", socket);
        }),
        ("compressed requests", |site| site.set("FORWARDER_HEC_GZIP", "true")),
        ("the vendor's bytes", |site| site.set("FORWARDER_HEC_COMPAT", "true")),
        ("dead letters of before", |site| {
            fs::create_dir(site.directory.path().join("dead-letters")).unwrap();
            site.chmod("dead-letters", 0o700);
        }),
        ("a settings file with two destinations", |site| {
            let url = site.environment.remove("FORWARDER_HEC_URL").unwrap();
            site.environment.remove("FORWARDER_HEC_TOKEN");
            site.write("token", TOKEN);
            site.chmod("token", 0o600);
            let hec = format!("[[destination]]\ntype = \"hec\"\nurl = \"{url}\"\ntoken_file = \"token\"\n");
            site.write("own.toml", hec + "[[destination]]\ntype = \"file\"\npath = \"events.jsonl\"\n");
            site.set("FORWARDER_CONFIG", "own.toml");
        }),
    ];
    for (name, seed) in set_ups {
        let mut site = Site::new().await;
        seed(&mut site);
        let before = files(site.directory.path());
        wrongs.sound(name, &site.check().await);
        assert_eq!(files(site.directory.path()), before, "{name}");
        assert_eq!(site.hec.counts().events, 0, "{name}");
    }
    wrongs.end();
}

fn files(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn healthy_receivers_and_a_running_forwarder_raise_no_alarm() {
    let mut wrongs = Wrongs::default();
    let server =
        |protocol| Receiver { identity: Some((CERTIFICATE.to_vec(), KEY.to_vec())), ..Receiver::new(protocol) };
    let mut site = Site::new().await;
    site.set("FORWARDER_SYSLOG_CA_FILE", trusted());
    for (receiver, protocol) in [
        (Receiver::new(Protocol::Udp), "udp"),
        (Receiver::new(Protocol::Tcp), "tcp"),
        (Receiver::new(Protocol::Relp), "relp"),
        (server(Protocol::Tls), "tls"),
    ] {
        if !matches!(protocol, "tls") {
            site.set("FORWARDER_SYSLOG_CA_FILE", "");
        } else {
            site.set("FORWARDER_SYSLOG_CA_FILE", trusted());
        }
        site.receiver(receiver, protocol).await;
        let (code, findings) = site.check().await;
        let failed: Vec<_> = findings.iter().filter(|finding| finding["level"] == "fail").collect();
        assert!(failed.is_empty() && code == 0, "{protocol}: {failed:#?}");
        assert_eq!(site.receivers.last().unwrap().counts().read, 0, "{protocol}");
    }
    let client_ca = Some(fs::read(certificate("issuer.pem")).unwrap());
    site.receiver(Receiver { client_ca, ..server(Protocol::Tls) }, "tls").await;
    let ours = [fs::read(certificate("client.pem")).unwrap(), fs::read(certificate("client.key")).unwrap()];
    let [cert, key] = ["client.pem", "client.key"].map(|name| name.to_owned());
    site.write(&cert, &ours[0]);
    site.write(&key, &ours[1]);
    site.chmod(&key, 0o600);
    site.set("FORWARDER_SYSLOG_CLIENT_CERT", cert);
    site.set("FORWARDER_SYSLOG_CLIENT_KEY", key);
    wrongs.sound("our certificate", &site.check().await);
    wrongs.end();
}

#[test]
fn the_readable_output_ends_with_a_summary() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forwarder"));
    let output = command.arg("check").env_clear().stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("fail  settings  sls.project is missing") && said.contains("fix: give --project"), "{said}");
    assert!(said.trim_end().rsplit('\n').next().unwrap().contains(" to correct, 0 warnings; "), "{said}");
}
