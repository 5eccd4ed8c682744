//! The hook: a Lua script that turns each log into events.
//!
//! ```text
//! Page ──▶ Logs ──▶ log, a table that stays in the page ──process(log)──▶ what it returned ──▶ Format ──▶ Events
//! ```
//!
//! * [`Script`] is the text with the files that it names, [`Hook`] a loaded script with its own Lua state.
//! * `sandbox` lists the globals of a script, `time_limit` stops a script that takes too long.
//! * `log` and `json` are the two kinds of tables that cost nothing until a script reads them.
//! * `returned` checks the returned value, `write` writes it.
//! * [`HookError`] has the error and its place; `excerpt`, `hint` and `render` add the line, the remedy and the layout.
//! * [`Sample`] is a log written by a user, [`cases`] are the tests beside a script, [`coverage`] what they ran,
//!   [`profile`] what each line takes.
//!
//! Only `engine` uses the Lua library. Unsafe code is there, behind safe functions, and in `stdlib::patterns`.

mod diagnostics;
mod engine;
mod hook;
mod output;
pub(crate) mod pattern;
mod source;
pub(crate) mod stdlib;
pub mod testing;
mod types;
mod values;
mod versions;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use diagnostics::error::{Called, HookError, ScriptFault, ScriptLocation};
pub use diagnostics::hint::{negated_comparison, returns_nothing, unused_drop};
pub use diagnostics::render::{Beside, Paint};
// For `bench`, which needs the emulators.
#[cfg(feature = "emulator")]
pub(crate) use engine::time_limit::computing;
pub use engine::total_memory::TotalMemory;
pub use hook::part::{Begins, Bounds, Failed, GivesUp, HookOutput, Stretch};
pub use hook::threads::{HookPanic, HookRun, HookThreads, NotMade, UnreadablePage};
pub use hook::{Cost, Hook, Meta};
pub use output::passthrough::PassedOn;
pub use source::files::Files;
pub(crate) use source::files::drop_mark;
pub use source::{MAX_TEXT, Script};
pub use testing::sample::{Sample, SampleError};
pub use testing::{cases, coverage, profile};
pub use types::TYPES;
pub use versions::reload::{Dried, Figures, Hooks, Passed, Refused, Reloads, Rules, Trial};

/// The limits of a script, and its settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Time limit for one log: CPU time, not wall time.
    pub timeout: Duration,
    /// Memory limit of one VM, in bytes.
    pub memory: usize,
    /// The memory of all VMs together.
    pub total: Arc<TotalMemory>,
    /// `[script.vars]` of the settings: the global `settings` of the script.
    pub vars: toml::Table,
}

impl Config {
    /// The script needed more memory than it may have.
    fn out_of_memory(&self, script: &Script) -> ScriptFault {
        let (limit, total) = (self.memory, self.total.limit());
        ScriptFault::Memory { script: script.name.clone(), limit, total }
    }
}
