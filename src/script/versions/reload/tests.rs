use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;

use super::*;
use crate::core::cursor::{Cursor, ShardId};
use crate::core::event::Format;
use crate::core::event::{Body, BodyError, Head};
use crate::core::page::Page;
use crate::loggroup::proto::{Log, LogGroup, LogGroupList, Pair};
use crate::script::{Bounds, ScriptFault};

struct Text;

impl Format for Text {
    fn write(&self, _: &Head<'_>, body: &mut dyn Body, out: &mut Vec<u8>) -> Result<(), BodyError> {
        body.text(b"", out)?;
        out.push(b' ');
        Ok(())
    }
}

/// Hooks of this script, which run on the calling task, or on a thread.
fn hooks_on(text: &str, threads: Option<HookThreads>) -> Hooks {
    let config =
        Config { timeout: Duration::from_secs(1), memory: 16 << 20, total: Arc::default(), vars: toml::Table::new() };
    let hooks = Hooks::new(Script::from_text("s.lua", text), config, Arc::new(Text), meta(0)).unwrap();
    match threads {
        Some(threads) => hooks.with_threads(threads),
        None => hooks,
    }
}

fn meta(shard: u32) -> Meta {
    Meta { source: "s".to_owned(), project: "p".to_owned(), logstore: "l".to_owned(), shard: ShardId(shard) }
}

fn hooks(text: &str) -> Hooks {
    hooks_on(text, None)
}

/// A page with a log for each of these texts.
pub(crate) fn page_of(texts: &[&str]) -> Page {
    let log =
        |text: &&str| Log { contents: vec![Pair { key: b"text".into(), value: (*text).into() }], ..Log::default() };
    let group = LogGroup { logs: texts.iter().map(log).collect(), ..LogGroup::default() };
    Page {
        shard: ShardId(1),
        cursor: Cursor::from_number(1),
        next: Cursor::from_number(2),
        body: Bytes::from(LogGroupList { groups: vec![group] }.encode_to_vec()),
        groups: 1,
        last_group: Some(1),
        first_log: 0,
        at_end: None,
        received_at: None,
        scanned_bytes: 0,
        packed: None,
        wire_bytes: 0,
    }
}

async fn run(hooks: &Hooks, hook: Hook, page: Page) -> (Hook, String) {
    run_on(hooks, hook, Stretch::whole(page)).await
}

async fn run_on(hooks: &Hooks, hook: Hook, stretch: Stretch) -> (Hook, String) {
    let ran = hooks.run(hook, stretch).await.unwrap();
    let (batch, failed) = ran.made.unwrap();
    let mut text = String::from_utf8_lossy(batch.outputs[0].output().events.bytes()).trim().to_owned();
    if !failed.is_empty() {
        text += &format!("{} failed", failed.len());
    }
    (ran.hook, text)
}

async fn sent(hooks: &Hooks, hook: Hook) -> (Hook, String) {
    run(hooks, hook, page_of(&["a"])).await
}

fn replace(hooks: &Hooks, text: &str) -> Result<Dried, Refused> {
    replace_with(hooks, text, "", false)
}

fn replace_with(hooks: &Hooks, text: &str, cases: &str, force: bool) -> Result<Dried, Refused> {
    let passed = hooks.trial(Script::from_text("s.lua", text)).run(cases, force)?;
    let dried = passed.dried;
    hooks.put_in_force(passed, Instant::now());
    Ok(dried)
}

#[tokio::test]
async fn a_new_version_takes_over_with_the_next_page() {
    for threads in [None, Some(HookThreads::start(1).unwrap())] {
        let hooks = hooks_on("function process() return 'old' end", threads);
        let (hook, text) = sent(&hooks, hooks.load(meta(1)).unwrap()).await;
        assert_eq!(text, "old");
        let began = hooks.since();
        replace(&hooks, "function process() return 'new' end").unwrap();
        assert!(hooks.since() > began);
        assert_eq!(sent(&hooks, hook).await.1, "new");
        assert_eq!(hooks.reloads(), Reloads { taken: 1, ..Reloads::default() });
    }
}

#[tokio::test]
async fn a_new_version_takes_over_in_the_middle_of_a_page_at_the_right_log() {
    let script = |name: &str| {
        format!("function process(log, meta) return '{name}:' .. log.text .. meta.index .. '=' .. meta.id end")
    };
    for threads in [None, Some(HookThreads::start(1).unwrap())] {
        let hooks = hooks_on(&script("old"), threads);
        let page = page_of(&["a", "b", "c"]);
        let one = |from| Stretch { page: page.clone(), from, bounds: Bounds { bytes: 1, ..Bounds::NONE } };
        let (hook, text) = run_on(&hooks, hooks.load(meta(1)).unwrap(), one(0)).await;
        assert_eq!(text, "old:a0=p/l/1|1|0");
        replace_with(&hooks, &script("new"), "", true).unwrap();
        let (hook, text) = run_on(&hooks, hook, one(1)).await;
        assert_eq!(text, "new:b1=p/l/1|1|1");
        assert_eq!(run_on(&hooks, hook, one(2)).await.1, "new:c2=p/l/1|1|2");
    }
}

#[tokio::test]
async fn a_part_that_triggers_a_rollback_is_run_again_from_its_first_log() {
    let hooks = hooks("function process(log) return 'old' .. log.text end");
    replace_with(&hooks, "function process(log) if log.text ~= 'a' then error('no') end return 'new' end", "", true)
        .unwrap();
    let page = page_of(&[["a"; 10].as_slice(), &["b"; 60]].concat());
    let part = |from| Stretch { page: page.clone(), from, bounds: Bounds { bytes: 40, ..Bounds::NONE } };
    let (hook, text) = run_on(&hooks, hooks.load(meta(1)).unwrap(), part(0)).await;
    assert_eq!(text, ["new"; 10].join(" "));
    let rest = Stretch { from: 10, ..Stretch::whole(page.clone()) };
    let (hook, text) = run_on(&hooks, hook, rest).await;
    assert_eq!(text, ["oldb"; 60].join(" "), "not a log of the part before, which is on its way");
    assert_eq!(hook.script(), &*hooks.script());
}

/// A script with a slow top level must not block the loops of the other shards.
#[tokio::test]
async fn the_first_load_of_a_script_runs_on_a_hook_thread() {
    let hooks = hooks_on("function process() return 'x' end", Some(HookThreads::start(1).unwrap()));
    let (release, held) = std::sync::mpsc::channel::<()>();
    let busy = hooks.threads.as_ref().unwrap().load(move || Err::<Hook, _>(held.recv()));
    let (mut busy, mut begin) = (std::pin::pin!(busy), std::pin::pin!(hooks.begin(meta(1))));
    let both = std::future::poll_fn(|context| {
        Poll::Ready((busy.as_mut().poll(context).is_pending(), begin.as_mut().poll(context).is_pending()))
    });
    assert_eq!(both.await, (true, true), "the only thread is busy, so the load waits");
    release.send(()).unwrap();
    busy.await.unwrap().unwrap_err().unwrap();
    let hook = begin.await.unwrap().unwrap();
    assert_eq!(sent(&hooks, hook).await.1, "x");
}

#[tokio::test]
async fn a_version_that_does_not_load_changes_nothing() {
    let hooks = hooks("function process() return 'old' end");
    let before = hooks.script();
    for (broken, why) in [
        ("function process(", "s.lua:1: "),
        ("\nerror('no')", "s.lua:2: no"),
        ("x = 1", "no function `process`"),
        ("function process() end\nfunction init() error('no') end", "s.lua:2: no"),
    ] {
        let refused = replace(&hooks, broken).unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
        let now = Instant::now();
        hooks.refuse(&refused, now);
        assert_eq!(hooks.reloads().trouble, Some(refused.to_string()));
        assert_eq!(hooks.last_refused(), Some((now, refused.to_string())));
    }
    assert_eq!((hooks.script(), hooks.reloads().refused), (before, 4));
    assert_eq!(sent(&hooks, hooks.load(meta(1)).unwrap()).await.1, "old");
}

#[tokio::test]
async fn a_version_whose_tests_fail_is_refused() {
    let hooks = hooks("function process() return 'old' end");
    let cases = r#"{"name": "says new", "log": {}, "events": ["new"]}"#;
    let refused = replace_with(&hooks, "function process() return 'mew' end", cases, true).unwrap_err().to_string();
    assert!(refused.starts_with("its tests fail: 1 of 1 case failed: line 1, \"says new\""), "{refused}");
    replace_with(&hooks, "function process() return 'new' end", cases, false).unwrap();
}

#[tokio::test]
async fn a_version_that_drops_or_fails_everything_is_refused_unless_forced() {
    let hooks = hooks("function process(log) return log.text end");
    let hook = hooks.load(meta(1)).unwrap();
    assert_eq!(run(&hooks, hook, page_of(&["a"; 30])).await.1, ["a"; 30].join(" "));
    let drops = "function process(log) return nil end";
    let refused = replace(&hooks, drops).unwrap_err().to_string();
    assert!(
        refused.starts_with("it drops every log, the running version does not (dry run on 20 logs: dropped 0 → 20,"),
        "{refused}"
    );
    let refused = replace(&hooks, "function process(log) return log.txt .. 'x' end").unwrap_err().to_string();
    let cause = "s.lua:1: attempt to concatenate a nil value (field 'txt'), on 20 of 20 logs: it fails on every log";
    assert!(refused.starts_with(cause) && refused.contains("failed 0 → 20"), "{refused}");
    let dried = replace_with(&hooks, drops, "", true).unwrap();
    assert_eq!((dried.logs, dried.will_be.dropped), (20, 20));
    replace(&hooks, "function process(log) return log.text end").unwrap();
    replace(&hooks, "\n-- My script\n\n-- forwarder: force-reload\nfunction process(log) return nil end").unwrap();
}

#[tokio::test]
async fn a_force_comment_counts_only_at_the_top() {
    let forces = |text: &str| Script::from_text("s.lua", text).forces_reload();
    assert!(forces("--forwarder: force-reload"));
    assert!(!forces("local x\n-- forwarder: force-reload"));
    assert!(!forces("-- do not forwarder: force-reload"));
}

/// A log named `bad` fails from the second version on.
const FAILS_LATER: &str = "function process(log) if log.text == 'bad' then error('no') end return 'new' end";

#[tokio::test]
async fn a_fresh_version_that_fails_is_rolled_back_and_the_page_is_run_again() {
    for threads in [None, Some(HookThreads::start(2).unwrap())] {
        let hooks = hooks_on("function process(log) return 'old' end", threads);
        let good = hooks.script();
        let first = sent(&hooks, hooks.load(meta(1)).unwrap()).await.0;
        let second = hooks.load(meta(2)).unwrap();
        replace(&hooks, FAILS_LATER).unwrap();
        let (first, text) = run(&hooks, first, page_of(&["bad"; 49])).await;
        assert_eq!(text, "49 failed", "too few to tell");
        let (second, text) = run(&hooks, second, page_of(&["bad"; 3])).await;
        assert_eq!(text, "old old old");
        assert_eq!(hooks.script(), good);
        assert_eq!(run(&hooks, first, page_of(&["bad"])).await.1, "old");
        assert_eq!(sent(&hooks, second).await.1, "old");
        let reloads = hooks.reloads();
        assert_eq!((reloads.taken, reloads.rolled_back), (1, 1));
        let why = reloads.trouble.unwrap();
        assert!(why.contains("fails on 52 of 52 logs") && why.contains(&good.version), "{why}");
    }
}

#[tokio::test]
async fn a_page_that_was_under_way_when_its_version_was_rolled_back_is_run_again() {
    let hooks = hooks("function process(log) return 'old' end");
    replace(&hooks, FAILS_LATER).unwrap();
    let late = hooks.load(meta(2)).unwrap();
    run(&hooks, hooks.load(meta(1)).unwrap(), page_of(&["bad"; 50])).await;
    let version = late.script().version.clone();
    assert!(hooks.has_to_go(&version, 1, 1) && !hooks.has_to_go(&version, 1, 0));
}

#[tokio::test]
async fn state_survives_a_reload_if_both_versions_declare_it_but_no_exceeded_limit() {
    let counts = "function process(log) state.n = (state.n or 0) + 1 if log.text == 'loop' then while true do end end
                  return state.n end"
        .replace("return state.n", "return tostring(state.n)");
    let keeps = format!("keep_state = 1 {counts}");
    let hooks = hooks(&keeps);
    let (hook, text) = run(&hooks, hooks.load(meta(1)).unwrap(), page_of(&["a", "a"])).await;
    assert_eq!(text, "1 2");
    replace(&hooks, &format!("{keeps} -- second")).unwrap();
    let (hook, text) = sent(&hooks, hook).await;
    assert_eq!(text, "3");
    assert_eq!(sent(&hooks, hooks.load(meta(2)).unwrap()).await.1, "1", "each shard has its own");
    replace(&hooks, &keeps.replace("keep_state = 1", "keep_state = 2")).unwrap();
    let (hook, text) = sent(&hooks, hook).await;
    assert_eq!(text, "1");
    let (hook, text) = run(&hooks, hook, page_of(&["a", "loop", "a"])).await;
    assert_eq!(text, "2 11 failed", "2, a failure, and 1 again");
    replace(&hooks, &counts).unwrap();
    assert_eq!(sent(&hooks, hook).await.1, "1");
}

#[tokio::test]
async fn a_version_that_cannot_load_with_the_state_starts_without_it() {
    let hooks = hooks("keep_state = 1 function process(log) state.n = 7 return 'old' end");
    let hook = sent(&hooks, hooks.load(meta(1)).unwrap()).await.0;
    replace(&hooks, "keep_state = 1 if state.n then error('no') end function process(log) return 'new' end").unwrap();
    assert_eq!(sent(&hooks, hook).await.1, "new");
}

#[tokio::test]
async fn a_shard_keeps_its_version_when_a_new_one_does_not_load_and_does_not_retry_it_per_page() {
    let hooks = hooks("function process(log) return 'old' end");
    let hook = hooks.load(meta(1)).unwrap();
    let only_once =
        "function init(meta) if meta.shard == 1 then error('not here') end end function process(log) return 'new' end";
    replace(&hooks, only_once).unwrap();
    let (hook, text) = sent(&hooks, hook).await;
    assert_eq!(text, "old");
    assert!(!hook.is_older_than(&hooks.script()));
    assert_eq!(sent(&hooks, hook).await.1, "old");
}

#[test]
fn init_is_told_the_origin_of_the_logs_and_shutdown_runs_last() {
    let format: Arc<dyn Format> = Arc::new(Text);
    let config = Config {
        timeout: Duration::from_millis(100),
        memory: 16 << 20,
        total: Arc::default(),
        vars: toml::Table::new(),
    };
    let load = |text: &str| Hook::load(&Script::from_text("s.lua", text), &config, Arc::clone(&format), meta(3));
    let script =
        "local from function init(meta) from = meta.source .. meta.project .. meta.logstore .. meta.shard .. #meta.version end
                  function process() return from end";
    let made = load(script).unwrap().run(&page_of(&["a"])).unwrap();
    assert_eq!(made.events().bytes(), b"spl312 ");
    let looping = load("function process() end\nfunction init() while true do end end").unwrap_err();
    assert!(matches!(looping.fault, ScriptFault::Timeout { .. }), "{looping}");
    // Both end within the limit, and are logged.
    drop(load("function process() end function shutdown() while true do end end").unwrap());
    drop(load("function process() end function shutdown() error('no') end").unwrap());
}

/// The output of the program's log.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn log_lines_of_a_script_on_trial_are_not_shown() {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        let script = "print('top') function init() print('init') end function shutdown() print('end') end
                      function process(log) print('log') return 'x' end";
        let hooks = hooks("function process(log) return 'x' end");
        hooks.samples.keep(&page_of(&["a"]));
        let passed = hooks.trial(Script::from_text("s.lua", script)).run("{\"log\": {}, \"events\": [\"x\"]}", false);
        assert_eq!(passed.unwrap().cases, 1);
    });
    assert_eq!(String::from_utf8(written.0.lock().unwrap().clone()).unwrap(), "");
}
