use std::sync::Arc;

use super::*;
use crate::core::cursor::ShardId;
use crate::core::event::{Body, BodyError, Format, Head};
use crate::script::{Config, Meta};

struct Text;

impl Format for Text {
    fn write(&self, _: &Head<'_>, body: &mut dyn Body, out: &mut Vec<u8>) -> Result<(), BodyError> {
        body.text(b"", out)
    }
}

/// Hooks of a script whose events are plain text.
pub(crate) fn hooks_of(script: Script) -> Result<Hooks, HookError> {
    hooks_with(script, Arc::new(Text))
}

fn meta(shard: ShardId) -> Meta {
    Meta { source: "s".to_owned(), project: "p".to_owned(), logstore: "l".to_owned(), shard }
}

fn hooks_with(script: Script, format: Arc<dyn Format>) -> Result<Hooks, HookError> {
    let config = Config {
        timeout: Duration::from_millis(100),
        memory: 16 << 20,
        total: Arc::default(),
        vars: toml::Table::new(),
    };
    Hooks::new(script, config, format, meta(ShardId(0)))
}

/// Checks which of these contents, one per poll, are tried.
fn check(polls: &[&str], expected: &[usize]) {
    let mut reading = ScriptRead::default();
    let tried: Vec<usize> =
        polls.iter().enumerate().filter(|(_, version)| reading.is_new(version)).map(|(at, _)| at).collect();
    assert_eq!(tried, expected, "{polls:?}");
}

#[test]
fn content_is_examined_only_once_it_has_stopped_changing() {
    check(&["a", "a", "a"], &[1]);
    check(&["a", "b", "b", "b", "b"], &[2]);
    check(&["a", "half", "whole", "whole"], &[3]);
}

#[test]
fn content_is_examined_again_only_after_the_file_has_changed() {
    check(&["b", "b", "b", "c", "c", "b", "b"], &[1, 4, 6]);
    check(&["b", "b", "a", "b", "b"], &[1, 4]);
    check(&["b", "b", "a", "a", "a"], &[1, 3]);
}

/// The ways in which files are replaced, on a real file system, watched by the real watch.
#[cfg(unix)]
mod writers {
    use std::fs::{self, File};
    use std::io::Write as _;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread::{self, ThreadId};

    use tempfile::TempDir;

    use super::*;
    use crate::script::{Reloads, Sample, Stretch};

    const INTERVAL: Duration = Duration::from_millis(50);

    const OLD: &str = "function process(log) return 'old' end\n";
    const NEW: &str = "local word = 'new'\nfunction process(log) return word end\n";

    /// Waits long enough for every poll that could still load something.
    async fn looks(count: u32) {
        sleep(INTERVAL * count).await;
    }

    struct Bench {
        directory: TempDir,
        hooks: Arc<Hooks>,
        watch: tokio::task::JoinSet<()>,
    }

    impl Bench {
        /// A script in a directory of its own, laid out by `lay_out`, and watched at `script`.
        fn new(script: &str, lay_out: impl FnOnce(&Path)) -> Self {
            Self::laid_out(script, Arc::new(Text), lay_out)
        }

        /// The same, with another layout of the events.
        fn laid_out(script: &str, format: Arc<dyn Format>, lay_out: impl FnOnce(&Path)) -> Self {
            let directory = TempDir::new().unwrap();
            lay_out(directory.path());
            let path = directory.path().join(script);
            let hooks = hooks_with(Script::read(&path).unwrap(), format).unwrap();
            let hooks = Arc::new(hooks);
            let mut watch = tokio::task::JoinSet::new();
            let watched = Arc::clone(&hooks);
            watch.spawn(async move {
                let watch = ScriptWatch { path, interval: INTERVAL, force: false, refused: None };
                watch.run(&watched, Wake(None)).await;
            });
            Self { directory, hooks, watch }
        }

        fn at(&self, name: &str) -> std::path::PathBuf {
            self.directory.path().join(name)
        }

        /// Waits until `text` runs, and checks that it was loaded once and that nothing else was tried.
        async fn takes_up(mut self, text: &str, refused: u64) {
            let version = Script::from_text("", text).version;
            let started = Instant::now();
            while self.hooks.script().version != version {
                assert!(started.elapsed() < Duration::from_secs(60), "{:?}", self.hooks.reloads());
                assert!(self.watch.try_join_next().is_none(), "the watch has ended");
                looks(1).await;
            }
            looks(6).await;
            let expected = Reloads { taken: 1, refused, ..Reloads::default() };
            assert_eq!(self.hooks.reloads(), expected);
        }
    }

    fn plain() -> Bench {
        Bench::new("s.lua", |at| fs::write(at.join("s.lua"), OLD).unwrap())
    }

    #[tokio::test]
    async fn a_file_written_in_place_is_picked_up_once() {
        let bench = plain();
        looks(3).await;
        fs::write(bench.at("s.lua"), NEW).unwrap();
        bench.takes_up(NEW, 0).await;
    }

    #[tokio::test]
    async fn a_file_renamed_over_is_picked_up_once() {
        let bench = plain();
        looks(3).await;
        fs::write(bench.at(".s.lua.swp"), NEW).unwrap();
        fs::rename(bench.at(".s.lua.swp"), bench.at("s.lua")).unwrap();
        bench.takes_up(NEW, 0).await;
    }

    #[tokio::test]
    async fn a_file_half_written_and_then_finished_is_picked_up_once() {
        let bench = plain();
        looks(3).await;
        let mut file = File::create(bench.at("s.lua")).unwrap();
        for line in NEW.as_bytes().chunks(7) {
            file.write_all(line).unwrap();
            looks(1).await;
        }
        // A look may fall between any two pieces, but no two looks see the same piece unless the writer was held up.
        let refused = bench.hooks.reloads().refused;
        bench.takes_up(NEW, refused).await;
    }

    #[tokio::test]
    async fn a_half_written_file_is_refused_once_and_the_whole_one_is_picked_up_once() {
        let bench = plain();
        let (half, rest) = NEW.split_at(30);
        let mut file = File::create(bench.at("s.lua")).unwrap();
        file.write_all(half.as_bytes()).unwrap();
        looks(10).await;
        assert_eq!(bench.hooks.reloads().refused, 1);
        assert!(bench.hooks.reloads().trouble.is_some());
        file.write_all(rest.as_bytes()).unwrap();
        bench.takes_up(NEW, 1).await;
    }

    #[tokio::test]
    async fn a_file_truncated_and_then_written_is_picked_up_once() {
        let bench = plain();
        looks(3).await;
        let mut file = File::create(bench.at("s.lua")).unwrap();
        looks(1).await;
        file.write_all(NEW.as_bytes()).unwrap();
        let refused = bench.hooks.reloads().refused;
        bench.takes_up(NEW, refused).await;
    }

    #[tokio::test]
    async fn a_swapped_symbolic_link_is_picked_up_once() {
        let bench = Bench::new("s.lua", |at| {
            fs::write(at.join("v1.lua"), OLD).unwrap();
            fs::write(at.join("v2.lua"), NEW).unwrap();
            symlink("v1.lua", at.join("s.lua")).unwrap();
        });
        looks(3).await;
        symlink("v2.lua", bench.at("next")).unwrap();
        fs::rename(bench.at("next"), bench.at("s.lua")).unwrap();
        bench.takes_up(NEW, 0).await;
    }

    /// As the kubelet writes a ConfigMap: `s.lua` → `..data/s.lua`, `..data` → a directory with a time in its name.
    #[tokio::test]
    async fn a_config_map_with_swapped_data_is_picked_up_once() {
        let bench = Bench::new("s.lua", |at| {
            for (directory, text) in [("..2026_01", OLD), ("..2026_02", NEW)] {
                fs::create_dir(at.join(directory)).unwrap();
                fs::write(at.join(directory).join("s.lua"), text).unwrap();
            }
            symlink("..2026_01", at.join("..data")).unwrap();
            symlink("..data/s.lua", at.join("s.lua")).unwrap();
        });
        looks(3).await;
        symlink("..2026_02", bench.at("..data_tmp")).unwrap();
        fs::rename(bench.at("..data_tmp"), bench.at("..data")).unwrap();
        fs::remove_dir_all(bench.at("..2026_01")).unwrap();
        bench.takes_up(NEW, 0).await;
    }

    #[tokio::test]
    async fn a_file_that_was_touched_or_rewritten_unchanged_is_not_picked_up() {
        let bench = plain();
        for _ in 0..3 {
            looks(3).await;
            fs::write(bench.at("s.lua"), OLD).unwrap();
            File::open(bench.at("s.lua")).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
        }
        looks(5).await;
        assert_eq!(bench.hooks.reloads(), Reloads::default());
    }

    #[tokio::test]
    async fn a_replaced_directory_is_picked_up_once() {
        let bench = Bench::new("scripts/s.lua", |at| {
            for (directory, text) in [("scripts", OLD), ("next", NEW)] {
                fs::create_dir(at.join(directory)).unwrap();
                fs::write(at.join(directory).join("s.lua"), text).unwrap();
            }
        });
        looks(3).await;
        fs::rename(bench.at("scripts"), bench.at("gone")).unwrap();
        // For a while there is no script at all.
        looks(3).await;
        assert!(bench.hooks.reloads().trouble.unwrap().contains("cannot be read"));
        fs::create_dir_all(bench.at("scripts/s.lua")).unwrap();
        looks(3).await;
        let trouble = bench.hooks.reloads().trouble.unwrap();
        assert!(!trouble.contains("No such file"), "the new cause replaces the old one: {trouble}");
        fs::remove_dir_all(bench.at("scripts")).unwrap();
        fs::rename(bench.at("next"), bench.at("scripts")).unwrap();
        bench.takes_up(NEW, 0).await;
    }

    #[tokio::test]
    async fn a_changed_module_is_picked_up_once() {
        let script = "local m = require 'lib.m' function process(log) return m end";
        let bench = Bench::new("s.lua", |at| {
            fs::create_dir(at.join("lib")).unwrap();
            fs::write(at.join("s.lua"), script).unwrap();
            fs::write(at.join("lib/m.lua"), "return 'old'").unwrap();
        });
        let before = bench.hooks.script().version.clone();
        looks(3).await;
        fs::write(bench.at("lib/m.lua"), "return 'new'").unwrap();
        looks(10).await;
        assert_ne!(bench.hooks.script().version, before);
        assert_eq!(bench.hooks.reloads().taken, 1);
    }

    #[tokio::test]
    async fn a_version_whose_tests_fail_is_tried_again_when_its_tests_change() {
        let bench = plain();
        let case = |event: &str| format!(r#"{{"name": "a", "log": {{}}, "events": ["{event}"]}}"#);
        fs::write(bench.at("s.test.jsonl"), case("old")).unwrap();
        looks(4).await;
        fs::write(bench.at("s.lua"), NEW).unwrap();
        looks(6).await;
        assert!(bench.hooks.reloads().trouble.unwrap().contains("1 of 1 case failed"));
        fs::write(bench.at("s.test.jsonl"), case("new")).unwrap();
        bench.takes_up(NEW, 1).await;
    }

    #[tokio::test]
    async fn a_refused_file_that_returns_to_the_running_version_is_no_longer_a_problem() {
        let bench = plain();
        fs::write(bench.at("s.lua"), "function process(").unwrap();
        looks(6).await;
        assert!(bench.hooks.reloads().trouble.is_some());
        fs::write(bench.at("s.lua"), OLD).unwrap();
        looks(6).await;
        assert_eq!(bench.hooks.reloads(), Reloads { refused: 1, ..Reloads::default() });
    }

    #[tokio::test]
    async fn a_version_that_loops_delays_no_other_work() {
        let bench = plain();
        fs::write(bench.at("s.lua"), "while true do end").unwrap();
        let mut longest = Duration::ZERO;
        for _ in 0..30 {
            let began = Instant::now();
            looks(1).await;
            longest = longest.max(began.elapsed());
        }
        assert!(longest < Duration::from_secs(1), "the loop was held up for {longest:?}");
    }

    /// On the thread of the pages it counts events; on that of a trial it waits for three more of them.
    struct Waiting {
        home: ThreadId,
        made: AtomicUsize,
    }

    impl Format for Waiting {
        fn write(&self, _: &Head<'_>, body: &mut dyn Body, out: &mut Vec<u8>) -> Result<(), BodyError> {
            if thread::current().id() == self.home {
                self.made.fetch_add(1, Ordering::Relaxed);
                return body.text(b"", out);
            }
            let (from, since) = (self.made.load(Ordering::Relaxed), Instant::now());
            while self.made.load(Ordering::Relaxed) < from + 3 {
                assert!(since.elapsed() < Duration::from_secs(60), "no page is made while a version is on trial");
                thread::sleep(Duration::from_millis(1));
            }
            body.text(b"", out)
        }
    }

    #[tokio::test]
    async fn pages_are_processed_while_a_version_is_on_trial() {
        let format = Arc::new(Waiting { home: thread::current().id(), made: AtomicUsize::default() });
        let mut bench = Bench::laid_out("s.lua", format, |at| fs::write(at.join("s.lua"), OLD).unwrap());
        let page = Sample::page(&[Sample::from_json(&serde_json::json!({})).unwrap()]);
        let mut hook = bench.hooks.load(meta(page.shard)).unwrap();
        fs::write(bench.at("s.lua"), NEW).unwrap();
        while bench.hooks.reloads().taken == 0 {
            assert!(bench.watch.try_join_next().is_none(), "the watch has ended");
            hook = bench.hooks.run(hook, Stretch::whole(page.clone())).await.unwrap().hook;
            sleep(Duration::from_millis(1)).await;
        }
    }
}
