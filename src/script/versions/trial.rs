//! The checks that a version must pass before it is loaded.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::subscriber::{NoSubscriber, with_default};

use crate::core::event::Formats;
use crate::core::page::Page;
use crate::script::testing::cases;
use crate::script::testing::cases::Report;
use crate::script::{Beside, Config, Hook, HookError, Meta, Script};

/// No further samples are run after this time.
const DRY_RUN_TIMEOUT: Duration = Duration::from_secs(5);

/// A version that fails on or drops this many more logs than the running one, in percent of all logs, is not loaded.
const FAILS_MORE: usize = 20;
const DROPS_MORE: usize = 50;

/// With fewer logs than this, any number of drops is accepted.
const MIN_LOGS: usize = 10;

/// A version before it is loaded. It is run on its own thread, so that no shard waits for it.
pub struct Trial {
    pub(crate) script: Script,
    pub(crate) in_force: Arc<Script>,
    pub(crate) config: Config,
    pub(crate) formats: Formats,
    pub(crate) meta: Meta,
    pub(crate) samples: Vec<Page>,
}

/// Why a version is not loaded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refused {
    /// It does not load.
    #[error("{}", .0.line(Beside::default()))]
    Load(#[from] HookError),
    /// Its test cases fail.
    #[error(
        "its tests fail: {report}; if the current results are right, `forwarder test --update {script}` accepts it"
    )]
    Tests {
        /// The test report.
        report: Report,
        /// The script's file.
        script: String,
    },
    /// Its results for the last logs are worse than those of the running version.
    #[error(
        "{}{why} ({dried}); to load it anyway, put `-- forwarder: force-reload` at the top of the script",
        first.as_ref().map(|error| format!("{}, on {} of {} logs: ", error.fault, dried.will_be.failed, dried.logs)).unwrap_or_default()
    )]
    Worse {
        /// The first failure of the new version.
        first: Option<HookError>,
        /// What is worse.
        why: &'static str,
        /// The dry run.
        dried: Box<Dried>,
    },
}

/// A version that passed.
#[derive(Debug)]
pub struct Passed {
    pub(crate) script: Script,
    /// The results for the last logs.
    pub dried: Dried,
    /// The number of passed test cases.
    pub cases: usize,
}

/// A run of the last logs through the running and the next version, for comparison. Nothing is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dried {
    /// Number of logs that both versions processed.
    pub logs: usize,
    /// The running version.
    pub was: Figures,
    /// The next version.
    pub will_be: Figures,
}

/// The results of a version for the last logs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Number of dropped logs.
    pub dropped: usize,
    /// Number of failed logs.
    pub failed: usize,
    /// Number of events.
    pub events: usize,
    /// Wall-clock time for all of them.
    pub time: Duration,
}

impl Trial {
    /// Tries the version. `cases` is the content of the file of test cases beside the script, empty when there is
    /// none; `force` accepts the version regardless of its results for the last logs, as a comment at the top of the
    /// script does.
    ///
    /// # Errors
    /// The version must not be loaded.
    pub fn run(self, cases: &str, force: bool) -> Result<Passed, Refused> {
        // Output of the script is suppressed here: it is for made-up logs, and for logs that were already processed.
        with_default(NoSubscriber::default(), || self.judge(cases, force))
    }

    fn judge(self, cases: &str, force: bool) -> Result<Passed, Refused> {
        let mut hook = self.load(&self.script)?;
        let report = cases::run(&self.script, &self.config, cases)?;
        if !report.is_good() {
            return Err(Refused::Tests { report, script: self.script.name });
        }
        let (dried, first) = self.dry_run(&mut hook);
        match worse(&dried) {
            Some(why) if !force && !self.script.forces_reload() => {
                Err(Refused::Worse { first, why, dried: Box::new(dried) })
            }
            _ => Ok(Passed { script: self.script, dried, cases: report.passed }),
        }
    }

    fn load(&self, script: &Script) -> Result<Hook, HookError> {
        Hook::load(script, &self.config, self.formats.clone(), self.meta.clone())
    }

    /// The results of both versions, and the first failure of the next.
    fn dry_run(&self, next: &mut Hook) -> (Dried, Option<HookError>) {
        let (mut dried, mut first) = (Dried::default(), None);
        // Without a loaded running version there is no comparison.
        let Ok(mut in_force) = self.load(&self.in_force) else { return (dried, first) };
        let started = Instant::now();
        for page in &self.samples {
            let (logs, _) = dried.was.add(&mut in_force, page);
            let (_, failure) = dried.will_be.add(next, page);
            first = first.or(failure);
            dried.logs += logs;
            if started.elapsed() > DRY_RUN_TIMEOUT {
                break;
            }
        }
        (dried, first)
    }
}

impl Dried {
    /// Whether the next version fails on more logs than the running one.
    #[must_use]
    pub fn fails_more(&self) -> bool {
        self.will_be.failed > self.was.failed
    }
}

impl Figures {
    /// Adds the results of the hook for a page; returns its number of logs, and the first failure.
    fn add(&mut self, hook: &mut Hook, page: &Page) -> (usize, Option<HookError>) {
        let started = Instant::now();
        let mut made = hook.run(page).expect("a page that was read once is readable");
        self.time += started.elapsed();
        self.dropped += made.dropped as usize;
        self.failed += made.failed.len();
        self.events += made.events().len();
        let first = (!made.failed.is_empty()).then(|| made.failed.swap_remove(0).error);
        (made.logs as usize, first)
    }
}

/// The reason if the results of the next version are so much worse that a mistake is likely.
fn worse(Dried { logs, was, will_be }: &Dried) -> Option<&'static str> {
    let more = |will_be: usize, was: usize, percent: usize| will_be * 100 > was * 100 + percent * logs;
    if will_be.failed == *logs && was.failed < *logs {
        Some("it fails on every log, the running version does not")
    } else if more(will_be.failed, was.failed, FAILS_MORE) {
        Some("it fails on many more logs than the running version")
    } else if *logs >= MIN_LOGS && will_be.dropped == *logs && was.dropped < *logs {
        Some("it drops every log, the running version does not")
    } else if *logs >= MIN_LOGS && more(will_be.dropped, was.dropped, DROPS_MORE) {
        Some("it drops many more logs than the running version")
    } else {
        None
    }
}

impl fmt::Display for Dried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { logs, was, will_be } = self;
        if *logs == 0 {
            return write!(f, "no dry run, because no log has arrived yet");
        }
        let micros = |time: Duration| time.as_micros() / *logs as u128;
        write!(
            f,
            "dry run on {logs} logs: dropped {} → {}, failed {} → {}, events {} → {}, {} → {} µs a log",
            was.dropped,
            will_be.dropped,
            was.failed,
            will_be.failed,
            was.events,
            will_be.events,
            micros(was.time),
            micros(will_be.time)
        )
    }
}

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trial").field("version", &self.script.version).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the refusal for these numbers of dropped and failed logs, before and after; `expected` is a part of it.
    fn check(logs: usize, was: (usize, usize), will_be: (usize, usize), expected: Option<&str>) {
        let figures = |(dropped, failed): (usize, usize)| Figures { dropped, failed, ..Figures::default() };
        let dried = Dried { logs, was: figures(was), will_be: figures(will_be) };
        assert_eq!(
            worse(&dried).map(|why| why.split(" logs").next().unwrap().split(',').next().unwrap()),
            expected,
            "{dried}"
        );
    }

    #[test]
    fn a_version_is_refused_when_it_fails_where_the_one_before_did_not() {
        check(200, (0, 0), (0, 200), Some("it fails on every log"));
        check(200, (0, 0), (0, 41), Some("it fails on many more"));
        check(200, (0, 0), (0, 40), None);
        check(200, (0, 100), (0, 140), None);
        check(200, (0, 200), (0, 200), None);
        check(1, (0, 0), (0, 1), Some("it fails on every log"));
        check(0, (0, 0), (0, 0), None);
    }

    #[test]
    fn a_version_is_refused_when_it_drops_what_the_one_before_did_not() {
        check(200, (0, 0), (200, 0), Some("it drops every log"));
        check(200, (199, 0), (200, 0), Some("it drops every log"));
        check(200, (200, 0), (200, 0), None);
        check(200, (0, 0), (101, 0), Some("it drops many more"));
        check(200, (0, 0), (100, 0), None);
        check(9, (0, 0), (9, 0), None);
    }

    #[test]
    fn the_comparison_is_reported_in_one_line() {
        let was = Figures { dropped: 0, failed: 0, events: 200, time: Duration::from_micros(2_000) };
        let will_be = Figures { dropped: 200, failed: 0, events: 0, time: Duration::from_micros(200) };
        let expected = "dry run on 200 logs: dropped 0 → 200, failed 0 → 0, events 200 → 0, 10 → 1 µs a log";
        assert_eq!(Dried { logs: 200, was, will_be }.to_string(), expected);
        assert_eq!(Dried::default().to_string(), "no dry run, because no log has arrived yet");
    }
}
