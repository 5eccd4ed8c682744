//! Credentials, secrets and the files that hold them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use forwarder::destination::hec::Token;
use forwarder::sls::Credentials;
use forwarder::sls::credentials::KeyFiles;

use super::{CANARY, MINIMAL, Typed, hec};

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
fn files_in_a_directory_that_others_can_write_get_a_warning() {
    let typed = Typed::new();
    let permit = |mode| {
        for dir in ["", "scripts"] {
            fs::set_permissions(typed.path(dir), fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    permit(0o777);
    let warnings = typed.good(MINIMAL).warnings;
    for file in ["forwarder.toml", "scripts/transform.lua", "hec.token"] {
        let says = |warning: &&String| {
            warning.starts_with(&format!("{} is trusted", typed.path(file).display()))
                && warning
                    .contains("its directory is world-writable, so others could replace it (mode 0777): chmod o-w ")
        };
        assert_eq!(warnings.iter().filter(says).count(), 1, "{file}: {warnings:?}");
    }
    permit(0o1777);
    assert!(typed.good(MINIMAL).warnings.is_empty());
}

#[test]
fn a_session_too_short_for_an_outage_of_half_an_hour_gets_a_warning() {
    let with = |duration| {
        let typed = Typed::new().set("FORWARDER_SLS_ROLE_ARN", "acs:ram::1234:role/log-reader");
        typed.set("FORWARDER_SLS_ROLE_DURATION", duration).good(MINIMAL).warnings
    };
    assert_eq!(
        with("15m"),
        [
            "an outage of STS of more than 10m stops the source: FORWARDER_SLS_ROLE_DURATION in the environment is 15m, and a session is renewed when a third of it has passed; \"45m\" or more outlasts half an hour"
        ]
    );
    assert!(with("45m").is_empty() && with("1h").is_empty());
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
