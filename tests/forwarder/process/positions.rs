//! The end position of shards, moves of checkpoints, and backfills beside the live group.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use forwarder::core::secret::Secret;
use forwarder::emulator::hec;
use forwarder::emulator::hec::{HecEmulator, Keep, Received};

use super::bench::{Bench, TOKEN, command, servers, until};
use super::kills::Dice;
use super::program::Program;
use super::terminal::Terminal;

fn now() -> String {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().to_string()
}

/// Waits for the next second. SLS counts in seconds: logs written after this have another receive time than logs
/// written before.
async fn next_second() {
    tokio::time::sleep(Duration::from_millis(1_100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_end_two_processes_deliver_what_was_received_before_it_and_stop_by_themselves() {
    let bench = Bench::new().await;
    (0..2).for_each(|shard| bench.put(shard, 5, 20));
    let ends = [0, 1].map(|shard| bench.end(shard));
    next_second().await;
    let settings = [("FORWARDER_SLS_UNTIL", &*now())];
    (0..2).for_each(|shard| bench.put(shard, 5, 20));
    let mut programs = ["a", "b"].map(|name| bench.start_with(name, &settings));
    for program in &mut programs {
        assert_eq!(program.exit(Duration::from_secs(60)).await, Some(0));
        assert_eq!(program.says("every shard of the group is past sls.until"), 1, "{}", program.printed());
    }
    assert_eq!([0, 1].map(|shard| bench.checkpoint(shard).unwrap()), ends);
    assert_eq!((bench.oracle.arrived(), bench.oracle.repeats()), (200, 0));
    bench.nothing_wrong();

    let mut late = bench.start_with("c", &settings);
    assert_eq!(late.exit(Duration::from_secs(60)).await, Some(0));
    assert_eq!(late.says("INFO pulled 0 = delivered 0 + dropped 0"), 1, "{}", late.printed());
}

/// Runs `forwarder seek`; returns its output.
async fn seek(bench: &Bench, arguments: &[&str], expected: i32) -> String {
    let mut command = command(bench.directory.path(), &bench.sls_endpoint());
    command.arg("seek").args(arguments);
    let mut program = Program::start("seek", command);
    let code = program.exit(Duration::from_secs(60)).await;
    assert_eq!(code, Some(expected), "{}", program.printed());
    program.printed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_with_a_running_holder_is_moved_only_by_force_and_the_holder_follows_it() {
    let bench = Bench::new().await;
    (0..2).for_each(|shard| bench.put(shard, 5, 20));
    let owner = bench.start("a");
    bench.settled().await;
    let printed = seek(&bench, &["--shard", "all", "--to", "begin", "--yes"], 2).await;
    assert!(printed.contains("held by a live consumer") && printed.contains("held by a, which saved"), "{printed}");
    // Nothing is saved any more, and the group's timeout has passed: SLS is asked whether the consumer still holds the
    // shard.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let printed = seek(&bench, &["--shard", "all", "--to", "begin", "--yes"], 2).await;
    assert!(printed.contains("held by a live consumer"), "{printed}");
    assert_eq!(owner.says("changed from outside"), 0, "{}", owner.printed());
    assert_eq!(bench.oracle.repeats(), 0);

    let printed = seek(&bench, &["--shard", "1", "--to", "begin", "--yes", "--force"], 0).await;
    assert!(printed.contains("delivers 5 log groups again") && printed.contains("shard 1: moved to"), "{printed}");
    assert!(!printed.contains("shard 0"), "{printed}");
    bench.put(1, 1, 20);
    until("shard 1 is delivered again", 60, || bench.oracle.repeats() >= 100).await;
    owner.to_say("the checkpoint was changed from outside").await;
    until("it goes on", 30, || bench.checkpoint(1) == Some(bench.end(1))).await;
    assert_eq!(bench.oracle.arrived(), bench.oracle.expected());
    assert!(bench.oracle.repeats() <= 120, "no more than the shard holds: {}", bench.oracle.repeats());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_of_a_group_without_consumers_is_moved_after_confirmation() {
    let bench = Bench::new().await;
    (0..2).for_each(|shard| bench.put(shard, 5, 20));
    let printed = seek(&bench, &["--shard", "all", "--to", "end", "--yes"], 2).await;
    assert!(printed.contains("there is no consumer group siem"), "{printed}");
    let mut first = bench.start("a");
    bench.settled().await;
    first.signal(libc::SIGTERM);
    assert_eq!(first.exit(Duration::from_secs(20)).await, Some(0));
    tokio::time::sleep(Duration::from_secs(6)).await;
    (0..2).for_each(|shard| bench.put(shard, 5, 20));

    let printed = seek(&bench, &["--shard", "0", "--to", "end"], 2).await;
    assert!(
        printed.contains("no terminal to ask on") && printed.contains("leaves 5 log groups undelivered"),
        "{printed}"
    );
    let printed = seek(&bench, &["--shard", "7", "--to", "end"], 2).await;
    assert!(printed.contains("there is no shard 7: the logstore has 0, 1"), "{printed}");
    let stranger = forwarder::core::cursor::Cursor::from_number(7);
    let printed = seek(&bench, &["--shard", "0", "--to", stranger.as_str()], 2).await;
    assert!(printed.contains("is not in shard 0"), "{printed}");
    assert_ne!(bench.checkpoint(0), Some(bench.end(0)));

    let printed = seek(&bench, &["--shard", "0", "--to", "end", "--yes"], 0).await;
    assert!(printed.contains("shard 0: moved to"), "{printed}");
    let printed = seek(&bench, &["--shard", "0", "--to", "end", "--yes"], 0).await;
    assert!(printed.contains("shard 0: is at") && printed.contains("already"), "{printed}");
    let _next = bench.start("b");
    until("shard 1 goes on", 30, || bench.checkpoint(1) == Some(bench.end(1))).await;
    assert_eq!((bench.oracle.arrived(), bench.oracle.repeats()), (300, 0), "what was skipped is not delivered");
}

/// The script of these tests: each event carries the id of its log.
const WITH_ID: &str = "function process(log, meta) log.meta_id = meta.id return { event = log } end\n";

const SHARDS: u32 = 3;

/// Number of kills, unless `FORWARDER_KILLS` is set.
const KILLS: usize = 5;

/// Log groups in each shard for each kill: several times as many as a run delivers, so that no run comes to the end.
const GROUPS_PER_KILL: usize = 8;

/// A bench whose events carry ids, and another Splunk for the logs that are read again.
async fn with_another_splunk() -> (Bench, HecEmulator) {
    let (sls, mut hec) = servers(SHARDS);
    hec.keep = Keep::All;
    let bench = Bench::with((sls, hec)).await;
    std::fs::write(bench.directory.path().join("t.lua"), WITH_ID).unwrap();
    let other = hec::Config { keep: Keep::All, ..hec::Config::new(Secret::new(TOKEN)) };
    (bench, HecEmulator::start(other).await.unwrap())
}

/// The ids of the logs that arrived, repeats included.
fn ids(splunk: &HecEmulator) -> Vec<String> {
    let id = |event: Received<'_>| {
        let event: serde_json::Value = serde_json::from_slice(&event.event_raw).unwrap();
        event["meta_id"].as_str().expect("every event has one").to_owned()
    };
    splunk.received().into_iter().map(id).collect()
}

fn backfill(bench: &Bench, to: &HecEmulator, arguments: &[&str]) -> Program {
    Program::start("backfill", backfill_command(bench, to, arguments))
}

fn backfill_command(bench: &Bench, to: &HecEmulator, arguments: &[&str]) -> Command {
    let mut command = command(bench.directory.path(), &bench.sls_endpoint());
    command.env("FORWARDER_HEC_URL", to.url()).env("FORWARDER_SLS_PAGE_GROUPS", "2");
    command.arg("backfill").args(arguments);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeatedly_killed_backfill_delivers_its_whole_range_beside_the_live_group() {
    let kills = std::env::var("FORWARDER_KILLS").map_or(KILLS, |kills| kills.parse().expect("a number"));
    let (bench, other) = with_another_splunk().await;
    let _live = bench.start("a");
    let groups = kills * GROUPS_PER_KILL;
    (0..SHARDS).for_each(|shard| bench.put(shard, groups as u64, 10));
    bench.settled().await;
    next_second().await;
    let end = now();
    let range: BTreeSet<String> = ids(&bench.hec).into_iter().collect();
    assert_eq!(range.len(), groups * 10 * SHARDS as usize);

    let mut dice = Dice(20_260_131);
    let (mut killed, mut turn) = (0, 0);
    let last = loop {
        let rate = if killed < kills { "10KB" } else { "1GB" };
        let mut program = backfill(&bench, &other, &["--from", "begin", "--to", &end, "--rate", rate]);
        // The program runs for a while after its first event, so that every run makes progress.
        let life = Duration::from_millis(dice.below(400));
        let (began, before) = (Instant::now(), other.counts().events);
        let mut first = None;
        while program.is_running() && (killed == kills || first.is_none_or(|at: Instant| at.elapsed() < life)) {
            bench.put(turn % SHARDS, 1, 10);
            turn += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
            if first.is_none() && other.counts().events > before {
                first = Some(Instant::now());
            }
            assert!(began.elapsed() < Duration::from_secs(120), "{}", program.printed());
        }
        if !program.is_running() {
            break program;
        }
        program.kill();
        killed += 1;
    };
    let mut last = last;
    assert_eq!(last.exit(Duration::from_secs(10)).await, Some(0), "{}", last.printed());
    assert_eq!(killed, kills, "the range ended first");
    assert!(last.says(", resumed: ") == 1 && last.says("done: pulled") == 1, "{}", last.printed());
    let arrived = ids(&other);
    println!("{killed} kills: {} logs, {} arrived", range.len(), arrived.len());
    assert_eq!(
        arrived.into_iter().collect::<BTreeSet<_>>(),
        range,
        "all of the range, under the ids of the live group"
    );

    bench.settled().await;
    assert_eq!(bench.oracle.repeats(), 0);
    let holders: BTreeSet<String> = bench.oracle.holders().into_values().collect();
    assert_eq!(holders, ["a".to_owned()].into(), "nobody else saved in the group");
    let left = std::fs::read_dir(bench.directory.path().join("state")).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = left.filter(|name| name.starts_with("backfill-") && !name.ends_with(".lock")).collect();
    assert_eq!(left, Vec::<String>::new(), "the positions are gone when all is done");
}

/// The niceness of each thread that works.
#[cfg(target_os = "linux")]
fn niceness(program: &Program) -> Vec<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", program.pid())).unwrap();
    let stats = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap());
    let workers = stats.filter(|stat| ["(tokio", "(hook"].iter().any(|name| stat.contains(name)));
    // The 17th field after the name, which may contain spaces.
    let nice =
        |stat: String| stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(16).unwrap().parse().unwrap();
    workers.map(nice).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn the_workers_of_a_backfill_let_the_live_job_come_first() {
    let (bench, other) = with_another_splunk().await;
    (0..SHARDS).for_each(|shard| bench.put(shard, 20, 10));
    next_second().await;
    let program = backfill(&bench, &other, &["--from", "begin", "--to", &now(), "--rate", "5KB"]);
    until("some has arrived", 30, || other.counts().events > 0).await;
    let found = niceness(&program);
    assert!(found.len() > 2 && found.iter().all(|nice| *nice >= 10), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_counts_before_it_delivers_and_continues_after_a_stop() {
    let (bench, other) = with_another_splunk().await;
    (0..SHARDS).for_each(|shard| bench.put(shard, 20, 10));
    next_second().await;
    let end = now();
    (0..SHARDS).for_each(|shard| bench.put(shard, 5, 10));
    let range = ["--from", "begin", "--to", &end];
    let with = |more: &[&'static str]| range.iter().copied().chain(more.iter().copied()).collect::<Vec<_>>();

    let mut dry = backfill(&bench, &other, &with(&["--dry-run"]));
    assert_eq!(dry.exit(Duration::from_secs(30)).await, Some(0), "{}", dry.printed());
    assert_eq!(dry.says("in all: 60 log groups, about 600 logs, "), 1, "{}", dry.printed());
    assert_eq!(ids(&other), Vec::<String>::new());

    let mut first = backfill(&bench, &other, &with(&["--rate", "5KB"]));
    until("some has arrived", 30, || !ids(&other).is_empty()).await;
    let mut twin = backfill(&bench, &other, &with(&[]));
    assert_eq!(twin.exit(Duration::from_secs(30)).await, Some(2));
    assert_eq!(twin.says("the same backfill is running already"), 1, "{}", twin.printed());
    first.signal(libc::SIGTERM);
    assert_eq!(first.exit(Duration::from_secs(30)).await, Some(0), "{}", first.printed());
    assert_eq!(first.says("the same command resumes"), 1, "{}", first.printed());
    assert!(ids(&other).len() < 600);

    let mut next = backfill(&bench, &other, &with(&[]));
    assert_eq!(next.exit(Duration::from_secs(60)).await, Some(0), "{}", next.printed());
    assert_eq!((next.says(", resumed: "), next.says("done: pulled")), (1, 1), "{}", next.printed());
    let arrived = ids(&other);
    assert_eq!((arrived.len(), arrived.iter().collect::<BTreeSet<_>>().len()), (600, 600), "a stop repeats nothing");
    assert_eq!([0, 1, 2].map(|shard| bench.checkpoint(shard)), [None; 3], "there is no group");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_a_backfill_that_is_stopped_says_so_at_once_in_place_of_its_bar() {
    let (bench, other) = with_another_splunk().await;
    (0..SHARDS).for_each(|shard| bench.put(shard, 20, 10));
    next_second().await;
    let range = ["--from", "begin", "--to", &now(), "--rate", "5KB"];
    let mut terminal = Terminal::start(backfill_command(&bench, &other, &range), 24, 200);
    until("some has arrived", 30, || !ids(&other).is_empty()).await;
    until("the bar is shown", 30, || terminal.all().contains(" logs, ")).await;
    terminal.signal(libc::SIGINT);
    let printed = "stopping: delivering and saving logs in flight, up to ";
    until("it says so", 5, || terminal.all().contains(printed)).await;
    assert_eq!(terminal.ends().await, Some(0));
    until("it ends with the counts", 10, || terminal.all().contains("; the same command resumes")).await;
    let all = terminal.all();
    let (before, after) = all.split_once(printed).unwrap();
    assert!(before.ends_with("\r\x1b[2K"), "the bar is cleared: {all:?}");
    assert!(!after.contains("\x1b[2K") && after.contains("\r\nstopped: pulled "), "and not drawn again: {all:?}");
}
