use std::path::Path;
use std::sync::Mutex;

use super::*;
use crate::core::cause::Cause;
use crate::core::cursor::Cursor;
use crate::core::event::{Body, BodyError, DestinationFormat, Format, Head};
use crate::core::lease::Lease;
use crate::core::stop::{Stopper, stop};
use crate::dead_letter::{Config, DirectoryStore, LogOrigin, Reader, Reason};
use crate::destination::{CheckError, Checked, Figures, Health, Promise, Rejected, Rejection};
use crate::pipeline::OnReject;

struct Text;

impl Format for Text {
    fn write(&self, _: &Head<'_>, body: &mut dyn Body, out: &mut Vec<u8>) -> Result<(), BodyError> {
        body.text(b"", out)
    }
}

/// A destination that accepts every event except those named `no`.
#[derive(Default)]
struct Siem {
    events: Mutex<Vec<String>>,
}

impl Destination for Siem {
    async fn deliver(&self, batch: Arc<Output>, tenure: Tenure) -> Outcome {
        let mut rejected = Vec::new();
        for event in 0..batch.events.len() {
            if !tenure.holds() {
                return Outcome::Abandoned;
            }
            match String::from_utf8(batch.events.get(event).to_vec()).unwrap() {
                no if no == "no" => {
                    let (code, reason) = ("x 1".into(), "no".into());
                    rejected.push(Rejected { event, rejection: Rejection::Refused, code, reason });
                }
                text => self.events.lock().unwrap().push(text),
            }
        }
        Outcome::Done(rejected)
    }

    async fn check(&self) -> Result<Checked, CheckError> {
        Err(CheckError::Down(Cause::new("nobody asks this one")))
    }

    fn address(&self) -> String {
        "siem".to_owned()
    }

    fn promise(&self) -> Promise {
        Promise { label: "taken", sentence: "delivered means taken: the test has it" }
    }

    fn figures(&self) -> Figures {
        Figures::default()
    }

    fn health(&self) -> Health {
        Health::Unknown
    }
}

fn record(log: u32, event: Option<u32>, name: &str) -> Record {
    let text = |text: &str| text.as_bytes().to_vec();
    Record {
        at: "2026-02-03T04:05:06Z".parse().unwrap(),
        reason: Reason::ScriptError,
        destination: None,
        code: "runtime".to_owned(),
        message: String::new(),
        origin: LogOrigin {
            project: "p".to_owned(),
            logstore: "l".to_owned(),
            shard: ShardId(3),
            cursor: Cursor::from_number(70),
            log,
            event,
        },
        script: "0123456789ab".to_owned(),
        log: vec![
            (text("__time__"), text("1700000000")),
            (text("__topic__"), text("")),
            (text("__source__"), text("")),
            (text("name"), text(name)),
        ],
        event: None,
    }
}

fn directory(records: &[Record]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { dir: dir.path().to_owned(), max_bytes: 1 << 20 };
    DirectoryStore::open(config).unwrap().append(records).unwrap();
    dir
}

fn remaker(script: &str) -> Remaker {
    let config = script::Config {
        timeout: Duration::from_secs(1),
        memory: 16 << 20,
        total: Arc::default(),
        vars: toml::Table::new(),
    };
    Remaker::new(ReplayScripts::only(script::Script::from_text("s.lua", script)), config, Arc::new(Text))
}

fn tenure() -> (Stopper, Tenure) {
    let (stopper, over) = stop();
    (stopper, Tenure::new(Lease::endless(tokio::time::Instant::now()), over))
}

/// The result of each selected dead letter, and the events that arrive.
async fn replayed(dir: &Path, script: &str, wants: impl Fn(&Record) -> bool) -> (Vec<(u32, Fate)>, Vec<String>) {
    replayed_at(1000, dir, script, wants).await
}

/// The same, at this many dead letters per second at most.
async fn replayed_at(
    rate: u32,
    dir: &Path,
    script: &str,
    wants: impl Fn(&Record) -> bool,
) -> (Vec<(u32, Fate)>, Vec<String>) {
    let (siem, (_stopper, tenure)) = (Siem::default(), tenure());
    let mut taken = ReplayClaim::take(dir).unwrap();
    let mut fates = Vec::new();
    let mut remaker = remaker(script);
    let to = [Route::new(DestinationName::new("siem").unwrap(), siem, OnReject::DeadLetter)];
    let options = ReplayOptions { destinations: &to, rate, tenure: &tenure };
    let outcome = replay(&mut taken, wants, &mut remaker, options, |found| {
        let (record, fate) = found.unwrap();
        fates.push((record.origin.log, fate.clone()));
    });
    outcome.await.unwrap();
    taken.close().unwrap();
    let events = to[0].destination.events.lock().unwrap().clone();
    (fates, events)
}

fn left(dir: &Path) -> Vec<u32> {
    Reader::open(dir).unwrap().map(|found| found.unwrap().record.origin.log).collect()
}

#[tokio::test(start_paused = true)]
async fn only_dead_letters_that_were_delivered_or_dropped_are_removed() {
    let script = "function process(log) \
                  if log.name == 'drop' then return nil end \
                  if log.name == 'fail' then error('again') end \
                  return log.name end";
    let records: Vec<_> =
        ["a", "drop", "fail", "no", "b"].iter().zip(0..).map(|(name, log)| record(log, None, name)).collect();
    let dir = directory(&records);
    let (fates, events) = replayed(dir.path(), script, |_| true).await;
    assert_eq!(events, ["a", "b"]);
    let words: Vec<_> = fates
        .iter()
        .map(|(log, fate)| match fate {
            Fate::Failed(_) => (*log, "failed"),
            Fate::Rejected { .. } => (*log, "rejected"),
            Fate::Delivered => (*log, "delivered"),
            Fate::Dropped => (*log, "dropped"),
            Fate::Gone | Fate::NoDestination(_) | Fate::Ambiguous | Fate::NoScript => (*log, "has no place"),
        })
        .collect();
    assert_eq!(words, [(0, "delivered"), (1, "dropped"), (2, "failed"), (3, "rejected"), (4, "delivered")]);
    assert_eq!(left(dir.path()), [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn exactly_the_chosen_dead_letters_are_delivered_once_each() {
    // The second of the two that are one comes together with the first, or later.
    for rate in [1000, 1] {
        let dir = directory(&[record(0, None, "a"), record(1, None, "b"), record(1, None, "b"), record(2, None, "c")]);
        let script = "function process(log) return log.name end";
        let (_, events) = replayed_at(rate, dir.path(), script, |one| one.origin.log == 1).await;
        assert_eq!(events, ["b"]);
        assert_eq!(left(dir.path()), [0, 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_for_one_event_of_a_log_replays_that_event_alone() {
    let dir = directory(&[record(0, Some(1), "a"), record(1, Some(2), "b")]);
    let script = "function process(log) return { log.name .. '0', log.name .. '1' } end";
    let (fates, events) = replayed(dir.path(), script, |_| true).await;
    assert_eq!(events, ["a1"]);
    assert_eq!(fates, [(0, Fate::Delivered), (1, Fate::Gone)]);
    assert_eq!(left(dir.path()), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_replayed_log_keeps_its_id_which_no_log_of_another_logstore_has() {
    let mut other = record(5, None, "a");
    other.origin.logstore = "other".to_owned();
    let dir = directory(&[record(5, None, "a"), other]);
    let (_, events) = replayed(dir.path(), "function process(log, meta) return meta.id end", |_| true).await;
    assert_eq!(events, ["p/l/3|70|5", "p/other/3|70|5"]);
}

#[tokio::test(start_paused = true)]
async fn a_replay_keeps_to_its_rate_and_continues_after_a_stop() {
    let records: Vec<_> = (0..10).map(|log| record(log, None, "a")).collect();
    let dir = directory(&records);
    let (siem, (stopper, tenure)) = (Siem::default(), tenure());
    let mut taken = ReplayClaim::take(dir.path()).unwrap();
    let to = [Route::new(DestinationName::new("siem").unwrap(), siem, OnReject::DeadLetter)];
    let options = ReplayOptions { destinations: &to, rate: 2, tenure: &tenure };
    let started = tokio::time::Instant::now();
    let mut replayed = 0;
    let mut remaker = remaker("function process(log) return log.name end");
    let ended = replay(
        &mut taken,
        |_| true,
        &mut remaker,
        options,
        |_| {
            replayed += 1;
            if replayed == 6 {
                stopper.raise();
            }
        },
    );
    assert!(matches!(ended.await, Err(ReplayError::Stopped)));
    // Two at once, then two each second.
    assert_eq!(started.elapsed(), Duration::from_secs(2));
    taken.close().unwrap();
    assert_eq!(left(dir.path()), [6, 7, 8, 9]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_of_one_destination_goes_only_there_and_one_for_a_whole_log_goes_where_the_script_sends_it() {
    let name = |text: &str| DestinationName::new(text).unwrap();
    let of = |to: &str, letter: Record| Record { destination: Some(name(to)), ..letter };
    let dir = directory(&[
        of("b", record(0, Some(0), "both")),
        of("a", record(0, Some(0), "both")),
        record(1, None, "both"),
        record(2, None, "a"),
        of("gone", record(3, Some(0), "both")),
        record(4, Some(0), "both"),
        of("b", record(5, Some(0), "a")),
    ]);
    let script = "function process(log) \
                  return { event = log.name .. '!', to = log.name == 'both' and { 'a', 'b' } or log.name } end";
    let named = |to: &str| DestinationFormat { name: Some(name(to)), format: Arc::new(Text) };
    let config = script::Config {
        timeout: Duration::from_secs(1),
        memory: 16 << 20,
        total: Arc::default(),
        vars: toml::Table::new(),
    };
    let mut remaker = Remaker::new(
        ReplayScripts::only(script::Script::from_text("s.lua", script)),
        config,
        vec![named("a"), named("b")],
    );
    let to = ["a", "b"].map(|to| Route::new(name(to), Siem::default(), OnReject::DeadLetter));
    let ((_stopper, tenure), mut fates) = (tenure(), Vec::new());
    let mut taken = ReplayClaim::take(dir.path()).unwrap();
    let options = ReplayOptions { destinations: &to, rate: 1000, tenure: &tenure };
    let note = |found: Result<(&Record, &Fate), &Unreadable>| fates.push(found.unwrap().1.clone());
    replay(&mut taken, |_| true, &mut remaker, options, note).await.unwrap();
    let delivered = Fate::Delivered;
    let stays = [Fate::NoDestination(name("gone")), Fate::Ambiguous, Fate::Gone];
    assert_eq!(fates[..4], [delivered.clone(), delivered.clone(), delivered.clone(), delivered]);
    assert_eq!(fates[4..], stays);
    let arrived = to.each_ref().map(|route| route.destination.events.lock().unwrap().clone());
    assert_eq!(arrived, [vec!["both!", "both!", "a!"], vec!["both!", "both!"]]);
    taken.close().unwrap();
    assert_eq!(left(dir.path()), [3, 4, 5], "a log that now goes only elsewhere is not dropped");
}
