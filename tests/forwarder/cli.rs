//! The program as a process: command line, exit codes, signals, and its own log.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use forwarder::settings::keys;
use tempfile::TempDir;

/// The program without our environment.
fn program(arguments: &[&str]) -> Command {
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

/// The running program with an SLS that accepts connections and never answers, in its own directory.
#[cfg(unix)]
struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    directory: TempDir,
    _sls: TcpListener,
}

#[cfg(unix)]
impl Running {
    fn start(arguments: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let sls = TcpListener::bind("127.0.0.1:0").unwrap();
        fs::write(directory.path().join("t.lua"), "function process(log) return nil end\n").unwrap();
        let mut child = program(&["--script", "t.lua", "--hec-url", "http://127.0.0.1:9", "--project", "p"])
            .args(["--logstore", "l", "--group", "g", "--endpoint", &sls.local_addr().unwrap().to_string()])
            .args(arguments)
            .envs([("SLS_AK_ID", "id"), ("SLS_AK_KEY", "c4n4ry"), ("FORWARDER_HEC_TOKEN", "c4n4ry")])
            .current_dir(directory.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { stderr: BufReader::new(child.stderr.take().unwrap()), child, directory, _sls: sls }
    }

    /// Waits for a log line with these words; returns all of standard error up to it.
    fn wait_for(&mut self, words: &str) -> String {
        let mut read = String::new();
        while !read.contains(words) {
            assert_ne!(self.stderr.read_line(&mut read).unwrap(), 0, "it ended: {read}");
        }
        read
    }

    #[expect(unsafe_code, reason = "sends signals as an operator does")]
    fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: kill has no memory to misuse, and the child has not been waited for, so the pid is still its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// The exit code, and the rest of standard error.
    fn end(mut self) -> (Option<i32>, String, TempDir) {
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest, self.directory)
    }
}

#[test]
#[cfg(unix)]
fn sigterm_and_sigint_end_it_with_0() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut running = Running::start(&[]);
        running.wait_for("starting");
        running.signal(signal);
        let (code, stderr, _directory) = running.end();
        assert_eq!(code, Some(0), "{stderr}");
    }
}

#[test]
#[cfg(unix)]
fn the_start_is_logged_with_source_and_destination_and_the_stop_with_its_deadline() {
    let mut running = Running::start(&["--log-level", "warn"]);
    for (signal, level) in [(libc::SIGUSR2, "ERROR"), (libc::SIGUSR1, "WARN"), (libc::SIGUSR1, "INFO")] {
        // The program listens as soon as this file exists.
        while !running.directory.path().join("state").exists() {
            std::thread::yield_now();
        }
        running.signal(signal);
        running.wait_for(&format!("log level is {level} from now on"));
    }
    running.signal(libc::SIGTERM);
    let (code, stderr, _directory) = running.end();
    assert_eq!(code, Some(0), "{stderr}");
    let stop = "stopping: delivering and saving logs in flight, up to 25 s; Ctrl-C or SIGTERM again ends it at once";
    assert!(stderr.contains(stop), "{stderr}");

    let mut running = Running::start(&[]);
    let line = running.wait_for("forwarding");
    let line = line.lines().last().unwrap();
    assert!(line.contains(" INFO forwarding source=l endpoint=http://127.0.0.1:"), "{line}");
    let names = " project=p logstore=l group=g consumer=g-";
    let url = " destination=http://127.0.0.1:9/services/collector";
    assert!(line.contains(names) && line.ends_with(url), "{line}");
    running.signal(libc::SIGTERM);
    assert_eq!(running.end().0, Some(0));
}

#[test]
#[cfg(unix)]
fn the_status_is_available_before_the_group_is_joined_and_has_no_secret() {
    let mut running = Running::start(&["--admin-listen", "127.0.0.1:0"]);
    let stderr = running.wait_for(", Prometheus metrics at");
    let address = stderr.rsplit("http://").next().unwrap().split('/').next().unwrap();
    for path in ["/", "/status", "/metrics"] {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert!(reply.starts_with("HTTP/1.1 200 OK") && reply.contains("join"), "{reply}");
        assert!(!reply.contains("c4n4ry"), "{reply}");
    }
    running.signal(libc::SIGTERM);
    assert_eq!(running.end().0, Some(0));
}

#[test]
#[cfg(unix)]
fn without_an_address_the_status_is_at_a_socket_of_this_user() {
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::net::UnixStream;

    let get = |path: &std::path::Path| {
        let mut stream = UnixStream::connect(path).unwrap();
        write!(stream, "GET /status HTTP/1.0\r\n\r\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert!(reply.contains("200 OK") && reply.contains("\"verdict\"") && !reply.contains("c4n4ry"), "{reply}");
    };
    let mut running = Running::start(&[]);
    running.wait_for("reach this process at unix:state/forwarder.sock");
    let path = running.directory.path().join("state/forwarder.sock");
    get(&path);
    assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o777, 0o600);
    running.signal(libc::SIGTERM);
    let (code, stderr, directory) = running.end();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(!directory.path().join("state/forwarder.sock").exists());

    let elsewhere = directory.path().join("own/x.sock");
    let mut running = Running::start(&["--admin-listen", &format!("unix:{}", elsewhere.display())]);
    running.wait_for("reach this process at unix:/");
    get(&elsewhere);
    running.signal(libc::SIGTERM);
    assert_eq!(running.end().0, Some(0));
}

#[test]
#[cfg(unix)]
fn the_log_goes_to_the_file_too_and_is_complete_at_the_end() {
    let mut running = Running::start(&["--log-file", "own.log", "--log-format", "json"]);
    let first = running.wait_for("starting");
    running.signal(libc::SIGTERM);
    let (code, rest, directory) = running.end();
    assert_eq!(code, Some(0));
    let file = fs::read_to_string(directory.path().join("own.log")).unwrap();
    let messages = |lines: &str| -> Vec<_> {
        let lines = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(messages(&file).last().unwrap(), "stopped");
    // Lines that two threads log at the same time can be in different order in the two outputs.
    let sorted = |lines: &str| {
        let mut messages = messages(lines);
        messages.sort();
        messages
    };
    assert_eq!(sorted(&file), sorted(&(first + &rest)));
    assert!(!file.contains("c4n4ry"));
}

#[test]
#[cfg(unix)]
fn a_log_file_that_cannot_be_opened_ends_with_2() {
    let running = Running::start(&["--log-file", "t.lua/own.log"]);
    let (code, stderr, _directory) = running.end();
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("cannot write the log: t.lua/own.log: "), "{stderr}");
}
