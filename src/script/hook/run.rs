//! One pass over the logs of a page with one Lua state.

use std::fmt::Write as _;
use std::time::Duration;

use super::current_log::Current;
use super::part::{Bounds, Failed, HookOutput};
use crate::core::event::Formats;
use crate::core::page::Page;
use crate::loggroup::PageError;
use crate::script::diagnostics::error::ScriptFault;
use crate::script::engine::calls::{Calls, call_each};
use crate::script::engine::lua_stack::{Kept, Outcome, Stack};
use crate::script::engine::shared::Shared;
use crate::script::engine::time_limit::{TimeLimit, computing};
use crate::script::output::returned;
use crate::script::testing::{coverage, profile};
use crate::script::{Config, HookError, Script};

/// How a pass ended.
pub(super) enum PassEnd {
    /// At the end of the page.
    Done,
    /// A bound was reached.
    Left,
    /// A log broke a limit, and the state with it.
    Broken,
}

/// The bounds, and the progress towards them.
pub(super) struct Leave<'a> {
    bounds: &'a Bounds,
    /// Whether the caller still waits for the result.
    is_wanted: &'a dyn Fn() -> bool,
    /// The thread's CPU time at which the time is up.
    until: Duration,
    /// Bytes of the errors so far.
    errors: usize,
}

impl<'a> Leave<'a> {
    pub(super) fn new(bounds: &'a Bounds, is_wanted: &'a dyn Fn() -> bool) -> Self {
        Self { bounds, is_wanted, until: computing().saturating_add(bounds.time), errors: 0 }
    }

    /// Counts an error.
    fn failed(&mut self, failed: &Failed) {
        self.errors = self.errors.saturating_add(failed.weight());
    }

    /// Whether a bound is reached. Called between logs, so it reads no clock.
    #[inline]
    fn has_enough(&self, made: &HookOutput) -> bool {
        let events: usize = made.outputs.iter().map(|events| events.bytes().len()).sum();
        events.saturating_add(self.errors) >= self.bounds.bytes || !(self.is_wanted)()
    }

    /// The same after a log that broke a limit, which was expensive.
    pub(super) fn gives_up(&self, made: &HookOutput) -> bool {
        let failed = u32::try_from(made.failed.len()).unwrap_or(u32::MAX);
        self.has_enough(made)
            || computing() >= self.until
            || self.bounds.gives_up.as_ref().is_some_and(|gives_up| gives_up(made.logs, failed))
    }
}

/// One pass over the logs of a page.
pub(super) struct Run<'a, 'b> {
    pub(super) script: &'a Script,
    pub(super) config: &'a Config,
    pub(super) formats: &'a Formats,
    pub(super) current: &'a mut Shared,
    pub(super) page: &'a Page,
    pub(super) leave: &'a mut Leave<'b>,
    pub(super) made: &'a mut HookOutput,
}

impl Run<'_, '_> {
    /// Processes all logs from the reader's position on.
    pub(super) fn all(&mut self, stack: Stack) -> Result<PassEnd, PageError> {
        if !stack.reserve(64) {
            return self.fail_one();
        }
        let left = self.leave.until.saturating_sub(computing());
        let watch = TimeLimit::start(stack, self.config.timeout, left);
        coverage::arm(stack);
        profile::arm(stack);
        let explain = stack.top() + 1;
        for what in [Kept::EXPLAIN, Kept::CALL, Kept::PROCESS, Kept::LOG] {
            stack.push_kept(what);
        }
        let base = stack.top();
        let mut calls = RunCalls { run: self, watch, log: None, ended: None };
        loop {
            let outcome = call_each(stack, explain, &mut calls);
            // Without `ended`, an error ended the calls: an error of the log, or too little memory to begin a log.
            if calls.ended.is_none() {
                match calls.log {
                    Some(_) => calls.settle(stack, outcome),
                    None => return calls.run.fail_one(),
                }
            }
            if let Some(ended) = calls.ended.take() {
                return ended;
            }
            stack.set_top(base);
        }
    }

    /// Fails all logs, as far as there is room for the errors: the script no longer loads.
    pub(super) fn fail_all(&mut self, error: &HookError) -> Result<PassEnd, PageError> {
        loop {
            let logs = &mut self.current.get().logs;
            let Some(log) = logs.read()? else { return Ok(PassEnd::Done) };
            let log = log.index();
            self.made.logs += 1;
            self.fail(log, error.clone());
            if self.leave.has_enough(self.made) && !self.current.get().logs.is_at_end() {
                return Ok(PassEnd::Left);
            }
        }
    }

    /// Fails one log, because there is not enough memory to begin it.
    fn fail_one(&mut self) -> Result<PassEnd, PageError> {
        let Some(log) = self.current.get().logs.read()? else { return Ok(PassEnd::Done) };
        let log = log.index();
        let fault = self.config.out_of_memory(self.script);
        self.made.logs += 1;
        self.fail(log, self.script.error(fault, None));
        Ok(PassEnd::Broken)
    }

    fn fail(&mut self, log: u32, error: HookError) {
        let failed = Failed { log, error };
        self.leave.failed(&failed);
        self.made.failed.push(failed);
    }

    /// Formats events from the result on top of the stack, or returns the fault; or the reason why the log is
    /// dropped, if the script gives one.
    fn judge<'lua>(
        &mut self,
        stack: Stack<'lua>,
        outcome: Outcome,
        stopped: bool,
        log: u32,
    ) -> Result<Option<&'lua [u8]>, ScriptFault> {
        let current = self.current.get();
        if stopped {
            return Err(self.out_of_time());
        }
        match outcome {
            Outcome::OutOfMemory => Err(self.config.out_of_memory(self.script)),
            Outcome::Raised => Err(ScriptFault::Runtime(self.script.raised(stack, current.error_line))),
            Outcome::Returned => returned::push_events(stack, current, self.formats, log, &mut self.made.outputs)
                .map_err(|error| ScriptFault::BadReturn { script: self.script.name.clone(), error: Box::new(error) }),
        }
    }

    fn out_of_time(&mut self) -> ScriptFault {
        ScriptFault::Timeout { at: self.script.place_at(self.current.get()), limit: self.config.timeout }
    }

    /// Cleans up after the log: its table becomes stale, and the values assigned to its fields become garbage.
    fn tidy(&mut self, stack: Stack) {
        let current = self.current.get();
        current.table = 0;
        let mut assigned = current.assigned().peekable();
        if assigned.peek().is_some() {
            stack.push_kept(Kept::VALUES);
            let values = stack.top();
            for position in assigned {
                stack.clear_item(values, position as i64 + 1);
            }
            stack.pop(1);
        }
    }
}

/// The work before and after each call of `process`.
struct RunCalls<'r, 'a, 'b, 'lua> {
    run: &'r mut Run<'a, 'b>,
    watch: TimeLimit<'lua>,
    /// The log that `process` was called with, until its events are formatted.
    log: Option<u32>,
    ended: Option<Result<PassEnd, PageError>>,
}

impl Calls for RunCalls<'_, '_, '_, '_> {
    fn begin(&mut self) -> bool {
        let current = self.run.current.get();
        match current.logs.read() {
            Ok(Some(_)) => {}
            Ok(None) => {
                self.ended = Some(Ok(PassEnd::Done));
                return false;
            }
            Err(error) => {
                self.ended = Some(Err(error));
                return false;
            }
        }
        current.begin();
        tell_place(current, self.run.page);
        self.log = Some(current.log().index());
        self.run.made.logs += 1;
        self.watch.next();
        true
    }

    fn returned(&mut self, stack: Stack<'_>) -> bool {
        self.settle(stack, Outcome::Returned);
        self.ended.is_none()
    }
}

impl RunCalls<'_, '_, '_, '_> {
    /// Formats the events of the log, or records its error; then checks whether a bound is reached.
    fn settle(&mut self, stack: Stack, outcome: Outcome) {
        let Some(log) = self.log.take() else { return };
        let (run, watch) = (&mut *self.run, &self.watch);
        let stopped = watch.stopped();
        let (reason, mut fault) = match run.judge(stack, outcome, stopped, log) {
            Ok(reason) => (reason, None),
            Err(fault) => (None, Some(fault)),
        };
        if watch.stopped() {
            fault = Some(run.out_of_time());
        }
        let error = fault.map(|fault| run.script.error(fault, Some(run.current.get())));
        run.tidy(stack);
        if let Some(error) = error {
            let broken = matches!(error.fault, ScriptFault::Timeout { .. } | ScriptFault::Memory { .. });
            run.made.outputs.iter_mut().for_each(|events| events.drop_of_last(log));
            run.fail(log, error);
            if broken {
                self.ended = Some(Ok(PassEnd::Broken));
                return;
            }
        } else if !run.made.outputs.iter().any(|events| events.has_of_last(log)) {
            run.made.dropped += 1;
            if let Some(reason) = reason {
                run.made.drop_reasons.add(reason, 1);
            }
        }
        if (watch.is_due() || run.leave.has_enough(run.made)) && !run.current.get().logs.is_at_end() {
            self.ended = Some(Ok(PassEnd::Left));
        }
    }
}

fn tell_place(current: &mut Current, page: &Page) {
    if current.meta.is_none() {
        return;
    }
    let place = current.log().place(page);
    if let Some(meta) = &mut current.meta {
        // Two logstores can have shards and cursors with the same number.
        meta.id.clear();
        let _ = write!(meta.id, "{}/{}/{place}", meta.project, meta.logstore);
        meta.cursor = place.cursor;
        meta.index = place.index;
    }
}
