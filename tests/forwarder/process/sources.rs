//! Several sources in one process: they work independently.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use forwarder::core::secret::Secret;
use forwarder::emulator::hec;
use forwarder::emulator::hec::{HecEmulator, HecFault, Keep};
use forwarder::emulator::sls;
use forwarder::emulator::sls::{Call, SlsEmulator, SlsFault};
use forwarder::loggroup::proto::{Log, LogGroup, Pair};
use tempfile::TempDir;

use super::bench::{GROUP, KEY_SECRET, TOKEN, command, until, until_or};
use super::program::Program;

/// Adds to each event where its log came from.
const SCRIPT: &str =
    "function process(log, meta) return { event = meta.source .. '|' .. meta.project .. '|' .. log.id } end\n";

/// Name, project and logstore of a source.
type Place = (&'static str, &'static str, &'static str);

/// Several logstores, and a Splunk that keeps all events.
pub(super) struct Many {
    pub(super) sls: SlsEmulator,
    hec: HecEmulator,
    pub(super) directory: TempDir,
    places: Vec<Place>,
    /// Logs written so far, by the name of their source.
    written: Mutex<BTreeMap<&'static str, usize>>,
}

impl Many {
    pub(super) async fn new(places: &[Place]) -> Self {
        let keys = Some(("key-id".to_owned(), Secret::new(KEY_SECRET)));
        let logstores = places.iter().map(|(_, project, logstore)| ((*project).to_owned(), (*logstore).to_owned()));
        let logstores = logstores.collect();
        let sls = SlsEmulator::start(sls::Config { keys, logstores, ..sls::Config::default() }).await.unwrap();
        let mut config = hec::Config::new(Secret::new(TOKEN));
        config.keep = Keep::All;
        let hec = HecEmulator::start(config).await.unwrap();
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("t.lua"), SCRIPT).unwrap();
        Self { sls, hec, directory, places: places.to_vec(), written: Mutex::default() }
    }

    fn place(&self, source: &str) -> Place {
        *self.places.iter().find(|(name, ..)| *name == source).unwrap()
    }

    /// Writes `count` logs to each of the two shards of a source.
    pub(super) fn put(&self, source: &str, count: usize) {
        let (name, project, logstore) = self.place(source);
        let mut written = self.written.lock().unwrap();
        let written = written.entry(name).or_default();
        for shard in 0..2 {
            let log = |number: usize| Log {
                time: 1_800_000_000,
                contents: vec![Pair { key: "id".into(), value: format!("{logstore}-{number}").into() }],
                time_ns: None,
            };
            let logs = (*written..*written + count).map(log).collect();
            self.sls.put(project, logstore, shard, [LogGroup { logs, ..LogGroup::default() }]).unwrap();
            *written += count;
        }
    }

    /// Starts the program with a settings file that has additional lines for some sources.
    fn start(&self, more: &[(&str, &str)], environment: &[(&str, &str)]) -> Program {
        self.start_with(more, "", environment)
    }

    /// The same, with additional text at the end of the file.
    fn start_with(&self, more: &[(&str, &str)], end: &str, environment: &[(&str, &str)]) -> Program {
        let mut text = String::new();
        for (name, project, logstore) in &self.places {
            text += &format!("[[source]]\nname = \"{name}\"\nproject = \"{project}\"\nlogstore = \"{logstore}\"\n");
            text.extend(more.iter().filter(|(source, _)| source == name).map(|(_, line)| format!("{line}\n")));
        }
        self.start_file(&(text + end), environment)
    }

    pub(super) fn start_file(&self, text: &str, environment: &[(&str, &str)]) -> Program {
        std::fs::write(self.directory.path().join("forwarder.toml"), text).unwrap();
        let mut command = self.command();
        command.arg("--config").arg("forwarder.toml").envs(environment.iter().copied());
        if text.contains("[[destination]]") {
            command.env_remove("FORWARDER_HEC_URL");
        }
        Program::start("program", command)
    }

    pub(super) fn command(&self) -> Command {
        let mut command = command(self.directory.path(), &format!("http://{}", self.sls.address()));
        command.env_remove("SLS_PROJECT").env_remove("SLS_LOGSTORE").env("FORWARDER_HEC_URL", self.hec.url());
        command.env("FORWARDER_ADMIN_LISTEN", "127.0.0.1:0");
        // On a busy machine, heartbeats may be late. A shard that is lost therefore would be pulled again, and counted again.
        command.env("FORWARDER_SLS_GROUP_TIMEOUT", "60s");
        command
    }

    /// The number of logs of a source that have arrived; each event must name that source.
    fn arrived(&self, source: &str) -> usize {
        let (name, project, logstore) = self.place(source);
        let begin = format!("{name}|{project}|{logstore}-");
        let events = self.hec.received();
        let events: BTreeSet<_> = events.iter().map(|event| event.event_raw.as_ref()).collect();
        events.iter().filter(|event| event.starts_with(begin.as_bytes())).count()
    }

    /// Whether each event of a source that has arrived ends with its id and this text.
    fn all_end_with(&self, source: &str, end: &str) -> bool {
        let begin = format!("{source}|");
        let events = self.hec.received();
        let mut of_it = events.iter().map(|event| &event.event_raw).filter(|raw| raw.starts_with(begin.as_bytes()));
        of_it.all(|raw| {
            let text = String::from_utf8_lossy(raw);
            text.strip_suffix(end).is_some_and(|id| id.ends_with(|last: char| last.is_ascii_digit()))
        })
    }

    /// Waits until all logs of a source have arrived and are saved.
    pub(super) async fn settled(&self, source: &str) {
        let written = self.written.lock().unwrap()[self.place(source).0];
        let state = || format!("{} of {written} of {source}", self.arrived(source));
        until_or("all logs arrive", 60, || self.arrived(source) == written, state).await;
        let (_, project, logstore) = self.place(source);
        until("every checkpoint is at the end of its shard", 30, || {
            (0..2).all(|shard| {
                let saved = self.sls.checkpoint(project, logstore, GROUP, shard).map(|saved| saved.cursor);
                saved == self.sls.range(project, logstore, shard).map(|range| range.end)
            })
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_reads_three_logstores_of_two_projects_and_accounts_for_each() {
    let many = Many::new(&[("audit", "one", "audit"), ("waf", "one", "waf-logs"), ("oss", "two", "audit")]).await;
    let mut program = many.start(&[], &[]);
    for round in 0..3 {
        for (name, ..) in many.places.clone() {
            many.put(name, 10 + round);
        }
    }
    for (name, ..) in many.places.clone() {
        many.settled(name).await;
    }
    program.signal(libc::SIGTERM);
    assert_eq!(program.exit(Duration::from_secs(30)).await, Some(0));
    for (name, ..) in &many.places {
        let line = format!("source {name}: pulled 66 = delivered 66 + dropped 0 + dead-lettered 0 + in flight 0");
        assert_eq!(program.says(&line), 1, "{}", program.printed());
    }
    assert_eq!(program.says("pulled 198 = delivered 198 +"), 1, "{}", program.printed());
    assert_eq!(program.says("shard oss/1: pulled 33"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lists_in_the_vendors_variables_are_read() {
    let many = Many::new(&[("one.audit", "one", "audit"), ("waf", "one", "waf"), ("two.audit", "two", "audit")]).await;
    let endpoint = format!("http://{}", many.sls.address());
    let mut command = many.command();
    command.env_remove("SLS_ENDPOINT").envs([
        ("SLS_ENDPOINTS", format!("{endpoint}; {endpoint}")),
        ("SLS_PROJECTS", "one; two".to_owned()),
        ("SLS_LOGSTORES", "audit, waf; audit".to_owned()),
    ]);
    let program = Program::start("program", command);
    for (name, ..) in many.places.clone() {
        many.put(name, 5);
        many.settled(name).await;
    }
    drop(program);
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_sources_delay_no_other() {
    let names = ["throttled", "refused", "deleted", "slow", "well"];
    let many = Many::new(&names.map(|name| (name, "p", name))).await;
    let forever = u32::MAX;
    let fault = |name, call, fault| many.sls.faults().next_of("p", name, call, fault, forever);
    // The sources that are refused lose their shards.
    let mut program = many.start(&[], &[("FORWARDER_SLS_GROUP_TIMEOUT", "4s")]);
    for name in names {
        many.put(name, 10);
        many.settled(name).await;
    }
    fault("throttled", Call::Pull, SlsFault::status(403, "ReadQuotaExceed", "exceed quota"));
    for call in [Call::Pull, Call::Heartbeat, Call::Save] {
        fault("refused", call, SlsFault::status(401, "SecurityTokenExpired", "expired"));
        fault("deleted", call, SlsFault::status(404, "LogStoreNotExist", "logstore deleted does not exist"));
    }
    fault("slow", Call::Pull, SlsFault::Delay { by: Duration::from_secs(20) });
    names.iter().for_each(|name| many.put(name, 10));
    many.settled("well").await;
    program.to_say("SecurityTokenExpired").await;
    program.to_say("LogStoreNotExist").await;
    for round in 0..5 {
        many.put("well", 10 + round);
        many.settled("well").await;
    }
    for name in &names[..3] {
        assert_eq!(many.arrived(name), 20, "nothing of {name} can have come");
    }
    let printed = program.printed();
    assert!(!printed.contains("source well:"), "{printed}");

    // When the fault is over, each source continues by itself.
    for call in [Call::Pull, Call::Heartbeat, Call::Save] {
        many.sls.faults().clear(call);
    }
    for name in names {
        many.settled(name).await;
    }
    program.signal(libc::SIGTERM);
    assert_eq!(program.exit(Duration::from_secs(60)).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_refused_at_the_start_ends_nothing_while_another_works() {
    let many = Many::new(&[("a", "p", "a"), ("b", "p", "b")]).await;
    let refused = || SlsFault::status(403, "Unauthorized", "denied by sts or ram");
    many.sls.faults().next_of("p", "a", Call::ListGroups, refused(), u32::MAX);
    let mut program = many.start(&[], &[]);
    many.put("b", 10);
    many.settled("b").await;
    program.to_say("source a: cannot join the consumer group").await;
    let answers = |path: &str, words: &str| super::reports::get(&program, path).contains(words);
    until("/ready names it", 10, || answers("/ready", "ready; the consumer group of source a cannot be joined")).await;
    assert!(answers("/", "the consumer group of source a cannot be joined"));
    let joined = |name: &str, is: u8| answers("/metrics", &format!("forwarder_joined{{source=\"{name}\"}} {is}\n"));
    assert!(joined("a", 0) && joined("b", 1));
    many.put("a", 10);
    many.sls.faults().clear(Call::ListGroups);
    many.settled("a").await;
    program.signal(libc::SIGTERM);
    assert_eq!(program.exit(Duration::from_secs(30)).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_every_source_is_refused_at_the_start_the_program_ends_as_with_one() {
    let many = Many::new(&[("a", "p", "a"), ("b", "p", "b")]).await;
    many.sls.faults().next(Call::ListGroups, SlsFault::status(403, "Unauthorized", "denied by sts or ram"), u32::MAX);
    let mut program = many.start(&[], &[]);
    assert_eq!(program.exit(Duration::from_secs(30)).await, Some(77));
    assert!(program.says("SLS refuses the start: ") > 0, "{}", program.printed());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_source_runs_its_own_script() {
    let many = Many::new(&[("a", "p", "a"), ("b", "p", "b")]).await;
    let own = SCRIPT.replace("log.id", "log.id .. ' own'");
    std::fs::write(many.directory.path().join("own.lua"), own).unwrap();
    let program = many.start(&[("b", "script = \"own.lua\"")], &[]);
    many.put("a", 5);
    many.put("b", 5);
    many.settled("a").await;
    many.settled("b").await;
    assert!(many.all_end_with("a", "") && many.all_end_with("b", " own"));
    drop(program);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_replayed_through_the_script_of_its_own_source() {
    let many = Many::new(&[("one", "p", "a"), ("b", "p", "b")]).await;
    let write = |name: &str, text: &str| std::fs::write(many.directory.path().join(name), text).unwrap();
    let broken = "function process(log) error('no') end\n";
    write("t.lua", broken);
    write("own.lua", broken);
    let mut program = many.start(&[("b", "script = \"own.lua\"")], &[("FORWARDER_DEAD_LETTERS_MAX_SHARE", "100")]);
    many.put("one", 5);
    many.put("b", 5);
    until_or(
        "all are dead letters",
        60,
        || super::reports::metric(&program, "forwarder_dead_letters_open") == 20.0,
        || program.printed(),
    )
    .await;
    program.signal(libc::SIGTERM);
    assert_eq!(program.exit(Duration::from_secs(30)).await, Some(0));
    write("t.lua", SCRIPT);
    write("own.lua", &SCRIPT.replace("log.id", "log.id .. ' own'"));
    let mut command = many.command();
    command.args(["dlq", "replay", "--all", "--config", "forwarder.toml"]);
    let mut replay = Program::start("replay", command);
    assert_eq!(replay.exit(Duration::from_secs(60)).await, Some(0), "{}", replay.printed());
    assert_eq!((many.arrived("one"), many.arrived("b")), (10, 10));
    assert!(many.all_end_with("one", "") && many.all_end_with("b", " own"));
}

/// The destination of one source is down; its events are so large that a few of them fill the memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_whose_events_cannot_be_delivered_leaves_the_others_enough_memory() {
    let many = Many::new(&[("stuck", "p", "stuck"), ("well", "p", "well")]).await;
    let script = "function process(log, meta)\n\
        if meta.source == 'stuck' then return { event = log.id .. string.rep('x', 900000), to = 'down' } end\n\
        return { event = 'well|p|' .. log.id, to = 'up' }\nend\n";
    std::fs::write(many.directory.path().join("t.lua"), script).unwrap();
    let mut config = hec::Config::new(Secret::new(TOKEN));
    config.keep = Keep::Last(0);
    let down = HecEmulator::start(config).await.unwrap();
    down.faults().next(HecFault::busy(), u64::MAX);
    let item = |name, url| format!("[[destination]]\nname = \"{name}\"\ntype = \"hec\"\nurl = \"{url}\"\n");
    let destinations = item("up", many.hec.url()) + &item("down", down.url());
    let mut program = many.start_with(&[], &destinations, &[("FORWARDER_RUN_MEMORY", "64MiB")]);
    many.put("stuck", 50);
    let used = || super::reports::metric(&program, "forwarder_memory_used_bytes");
    until_or("one source fills the memory", 60, || used() > f64::from(48 << 20), || used().to_string()).await;
    for round in 0..5 {
        many.put("well", 100 + round);
        many.settled("well").await;
    }
    down.faults().clear();
    until_or("the other goes on", 60, || down.counts().events >= 100, || program.printed()).await;
    program.signal(libc::SIGTERM);
    assert_eq!(program.exit(Duration::from_secs(60)).await, Some(0));
    assert_eq!(program.says("source stuck: pulled 100 = delivered 100 +"), 1, "{}", program.printed());
}

/// Fails if a position in the deleted logstore is used in the new one: the cursors of both have the same numbers here.
#[tokio::test(flavor = "multi_thread")]
async fn all_logs_of_a_logstore_that_is_deleted_and_created_again_arrive() {
    let many = Many::new(&[("audit-a", "p", "audit-a"), ("single", "p", "single"), ("other", "p", "other")]).await;
    let item = |keys: &str| format!("[[source]]\nproject = \"p\"\n{keys}\n");
    let text = item("logstore = \"audit-*\"") + &item("logstore = \"single\"");
    let mut program = many.start_file(&text, &[("FORWARDER_RUN_DRAIN_TIMEOUT", "5s")]);
    for name in ["audit-a", "single"] {
        many.put(name, 10);
        many.settled(name).await;
        many.sls.delete_logstore("p", name);
    }
    program.signal(libc::SIGHUP);
    program.to_say("the logstore was deleted: its source ends").await;
    program.to_say("logstore single does not exist").await;
    let metrics = || super::reports::get(&program, "/metrics");
    let is_shown = || metrics().contains("forwarder_sls_calls_total{source=\"audit-a\"");
    until_or("the source of the pattern ends", 60, || !is_shown(), metrics).await;
    for name in ["audit-a", "single"] {
        many.sls.create_logstore("p", name);
        many.put(name, 10);
    }
    program.signal(libc::SIGHUP);
    for name in ["audit-a", "single"] {
        many.settled(name).await;
    }
    program.signal(libc::SIGTERM);
    assert_eq!(program.exit(Duration::from_secs(60)).await, Some(0));
    assert_eq!(program.says("GAP"), 0, "{}", program.printed());
}

/// No call meets the logstore while it is away: only the creation time of its shards differs.
#[tokio::test(flavor = "multi_thread")]
async fn all_logs_arrive_after_a_logstore_was_deleted_and_created_again_at_once() {
    let many = Many::new(&[("single", "p", "single"), ("other", "p", "other")]).await;
    let program = many.start(&[], &[]);
    many.put("single", 10);
    many.settled("single").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    many.sls.delete_logstore("p", "single");
    many.sls.create_logstore("p", "single");
    many.put("single", 10);
    many.settled("single").await;
    assert_eq!(program.says("GAP"), 0, "{}", program.printed());
}
