//! Dead letters, from the log in SLS to what `forwarder dlq` shows, over sockets and on disk.

use std::process::Command;
use std::time::Duration;

use forwarder::app::App;
use forwarder::core::secret::Secret;
use forwarder::core::stop::stop;
use forwarder::emulator::hec;
use forwarder::emulator::hec::HecEmulator;
use forwarder::emulator::sls;
use forwarder::emulator::sls::SlsEmulator;
use forwarder::loggroup::proto::{Log, LogGroup, Pair};
use tokio::task::JoinSet;

use crate::settings::Typed;

const SCRIPT: &str = "function process(log) return { time = log.__time__, event = log.id } end\n";

#[tokio::test(flavor = "multi_thread")]
async fn f55_one_rejected_event_of_a_thousand_is_dead_lettered_and_the_others_arrive_once() {
    let config = sls::Config { shards: 1, ..sls::Config::default() };
    let sls = SlsEmulator::start(config).await.unwrap();
    let config = hec::Config { max_event: 1_000, ..hec::Config::new(Secret::new("token")) };
    let hec = HecEmulator::start(config).await.unwrap();
    // The collector refuses an event above its maximum size with code 6 and the number of the event.
    let id = |id: usize| if id == 617 { format!("log-617 {}", "x".repeat(2_000)) } else { format!("log-{id}") };
    let log = |log: usize| Log {
        time: 1_700_000_000,
        contents: vec![Pair { key: "id".into(), value: id(log).into() }],
        time_ns: None,
    };
    let group = LogGroup { logs: (0..1_000).map(log).collect(), ..LogGroup::default() };
    sls.put("my-project", "my-logstore", 0, [group]).unwrap();

    let typed = Typed::new();
    let script = typed.path("scripts/transform.lua");
    std::fs::write(&script, SCRIPT).unwrap();
    let letters = typed.path("letters");
    let typed = typed
        .set("SLS_ENDPOINT", &format!("http://{}", sls.address()))
        .set("FORWARDER_HEC_URL", &hec.url())
        .set("FORWARDER_HEC_TOKEN", "token")
        .set("FORWARDER_SLS_HEARTBEAT_INTERVAL", "1s")
        .set("FORWARDER_SCRIPT", script.to_str().unwrap())
        .set("FORWARDER_DEAD_LETTERS_DIR", letters.to_str().unwrap());
    let app = App::new(typed.good("")).unwrap();
    let ledger = app.ledger();
    let (stopper, stopped) = stop();
    let mut running = JoinSet::new();
    running.spawn(app.run(stopped));

    let end = sls.range("my-project", "my-logstore", 0).unwrap().end;
    let saved = || sls.checkpoint("my-project", "my-logstore", "siem", 0).map(|saved| saved.cursor) == Some(end);
    for _ in 0..600 {
        if saved() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(saved(), "{:?}", ledger.read());
    stopper.raise();
    running.join_next().await.unwrap().unwrap().unwrap();

    let total = ledger.total();
    assert_eq!((total.delivered, total.dead_lettered, total.in_flight, total.difference()), (999, 1, 0, 0));
    let mut arrived: Vec<Vec<u8>> = hec.received().iter().map(|event| event.event_raw.to_vec()).collect();
    arrived.sort();
    let mut expected: Vec<Vec<u8>> = (0..1_000).filter(|log| *log != 617).map(|log| id(log).into_bytes()).collect();
    expected.sort();
    assert_eq!(arrived, expected);

    let hec_url = hec.url();
    let dlq = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forwarder"));
        command.env_clear().env("FORWARDER_DEAD_LETTERS_DIR", &letters).env("FORWARDER_HEC_URL", &hec_url);
        command.env("FORWARDER_HEC_TOKEN", "token").arg("dlq").args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let list = dlq(&["list"]);
    assert!(list.contains("hec 6") && list.contains("\n1 dead letter: rejected 1\n"), "{list}");
    let id = list.lines().nth(1).unwrap().split_whitespace().next().unwrap();
    assert!(id.ends_with("-617-0"), "{list}");
    assert!(dlq(&["show", id]).contains("log-617"));

    // Once the script is corrected, the dead letter is delivered and removed.
    std::fs::write(&script, SCRIPT.replace("log.id", "log.id:sub(1, 900)")).unwrap();
    let script = script.to_str().unwrap();
    let shown = dlq(&["replay", id, "--script", script, "--dry-run"]);
    assert!(shown.contains("\n  - {") && shown.contains("\n  + {"), "{shown}");
    assert_eq!(hec.counts().events, 999);
    let replayed = dlq(&["replay", id, "--script", script]);
    assert!(replayed.ends_with("\n1 delivered, 0 dropped by the script, 0 stay\n"), "{replayed}");
    assert!(hec.received().last().unwrap().event_raw.starts_with(b"log-617 xxx"));
    assert!(dlq(&["list"]).starts_with("no dead letters in "));
}

#[test]
fn a_missing_dead_letter_directory_ends_with_2_and_its_path() {
    let output = Command::new(env!("CARGO_BIN_EXE_forwarder"))
        .env_clear()
        .args(["dlq", "list", "--dir", "/nowhere/at/all"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("/nowhere/at/all"));
}
