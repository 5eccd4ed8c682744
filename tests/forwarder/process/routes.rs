//! Several destinations at once.

use std::fs;
use std::path::Path;
use std::time::Duration;

use forwarder::emulator::syslog::{Config, Protocol, SyslogEmulator};

use super::bench::{Bench, until_or};
use super::program::Program;
use super::reports::get;

/// Splunk gets every log, the file gets the failed ones, and syslog gets a line about each failed one as well.
const SCRIPT: &str = r#"
function process(log)
  if tonumber(log.status) < 400 then return { event = log, to = "hec" } end
  return { { event = log, to = { "hec", "file" } }, { message = "status " .. log.status, to = "syslog" } }
end
"#;

/// A logstore, Splunk, a syslog receiver and a file, and the program between them.
struct Routes {
    bench: Bench,
    siem: SyslogEmulator,
}

impl Routes {
    async fn new(script: &str) -> Self {
        let bench = Bench::new().await;
        fs::write(bench.directory.path().join("t.lua"), script).unwrap();
        (0..2).for_each(|shard| bench.put(shard, 10, 50));
        Self { bench, siem: SyslogEmulator::start(Config::new(Protocol::Relp)).await.unwrap() }
    }

    fn start(&self) -> Program {
        self.start_with(&[])
    }

    fn start_with(&self, more: &[(&str, &str)]) -> Program {
        let address = self.siem.address();
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let settings = [
            ("FORWARDER_FILE_PATH", "events.jsonl"),
            ("FORWARDER_SYSLOG_HOST", host.as_str()),
            ("FORWARDER_SYSLOG_PORT", port.as_str()),
            ("FORWARDER_SYSLOG_PROTOCOL", "relp"),
        ];
        self.bench.start_with("a", &[&settings, more].concat())
    }

    /// Events in the file.
    fn stored(&self) -> usize {
        stored(&self.bench.directory.path().join("events.jsonl"))
    }
}

fn stored(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

async fn end(mut program: Program) -> Program {
    program.signal(libc::SIGTERM);
    assert_eq!(program.exit(Duration::from_secs(10)).await, Some(0));
    program
}

#[tokio::test(flavor = "multi_thread")]
async fn one_script_sends_each_event_to_the_destinations_that_it_names() {
    let routes = Routes::new(SCRIPT).await;
    let program = routes.start();
    routes.bench.settled().await;
    let program = end(program).await;
    let wrong = routes.stored();
    assert!(wrong > 0 && wrong < 1_000, "{wrong}");
    let messages = routes.siem.received();
    assert_eq!(messages.len(), wrong);
    assert!(messages.iter().all(|message| String::from_utf8_lossy(message).contains(" status ")));
    assert_eq!(routes.bench.oracle.repeats(), 0);
    assert_eq!(program.says("delivered 1000 + dropped 0 + dead-lettered 0"), 1, "{}", program.printed());
    for name in
        ["the destination hec: delivered means accepted", "the destination syslog: delivered means acknowledged"]
    {
        assert_eq!(program.says(name), 1, "{}", program.printed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_destinations_wait_for_one_that_is_down_and_none_misses_a_log() {
    let routes = Routes::new("function process(log) return { event = log } end\n").await;
    routes.bench.hec.faults().refuse_for(Duration::from_secs(3600));
    let program = routes.start();
    program.to_say("Splunk HEC is down").await;
    assert_eq!(routes.bench.oracle.saved_groups(), 0, "what Splunk has not got is not saved");
    routes.bench.hec.faults().clear();
    routes.bench.settled().await;
    let program = end(program).await;
    assert_eq!((routes.stored(), routes.siem.received().len()), (1_000, 1_000));
    assert_eq!(program.says("delivered 1000 + dropped 0 + dead-lettered 0"), 1, "{}", program.printed());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_missed_by_an_isolated_destination_survive_a_stop_and_are_replayed_to_it_alone() {
    let routes = Routes::new("function process(log) return { event = log } end\n").await;
    routes.bench.hec.faults().refuse_for(Duration::from_secs(3600));
    let isolated = [("FORWARDER_HEC_ISOLATE", "true")];
    let program = routes.start_with(&isolated);
    program.to_say("Splunk HEC is down").await;
    let others = || (routes.stored(), routes.siem.received().len());
    until_or("the others have everything", 60, || others() == (1_000, 1_000), || format!("{:?}", others())).await;
    // A stop does not wait for it: waiting events become dead letters, and the checkpoint passes them.
    let program = end(program).await;
    assert_eq!(program.says("delivered 0 + dropped 0 + dead-lettered 1000"), 1, "{}", program.printed());
    assert!((0..2).all(|shard| routes.bench.checkpoint(shard) == Some(routes.bench.end(shard))));
    let program = routes.start_with(&isolated);
    program.to_say("Splunk HEC is down").await;
    routes.bench.hec.faults().clear();
    routes.bench.all_arrived().await;
    program.to_say("delivered the events that the destination had missed").await;
    let program = end(program).await;
    assert_eq!(others(), (1_000, 1_000), "the others got nothing twice");
    assert_eq!(program.says("dead letters; to see why"), 0, "none is left: {}", program.printed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_isolated_destination_without_room_for_its_dead_letters_is_reported_while_all_wait() {
    // Its dead letters are larger than their limit, and what waits for it is larger than its share of the memory.
    let script = "function process(log) log.pad = (\"x\"):rep(4000) return { event = log } end\n";
    let routes = Routes::new(script).await;
    (0..2).for_each(|shard| routes.bench.put(shard, 20, 50));
    routes.bench.hec.faults().refuse_for(Duration::from_secs(3600));
    let settings = [
        ("FORWARDER_HEC_ISOLATE", "true"),
        ("FORWARDER_DEAD_LETTERS_MAX_SIZE", "3MB"),
        ("FORWARDER_ADMIN_LISTEN", "127.0.0.1:0"),
    ];
    let program = routes.start_with(&settings);
    let why = "newer events for it cannot become dead letters: no room for dead letters in ";
    program.to_say(why).await;
    let status = get(&program, "/status");
    assert!(status.contains("\"verdict\": \"Paused\"") && status.contains("the destination hec is down ("), "{status}");
    let ready = get(&program, "/ready");
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains(why), "{ready}");
    assert!(get(&program, "/metrics").contains("forwarder_standstill{source=\"l\",shard=\"0\"} 1\n"));
    routes.bench.hec.faults().clear();
    program.to_say("the isolated destination no longer holds up the others").await;
    routes.bench.all_arrived().await;
    let program = end(program).await;
    assert_eq!(program.says(why), 1, "{}", program.printed());
}
