//! Converts typed settings to [`Settings`], and checks related settings together.

use std::path::PathBuf;
use std::sync::Arc;

use super::checked::{
    AdminListen, DeadLetterSettings, DeliverySettings, DestinationSettings, LogSettings, Machine, ReloadSettings,
    RunSettings, Settings, TrialSettings,
};
use super::destination::{read_destinations, read_formats};
use super::keys;
use super::problem::{Complaint, Problem, SettingsError};
use super::read::Reader;
use super::source::{Place, read_places, read_scopes, read_source_scripts, read_sources, refuse_unused_logstore};
use super::typed::Typed;
use crate::script;
use crate::script::TotalMemory;

/// Reads every setting, and returns settings only if there are no problems.
pub(super) fn resolve(typed: &Typed, problems: Vec<Problem>, machine: &Machine) -> Result<Settings, SettingsError> {
    let mut reader = Reader::new(typed, problems);
    let sources = read_sources(&mut reader, machine);
    let hook = read_hook(&mut reader, typed);
    let reload = read_reload(&mut reader);
    let destinations = read_destinations(&mut reader, machine);
    let dead_letters = read_dead_letters(&mut reader, destinations.as_deref());
    let state_dir = reader.get(&keys::state::DIR);
    let parts = (
        sources,
        hook,
        reload,
        destinations,
        dead_letters,
        state_dir,
        read_run(&mut reader, machine),
        read_log(&mut reader),
    );
    let admin = read_admin(&mut reader);
    let warnings = reader.take_warnings();
    let problems = reader.into_problems();
    match parts {
        (
            Some(sources),
            Some(hook),
            Some(reload),
            Some(destinations),
            Some(dead_letters),
            Some(state_dir),
            Some(run),
            Some(log),
        ) if problems.is_empty() => {
            Ok(Settings { sources, hook, reload, destinations, dead_letters, state_dir, run, log, admin, warnings })
        }
        _ => Err(SettingsError { problems }),
    }
}

fn read_hook(reader: &mut Reader<'_>, typed: &Typed) -> Option<script::Config> {
    let timeout = reader.get(&keys::script::TIMEOUT);
    let (memory, total) = (reader.get(&keys::script::MEMORY), reader.get(&keys::script::TOTAL_MEMORY));
    let total = Arc::new(TotalMemory::new(total?));
    Some(script::Config { timeout: timeout?, memory: memory?, total, vars: typed.vars.clone() })
}

fn read_reload(reader: &mut Reader<'_>) -> Option<ReloadSettings> {
    let force = reader.get(&keys::script::FORCE_RELOAD);
    let share = reader.get(&keys::script::ROLLBACK_SHARE);
    let within = reader.get(&keys::script::ROLLBACK_WITHIN);
    let last_good = reader.get(&keys::script::LAST_GOOD);
    let rules = script::Rules { share: share?, within: within? };
    Some(ReloadSettings { force: force?, rules, last_good: last_good? })
}

/// Reads only the settings to deliver existing logs, without sources.
pub(super) fn delivery(
    typed: &Typed,
    problems: Vec<Problem>,
    machine: &Machine,
) -> Result<DeliverySettings, SettingsError> {
    let mut reader = Reader::new(typed, problems);
    let parts =
        (read_source_scripts(&mut reader), read_hook(&mut reader, typed), read_destinations(&mut reader, machine));
    let warnings = reader.take_warnings();
    let problems = reader.into_problems();
    match parts {
        ((script, sources), Some(hook), Some(destinations)) if problems.is_empty() => {
            Ok(DeliverySettings { script, sources, hook, destinations, warnings })
        }
        _ => Err(SettingsError { problems }),
    }
}

/// Reads only the settings to try a script.
pub(super) fn trial(
    typed: &Typed,
    problems: Vec<Problem>,
    to: Option<&str>,
    machine: &Machine,
) -> Result<TrialSettings, SettingsError> {
    let mut reader = Reader::new(typed, problems);
    refuse_unused_logstore(&mut reader);
    let script = reader.get(&keys::script::FILE);
    let hook = read_hook(&mut reader, typed);
    let formats = read_formats(to, &mut reader, machine);
    let problems = reader.into_problems();
    match (hook, formats) {
        (Some(hook), Some(formats)) if problems.is_empty() => Ok(TrialSettings { script, hook, formats }),
        _ => Err(SettingsError { problems }),
    }
}

/// Reads only the sources.
pub(super) fn places(typed: &Typed, problems: Vec<Problem>, machine: &Machine) -> Result<Vec<Place>, SettingsError> {
    let mut reader = Reader::new(typed, problems);
    let places = read_places(&mut reader, machine);
    let problems = reader.into_problems();
    places.filter(|_| problems.is_empty()).ok_or(SettingsError { problems })
}

/// Reads only the names that permissions refer to.
pub(super) fn scopes(
    typed: &Typed,
    problems: Vec<Problem>,
) -> Result<Vec<crate::sls::permissions::Scope>, SettingsError> {
    let mut reader = Reader::new(typed, problems);
    let scopes = read_scopes(&mut reader);
    let problems = reader.into_problems();
    scopes.filter(|_| problems.is_empty()).ok_or(SettingsError { problems })
}

/// Reads only the directory of dead letters.
pub(super) fn dead_letters_dir(typed: &Typed) -> Result<PathBuf, SettingsError> {
    let mut reader = Reader::new(typed, Vec::new());
    let dir = reader.get(&keys::dead_letters::DIR);
    dir.ok_or_else(|| SettingsError { problems: reader.into_problems() })
}

fn read_dead_letters(
    reader: &mut Reader<'_>,
    destinations: Option<&[DestinationSettings]>,
) -> Option<DeadLetterSettings> {
    let on_error = reader.get(&keys::script::ON_ERROR);
    let dir = reader.get(&keys::dead_letters::DIR);
    let max_bytes = reader.get(&keys::dead_letters::MAX_SIZE);
    let max_share = reader.get(&keys::dead_letters::MAX_SHARE);
    let to = reader.parse(&keys::dead_letters::TO, |text| {
        let known: Vec<&str> = destinations.unwrap_or_default().iter().map(|one| one.name.as_str()).collect();
        let complaint = || {
            let what = format!("no destination is called {text:?}");
            Complaint::new(what, format!("write one of {}", known.join(", ")))
        };
        match destinations {
            Some(all) => {
                all.iter().find(|one| one.name.as_str() == text).map(|one| Some(one.name.clone())).ok_or_else(complaint)
            }
            // Its problems are already reported.
            None => Ok(None),
        }
    });
    let disk = reader.get(&keys::dead_letters::DISK);
    if disk == Some(false) && reader.layer(&keys::dead_letters::TO.row).is_none() {
        let what = "dead letters would be nowhere: dead_letters.to names no destination for them";
        reader.complain(&keys::dead_letters::DISK.row, Complaint::new(what, "set dead_letters.to, or delete it"));
    }
    let (max_bytes, to) = (max_bytes? as u64, to.flatten());
    let (max_share, on_error) = (max_share?, on_error?);
    Some(DeadLetterSettings { dir: dir?, max_bytes, to, disk: disk?, max_share, on_error })
}

fn read_run(reader: &mut Reader<'_>, machine: &Machine) -> Option<RunSettings> {
    let drain_timeout = reader.get(&keys::run::DRAIN_TIMEOUT);
    let memory = reader.get(&keys::run::MEMORY);
    let hook_threads = match reader.layer(&keys::run::HOOK_THREADS.row) {
        Some(_) => reader.get(&keys::run::HOOK_THREADS).map(usize::from),
        None => Some(machine.cores.clamp(1, 256)),
    };
    Some(RunSettings { drain_timeout: drain_timeout?, memory: memory?, hook_threads: hook_threads? })
}

/// Reads only the address or socket at which the process serves its status.
pub(super) fn admin(typed: &Typed) -> Result<(AdminListen, PathBuf), SettingsError> {
    let mut reader = Reader::new(typed, Vec::new());
    let (listen, state) = (read_admin(&mut reader), reader.get(&keys::state::DIR));
    let problems = reader.into_problems();
    state.filter(|_| problems.is_empty()).map(|state| (listen, state)).ok_or(SettingsError { problems })
}

fn read_admin(reader: &mut Reader<'_>) -> AdminListen {
    let listen = reader.parse(&keys::run::ADMIN_LISTEN, |text| {
        let fix = "write an address and a port, such as 127.0.0.1:9464, or unix: and the absolute path of a socket";
        match text.strip_prefix("unix:").map(PathBuf::from) {
            Some(path) if path.is_absolute() => Ok(AdminListen::Socket(path)),
            Some(path) => Err(Complaint::new(format!("{} is not an absolute path", path.display()), fix)),
            None => text
                .parse()
                .map(AdminListen::Tcp)
                .map_err(|_| Complaint::new(format!("{text:?} is not an address to listen on"), fix)),
        }
    });
    if let Some(AdminListen::Tcp(address)) = &listen
        && !address.ip().is_loopback()
    {
        reader.warn(format!("anyone who can reach {address} can read the status and metrics (admin.listen)"));
    }
    listen.unwrap_or(AdminListen::Default)
}

fn read_log(reader: &mut Reader<'_>) -> Option<LogSettings> {
    let level = reader.get(&keys::run::LOG_LEVEL);
    let format = reader.get(&keys::run::LOG_FORMAT);
    let file = reader.get(&keys::run::LOG_FILE);
    Some(LogSettings { level: level?, format: format?, file })
}
