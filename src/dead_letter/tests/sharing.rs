//! Dead letters of several shards, of several processes, and of one that has ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;

#[test]
fn appended_records_are_there_in_order_after_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let (first, rest) = (&odd_records()[..1], &odd_records()[1..]);
    open(dir.path()).unwrap().append(first).unwrap();
    open(dir.path()).unwrap().append(rest).unwrap();
    assert_eq!(readable(dir.path()), odd_records());
}

#[test]
fn dead_letters_that_an_ended_process_left_are_taken_over_by_the_next_one() {
    let base = tempfile::tempdir().unwrap();
    let config = Config { dir: base.path().to_owned(), max_bytes: 1 << 20 };
    let first = DirectoryStore::open_free(&config).unwrap();
    let second = DirectoryStore::open_free(&config).unwrap();
    let third = DirectoryStore::open_free(&config).unwrap();
    first.append(&[record(1)]).unwrap();
    second.append(&[record(2)]).unwrap();
    third.append(&[record(3)]).unwrap();
    let mut replay = take(second.dir());
    second.append(&[record(4)]).unwrap();
    replay.note_delivered([record(2)].iter()).unwrap();
    drop((first, second, replay));

    let only = DirectoryStore::open_free(&config).unwrap();
    assert_eq!(
        readable(base.path()),
        [record(1), record(4)],
        "in the order of the directories, without delivered ones"
    );
    assert_eq!(readable(third.dir()), [record(3)], "its process runs");
    only.append(&[record(5)]).unwrap();
    assert_eq!(readable(base.path()), [record(1), record(4), record(5)]);
}

#[test]
fn a_running_process_takes_over_what_another_one_left_a_look_ago_as_far_as_it_fits() {
    let base = tempfile::tempdir().unwrap();
    let config = Config { dir: base.path().to_owned(), max_bytes: 1 << 20 };
    let first = DirectoryStore::open_free(&config).unwrap();
    let second = DirectoryStore::open_free(&config).unwrap();
    first.append(&[record(1)]).unwrap();
    second.append(&[record(2)]).unwrap();
    let mut neighbours = Neighbours::new(base.path(), second.dir(), 1 << 20);
    assert!(!neighbours.look() && !neighbours.look(), "its process runs");
    drop(first);
    assert!(!neighbours.look(), "it may only be restarting");
    let again = DirectoryStore::open_free(&config).unwrap();
    assert!(!neighbours.look() && again.dir() == base.path());
    drop(again);
    assert!(!neighbours.look());
    taken(&mut neighbours);
    assert_eq!(readable(second.dir()), [record(2), record(1)]);
    assert!(readable(base.path()).is_empty() && !neighbours.look());

    open(base.path()).unwrap().append(&[record(4)]).unwrap();
    let mut full = Neighbours::new(base.path(), second.dir(), 900);
    assert!(!full.look() && !full.look());
    assert_eq!(readable(base.path()), [record(4)], "it would pause the shards of this process");
    second.append(&[record(3)]).unwrap();
    let claimed = take(second.dir());
    let mut busy = Neighbours::new(base.path(), second.dir(), 1 << 20);
    assert!(!busy.look() && !busy.look(), "a replay runs");
    drop(claimed);
    taken(&mut busy);
    assert_eq!(readable(second.dir()), [record(2), record(1), record(3), record(4)]);
}

/// Looks until something is taken over: a child that another test forks may hold a lock for a moment.
fn taken(neighbours: &mut Neighbours) {
    let looks = std::iter::repeat_with(|| neighbours.look()).inspect(|_| std::thread::sleep(Duration::from_millis(10)));
    assert!(looks.take(500).any(|is_taken| is_taken));
}

#[test]
fn shards_append_concurrently_and_a_reader_sees_only_whole_records() {
    let dir = tempfile::tempdir().unwrap();
    let letters = open(dir.path()).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers = [0, 1, 2].map(|writer| {
            let letters = &letters;
            scope.spawn(move || (0..30).try_for_each(|n| letters.append(&[record(writer * 100 + n), record(1000)])))
        });
        scope.spawn(|| {
            let mut seen = 0;
            while !done.load(Ordering::Acquire) {
                let found = read(dir.path());
                let odd = |found: &&Result<_, Unreadable>| {
                    found.as_ref().is_err_and(|error| !matches!(error.defect, Defect::Unfinished))
                };
                assert_eq!(found.iter().filter(odd).count(), 0);
                let whole = found.iter().flatten().count();
                assert!(whole >= seen, "{whole} after {seen}");
                seen = whole;
            }
        });
        for writer in writers {
            writer.join().unwrap().unwrap();
        }
        done.store(true, Ordering::Release);
    });
    let mut logs = readable(dir.path()).iter().map(|record| record.origin.log).collect::<Vec<_>>();
    assert!(logs.chunks(2).all(|call| call[1] == 1000), "the records of one call stand together");
    logs.retain(|log| *log < 1000);
    logs.sort_unstable();
    assert_eq!(logs, [0, 1, 2].iter().flat_map(|writer| writer * 100..writer * 100 + 30).collect::<Vec<_>>());
}

#[test]
fn a_missing_directory_is_an_error_and_an_empty_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    assert!(readable(dir.path()).is_empty());
    let missing = Reader::open(&dir.path().join("elsewhere"));
    assert!(matches!(missing, Err(ReadError::Missing(_))), "{missing:?}");
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(Reader::open(&file), Err(ReadError::NoDirectory(_))));
    assert!(matches!(ReplayClaim::take(&file), Err(ClaimError::Read(ReadError::NoDirectory(_)))));
    assert!(matches!(open(&file), Err(OpenError::Io { .. })));
}
