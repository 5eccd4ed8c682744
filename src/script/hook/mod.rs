//! Runs a script over the logs of a page.

pub(crate) mod current_log;
mod sandbox;
pub(crate) mod threads;

use std::time::Duration;

use mlua::state::{GcIncParams, GcMode};
use mlua::{Function, Lua, Table, Value};

use super::diagnostics::error::{HookError, ScriptFault};
use super::engine::lua_stack::{Hidden, Outcome, REGISTRY, Stack};
use super::engine::shared;
use super::engine::shared::Shared;
use super::engine::time_limit::{TimeLimit, computing};
use super::output::returned;
use super::testing::coverage;
use super::values::state;
use super::values::state::KeptState;
use super::{Config, Script, stdlib};
use crate::core::batch::Events;
use crate::core::cursor::ShardId;
use crate::core::event::Formats;
use crate::core::page::Page;
use crate::loggroup::PageError;
use current_log::{Current, LogIdentity};

mod turnover;

/// Loading a script may take this many times what one log may: it may build tables that serve all logs.
const LOAD_TIMEOUT_FACTOR: u32 = 10;

/// The engine collects its garbage when it has this many percent of the memory that was left in use the time before. Its
/// own 200 are thrifty: a script's state is small, and the garbage of each log is soon as much as that.
const GC_PAUSE_PERCENT: i32 = 400;

/// Where the logs of a hook come from, as `process(log, meta)` sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// `meta.project`
    pub project: String,
    /// `meta.logstore`
    pub logstore: String,
    /// `meta.shard`
    pub shard: ShardId,
}

/// What a hook made of a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    /// The events, laid out for each destination, in their order.
    pub outputs: Vec<Events>,
    /// Logs in the page.
    pub logs: u32,
    /// Logs of which no event was to be made.
    pub dropped: u32,
    /// Logs that the script failed on; none of them has an event.
    pub failed: Vec<Failed>,
}

impl Made {
    /// The events for the first destination.
    ///
    /// # Panics
    /// When the hook has no format.
    #[must_use]
    pub fn events(&self) -> &Events {
        self.outputs.first().expect("a hook has a format for each destination, and there is one")
    }
}

/// A log that the script failed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Which log of the page, from 0.
    pub log: u32,
    /// Why.
    pub error: HookError,
}

/// What a log took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Computing, from reading the log to its laid out events.
    pub time: Duration,
    /// Bytes that the script asked for; not known of a log that broke a limit.
    pub memory: Option<usize>,
}

/// A script, loaded, with the state that it keeps between logs. One per shard; it may move between threads.
pub struct Hook {
    script: Script,
    config: Config,
    formats: Formats,
    meta: Meta,
    /// A version that did not load here.
    refused: Option<String>,
    /// None after a log broke a limit: what it left behind is thrown away with the state.
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
    /// The script is no Lua, its top level or `init` fails or breaks a limit, or there is no `process`.
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
        let mut hook = Self { script, config, formats, meta, refused: None, vm: None, current };
        hook.current.get().most_bytes = hook.config.memory;
        hook.vm = Some(hook.build(state)?);
        Ok(hook)
    }

    /// The script that this hook runs.
    #[must_use]
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// Hands every log of the page to `process`, and lays out what it returns. A log that the script fails on is listed
    /// and has no event; the others are not touched by it.
    ///
    /// # Errors
    /// The page itself cannot be read.
    pub fn run(&mut self, page: &Page) -> Result<Made, PageError> {
        let mut made = Made { outputs: vec![Events::default(); self.formats.len()], ..Made::default() };
        made.outputs.iter_mut().for_each(|events| events.reserve(page.body.len() / 4 * 5));
        self.current.get().logs.open(page.body.clone())?;
        let end = loop {
            let vm = match self.vm.take() {
                Some(vm) => Ok(vm),
                // Without the script's state: the log may have left it half changed, or filled it.
                None => self.build(None),
            };
            match vm {
                Ok(vm) => match self.run_logs(&vm, page, &mut made) {
                    Ok(Ended::Done) => {
                        self.vm = Some(vm);
                        break Ok(());
                    }
                    Ok(Ended::Broken) => {}
                    Err(error) => {
                        self.vm = Some(vm);
                        break Err(error);
                    }
                },
                // It loaded before, so this is rare: a top level that takes longer on some days.
                Err(error) => break self.fail_the_rest(&error, &mut made),
            }
        };
        self.current.get().logs.close();
        end.map(|()| made)
    }

    /// As [`Hook::run`], and what it took. The garbage of before is collected first, and that of the page is kept until
    /// its end, so that all it asked for is counted.
    ///
    /// # Errors
    /// As for [`Hook::run`].
    pub fn measure(&mut self, page: &Page) -> Result<(Made, Cost), PageError> {
        let tidy = |hook: &Self| hook.vm.as_ref().map(|vm| vm.lua.gc_collect());
        let used = |hook: &Self| hook.vm.as_ref().map(|vm| vm.lua.used_memory());
        // What every page costs is taken off: only the logs are of interest.
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
        let broken = |made: &Made| {
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
        let globals = &self.vm.as_ref().expect("it is loaded").globals;
        let all = globals.pairs::<String, Value>().map(Result::unwrap).filter(|(name, _)| name != "process");
        all.map(|(name, value)| {
            let sealed = value.as_table().and_then(Table::metatable);
            let library = sealed.and_then(|meta| meta.raw_get::<Table>("__index").ok());
            (name, library.as_ref().map(functions).unwrap_or_default())
        })
        .collect()
    }

    /// Leaves the script only so many more bytes than it has in use.
    #[cfg(test)]
    pub(super) fn limit_memory(&mut self, more: usize) {
        let lua = &self.vm.as_ref().expect("it is loaded").lua;
        lua.gc_collect().expect("the collector cannot fail");
        lua.set_memory_limit(lua.used_memory() + more).expect("this engine has limits");
    }

    #[cfg(test)]
    pub(super) fn unlimit_memory(&mut self) {
        let lua = &self.vm.as_ref().expect("it is loaded").lua;
        lua.set_memory_limit(self.config.memory).expect("this engine has limits");
    }

    fn build(&mut self, state: Option<&KeptState>) -> Result<Vm, HookError> {
        let (parts, current) = ((&self.script, &self.config), &mut self.current);
        let vm = Vm::new(parts, current, state).and_then(|vm| vm.begin(&self.meta, parts, current).map(|()| vm));
        let vm = vm.map_err(|fault| self.script.error(fault, Some(self.current.get())))?;
        let current = self.current.get();
        current.meta = vm.wants_meta.then(|| LogIdentity {
            shard: self.meta.shard.0,
            project: self.meta.project.clone(),
            logstore: self.meta.logstore.clone(),
            version: self.script.version.clone(),
            ..LogIdentity::default()
        });
        Ok(vm)
    }

    fn fail_the_rest(&mut self, error: &HookError, made: &mut Made) -> Result<(), PageError> {
        while self.current.get().logs.read()?.is_some() {
            let log = made.logs;
            made.logs += 1;
            made.failed.push(Failed { log, error: error.clone() });
        }
        Ok(())
    }

    /// One protected entry into Lua for the whole page, one protected call per log.
    fn run_logs(&mut self, vm: &Vm, page: &Page, made: &mut Made) -> Result<Ended, PageError> {
        let mut run = Run {
            script: &self.script,
            config: &self.config,
            formats: &self.formats,
            current: &mut self.current,
            page,
            made,
        };
        shared::visit(&vm.lua, (), |stack| run.all(stack))
            .expect("nothing outside of the protected calls raises an error")
    }
}

enum Ended {
    Done,
    /// A log broke a limit, and the state with it.
    Broken,
}

/// One pass over the logs of a page.
struct Run<'a> {
    script: &'a Script,
    config: &'a Config,
    formats: &'a Formats,
    current: &'a mut Shared,
    page: &'a Page,
    made: &'a mut Made,
}

impl Run<'_> {
    fn all(&mut self, stack: Stack) -> Result<Ended, PageError> {
        if !stack.reserve(64) {
            return self.fail_one();
        }
        let watch = TimeLimit::start(stack, self.config.timeout);
        coverage::arm(stack);
        let explain = stack.top() + 1;
        for key in [Hidden::EXPLAIN, Hidden::CALL, Hidden::PROCESS, Hidden::LOG] {
            stack.push_hidden(REGISTRY, key);
        }
        let base = stack.top();
        loop {
            let current = self.current.get();
            if current.logs.read()?.is_none() {
                return Ok(Ended::Done);
            }
            current.begin();
            tell_place(current, self.page);
            let log = self.made.logs;
            self.made.logs += 1;
            watch.next();
            for part in explain + 1..=base {
                stack.push_copy(part);
            }
            let outcome = self.current.call(stack, 2, explain);
            let stopped = watch.stopped();
            let mut fault = self.judge(stack, outcome, stopped, log).err();
            if watch.stopped() {
                fault = Some(self.out_of_time());
            }
            let error = fault.map(|fault| self.script.error(fault, Some(self.current.get())));
            self.tidy(stack, base);
            if let Some(error) = error {
                let broken = matches!(error.fault, ScriptFault::Timeout { .. } | ScriptFault::Memory { .. });
                self.made.outputs.iter_mut().for_each(|events| events.drop_of_last(log));
                self.made.failed.push(Failed { log, error });
                if broken {
                    return Ok(Ended::Broken);
                }
            } else if !self.made.outputs.iter().any(|events| events.has_of_last(log)) {
                self.made.dropped += 1;
            }
        }
    }

    /// There is not even the memory to begin with a log.
    fn fail_one(&mut self) -> Result<Ended, PageError> {
        if self.current.get().logs.read()?.is_none() {
            return Ok(Ended::Done);
        }
        let fault = ScriptFault::Memory { script: self.script.name.clone(), limit: self.config.memory };
        self.made.failed.push(Failed { log: self.made.logs, error: self.script.error(fault, None) });
        self.made.logs += 1;
        Ok(Ended::Broken)
    }

    /// Makes events of what the call left on top of the stack, or says what is wrong with it.
    fn judge(&mut self, stack: Stack, outcome: Outcome, stopped: bool, log: u32) -> Result<(), ScriptFault> {
        let current = self.current.get();
        if stopped {
            return Err(self.out_of_time());
        }
        match outcome {
            Outcome::OutOfMemory => {
                Err(ScriptFault::Memory { script: self.script.name.clone(), limit: self.config.memory })
            }
            Outcome::Raised => Err(ScriptFault::Runtime(self.script.raised(stack, current.error_line))),
            Outcome::Returned => returned::push_events(stack, current, self.formats, log, &mut self.made.outputs)
                .map_err(|error| ScriptFault::BadReturn { script: self.script.name.clone(), error: Box::new(error) }),
        }
    }

    fn out_of_time(&mut self) -> ScriptFault {
        ScriptFault::Timeout { at: self.script.place_at(self.current.get()), limit: self.config.timeout }
    }

    /// Forgets the log: its table is of no use from now on, and what was assigned to its fields is garbage.
    fn tidy(&mut self, stack: Stack, base: std::ffi::c_int) {
        stack.set_top(base);
        let current = self.current.get();
        current.table = 0;
        if current.touched() {
            stack.push_hidden(REGISTRY, Hidden::VALUES);
            let values = stack.top();
            for position in current.changed() {
                stack.clear_item(values, position as i64 + 1);
            }
            stack.pop(1);
        }
    }
}

fn tell_place(current: &mut Current, page: &Page) {
    if current.meta.is_none() {
        return;
    }
    let place = current.log().place(page);
    if let Some(meta) = &mut current.meta {
        meta.id = place.to_string();
        meta.cursor = place.cursor;
        meta.index = place.index;
    }
}

/// A Lua state with the script loaded.
struct Vm {
    globals: Table,
    lua: Lua,
    wants_meta: bool,
}

impl Vm {
    fn new(parts: (&Script, &Config), current: &mut Shared, state: Option<&KeptState>) -> Result<Self, ScriptFault> {
        let (script, config) = parts;
        let memory = || ScriptFault::Memory { script: script.name.clone(), limit: config.memory };
        // A state that cannot even hold its libraries has too little memory; nothing else can go wrong here.
        let (lua, globals) = sandbox::build(current, config.memory).map_err(|_| memory())?;
        lua.gc_set_mode(GcMode::Incremental(GcIncParams::default().pause(GC_PAUSE_PERCENT)));
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
        call(&lua, &top_level, Value::Nil, parts, current, config.timeout * LOAD_TIMEOUT_FACTOR)?;

        let Ok(Value::Function(process)) = globals.raw_get("process") else {
            return Err(ScriptFault::NoProcess { script: script.name.clone() });
        };
        let parameters = shared::store(&lua, Hidden::PROCESS, Value::Function(process.clone()))
            .and_then(|()| shared::parameters(&lua, process))
            .map_err(|_| memory())?;
        Ok(Self { globals, lua, wants_meta: parameters > 1 })
    }
}

/// Runs the script's top level, or a function of it that no log is for, under the limits.
fn call(
    lua: &Lua,
    function: &Function,
    argument: Value,
    (script, config): (&Script, &Config),
    current: &mut Shared,
    limit: Duration,
) -> Result<(), ScriptFault> {
    let run = |stack: Stack| {
        let watch = TimeLimit::start(stack, limit);
        let argument = stack.top();
        let function = argument - 1;
        coverage::arm(stack);
        current.get().calls.clear();
        stack.push_hidden(REGISTRY, Hidden::EXPLAIN);
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
                Outcome::OutOfMemory => Err(ScriptFault::Memory { script: script.name.clone(), limit: config.memory }),
            }
        };
        stack.set_top(function - 1);
        ended
    };
    shared::visit(lua, (function, argument), run)
        .unwrap_or_else(|_| Err(ScriptFault::Memory { script: script.name.clone(), limit: config.memory }))
}
