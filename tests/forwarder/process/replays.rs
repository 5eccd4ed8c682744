//! Replays of dead letters whose process is killed.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forwarder::core::cursor::{Cursor, ShardId};
use forwarder::core::secret::Secret;
use forwarder::dead_letter::{Config, DirectoryStore, LogOrigin, Reason, Record};
use forwarder::emulator::hec;
use forwarder::emulator::hec::{HecEmulator, HecFault, Keep, Received, Tap};
use tempfile::TempDir;

use super::bench::TOKEN;
use super::kills::Dice;
use super::program::Program;

/// Replays that are killed before one may finish, unless `FORWARDER_REPLAY_KILLS` is set. The gate kills 12.
const KILLS: usize = 4;

/// Dead letters that a replay delivers together, and that a kill can therefore repeat.
const TOGETHER: usize = 100;

const SCRIPT: &str = "function process(log) return log.name end\n";

/// How often each event arrived.
#[derive(Default)]
struct Arrived(Mutex<BTreeMap<String, usize>>);

impl Tap for Arrived {
    fn indexed(&self, event: &Received<'_>) {
        *self.0.lock().unwrap().entry(String::from_utf8_lossy(&event.event_raw).into_owned()).or_default() += 1;
    }
}

fn letter(number: u32) -> Record {
    let pair = |key: &str, value: &str| (key.as_bytes().to_vec(), value.as_bytes().to_vec());
    Record {
        at: "2026-02-03T04:05:06Z".parse().unwrap(),
        reason: Reason::ScriptError,
        destination: None,
        code: "runtime".to_owned(),
        message: "t.lua:1: no".to_owned(),
        origin: LogOrigin {
            project: "p".to_owned(),
            logstore: "l".to_owned(),
            shard: ShardId(0),
            cursor: Cursor::from_number(7),
            log: number,
            event: None,
        },
        script: "0123456789ab".to_owned(),
        log: vec![
            pair("__time__", "1700000000"),
            pair("__topic__", ""),
            pair("__source__", ""),
            pair("name", &name(number)),
        ],
        event: None,
    }
}

fn name(number: u32) -> String {
    format!("letter-{number}")
}

struct Bench {
    hec: HecEmulator,
    arrived: Arc<Arrived>,
    directory: TempDir,
    /// The store of a forwarder that runs beside the replay.
    letters: DirectoryStore,
    written: u32,
}

impl Bench {
    async fn new() -> Self {
        let arrived = Arc::<Arrived>::default();
        let config = hec::Config {
            keep: Keep::Last(0),
            tap: Some(Arc::clone(&arrived) as _),
            ..hec::Config::new(Secret::new(TOKEN))
        };
        let hec = HecEmulator::start(config).await.unwrap();
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("t.lua"), SCRIPT).unwrap();
        let config = Config { dir: directory.path().join("dead-letters"), max_bytes: 1 << 30 };
        Self { hec, arrived, directory, letters: DirectoryStore::open(config).unwrap(), written: 0 }
    }

    fn write(&mut self, count: u32) {
        let records: Vec<_> = (self.written..self.written + count).map(letter).collect();
        // A replay may rename the file at this moment: then the forwarder writes the same dead letters again.
        while self.letters.append(&records).is_err() {}
        self.written += count;
    }

    fn replay(&self) -> Program {
        self.replay_of("--all", TOKEN)
    }

    fn replay_of(&self, which: &str, token: &str) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forwarder"));
        command.env_clear().current_dir(self.directory.path()).envs([
            ("FORWARDER_HEC_URL", self.hec.url().as_str()),
            ("FORWARDER_HEC_TOKEN", token),
            ("FORWARDER_SCRIPT", "t.lua"),
        ]);
        command.args(["dlq", "replay", which, "--rate", "2000"]);
        Program::start("replay", command)
    }

    /// The number of dead letters that did not arrive, and the number of repeated arrivals.
    fn missing_and_repeats(&self) -> (usize, usize) {
        let arrived = self.arrived.0.lock().unwrap();
        let missing = (0..self.written).filter(|number| !arrived.contains_key(&name(*number))).count();
        (missing, arrived.values().sum::<usize>() - arrived.len())
    }
}

/// Kills the replay while it starts, claims the dead letters, waits for a busy collector, waits for its answer, or
/// records deliveries; meanwhile a forwarder writes more dead letters.
#[tokio::test(flavor = "multi_thread")]
async fn f82_a_replay_killed_at_any_moment_repeats_at_most_a_hundred_dead_letters_and_loses_none() {
    let mut bench = Bench::new().await;
    bench.write(1_000);
    let mut dice = Dice(20_260_203);
    let kills = std::env::var("FORWARDER_REPLAY_KILLS").map_or(KILLS, |kills| kills.parse().expect("a number"));
    for kill in 0..kills {
        bench.hec.faults().clear();
        let slow = HecFault::Trickle { every_ms: 2 };
        bench.hec.faults().next(if dice.below(2) == 0 { HecFault::busy() } else { slow }, 1 + dice.below(2));
        let mut replay = bench.replay();
        if kill % 4 > 0 {
            replay.to_say("at most 2000 a second").await;
        }
        for _ in 0..dice.below(40) {
            bench.write(1);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        replay.kill();
    }
    let (_, repeats) = bench.missing_and_repeats();
    assert!(repeats <= kills * TOGETHER, "{repeats} repeats");

    // If it is asked to stop instead, it prints how to continue; after that it may finish.
    bench.write(1_000);
    bench.hec.faults().clear();
    let mut replay = bench.replay();
    replay.to_say("at most 2000 a second").await;
    replay.signal(libc::SIGTERM);
    assert_eq!(replay.exit(Duration::from_secs(20)).await, Some(75), "{}", replay.printed());
    assert_eq!(replay.says("run the same command again to continue"), 1, "{}", replay.printed());

    let mut replay = bench.replay();
    assert_eq!(replay.exit(Duration::from_secs(60)).await, Some(0), "{}", replay.printed());
    let (missing, repeats) = bench.missing_and_repeats();
    assert_eq!(missing, 0, "of {} letters", bench.written);
    let mut left: Vec<_> =
        std::fs::read_dir(bench.letters.dir()).unwrap().map(|file| file.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["dead-letters.lock", "replay.lock"], "what is delivered has left");
    println!("{} letters, {kills} kills, {repeats} repeats", bench.written);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_replay_says_so_and_waits_until_it_is_stopped() {
    let mut bench = Bench::new().await;
    bench.write(150);
    let mut replay = bench.replay_of("--all", "another-token");
    replay.to_say("Splunk HEC rejects our requests").await;
    replay.signal(libc::SIGINT);
    assert_eq!(replay.exit(Duration::from_secs(20)).await, Some(75), "{}", replay.printed());
    assert_eq!(replay.says("HTTP 403, code 4: Invalid token (the token is wrong"), 1, "{}", replay.printed());
    assert_eq!(replay.says("0 delivered, 0 dropped by the script, 0 stay, 150 not tried"), 1, "{}", replay.printed());
    assert_eq!(bench.missing_and_repeats(), (150, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_reports_each_unreadable_record_once_and_does_not_end_with_success() {
    let mut bench = Bench::new().await;
    bench.write(3);
    let file = bench.letters.dir().join("dead-letters.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("letter-1", "letter-x", 1)).unwrap();
    // The requested dead letter may be the unreadable one.
    let mut replay = bench.replay_of("0-7-1", TOKEN);
    assert_eq!(replay.exit(Duration::from_secs(20)).await, Some(2), "{}", replay.printed());
    assert_eq!(replay.says(&format!("skipped: {} at byte ", file.display())), 1, "{}", replay.printed());
    let mut replay = bench.replay_of("0-7-2", TOKEN);
    assert_eq!(replay.exit(Duration::from_secs(20)).await, Some(0), "{}", replay.printed());

    let mut replay = bench.replay();
    assert_eq!(replay.exit(Duration::from_secs(20)).await, Some(1), "{}", replay.printed());
    let set_aside = bench.letters.dir().join("dead-letters.1.jsonl");
    assert_eq!(replay.says("skipped: "), 1, "{}", replay.printed());
    assert_eq!(replay.says(&format!("skipped: {} at byte ", set_aside.display())), 1, "{}", replay.printed());
    let end = "1 delivered, 0 dropped by the script, 0 stay; 1 could not be read and stay";
    assert_eq!(replay.says(end), 1, "{}", replay.printed());
    assert_eq!(std::fs::read_to_string(set_aside).unwrap().matches("letter-x").count(), 1);
}
