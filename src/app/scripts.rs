//! The scripts of the sources: one set of hooks for each file, whichever sources share it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::info;

use super::error::Error;
use super::last_good;
use super::last_good::Started;
use super::reload;
use super::reload::{Saved, ScriptWatch, Wake};
use crate::core::state_dir::StateDir;
use crate::script::{HookError, Hooks, Reloads, Script};

/// Every script that runs.
#[derive(Debug)]
pub(super) struct Scripts {
    running: Vec<Running>,
    /// The directory for the last good version of each.
    kept: StateDir,
    /// How many files there are.
    files: usize,
}

/// A script that runs.
#[derive(Debug)]
struct Running {
    path: PathBuf,
    hooks: Arc<Hooks>,
    /// The version in its file at the start, if it was refused.
    refused: Option<String>,
    /// The name under which its last good version is kept.
    kept_as: String,
}

impl Scripts {
    /// No scripts yet, for this many files.
    pub(super) fn new(kept: StateDir, files: usize) -> Self {
        Self { running: Vec::new(), kept, files }
    }

    /// The hooks of the script in this file, created at the first call.
    ///
    /// # Errors
    /// The script cannot be read or does not load.
    pub(super) fn hooks(
        &mut self,
        path: &Path,
        make: impl Fn(Script) -> Result<Hooks, HookError>,
    ) -> Result<Arc<Hooks>, Error> {
        if let Some(running) = self.running.iter().find(|running| running.path == path) {
            return Ok(Arc::clone(&running.hooks));
        }
        let file = Saved::read(path).map_err(Error::Settings)?;
        let kept_as = last_good::name((self.files > 1).then(|| short_hash(path)).as_deref());
        let Started { hooks, refused } = last_good::start(file, &self.kept, &kept_as, make)?;
        let script = hooks.script();
        info!(script = %script.name, version = %script.version, "script loaded");
        let hooks = Arc::new(hooks);
        self.running.push(Running { path: path.to_owned(), hooks: Arc::clone(&hooks), refused, kept_as });
        Ok(hooks)
    }

    /// A handle to read their state.
    pub(super) fn watch(&self) -> ScriptsWatch {
        ScriptsWatch(self.running.iter().map(|running| Arc::clone(&running.hooks)).collect())
    }

    /// Watches their files, and keeps good versions for the next start.
    pub(super) fn follow(self, force: bool, side: &mut JoinSet<()>) {
        for Running { path, hooks, refused, kept_as } in self.running {
            let watch = ScriptWatch { path, interval: reload::POLL_INTERVAL, force, refused };
            let (watched, wake) = (Arc::clone(&hooks), Wake::listen());
            side.spawn(async move { watch.run(&watched, wake).await });
            let kept = self.kept.clone();
            side.spawn(async move { last_good::keep(&hooks, kept, &kept_as).await });
        }
    }
}

/// Reads the state of the running scripts.
#[derive(Debug)]
pub(super) struct ScriptsWatch(Vec<Arc<Hooks>>);

/// The state of all scripts as a whole.
#[derive(Debug)]
pub(super) struct ScriptHealth {
    /// The running versions, in the order of the sources.
    pub(super) version: String,
    /// Since when they run, all of them.
    pub(super) since: Instant,
    /// The results of other versions.
    pub(super) reloads: Reloads,
    /// When a version was refused last, and why.
    pub(super) last_refused: Option<(Instant, String)>,
}

impl ScriptsWatch {
    /// The sum over all scripts. If there are several, a problem names its script.
    pub(super) fn sum(&self) -> ScriptHealth {
        let named = |hooks: &Hooks, why: String| match self.0.len() {
            1 => why,
            _ => format!("{}: {why}", hooks.script().name),
        };
        let versions: Vec<String> = self.0.iter().map(|hooks| hooks.script().version.clone()).collect();
        let since = self.0.iter().map(|hooks| hooks.since()).max();
        let mut reloads = Reloads::default();
        for hooks in &self.0 {
            let Reloads { taken, refused, rolled_back, trouble } = hooks.reloads();
            reloads.taken += taken;
            reloads.refused += refused;
            reloads.rolled_back += rolled_back;
            reloads.trouble = reloads.trouble.or_else(|| trouble.map(|why| named(hooks, why)));
        }
        let refused = self.0.iter().filter_map(|hooks| hooks.last_refused().map(|(at, why)| (at, named(hooks, why))));
        ScriptHealth {
            version: versions.join(", "),
            since: since.unwrap_or_else(Instant::now),
            reloads,
            last_refused: refused.max_by_key(|(at, _)| *at),
        }
    }
}

/// Distinguishes files with the same name.
fn short_hash(path: &Path) -> String {
    let hash = Sha256::digest(path.as_os_str().as_encoded_bytes());
    hash[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}
