//! Watches the script's file, and loads a new version if it passes the checks.
//!
//! The content decides, and is read every two seconds: editors, git and Kubernetes replace files in many ways, but
//! always change the content under the same name. A signal only makes the watch check sooner.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use crate::core::named_file;
use crate::core::named_file::MAX_LOGS;
use crate::script::testing::cases;
use crate::script::{HookError, Hooks, Passed, Refused, Script, drop_mark};

/// Time between two checks of the file.
pub(super) const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// The watched file, and options.
pub(super) struct ScriptWatch {
    /// The script's file.
    pub(super) path: PathBuf,
    /// Time between two checks.
    pub(super) interval: Duration,
    /// Loads a version whatever its results on the last logs are.
    pub(super) force: bool,
    /// Content that was refused at the start.
    pub(super) refused: Option<String>,
}

impl ScriptWatch {
    /// Never returns.
    pub(super) async fn run(self, hooks: &Hooks, mut wake: Wake) {
        let mut reading = ScriptRead { settled: self.refused.clone(), ..ScriptRead::default() };
        loop {
            tokio::select! {
                () = sleep(self.interval) => {}
                () = wake.comes() => info!("SIGHUP: checking the script"),
            }
            self.look(hooks, &mut reading).await;
        }
    }

    async fn look(&self, hooks: &Hooks, reading: &mut ScriptRead) {
        let path = self.path.clone();
        let saved = match off_the_path(move || Saved::read(&path)).await {
            Ok(saved) => saved,
            Err(why) => {
                let why = format!("the script cannot be read, the running version stays: {why}");
                if reading.unreadable.as_ref() != Some(&why) {
                    warn!("{why}");
                    // A version that was refused or rolled back stays so when the file exists again.
                    let trouble = hooks.reloads().trouble;
                    if trouble.is_none() || trouble == reading.unreadable {
                        hooks.say(Some(why.clone()));
                    }
                    reading.unreadable = Some(why);
                }
                return;
            }
        };
        let was_unreadable = reading.unreadable.take().is_some();
        let in_force = hooks.script();
        let is_new = reading.is_new(&saved.identity());
        if saved.script.version != in_force.version {
            if is_new {
                self.try_out(hooks, saved, &in_force.version).await;
            }
        } else if (is_new || was_unreadable) && hooks.reloads().trouble.is_some() {
            info!(version = %in_force.version, "the script's file holds the running version again");
            hooks.say(None);
        }
    }

    async fn try_out(&self, hooks: &Hooks, saved: Saved, was: &str) {
        let version = saved.script.version.clone();
        let (trial, cases, force) = (hooks.trial(saved.script), saved.cases, self.force);
        let tried: Result<Passed, Refused> = off_the_path(move || trial.run(&cases, force)).await;
        match tried {
            Ok(passed) => {
                let Passed { dried, cases, .. } = passed;
                hooks.put_in_force(passed, Instant::now());
                if dried.fails_more() {
                    warn!(
                        %version, was, cases,
                        "script reloaded, every shard uses it from its next page, and it FAILS on more logs than the one \
                         before: {dried}"
                    );
                } else {
                    info!(%version, was, cases, "script reloaded, every shard uses it from its next page; {dried}");
                }
            }
            Err(refused) => {
                error!(version, in_force = was, "script refused, the running version stays: {refused}");
                hooks.refuse(&refused, Instant::now());
            }
        }
    }
}

/// The content on disk.
pub(super) struct Saved {
    pub(super) script: Script,
    /// The test cases beside it; empty if there are none.
    pub(super) cases: String,
}

impl Saved {
    /// Reads the script, the files that it names, and its test cases. This may block on a network file system.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let script = Script::read(path).map_err(|fault: HookError| fault.to_string())?;
        let beside = cases::path_beside(path);
        let cases = match named_file::read_trusted(&beside, MAX_LOGS) {
            Ok(mut cases) => {
                drop_mark(&mut cases);
                String::from_utf8_lossy(&cases).into_owned()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(format!("its test cases: {}: {error}", beside.display())),
        };
        Ok(Self { script, cases })
    }

    /// A hash that changes when there is something new to try, which includes corrected test cases.
    pub(super) fn identity(&self) -> String {
        let cases = Sha256::digest(&self.cases);
        format!("{} {cases:x?}", self.script.version)
    }
}

/// Runs work that may block or take long on a separate thread.
async fn off_the_path<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.unwrap_or_else(|panic| panic!("BUG: checking the script panicked: {panic}"))
}

/// The versions seen by the checks of the file.
#[derive(Debug, Default)]
struct ScriptRead {
    /// Content at the last check.
    last: Option<String>,
    /// Content that was already handled: it ran before, or was loaded, refused or rolled back. It is not tried again
    /// until the file changes.
    settled: Option<String>,
    /// Why it could not be read at the last check.
    unreadable: Option<String>,
}

impl ScriptRead {
    /// Whether this content is new, and the same at two checks: then it is not being written at present.
    fn is_new(&mut self, version: &str) -> bool {
        let stands_still = self.last.replace(version.to_owned()).as_deref() == Some(version);
        if self.settled.as_deref() != Some(version) {
            self.settled = None;
        }
        let is_new = stands_still && self.settled.is_none();
        if is_new {
            self.settled = self.last.clone();
        }
        is_new
    }
}

/// Wakes the watch early: SIGHUP, which would end the program without a handler.
#[derive(Debug)]
pub(super) struct Wake(#[cfg(unix)] Option<tokio::signal::unix::Signal>);

impl Wake {
    /// Starts listening.
    #[cfg(unix)]
    pub(super) fn listen() -> Self {
        use tokio::signal::unix::{SignalKind, signal};

        Self(signal(SignalKind::hangup()).inspect_err(|error| warn!("cannot listen for SIGHUP: {error}")).ok())
    }

    /// There is no such signal.
    #[cfg(not(unix))]
    pub(super) fn listen() -> Self {
        Self()
    }

    /// Resolves when the signal arrives.
    pub(super) async fn comes(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.0
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }
}

#[cfg(test)]
pub(super) mod tests;
