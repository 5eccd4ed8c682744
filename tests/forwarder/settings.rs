//! Settings from flags, environment and file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use forwarder::core::cursor::Start;
use forwarder::destination::hec::{Config as Hec, MemberConfig, Token};
use forwarder::destination::registry::DestinationConfig;
use forwarder::destination::syslog::{Config as Syslog, Delivery, Framing, Oversize, Standard, Target, Tls, Transport};
use forwarder::pipeline::FetchInterval;
use forwarder::settings;
use forwarder::settings::{Environment, Flags, Machine, Settings};
use forwarder::sls::credentials::KeyFiles;
use forwarder::sls::{Compression, Credentials, Signature};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tempfile::TempDir;

pub const CANARY: &str = "c4n4ry-c4n4ry";

/// The minimal settings file, as shipped.
pub const MINIMAL: &str = include_str!("../../examples/minimal.toml");

/// A project directory, and the settings given there.
pub struct Typed {
    directory: TempDir,
    pub flags: Flags,
    pub environment: Environment,
    pub machine: Machine,
}

impl Typed {
    /// A directory with a script and a token, and the environment of the vendor's scripts.
    pub fn new() -> Self {
        let directory = TempDir::new().unwrap();
        fs::create_dir(directory.path().join("scripts")).unwrap();
        fs::write(directory.path().join("scripts/transform.lua"), "function process(log) end\n").unwrap();
        fs::write(directory.path().join("hec.token"), format!("{CANARY}\n")).unwrap();
        fs::set_permissions(directory.path().join("hec.token"), fs::Permissions::from_mode(0o600)).unwrap();
        let typed = Self {
            directory,
            flags: Vec::new(),
            environment: Environment::new(),
            machine: Machine {
                hostname: "host-1".to_owned(),
                pid: 4711,
                cores: 2,
                home: None,
                now: Timestamp::from_second(1_800_000_000).unwrap(),
                zone: TimeZone::get("Asia/Shanghai").unwrap(),
            },
        };
        typed
            .set("SLS_ENDPOINT", "https://cn-hangzhou.log.aliyuncs.com")
            .set("SLS_PROJECT", "my-project")
            .set("SLS_LOGSTORE", "my-logstore")
            .set("SLS_CG", "siem")
            .set("SLS_AK_ID", "LTAI-id")
            .set("SLS_AK_KEY", CANARY)
    }

    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    pub fn unset(mut self, name: &str) -> Self {
        self.environment.remove(name).expect("it was set");
        self
    }

    pub fn flag(mut self, name: &'static str, value: &str) -> Self {
        self.flags.push((name, value.to_owned()));
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Loads `forwarder.toml` with this text.
    pub fn load(&self, text: &str) -> Result<Settings, settings::SettingsError> {
        let path = self.path("forwarder.toml");
        fs::write(&path, text).unwrap();
        settings::load(Some(&path), &self.flags, &self.environment, &self.machine)
    }

    pub fn good(&self, text: &str) -> Settings {
        self.load(text).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The error message for this text, without the directory.
    pub fn error(&self, text: &str) -> String {
        let message = self.load(text).expect_err("it should be refused").to_string();
        message.replace(&format!("{}/", self.directory.path().display()), "")
    }
}

pub fn hec(settings: &Settings) -> &Hec {
    let DestinationConfig::Hec(hec) = &settings.destinations[0].config else { panic!("another destination") };
    hec
}

/// The URL of the only collector.
fn only_url(settings: &Settings) -> &str {
    let [MemberConfig { url, weight: 1 }] = &hec(settings).members[..] else { panic!("several collectors") };
    url
}

#[test]
fn the_shortest_settings_file_works_as_it_is() {
    let typed = Typed::new();
    let settings = typed.good(MINIMAL);
    assert_eq!(settings.sources[0].script, typed.path("scripts/transform.lua"));
    assert_eq!(settings.sources[0].start.start, Start::Begin);
    assert_eq!(only_url(&settings), "http://127.0.0.1:8088");
    assert!(matches!(&hec(&settings).token, Token::Files(paths) if *paths == [typed.path("hec.token")]));
    assert_eq!(settings.sources[0].sls.consumer, "siem-host-1-4711");
    assert!(
        matches!(&settings.sources[0].sls.credentials, Credentials::Fixed(key) if key.id == "LTAI-id" && key.secret.expose() == CANARY)
    );
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
}

#[test]
fn a_fetch_interval_is_one_duration_or_a_minimum_and_a_maximum() {
    let interval = |typed: &str| Typed::new().set("FORWARDER_SLS_FETCH_INTERVAL", typed);
    let (ms, read) = (Duration::from_millis, |typed: &str| interval(typed).good(MINIMAL).sources[0].fetch_interval);
    assert_eq!(read("2"), FetchInterval::fixed(ms(2_000)));
    assert_eq!(read("100ms..1s"), FetchInterval::new(ms(100), ms(1_000)));
    assert_eq!(read("1 .. 3"), FetchInterval::new(ms(1_000), ms(3_000)));
    for (typed, expected) in [
        ("50ms..1s", "\"50ms\" is too short"),
        ("3s..1s", "\"3s..1s\" begins with the longer pause"),
        ("1s..", "\"\" is not a duration"),
    ] {
        let error = interval(typed).error(MINIMAL);
        assert!(error.contains(expected), "{typed}: {error}");
    }
}

#[test]
fn the_defaults_are_as_documented() {
    let settings = Typed::new().good(MINIMAL);
    let seconds = Duration::from_secs;
    let (run, source) = (&settings.run, &settings.sources[0]);
    assert_eq!((source.heartbeat_interval, source.save_interval), (seconds(20), seconds(1)));
    assert_eq!(source.fetch_interval, FetchInterval::fixed(seconds(1)));
    assert_eq!((run.drain_timeout, run.memory, run.hook_threads), (seconds(25), 64 << 20, 2));
    let sls = &settings.sources[0].sls;
    assert_eq!((sls.group_timeout, sls.timeout, sls.page_groups), (seconds(60), seconds(60), 1000));
    assert_eq!((&sls.signature, sls.compression, sls.in_order), (&auto(Some("cn-hangzhou")), Compression::Lz4, false));
    let hec = hec(&settings);
    assert_eq!((hec.timeout, hec.connect_timeout, hec.max_body), (seconds(120), seconds(10), 1_000_000));
    assert!(hec.verify && !hec.gzip && !hec.compat);
    assert_eq!((settings.hook.timeout, settings.hook.memory), (Duration::from_millis(100), 64 << 20));
}

fn auto(region: Option<&str>) -> Signature {
    Signature::Auto { region: region.map(str::to_owned) }
}

#[test]
fn the_region_is_taken_from_the_vendors_endpoint_unless_it_is_given() {
    let v4 = |region: &str| Signature::V4 { region: region.to_owned() };
    let signature = |endpoint: &str, signature: &str, region: &str| {
        let typed = Typed::new().set("SLS_ENDPOINT", endpoint).set("FORWARDER_SLS_SIGNATURE", signature);
        typed.set("FORWARDER_SLS_REGION", region).good(MINIMAL).sources[0].sls.signature.clone()
    };
    let (vendor, own) = ("https://cn-shanghai-vpc.log.aliyuncs.com", "https://sls.example");
    assert_eq!(signature(vendor, "v4", ""), v4("cn-shanghai"));
    assert_eq!(signature(vendor, "v4", "cn-beijing"), v4("cn-beijing"));
    assert_eq!(signature(vendor, "", ""), auto(Some("cn-shanghai")));
    assert_eq!(signature(own, "auto", ""), auto(None));
    assert_eq!(signature(own, "auto", "cn-beijing"), auto(Some("cn-beijing")));
    assert_eq!(signature(vendor, "v1", ""), Signature::V1);
    assert_eq!(signature("https://cn-hangzhou-acdr-ut-1.log.aliyuncs.com", "", ""), v4("cn-hangzhou-acdr-ut-1"));
}

#[test]
fn a_flag_overrides_a_variable_and_a_variable_overrides_the_file() {
    let text = format!("{MINIMAL}\nindex = \"file\"\nsource = \"file\"\nsourcetype = \"file\"\n");
    let typed = Typed::new()
        .set("FORWARDER_HEC_INDEX", "variable")
        .set("FORWARDER_HEC_SOURCE", "variable")
        .flag("hec.index", "flag");
    let settings = typed.good(&text);
    let given = [&hec(&settings).index, &hec(&settings).source, &hec(&settings).sourcetype];
    assert_eq!(given.map(|text| text.as_deref().unwrap()), ["flag", "variable", "file"]);
}

#[test]
fn our_variable_overrides_the_vendors_and_an_empty_one_counts_as_unset() {
    let typed = Typed::new().set("FORWARDER_SLS_GROUP", "ours").set("FORWARDER_SLS_PROJECT", "");
    let settings = typed.good(MINIMAL);
    assert_eq!(
        (settings.sources[0].sls.group.as_str(), settings.sources[0].sls.project.as_str()),
        ("ours", "my-project")
    );
}

#[test]
fn the_script_is_a_string_or_a_table_with_variables() {
    let typed = Typed::new();
    let text = MINIMAL.replace("script = \"scripts/transform.lua\"", "");
    let settings =
        typed.good(&format!("{text}[script]\nfile = \"scripts/transform.lua\"\n[script.vars]\ntenant = \"emea\"\n"));
    assert_eq!(settings.sources[0].script, typed.path("scripts/transform.lua"));
    assert_eq!(settings.hook.vars["tenant"].as_str(), Some("emea"));
}

#[test]
fn a_path_in_the_environment_is_relative_to_the_working_directory() {
    let settings = Typed::new().set("FORWARDER_SCRIPT_FILE", "Cargo.toml").good(MINIMAL);
    assert_eq!(settings.sources[0].script, PathBuf::from("Cargo.toml"));
}

#[test]
fn the_collector_of_the_vendors_variables_is_host_port_and_https() {
    let text =
        "script = \"scripts/transform.lua\"\n[hec]\nhost = \"1.2.3.4\"\nport = 80\nhttps = false\ntimeout = 120\n";
    let settings = Typed::new().set("FORWARDER_HEC_TOKEN", CANARY).good(text);
    assert_eq!(only_url(&settings), "http://1.2.3.4:80");
    assert_eq!(hec(&settings).timeout, Duration::from_secs(120));
    assert_eq!(settings.warnings, ["logs and the HEC token travel in plain text: http://1.2.3.4:80 is not https://"]);
    let settings = Typed::new().set("FORWARDER_HEC_TOKEN", CANARY).good(&text.replace("1.2.3.4", "::1"));
    assert_eq!(only_url(&settings), "http://[::1]:80");
    assert!(settings.warnings.is_empty(), "loopback needs no TLS");
}

#[test]
fn a_malformed_proxy_variable_is_a_warning_that_names_it_without_its_password() {
    let typed = Typed::new()
        .set("https_proxy", &format!("http//user:{CANARY}@proxy.example:3128"))
        .set("HTTP_PROXY", "http://proxy.example:3128");
    let warnings = typed.good(MINIMAL).warnings;
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.starts_with("the environment variable https_proxy is not the URL of an HTTP proxy"), "{warning}");
    assert!(!warning.contains(CANARY), "{warning}");
}

#[test]
fn a_url_in_the_environment_overrides_a_host_in_the_file() {
    let text = "script = \"scripts/transform.lua\"\n[hec]\nhost = \"1.2.3.4\"\nport = 80\ntoken_file = \"hec.token\"\n";
    let settings = Typed::new().flag("hec.url", "https://splunk.example:8088/").good(text);
    assert_eq!(only_url(&settings), "https://splunk.example:8088");
}

#[test]
fn one_setting_lists_several_collectors_each_with_its_weight() {
    let url = "https://a.example:8088, https://b.example:8088 weight=3,https://[2001:db8::1]:443/";
    let settings = Typed::new().flag("hec.url", url).good(MINIMAL);
    let members: Vec<_> = hec(&settings).members.iter().map(|member| (member.url.as_str(), member.weight)).collect();
    assert_eq!(
        members,
        [("https://a.example:8088", 1), ("https://b.example:8088", 3), ("https://[2001:db8::1]:443", 1)]
    );
    for (url, wrong) in [
        ("https://a:1, https://a:1 weight=2", "https://a:1 is named twice"),
        ("https://a:1, ", "not a URL"),
        ("https://a:1 weight=0", "is not a URL, or a URL and its weight"),
        ("https://a:1 https://b:1", "is not a URL, or a URL and its weight"),
    ] {
        let problems = Typed::new().flag("hec.url", url).load(MINIMAL).unwrap_err().to_string();
        assert!(problems.contains(wrong), "{url}: {problems}");
    }
}

#[test]
fn requests_are_compressed_unless_all_collectors_are_on_this_machine() {
    for (url, gzip) in [
        ("http://127.0.0.1:8088", false),
        ("https://localhost:8088,http://[::1]:8088", false),
        ("https://splunk.example:8088", true),
        ("http://127.0.0.1:8088, https://splunk.example:8088", true),
    ] {
        assert_eq!(hec(&Typed::new().flag("hec.url", url).good(MINIMAL)).gzip, gzip, "{url}");
    }
    let typed = Typed::new().flag("hec.url", "https://splunk.example:8088").set("FORWARDER_HEC_GZIP", "false");
    assert!(!hec(&typed.good(MINIMAL)).gzip);
}

#[test]
fn a_second_token_is_read_from_a_file_beside_the_first() {
    let typed = Typed::new();
    std::fs::write(typed.path("next.token"), "next").unwrap();
    let settings = typed.good(&MINIMAL.replace("[hec]\n", "[hec]\nnext_token_file = \"next.token\"\n"));
    let Token::Files(files) = &hec(&settings).token else { panic!("files") };
    assert_eq!(*files, [typed.path("hec.token"), typed.path("next.token")]);
}

#[test]
fn credentials_come_from_the_environment_or_from_files() {
    let shared = Typed::new()
        .unset("SLS_AK_ID")
        .unset("SLS_AK_KEY")
        .set("ALIBABA_CLOUD_ACCESS_KEY_ID", "shared")
        .set("ALIBABA_CLOUD_ACCESS_KEY_SECRET", CANARY)
        .set("ALIBABA_CLOUD_SECURITY_TOKEN", CANARY);
    let settings = shared.good(MINIMAL);
    assert!(
        matches!(&settings.sources[0].sls.credentials, Credentials::Fixed(key) if key.id == "shared" && key.token.is_some())
    );

    fs::write(shared.path("id"), "x").unwrap();
    let files = MINIMAL.replace("[sls]", "[sls]\naccess_key_id_file = \"id\"\naccess_key_secret_file = \"hec.token\"");
    let settings = shared.good(&files);
    assert!(
        matches!(&settings.sources[0].sls.credentials, Credentials::Files(KeyFiles { id, token: None, .. }) if *id == shared.path("id"))
    );

    let ours = Typed::new().set("ALIBABA_CLOUD_SECURITY_TOKEN", CANARY);
    let settings = ours.good(MINIMAL);
    assert!(
        matches!(&settings.sources[0].sls.credentials, Credentials::Fixed(key) if key.token.is_none()),
        "it belongs to another key"
    );
}

#[test]
fn process_id_1_gets_a_consumer_name_that_a_restart_does_not_repeat() {
    let mut typed = Typed::new();
    typed.machine.pid = 1;
    let first = typed.good(MINIMAL).sources[0].sls.consumer.clone();
    typed.machine.now = Timestamp::from_second(1_800_000_001).unwrap();
    let second = typed.good(MINIMAL).sources[0].sls.consumer.clone();
    assert!(first.starts_with("siem-host-1-1-") && second.starts_with("siem-host-1-1-"), "{first} {second}");
    assert_ne!(first, second);
}

#[test]
fn a_start_time_is_shown_in_utc() {
    let settings = Typed::new().good(&MINIMAL.replace("\"begin\"", "\"2018-12-26 0:0:0\""));
    assert_eq!(settings.sources[0].start.start, Start::Time(1_545_753_600));
    assert_eq!(settings.sources[0].start.to_string(), "2018-12-25T16:00:00Z (\"2018-12-26 0:0:0\" in Asia/Shanghai)");
    for typed in ["1545753600", "2018-12-25T16:00:00Z"] {
        let settings = Typed::new().good(&MINIMAL.replace("\"begin\"", typed));
        assert_eq!(settings.sources[0].start.start, Start::Time(1_545_753_600), "unquoted {typed}");
    }
}

#[test]
fn settings_that_weaken_security_are_allowed_with_a_warning() {
    let text = MINIMAL.replace("http://127.0.0.1:8088", "https://splunk.example:8088");
    let typed = Typed::new().set("FORWARDER_HEC_VERIFY", "false").set("SLS_ENDPOINT", "cn-hangzhou.log.aliyuncs.com");
    let settings = typed.good(&text);
    assert_eq!(settings.sources[0].sls.endpoint, "http://cn-hangzhou.log.aliyuncs.com");
    assert_eq!(
        settings.warnings,
        [
            "logs from SLS travel in plain text: SLS_ENDPOINT in the environment is not https://",
            "the connection can be intercepted, since the collector's certificate is not verified: FORWARDER_HEC_VERIFY in the environment is false",
        ]
    );
}

#[test]
fn a_token_file_that_others_can_read_gets_a_warning() {
    let text = MINIMAL.replace("token_file = \"hec.token\" ", "token = \"t\"");
    let typed = Typed::new();
    typed.good(&text);
    let permit = |mode| fs::set_permissions(typed.path("forwarder.toml"), fs::Permissions::from_mode(mode)).unwrap();
    permit(0o644);
    let settings = typed.good(&text);
    let warning = &settings.warnings[0];
    assert!(
        warning.starts_with("a secret is world-readable, hec.token in ") && warning.contains("chmod o-r"),
        "{warning}"
    );
    permit(0o640);
    assert!(typed.good(&text).warnings.is_empty());
}

#[test]
fn a_world_readable_secret_file_gets_one_warning() {
    let typed = Typed::new().unset("SLS_AK_ID").unset("SLS_AK_KEY");
    let files = "[sls]\naccess_key_id_file = \"id\"\naccess_key_secret_file = \"secret\"";
    let text = MINIMAL.replace("[sls]", files);
    for name in ["id", "secret"] {
        fs::write(typed.path(name), CANARY).unwrap();
        fs::set_permissions(typed.path(name), fs::Permissions::from_mode(0o640)).unwrap();
    }
    assert!(typed.good(&text).warnings.is_empty());
    fs::set_permissions(typed.path("secret"), fs::Permissions::from_mode(0o644)).unwrap();
    let warnings = typed.good(&text).warnings;
    let mend = format!("chmod o-r {}", typed.path("secret").display());
    assert!(
        warnings.len() == 1 && warnings[0].contains("sls.access_key_secret_file") && warnings[0].contains(&mend),
        "{warnings:?}"
    );
}

#[test]
fn a_world_writable_file_is_not_used() {
    for name in ["scripts/transform.lua", "hec.token"] {
        let typed = Typed::new();
        fs::set_permissions(typed.path(name), fs::Permissions::from_mode(0o666)).unwrap();
        let message = typed.error(MINIMAL);
        assert!(message.contains(&format!("chmod o-w {name}")), "{message}");
    }
    let typed = Typed::new();
    typed.good(MINIMAL);
    fs::set_permissions(typed.path("forwarder.toml"), fs::Permissions::from_mode(0o666)).unwrap();
    let message = typed.error(MINIMAL);
    assert!(message.contains("chmod o-w forwarder.toml"), "{message}");
}

#[test]
fn a_pipe_in_place_of_a_file_does_not_hang_the_start() {
    for name in ["scripts/transform.lua", "hec.token"] {
        let typed = Typed::new();
        fs::remove_file(typed.path(name)).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(typed.path(name)).status().unwrap().success());
        let message = typed.error(MINIMAL);
        assert!(message.contains("it is not a regular file but a pipe"), "{message}");
    }
}

#[test]
fn no_secret_is_printed() {
    let good =
        Typed::new().set("FORWARDER_SLS_SECURITY_TOKEN", CANARY).set("FORWARDER_HEC_TOKEN", CANARY).good(MINIMAL);
    assert!(matches!(&hec(&good).token, Token::Fixed(token) if token.expose() == CANARY), "the test would be blind");
    assert!(!format!("{good:?} {good:#?}").contains(CANARY));

    let spaced = format!("{CANARY} {CANARY}");
    let url = format!("https://user:{CANARY}@splunk.example:8088");
    let in_file = |line: &str| format!("{MINIMAL}{line}\n").replace("token_file = \"hec.token\" ", "");
    let cases = [
        (Typed::new().set("FORWARDER_HEC_TOKEN", &spaced), MINIMAL.to_owned()),
        (Typed::new().set("SLS_AK_KEY", &format!("{CANARY}\u{1}")), MINIMAL.to_owned()),
        (Typed::new().set("FORWARDER_HEC_PROXY", &url), MINIMAL.to_owned()),
        (Typed::new().set("FORWARDER_HEC_URL", &url), MINIMAL.to_owned()),
        (Typed::new().set("SLS_ENDPOINT", &format!("{CANARY}@x")), MINIMAL.to_owned()),
        (Typed::new(), in_file(&format!("token = [\"{CANARY}\"]"))),
        (Typed::new(), in_file(&format!("tokn = \"{CANARY}\""))),
        (Typed::new(), in_file(&format!("token = \"\"\"{CANARY}"))),
        (Typed::new(), in_file(&format!("token = {CANARY}"))),
        (Typed::new(), in_file(&format!("token = \"{CANARY}\\u0007\""))),
    ];
    for (number, (typed, text)) in cases.iter().enumerate() {
        let error = typed.load(text).expect_err(&format!("case {number}"));
        let message = format!("{error} {error:?}");
        assert!(!message.contains(CANARY), "case {number}: {message}");
    }
}

/// A settings file with this in `[syslog]`.
fn syslog_file(text: &str) -> String {
    format!("script = \"scripts/transform.lua\"\n[syslog]\n{text}\n")
}

fn syslog(text: &str) -> (Syslog, Vec<String>) {
    let settings = Typed::new().good(&syslog_file(text));
    let DestinationConfig::Syslog(syslog) = settings.destinations[0].config.clone() else {
        panic!("another destination")
    };
    (*syslog, settings.warnings)
}

#[test]
fn the_vendors_syslog_variables_are_understood() {
    let (config, warnings) = syslog("host = \"1.2.3.4\"");
    assert_eq!(config.targets, [Target { host: "1.2.3.4".to_owned(), port: 514 }]);
    assert!(matches!(config.transport, Transport::Tcp));
    assert_eq!((config.framing, config.timeout.as_secs(), config.connect_timeout.as_secs()), (Framing::Lf, 120, 10));
    let seconds = Duration::from_secs(1);
    assert_eq!(config.delivery, Delivery::Confirmed { interval: seconds, lag: seconds / 5 });
    let layout = &config.layout;
    assert_eq!((layout.facility, layout.severity), (1, 6));
    assert_eq!((layout.hostname.as_str(), layout.program.as_str(), layout.separator.as_str()), ("host-1", "", "||"));
    assert_eq!((&layout.standard, layout.max_message, layout.oversize), (&Standard::Rfc5424, 8_000, Oversize::Split));
    assert!(!layout.bom && layout.compat.is_none() && layout.structured_data.is_empty());
    assert_eq!(warnings, ["logs travel in plain text: the default of syslog.protocol is tcp"]);

    let (config, _) = syslog(
        "host = \"h\"\nport = 10514\nprotocol = \"TCP\"\nseparator = \"|\"\ntimeout = 5\nfacility = 16\nseverity = \"Warning\"\nhostname = \"x\"\nprogram = \"-\"",
    );
    assert_eq!(config.targets[0].port, 10514);
    assert_eq!((config.layout.facility, config.layout.severity, config.timeout.as_secs()), (16, 4, 5));
    assert_eq!((config.layout.hostname.as_str(), config.layout.program.as_str()), ("x", ""));
}

#[test]
fn one_megabyte_is_enough_for_dead_letters_and_a_script() {
    let text = format!("{MINIMAL}[dead_letters]\nmax_size = \"1MB\"\n");
    let settings = Typed::new().set("FORWARDER_SCRIPT_MEMORY", "1MB").good(&text);
    assert_eq!((settings.dead_letters.max_bytes, settings.hook.memory), (1_000_000, 1_000_000));
}

#[test]
fn every_syslog_protocol_has_its_port_framing_and_warning() {
    let check = |protocol: &str, port: u16, framing: Framing, warned: &[&str]| {
        let (config, warnings) = syslog(&format!("host = \"siem\"\nprotocol = \"{protocol}\""));
        assert_eq!((config.targets[0].port, config.framing), (port, framing), "{protocol}");
        assert_eq!(warnings.len(), warned.len(), "{protocol}: {warnings:?}");
        assert!(warnings.iter().zip(warned).all(|(warning, start)| warning.starts_with(start)), "{warnings:?}");
        config
    };
    check("tcp", 514, Framing::Lf, &["logs travel in plain text"]);
    check("relp", 2514, Framing::Octet, &["logs travel in plain text"]);
    let tls = check("tls", 6514, Framing::Octet, &[]);
    assert!(matches!(tls.transport, Transport::Tls(Tls { verify: true, ca_file: None, .. })));
    assert!(matches!(check("relp+tls", 20514, Framing::Octet, &[]).transport, Transport::Relp(Some(_))));
    let udp = check("udp", 514, Framing::Octet, &["logs can be lost without notice"]);
    assert!(matches!(udp.transport, Transport::Udp { rate: 5000, max_datagram: 1232 }));
    assert_eq!((udp.delivery, udp.layout.max_message), (Delivery::Sent, 1232));
}

#[test]
fn several_receivers_are_separated_by_commas() {
    let settings = Typed::new()
        .set("FORWARDER_SYSLOG_HOST", "siem-1, siem-2:1514 ,::1,[2001:db8::1],[2001:db8::2]:601")
        .good("script = \"scripts/transform.lua\"\n");
    let DestinationConfig::Syslog(config) = settings.destinations[0].config.clone() else {
        panic!("another destination")
    };
    let targets: Vec<_> = config.targets.iter().map(|target| (target.host.as_str(), target.port)).collect();
    assert_eq!(targets, [("siem-1", 514), ("siem-2", 1514), ("::1", 514), ("2001:db8::1", 514), ("2001:db8::2", 601)]);
}

#[test]
fn settings_that_weaken_syslog_are_allowed_with_a_warning() {
    let (_, warnings) = syslog("host = \"siem\"\nprotocol = \"tls\"\nverify = false\ndelivery = \"sent\"");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with(
        "the connection can be intercepted, since the receiver's certificate is not verified: syslog.verify in "
    ));
    assert!(warnings[1].starts_with("logs that the receiver has not read count as delivered: syslog.delivery in "));
    assert!(syslog("host = \"localhost, ::1, 127.0.0.1:9\"").1.is_empty(), "loopback needs no TLS");
}

#[test]
fn messages_that_receivers_reject_by_default_get_a_warning() {
    let check = |lines: &str, warned: bool| {
        let (_, warnings) = syslog(&format!("host = \"127.0.0.1\"\n{lines}"));
        assert_eq!(warnings.iter().any(|warning| warning.contains("raise the receiver's limit")), warned, "{lines}");
    };
    check("framing = \"octet\"", false);
    check("framing = \"octet\"\nmax_message = \"65536B\"", false);
    check("framing = \"octet\"\nmax_message = \"65537B\"", true);
    check("protocol = \"tls\"\nmax_message = \"1MiB\"", true);
    check("protocol = \"tls\"\nframing = \"lf\"\nmax_message = \"1MiB\"", false);
    check("max_message = \"1MiB\"", false);
    check("protocol = \"relp\"\nmax_message = \"131072B\"", false);
    check("protocol = \"relp+tls\"\nmax_message = \"131073B\"", true);
}

#[test]
fn the_layout_of_a_message_can_be_chosen() {
    let (config, _) = syslog("host = \"h\"\nformat = \"rfc3164\"\nfull_time = true\noversize = \"truncate\"");
    let shanghai = TimeZone::get("Asia/Shanghai").unwrap();
    assert_eq!(config.layout.standard, Standard::Rfc3164 { full_time: true, zone: shanghai.clone() });
    assert_eq!(config.layout.oversize, Oversize::Truncate);
    let (config, _) = syslog("host = \"h\"\nformat = \"rfc3164\"\nzone = \"UTC\"");
    assert_eq!(config.layout.standard, Standard::Rfc3164 { full_time: false, zone: TimeZone::UTC });
    let (config, _) = syslog("host = \"h\"\ncompat = true");
    assert_eq!(config.layout.compat, Some(shanghai));
    let (config, _) = syslog("host = \"h\"\nstructured_data = '[a@1 k=\"v\"][b]'\nframing = \"octet\"");
    let pair = ("k".to_owned(), "v".to_owned());
    assert_eq!(config.layout.structured_data, [("a@1".to_owned(), vec![pair]), ("b".to_owned(), vec![])]);
    assert_eq!(config.framing, Framing::Octet);
}
