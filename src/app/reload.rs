//! Watches the script's file, and puts what was saved in force if it passes the gates.
//!
//! The truth is the content, read every two seconds: editors, git and Kubernetes replace files in many ways, and all of
//! them end in other content under the same name. A signal only makes the watch look sooner.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use crate::script::{HookError, Hooks, Passed, Refused, Script, Tests, Trial};

/// Time between two looks at the file.
pub(super) const POLL: Duration = Duration::from_secs(2);

/// What is watched, and how.
pub(super) struct Watch {
    /// The script's file.
    pub(super) path: PathBuf,
    /// Time between two looks at it.
    pub(super) interval: Duration,
    /// Puts a version in force whatever it makes of the last logs.
    pub(super) force: bool,
    /// The test cases beside the script.
    pub(super) tests: Option<Arc<Tests>>,
}

impl Watch {
    /// Never returns.
    pub(super) async fn run(self, hooks: &Hooks, mut wake: Wake) {
        let mut reading = Reading::of(&hooks.script().version);
        loop {
            tokio::select! {
                () = sleep(self.interval) => {}
                () = wake.comes() => info!("SIGHUP: looking at the script"),
            }
            self.look(hooks, &mut reading).await;
        }
    }

    async fn look(&self, hooks: &Hooks, reading: &mut Reading) {
        let path = self.path.clone();
        // A file may lie on a network that hangs.
        let read: Result<Script, HookError> = off_the_path(move || Script::read(&path)).await;
        let script = match read {
            Ok(script) => script,
            Err(fault) => {
                if !std::mem::replace(&mut reading.is_unreadable, true) {
                    let why = format!("the script can't be read, the version in force stays: {fault}");
                    warn!("{why}");
                    hooks.say(Some(why));
                }
                return;
            }
        };
        let is_back = std::mem::take(&mut reading.is_unreadable);
        let in_force = hooks.script();
        if script.version == in_force.version && (reading.is_new(&script.version) || is_back) {
            info!(version = %in_force.version, "the script's file is back at the version in force");
            hooks.say(None);
        } else if script.version != in_force.version && reading.is_new(&script.version) {
            self.try_out(hooks, hooks.trial(script), &in_force.version).await;
        }
    }

    async fn try_out(&self, hooks: &Hooks, trial: Trial, was: &str) {
        let version = trial.version().to_owned();
        let (tests, force) = (self.tests.clone(), self.force);
        let tried: Result<Passed, Refused> = off_the_path(move || trial.run(tests.as_deref(), force)).await;
        match tried {
            Ok(passed) => {
                let (dried, tests) = (passed.dried, passed.tests.clone().unwrap_or_else(|| "none".to_owned()));
                hooks.put_in_force(passed, Instant::now());
                info!(%version, was, tests, "script reloaded, every shard takes it up with its next page; {dried}");
            }
            Err(refused) => {
                error!(version, in_force = was, "script refused, the version in force stays: {refused}");
                hooks.refuse(&refused);
            }
        }
    }
}

/// Runs what may block or compute for long on a thread of its own.
async fn off_the_path<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.unwrap_or_else(|panic| panic!("looking at the script failed: {panic}"))
}

/// What the looks at the file have seen.
#[derive(Debug)]
struct Reading {
    /// Content of the last look.
    last: Option<String>,
    /// Content that needs no more looking into until the file changes: it was put in force, refused or taken back.
    settled: Option<String>,
    is_unreadable: bool,
}

impl Reading {
    fn of(in_force: &str) -> Self {
        Self { last: None, settled: Some(in_force.to_owned()), is_unreadable: false }
    }

    /// Whether this content is new, and has stood still for two looks: then it is not being written just now.
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

/// What makes the watch look before its time: SIGHUP, which would end the program if nobody listened.
#[derive(Debug)]
pub(super) struct Wake(#[cfg(unix)] Option<tokio::signal::unix::Signal>);

impl Wake {
    /// Begins to listen.
    #[cfg(unix)]
    pub(super) fn listen() -> Self {
        use tokio::signal::unix::{SignalKind, signal};

        Self(signal(SignalKind::hangup()).inspect_err(|error| warn!("SIGHUP can't be listened to: {error}")).ok())
    }

    /// There is no such signal.
    #[cfg(not(unix))]
    pub(super) fn listen() -> Self {
        Self()
    }

    async fn comes(&mut self) {
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
mod tests;
