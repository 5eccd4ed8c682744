//! Replays: what they take, what they remove, and what a crash leaves.

use std::collections::BTreeSet;

use super::*;

#[test]
fn replayed_dead_letters_are_removed_once_they_are_recorded_as_delivered() {
    let dir = dir_with(&lines(&[record(1), record(2), record(3)]));
    let mut taken = take(dir.path());
    assert_eq!(taken.letters().unwrap().count(), 3);
    taken.note_delivered([record(1), record(3)].iter()).unwrap();
    // A reader sees it at once.
    assert_eq!(logs(dir.path()), [2]);
    taken.close().unwrap();
    assert_eq!(logs(dir.path()), [2]);
    assert_eq!(files_in(dir.path()), ["dead-letters.1.jsonl", "replay.lock"]);
    let mut taken = take(dir.path());
    taken.note_delivered([record(2)].iter()).unwrap();
    taken.close().unwrap();
    assert_eq!(files_in(dir.path()), ["replay.lock"]);
}

#[test]
fn dead_letters_are_counted_until_a_replay_has_delivered_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut waiting = OpenDeadLetters::new(dir.path(), BTreeSet::new());
    assert_eq!(waiting.look().unwrap().open, 0);
    let store = open(dir.path()).unwrap();
    store.append(&[record(1), record(2), record(3)]).unwrap();
    assert_eq!(waiting.look().unwrap().open, 3);
    store.append(&[record(4)]).unwrap();
    let look = waiting.look().unwrap();
    assert_eq!(look.reasons.values().sum::<u64>(), 4, "{look:?}");
    assert!(look.bytes > 0 && look.newest.as_deref().is_some_and(|at| at.ends_with('Z')), "{look:?}");
    assert_eq!(waiting.look().unwrap().open, 4, "what is new is counted to it");
    let mut taken = take(dir.path());
    assert_eq!(waiting.look().unwrap().open, 4, "taken is not delivered");
    store.append(&[record(5)]).unwrap();
    taken.note_delivered([record(1), record(3)].iter()).unwrap();
    assert_eq!(waiting.look().unwrap().open, 3);
    taken.close().unwrap();
    assert_eq!(waiting.look().unwrap().open, 3);
    std::fs::remove_file(dir.path().join(FILE)).unwrap();
    assert_eq!(waiting.look().unwrap().open, 2, "somebody removed the newest");
}

#[test]
fn a_forwarder_keeps_writing_while_its_dead_letters_are_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.append(&[record(1)]).unwrap();
    let mut taken = take(dir.path());
    store.append(&[record(2)]).unwrap();
    assert_eq!(logs(dir.path()), [1, 2]);
    taken.note_delivered([record(1)].iter()).unwrap();
    taken.close().unwrap();
    store.append(&[record(3)]).unwrap();
    assert_eq!(logs(dir.path()), [2, 3]);
}

#[test]
fn an_interrupted_replay_is_finished_by_the_next() {
    let dir = dir_with(&lines(&[record(1), record(2)]));
    let mut taken = take(dir.path());
    taken.note_delivered([record(1)].iter()).unwrap();
    drop(taken);
    // The same log may become a dead letter again before that: it is then a new dead letter.
    fs::write(dir.path().join(FILE), lines(&[record(1)])).unwrap();
    assert_eq!(logs(dir.path()), [2, 1]);
    assert_eq!(
        take(dir.path()).letters().unwrap().map(|found| found.unwrap().record.origin.log).collect::<Vec<_>>(),
        [2, 1]
    );
}

#[test]
fn unreadable_records_stay_where_they_are() {
    let noise = b"noise";
    let bytes = [lines(&[record(1)]), noise.to_vec(), b"\n".to_vec(), lines(&[record(2)])].concat();
    let dir = dir_with(&bytes);
    let mut taken = take(dir.path());
    taken.note_delivered([record(1)].iter()).unwrap();
    taken.close().unwrap();
    let left = fs::read(dir.path().join("dead-letters.1.jsonl")).unwrap();
    assert_eq!(left, [b"noise\n".to_vec(), lines(&[record(2)])].concat());
}

#[test]
fn f81_a_replay_handles_a_torn_record_as_the_writer_does() {
    let torn = b"{\"v\":1,\"id\":\"3-".to_vec();
    let dir = dir_with(&[lines(&[record(1)]), torn.clone()].concat());
    let taken = take(dir.path());
    assert_eq!(readable(dir.path()), [record(1)]);
    assert_eq!(taken.letters().unwrap().filter(Result::is_ok).count(), 1);
    assert_eq!(fs::read(dir.path().join("dead-letters.torn")).unwrap(), [torn, b"\n".to_vec()].concat());
}

#[test]
fn two_replays_do_not_take_the_same_dead_letters() {
    let dir = dir_with(&lines(&[record(1)]));
    let taken = take(dir.path());
    let refused = ReplayClaim::take(dir.path()).unwrap_err().to_string();
    assert!(refused.starts_with("another replay is using the dead letters in "), "{refused}");
    drop(taken);
    take(dir.path());
}

fn files_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// An event of log number `log` that `destination` missed.
fn missed(log: u32, destination: &str) -> Record {
    let destination = Some(DestinationName::new(destination).unwrap());
    Record { reason: Reason::DestinationDown, destination, ..record(log) }
}

fn missed_by(store: &DirectoryStore, destination: &str) -> MissedInDirectory {
    let destination = DestinationName::new(destination).unwrap();
    once_free(|| store.missed_by(&destination), |error| matches!(error, ClaimError::Busy(_))).unwrap()
}

#[test]
fn several_destinations_get_what_they_missed_at_the_same_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.append(&[record(0), missed(1, "b"), missed(1, "c"), missed(2, "b"), missed(2, "c")]).unwrap();
    let mut first = missed_by(&store, "b");
    assert_eq!(first.next(1).unwrap(), [missed(1, "b")]);
    let mut second = missed_by(&store, "c");
    assert!(ReplayClaim::take(dir.path()).is_err(), "no other process replays meanwhile");
    let all = second.next(10).unwrap();
    assert_eq!(all, [missed(1, "c"), missed(2, "c")]);
    second.settle(&all).unwrap();
    second.close().unwrap();
    first.settle(&[missed(1, "b")]).unwrap();
    assert_eq!(first.next(10).unwrap(), [missed(2, "b")]);
    first.close().unwrap();
    assert_eq!(readable(dir.path()), [record(0), missed(2, "b")]);
    take(dir.path());
}

#[test]
fn a_file_without_missed_events_of_a_destination_is_neither_read_for_it_again_nor_rewritten() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.append(&[record(0), missed(1, "c")]).unwrap();
    assert!(missed_by(&store, "b").next(10).unwrap().is_empty());
    let file = dir.path().join("dead-letters.1.jsonl");
    let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(&file).unwrap());
    let before = inode();
    store.append(&[missed(2, "b")]).unwrap();
    let mut again = missed_by(&store, "b");
    let all = again.next(10).unwrap();
    assert_eq!(all, [missed(2, "b")]);
    again.settle(&all).unwrap();
    again.close().unwrap();
    assert_eq!(inode(), before);
    assert_eq!(readable(dir.path()), [record(0), missed(1, "c")]);
    assert_eq!(missed_by(&store, "c").next(10).unwrap(), [missed(1, "c")], "it is read for the other one");
}

#[test]
fn a_replay_of_the_own_process_that_renames_the_file_does_not_disturb_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let replayer = scope.spawn(|| {
            let mut got = Vec::new();
            loop {
                let is_last = done.load(std::sync::atomic::Ordering::Acquire);
                let mut replay = missed_by(&store, "b");
                let next = replay.next(1_000).unwrap();
                replay.settle(&next).unwrap();
                replay.close().unwrap();
                got.extend(next.iter().map(|record| record.origin.log));
                if is_last && next.is_empty() {
                    return got;
                }
            }
        });
        for log in 0..200 {
            store.append(&[missed(log, "b")]).unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Release);
        assert_eq!(replayer.join().unwrap(), (0..200).collect::<Vec<_>>(), "in order, each once");
    });
}

#[test]
fn what_an_isolated_destination_missed_is_counted_apart_from_what_waits_for_an_operator() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.append(&[record(0), missed(1, "b"), missed(2, "b"), missed(3, "gone"), record(4)]).unwrap();
    let mut counted = OpenDeadLetters::new(dir.path(), ["b".to_owned()].into());
    let mut look = || counted.look().map(|found| (found.open, found.missed)).unwrap();
    assert_eq!(look(), (3, 2), "nobody replays to a destination that the settings do not have");
    let mut replay = missed_by(&store, "b");
    let all = replay.next(1).unwrap();
    replay.settle(&all).unwrap();
    assert_eq!(look(), (3, 1));
    replay.close().unwrap();
    assert_eq!(look(), (3, 1));
    let mut other = take(dir.path());
    other.note_delivered([record(4)].iter()).unwrap();
    assert_eq!(look(), (2, 1));
}
