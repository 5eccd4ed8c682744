//! The program's own log: standard error, and a rotated file.

mod fold;
mod rolling;
mod text;

use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{Level, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry, reload};

use fold::Folded;
use rolling::RollingFile;
use text::{Seconds, TextLine};

use crate::cli::output::note;
use crate::settings::{LogFormat, LogSettings};

/// A log file of this size is rotated.
const MAX_BYTES: u64 = 100 * 1024 * 1024;
/// Number of rotated files that are kept.
const KEPT_FILES: u32 = 5;
/// Lines that can wait for a slow terminal or disk. Further lines are lost and counted, so that the log never delays
/// the work.
const WAITING_LINES: usize = 8192;

/// Starts the log of the process.
///
/// # Errors
/// The log file cannot be opened, or the log was started before.
pub(super) fn start(settings: &LogSettings) -> io::Result<Handle> {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let file = settings.file.as_deref().map(|path| open(path, MAX_BYTES)).transpose()?;
    let (subscriber, handle) = subscriber(settings, io::stderr(), colour, file);
    tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Ok(handle)
}

/// The target of the line that reports a change of the level. It passes at every level, without being an error.
pub(super) const LEVEL_TARGET: &str = "forwarder::log_level";

/// The levels, from the fewest lines to the most.
const LEVELS: [Level; 5] = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];

/// A handle of the log: its writing threads, and its level.
#[derive(Clone)]
pub(super) struct Handle {
    guards: Arc<Mutex<Vec<WorkerGuard>>>,
    lost: Vec<ErrorCounter>,
    level: Arc<Mutex<Level>>,
    set_level: Arc<dyn Fn(Level) + Send + Sync>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("level", &self.level).finish_non_exhaustive()
    }
}

impl Handle {
    /// Writes the waiting lines, and logs how many lines were lost. Nothing is written after it.
    pub(super) fn close(&self) {
        self.guards.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let lost = self.lost();
        if lost > 0 {
            note(format_args!("forwarder: {lost} log lines were lost, because they could not be written fast enough"));
        }
    }

    /// Raises or lowers the level by one step; returns the new level.
    pub(super) fn turn(&self, more: bool) -> Level {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let at = LEVELS.iter().position(|known| *known == *level).unwrap_or_default();
        let next = if more { at + 1 } else { at.saturating_sub(1) };
        *level = LEVELS[next.min(LEVELS.len() - 1)];
        (self.set_level)(*level);
        *level
    }

    /// Lines lost so far because they could not be written fast enough.
    fn lost(&self) -> usize {
        self.lost.iter().map(ErrorCounter::dropped_lines).sum()
    }
}

/// All of the log except the process-wide part.
fn subscriber(
    settings: &LogSettings,
    stderr: impl Write + Send + 'static,
    colour: bool,
    file: Option<impl Write + Send + 'static>,
) -> (impl Subscriber + Send + Sync + 'static, Handle) {
    let (stderr, stderr_guard) = behind_a_thread(Folded::new(stderr, settings.format));
    let mut lost = vec![stderr.error_counter()];
    let mut guards = vec![stderr_guard];
    let file = file.map(|file| {
        let (file, guard) = behind_a_thread(Folded::new(file, settings.format));
        lost.push(file.error_counter());
        guards.push(guard);
        lines(settings.format, file, false)
    });
    let (filter, reload) = reload::Layer::new(filter_of(settings.level));
    let layers = lines(settings.format, stderr, colour).and_then(file).with_filter(filter);
    let handle = Handle {
        guards: Arc::new(Mutex::new(guards)),
        lost,
        level: Arc::new(Mutex::new(settings.level)),
        // It fails only after the log has ended.
        set_level: Arc::new(move |level| drop(reload.reload(filter_of(level)))),
    };
    (Registry::default().with(layers), handle)
}

/// Libraries log only warnings and errors.
fn filter_of(level: Level) -> Targets {
    let targets = Targets::new().with_default(level.min(Level::WARN)).with_target("forwarder", level);
    targets.with_target(LEVEL_TARGET, level.max(Level::INFO))
}

fn behind_a_thread(writer: impl Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("forwarder-log")
        .finish(writer)
}

fn open(path: &Path, most_bytes: u64) -> io::Result<RollingFile> {
    RollingFile::open(path, most_bytes, KEPT_FILES)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn lines<S>(format: LogFormat, writer: NonBlocking, colour: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colour);
    match format {
        // JSON has its own escapes for characters that could break a line.
        LogFormat::Json => layer.json().flatten_event(true).with_timer(Seconds).boxed(),
        LogFormat::Text => layer.event_format(TextLine).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::mpsc;

    use super::*;

    /// Passes on what is written, one message per write.
    struct Tap(mpsc::Sender<String>);

    impl Write for Tap {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The text written to standard error and to the file while `work` runs.
    fn written(format: LogFormat, colour: bool, work: impl FnOnce()) -> [String; 2] {
        let settings = LogSettings { level: Level::INFO, format, file: None };
        let ((stderr, stderr_lines), (file, file_lines)) = (mpsc::channel(), mpsc::channel());
        let (subscriber, handle) = subscriber(&settings, Tap(stderr), colour, Some(Tap(file)));
        tracing::subscriber::with_default(subscriber, work);
        handle.close();
        assert_eq!(handle.lost(), 0);
        [stderr_lines, file_lines].map(|lines| lines.into_iter().collect())
    }

    #[test]
    fn a_line_goes_to_standard_error_and_to_the_file() {
        let [stderr, file] = written(LogFormat::Text, false, || tracing::info!(shard = 3, "pulled"));
        for text in [stderr, file] {
            assert!(text.contains(" INFO ") && text.ends_with("pulled shard=3\n"), "{text}");
        }
    }

    #[test]
    fn f33_text_cannot_forge_a_line_or_control_the_terminal() {
        let evil = "x\n2026-01-01T00:00:00Z ERROR all is lost\r\u{1b}[31mred\u{7}\u{9b}2J\u{202e}";
        for format in [LogFormat::Text, LogFormat::Json] {
            let [stderr, file] = written(format, false, || {
                let _span = tracing::info_span!("shard", name = %evil).entered();
                tracing::info!(field = evil, shown = %evil, "said {evil}");
            });
            for text in [stderr, file] {
                assert_eq!(text.lines().count(), 1, "{text:?}");
                assert!(!text.trim_end().contains(|c: char| c.is_ascii_control()), "{text:?}");
            }
        }
        let [stderr, _] = written(LogFormat::Text, false, || tracing::info!("said {evil}"));
        assert!(!stderr.trim_end().contains(crate::core::printable::is_unprintable), "{stderr:?}");
    }

    #[test]
    fn colours_go_to_the_terminal_but_not_to_the_file() {
        let [stderr, file] = written(LogFormat::Text, true, || tracing::info!("x"));
        assert!(stderr.contains('\u{1b}') && !file.contains('\u{1b}'), "{stderr:?} {file:?}");
    }

    #[test]
    fn lines_below_the_level_and_lines_of_libraries_are_left_out() {
        let [stderr, _] = written(LogFormat::Text, false, || {
            tracing::debug!("ours, too low");
            tracing::info!(target: "hyper", "theirs, chat");
            tracing::warn!(target: "hyper", "theirs, a warning");
        });
        assert!(stderr.ends_with("theirs, a warning\n") && stderr.lines().count() == 1, "{stderr}");
    }

    #[test]
    fn a_line_is_short_and_names_its_origin_only_if_that_is_a_library() {
        let [text, _] = written(LogFormat::Text, false, || tracing::info!(why = "a b", url = "u", left = 3, "said"));
        assert_eq!(&text[text.find('Z').unwrap()..], "Z  INFO said why=\"a b\" url=u left=3\n", "{text}");
        assert_eq!(text.find('Z'), Some("2026-02-03T04:05:06".len()), "{text}");
        let [text, _] = written(LogFormat::Text, false, || tracing::warn!(target: "hyper", "theirs"));
        assert!(text.ends_with("Z  WARN hyper: theirs\n"), "{text}");
    }

    #[test]
    fn numbers_and_booleans_keep_their_types_in_json() {
        let [json, _] = written(LogFormat::Json, false, || {
            tracing::info!(number = 3_u64, negative = -1, share = 0.5, is = true, word = "w", "said");
        });
        let line: serde_json::Value = serde_json::from_str(&json).unwrap();
        let found = serde_json::json!([line["number"], line["negative"], line["share"], line["is"], line["word"]]);
        assert_eq!(found, serde_json::json!([3, -1, 0.5, true, "w"]), "{json}");
    }

    #[test]
    fn repeated_lines_are_folded() {
        let [text, file] = written(LogFormat::Text, false, || (0..50).for_each(|_| tracing::warn!(shard = 3, "slow")));
        for text in [text, file] {
            assert!(text.ends_with("  INFO the last line again, 49 times\n") && text.lines().count() == 2, "{text}");
        }
    }

    #[test]
    fn the_level_can_be_changed_while_running_within_its_bounds() {
        let settings = LogSettings { level: Level::INFO, format: LogFormat::Text, file: None };
        let (stderr, lines) = mpsc::channel();
        let (subscriber, handle) = subscriber(&settings, Tap(stderr), false, None::<Tap>);
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("first");
            assert_eq!(handle.turn(true), Level::DEBUG);
            tracing::debug!("second");
            assert_eq!(handle.turn(false), Level::INFO);
            tracing::debug!("third");
            assert_eq!([true, true, true].map(|more| handle.turn(more))[2], Level::TRACE);
            assert_eq!([false; 6].map(|more| handle.turn(more))[5], Level::ERROR);
            tracing::warn!("fourth");
            tracing::info!(target: LEVEL_TARGET, "log level is ERROR");
        });
        handle.close();
        let text: String = lines.into_iter().collect();
        let [debug, level] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
        assert!(debug.ends_with("second") && level.ends_with("  INFO log level is ERROR"), "{text}");
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_as_lost() {
        /// A writer that blocks until it is released.
        struct Stuck(mpsc::Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let settings = LogSettings { level: Level::INFO, format: LogFormat::Text, file: None };
        let (release, stuck) = mpsc::channel();
        let (subscriber, handle) = subscriber(&settings, Stuck(stuck), false, None::<Stuck>);
        tracing::subscriber::with_default(subscriber, || {
            // The writer may hold one line in addition to the waiting ones.
            for number in 0..WAITING_LINES + 11 {
                tracing::info!(number);
            }
        });
        drop(release);
        assert!((10..=11).contains(&handle.lost()), "{}", handle.lost());
        handle.close();
    }

    #[test]
    fn a_full_file_is_rotated_and_five_old_ones_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("own.log");
        let mut file = open(&path, 100).unwrap();
        for number in 0..40 {
            file.write_all(format!("{number:>59}\n").as_bytes()).unwrap();
        }
        file.flush().unwrap();
        let mut names: Vec<_> =
            std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["own.log", "own.log.1", "own.log.2", "own.log.3", "own.log.4", "own.log.5"]);
        assert!(std::fs::read_to_string(&path).unwrap().contains("39"));
        for name in names {
            let mode = std::fs::metadata(directory.path().join(&name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name:?}");
        }
    }
}
