//! The environment and the machine in which the program was started.

use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::settings::{Environment, Machine, keys};

/// The settings file, from the flag or the environment, and the environment itself.
pub(crate) fn sources(config: Option<&Path>) -> (Option<PathBuf>, Environment) {
    let environment: Environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
    let from_environment = || environment.get(keys::CONFIG).filter(|path| !path.is_empty()).map(PathBuf::from);
    (config.map(Path::to_owned).or_else(from_environment), environment)
}

/// This machine, and the current time.
pub(crate) fn machine() -> Machine {
    Machine {
        hostname: gethostname::gethostname().to_string_lossy().into_owned(),
        pid: std::process::id(),
        cores: available_parallelism().map_or(1, usize::from),
        now: Timestamp::now(),
        home: std::env::home_dir(),
        zone: TimeZone::system(),
    }
}
