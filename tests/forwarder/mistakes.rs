//! The messages for wrong settings: the problem, its place, and the fix.

use std::fs;
use std::path::Path;
use std::time::Duration;

use forwarder::settings;

use crate::settings::{CANARY, MINIMAL, Typed};

/// The message for one problem: the whole block.
fn check(typed: &Typed, text: &str, expected: &str) {
    let message = typed.error(text);
    assert_eq!(message.trim_end(), expected.trim_end(), "\n--- message:\n{message}");
}

#[test]
fn a_typo_in_the_file_is_named_with_its_line_and_a_suggestion() {
    check(
        &Typed::new(),
        &MINIMAL.replace("token_file = ", "tokenfile = \"x\"\ntoken_file = "),
        r#"
the settings have a problem

  "tokenfile" is not a setting of [hec]
    where: forwarder.toml line 11
    fix:   did you mean hec.token_file?
"#
        .trim_start(),
    );
}

#[test]
fn names_of_the_vendors_script_get_suggestions() {
    let message = Typed::new().error(&format!("{MINIMAL}ssl_verify = true\n[sls.x]\n[hecc]\n"));
    assert!(message.contains("did you mean hec.verify?"), "{message}");
    assert!(message.contains("did you mean [hec]?"), "{message}");
    assert!(message.contains("\"x\" is not a setting of [sls]"), "{message}");
}

#[test]
fn a_typo_in_the_environment_is_named_without_its_value() {
    check(
        &Typed::new().set("FORWARDER_HEC_TOKN", CANARY),
        MINIMAL,
        r#"
the settings have a problem

  FORWARDER_HEC_TOKN is not a setting
    where: the environment
    fix:   did you mean FORWARDER_HEC_TOKEN? If it is another program's, unset it for this one
"#
        .trim_start(),
    );
}

#[test]
fn a_missing_project_is_named_with_every_way_to_give_it() {
    check(
        &Typed::new().unset("SLS_PROJECT"),
        MINIMAL,
        r#"
the settings have a problem

  sls.project is missing: SLS project
    where: neither in flags nor in the environment nor in forwarder.toml
    fix:   give --project or FORWARDER_SLS_PROJECT or SLS_PROJECT or project under [sls]
"#
        .trim_start(),
    );
}

#[test]
fn invalid_numbers_are_answered_with_an_example() {
    check(
        &Typed::new().set("FORWARDER_HEC_CONNECT_TIMEOUT", "10").set("FORWARDER_SLS_PAGE_GROUPS", "1001"),
        &format!("{MINIMAL}timeout = \"5 minutes\"\nmax_body = 1000000\n"),
        r#"
the settings have 4 problems

  "1001" is not a number that fits
    where: FORWARDER_SLS_PAGE_GROUPS in the environment
    fix:   write a whole number from 1 to 1000

  "5 minutes" is not a duration
    where: hec.timeout in forwarder.toml line 12
    fix:   write a number with a unit: "500ms", "20s", "2m", "1h"

  10 has no unit of time
    where: FORWARDER_HEC_CONNECT_TIMEOUT in the environment
    fix:   write the unit: "10s" or "10ms"

  1000000 is not a size
    where: hec.max_body in forwarder.toml line 13
    fix:   write a number with a unit: "500KB", "1MB", "64MiB"
"#
        .trim_start(),
    );
}

#[test]
fn an_invalid_url_is_shown() {
    let with = |url: &str| Typed::new().error(&MINIMAL.replace("http://127.0.0.1:8088", url));
    assert_eq!(
        with("splunk.example:8088").trim_end(),
        r#"
the settings have a problem

  "splunk.example:8088" does not begin with https:// or http://
    where: hec.url in forwarder.toml line 10
    fix:   write it as https://host:port
"#
        .trim()
    );
    assert!(with("https://splunk:8088/services/collector").contains("has a path"));
    assert!(with("ftp://splunk:8088").contains("does not begin with"));
    assert!(with("https://").contains("is not a URL"));
    assert!(with("https://splunk:port").contains("something other than a port"));
    assert!(with("https://splunk:").contains("something other than a port"));
}

#[test]
fn an_endpoint_that_contains_the_project_is_named() {
    let message = Typed::new().set("SLS_ENDPOINT", "https://my-project.cn-hangzhou.log.aliyuncs.com").error(MINIMAL);
    assert!(message.contains("leave \"my-project.\" out"), "{message}");
}

#[test]
fn a_project_and_a_region_must_be_names() {
    for project in ["my_project!", "my project", "my-project.cn-hangzhou.log.aliyuncs.com", "用户"] {
        let message = Typed::new().set("SLS_PROJECT", project).error(MINIMAL);
        assert!(message.contains(&format!("{project:?} is not a project\n    where: SLS_PROJECT in")), "{message}");
    }
    let message = Typed::new().set("FORWARDER_SLS_REGION", "cn-hangzhou.log").error(MINIMAL);
    assert!(message.contains("\"cn-hangzhou.log\" is not a region"), "{message}");
}

#[test]
fn two_settings_for_the_same_thing_are_refused() {
    check(
        &Typed::new(),
        &format!("{MINIMAL}host = \"1.2.3.4\"\n"),
        r#"
the settings have a problem

  hec.url and hec.host are both given
    where: hec.url in forwarder.toml line 10, hec.host in forwarder.toml line 12
    fix:   keep one of the two
"#
        .trim_start(),
    );
    let message = Typed::new().error(&format!("{MINIMAL}port = 80\n"));
    assert!(message.contains("hec.port repeats a part of hec.url"), "{message}");
}

#[test]
fn a_missing_token_is_named() {
    check(
        &Typed::new(),
        &MINIMAL.replace("token_file = \"hec.token\" ", ""),
        r#"
the settings have a problem

  hec.token or hec.token_file is missing: HEC token; prefer the environment or a file
    where: neither in flags nor in the environment nor in forwarder.toml
    fix:   give FORWARDER_HEC_TOKEN or token under [hec] or --hec-token-file or FORWARDER_HEC_TOKEN_FILE or token_file under [hec]
"#
        .trim_start(),
    );
}

#[test]
fn a_token_file_that_is_absent_or_empty_is_named() {
    check(
        &Typed::new(),
        &MINIMAL.replace("hec.token", "no.token"),
        r#"
the settings have a problem

  no.token can't be read: No such file or directory (os error 2)
    where: hec.token_file in forwarder.toml line 11
    fix:   check the path and its permissions; a path in a settings file is relative to that file's directory
"#
        .trim_start(),
    );
    let typed = Typed::new();
    fs::write(typed.path("hec.token"), "\n").unwrap();
    assert!(typed.error(MINIMAL).contains("hec.token is empty"));
}

#[test]
fn an_unreadable_script_is_named() {
    check(
        &Typed::new(),
        &MINIMAL.replace("scripts/transform.lua", "scripts"),
        r#"
the settings have a problem

  scripts can't be read: it is not a regular file but a directory
    where: script.file in forwarder.toml line 4
    fix:   check the path and its permissions; a path in a settings file is relative to that file's directory
"#
        .trim_start(),
    );
}

#[test]
fn incomplete_credentials_are_never_completed_from_another_tools_variables() {
    check(
        &Typed::new().unset("SLS_AK_KEY").set("ALIBABA_CLOUD_ACCESS_KEY_SECRET", CANARY),
        MINIMAL,
        r#"
the settings have a problem

  the credentials are incomplete: there is sls.access_key_id but no sls.access_key_secret
    where: SLS_AK_ID in the environment
    fix:   give FORWARDER_SLS_ACCESS_KEY_SECRET or SLS_AK_KEY
"#
        .trim_start(),
    );
    let message = Typed::new().error(&MINIMAL.replace("[hec]", "[hec]\nclient_cert = \"hec.token\""));
    assert!(message.contains("there is hec.client_cert but no hec.client_key"), "{message}");
}

#[test]
fn a_secret_in_the_settings_file_is_refused_with_a_better_place() {
    check(
        &Typed::new(),
        &MINIMAL.replace("[sls]", &format!("[sls]\naccess_key_secret = \"{CANARY}\"")),
        r#"
the settings have a problem

  sls.access_key_secret does not belong in a settings file: such files are copied and committed
    where: forwarder.toml line 7
    fix:   put it in a file of its own and name that with sls.access_key_secret_file, or set FORWARDER_SLS_ACCESS_KEY_SECRET; then revoke this one
"#
        .trim_start(),
    );
}

#[test]
fn invalid_toml_is_named_with_its_line_and_not_quoted() {
    let message = Typed::new().error("script = a\n[hec\nurl = \n");
    let lines: Vec<_> = message.lines().filter(|line| line.contains("where:")).map(str::trim).collect();
    assert_eq!(lines, ["where: forwarder.toml line 1", "where: forwarder.toml line 2"], "{message}");
    let message = Typed::new().error(&MINIMAL.replace("token_file = \"hec.token\"", &format!("token = \"{CANARY}")));
    assert!(message.contains("this is not TOML: "), "{message}");
    assert!(message.contains("where: forwarder.toml line 11"), "{message}");
    assert!(!message.contains(CANARY), "{message}");
}

#[test]
fn a_settings_file_that_is_absent_is_the_only_problem() {
    let typed = Typed::new().unset("SLS_PROJECT");
    let error = settings::load(Some(Path::new("/nowhere/x.toml")), &Vec::new(), &typed.environment, &typed.machine);
    let problems = error.unwrap_err().problems;
    assert_eq!(problems.len(), 1);
    assert!(problems[0].what.starts_with("the settings file can't be read: No such file"), "{problems:?}");
}

#[test]
fn a_group_timeout_must_outlast_a_late_heartbeat() {
    let message = Typed::new().set("FORWARDER_SLS_GROUP_TIMEOUT", "30").error(MINIMAL);
    assert!(message.contains("shorter than two heartbeats") && message.contains("write \"1m\" or more"), "{message}");
    let settings = Typed::new().set("FORWARDER_SLS_HEARTBEAT_INTERVAL", "5s").good(MINIMAL);
    assert_eq!(settings.sources[0].sls.group_timeout, Duration::from_secs(15));
}

/// The messages for a `[syslog]` table with these lines: the first line of each problem.
fn syslog_said(lines: &str) -> Vec<String> {
    let text = format!("script = \"scripts/transform.lua\"\n[syslog]\n{lines}\n");
    let problems = Typed::new().load(&text).expect_err("it should be refused").problems;
    problems.into_iter().map(|problem| problem.what).collect()
}

#[test]
fn at_least_one_destination_is_required_and_each_must_be_complete() {
    let message = Typed::new().error("script = \"scripts/transform.lua\"\n[syslog]\n");
    assert!(message.contains("hec.url or syslog.host or file.path is missing"), "{message}");
    assert_eq!(
        syslog_said("port = 514"),
        [
            "syslog.host is missing: syslog receiver; or several, separated by commas, of which the first one that works is used, each with its own port if needed: siem-1, siem-2:1514, [2001:db8::1]:514"
        ]
    );
}

#[test]
fn a_setting_without_effect_for_the_protocol_or_format_is_a_mistake() {
    let check = |lines: &str, expected: &[&str]| {
        assert_eq!(syslog_said(&format!("host = \"siem\"\n{lines}")), expected, "{lines}");
    };
    check(
        "verify = true\nserver_name = \"x\"",
        &[
            "syslog.verify has no effect here: syslog.protocol is tcp, which has no TLS; tls has",
            "syslog.server_name has no effect here: syslog.protocol is tcp, which has no TLS; tls has",
        ],
    );
    check(
        "protocol = \"relp\"\nframing = \"lf\"\nca_file = \"hec.token\"",
        &[
            "syslog.ca_file has no effect here: syslog.protocol is relp, which has no TLS; relp+tls has",
            "syslog.framing has no effect here: syslog.protocol is relp, which has a framing of its own",
        ],
    );
    check(
        "protocol = \"udp\"\ndelivery = \"confirmed\"\nconfirm_lag = \"1s\"\nmax_message = \"70KB\"",
        &[
            "a datagram of 70000 bytes is more than UDP can carry",
            "nothing that is sent over udp can be confirmed",
            "syslog.confirm_lag has no effect here: syslog.protocol is udp: nothing is confirmed",
        ],
    );
    check("rate = 5", &["syslog.rate has no effect here: syslog.protocol is tcp: only udp has a rate"]);
    check(
        "delivery = \"sent\"\nconfirm_interval = \"2s\"",
        &["syslog.confirm_interval has no effect here: syslog.delivery is sent: nothing is confirmed"],
    );
    check(
        "format = \"rfc3164\"\nbom = true\nstructured_data = \"[a]\"",
        &[
            "syslog.structured_data has no effect here: syslog.format is rfc3164, which does not have it",
            "syslog.bom has no effect here: syslog.format is rfc3164, which does not have it",
        ],
    );
    check(
        "full_time = true\nzone = \"utc\"",
        &[
            "syslog.full_time has no effect here: syslog.format is rfc5424, whose time is always full",
            "syslog.zone has no effect here: syslog.format is rfc5424, whose time is in UTC",
        ],
    );
}

#[test]
fn an_impossible_syslog_setting_is_named() {
    let check = |lines: &str, expected: &str| assert_eq!(syslog_said(lines), [expected], "{lines}");
    for host in ["tcp://siem", "siem:", "siem:0", "siem:99999", "a,,b", "a b", "[::1", "[siem]:5", "u@siem"] {
        check(&format!("host = \"{host}\""), &format!("{host:?} is not a host, nor several separated by commas"));
    }
    check("host = \"h\"\nfacility = \"local8\"", "\"local8\" is not a facility");
    check("host = \"h\"\nseverity = 8", "\"8\" is not a severity");
    check("host = \"h\"\ncompat = true\nzone = \"Mars\"", "\"Mars\" is not a time zone");
    check("host = \"h\"\nstructured_data = \"[a\"", "this is not structured data: a ] is needed at the end");
    check("host = \"h\"\nmax_message = \"100B\"", "\"100B\" is out of bounds");
    let message = Typed::new().error(
        "script = \"scripts/transform.lua\"\n[syslog]\nhost = \"h\"\ntag = \"x\"\nsep = \"|\"\ncert_path = \"x\"\n",
    );
    for meant in ["syslog.program", "syslog.separator", "syslog.ca_file"] {
        assert!(message.contains(&format!("did you mean {meant}?")), "{message}");
    }
}

/// Mistakes that an operator might make, in a line added to the minimal settings file, with their messages. Each is
/// named with its line.
#[test]
fn an_impossible_value_is_reported_with_the_reason() {
    let typed = Typed::new();
    let pem = |label: &str| format!("-----BEGIN {label}-----\nMII=\n-----END {label}-----\n");
    for (name, content) in [
        ("ca.pem", pem("CERTIFICATE")),
        ("key.pem", pem("PRIVATE KEY")),
        ("rsa.pem", pem("RSA PRIVATE KEY")),
        ("bom.token", format!("\u{feff}{CANARY}\n")),
        ("two.token", format!("{CANARY}\n{CANARY}\n")),
    ] {
        fs::write(typed.path(name), content).unwrap();
    }
    let check = |line: &str, expected: &[&str]| {
        let problems = typed.load(&format!("{MINIMAL}{line}\n")).expect_err(line).problems;
        let directory = format!("{}/", typed.path("").display()).replace("//", "/");
        let what: Vec<_> = problems.iter().map(|problem| problem.what.replace(&directory, "")).collect();
        assert_eq!(what, expected, "{line}");
        let is_placed = |place: &str| place.contains("forwarder.toml line 1") || place.contains("line 11");
        assert!(problems.iter().all(|problem| is_placed(&problem.place) && !problem.fix.is_empty()), "{problems:#?}");
        assert!(!format!("{problems:?}").contains(CANARY), "{problems:#?}");
    };
    check("timeout = \"-5s\"", &["\"-5s\" is not a duration"]);
    check("timeout = -5", &["-5 is not a duration"]);
    check("timeout = 1.5", &["a number with a fraction is not a duration"]);
    check("timeout = \"99999999999d\"", &["\"99999999999d\" is too long"]);
    check("timeout = 9223372036854775807", &["9223372036854775807 is too long"]);
    check("timeout = \"0s\"", &["\"0s\" is too short"]);
    check("gzip = \"yes\"", &["\"yes\" is neither true nor false"]);
    check("gzip = 1", &["1 is neither true nor false"]);
    check("max_body = \"5GB\"", &["\"5GB\" is out of bounds"]);
    check("max_body = \"99999999999GiB\"", &["\"99999999999GiB\" is not a size"]);
    check("max_requests = 0", &["0 is not a number that fits"]);
    check("index = [\"a\"]", &["an array is not text"]);
    check("index = \"a\\u0000\"", &["it contains control characters"]);
    check("proxy = \"proxy:3128\"", &["\"proxy:3128\" does not begin with https:// or http://"]);
    check(&format!("proxy = \"http://u:{CANARY}@proxy:3128\""), &["there is a user name or a password in the URL"]);
    check("proxy = \"http://proxy:0\"", &["\"http://proxy:0\" has port 0, which no server can use"]);
    check("ca_file = \"key.pem\"", &["key.pem: it contains a private key and no certificate"]);
    check("ca_file = \"hec.token\"", &["hec.token: it contains no PEM certificate"]);
    check("ca_file = \"scripts\"", &["scripts can't be read: it is not a regular file but a directory"]);
    check(
        "client_cert = \"key.pem\"\nclient_key = \"ca.pem\"",
        &[
            "key.pem: it contains a private key and no certificate",
            "ca.pem: it contains a certificate and no private key",
        ],
    );
    check("client_cert = \"ca.pem\"\nclient_key = \"rsa.pem\"", &["rsa.pem: its key is not in PKCS #8 form"]);
    check("client_key = \"key.pem\"", &["there is hec.client_key but no hec.client_cert"]);
    check("[run]\nhook_threads = 257", &["257 is not a number that fits"]);
    check("[log]\nlevel = \"verbose\"", &["\"verbose\" is not a choice"]);
    for address in ["9464", ":9464", "localhost:9464", "127.0.0.1", "127.0.0.1:99999", "http://127.0.0.1:9464"] {
        check(&format!("[admin]\nlisten = \"{address}\""), &[&format!("{address:?} is not an address to listen on")]);
    }
    check("[admin]\nlisten = \"unix:x.sock\"", &["x.sock is not an absolute path"]);
    let twice = "there is script = \"…\" at the top and a table [script] as well, and TOML can't have both";
    check("[script]\ntimeout = \"1s\"", &[twice]);
    check("[script.vars]\na = 1\nb = 2", &[twice]);

    let token = |name: &str| typed.error(&MINIMAL.replace("hec.token", name));
    for (name, what) in [
        ("bom.token", "bom.token: it begins with a byte order mark"),
        ("two.token", "two.token: it contains white space"),
    ] {
        let message = token(name);
        assert!(message.contains(what) && message.contains("hec.token_file in forwarder.toml line 11"), "{message}");
    }
}

#[test]
fn a_settings_file_with_invalid_utf8_is_named_with_its_line() {
    let typed = Typed::new();
    let load = |path: &Path| settings::load(Some(path), &Vec::new(), &typed.environment, &typed.machine);
    let path = typed.path("latin.toml");
    fs::write(&path, b"script = \"x\"\n# \xfcber\n").unwrap();
    let message = load(&path).unwrap_err().to_string();
    assert!(
        message.contains("the settings file is not UTF-8 text") && message.contains("latin.toml line 2"),
        "{message}"
    );
    let message = load(&typed.path("scripts")).unwrap_err().to_string();
    assert!(message.contains("the settings file can't be read: it is not a regular file but a directory"), "{message}");
    // The byte order mark of Windows editors is not a mistake.
    fs::write(&path, format!("\u{feff}{MINIMAL}")).unwrap();
    load(&path).unwrap();
}
