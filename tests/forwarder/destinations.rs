//! The settings of several destinations in one process, and their errors.

use forwarder::destination::registry::DestinationConfig;
use forwarder::settings::Settings;

use crate::settings::{MINIMAL, Typed};

/// The minimal settings without a destination, and these.
fn with(destinations: &str) -> String {
    let (before, _) = MINIMAL.split_once("[hec]").expect("the minimal settings have Splunk");
    format!("{before}{destinations}")
}

/// `name: address` of each.
fn who(settings: &Settings) -> Vec<String> {
    let place = |config: &DestinationConfig| match config {
        DestinationConfig::Hec(hec) => hec.members[0].url.clone(),
        DestinationConfig::Syslog(syslog) => syslog.targets[0].to_string(),
        DestinationConfig::File(file) => file.path.file_name().unwrap().display().to_string(),
    };
    settings.destinations.iter().map(|one| format!("{}: {}", one.name, place(&one.config))).collect()
}

#[test]
fn destination_tables_together_are_destinations_named_after_the_tables() {
    let typed = Typed::new().set("FORWARDER_HEC_TOKEN", "t0ken");
    let settings =
        typed.good(&with("[file]\npath = \"a.jsonl\"\n[hec]\nurl = \"https://h:8088\"\n[syslog]\nhost = \"s\"\n"));
    assert_eq!(who(&settings), ["hec: https://h:8088", "syslog: s:514", "file: a.jsonl"]);
}

#[test]
fn each_item_is_a_destination_and_inherits_the_settings_of_its_table() {
    let typed = Typed::new().set("FORWARDER_HEC_TOKEN", "t0ken");
    let settings = typed.good(&with(
        r#"
[hec]
index = "main"

[syslog]
host = "qradar"

[[destination]]
name = "splunk"
type = "hec"
url = "https://a:8088"

[[destination]]
name = "splunk-dr"
type = "hec"
url = "https://b:8088"
index = "dr"
on_reject = "halt"

[[destination]]
type = "file"
path = "a.jsonl"
"#,
    ));
    assert_eq!(
        who(&settings),
        ["syslog: qradar:514", "splunk: https://a:8088", "splunk-dr: https://b:8088", "file: a.jsonl"]
    );
    let index = |at: usize| match &settings.destinations[at].config {
        DestinationConfig::Hec(hec) => hec.index.clone().unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!((index(1).as_str(), index(2).as_str()), ("main", "dr"));
    assert_ne!(settings.destinations[1].on_reject, settings.destinations[2].on_reject);
}

#[test]
fn a_problem_with_an_item_is_reported_with_its_name_and_line() {
    let typed = Typed::new().set("FORWARDER_HEC_TOKEN", "t0ken");
    let error = |text: &str| typed.error(&with(text));
    let twice = error(
        "[[destination]]\ntype = \"file\"\npath = \"a\"\n[[destination]]\nname = \"file\"\ntype = \"syslog\"\nhost = \"s\"\n",
    );
    assert!(twice.contains("two destinations are called file"), "{twice}");
    assert!(twice.contains("destination number 1 (") && twice.contains("destination file ("), "{twice}");
    let table = error("[hec]\nurl = \"https://h\"\n[[destination]]\nname = \"hec\"\ntype = \"file\"\npath = \"a\"\n");
    assert!(table.contains("two destinations are called hec") && table.contains("[hec], destination hec ("), "{table}");
    let kind = error("[[destination]]\nname = \"k\"\ntype = \"kafka\"\n");
    assert!(kind.contains("\"kafka\" is not a type of destination") && kind.contains("hec, syslog, file"), "{kind}");
    let none = error("[[destination]]\nname = \"k\"\n");
    assert!(none.contains("a destination has no type"), "{none}");
    let key = error("[[destination]]\nname = \"k\"\ntype = \"file\"\npth = \"a\"\n");
    assert!(key.contains("\"pth\" is not a setting of destination k") && key.contains("did you mean path?"), "{key}");
    let missing = error("[[destination]]\nname = \"k\"\ntype = \"file\"\n");
    assert!(missing.contains("file.path is missing") && missing.contains("path under [[destination]]"), "{missing}");
    let name = error("[[destination]]\nname = \"a b\"\ntype = \"file\"\npath = \"a\"\n");
    assert!(name.contains("\"a b\" is not a name for a destination"), "{name}");
}

#[test]
fn copies_of_dead_letters_go_to_an_existing_destination() {
    let text =
        |to: &str| with(&format!("[syslog]\nhost = \"s\"\n[file]\npath = \"a\"\n[dead_letters]\nto = \"{to}\"\n"));
    let copies = Typed::new().good(&text("file")).dead_letters.to;
    assert_eq!(copies.unwrap().as_str(), "file");
    let message = Typed::new().error(&text("archive"));
    assert!(message.contains("no destination is called \"archive\"") && message.contains("syslog, file"), "{message}");
    assert!(Typed::new().good(&with("[syslog]\nhost = \"s\"\n")).dead_letters.to.is_none());
}

#[test]
fn a_common_address_that_no_destination_of_its_type_uses_is_an_error_with_both_places() {
    let typed = || Typed::new().set("FORWARDER_HEC_TOKEN", "t0ken");
    let item = |kind: &str, key: &str| format!("[[destination]]\nname = \"dr\"\ntype = \"{kind}\"\n{key}\n");
    let dr = item("hec", "url = \"https://b:8088\"");
    for (common, key) in [("url = \"https://a:8088\"", "url"), ("host = \"a\"", "host")] {
        let message = typed().error(&with(&format!("[hec]\n{common}\n{dr}")));
        assert!(
            message.contains(&format!("hec.{key} is not used, because every [[destination]] has its own"))
                && message.contains(&format!("where: hec.{key} in forwarder.toml line 10, url of destination dr in ")),
            "{message}"
        );
    }
    let message = typed().set("FORWARDER_HEC_URL", "https://a:8088").error(&with(&dr));
    assert!(message.contains("where: FORWARDER_HEC_URL in the environment, url of destination dr"), "{message}");
    let message = typed().error(&with(&format!("[syslog]\nhost = \"a\"\n{}", item("syslog", "host = \"b\""))));
    assert!(message.contains("syslog.host is not used"), "{message}");
    let message = typed().error(&with(&format!("[file]\npath = \"a\"\n{}", item("file", "path = \"b\""))));
    assert!(message.contains("file.path is not used"), "{message}");
    let used = format!("[hec]\nurl = \"https://a:8088\"\n{dr}[[destination]]\ntype = \"hec\"\n");
    assert_eq!(who(&typed().good(&with(&used))), ["dr: https://b:8088", "hec: https://a:8088"]);
}

#[test]
fn the_file_of_a_destination_is_no_other_file_of_the_settings() {
    let file = |path: &str, more: &str| with(&format!("[file]\npath = \"{path}\"\n{more}"));
    let check = |text: &str, expected: &str, place: &str| {
        let message = Typed::new().error(text);
        assert!(message.contains(expected) && message.contains(place), "{message}");
    };
    let one = |setting: &str| format!("file.path and {setting} are one file");
    check(
        &file("scripts/transform.lua", ""),
        &one("script.file"),
        "file.path in forwarder.toml line 10, script.file in ",
    );
    check(&file("scripts/../forwarder.toml", ""), &one("the settings file"), "forwarder.toml");
    check(&file("./own.log", "[log]\nfile = \"own.log\"\n"), &one("log.file"), "log.file in forwarder.toml line 12");
    check(&file("own.log.2", "[log]\nfile = \"own.log\"\n"), &one("log.file"), "log.file in forwarder.toml line 12");
    let hec = "[hec]\nurl = \"https://h:8088\"\ntoken_file = \"hec.token\"\n";
    check(&file("hec.token", hec), &one("hec.token_file"), "hec.token_file in forwarder.toml line 13");
    for (table, setting) in [("dead_letters", "dead_letters.dir"), ("state", "state.dir")] {
        let text = file("scripts/x.jsonl", &format!("[{table}]\ndir = \"scripts\"\n"));
        check(&text, &format!("file.path is in {setting}, where all files are the program's"), setting);
    }
    let two = |first: &str, second: &str| {
        let item = |name: &str, path: &str| format!("[[destination]]\nname = \"{name}\"\ntype = \"file\"\n{path}\n");
        with(&format!("{}{}", item("a", first), item("b", second)))
    };
    let both = "destination a and destination b would write to one file";
    check(&two("path = \"o\"", "path = \"./o\""), both, "path of destination a in forwarder.toml line 12");
    check(&two("path = \"o.lock\"", "path = \"o\""), both, "path of destination b in");
    let common = two("", "").replacen("[[destination]]", "[file]\npath = \"o\"\n[[destination]]", 1);
    check(&common, both, "file.path in forwarder.toml line 10");
    assert_eq!(Typed::new().good(&two("path = \"o\"", "path = \"o.old\"")).destinations.len(), 2);
}
