//! Pages that a hook leaves before their end.

use std::time::Instant;

use super::*;
use crate::core::batch::{Batch, Part};
use crate::core::budget::SharedBudget;
use crate::script::hook::threads::{HookRun, NotMade};

/// Ten bytes for each log: `"log 0003"`.
const SCRIPT: &str = "function process(log, meta)
  if log.kind == 'bad' then error('no') end
  if log.kind == 'loop' then while true do end end
  if log.kind == 'drop' then return nil end
  return ('log %04d'):format(meta.index)
end";

fn logs(kinds: &[&'static str]) -> Page {
    page_of(&kinds.iter().map(|kind| vec![(b"kind".as_slice(), kind.as_bytes())]).collect::<Vec<_>>())
}

fn quick(text: &str) -> Hook {
    let config = Config { timeout: Duration::from_millis(5), ..config() };
    Hook::load(&Script::from_text("s.lua", text), &config, Arc::new(Plain), meta()).unwrap()
}

fn run(hook: Hook, page: &Page, from: u32, bounds: Bounds) -> (Hook, Batch, Vec<Failed>) {
    let HookRun { hook, made } = HookRun::of(hook, None, Stretch { page: page.clone(), from, bounds }, &|| true);
    let (batch, failed) = made.unwrap();
    (hook, batch, failed)
}

fn bytes(bytes: usize) -> Bounds {
    Bounds { bytes, ..Bounds::NONE }
}

/// The page part by part: for each, its logs and its events.
fn parts(page: &Page, bounds: &Bounds) -> Vec<(Part, u32, String)> {
    let (mut hook, mut parts, mut from) = (quick(SCRIPT), Vec::new(), 0);
    loop {
        let (next, batch, _) = run(hook, page, from, bounds.clone());
        hook = next;
        from += batch.logs;
        let is_last = batch.part.is_last;
        let output = batch.outputs[0].output();
        let events = &output.events;
        assert!((0..events.len()).all(|event| (batch.part.first..from).contains(&events.log_of(event))));
        parts.push((batch.part, batch.logs, String::from_utf8(events.bytes().to_vec()).unwrap()));
        if is_last {
            return parts;
        }
    }
}

#[test]
fn a_page_is_left_when_its_events_reach_the_bound_and_resumed_after_that_log() {
    let page = logs(&["", "drop", "", "", "drop"]);
    let part = |first, is_last| Part { first, is_last };
    let expected =
        [(part(0, false), 3, r#""log 0000""log 0002""#.to_owned()), (part(3, true), 2, r#""log 0003""#.to_owned())];
    assert_eq!(parts(&page, &bytes(20)), expected);
    let expected = [(part(0, true), 5, r#""log 0000""log 0002""log 0003""#.to_owned())];
    assert_eq!(parts(&page, &bytes(1 << 20)), expected);
    assert_eq!(parts(&page, &bytes(0)).len(), 5, "a part has one log at least");
}

#[test]
fn the_last_log_ends_the_page_even_if_it_reaches_the_bound() {
    let all = parts(&logs(&["", ""]), &bytes(20));
    assert_eq!((all.len(), all[0].0), (1, Part::WHOLE));
}

#[test]
fn errors_count_towards_the_bound_of_a_page_as_events_do() {
    let page = logs(&["bad"; 1_000]);
    let (_, batch, failed) = run(quick(SCRIPT), &page, 0, bytes(10_000));
    assert!(batch.logs < 50 && failed.len() == batch.logs as usize, "{} logs", batch.logs);
}

#[test]
fn a_page_is_left_when_its_time_is_used_up() {
    let spent = Bounds { time: Duration::ZERO, ..Bounds::NONE };
    assert_eq!(parts(&logs(&["", "", ""]), &spent).len(), 3);
    assert_eq!(parts(&logs(&["loop", "loop", ""]), &spent).len(), 3);
    let some = Bounds { time: Duration::from_millis(60), ..Bounds::NONE };
    let (_, batch, failed) = run(quick(SCRIPT), &logs(&["loop"; 500]), 0, some);
    assert!((2..100).contains(&failed.len()) && !batch.part.is_last, "{} logs", batch.logs);
}

#[test]
fn the_breaker_is_consulted_only_after_logs_that_broke_a_limit() {
    let gives_up = |least: u32| Bounds {
        gives_up: Some(Arc::new(move |logs, failed| logs >= least && failed > 0)),
        ..Bounds::NONE
    };
    let (hook, batch, failed) = run(quick(SCRIPT), &logs(&["", "loop", "loop", "loop", ""]), 0, gives_up(3));
    assert_eq!((batch.logs, failed.len(), batch.part.is_last), (3, 2, false));
    let (_, batch, failed) = run(hook, &logs(&["bad", "bad", "", "loop"]), 0, gives_up(1));
    assert_eq!((batch.logs, failed.len(), batch.part.is_last), (4, 3, true), "nothing is left to save time with");
}

#[test]
fn a_cancelled_page_is_left_at_once() {
    let page = logs(&["loop"; 100]);
    let asked = std::cell::Cell::new(0);
    let is_wanted = || asked.replace(asked.get() + 1) < 2;
    let ran = HookRun::of(quick(SCRIPT), None, Stretch::whole(page), &is_wanted);
    assert_eq!(ran.made.unwrap().0.logs, 3);
}

#[test]
fn a_torn_page_is_not_delivered_in_parts() {
    let mut page = page(proto::LogGroup::default());
    let group = logs(&["", ""]).body;
    page.body = [&group[..], &group[..group.len() - 1]].concat().into();
    let ran = HookRun::of(quick(SCRIPT), None, Stretch { page, from: 0, bounds: bytes(1) }, &|| true);
    let Err(NotMade::Unreadable(unreadable)) = ran.made else { panic!("the page is damaged") };
    assert_eq!(unreadable.page.cursor, Cursor::new("c0"), "or its first part would be delivered with every pull");
}

#[test]
fn events_are_written_into_the_buffer_of_settled_events() {
    let mut hook = quick("function process(log) return log.kind end");
    let bounds = Bounds { buffers: Some(SharedBudget::new(1 << 20).buffers()), ..Bounds::NONE };
    let text = "x".repeat(100_000);
    let page = page_of(&[vec![(b"kind".as_slice(), text.as_bytes())]]);
    let mut places = Vec::new();
    for _ in 0..4 {
        let (next, batch, _) = run(hook, &page, 0, bounds.clone());
        hook = next;
        let output = batch.outputs[0].output();
        assert_eq!(output.events.bytes().len(), 100_002);
        places.push(output.events.bytes().as_ptr());
    }
    assert_eq!(places[2], places[3], "the hook has learnt how much room the events of such a page need");
}

#[test]
fn a_part_without_memory_for_its_events_does_not_begin() {
    let bounds = Bounds { begins: Some(Arc::new(|| false)), ..Bounds::NONE };
    let HookRun { made, hook } =
        HookRun::of(quick(SCRIPT), None, Stretch { page: logs(&[""]), from: 0, bounds }, &|| true);
    assert!(matches!(made, Err(NotMade::NoMemory)));
    let ran = HookRun::of(hook, None, Stretch::whole(logs(&[""])), &|| true);
    assert_eq!(ran.made.unwrap().0.logs, 1, "the hook can be used");
}

#[test]
fn a_hook_thread_with_a_cancelled_page_is_free_after_the_current_log() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let threads = HookThreads::start(1).unwrap();
    let began = Instant::now();
    let page = logs(&["loop"; 10_000]);
    runtime.block_on(async {
        let looping = threads.run(quick(SCRIPT), None, Stretch::whole(page.clone()));
        assert!(tokio::time::timeout(Duration::from_millis(20), looping).await.is_err());
        let waiting = threads.run(quick(SCRIPT), None, Stretch::whole(logs(&[""])));
        assert_eq!(waiting.await.unwrap().made.unwrap().0.logs, 1);
        // Running when the threads end.
        let looping = threads.run(quick(SCRIPT), None, Stretch::whole(page));
        assert!(tokio::time::timeout(Duration::from_millis(20), looping).await.is_err());
    });
    drop(threads);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?} of 50 s", began.elapsed());
}

#[test]
fn shutdown_waits_at_most_a_second_for_the_current_log() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let threads = HookThreads::start(1).unwrap();
    let config = Config { timeout: Duration::from_secs(4), ..config() };
    let hook = Hook::load(&Script::from_text("s.lua", SCRIPT), &config, Arc::new(Plain), meta()).unwrap();
    let looping = async {
        let looping = threads.run(hook, None, Stretch::whole(logs(&["loop"])));
        tokio::time::timeout(Duration::from_millis(20), looping).await.is_err()
    };
    assert!(runtime.block_on(looping));
    let began = Instant::now();
    drop(threads);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}
