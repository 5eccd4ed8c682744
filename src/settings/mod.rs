//! The settings: the typed values, and the validated values that the program uses.
//!
//! Each setting can be given as a flag, in the environment, or in a TOML file; the first of these wins, otherwise the
//! default applies. Typed values keep their place; [`load`] converts them to [`Settings`], where all fields are
//! validated, or to a list of all problems.

pub mod keys;
pub mod start;

mod checked;
mod content;
mod credentials;
mod destination;
mod file;
mod hec;
mod in_force;
mod lists;
mod own_file;
mod problem;
mod raw;
mod read;
mod resolve;
mod sls;
mod source;
mod source_names;
mod syslog;
mod typed;
mod units;
mod url;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::core::{env_proxy, named_file};
pub use in_force::{InForce, WrittenIn};
use problem::Complaint;
pub use problem::{Problem, SettingsError};
pub use source_names::SourceNames;
pub use typed::{Environment, Flags};

pub use checked::{
    AdminListen, DeadLetterSettings, DeliverySettings, DestinationSettings, LogSettings, Machine, ReloadSettings,
    RunSettings, Settings, SourceScript, SourceSettings, TrialSettings,
};
pub use checked::{MAX_SOCKETS, socket_name};
pub use keys::LogFormat;

/// Reads the settings file, if there is one. Flags override the environment, which overrides the file, which
/// overrides the defaults.
///
/// Files that the settings name are opened once, so that unreadable files are reported at the start.
///
/// # Errors
/// All problems.
pub fn load(
    config: Option<&Path>,
    flags: &Flags,
    environment: &Environment,
    machine: &Machine,
) -> Result<Settings, SettingsError> {
    let (typed, problems) = read(config, flags, environment)?;
    let mut settings = resolve::resolve(&typed, problems, machine)?;
    settings.warnings.extend(replaceable(config));
    settings.warnings.extend(proxy_warnings(environment));
    Ok(settings)
}

/// Only the scripts and the destinations, for existing logs: settings of SLS may be missing or wrong.
///
/// # Errors
/// All their problems.
pub fn delivery(
    config: Option<&Path>,
    flags: &Flags,
    environment: &Environment,
    machine: &Machine,
) -> Result<DeliverySettings, SettingsError> {
    let (typed, problems) = read(config, flags, environment)?;
    let mut settings = resolve::delivery(&typed, problems, machine)?;
    settings.warnings.extend(replaceable(config));
    settings.warnings.extend(proxy_warnings(environment));
    Ok(settings)
}

/// Only the script and the formats, to try the script: all settings are optional, and no named file is opened. `to`
/// selects one destination; the default is all in the settings, or HEC if there is none.
///
/// # Errors
/// All their problems.
pub fn trial(
    config: Option<&Path>,
    to: Option<&str>,
    environment: &Environment,
    machine: &Machine,
) -> Result<TrialSettings, SettingsError> {
    let (typed, problems) = read(config, &Vec::new(), environment)?;
    resolve::trial(&typed, problems, to, machine)
}

/// Only the logstores and positions, to read logs: the name of each source, how to reach it and where it starts.
///
/// # Errors
/// All their problems.
pub fn places(
    config: Option<&Path>,
    flags: &Flags,
    environment: &Environment,
    machine: &Machine,
) -> Result<Vec<(String, crate::sls::Config, start::StartPosition)>, SettingsError> {
    let (typed, problems) = read(config, flags, environment)?;
    let places = resolve::places(&typed, problems, machine)?;
    Ok(places.into_iter().map(|place| (place.name, place.sls, place.start)).collect())
}

/// Only the names of the sources, for a policy, before there is a key.
///
/// # Errors
/// All their problems.
pub fn scopes(
    config: Option<&Path>,
    flags: &Flags,
    environment: &Environment,
) -> Result<Vec<crate::sls::permissions::Scope>, SettingsError> {
    let (typed, problems) = read(config, flags, environment)?;
    resolve::scopes(&typed, problems)
}

/// A position in the form of `sls.start`.
///
/// # Errors
/// The problem and the fix, in a sentence.
pub fn position(text: &str, machine: &Machine) -> Result<start::StartPosition, String> {
    start::parse(text, machine.now, &machine.zone).map_err(|Complaint { what, fix }| format!("{what}: {fix}"))
}

/// A time range in the past, with an inclusive start and an exclusive end, in the form of `sls.start` and
/// `sls.until`.
///
/// # Errors
/// The problem and the fix, in a sentence.
pub fn range(from: &str, to: &str, machine: &Machine) -> Result<(start::StartPosition, start::StartPosition), String> {
    let in_words = |flag: &str, Complaint { what, fix }: Complaint| format!("--{flag}: {what}: {fix}");
    let from = start::parse(from, machine.now, &machine.zone).map_err(|complaint| in_words("from", complaint))?;
    let to = start::parse_past(to, &from, machine.now, &machine.zone).map_err(|complaint| in_words("to", complaint))?;
    Ok((from, to))
}

/// A size in bytes, of one byte or more.
///
/// # Errors
/// The expected form.
pub fn size(text: &str) -> Result<usize, String> {
    let size = units::size(text).and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
    size.ok_or_else(|| "write a number with a unit, such as 500KB or 5MB".to_owned())
}

/// Only the directory of dead letters, for commands that only read them: other settings may be missing or wrong. With
/// the problems of the others, which may be meant for it.
///
/// # Errors
/// The settings file can't be read, or its directory is wrong.
pub fn dead_letters_dir(
    config: Option<&Path>,
    environment: &Environment,
) -> Result<(PathBuf, Vec<Problem>), SettingsError> {
    let (typed, problems) = read(config, &Vec::new(), environment)?;
    Ok((resolve::dead_letters_dir(&typed)?, problems))
}

/// The address or socket at which a process with these settings serves its status, and its state directory: other
/// settings may be missing or wrong. With the problems of the others, which may be meant for them.
///
/// # Errors
/// The settings file can't be read, or these settings are wrong.
pub fn admin(
    config: Option<&Path>,
    environment: &Environment,
) -> Result<(AdminListen, PathBuf, Vec<Problem>), SettingsError> {
    let (typed, problems) = read(config, &Vec::new(), environment)?;
    let (listen, state) = resolve::admin(&typed)?;
    Ok((listen, state, problems))
}

/// The value and origin of each setting, in the order of the documentation. Secrets are not shown.
///
/// # Errors
/// The settings file can't be read, or is not TOML.
pub fn in_force(
    config: Option<&Path>,
    flags: &Flags,
    environment: &Environment,
) -> Result<Vec<InForce>, SettingsError> {
    let (typed, _) = read(config, flags, environment)?;
    Ok(in_force::of(&typed))
}

/// A warning if others can replace the settings file.
fn replaceable(config: Option<&Path>) -> Option<String> {
    let config = config?;
    named_file::replaceable(config).map(|why| format!("{} is trusted: {why}", config.display()))
}

/// The value may have a password, so it is not shown.
fn proxy_warnings(environment: &Environment) -> impl Iterator<Item = String> {
    let value = |name: &str| environment.get(name).map(OsString::as_os_str);
    env_proxy::malformed(value).map(|name| {
        format!(
            "the environment variable {name} is not the URL of an HTTP proxy and is not used: write it as \
             http://proxy.example:3128, or unset it"
        )
    })
}

fn read(
    config: Option<&Path>,
    flags: &Flags,
    environment: &Environment,
) -> Result<(typed::Typed, Vec<Problem>), SettingsError> {
    let mut typed = typed::Typed::new(config);
    typed.put_flags(flags);
    let mut problems = typed.put_environment(environment);
    if let Some(path) = config {
        let in_file = file::read(path, &mut typed).map_err(|problems| SettingsError { problems })?;
        problems.extend(in_file);
    }
    problems.extend(lists::take(&mut typed));
    Ok((typed, problems))
}
