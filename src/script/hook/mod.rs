//! Runs the script over the logs of a page.

pub(crate) mod current_log;
pub(crate) mod part;
mod run;
mod sandbox;
pub(crate) mod threads;
mod turns;

use std::time::Duration;

use mlua::state::{GcGenParams, GcIncParams, GcMode};
use mlua::{Function, Lua, Table, Value};

use super::diagnostics::error::{HookError, ScriptFault};
use super::engine::lua_stack::{Kept, Outcome, Stack};
use super::engine::memory::LuaState;
use super::engine::shared;
use super::engine::shared::Shared;
use super::engine::time_limit::{TimeLimit, computing};
use super::testing::{coverage, profile};
use super::values::state;
use super::values::state::KeptState;
use super::{Config, Script, stdlib};
use crate::core::batch::Events;
use crate::core::budget::Buffer;
use crate::core::cursor::ShardId;
use crate::core::event::Formats;
use crate::core::page::Page;
use crate::loggroup;
use crate::loggroup::PageError;
use current_log::LogIdentity;
use part::{Bounds, Failed, HookOutput};
use run::{Leave, PassEnd, Run};

mod turnover;

/// Loading a script may take this many times the limit for one log, because it may build tables for all logs.
const LOAD_TIMEOUT_FACTOR: u32 = 10;

/// New objects are collected when they have grown by this percentage of the memory that was in use. Nearly all of them are
/// garbage: the table, the text and the event of a log. Memory that is reused this soon is still in the processor's cache.
const GC_MINOR_PERCENT: i32 = 50;

/// Garbage of a large state is collected when memory use reaches this percentage of that after the last collection.
const GC_PAUSE_PERCENT: i32 = 400;

/// Limits of a small state with its garbage: a size in bytes, and a fraction of its memory limit.
const SMALL_STATE: usize = 2 << 20;
const SMALL_PART: usize = 16;

/// Maximum size of the events of one log, which is also limited by `script.memory`: the events of one log cannot be
/// delivered in parts, and must fit into memory.
const MAX_BYTES_OF_LOG: usize = 32 << 20;

/// Expected bytes of events for each byte of a page are counted in fractions of this. For the first page, a quarter
/// more than its size is expected, and never more than four times the size.
const GROWTH_OF_ONE: usize = 1024;
const FIRST_GROWTH: usize = GROWTH_OF_ONE / 4 * 5;
const MAX_GROWTH: usize = 4 * GROWTH_OF_ONE;

/// The origin of a hook's logs, as `process(log, meta)` sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// `meta.source`
    pub source: String,
    /// `meta.project`
    pub project: String,
    /// `meta.logstore`
    pub logstore: String,
    /// `meta.shard`
    pub shard: ShardId,
}

impl Meta {
    /// Its source and its number, as log lines name a shard.
    fn shard_name(&self) -> String {
        format!("{}/{}", self.source, self.shard)
    }
}

/// The cost of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// CPU time, from reading the log to its formatted events.
    pub time: Duration,
    /// Bytes allocated by the script; unknown for a log that broke a limit.
    pub memory: Option<usize>,
}

/// A loaded script with its state between logs. One per shard; it may move between threads.
pub struct Hook {
    script: Script,
    config: Config,
    formats: Formats,
    meta: Meta,
    /// A version that failed to load for this hook.
    refused: Option<String>,
    /// Used thread time of the shard, on the clock of [`turns::Turns`].
    used_to: Duration,
    /// For each destination, bytes of events for [`GROWTH_OF_ONE`] bytes of a page, according to the last page: memory
    /// for them is reserved at once.
    growth: Vec<usize>,
    /// `None` after a log broke a limit: the state is discarded.
    vm: Option<Vm>,
    current: Shared,
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hook")
            .field("script", &self.script.name)
            .field("version", &self.script.version)
            .field("meta", &self.meta)
            .finish_non_exhaustive()
    }
}

impl Hook {
    /// Compiles the script, runs its top level, which must define a function `process`, and then its `init`.
    ///
    /// # Errors
    /// The script is not valid Lua, its top level or `init` fails or breaks a limit, or there is no `process`.
    pub fn load(script: &Script, config: &Config, formats: impl Into<Formats>, meta: Meta) -> Result<Self, HookError> {
        Self::load_with(script, config, formats.into(), meta, None)
    }

    fn load_with(
        script: &Script,
        config: &Config,
        formats: Formats,
        meta: Meta,
        state: Option<&KeptState>,
    ) -> Result<Self, HookError> {
        let (script, config, current) = (script.clone(), config.clone(), Shared::default());
        let growth = vec![FIRST_GROWTH; formats.len()];
        let mut hook =
            Self { script, config, formats, meta, refused: None, used_to: Duration::ZERO, growth, vm: None, current };
        hook.current.get().most_bytes = most_bytes_of_log(&hook.config);
        hook.vm = Some(hook.build(state)?);
        Ok(hook)
    }

    /// The script that this hook runs.
    #[must_use]
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// Passes every log of the page to `process`, and formats the returned events. A log that the script fails on is
    /// listed and has no event; the others are not affected.
    ///
    /// # Errors
    /// The page itself cannot be read.
    pub fn run(&mut self, page: &Page) -> Result<HookOutput, PageError> {
        self.run_part(page, 0, &Bounds::NONE, &|| true)
    }

    /// The same from log number `from` on, until a bound is reached or the result is no longer wanted. A page is
    /// divided only if all of it can be decoded, so that no part of it is delivered repeatedly.
    ///
    /// # Errors
    /// As for [`Hook::run`].
    fn run_part(
        &mut self,
        page: &Page,
        from: u32,
        bounds: &Bounds,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<HookOutput, PageError> {
        let buffer = |growth: &usize| {
            let expected = if from == 0 { page.body.len().saturating_mul(*growth) / GROWTH_OF_ONE } else { 0 };
            let expected = expected.min(bounds.bytes);
            match &bounds.buffers {
                Some(buffers) => Events::from(buffers.empty(expected)),
                None => Events::from(Buffer::from(Vec::with_capacity(expected))),
            }
        };
        let mut made = HookOutput { outputs: self.growth.iter().map(buffer).collect(), ..HookOutput::default() };
        let ended = self.go_to(page, from).and_then(|()| self.run_on(page, Leave::new(bounds, is_wanted), &mut made));
        let is_last = match ended {
            Ok(PassEnd::Left | PassEnd::Broken) if from == 0 => loggroup::check(&page.body).map(|()| false),
            Ok(PassEnd::Left | PassEnd::Broken) => Ok(false),
            Ok(PassEnd::Done) => Ok(true),
            Err(error) => Err(error),
        };
        if !matches!(is_last, Ok(false)) {
            self.current.get().logs.close();
        }
        if from == 0 && matches!(is_last, Ok(true)) && !page.body.is_empty() {
            for (events, growth) in made.outputs.iter().zip(&mut self.growth) {
                let exact = events.bytes().len().saturating_mul(GROWTH_OF_ONE).div_ceil(page.body.len());
                // A little more, because pages differ.
                *growth = (exact + exact / 16).min(MAX_GROWTH);
            }
        }
        made.outputs.iter_mut().for_each(Events::shrink);
        made.is_last = is_last?;
        Ok(made)
    }

    /// Skips to log number `from` of the page, unless the last run stopped there.
    fn go_to(&mut self, page: &Page, from: u32) -> Result<(), PageError> {
        let logs = &mut self.current.get().logs;
        if from == 0 || !logs.is_at(&page.body, from) {
            logs.open(page.body.clone())?;
            for _ in 0..from {
                logs.read()?;
            }
        }
        Ok(())
    }

    fn run_on(&mut self, page: &Page, mut leave: Leave<'_>, made: &mut HookOutput) -> Result<PassEnd, PageError> {
        loop {
            let vm = match self.vm.take() {
                Some(vm) => Ok(vm),
                // Without the script's state, which the log may have left inconsistent or full.
                None => self.build(None),
            };
            let mut run = Run {
                script: &self.script,
                config: &self.config,
                formats: &self.formats,
                current: &mut self.current,
                page,
                leave: &mut leave,
                made,
            };
            let vm = match vm {
                Ok(vm) => vm,
                // Rare, because the version loaded before: for example, the top level sometimes takes longer.
                Err(error) => return run.fail_all(&error),
            };
            vm.set_collector(self.config.memory);
            // One protected entry into Lua for the whole page, and one protected call until a log fails.
            let ended = shared::visit(&vm.lua, (), |stack| run.all(stack))
                .expect("nothing outside of the protected calls raises an error");
            match ended {
                Ok(PassEnd::Broken) if leave.gives_up(made) => {
                    let is_over = self.current.get().logs.is_at_end();
                    return Ok(if is_over { PassEnd::Done } else { PassEnd::Broken });
                }
                Ok(PassEnd::Broken) => {}
                ended => {
                    vm.lua.trim();
                    self.vm = Some(vm);
                    return ended;
                }
            }
        }
    }

    /// As [`Hook::run`], with the cost. Earlier garbage is collected first, and that of the page is kept until its
    /// end, so that all allocations are counted.
    ///
    /// # Errors
    /// As for [`Hook::run`].
    pub fn measure(&mut self, page: &Page) -> Result<(HookOutput, Cost), PageError> {
        let tidy = |hook: &Self| hook.vm.as_ref().map(|vm| vm.lua.gc_collect());
        let used = |hook: &Self| hook.vm.as_ref().map(|vm| vm.lua.used());
        // The fixed cost of a page is subtracted.
        let empty = Page { body: bytes::Bytes::new(), ..page.clone() };
        let before = computing();
        self.run(&empty)?;
        let every = computing() - before;

        let _ = tidy(self);
        if let Some(vm) = &self.vm {
            vm.lua.gc_stop();
        }
        let (began, held) = (computing(), used(self));
        let made = self.run(page);
        let (ended, holds) = (computing(), used(self));
        if let Some(vm) = &self.vm {
            vm.lua.gc_restart();
        }
        let memory = held.zip(holds).map(|(held, holds)| holds.saturating_sub(held));
        let broken = |made: &HookOutput| {
            let breaks = |failed: &Failed| {
                matches!(failed.error.fault, ScriptFault::Timeout { .. } | ScriptFault::Memory { .. })
            };
            made.failed.iter().any(breaks)
        };
        made.map(|made| {
            let memory = memory.filter(|_| !broken(&made));
            (made, Cost { time: (ended - began).saturating_sub(every), memory })
        })
    }

    /// The globals, with the functions of those that are libraries.
    #[cfg(test)]
    pub(super) fn globals(&self) -> std::collections::BTreeMap<String, Vec<String>> {
        let functions = |library: &Table| {
            let functions = library.pairs::<String, Value>().filter_map(Result::ok);
            let mut names: Vec<_> = functions.filter(|(_, value)| value.is_function()).map(|(name, _)| name).collect();
            names.sort();
            names
        };
        let globals = &self.vm.as_ref().expect("a loaded state has it").globals;
        let all = globals.pairs::<String, Value>().map(Result::unwrap).filter(|(name, _)| name != "process");
        all.map(|(name, value)| {
            let sealed = value.as_table().and_then(Table::metatable);
            let library = sealed.and_then(|meta| meta.raw_get::<Table>("__index").ok());
            (name, library.as_ref().map(functions).unwrap_or_default())
        })
        .collect()
    }

    /// Sets the script's memory limit to this many bytes above its current use.
    #[cfg(test)]
    pub(super) fn limit_memory(&mut self, more: usize) {
        let lua = &self.vm.as_ref().expect("a loaded state has it").lua;
        lua.gc_collect().expect("the collector cannot fail");
        lua.set_limits(lua.used() + more, std::sync::Arc::default());
    }

    #[cfg(test)]
    pub(super) fn unlimit_memory(&mut self) {
        self.vm.as_ref().expect("a loaded state has it").lua.set_limits(self.config.memory, std::sync::Arc::default());
    }

    fn build(&mut self, state: Option<&KeptState>) -> Result<Vm, HookError> {
        let (parts, current) = ((&self.script, &self.config), &mut self.current);
        current.get().forget_kept();
        let vm = Vm::new(parts, current, state).and_then(|vm| vm.begin(&self.meta, parts, current).map(|()| vm));
        let vm = vm.map_err(|fault| self.script.error(fault, Some(self.current.get())))?;
        let current = self.current.get();
        current.meta = vm.wants_meta.then(|| LogIdentity {
            shard: self.meta.shard.0,
            source: self.meta.source.clone(),
            project: self.meta.project.clone(),
            logstore: self.meta.logstore.clone(),
            version: self.script.version.clone(),
            ..LogIdentity::default()
        });
        Ok(vm)
    }
}

/// A Lua state with the script loaded.
struct Vm {
    globals: Table,
    lua: LuaState,
    wants_meta: bool,
}

impl Vm {
    fn new(parts: (&Script, &Config), current: &mut Shared, state: Option<&KeptState>) -> Result<Self, ScriptFault> {
        let (script, config) = parts;
        let memory = || config.out_of_memory(script);
        // The only possible error here is too little memory for the libraries.
        let (lua, globals) = sandbox::build(current, config).map_err(|_| memory())?;
        stdlib::install(&lua, &globals, config)
            .and_then(|()| stdlib::modules::install(&lua, &globals, script))
            .and_then(|()| stdlib::lookup::install(&lua, &globals, script))
            .and_then(|()| sandbox::seal(&lua, &globals))
            .and_then(|()| state::install(&lua, &globals, state))
            .map_err(|_| memory())?;

        let chunk = lua
            .load(script.text.as_slice())
            .set_name(format!("@{}", script.name))
            .set_mode(mlua::chunk::ChunkMode::Text)
            .set_environment(globals.clone());
        let top_level = chunk.into_function().map_err(|error| match error {
            mlua::Error::SyntaxError { message, .. } => ScriptFault::Syntax(script.words(&message, None)),
            mlua::Error::MemoryError(_) => memory(),
            other => ScriptFault::Syntax(script.words(&other.to_string(), None)),
        })?;
        if let Some(fault) = script.foreign_constant() {
            return Err(fault);
        }
        call(&lua, &top_level, Value::Nil, parts, current, config.timeout * LOAD_TIMEOUT_FACTOR)?;

        let Ok(Value::Function(process)) = globals.raw_get("process") else {
            return Err(ScriptFault::NoProcess { script: script.name.clone() });
        };
        let parameters = shared::keep(&lua, Kept::PROCESS, Value::Function(process.clone()))
            .and_then(|()| shared::parameters(&lua, process))
            .map_err(|_| memory())?;
        Ok(Self { globals, lua, wants_meta: parameters > 1 })
    }

    /// Sets how garbage is collected, according to the size of the state. The generational collector sometimes visits a
    /// whole state in one step. A large state is collected in small steps, because a log may take only
    /// [`Config::timeout`].
    fn set_collector(&self, limit: usize) {
        let is_small = self.lua.used() <= SMALL_STATE.min(limit / SMALL_PART);
        self.lua.gc_set_mode(if is_small {
            GcMode::Generational(GcGenParams::default().minor_multiplier(GC_MINOR_PERCENT))
        } else {
            GcMode::Incremental(GcIncParams::default().pause(GC_PAUSE_PERCENT))
        });
    }
}

/// Maximum number of bytes of the events of one log.
pub(super) fn most_bytes_of_log(config: &Config) -> usize {
    config.memory.min(MAX_BYTES_OF_LOG)
}

/// Runs the script's top level, or a function without a log, under the limits.
fn call(
    lua: &Lua,
    function: &Function,
    argument: Value,
    (script, config): (&Script, &Config),
    current: &mut Shared,
    limit: Duration,
) -> Result<(), ScriptFault> {
    let run = |stack: Stack| {
        let watch = TimeLimit::start(stack, limit, Duration::MAX);
        let argument = stack.top();
        let function = argument - 1;
        coverage::arm(stack);
        profile::arm(stack);
        current.get().calls.clear();
        stack.push_kept(Kept::EXPLAIN);
        stack.push_copy(function);
        stack.push_copy(argument);
        watch.next();
        let outcome = current.call(stack, 1, argument + 1);
        let line = current.get().error_line;
        let ended = if watch.stopped() {
            let at = script.place_at(current.get());
            Err(ScriptFault::Timeout { at, limit })
        } else {
            match outcome {
                Outcome::Returned => Ok(()),
                Outcome::Raised => Err(ScriptFault::TopLevel(script.raised(stack, line))),
                Outcome::OutOfMemory => Err(config.out_of_memory(script)),
            }
        };
        stack.set_top(function - 1);
        ended
    };
    shared::visit(lua, (function, argument), run).unwrap_or_else(|_| Err(config.out_of_memory(script)))
}
