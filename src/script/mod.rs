//! The hook: a Lua script that turns each log into events.

mod pattern;
mod stdlib;

use std::time::Duration;

/// What a script may use, and what it may see of the settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Longest time for one log.
    pub timeout: Duration,
    /// Most memory for one VM, in bytes.
    pub memory: usize,
    /// `[script.vars]` of the settings: the global `settings` of the script.
    pub vars: toml::Table,
}
