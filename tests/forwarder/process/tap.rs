//! `forwarder tap` shows the events of a running process, and never delays a log.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::bench::{Bench, KEY_SECRET, TOKEN, command, until};
use super::program::Program;

/// Masks the address, and fails on logs with the status *not found*.
const SCRIPT: &str = r#"
function process(log)
  if log.status == "404" then error("no such page") end
  log.remote_addr = "masked"
  return { event = log }
end
"#;

fn tap(bench: &Bench, arguments: &[&str]) -> Program {
    let mut command = command(bench.directory.path(), &bench.sls_endpoint());
    command.arg("tap").args(arguments);
    Program::start("tap", command)
}

/// Writes logs until the tap has seen enough and ends; returns its output, line by line.
async fn lines(bench: &Bench, mut tap: Program, status: &str) -> Vec<Value> {
    until("the tap ends", 60, || {
        bench.put_changed(0, 1, |group| {
            for pair in group.logs.iter_mut().flat_map(|log| &mut log.contents) {
                match pair.key.as_slice() {
                    b"status" => pair.value = status.into(),
                    b"remote_addr" => pair.value = b"192.0.2.7\x1b[2J".to_vec(),
                    _ => {}
                }
            }
        });
        !tap.is_running()
    })
    .await;
    assert_eq!(tap.exit(Duration::from_secs(60)).await, Some(0));
    let printed = tap.printed();
    assert!(!printed.contains(TOKEN) && !printed.contains(KEY_SECRET) && !printed.contains('\x1b'), "{printed:?}");
    printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tap_shows_events_as_the_script_made_them_and_raw_logs_only_on_request() {
    let bench = Bench::new().await;
    std::fs::write(bench.directory.path().join("t.lua"), SCRIPT).unwrap();
    let owner = bench.start_with("a", &[("FORWARDER_DEAD_LETTERS_MAX_SHARE", "100")]);
    owner.to_say("reach this process at unix:").await;

    let seen = lines(&bench, tap(&bench, &["--json", "--limit", "2"]), "200").await;
    assert_eq!(seen.len(), 2, "{seen:?}");
    for line in &seen {
        let text = line["text"].as_str().unwrap();
        assert_eq!(
            (&line["kind"], &line["shard"], &line["destination"]),
            (&"event".into(), &"l/0".into(), &"hec".into())
        );
        assert!(text.contains("masked") && !text.contains("192.0.2.7"), "{text}");
    }

    let began = Instant::now();
    let seen = lines(&bench, tap(&bench, &["--json", "--limit", "3", "--rate", "1"]), "200").await;
    assert!(seen.len() == 3 && began.elapsed() >= Duration::from_millis(1_900), "{:?}", began.elapsed());

    let raw = tap(&bench, &["--json", "--limit", "1", "--logs", "--field", "status=201", "--match", "192\\.0\\.2\\.7"]);
    let seen = lines(&bench, raw, "201").await;
    assert_eq!(seen[0]["kind"], "log");

    for (flag, kind, place) in [("--failures", "failure", Some("t.lua:3")), ("--letters", "letter", None)] {
        let seen = lines(&bench, tap(&bench, &["--json", "--limit", "1", flag]), "404").await;
        assert_eq!((&seen[0]["kind"], seen[0]["at"].as_str()), (&kind.into(), place), "{seen:?}");
        let text = seen[0].to_string();
        assert!(text.contains("no such page") && !text.contains("192.0.2.7"), "{text}");
    }

    let mut wrong = tap(&bench, &["--match", "("]);
    assert_eq!(wrong.exit(Duration::from_secs(60)).await, Some(2));
    assert!(wrong.printed().contains("the pattern cannot be used"), "{}", wrong.printed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unread_tap_delays_nothing_and_the_number_of_open_taps_is_limited() {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    let bench = Bench::new().await;
    let owner = bench.start("a");
    owner.to_say("reach this process at unix:").await;
    let open = || {
        let mut stream = UnixStream::connect(bench.directory.path().join("state/forwarder.sock")).unwrap();
        stream.write_all(b"GET /tap?kind=log&kind=event&rate=1000 HTTP/1.0\r\n\r\n").unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        (String::from_utf8(head.to_vec()).unwrap(), stream)
    };
    let taps: Vec<_> = (0..4).map(|_| open()).collect();
    assert!(taps.iter().all(|(head, _)| head.ends_with("200")), "{taps:?}");
    assert!(open().0.ends_with("503"));
    (0..2).for_each(|shard| bench.put(shard, 50, 100));
    bench.settled().await;
    drop(taps);
    until("the taps are closed", 60, || open().0.ends_with("200")).await;

    let mut other = tap(&bench, &["--connect", "unix:/nowhere/x.sock"]);
    assert_eq!(other.exit(Duration::from_secs(60)).await, Some(69));
}
