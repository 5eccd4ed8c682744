//! The settings of several sources in one process, and their errors.

use std::fs;

use forwarder::settings::{Settings, SourceSettings};
use forwarder::sls::Credentials;
use forwarder::sls::credentials::KeyFiles;

use crate::settings::{CANARY, MINIMAL, Typed};

/// The environment of the vendor's script without the logstore.
fn typed() -> Typed {
    Typed::new().unset("SLS_LOGSTORE").unset("SLS_PROJECT")
}

fn sources(text: &str) -> String {
    format!("{MINIMAL}\n{text}")
}

/// The same with lines of `[sls]`.
fn with_common(common: &str, text: &str) -> String {
    sources(text).replacen("[sls]\n", &format!("[sls]\n{common}\n"), 1)
}

/// `name: project/logstore` of each.
fn who(settings: &Settings) -> Vec<String> {
    let who = |source: &SourceSettings| format!("{}: {}/{}", source.name, source.sls.project, source.sls.logstore);
    settings.sources.iter().map(who).collect()
}

#[test]
fn each_item_is_a_source_and_inherits_the_common_settings() {
    let typed = typed().set("FORWARDER_SLS_FETCH_INTERVAL", "3s");
    fs::write(typed.path("waf.lua"), "function process(log) end\n").unwrap();
    let settings = typed.good(&with_common(
        "project = \"common\"",
        r#"
[[source]]
logstore = "audit"

[[source]]
name = "waf"
project = "other"
logstore = "waf-logs"
endpoint = "https://cn-shanghai.log.aliyuncs.com"
group = "waf-group"
start = "end"
fetch_interval = "7s"
heartbeat_interval = "10s"
script = "waf.lua"
"#,
    ));
    assert_eq!(who(&settings), ["audit: common/audit", "waf: other/waf-logs"]);
    let [audit, waf] = &settings.sources[..] else { panic!() };
    assert_eq!((audit.sls.group.as_str(), waf.sls.group.as_str()), ("siem", "waf-group"));
    assert_eq!(audit.sls.endpoint, "https://cn-hangzhou.log.aliyuncs.com");
    assert_eq!(waf.sls.endpoint, "https://cn-shanghai.log.aliyuncs.com");
    assert_eq!((audit.fetch_interval.most().as_secs(), waf.fetch_interval.most().as_secs()), (3, 7));
    assert_eq!((audit.heartbeat_interval.as_secs(), waf.heartbeat_interval.as_secs()), (20, 10));
    assert_eq!(waf.sls.group_timeout.as_secs(), 30, "three of its own heartbeats");
    assert_eq!((audit.start.to_string(), waf.start.to_string()), ("begin".to_owned(), "end".to_owned()));
    assert_eq!((&audit.script, &waf.script), (&typed.path("scripts/transform.lua"), &typed.path("waf.lua")));
    assert_eq!((audit.sls.consumer.as_str(), waf.sls.consumer.as_str()), ("siem-host-1-4711", "waf-group-host-1-4711"));
}

#[test]
fn a_source_with_its_own_script_needs_no_common_one() {
    let typed = typed();
    let text = sources("[[source]]\nproject = \"p\"\nlogstore = \"a\"\nscript = \"scripts/transform.lua\"\n");
    let text = text.replacen("script = \"scripts/transform.lua\"", "", 1);
    assert_eq!(typed.good(&text).sources[0].script, typed.path("scripts/transform.lua"));
}

#[test]
fn a_single_logstore_is_one_source_named_after_it() {
    assert_eq!(who(&Typed::new().good(MINIMAL)), ["my-logstore: my-project/my-logstore"]);
}

#[test]
fn logstores_of_the_same_name_are_distinguished_by_project() {
    let items = ["a", "b"].map(|project| format!("[[source]]\nproject = \"{project}\"\nlogstore = \"audit\"\n"));
    let more = "[[source]]\nproject = \"c\"\nlogstore = \"audit\"\nname = \"third\"\n";
    let settings = typed().good(&sources(&format!("{}{more}", items.join(""))));
    assert_eq!(who(&settings), ["a.audit: a/audit", "b.audit: b/audit", "third: c/audit"]);
}

#[test]
fn the_lists_of_the_vendors_script_work_unchanged() {
    let typed = typed()
        .unset("SLS_ENDPOINT")
        .set("SLS_ENDPOINTS", " https://cn-hangzhou.log.aliyuncs.com ; https://cn-shanghai.log.aliyuncs.com;")
        .set("SLS_PROJECTS", "one; two ;")
        .set("SLS_LOGSTORES", "audit, waf ;oss;");
    let settings = typed.good(MINIMAL);
    assert_eq!(who(&settings), ["audit: one/audit", "waf: one/waf", "oss: two/oss"]);
    assert_eq!(settings.sources[2].sls.endpoint, "https://cn-shanghai.log.aliyuncs.com");
}

#[track_caller]
fn check(typed: &Typed, text: &str, expected: &str) {
    let message = typed.error(text);
    assert_eq!(message.trim_end(), expected.trim(), "\n--- message:\n{message}");
}

#[test]
fn lists_of_different_lengths_are_an_error_that_names_the_unmatched_items() {
    let typed = typed()
        .unset("SLS_ENDPOINT")
        .set("SLS_ENDPOINTS", "https://a.example;https://b.example")
        .set("SLS_PROJECTS", "one;two")
        .set("SLS_LOGSTORES", "audit");
    check(
        &typed,
        MINIMAL,
        r#"
the settings have a problem

  2 endpoints, 2 projects and 1 lists of logstores are given, and they belong together in their order
    where: SLS_ENDPOINTS in the environment, SLS_PROJECTS in the environment, SLS_LOGSTORES in the environment
    fix:   give number 2 of each: "https://b.example" and "two" has no partner
"#,
    );
    let hole = typed.set("SLS_LOGSTORES", ";audit");
    let message = hole.error(MINIMAL);
    assert!(
        message.contains("number 1 of the lists of sources lacks its endpoint, its project or its logstores"),
        "{message}"
    );
    let absent = Typed::new().set("SLS_PROJECTS", "one");
    let message = absent.error(MINIMAL);
    assert!(message.contains("there is no sls.endpoints, and the other lists of sources are given"), "{message}");
    assert!(message.contains("give FORWARDER_SLS_ENDPOINTS or SLS_ENDPOINTS"), "{message}");
}

#[test]
fn lists_cannot_be_combined_with_other_ways_to_name_sources() {
    let lists = || {
        Typed::new().set("SLS_ENDPOINTS", "https://a.example").set("SLS_PROJECTS", "one").set("SLS_LOGSTORES", "audit")
    };
    let message = lists().error(MINIMAL);
    assert!(message.contains("one source and lists of sources are both given"), "{message}");
    assert!(message.contains("SLS_ENDPOINTS in the environment, SLS_ENDPOINT in the environment"), "{message}");
    let message = lists().error(&sources("[[source]]\nlogstore = \"x\"\n"));
    assert!(message.contains("sources are given as lists and as [[source]]"), "{message}");
}

#[test]
fn a_duplicate_logstore_in_the_lists_is_named_with_its_numbers() {
    let lists = |logstores| {
        typed()
            .unset("SLS_ENDPOINT")
            .set("SLS_ENDPOINTS", "https://a.example;https://a.example")
            .set("SLS_PROJECTS", "p1;p1")
            .set("SLS_LOGSTORES", logstores)
    };
    check(
        &lists("l1;l2,l1"),
        MINIMAL,
        r#"
the settings have a problem

  source p1/l1 is given twice
    where: source p1/l1 (item 1 of SLS_LOGSTORES in the environment), source p1/l1 (logstore 2 of item 2 of SLS_LOGSTORES in the environment)
    fix:   leave one of the two out: each of its logs would be sent twice
"#,
    );
}

#[test]
fn a_duplicate_logstore_is_named_with_both_places() {
    let twice = "[[source]]\nproject = \"p\"\nlogstore = \"audit\"\n[[source]]\nname = \"again\"\nproject = \"p\"\nlogstore = \"audit\"\n";
    check(
        &typed(),
        &sources(twice),
        r#"
the settings have a problem

  source number 1 and source again are the same logstore: audit of project p
    where: source number 1 (forwarder.toml line 13), source again (forwarder.toml line 16)
    fix:   leave one of the two out: each of its logs would be sent twice
"#,
    );
    let vpc =
        twice.replace("name = \"again\"", "name = \"again\"\nendpoint = \"https://cn-hangzhou-vpc.log.aliyuncs.com\"");
    let message = typed().error(&sources(&vpc));
    assert!(message.contains("are the same logstore"), "another endpoint of the same group: {message}");
    let apart = vpc.replace("name = \"again\"", "name = \"again\"\ngroup = \"other\"");
    assert_eq!(typed().good(&sources(&apart)).sources.len(), 2, "a project of the same name in another region");
}

#[test]
fn a_duplicate_source_name_is_named_with_both_places() {
    let item = |logstore| format!("[[source]]\nname = \"x\"\nproject = \"p\"\nlogstore = \"{logstore}\"\n");
    let message = typed().error(&sources(&format!("{}{}", item("a"), item("b"))));
    assert!(message.contains("two sources are called x"), "{message}");
    assert!(message.contains("source x (forwarder.toml line 13), source x (forwarder.toml line 17)"), "{message}");
}

#[test]
fn a_problem_with_a_source_names_it_and_its_line() {
    let item =
        |lines: &str| sources(&format!("[[source]]\nname = \"waf\"\nproject = \"p\"\nlogstore = \"w\"\n{lines}\n"));
    let error = |lines: &str| typed().error(&item(lines));
    let has = |lines: &str, words: &[&str]| {
        let message = error(lines);
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    };
    has("timeout = 5", &["5 has no unit of time", "where: timeout of source waf in forwarder.toml line 17"]);
    has("logstor = \"x\"", &["\"logstor\" is not a setting of source waf", "line 17", "did you mean logstore?"]);
    has("data_fetch_interval = 1", &["did you mean fetch_interval?"]);
    has("drain_timeout = 1", &["run.drain_timeout is given once for the process, not for each item"]);
    has("colour = 1", &["[[source]] takes name, script, endpoint, project"]);
    has(
        "access_key_secret = \"x\"",
        &["access_key_secret of source waf does not belong in a settings file", "access_key_secret_file"],
    );
    has("[source]", &["this is not TOML"]);
    let message = typed().error(&sources("[source]\nname = \"x\"\n"));
    assert!(message.contains("\"source\" is a list of tables, one for each source"), "{message}");
    assert!(message.contains("begin each with a line [[source]]"), "{message}");
    let message = typed().error(&sources("[[source]]\nname = \"a b\"\nproject = \"p\"\nlogstore = \"w\"\n"));
    assert!(message.contains("\"a b\" is not a name for a source"), "{message}");
    let message = typed().error(&sources("[[source]]\nlogstore = \"w\"\n[[source]]\nname = \"x\"\nproject = \"p\"\n"));
    assert!(message.contains("sls.project is missing"), "{message}");
    assert!(
        message.contains("neither in source number 1 (forwarder.toml line 13) nor in the settings common to all"),
        "{message}"
    );
    assert!(message.contains("project under [[source]] or project under [sls]"), "{message}");
    assert!(message.contains("neither in source x (forwarder.toml line 15) nor"), "{message}");
}

#[test]
fn a_problem_of_all_sources_is_reported_once() {
    let items = ["a", "b"].map(|name| format!("[[source]]\nproject = \"p\"\nlogstore = \"{name}\"\n"));
    let text = with_common("timeout = 5", &items.join(""));
    assert_eq!(typed().load(&text).unwrap_err().problems.len(), 1);
    let plain = typed().set("SLS_ENDPOINT", "http://cn-hangzhou.log.aliyuncs.com");
    assert_eq!(plain.good(&sources(&items.join(""))).warnings.len(), 1);
}

#[test]
fn the_key_of_a_source_is_never_completed_from_the_common_one() {
    let typed = typed();
    for (name, text) in [("id", "own-id"), ("secret", CANARY), ("token", CANARY)] {
        fs::write(typed.path(name), text).unwrap();
    }
    let item = |lines: &str| sources(&format!("[[source]]\nproject = \"p\"\nlogstore = \"w\"\n{lines}\n"));
    let own = typed.good(&item("access_key_id_file = \"id\"\naccess_key_secret_file = \"secret\""));
    assert!(
        matches!(&own.sources[0].sls.credentials, Credentials::Files(KeyFiles { id, token: None, .. }) if *id == typed.path("id"))
    );
    let common = "access_key_id_file = \"id\"\naccess_key_secret_file = \"secret\"\nsecurity_token_file = \"token\"\n";
    let text = |lines: &str| item(lines).replacen("[sls]\n", &format!("[sls]\n{common}"), 1);
    let message = typed.error(&text("access_key_id_file = \"id\""));
    assert!(message.contains("the credentials are incomplete"), "{message}");
    let own = typed.good(&text("access_key_id_file = \"id\"\naccess_key_secret_file = \"secret\""));
    assert!(
        matches!(&own.sources[0].sls.credentials, Credentials::Files(KeyFiles { token: None, .. })),
        "the token is another key's"
    );
    let message = typed.error(&item("access_key_id = \"x\""));
    assert!(message.contains("name files with both: access_key_id_file and access_key_secret_file"), "{message}");
}

#[test]
fn a_pattern_matches_logstores_and_keeps_every_setting_of_its_item() {
    let text = "[[source]]\nproject = \"p\"\nlogstore = \"audit-*\"\nstart = \"end\"\n[[source]]\nproject = \"p\"\nlogstore = \"audit-a\"\n";
    let settings = typed().good(&sources(text));
    assert_eq!(who(&settings), ["audit-*: p/audit-*", "audit-a: p/audit-a"]);
    let [pattern, one] = &settings.sources[..] else { panic!() };
    assert!(pattern.is_pattern() && !one.is_pattern());
    assert_eq!(pattern.start.to_string(), "end");
}

#[test]
fn settings_of_an_item_override_flags_the_environment_and_common_settings() {
    let typed = typed()
        .flag("sls.start", "end")
        .set("FORWARDER_SLS_START", "-2h")
        .set("FORWARDER_SLS_FETCH_INTERVAL", "3s")
        .set("FORWARDER_SLS_SAVE_INTERVAL", "4s")
        .set("FORWARDER_SLS_CREDENTIALS", "static");
    for name in ["id", "secret"] {
        fs::write(typed.path(name), CANARY).unwrap();
    }
    let items = "[[source]]\nproject = \"p\"\nlogstore = \"own\"\nstart = \"begin\"\nfetch_interval = \"2s\"\nsave_interval = \"2s\"\n\
        access_key_id_file = \"id\"\naccess_key_secret_file = \"secret\"\n\
        [[source]]\nproject = \"p\"\nlogstore = \"bare\"\n\
        [[source]]\nproject = \"p\"\nlogstore = \"role\"\ncredentials = \"ecs\"\n";
    let settings = typed.good(&with_common("fetch_interval = \"5s\"\nsave_interval = \"5s\"", items));
    let [own, bare, role] = &settings.sources[..] else { panic!() };
    let seconds = |source: &SourceSettings| (source.fetch_interval.most().as_secs(), source.save_interval.as_secs());
    assert_eq!((seconds(own), seconds(bare)), ((2, 2), (3, 4)));
    assert_eq!((own.start.to_string(), bare.start.to_string()), ("begin".to_owned(), "end".to_owned()));
    // The environment has a key, too.
    assert!(matches!(&own.sls.credentials, Credentials::Files(KeyFiles { id, .. }) if *id == typed.path("id")));
    assert!(matches!(&bare.sls.credentials, Credentials::Fixed(key) if key.id == "LTAI-id"));
    assert!(!matches!(&role.sls.credentials, Credentials::Fixed(_) | Credentials::Files(_)));
}

#[test]
fn a_common_logstore_that_no_source_uses_is_an_error_with_both_places() {
    let item = "[[source]]\nname = \"waf\"\nproject = \"p\"\nlogstore = \"waf\"\n";
    check(
        &typed(),
        &with_common("logstore = \"audit\"", item),
        r#"
the settings have a problem

  sls.logstore is not used, because every [[source]] has its own
    where: sls.logstore in forwarder.toml line 7, logstore of source waf in forwarder.toml line 17
    fix:   to use it too, make it another [[source]]; otherwise leave it out
"#,
    );
    let message = Typed::new().error(&sources(item));
    assert!(message.contains("where: SLS_LOGSTORE in the environment, "), "{message}");
    assert!(!message.contains("SLS_PROJECT"), "a project is only a default: {message}");
    let message = typed().flag("sls.logstore", "audit").error(&sources(item));
    assert!(message.contains("where: --logstore, logstore of source waf"), "{message}");
    let inherits = "[[source]]\nproject = \"q\"\n";
    let settings = typed().good(&with_common("logstore = \"audit\"", &format!("{item}{inherits}")));
    assert_eq!(who(&settings), ["waf: p/waf", "audit: q/audit"]);
}
