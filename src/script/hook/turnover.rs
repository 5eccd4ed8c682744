//! The start and end of a hook: `init`, `shutdown`, and the change of versions.

use mlua::Value;
use tracing::warn;

use super::{Hook, LOAD_TIMEOUT_FACTOR, Vm, call};
use crate::script::diagnostics::error::{HookError, ScriptFault};
use crate::script::engine::shared::Shared;
use crate::script::values::state;
use crate::script::values::state::KeptState;
use crate::script::{Config, Meta, Script};

impl Hook {
    /// Whether the hook should change to this version: it is a different one, and did not fail to load here.
    pub(in crate::script) fn is_older_than(&self, script: &Script) -> bool {
        self.script.version != script.version && self.refused.as_ref() != Some(&script.version)
    }

    /// Replaces this hook by one of another version, with the state that both versions declare. A version that does
    /// not load changes nothing: it loaded at the reload, but the result of its top level may vary.
    pub(in crate::script) fn take_up(&mut self, script: &Script) {
        match self.successor(script) {
            // The old version is dropped here, and shuts down.
            Ok(next) => *self = next,
            Err(fault) => {
                warn!(shard = %self.meta.shard_name(), in_force = %self.script.version, "keeps the script it has: {fault}");
                self.refused = Some(script.version.clone());
            }
        }
    }

    fn successor(&self, script: &Script) -> Result<Self, HookError> {
        let load = |state: Option<&KeptState>| {
            Self::load_with(script, &self.config, self.formats.clone(), self.meta.clone(), state)
        };
        let shard = self.meta.shard_name();
        match self.vm.as_ref().map(|vm| state::read(&vm.globals)) {
            Some(Ok(Some(state))) => match load(Some(&state)) {
                Ok(next) if next.vm.as_ref().is_some_and(|vm| state.is_wanted(&vm.globals)) => return Ok(next),
                Ok(_) => {}
                Err(fault) => warn!(%shard, "the script does not load with the state that was kept: {fault}"),
            },
            Some(Err(why)) => warn!(%shard, "the script's state cannot be kept: {why}"),
            Some(Ok(None)) | None => {}
        }
        load(None)
    }
}

/// Also runs the script's `shutdown`. A state broken by a log is discarded without it.
impl Drop for Hook {
    fn drop(&mut self) {
        let Some(vm) = self.vm.take() else { return };
        if std::thread::panicking() {
            return;
        }
        if let Ok(Value::Function(shutdown)) = vm.globals.raw_get("shutdown") {
            let limit = self.config.timeout;
            let ended = call(&vm.lua, &shutdown, Value::Nil, (&self.script, &self.config), &mut self.current, limit);
            if let Err(fault) = ended {
                let why = match fault {
                    ScriptFault::TopLevel(raised) => raised,
                    limit => limit.to_string(),
                };
                warn!(shard = %self.meta.shard_name(), version = %self.script.version, "the script's shutdown failed: {why}");
            }
        }
    }
}

impl Vm {
    /// Calls the script's `init(meta)`, if it has one.
    pub(super) fn begin(
        &self,
        meta: &Meta,
        parts: (&Script, &Config),
        current: &mut Shared,
    ) -> Result<(), ScriptFault> {
        let (script, config) = parts;
        let memory = |_| config.out_of_memory(script);
        let Ok(Value::Function(init)) = self.globals.raw_get::<Value>("init") else { return Ok(()) };
        let argument = self.meta_table(meta, script).map_err(memory)?;
        call(&self.lua, &init, argument, parts, current, config.timeout * LOAD_TIMEOUT_FACTOR)
    }

    fn meta_table(&self, meta: &Meta, script: &Script) -> mlua::Result<Value> {
        let table = self.lua.create_table()?;
        table.raw_set("source", meta.source.as_str())?;
        table.raw_set("project", meta.project.as_str())?;
        table.raw_set("logstore", meta.logstore.as_str())?;
        table.raw_set("shard", meta.shard.0)?;
        table.raw_set("version", script.version.as_str())?;
        Ok(Value::Table(table))
    }
}
