//! What taps show, and what they leave out.

use super::*;
use crate::core::batch::{Events, Part};
use crate::core::cursor::{Cursor, ShardId, SourceName};
use crate::dead_letter::{LogOrigin, Reason};
use crate::loggroup::flat::{page_of, page_with};
use crate::loggroup::proto::{Log, LogGroup, Pair};
use crate::script::{HookError, ScriptFault};

fn shard() -> ShardName {
    ShardName { source: SourceName::new("audit"), shard: ShardId(3) }
}

/// A batch of one log, `user=ann`, `card=4711`, with these events made from it.
fn batch(texts: &[&str]) -> Batch {
    let pairs = [("__time__", "1"), ("user", "ann"), ("card", "4711\x1b[2J")];
    let pairs: Vec<_> = pairs.iter().map(|(key, value)| (key.as_bytes().into(), value.as_bytes().into())).collect();
    let page = page_of(ShardId(3), Cursor::from_number(7), 0, &pairs);
    let mut events = Events::default();
    for text in texts {
        events
            .push(0, |out| {
                out.extend(text.as_bytes());
                Ok::<_, ()>(())
            })
            .unwrap();
    }
    Batch::new(page, Part::WHOLE, vec![events], 1, 0)
}

fn name() -> DestinationName {
    DestinationName::new("hec").unwrap()
}

fn open(taps: &Arc<Taps>, query: &str) -> Tapped {
    taps.open(TapQuery::parse(query).unwrap()).unwrap()
}

fn lines(tapped: &mut Tapped) -> Vec<Value> {
    std::iter::from_fn(|| tapped.lines.try_recv().ok()).map(|line| serde_json::from_slice(&line).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn by_default_a_tap_shows_events_as_the_script_made_them_and_nothing_masked() {
    let taps = Arc::<Taps>::default();
    let (mut usual, mut raw) = (open(&taps, ""), open(&taps, "kind=log"));
    let mut letters = open(&taps, "kind=failure&kind=letter");
    taps.passes(&shard(), &batch(&["user=ann card=***"]), [&name()].into_iter());
    let seen = lines(&mut usual);
    assert_eq!(seen, [json!({"kind": "event", "shard": "audit/3", "text": "user=ann card=***", "destination": "hec"})]);
    let seen = lines(&mut raw);
    assert!(seen[0]["text"].as_str().unwrap().contains("4711"), "{seen:?}");
    assert!(!seen[0]["text"].as_str().unwrap().contains('\x1b'), "{seen:?}");
    assert!(lines(&mut letters).is_empty());
}

#[tokio::test(start_paused = true)]
async fn lines_are_selected_by_pattern_and_by_a_field_of_their_log() {
    let taps = Arc::<Taps>::default();
    let mut some = open(&taps, "match=b%24");
    let (mut anns, mut bobs) = (open(&taps, "field=user%3Dann"), open(&taps, "field=user%3Dbob"));
    taps.passes(&shard(), &batch(&["aa", "ab"]), [&name()].into_iter());
    assert_eq!(lines(&mut some).len(), 1);
    assert_eq!((lines(&mut anns).len(), lines(&mut bobs).len()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn events_beyond_the_rate_or_a_slow_reader_are_skipped_and_counted() {
    let taps = Arc::<Taps>::default();
    let mut tapped = open(&taps, "rate=3");
    let many = batch(&["x"; 5]);
    taps.passes(&shard(), &many, [&name()].into_iter());
    assert_eq!(lines(&mut tapped).len(), 3);
    tokio::time::advance(Duration::from_secs(2)).await;
    taps.passes(&shard(), &many, [&name()].into_iter());
    let seen = lines(&mut tapped);
    assert_eq!((seen.len(), &seen[3]), (4, &json!({"missed": 4})));

    let mut slow = open(&taps, "rate=1000");
    (0..200).for_each(|_| taps.passes(&shard(), &batch(&["x"]), [&name()].into_iter()));
    assert_eq!(lines(&mut slow).len(), MAX_LINES);
    tokio::time::advance(Duration::from_secs(2)).await;
    taps.passes(&shard(), &batch(&["x"]), [&name()].into_iter());
    assert_eq!(lines(&mut slow)[1], json!({"missed": 200 - MAX_LINES}));
}

#[tokio::test(start_paused = true)]
async fn only_the_first_events_of_a_page_are_searched_and_a_long_text_is_cut() {
    let taps = Arc::<Taps>::default();
    let mut tapped = open(&taps, "match=y&rate=1000");
    let mut texts = vec!["x"; MAX_EXAMINED];
    texts.push("y");
    taps.passes(&shard(), &batch(&texts), [&name()].into_iter());
    assert!(lines(&mut tapped).is_empty(), "what comes so late is not looked for");
    let long = "y".repeat(MAX_TEXT + 1);
    taps.passes(&shard(), &batch(&[&long]), [&name()].into_iter());
    assert_eq!(lines(&mut tapped)[0]["text"].as_str().unwrap().chars().count(), MAX_TEXT + 1);
}

#[test]
fn few_taps_can_be_open_at_once_and_closed_ones_cost_nothing() {
    let taps = Arc::<Taps>::default();
    assert!(!Kind::ALL.into_iter().any(|kind| taps.wants(kind)));
    let mut all: Vec<Tapped> = (0..MAX_TAPS).map(|_| open(&taps, "")).collect();
    assert_eq!(taps.open(TapQuery::parse("").unwrap()).unwrap_err(), TooManyTaps);
    assert!(taps.wants(Kind::Event) && !taps.wants(Kind::Log));
    all.pop();
    drop(open(&taps, "kind=log"));
    assert!(!taps.wants(Kind::Log));
    drop(all);
    assert!(!taps.wants(Kind::Event));
}

/// A page with one log for each user, of which a batch has `logs` from the one number `first` on, and an event for each
/// in every output.
fn users(all: &[&str], first: u32, logs: u32, outputs: usize) -> Batch {
    let pair = |user: &str| Pair { key: b"user".to_vec(), value: user.as_bytes().to_vec() };
    let log = |user: &&str| Log { time: 1, contents: vec![pair(user)], time_ns: None };
    let group = LogGroup { logs: all.iter().map(log).collect(), ..LogGroup::default() };
    let page = page_with(ShardId(3), Cursor::from_number(7), 0, group);
    let mut events = Events::default();
    for log in first..first + logs {
        let text = format!("event of {}", all[log as usize]);
        let written = events.push(log, |out| {
            out.extend(text.as_bytes());
            Ok::<_, ()>(())
        });
        written.unwrap();
    }
    Batch::new(page, Part { first, is_last: true }, vec![events; outputs], logs, 0)
}

fn texts(seen: &[Value]) -> Vec<&str> {
    seen.iter().map(|line| line["text"].as_str().unwrap()).collect()
}

fn record(user: &str, message: &str) -> Record {
    Record {
        at: "2026-02-03T04:05:06Z".parse().unwrap(),
        reason: Reason::Rejected,
        destination: Some(name()),
        code: "hec 6".to_owned(),
        message: message.to_owned(),
        origin: LogOrigin {
            project: "p".to_owned(),
            logstore: "l".to_owned(),
            shard: ShardId(3),
            cursor: Cursor::from_number(7),
            log: 0,
            event: Some(0),
        },
        script: "0123456789ab".to_owned(),
        log: vec![(b"user".to_vec(), user.as_bytes().to_vec())],
        event: Some(b"event".to_vec()),
    }
}

#[tokio::test(start_paused = true)]
async fn failures_and_letters_are_selected_by_a_field_of_their_log_too_and_letters_by_their_message() {
    let taps = Arc::<Taps>::default();
    let mut failures = open(&taps, "kind=failure&field=user%3Dbob");
    let mut letters = open(&taps, "kind=letter&field=user%3Dbob");
    let mut by_message = open(&taps, "kind=letter&match=no%20index");
    let failed = [0, 1].map(|log| {
        let fault = ScriptFault::TopLevel(format!("failed on log {log}"));
        Failed { log, error: HookError { version: String::new(), fault, place: None, hint: None } }
    });
    taps.fails(&shard(), &users(&["ann", "bob"], 0, 2, 1), &failed);
    let seen = lines(&mut failures);
    assert!(seen.len() == 1 && texts(&seen)[0].contains("failed on log 1"), "{seen:?}");
    taps.keeps(&shard(), &[record("ann", "no index"), record("bob", "too long")]);
    let seen = lines(&mut letters);
    assert!(seen.len() == 1 && seen[0]["message"] == "too long", "{seen:?}");
    let seen = lines(&mut by_message);
    assert!(seen.len() == 1 && seen[0]["message"] == "no index", "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn only_the_logs_of_a_part_are_shown_with_it_and_the_events_of_every_destination() {
    let taps = Arc::<Taps>::default();
    let (mut raw, mut events) = (open(&taps, "kind=log"), open(&taps, "kind=event"));
    let other = DestinationName::new("archive").unwrap();
    taps.passes(&shard(), &users(&["ann", "bob", "cid"], 1, 1, 2), [&name(), &other].into_iter());
    let seen = lines(&mut raw);
    assert!(seen.len() == 1 && texts(&seen)[0].contains("bob"), "{seen:?}");
    let seen = lines(&mut events);
    let to: Vec<_> = seen.iter().map(|line| line["destination"].as_str().unwrap()).collect();
    assert_eq!((texts(&seen), to), (vec!["event of bob"; 2], vec!["hec", "archive"]));
}

#[tokio::test(start_paused = true)]
async fn what_is_left_out_of_a_page_is_counted_once_and_large_texts_are_searched_up_to_a_limit() {
    let taps = Arc::<Taps>::default();
    let mut raw = open(&taps, "kind=log&match=none");
    let all = vec!["ann"; MAX_EXAMINED + 3];
    let many = users(&all, 0, all.len() as u32, 1);
    for missed in [Some(3), None] {
        tokio::time::advance(2 * REPORT_INTERVAL).await;
        let batch = if missed.is_some() { &many } else { &users(&["ann"], 0, 1, 1) };
        taps.passes(&shard(), batch, [&name()].into_iter());
        let seen = lines(&mut raw);
        assert_eq!(seen.first().map(|line| line["missed"].as_u64().unwrap()), missed, "{seen:?}");
    }
    drop(raw);
    let mut events = open(&taps, "match=last&rate=1000");
    let large = "x".repeat(MAX_EXAMINED_BYTES);
    taps.passes(&shard(), &batch(&[&large, "last"]), [&name()].into_iter());
    assert!(lines(&mut events).is_empty(), "it comes after as many bytes as are searched in a page");
}
