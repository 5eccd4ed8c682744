//! What loads and runs the hooks of all shards, and gives them a new script while they run.

use std::sync::{Arc, PoisonError, RwLock};

use tracing::warn;

use super::{Config, Hook, HookError, HookPanic, HookThreads, Meta, Ran, Script};
use crate::event::Format;
use crate::model::{Page, ShardId};

/// One script for all shards; each has a hook of its own.
pub struct Hooks {
    /// The version in force. Locked to take the pointer, once a page.
    script: RwLock<Arc<Script>>,
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
        let (project, logstore) = (project.to_owned(), logstore.to_owned());
        let script = RwLock::new(Arc::new(script));
        let hooks = Self { script, config, format, project, logstore, threads };
        hooks.load(ShardId(0))?;
        Ok(hooks)
    }

    /// The version in force.
    #[must_use]
    pub fn script(&self) -> Arc<Script> {
        Arc::clone(&self.script.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another version in force, if it loads: every shard takes it up with its next page.
    ///
    /// # Errors
    /// It does not load; the version in force stays.
    pub fn replace(&self, script: Script) -> Result<(), HookError> {
        let script = Arc::new(script);
        self.load_version(&script, ShardId(0))?;
        *self.script.write().unwrap_or_else(PoisonError::into_inner) = script;
        Ok(())
    }

    /// A hook for a shard, with a fresh Lua state.
    ///
    /// # Errors
    /// The script does not load: its top level may depend on the moment.
    pub fn load(&self, shard: ShardId) -> Result<Hook, HookError> {
        self.load_version(&self.script(), shard)
    }

    fn load_version(&self, script: &Script, shard: ShardId) -> Result<Hook, HookError> {
        let meta = Meta { project: self.project.clone(), logstore: self.logstore.clone(), shard };
        Hook::load(script, &self.config, Arc::clone(&self.format), meta)
    }

    /// Runs a hook over a page: the version in force, so that one page is one version's work. A version that loaded when
    /// it was put in force and does not load now leaves the hook with the one it has.
    ///
    /// # Errors
    /// The program itself failed; the hook is gone.
    pub async fn run(&self, mut hook: Hook, page: Page) -> Result<Ran, HookPanic> {
        let script = self.script();
        if hook.script().version != script.version {
            match self.load_version(&script, page.shard) {
                Ok(newer) => hook = newer,
                Err(fault) => warn!(shard = %page.shard, "keeps the script it has: {fault}"),
            }
        }
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
        let script = self.script();
        f.debug_struct("Hooks").field("script", &script.name).field("version", &script.version).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use prost::Message as _;

    use super::*;
    use crate::event::{Body, BodyError, Head};
    use crate::model::Cursor;
    use crate::sls::proto::{Log, LogGroup, LogGroupList};

    struct Text;

    impl Format for Text {
        fn write(&self, _: &Head<'_>, body: &mut dyn Body, out: &mut Vec<u8>) -> Result<(), BodyError> {
            body.text(b"", out)
        }
    }

    fn hooks(text: &str) -> Hooks {
        let config = Config { timeout: Duration::from_secs(1), memory: 16 << 20, vars: toml::Table::new() };
        Hooks::new(Script::from_text("s.lua", text), config, Arc::new(Text), ("p", "l"), None).unwrap()
    }

    fn page() -> Page {
        let group = LogGroup { logs: vec![Log::default()], ..LogGroup::default() };
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
        }
    }

    async fn sent(hooks: &Hooks, hook: Hook) -> (Hook, String) {
        let ran = hooks.run(hook, page()).await.unwrap();
        let events = ran.made.unwrap().events;
        (ran.hook, String::from_utf8_lossy(events.bytes()).into_owned())
    }

    #[tokio::test]
    async fn a_new_version_is_taken_up_with_the_next_page() {
        let hooks = hooks("function process() return 'old' end");
        let (hook, text) = sent(&hooks, hooks.load(ShardId(1)).unwrap()).await;
        assert_eq!(text, "old");
        hooks.replace(Script::from_text("s.lua", "function process() return 'new' end")).unwrap();
        assert_eq!(sent(&hooks, hook).await.1, "new");
    }

    #[tokio::test]
    async fn a_version_that_does_not_load_changes_nothing() {
        let hooks = hooks("function process() return 'old' end");
        let before = hooks.script();
        for broken in ["function process(", "error('no')", "x = 1"] {
            hooks.replace(Script::from_text("s.lua", broken)).unwrap_err();
        }
        assert_eq!(hooks.script(), before);
        assert_eq!(sent(&hooks, hooks.load(ShardId(1)).unwrap()).await.1, "old");
    }
}
