//! The settings: what a user types, and what the program uses.
//!
//! Each setting can be given as a flag, in the environment, or in a TOML file; the first of these wins, and then the
//! default holds. What was typed keeps its place; [`load`] turns it into [`Settings`], where every field means something, or
//! into a list of everything that is wrong.

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
mod problem;
mod raw;
mod read;
mod resolve;
mod sls;
mod source;
mod syslog;
mod typed;
mod units;
mod url;

use std::path::{Path, PathBuf};

pub use in_force::{InForce, WrittenIn};
use problem::Complaint;
pub use problem::{Problem, SettingsError};
pub use typed::{Environment, Flags};

pub use checked::{
    AdminListen, DeadLetterSettings, DeliverySettings, DestinationSettings, LogSettings, Machine, ReloadSettings,
    RunSettings, Settings, SourceScript, SourceSettings, TrialSettings,
};
pub use checked::{MOST_SOCKETS, socket_name};
pub use keys::LogFormat;

/// Reads the settings file, if there is one, and puts flags over environment over file over defaults.
///
/// Files that the settings name are opened once, to say now and not in an hour that they can't be read.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn load(
    config: Option<&Path>,
    flags: &Flags,
    environment: &Environment,
    machine: &Machine,
) -> Result<Settings, SettingsError> {
    let (typed, problems) = read(config, flags, environment)?;
    resolve::resolve(&typed, problems, machine)
}

/// The scripts and the destinations alone, for logs that are at hand: nothing about SLS needs to be given or right.
///
/// # Errors
/// Everything that is wrong with them, at once.
pub fn delivery(
    config: Option<&Path>,
    flags: &Flags,
    environment: &Environment,
    machine: &Machine,
) -> Result<DeliverySettings, SettingsError> {
    let (typed, problems) = read(config, flags, environment)?;
    resolve::delivery(&typed, problems, machine)
}

/// The script and what events look like, to try it: nothing needs to be given, and no file that is named is opened.
/// `to` names the one destination to lay events out for; without it all in the settings are meant, and HEC when there is none.
///
/// # Errors
/// Everything that is wrong with them, at once.
pub fn trial(
    config: Option<&Path>,
    to: Option<&str>,
    environment: &Environment,
    machine: &Machine,
) -> Result<TrialSettings, SettingsError> {
    let (typed, problems) = read(config, &Vec::new(), environment)?;
    resolve::trial(&typed, problems, to, machine)
}

/// The logstores and the places in them alone, to look at logs: the name of each source, how to reach it and where it starts.
///
/// # Errors
/// Everything that is wrong with them, at once.
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

/// The names of the sources alone, for whoever writes a policy and has no key yet.
///
/// # Errors
/// One is missing or wrong.
pub fn scopes(
    config: Option<&Path>,
    flags: &Flags,
    environment: &Environment,
) -> Result<Vec<crate::sls::rights::Scope>, SettingsError> {
    let (typed, _) = read(config, flags, environment)?;
    resolve::scopes(&typed)
}

/// A position, as `sls.start` takes it.
///
/// # Errors
/// What is wrong with it and what to write, in a sentence.
pub fn position(text: &str, machine: &Machine) -> Result<start::StartPosition, String> {
    start::parse(text, machine.now, &machine.zone).map_err(|Complaint { what, fix }| format!("{what}: {fix}"))
}

/// A time range in the past, from its first time to the first that is not in it any more: as `sls.start` and `sls.until` take
/// them.
///
/// # Errors
/// What is wrong with it and what to write, in a sentence.
pub fn range(from: &str, to: &str, machine: &Machine) -> Result<(start::StartPosition, start::StartPosition), String> {
    let said = |flag: &str, Complaint { what, fix }: Complaint| format!("--{flag}: {what}: {fix}");
    let from = start::parse(from, machine.now, &machine.zone).map_err(|complaint| said("from", complaint))?;
    let to = start::parse_past(to, &from, machine.now, &machine.zone).map_err(|complaint| said("to", complaint))?;
    Ok((from, to))
}

/// A size in bytes, of one byte or more.
///
/// # Errors
/// What to write.
pub fn size(text: &str) -> Result<usize, String> {
    let size = units::size(text).and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
    size.ok_or_else(|| "write a number with a unit, such as 500KB or 5MB".to_owned())
}

/// The directory of dead letters alone, for who only looks into them: nothing else needs to be given or right.
///
/// # Errors
/// The settings file can't be read, or what it says of the directory is wrong.
pub fn dead_letters_dir(config: Option<&Path>, environment: &Environment) -> Result<PathBuf, SettingsError> {
    let (typed, _) = read(config, &Vec::new(), environment)?;
    resolve::dead_letters_dir(&typed)
}

/// Where a process with these settings is asked how it does, and its state directory: nothing else needs to be given or right.
///
/// # Errors
/// The settings file can't be read, or what it says of them is wrong.
pub fn admin(config: Option<&Path>, environment: &Environment) -> Result<(AdminListen, PathBuf), SettingsError> {
    let (typed, _) = read(config, &Vec::new(), environment)?;
    resolve::admin(&typed)
}

/// The value of each setting and where it comes from, in the order of the documentation. Secrets are not shown.
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
