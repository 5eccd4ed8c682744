//! `forwarder try` and `forwarder test`, as a user runs them.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use forwarder::emulator::sls::{Config, SlsEmulator};
use forwarder::loggroup::proto::{Log, LogGroup, Pair};
use serde_json::{Value, json};
use tempfile::TempDir;

const SCRIPT: &str = "function process(log)
  if log.level == 'debug' then return nil end
  return { time = log.__time__, host = settings.host, event = { user = log.user .. '' } }
end
";

const SAMPLES: &str = r#"{"__time__": "1700000001", "user": "ann"}
{"level": "debug"}
{"usr": "bob"}
"#;

fn directory() -> TempDir {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("s.lua"), SCRIPT).unwrap();
    fs::write(directory.path().join("samples.jsonl"), SAMPLES).unwrap();
    directory
}

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forwarder"));
    command.args(arguments).env_clear().current_dir(directory).stdin(Stdio::null());
    command
}

/// Exit code, standard output and standard error.
fn run(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    ended(command(directory, arguments))
}

fn ended(mut command: Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The text without the figures of time and memory, and without the rules whose length depends on them.
fn without_figures(text: &str) -> String {
    let lines = text.lines().map(|line| match (line.strip_prefix("── "), line.split_once("failed; ")) {
        (Some(title), _) => format!("── {}", title.split("  ").next().unwrap()),
        (_, Some((sum, _))) => format!("{sum}failed"),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn try_shows_what_each_log_becomes_and_ends_with_1_when_one_fails() {
    let directory = directory();
    let (code, shown, stderr) = run(directory.path(), &["try", "--script", "s.lua", "samples.jsonl"]);
    assert_eq!((code, stderr.as_str()), (1, ""));
    assert_eq!(
        without_figures(&shown),
        r#"── samples.jsonl:1
in   __time__  1700000001
     user      ann
out  {
       "time": 1700000001,
       "event": {"user":"ann"}
     }

── samples.jsonl:2
in   level  debug
out  dropped

── samples.jsonl:3
in   usr  bob
error: attempt to concatenate a nil value (field 'user')
 --> s.lua:3:68
    |
  3 |   return { time = log.__time__, host = settings.host, event = { user = log.user .. '' } }
    |                                                                            ^^^^
    = hint: this log has no `user`; did you mean log.usr?

3 logs: 1 sent as 1 event, 1 dropped, 1 failed"#
            .replace(":3:68", ":3:76")
    );
    assert!(shown.contains(" µs") && shown.contains(" B") || shown.contains(" KB"), "{shown}");
}

#[test]
fn try_reads_destination_and_variables_from_the_settings_and_samples_from_standard_input() {
    let directory = directory();
    let settings =
        "[script]\nfile = \"s.lua\"\n[hec]\nindex = \"main\"\ntoken_file = \"not here\"\n[script.vars]\nhost = \"h\"\n";
    fs::write(directory.path().join("f.toml"), settings).unwrap();
    let mut child = command(directory.path(), &["try", "--config", "f.toml", "--json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"{\"user\":\"ann\"}").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        line["sent"][0],
        "{\"time\":1700000000,\"host\":\"h\",\"index\":\"main\",\"event\":{\"user\":\"ann\"}}\n"
    );
    assert_eq!(line["events"][0]["event"]["user"], "ann");
    assert!(line["cost"]["memory_bytes"].as_u64().unwrap() > 0, "{line}");
}

#[test]
fn json_output_of_try_is_a_passing_test() {
    let directory = directory();
    let (code, lines, _) = run(directory.path(), &["try", "--script", "s.lua", "--json", "samples.jsonl"]);
    assert_eq!((code, lines.lines().count()), (1, 3));
    fs::write(directory.path().join("s.test.jsonl"), lines).unwrap();
    let (code, shown, stderr) = run(directory.path(), &["test", "."]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{shown}");
    assert_eq!(shown, "ok    ./s.lua: 3 cases, 3 of 3 lines ran\n3 cases in 1 file: 3 passed\n");
}

#[test]
fn try_ends_with_2_when_nothing_can_be_tried() {
    let directory = directory();
    let fails = |arguments: &[&str], expected: &str| {
        let (code, shown, stderr) = run(directory.path(), arguments);
        assert_eq!((code, shown.as_str()), (2, ""), "{arguments:?}");
        assert!(stderr.contains(expected), "{stderr}");
    };
    fails(&["try"], "<SAMPLES");
    fails(&["try", "--script", "s.lua", "none.jsonl"], "none.jsonl can't be read: No such file");
    fails(&["try", "samples.jsonl"], "the script scripts/transform.lua cannot be read: No such file");
    fs::write(directory.path().join("broken.lua"), "function process(log)\n  return {\nend").unwrap();
    fails(
        &["try", "--script", "broken.lua", "samples.jsonl"],
        "error: unexpected symbol near 'end'\n --> broken.lua:3:1",
    );
    fails(&["try", "--from-sls", "1"], "sls.project is missing");
    fails(&["test", "s.lua"], "there is no s.test.jsonl for s.lua");
    fails(&["test", "elsewhere"], "there is no elsewhere");
    fails(&["test"], "there is no scripts");
}

#[test]
fn a_failing_case_shows_where_it_differs_and_an_update_makes_it_pass() {
    let directory = directory();
    let cases = directory.path().join("s.test.jsonl");
    fs::write(
        &cases,
        "{\"name\": \"a user\", \"log\": {\"user\": \"ann\"}, \"events\": [{\"event\": {\"user\": \"bob\"}}]}\n",
    )
    .unwrap();
    let (code, shown, _) = run(directory.path(), &["test", "--coverage", "s.test.jsonl"]);
    assert_eq!(code, 1);
    assert_eq!(
        shown,
        r#"FAIL  s.lua: 1 of 1 case failed, 3 of 3 lines ran

  a user  s.test.jsonl:1
    events[1].event.user
      expected  "bob"
      got       "ann"
    events[1].time
      expected  nothing
      got       1700000000

1 case in 1 file: 0 passed, 1 failed
"#
    );
    assert_eq!(run(directory.path(), &["test", "--update", "s.lua"]).0, 0);
    assert_eq!(
        fs::read_to_string(&cases).unwrap(),
        "{\"name\": \"a user\", \"log\": {\"user\":\"ann\"}, \"events\": [{\"time\": 1700000000, \"event\": {\"user\":\"ann\"}}]}\n"
    );
    assert_eq!(run(directory.path(), &["test", "s.lua"]).0, 0);
}

#[test]
fn coverage_lists_the_lines_that_no_case_ran() {
    let directory = directory();
    fs::write(directory.path().join("s.lua"), "function process(log)\n  if log.x then\n    return log\n  end\nend\n")
        .unwrap();
    fs::write(directory.path().join("s.test.jsonl"), "{\"log\": {}, \"dropped\": true}\n").unwrap();
    let (code, shown, _) = run(directory.path(), &["test", "--coverage", "s.lua"]);
    assert_eq!(code, 0);
    assert!(shown.contains("2 of 3 lines ran\n      never ran:\n       3 |     return log\n"), "{shown}");
}

#[test]
fn coverage_counts_the_lines_of_modules() {
    let directory = directory();
    let file = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    file("s.lua", "local m = require 'm'\nfunction process(log)\n  return m(log)\nend\n");
    file("m.lua", "return function(log)\n  if log.x then\n    return log\n  end\nend\n");
    file("s.test.jsonl", "{\"log\": {}, \"dropped\": true}\n");
    let (code, shown, _) = run(directory.path(), &["test", "--coverage", "s.lua"]);
    assert_eq!(code, 0);
    assert!(shown.contains("4 of 5 lines ran\n      never ran in m.lua:\n       3 |     return log\n"), "{shown}");
}

#[test]
fn a_byte_order_mark_before_cases_or_samples_is_ignored() {
    let directory = directory();
    let file = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    file("s.lua", "function process(log) return nil end\n");
    file("s.test.jsonl", "\u{feff}{\"log\": {}, \"dropped\": true}\n");
    let (code, shown, stderr) = run(directory.path(), &["test", "s.lua"]);
    assert_eq!(code, 0, "{shown}{stderr}");
    file("marked.jsonl", "\u{feff}{\"a\": \"1\"}\n");
    let (code, shown, stderr) = run(directory.path(), &["try", "--script", "s.lua", "marked.jsonl"]);
    assert_eq!(code, 0, "{shown}{stderr}");
}

#[test]
fn the_shipped_scripts_pass_their_cases() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (code, shown, stderr) = run(repository, &["test"]);
    assert_eq!(code, 0, "{shown}{stderr}");
    assert!(shown.contains("ok    scripts/transform.lua: 4 cases, 10 of 10 lines ran"), "{shown}");
}

#[test]
fn watch_runs_again_when_the_script_is_saved() {
    let directory = directory();
    let mut child = command(directory.path(), &["try", "--watch", "--script", "s.lua", "samples.jsonl"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("3 logs: 1 sent")));
    fs::write(directory.path().join("s.lua"), "function process(").unwrap();
    assert!(lines.any(|line| line.starts_with("error: ")));
    fs::write(directory.path().join("s.lua"), "function process(log) return log end").unwrap();
    assert!(lines.any(|line| line.starts_with("3 logs: 3 sent")));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn try_reads_from_the_logstore_and_does_not_touch_the_group() {
    let sls = SlsEmulator::start(Config { shards: 2, ..Config::default() }).await.unwrap();
    for shard in 0..2 {
        let log = |number: u32| Log {
            time: 1_700_000_000,
            contents: vec![Pair { key: "user".into(), value: format!("u{shard}-{number}").into() }],
            time_ns: None,
        };
        let group = LogGroup { logs: (0..10).map(log).collect(), ..LogGroup::default() };
        sls.put("my-project", "my-logstore", shard, [group]).unwrap();
    }
    let directory = directory();
    let mut command = command(directory.path(), &["try", "--script", "s.lua", "--from-sls", "5", "--json"]);
    command
        .env("SLS_ENDPOINT", format!("http://{}", sls.address()))
        .envs([("SLS_PROJECT", "my-project"), ("SLS_LOGSTORE", "my-logstore"), ("SLS_CG", "siem")])
        .envs([("SLS_AK_ID", "id"), ("SLS_AK_KEY", "secret")]);
    let (code, shown, stderr) = tokio::task::spawn_blocking(move || ended(command)).await.unwrap();
    assert_eq!((code, stderr.as_str()), (0, ""));
    let users: Vec<String> = shown
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["log"]["user"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(users, ["u0-7", "u0-8", "u0-9", "u1-8", "u1-9"], "the newest");
    for shard in 0..2 {
        assert!(sls.checkpoint("my-project", "my-logstore", "siem", shard).is_none());
    }
}

/// The output in the documentation is that of the program for the files of the documentation.
#[test]
fn the_documented_output_of_try_and_test_is_real() {
    let page = include_str!("../../docs/try-and-test.md");
    let block = |kind: &str, number: usize| {
        let fence = format!("```{kind}\n");
        let blocks = page.split(&fence).skip(1);
        blocks.map(|block| block.split("```").next().unwrap()).nth(number).unwrap()
    };
    let directory = TempDir::new().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("samples.jsonl", block("json", 0));
    write("web.lua", block("lua", 0));
    write("web.test.jsonl", block("json", 1));
    for (number, arguments) in
        [["try", "--script", "web.lua", "samples.jsonl"].as_slice(), &["test", "web.lua"]].into_iter().enumerate()
    {
        let (prompt, printed) = block("console", number).split_once('\n').unwrap();
        assert_eq!(prompt, format!("$ forwarder {}", arguments.join(" ")));
        let (_, shown, _) = run(directory.path(), arguments);
        assert_eq!(without_figures(&shown).trim(), without_figures(printed).trim());
    }
}

#[test]
fn try_shows_what_a_syslog_receiver_sees() {
    let directory = directory();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    fs::write(
        directory.path().join("samples.jsonl"),
        "{\"__time__\": \"1700000001\", \"a\": \"1\", \"b\": \"x\\ny\"}\n",
    )
    .unwrap();
    let tried = |script: &str, settings: &str, more: &[&str]| -> Value {
        fs::write(directory.path().join("f.toml"), settings).unwrap();
        let script = scripts.join(script);
        let always = ["try", "--json", "--config", "f.toml", "--script", script.to_str().unwrap(), "samples.jsonl"];
        let (code, shown, stderr) = run(directory.path(), &[&always, more].concat());
        assert_eq!((code, stderr.as_str()), (0, ""), "{shown}");
        let line: Value = serde_json::from_str(&shown).unwrap();
        line["sent"].clone()
    };
    let message = |line_feed: &str| {
        format!("<14>1 2023-11-14T22:13:21Z h p - - - ||__topic__=||__source__=||a=1||b=x{line_feed}y")
    };
    let names = "[syslog]\nhostname = \"h\"\nprogram = \"p\"\n";
    // Neither the address of the receiver nor its certificates are required.
    assert_eq!(
        tried("syslog.lua", &format!("{names}ca_file = \"not here\"\nprotocol = \"tls\"\n"), &[]),
        json!([message("\n")])
    );
    assert_eq!(tried("syslog.lua", names, &[]), json!([message("#012")]));
    let both = format!("{names}[hec]\nsource = \"s\"\n");
    assert_eq!(tried("transform.lua", &both, &["--to", "syslog"])[0].as_str().unwrap()[..4], *"<14>");
    let hec = tried("transform.lua", &both, &["--to", "hec"]);
    assert!(hec[0].as_str().unwrap().contains("\"source\":\"s\""), "{hec}");
    let all = tried("transform.lua", &both, &[]);
    assert_eq!((&all["hec"][0], &all["syslog"][0].as_str().unwrap()[..4]), (&hec[0], "<14>"));
    let (code, _, stderr) = run(directory.path(), &["try", "--config", "f.toml", "--to", "kafka", "samples.jsonl"]);
    assert!(
        code == 2 && stderr.contains("no destination is called \"kafka\"") && stderr.contains("hec, syslog"),
        "{stderr}"
    );
}

#[test]
fn try_shows_each_event_under_its_destination_and_an_unknown_one_is_an_error() {
    let directory = directory();
    let script = "function process(log) return { event = log.user, to = log.to } end\n";
    fs::write(directory.path().join("s.lua"), script).unwrap();
    fs::write(directory.path().join("f.toml"), "[syslog]\nhostname = \"h\"\n[hec]\nsource = \"s\"\n").unwrap();
    let logs = "{\"user\":\"ann\"}\n{\"user\":\"bob\",\"to\":\"syslog\"}\n{\"user\":\"eve\",\"to\":\"splunk\"}\n";
    fs::write(directory.path().join("samples.jsonl"), logs).unwrap();
    let (code, shown, _) = run(directory.path(), &["try", "--config", "f.toml", "--script", "s.lua", "samples.jsonl"]);
    assert_eq!((code, shown.matches("to hec\n").count(), shown.matches("to syslog\n").count()), (1, 1, 2), "{shown}");
    assert!(shown.contains("no destination is called \"splunk\"; the destinations are hec, syslog"), "{shown}");
    let case = "{\"log\": {\"user\": \"bob\", \"to\": \"syslog\"}, \"events\": [{\"event\": \"bob\", \"to\": [\"syslog\"]}]}\n";
    fs::write(directory.path().join("s.test.jsonl"), case).unwrap();
    assert_eq!(run(directory.path(), &["test", "."]).0, 0);
    fs::write(directory.path().join("s.test.jsonl"), case.replace("[\"syslog\"]", "\"hec\"")).unwrap();
    let (code, shown, _) = run(directory.path(), &["test", "."]);
    assert!(code == 1 && shown.contains("events[1].to"), "{shown}");
}
