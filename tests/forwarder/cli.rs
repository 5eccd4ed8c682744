//! The command line: help, exit codes, and what the commands print.

use std::fs;
use std::process::{Command, Output, Stdio};

use forwarder::settings::keys;
use tempfile::TempDir;

/// The program without our environment.
pub fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forwarder"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_help_explains_the_first_run_and_lists_every_flag() {
    let output = output(&["--help"]);
    let help = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    for words in ["First run:", "export SLS_ENDPOINT=", "function process(log)", "--config", "Exit codes:"] {
        assert!(help.contains(words), "{words}");
    }
    let flags: Vec<_> = keys::all().filter_map(|key| key.flag).collect();
    assert!(flags.len() > 10);
    for flag in flags {
        // A boolean flag needs no value.
        let shown = [format!("--{flag} <"), format!("--{flag}[=<")];
        assert!(shown.iter().any(|flag| help.contains(flag)), "--{flag}");
    }
}

/// Lines of a usual terminal.
const SCREEN: usize = 50;

#[test]
fn the_short_help_fits_a_screen_and_names_every_command() {
    for columns in ["80", "120"] {
        let help = text(&program(&["-h"]).env("COLUMNS", columns).output().unwrap().stdout);
        assert!(help.lines().count() <= SCREEN, "{} lines:\n{help}", help.lines().count());
    }
    let help = text(&output(&["-h"]).stdout);
    for command in [
        "check",
        "completions",
        "config",
        "demo",
        "dlq",
        "man",
        "policy",
        "status",
        "tap",
        "test",
        "top",
        "try",
        "types",
    ] {
        assert!(help.contains(&format!("  {command} ")), "{command}");
    }
    assert!(help.contains("--script") && help.contains("--help has all flags"), "{help}");
}

#[test]
fn the_example_settings_file_has_every_setting_and_changes_none() {
    let example = text(&output(&["config", "example"]).stdout);
    let settings: toml::Table = example.parse().unwrap();
    assert!(settings.values().all(|table| table.as_table().is_some_and(toml::Table::is_empty)), "{settings:?}");
    for key in keys::all().filter(|key| key.scope != keys::Scope::Item) {
        let name = key.parts().1;
        let is_there = example.lines().any(|line| {
            line.starts_with(&format!("# {name} = "))
                || line.contains(&key.variable().unwrap_or(format!("[{}]", key.name)))
        });
        assert!(is_there, "{}", key.name);
    }
    // Without the comment marks it has the default values.
    let uncommented: String = example
        .lines()
        .filter_map(|line| {
            line.strip_prefix("# ").filter(|line| line.contains(" = \"") || line.starts_with('[')).or(Some(line))
        })
        .filter(|line| !line.starts_with('#') && !line.contains('…'))
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(uncommented.parse::<toml::Table>().is_ok(), "{uncommented}");
}

#[test]
fn the_settings_in_force_are_shown_with_their_origin_and_without_secrets() {
    let mut command = program(&["config", "show", "--start", "end"]);
    let output = command.envs([("SLS_PROJECT", "p"), ("FORWARDER_HEC_TOKEN", "c4n4ry")]).output().unwrap();
    let shown = text(&output.stdout);
    let problems = text(&output.stderr);
    assert!(!shown.contains("c4n4ry") && !problems.contains("c4n4ry"), "{shown}{problems}");
    assert_eq!(output.status.code(), Some(2), "required settings are missing");
    assert!(problems.contains("sls.logstore is missing"), "{problems}");
    for line in
        ["start = \"end\"  # --start", "project = \"p\"  # SLS_PROJECT", "token = (not shown)  # FORWARDER_HEC_TOKEN"]
    {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
    let given = text(&command.arg("--given").output().unwrap().stdout);
    assert_eq!(given.matches(" = ").count(), 3, "{given}");
}

#[test]
fn settings_in_force_with_a_problem_are_shown_with_the_error_of_a_start() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("t.lua"), "function process(log) end\n").unwrap();
    fs::write(directory.path().join("f.toml"), "script = \"t.lua\"\n[file]\npath = \"o\"\n").unwrap();
    let run = |arguments: &[&str], variable: (&str, &str)| {
        let mut command = program(arguments);
        command.current_dir(&directory).args(["--config", "f.toml"]).envs([
            ("SLS_ENDPOINT", "https://sls.example"),
            ("SLS_PROJECT", "p"),
            ("SLS_LOGSTORE", "l"),
            ("SLS_CG", "g"),
            ("SLS_AK_ID", "id"),
            ("SLS_AK_KEY", "key"),
        ]);
        command.envs([variable]).output().unwrap()
    };
    let good = run(&["config", "show"], ("X", ""));
    assert_eq!((good.status.code(), text(&good.stderr)), (Some(0), String::new()));
    let wrong = ("FORWARDER_RUN_MEMORY", "1KB");
    let (shown, start) = (run(&["config", "show"], wrong), run(&[], wrong));
    assert!(text(&shown.stdout).contains("memory = \"1KB\"  # FORWARDER_RUN_MEMORY"), "{shown:?}");
    assert!(text(&shown.stderr).contains("\"1KB\" is out of bounds"), "{shown:?}");
    assert_eq!((shown.status.code(), &shown.stderr), (start.status.code(), &start.stderr));
}

#[test]
#[cfg(target_os = "linux")]
fn output_that_cannot_be_written_ends_with_1_and_a_message() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("t.lua"), "function process(log) return log.a end\n").unwrap();
    fs::write(directory.path().join("s.jsonl"), "{\"a\":\"b\"}\n").unwrap();
    for arguments in [
        "config example",
        "config schema",
        "types",
        "man",
        "completions bash",
        "check",
        "try --script t.lua s.jsonl",
        "status --json",
        "demo --logs 10",
        "emulate sls",
        "emulate hec",
        "emulate credentials",
        "emulate syslog",
    ] {
        let mut command = program(&arguments.split(' ').collect::<Vec<_>>());
        command.current_dir(&directory).stdout(fs::File::create("/dev/full").unwrap());
        command.envs([("SLS_ENDPOINT", "http://127.0.0.1:9"), ("SLS_PROJECT", "p"), ("SLS_LOGSTORE", "l")]);
        command.envs([("SLS_CG", "g"), ("SLS_AK_ID", "id"), ("SLS_AK_KEY", "key")]);
        let output = command.output().unwrap();
        let printed = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments}: {printed}");
        assert!(printed.contains("cannot write the output: No space left on device"), "{arguments}: {printed}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn output_that_nobody_reads_any_more_causes_no_panic() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("t.lua"), "function process(log) return log.a end\n").unwrap();
    fs::write(directory.path().join("s.jsonl"), "{\"a\":\"b\"}\nnot a log\n").unwrap();
    let run = |arguments: &str| {
        let mut command = program(&arguments.split(' ').collect::<Vec<_>>());
        command.current_dir(&directory);
        command
    };
    for (arguments, code) in [("demo --logs 10", 1), ("emulate sls", 0), ("emulate hec", 0), ("emulate syslog", 0)] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = run(arguments).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(code), ""), "{arguments}");
    }
    let seen = run("try --script t.lua s.jsonl").output().unwrap();
    assert!(text(&seen.stderr).contains("s.jsonl:2"), "{}", text(&seen.stderr));
    let unseen = run("try --script t.lua s.jsonl").stderr(fs::File::create("/dev/full").unwrap()).output().unwrap();
    assert_eq!(unseen.status.code(), seen.status.code());
    assert!(text(&unseen.stdout).contains("1 sample not read"), "{}", text(&unseen.stdout));
}

#[test]
fn the_schema_has_every_setting_of_the_file() {
    let schema: serde_json::Value = serde_json::from_slice(&output(&["config", "schema"]).stdout).unwrap();
    for key in keys::all().filter(|key| !matches!(key.kind, keys::Kind::EnvironmentSecret)) {
        let (table, name) = key.parts();
        let tables = &schema["properties"];
        let table = match table {
            "script" => &tables["script"]["anyOf"][1],
            array @ ("source" | "destination") => &tables[array]["items"]["anyOf"][0],
            table => &tables[table],
        };
        let property = &table["properties"][name];
        assert_eq!(property["description"], key.meaning, "{}", key.name);
    }
    assert!(schema["properties"]["sls"]["properties"].get("access_key_secret").is_none());
}

#[test]
fn completions_and_man_page_have_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&output(&["completions", shell]).stdout);
        assert!(script.contains("check") && script.contains("--hec-url") | script.contains("hec-url"), "{shell}");
    }
    let page = text(&output(&["man"]).stdout);
    assert!(page.starts_with(".ie") && page.contains("check") && page.contains("First run"), "{page}");
    let page = text(&output(&["man", "dlq", "replay"]).stdout);
    assert!(page.contains("replay"), "{page}");
    for (name, words) in
        [("forwarder-dlq-replay", &["dlq", "replay"][..]), ("forwarder-check", &["check"]), ("forwarder", &[])]
    {
        let page = text(&output(&["man", name]).stdout);
        assert_eq!(page, text(&output(&[&["man"], words].concat()).stdout));
        let version = env!("CARGO_PKG_VERSION");
        let title = page.lines().find(|line| line.starts_with(".TH")).unwrap();
        assert_eq!(title, format!(".TH {name} 1  \"forwarder {version}\" \"User commands\""));
    }
    assert_eq!(output(&["man", "nothing"]).status.code(), Some(2));
}

#[test]
fn an_unknown_flag_ends_with_2_and_a_suggestion() {
    let output = output(&["--strat", "end"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("'--start'"), "{}", text(&output.stderr));
}

#[test]
fn a_secret_given_as_a_flag_ends_with_2_and_the_right_place_for_it() {
    for (flag, variable) in [
        ("--hec-token", "FORWARDER_HEC_TOKEN"),
        ("--token=c4n4ry", "FORWARDER_HEC_TOKEN"),
        ("--access-key-secret", "FORWARDER_SLS_ACCESS_KEY_SECRET"),
        ("--sls-security-token", "FORWARDER_SLS_SECURITY_TOKEN"),
    ] {
        let output = output(&[flag, "c4n4ry"]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("secrets are never flags") && stderr.contains(&format!("set {variable}")), "{stderr}");
        assert!(!stderr.contains("c4n4ry"), "{stderr}");
    }
}

#[test]
fn forwarding_needs_no_command_name() {
    let output = output(&["run", "--config", "x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("forwarder needs no command to run"), "{}", text(&output.stderr));
}

#[test]
fn the_policy_command_needs_no_key() {
    let output = output(&["policy", "--project", "p", "--logstore", "l", "--group", "g"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let policy: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(policy["Statement"][2]["Resource"], "acs:log:*:*:project/p/logstore/l/consumergroup/g");
    let output = self::output(&["policy", "--project", "p"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("sls.logstore is missing"), "{}", text(&output.stderr));
}

/// Each command with the arguments that it needs to read the settings.
const READING: [&[&str]; 10] = [
    &[],
    &["backfill", "--from", "begin", "--to", "end"],
    &["bench", "--logs", "samples.jsonl"],
    &["check"],
    &["dlq", "replay", "--all"],
    &["policy"],
    &["seek", "--shard", "all", "--to", "end"],
    &["status"],
    &["test"],
    &["try", "samples.jsonl"],
];

#[test]
fn every_command_refuses_a_setting_that_is_not_used_and_a_typo() {
    let directory = TempDir::new().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("samples.jsonl", "{}\n");
    write("t.lua", "function process(log) return log end\n");
    let item = "[[source]]\nproject = \"p\"\nlogstore = \"waf\"\n";
    let head = "[sls]\nendpoint = \"http://127.0.0.1:9\"\ngroup = \"g\"\n";
    let tail = "[script]\nfile = \"t.lua\"\n[hec]\nurl = \"http://127.0.0.1:9\"\n";
    for (settings, words) in [
        (
            format!("{head}logstore = \"audit\"\n{tail}{item}"),
            "sls.logstore is not used, because every [[source]] has its own",
        ),
        (format!("{head}grop = \"h\"\n{tail}{item}"), "grop"),
    ] {
        write("forwarder.toml", &settings);
        for arguments in READING {
            let mut command = program(arguments);
            command.args(["--config", "forwarder.toml"]).current_dir(directory.path());
            command.envs([("SLS_AK_ID", "id"), ("SLS_AK_KEY", "key"), ("HEC_TOKEN", "t"), ("SPLUNK_HEC_TOKEN", "t")]);
            let output = command.output().unwrap();
            let printed = text(&output.stdout) + &text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {printed}");
            assert!(printed.contains(words), "{arguments:?}: {printed}");
        }
    }
    // These need one setting of them all, and work whatever the others are.
    for arguments in [&["dlq", "list"][..], &["top"], &["tap"]] {
        let mut command = program(arguments);
        command.args(["--config", "forwarder.toml"]).current_dir(directory.path());
        let printed = text(&command.output().unwrap().stderr);
        assert!(printed.contains("note: ") && printed.contains("grop"), "{arguments:?}: {printed}");
    }
}

#[test]
fn without_arguments_the_first_steps_are_shown() {
    let output = output(&[]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = text(&output.stderr);
    assert!(
        stderr.ends_with("forwarder --help shows a first run; forwarder demo needs no settings at all\n"),
        "{stderr}"
    );
}

#[test]
fn wrong_settings_end_with_2_and_one_block_on_standard_error() {
    let output = output(&["--start", "yesterday\u{1b}[2J"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with("forwarder: the settings have "), "{stderr}");
    assert!(stderr.contains("sls.project is missing") && stderr.contains("where: --start"), "{stderr}");
    assert!(!stderr.contains('\u{1b}'), "{stderr:?}");
}

#[test]
fn a_benchmark_without_a_script_needs_the_default_script_of_each_kind_of_receiver() {
    let directory = TempDir::new().unwrap();
    let scripts = directory.path().join("scripts");
    fs::create_dir(&scripts).unwrap();
    let missing = || {
        let output = program(&["bench", "--count", "1000"]).current_dir(directory.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        text(&output.stderr)
    };
    assert!(missing().contains("scripts/transform.lua"));
    fs::write(scripts.join("transform.lua"), "function process(log) return log end\n").unwrap();
    assert!(missing().contains("scripts/syslog.lua"));
}
