//! Patterns as logstores: the running process, and the commands.

use std::process::Stdio;
use std::time::Duration;

use forwarder::emulator::sls::{Call, SlsFault};
use serde_json::Value;

use super::bench::until_or;
use super::sources::Many;

/// Runs a command with these settings to its end: its exit code, and what it wrote.
async fn run(many: &Many, text: &str, arguments: &[&str]) -> (i32, String) {
    std::fs::write(many.directory.path().join("forwarder.toml"), text).unwrap();
    let mut command = many.command();
    command.args(arguments).args(["--config", "forwarder.toml"]).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let printed = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    (output.status.code().unwrap(), printed)
}

fn item(keys: &str) -> String {
    format!("[[source]]\nproject = \"p\"\n{keys}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_adds_new_logstores_and_removes_deleted_ones() {
    let many = Many::new(&[("audit-a", "p", "audit-a"), ("audit-b", "p", "audit-b"), ("named", "p", "audit-c")]).await;
    many.sls.delete_logstore("p", "audit-b");
    let text = item("logstore = \"audit-*\"") + &item("logstore = \"audit-c\"\nname = \"named\"");
    let mut program = many.start_file(&text, &[("FORWARDER_RUN_DRAIN_TIMEOUT", "5s")]);
    many.put("audit-a", 10);
    many.put("named", 10);
    many.settled("audit-a").await;
    many.settled("named").await;
    let metrics = || super::reports::get(&program, "/metrics");
    let is_shown = |source: &str| metrics().contains(&format!("forwarder_sls_calls_total{{source=\"{source}\""));
    assert!(is_shown("audit-a") && !is_shown("audit-b") && !is_shown("audit-*"), "{}", metrics());
    assert!(!is_shown("audit-c"), "a logstore with an item of its own is read once: {}", metrics());

    many.sls.create_logstore("p", "audit-b");
    many.put("audit-b", 10);
    program.signal(libc::SIGHUP);
    many.settled("audit-b").await;
    assert!(is_shown("audit-b"), "{}", metrics());

    many.sls.delete_logstore("p", "audit-a");
    program.signal(libc::SIGHUP);
    program.to_say("the logstore was deleted: its source ends").await;
    until_or("its source is not shown any more", 60, || !is_shown("audit-a"), metrics).await;
    many.put("audit-b", 20);
    many.put("named", 20);
    many.settled("audit-b").await;
    many.settled("named").await;
    program.signal(libc::SIGTERM);
    assert_eq!(program.exit(Duration::from_secs(60)).await, Some(0));
    for (name, logs) in [("audit-a", 20), ("audit-b", 60), ("named", 60)] {
        assert_eq!(
            program.says(&format!("source {name}: pulled {logs} = delivered {logs} +")),
            1,
            "{}",
            program.printed()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_without_matches_waits_and_says_so() {
    let many = Many::new(&[("audit-a", "p", "audit-a"), ("waf", "p", "waf")]).await;
    many.sls.delete_logstore("p", "audit-a");
    let program = many.start_file("[sls]\nproject = \"p\"\nlogstore = \"audit-*\"\n", &[]);
    program.to_say("no logstore of project p matches audit-*").await;
    let answers = |path: &str| super::reports::get(&program, path);
    let words = "no logstore of project p matches audit-*";
    until_or("/ready says so", 60, || answers("/ready").contains(words), || answers("/ready")).await;
    assert!(answers("/").contains(words), "{}", answers("/"));
    assert!(answers("/").contains("Waiting") && !answers("/").contains("Paused"), "{}", answers("/"));
    program.to_say("WARN no logstore of project p matches audit-* yet; ").await;
    many.sls.create_logstore("p", "audit-a");
    many.put("audit-a", 10);
    program.signal(libc::SIGHUP);
    many.settled("audit-a").await;
    assert_eq!((program.says("found a logstore"), program.says(" ERROR ")), (1, 0), "{}", program.printed());
    until_or("/ready is well", 60, || answers("/ready").ends_with("ready\n"), || answers("/ready")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_to_list_logstores_is_named() {
    let many = Many::new(&[("a", "p", "a")]).await;
    let denied = SlsFault::status(401, "Unauthorized", "denied by sts or ram, action: log:ListLogStores");
    many.sls.faults().next(Call::ListLogstores, denied, u32::MAX);
    let mut program = many.start_file("[sls]\nproject = \"p\"\nlogstore = \"*\"\n", &[]);
    assert_eq!(program.exit(Duration::from_secs(30)).await, Some(77), "{}", program.printed());
    assert!(program.says("grant log:ListLogStores") > 0, "{}", program.printed());
}

/// Two patterns that both match a logstore, and a source that names one that a pattern matches.
fn overlapping() -> String {
    item("logstore = \"audit-*\"")
        + &item("logstore = \"*-b\"")
        + &item("logstore = \"audit-own\"\nname = \"own\"")
        + &item("logstore = \"eu-*\"\nname = \"eu\"")
}

const OVERLAPPING: [(&str, &str, &str); 4] =
    [("audit-a", "p", "audit-a"), ("audit-b", "p", "audit-b"), ("own", "p", "audit-own"), ("eu.eu-a", "p", "eu-a")];

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_whose_logstores_are_all_read_by_others_is_no_problem() {
    let many = Many::new(&OVERLAPPING).await;
    let mut program = many.start_file(&overlapping(), &[]);
    for (name, ..) in OVERLAPPING {
        many.put(name, 5);
        many.settled(name).await;
    }
    let answers = |path: &str| super::reports::get(&program, path);
    until_or("all is well", 60, || answers("/").contains("Delivering"), || answers("/")).await;
    assert!(answers("/ready").ends_with("ready\n"), "{}", answers("/ready"));
    assert!(!answers("/metrics").contains("source=\"*-b\""), "{}", answers("/metrics"));
    program.signal(libc::SIGTERM);
    assert_eq!(program.exit(Duration::from_secs(30)).await, Some(0));
    assert_eq!(program.says("no logstore of project p matches"), 0, "{}", program.printed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_with_an_end_also_ends_if_others_read_all_logstores_of_a_pattern() {
    let many = Many::new(&OVERLAPPING).await;
    let text = overlapping().replace("logstore =", "until = \"end\"\nlogstore =");
    let mut program = many.start_file(&text, &[]);
    assert_eq!(program.exit(Duration::from_secs(60)).await, Some(0), "{}", program.printed());
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_find_the_logstores_of_a_pattern_and_name_them_as_the_running_process_does() {
    let many = Many::new(&OVERLAPPING).await;
    for (name, ..) in OVERLAPPING {
        many.put(name, 5);
    }
    let text = overlapping();
    let (code, printed) = run(&many, &text, &["status", "--json"]).await;
    let read: Value = serde_json::from_str(&printed).unwrap();
    let names: Vec<_> = read["sources"].as_array().unwrap().iter().map(|one| one["source"].as_str().unwrap()).collect();
    assert_eq!((code, &names[..]), (1, &["audit-a", "audit-b", "own", "eu.eu-a"][..]), "{printed}");
    assert!(printed.contains("there is no consumer group"), "{printed}");

    let names = "audit-a, audit-b, own, eu.eu-a";
    let (backfill, seek) = (["backfill", "--from", "begin", "--to", "end"], ["seek", "--shard", "all", "--to", "end"]);
    for command in [&backfill[..], &seek[..], &["try", "--from-sls", "1"]] {
        let (code, printed) = run(&many, &text, command).await;
        let words = format!("there are several sources: name one with --source: {names}");
        assert!(code == 2 && printed.contains(&words), "{command:?} {code} {printed}");
        for wrong in ["eu", "audit-*", "eu-a", "audit-own"] {
            let (code, printed) = run(&many, &text, &[command, &["--source", wrong]].concat()).await;
            let words = format!("there is no source {wrong:?}: --source takes one of {names}");
            assert!(code == 2 && printed.contains(&words), "{command:?} {code} {printed}");
        }
        let (code, printed) = run(&many, &item("logstore = \"audit-*\""), command).await;
        let words = "audit-* is a pattern: name one with --source: audit-a, audit-b, audit-own";
        assert!(code == 2 && printed.contains(words), "{command:?} {code} {printed}");
        let (code, printed) = run(&many, &item("logstore = \"x-*\""), command).await;
        let words = "x-* is a pattern; source x-*: no logstore of project p matches x-*";
        assert!(code == 2 && printed.contains(words), "{command:?} {code} {printed}");
    }
    let (code, printed) = run(&many, &text, &["try", "--from-sls", "1", "--source", "eu.eu-a"]).await;
    assert!(code == 0 && printed.contains("eu-a-"), "{code} {printed}");
    let (code, printed) = run(&many, &text, &[&backfill[..], &["--source", "eu.eu-a"]].concat()).await;
    assert!(code == 0 && printed.contains("pulled 10 = delivered 10"), "{code} {printed}");
    let mut program = many.start_file(&text, &[]);
    for (name, ..) in OVERLAPPING {
        many.settled(name).await;
    }
    program.signal(libc::SIGTERM);
    assert_eq!(program.exit(Duration::from_secs(30)).await, Some(0), "{}", program.printed());
    let (code, printed) = run(&many, &text, &[&seek[..], &["--source", "eu.eu-a"]].concat()).await;
    assert!(code == 0 && printed.contains(" of p/eu-a:") && printed.contains("already"), "{code} {printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_says_why_a_pattern_has_no_logstores() {
    let many = Many::new(&[("waf", "p", "waf")]).await;
    let text = item("logstore = \"audit-*\"");
    let (code, printed) = run(&many, &text, &["status"]).await;
    assert!(code == 1 && printed.contains("no logstore of project p matches audit-*"), "{code} {printed}");
    let denied = SlsFault::status(401, "Unauthorized", "denied by sts or ram, action: log:ListLogStores");
    many.sls.faults().next(Call::ListLogstores, denied, u32::MAX);
    let (code, printed) = run(&many, &text, &["status"]).await;
    assert!(code == 77 && printed.contains("grant log:ListLogStores"), "{code} {printed}");
}
