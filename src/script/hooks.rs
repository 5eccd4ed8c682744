//! What loads and runs the hooks of all shards.

use std::sync::Arc;

use super::{Config, Hook, HookError, HookPanic, HookThreads, Meta, Ran, Script};
use crate::event::Format;
use crate::model::{Page, ShardId};

/// One script for all shards; each has a hook of its own.
pub struct Hooks {
    script: Script,
    config: Config,
    pub(super) format: Arc<dyn Format>,
    project: String,
    logstore: String,
    /// Without threads a hook runs where it is asked for: in a simulation, whose clock must not run on meanwhile.
    threads: Option<HookThreads>,
}

impl Hooks {
    /// Hooks of `script` whose events are laid out by `format`. Loads one to see whether it can be loaded.
    ///
    /// # Errors
    /// The script does not load.
    pub fn new(
        script: Script,
        config: Config,
        format: Arc<dyn Format>,
        (project, logstore): (&str, &str),
        threads: Option<HookThreads>,
    ) -> Result<Self, HookError> {
        let hooks =
            Self { script, config, format, project: project.to_owned(), logstore: logstore.to_owned(), threads };
        hooks.load(ShardId(0))?;
        Ok(hooks)
    }

    /// The script.
    #[must_use]
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// A hook for a shard, with a fresh Lua state.
    ///
    /// # Errors
    /// The script does not load: its top level may depend on the moment.
    pub fn load(&self, shard: ShardId) -> Result<Hook, HookError> {
        let meta = Meta { project: self.project.clone(), logstore: self.logstore.clone(), shard };
        Hook::load(&self.script, &self.config, Arc::clone(&self.format), meta)
    }

    /// Runs a hook over a page.
    ///
    /// # Errors
    /// The program itself failed; the hook is gone.
    pub async fn run(&self, mut hook: Hook, page: Page) -> Result<Ran, HookPanic> {
        match &self.threads {
            Some(threads) => threads.run(hook, page).await,
            None => {
                let made = hook.run(&page);
                Ok(Ran { hook, page, made })
            }
        }
    }
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hooks").field("script", &self.script.name).field("version", &self.script.version).finish()
    }
}
