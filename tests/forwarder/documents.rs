//! Documents and examples match the existing settings.

use std::collections::BTreeSet;
use std::fs;

use forwarder::script::Script;
use forwarder::script::testing::cases;
use forwarder::settings::keys;
use forwarder::settings::keys::{Default, Kind, Row};
use forwarder::sls::permissions::{Scope, policy};

use crate::packs::limits;
use crate::settings::{Typed, hec};

const EXAMPLE: &str = include_str!("../../examples/forwarder.toml");
const KUBERNETES: &str = include_str!("../../examples/kubernetes.yaml");
const UNIT: &str = include_str!("../../examples/forwarder.service");
const DOCUMENT: &str = include_str!("../../docs/settings.md");

#[test]
fn the_long_example_has_the_default_values() {
    let typed = Typed::new().set("FORWARDER_HEC_URL", "http://127.0.0.1:8088").set("FORWARDER_HEC_TOKEN", "t");
    let script = typed.path("scripts/transform.lua");
    let typed = typed.set("FORWARDER_SCRIPT", script.to_str().unwrap());
    let (example, bare) = (typed.good(EXAMPLE), typed.good(""));
    assert_eq!(format!("{example:#?}"), format!("{bare:#?}"));
    assert_eq!(hec(&example).max_requests, 32);
}

#[test]
fn the_long_example_has_every_setting_and_no_other() {
    let mut table = "";
    let mut shown = BTreeSet::new();
    for line in EXAMPLE.lines() {
        if let Some(name) = line.strip_prefix("# [[").and_then(|rest| rest.strip_suffix("]]")) {
            table = name;
        } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            table = name;
        }
        let line = line.strip_prefix("# ").unwrap_or(line);
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        if rest.starts_with("= ") || rest.trim() == "environment only" {
            shown.insert(format!("{table}.{name}"));
        }
    }
    shown.remove("script.tenant");
    let known: BTreeSet<_> = keys::all().map(|key| key.name.to_owned()).collect();
    assert_eq!(shown, known);
}

#[test]
fn the_settings_of_the_kubernetes_example_lack_only_mounted_files() {
    let (_, rest) = KUBERNETES.split_once("  forwarder.toml: |\n").unwrap();
    let (text, _) = rest.split_once("  transform.lua: |\n").unwrap();
    let text: String = text.lines().map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(""))).collect();
    let mut typed = Typed::new();
    typed.environment.clear();
    let problems = typed.load(&text).unwrap_err().problems;
    let files = ["transform.lua", "sls-access-key-id", "sls-access-key-secret", "hec.token"];
    let found: Vec<_> = problems.iter().map(|problem| &problem.what).collect();
    assert_eq!(found.len(), files.len(), "{found:#?}");
    for (what, file) in found.iter().zip(files) {
        assert!(what.contains(&format!("{file} can't be read")), "{what}");
    }
}

#[test]
fn the_systemd_unit_sets_variables_that_exist() {
    let variables: Vec<_> =
        UNIT.lines().filter_map(|line| line.strip_prefix("Environment=")?.split_once('=')).collect();
    assert_eq!(variables.len(), 3);
    for (name, value) in variables {
        assert!(keys::all().any(|key| key.variable().as_deref() == Some(name)), "{name}");
        let credential = value.strip_prefix("%d/").unwrap();
        assert!(UNIT.contains(&format!("LoadCredential={credential}:")), "{credential}");
    }
}

/// After a change of the settings, copy the table that this test prints.
#[test]
fn the_documentation_has_the_table_of_settings() {
    let table = table();
    assert!(table.lines().count() > keys::all().count());
    if !DOCUMENT.contains(&table) {
        let path = std::env::temp_dir().join("forwarder-settings-table.md");
        fs::write(&path, &table).unwrap();
        panic!("docs/settings.md is behind; the table that it should hold is in {}", path.display());
    }
}

fn table() -> String {
    let mut table = "| setting | takes | default | environment, flag | meaning |\n|---|---|---|---|---|\n".to_owned();
    for key in keys::all() {
        let cells = [format!("`{}`", key.name), takes(key), default(key), ways(key), key.meaning.replace('|', "\\|")];
        table += &format!("| {} |\n", cells.join(" | "));
    }
    table
}

fn takes(key: &Row) -> String {
    match key.kind {
        Kind::Text => "text".to_owned(),
        Kind::List => "text, or an array of text".to_owned(),
        Kind::Path => "path".to_owned(),
        Kind::Switch => "true, false".to_owned(),
        Kind::Count(least, most) => format!("{least} to {most}"),
        Kind::Duration(_) => format!("duration{}", at_least(key.least())),
        Kind::Seconds(_) => format!("duration{}, or seconds", at_least(key.least())),
        Kind::Interval(_) => format!("duration{}, or seconds, or two: `100ms..1s`", at_least(key.least())),
        Kind::Size(..) => format!("size{}", at_least(key.least())),
        Kind::OneOf(words) => words().join(", "),
        Kind::Start => "start position".to_owned(),
        Kind::Secret => "secret".to_owned(),
        Kind::EnvironmentSecret => "secret, not in the file".to_owned(),
        Kind::Table => "table, in the file only".to_owned(),
    }
}

fn at_least(least: Option<String>) -> String {
    least.map(|least| format!(", at least {least}")).unwrap_or_default()
}

fn default(key: &Row) -> String {
    match key.default {
        Default::Is(text) => format!("`{text}`"),
        Default::Computed(words) => words.to_owned(),
        Default::Nothing => "none".to_owned(),
        Default::Required => "**required**".to_owned(),
    }
}

fn ways(key: &Row) -> String {
    let variables = key.variable().into_iter().chain(key.also.iter().map(ToString::to_string));
    let flag = key.flag.map(|flag| format!("--{flag}"));
    variables.chain(flag).map(|way| format!("`{way}`")).collect::<Vec<_>>().join("<br>")
}

/// Each row of the README's table of permissions is a statement of the policy, in order.
#[test]
fn the_readme_has_the_permissions_of_the_policy() {
    let readme = include_str!("../../README.md");
    let (_, rows) = readme.split_once("| on | actions |").unwrap();
    let rows = rows.lines().skip(2).take_while(|line| line.trim().starts_with('|'));
    let actions = |row: &str| -> Vec<String> {
        let words = row.split('`').skip(1).step_by(2).filter(|word| word.starts_with("log:"));
        words.map(str::to_owned).collect()
    };
    let shown: Vec<BTreeSet<String>> = rows.map(|row| actions(row).into_iter().collect()).collect();
    let names = ["my-project", "my-logstore", "siem"].map(str::to_owned);
    let [project, logstore, group] = names;
    let policy = policy([&Scope { project, logstore, group, manage_group: false, probe: false }]);
    let statements = policy["Statement"].as_array().unwrap().iter();
    let granted = statements.map(|statement| {
        statement["Action"].as_array().unwrap().iter().map(|action| action.as_str().unwrap().to_owned()).collect()
    });
    assert_eq!(shown, granted.collect::<Vec<BTreeSet<String>>>());
    assert_eq!(shown.len(), 3);
}

/// A Lua block with a file name is written beside the hook, one without is the hook, and the JSON block below it
/// contains its cases.
#[test]
fn every_script_of_the_hook_page_produces_the_output_shown_below_it() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/write-your-hook.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hook.lua");
    let mut passed = 0;
    let mut waiting = false;
    for block in page.split("\n```").skip(1).step_by(2) {
        let (info, text) = block.split_once('\n').unwrap();
        match info.split_once(' ').unwrap_or((info, "")) {
            ("lua" | "csv", name) if !name.is_empty() => fs::write(folder.path().join(name), text).unwrap(),
            ("lua", _) => {
                assert!(!waiting, "no cases before {text}");
                fs::write(&path, text).unwrap();
                waiting = true;
            }
            ("json", _) => {
                let script = Script::read(&path).unwrap();
                let report = cases::run(&script, &limits(), text).unwrap_or_else(|error| panic!("{error}"));
                let failures: Vec<String> = report.failures.iter().map(ToString::to_string).collect();
                assert!(failures.is_empty(), "{}\n{}", String::from_utf8_lossy(&script.text), failures.join("\n"));
                passed += report.passed;
                waiting = false;
            }
            ("console" | "toml" | "text", _) => {}
            (other, _) => panic!("a block of {other:?}"),
        }
    }
    assert!(!waiting && passed >= 12, "{passed} cases");
}
