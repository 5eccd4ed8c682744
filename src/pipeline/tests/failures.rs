//! Logs on which the script fails, and events that a destination rejects.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_failed_log_is_dead_lettered_and_its_neighbours_are_delivered() {
    let bench = start(&[page(&["a:keep", "b:bad", "c:drop", "d:keep"])], OnError::DeadLetter, OnReject::DeadLetter);
    seconds(5).await;
    let counts = bench.counts();
    assert_eq!((counts.delivered, counts.dropped, counts.dead_lettered, counts.difference()), (2, 1, 1, 0));
    assert_eq!((bench.saved(), counts.in_flight), (Some(1), 0));
    let letters = bench.letters();
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((letter.reason, letter.id()), (Reason::ScriptError, "project/logstore/3-0-1".to_owned()));
    assert!(letter.message.starts_with("t.lua:3: bad"), "{}", letter.message);
    assert_eq!(letter.script, bench.pipeline.hooks.script().version);
    let keys: Vec<_> = letter.log.iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect();
    assert_eq!(keys, ["__time__", "__topic__", "__source__", "id", "kind"]);
    assert_eq!(bench.end().await, ShardEnd::Released);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_event_is_a_dead_letter_that_mentions_its_siblings() {
    let pages = [page(&["a:keep"]), page(&["b:keep", "c:two"])];
    let bench = start(&pages, OnError::DeadLetter, OnReject::DeadLetter);
    seconds(5).await;
    let counts = bench.counts();
    assert_eq!((counts.delivered, counts.dead_lettered, counts.events, counts.difference()), (2, 1, 3, 0));
    assert_eq!(bench.saved(), Some(2));
    let letters = bench.letters();
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!(
        (letter.reason, letter.code.as_str(), letter.id().as_str()),
        (Reason::Rejected, "fake 6", "project/logstore/3-1-1-1")
    );
    assert_eq!(letter.message, "no (event 2 of the 2 of this log, of which 1 were delivered)");
    assert_eq!(letter.event.as_deref(), Some(b"c!".as_slice()));
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_names_the_version_that_made_the_batch_and_not_the_current_one() {
    let bench = start(&[page(&["a:two"])], OnError::DeadLetter, OnReject::DeadLetter);
    sleep(Duration::from_millis(5)).await;
    let hooks = &bench.pipeline.hooks;
    let made_by = hooks.script().version.clone();
    let passed = hooks.trial(Script::from_text("t.lua", format!("{SCRIPT} "))).run("", true).unwrap();
    hooks.put_in_force(passed, Instant::now());
    assert_eq!((bench.letters().len(), bench.counts().in_flight), (0, 1), "the batch is on its way");
    seconds(5).await;
    let letters = bench.letters();
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!(letter.script, made_by);
    assert_ne!(hooks.script().version, made_by);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_too_large_is_dead_lettered_with_that_reason() {
    let bench = start(&[page(&["large:two"])], OnError::DeadLetter, OnReject::DeadLetter);
    seconds(5).await;
    let letters = bench.letters();
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((letter.reason, letter.code.as_str()), (Reason::TooLarge, "http 413"));
}

#[tokio::test(start_paused = true)]
async fn f38_a_script_that_fails_on_most_logs_pauses_the_shard_before_them() {
    let pages = [many(300, 0, "keep"), many(300, 200, "bad"), many(10, 0, "keep")];
    let bench = start(&pages, OnError::DeadLetter, OnReject::DeadLetter);
    seconds(300).await;
    assert_eq!((bench.saved(), bench.letters().len()), (Some(1), 0));
    let why = bench.standstill().unwrap();
    assert!(
        why.contains("200 of 300 logs within a minute (66 %)") && why.contains("t.lua:3: the script raised"),
        "{why}"
    );
    assert!(!why.contains("bad"), "the text of a log is in the status: {why}");
    assert_eq!((bench.counts().in_flight, bench.counts().difference()), (300, 0));
    assert_eq!(bench.end().await, ShardEnd::GivenBack);
}

#[tokio::test(start_paused = true)]
async fn f56_a_destination_that_rejects_most_events_pauses_the_shard_until_it_accepts_them() {
    let bench = start(&[many(300, 200, "two"), page(&["z:keep"])], OnError::DeadLetter, OnReject::DeadLetter);
    seconds(300).await;
    assert_eq!((bench.saved(), bench.letters().len()), (Some(0), 0));
    assert!(bench.standstill().unwrap().ends_with("fake 6"), "{:?}", bench.standstill());
    *bench.pipeline.destinations[0].destination.strict.lock().unwrap() = false;
    seconds(40).await;
    assert_eq!((bench.saved(), bench.standstill(), bench.letters().len()), (Some(2), None, 0));
    let mut taken = bench.pipeline.destinations[0].destination.taken.lock().unwrap().clone();
    taken.sort();
    assert_eq!(taken.len(), 501);
    taken.dedup();
    assert_eq!(taken.len(), 501, "what was taken is not sent again");
}

#[tokio::test(start_paused = true)]
async fn halt_stops_at_a_failed_log_and_at_a_rejected_event() {
    for kind in ["bad", "two"] {
        let pages = [page(&["a:keep"]), vec![format!("b:{kind}")], page(&["c:keep"])];
        let bench = start(&pages, OnError::Halt, OnReject::Halt);
        // The third pull is in progress when the second page is refused.
        *bench.pipeline.source.trip.lock().unwrap() = Duration::from_millis(100);
        seconds(300).await;
        assert_eq!((bench.saved(), bench.letters().len(), bench.counts().failed), (Some(1), 0, 1), "{kind}");
        assert!(bench.standstill().is_some());
        assert_eq!(bench.pipeline.budget.used(), 0, "a shard that stands still takes nothing from the others");
        assert_eq!(bench.end().await, ShardEnd::GivenBack);
    }
}

#[tokio::test(start_paused = true)]
async fn a_halted_shard_starts_again_when_another_version_of_the_script_runs() {
    for kind in ["bad", "two"] {
        let pages = [page(&["a:keep"]), vec![format!("b:{kind}")]];
        let mut bench = start(&pages, OnError::Halt, OnReject::Halt);
        seconds(300).await;
        assert!(bench.task.try_join_next().is_none(), "{kind}: it waits for an operator");
        let (hooks, mended) = (&bench.pipeline.hooks, Script::from_text("t.lua", format!("{SCRIPT}-- mended")));
        hooks.put_in_force(hooks.trial(mended).run("", true).unwrap(), tokio::time::Instant::now());
        assert_eq!(bench.task.join_next().await.unwrap().unwrap(), ShardEnd::Reloaded, "{kind}");
        assert_eq!(bench.saved(), Some(1), "{kind}: it goes on from the checkpoint");
    }
}

#[tokio::test(start_paused = true)]
async fn pass_sends_the_failed_log_unchanged_and_drop_counts_it() {
    let pages = [page(&["a:keep", "b:bad", "c:keep"])];
    let bench = start(&pages, OnError::Pass, OnReject::DeadLetter);
    seconds(5).await;
    let passed = "1700000000|__time__=1700000000|__topic__=|__source__=|id=b|kind=bad";
    assert_eq!(*bench.pipeline.destinations[0].destination.taken.lock().unwrap(), ["a", passed, "c"]);
    assert_eq!((bench.counts().delivered, bench.saved()), (3, Some(1)));

    let bench = start(&pages, OnError::Drop, OnReject::DeadLetter);
    seconds(5).await;
    assert_eq!(*bench.pipeline.destinations[0].destination.taken.lock().unwrap(), ["a", "c"]);
    let counts = bench.counts();
    assert_eq!((counts.delivered, counts.dropped, counts.difference(), bench.saved()), (2, 1, 0, Some(1)));
}

/// What a shard logs during five seconds of pages that each have a log on which the script fails.
async fn warnings_of(on_error: OnError, page: &[String]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    let log = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .with_writer(Mutex::new(file.reopen().unwrap()))
        .finish();
    // With only one subscriber, a call site that another thread reaches first stays disabled.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _set = tracing::subscriber::set_default(log);
    let bench = start(&[page.to_vec()], on_error, OnReject::DeadLetter);
    seconds(5).await;
    drop(bench);
    std::fs::read_to_string(file.path()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_failed_log_is_logged_once_with_its_fate() {
    let few: Vec<String> = page(&["a:keep", "b:bad", "c:bad", "d:keep"]);
    let many = (0..200).map(|log| format!("{log}:bad")).collect::<Vec<_>>();
    for (on_error, page, fate) in [
        (OnError::DeadLetter, &few, "written as a dead letter"),
        (OnError::Pass, &few, "sent unchanged"),
        (OnError::Drop, &few, "dropped"),
        (OnError::Halt, &few, "the shard is halted"),
        (OnError::DeadLetter, &many, "paused: the page is retried"),
    ] {
        let warnings = warnings_of(on_error, page).await;
        let at = if page.len() > 4 { 0 } else { 1 };
        let expected = format!("; log: log {at} of the page at MA== of shard logstore/3; then: {fate}");
        assert_eq!(warnings.matches("code: if log.kind == \"bad\"").count(), 1, "{on_error:?}: {warnings}");
        assert!(warnings.contains(&expected), "{on_error:?}: {warnings}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_rejected_events_are_logged_once_with_the_full_name_of_the_shard() {
    let logs = ["a:keep", "b:two", "c:keep", "d:two", "e:keep", "f:keep", "g:keep", "h:keep"];
    let warnings = warnings_of(OnError::DeadLetter, &page(&logs)).await;
    assert_eq!(warnings.matches("refuses a log for good").count(), 1, "{warnings}");
    assert!(warnings.contains("shard=logstore/3 log=1 code=\"fake 6\" reason=\"no\""), "{warnings}");
}
