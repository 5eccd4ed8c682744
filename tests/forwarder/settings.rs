//! Settings from flags, environment and file.

mod collectors;
mod security;
mod syslog;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use forwarder::core::cursor::Start;
use forwarder::destination::hec::{Config as Hec, MemberConfig, Token};
use forwarder::destination::registry::DestinationConfig;
use forwarder::pipeline::FetchInterval;
use forwarder::settings;
use forwarder::settings::{Environment, Flags, Machine, Settings};
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
fn one_megabyte_is_enough_for_dead_letters_and_a_script() {
    let text = format!("{MINIMAL}[dead_letters]\nmax_size = \"1MB\"\n");
    let settings = Typed::new().set("FORWARDER_SCRIPT_MEMORY", "1MB").good(&text);
    assert_eq!((settings.dead_letters.max_bytes, settings.hook.memory), (1_000_000, 1_000_000));
}

#[test]
fn dead_letters_are_not_taken_from_the_disk_without_a_destination_for_them() {
    let error = Typed::new().error(&format!("{MINIMAL}[dead_letters]\ndisk = false\n"));
    assert!(error.contains("dead letters would be nowhere"), "{error}");
    assert!(error.contains("set dead_letters.to"), "{error}");
    let settings = Typed::new().good(&format!("{MINIMAL}[dead_letters]\ndisk = false\nto = \"hec\"\n"));
    assert!(!settings.dead_letters.disk);
}
