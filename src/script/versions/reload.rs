//! Loads and runs the hooks of all shards, and replaces their script while they run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::error;

pub use super::probation::Rules;
pub use super::trial::{Dried, Figures, Passed, Refused, Trial};

use super::probation::Probation;
use super::samples::Samples;
use crate::core::event::Formats;
use crate::script::hook::most_bytes_of_log;
use crate::script::{Config, Hook, HookError, HookPanic, HookRun, HookThreads, Meta, Script, Stretch};

/// One script for all shards; each shard has its own hook.
pub struct Hooks {
    /// The running version. Locked once per page, only to copy the pointer.
    script: watch::Sender<Arc<Script>>,
    config: Config,
    pub(crate) formats: Formats,
    /// The origin of logs that have none, in a trial.
    meta: Meta,
    /// Without threads a hook runs on the calling task: in a simulation, whose clock must not advance meanwhile.
    threads: Option<Arc<HookThreads>>,
    samples: Samples,
    /// Locked briefly once per page. `script` may be locked while this is locked, never the other way round.
    history: Mutex<History>,
}

/// The history of the running version, and its probation.
#[derive(Debug)]
struct History {
    /// When the running version was loaded.
    since: Instant,
    reloads: Reloads,
    /// The last refusal.
    refused: Option<(Instant, String)>,
    probation: Probation,
    /// The last good version before the running one.
    previous: Option<Arc<Script>>,
    /// The version that was rolled back last.
    rolled_back: Option<String>,
}

/// Counts of the versions of the script since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reloads {
    /// Versions that were loaded, except the first.
    pub taken: u64,
    /// Versions that were refused.
    pub refused: u64,
    /// Versions that were loaded and then rolled back because they failed.
    pub rolled_back: u64,
    /// The current problem with the script's file, and why the running version differs from its content.
    pub trouble: Option<String>,
}

impl Hooks {
    /// Hooks of `script` whose events are formatted by `formats`. Loads one, for `meta`, to check that the script
    /// loads.
    ///
    /// # Errors
    /// The script does not load.
    pub fn new(script: Script, config: Config, formats: impl Into<Formats>, meta: Meta) -> Result<Self, HookError> {
        let script = watch::Sender::new(Arc::new(script));
        let history = History {
            since: Instant::now(),
            reloads: Reloads::default(),
            refused: None,
            probation: Probation::new(Rules::default()),
            previous: None,
            rolled_back: None,
        };
        let (samples, history) = (Samples::default(), Mutex::new(history));
        let (formats, threads) = (formats.into(), None);
        let hooks = Self { script, config, formats, meta, threads, samples, history };
        hooks.load(hooks.meta.clone())?;
        Ok(hooks)
    }

    /// Replaces the rules for a rollback. To be called before the first page is run.
    #[must_use]
    pub fn with_rules(self, rules: Rules) -> Self {
        self.history().probation = Probation::new(rules);
        self
    }

    /// Runs the hooks on these threads, which several scripts may share.
    #[must_use]
    pub fn with_threads(mut self, threads: impl Into<Arc<HookThreads>>) -> Self {
        self.threads = Some(threads.into());
        self
    }

    /// The running version.
    #[must_use]
    pub fn script(&self) -> Arc<Script> {
        Arc::clone(&self.script.borrow())
    }

    /// Waits until the running version differs from this one.
    pub async fn differs_from(&self, version: &str) {
        let mut running = self.script.subscribe();
        let changed = running.wait_for(|script| script.version != version).await;
        drop(changed.expect("the sender is part of the hooks"));
    }

    /// When it was loaded.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.history().since
    }

    /// Time and reason of the last refusal, even if a later version was accepted.
    #[must_use]
    pub fn last_refused(&self) -> Option<(Instant, String)> {
        self.history().refused.clone()
    }

    /// The counts of versions so far.
    #[must_use]
    pub fn reloads(&self) -> Reloads {
        self.history().reloads.clone()
    }

    /// A trial of another version, to run before [`put_in_force`](Self::put_in_force).
    #[must_use]
    pub fn trial(&self, script: Script) -> Trial {
        let samples = self.samples.read();
        let shard = samples.last().map_or(self.meta.shard, |page| page.shard);
        let (config, formats) = (self.config.clone(), self.formats.clone());
        Trial { script, in_force: self.script(), config, formats, meta: Meta { shard, ..self.meta.clone() }, samples }
    }

    /// Loads another version: every shard uses it from its next batch on.
    pub fn put_in_force(&self, passed: Passed, now: Instant) {
        let mut history = self.history();
        let before = self.exchange(Arc::new(passed.script));
        if history.probation.begin(now) || history.previous.is_none() {
            history.previous = Some(before);
        }
        history.since = now;
        history.reloads.taken += 1;
        history.reloads.trouble = None;
    }

    /// Records that a version is not loaded.
    pub fn refuse(&self, refused: &Refused, now: Instant) {
        let mut history = self.history();
        history.refused = Some((now, refused.to_string()));
        history.reloads.refused += 1;
        history.reloads.trouble = Some(refused.to_string());
    }

    /// Records the current problem with the script's file, or that there is none.
    pub fn say(&self, trouble: Option<String>) {
        self.history().reloads.trouble = trouble;
    }

    /// Maximum number of bytes of the events of one log.
    #[must_use]
    pub fn most_bytes_of_log(&self) -> usize {
        most_bytes_of_log(&self.config)
    }

    /// A hook for a shard, with a new Lua state.
    ///
    /// # Errors
    /// The script does not load: the result of its top level may vary.
    pub fn load(&self, meta: Meta) -> Result<Hook, HookError> {
        Hook::load(&self.script(), &self.config, self.formats.clone(), meta)
    }

    /// The same, on one of the threads: the script's top level and `init` may use the CPU for a second, and must not
    /// block other tasks.
    ///
    /// # Errors
    /// The program itself failed; or, in the inner result, the script does not load.
    pub async fn begin(&self, meta: Meta) -> Result<Result<Hook, HookError>, HookPanic> {
        let Some(threads) = &self.threads else { return Ok(self.load(meta)) };
        let (script, config, formats) = (self.script(), self.config.clone(), self.formats.clone());
        threads.load(move || Hook::load(&script, &config, formats, meta)).await
    }

    /// Runs a hook over a page, or a part of it, with the running version, so that one version processes each batch.
    /// If a version that loaded at the reload does not load now, the hook keeps its version.
    ///
    /// If the result shows that a new version must be rolled back, the part is run again with the previous version.
    ///
    /// # Errors
    /// The program itself failed; the hook is lost.
    pub async fn run(&self, hook: Hook, stretch: Stretch) -> Result<HookRun, HookPanic> {
        let (from, bounds) = (stretch.from, stretch.bounds.clone());
        let ran = self.run_once(hook, stretch).await?;
        let HookRun { hook, made: Ok((batch, failed)) } = ran else { return Ok(ran) };
        if from == 0 {
            self.samples.keep(&batch.page);
        }
        if self.has_to_go(&hook.script().version, batch.logs, failed.len()) {
            return self.run_once(hook, Stretch { page: batch.page, from, bounds }).await;
        }
        Ok(HookRun { hook, made: Ok((batch, failed)) })
    }

    async fn run_once(&self, hook: Hook, stretch: Stretch) -> Result<HookRun, HookPanic> {
        let script = self.script();
        let newer = hook.is_older_than(&script).then_some(script);
        match &self.threads {
            Some(threads) => threads.run(hook, newer, stretch).await,
            None => Ok(HookRun::of(hook, newer.as_deref(), stretch, &|| true)),
        }
    }

    /// Counts a version's result for a page. Returns whether the version was rolled back, by this page or an earlier
    /// one.
    fn has_to_go(&self, version: &str, logs: u32, failed: usize) -> bool {
        let mut history = self.history();
        if history.rolled_back.as_deref() == Some(version) {
            return failed > 0;
        }
        if self.script().version != version {
            return false;
        }
        let now = Instant::now();
        let Some(share) = history.probation.saw(now, logs, failed) else { return false };
        let Some(previous) = history.previous.take() else { return false };
        let why = format!(
            "version {version} of the script fails on {share}, the one before did not: version {} runs again until the file changes",
            previous.version
        );
        error!(bad = version, in_force = %previous.version, "SCRIPT ROLLED BACK: {why}");
        self.exchange(previous);
        history.since = now;
        history.rolled_back = Some(version.to_owned());
        history.reloads.rolled_back += 1;
        history.reloads.trouble = Some(why);
        true
    }

    fn exchange(&self, script: Arc<Script>) -> Arc<Script> {
        self.script.send_replace(script)
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let script = self.script();
        f.debug_struct("Hooks").field("script", &script.name).field("version", &script.version).finish()
    }
}

#[cfg(test)]
pub(super) mod tests;
