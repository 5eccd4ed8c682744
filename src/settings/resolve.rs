//! From typed settings to [`Settings`]: what belongs together is checked together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::checked::{
    DeadLetterSettings, DeliverySettings, LogFormat, LogSettings, Machine, ReloadSettings, RunSettings, Settings,
    TrialSettings,
};
use super::destination::{chosen_kind, read_destination, read_format, read_on_reject};
use super::problem::{Complaint, Problem, SettingsError};
use super::read;
use super::read::Reader;
use super::sls::read_sls;
use super::start;
use super::typed::Typed;
use crate::destination::registry::DestinationKind;
use crate::pipeline::OnError;
use crate::script;

/// Reads every setting, and hands out settings only if nothing is wrong: neither before nor here.
pub(super) fn resolve(typed: &Typed, problems: Vec<Problem>, machine: &Machine) -> Result<Settings, SettingsError> {
    let mut reader = Reader::new(typed, problems);
    let mut warnings = Vec::new();
    let heartbeat = reader.duration("sls.heartbeat_interval");
    let parts = (
        read_script(&mut reader, typed),
        read_reload(&mut reader),
        read_sls(&mut reader, heartbeat, machine, &mut warnings),
        read_destination(&mut reader, machine, &mut warnings),
        read_dead_letters(&mut reader),
        read_run(&mut reader, heartbeat, machine),
        read_log(&mut reader),
    );
    let admin = read_admin(&mut reader, &mut warnings);
    let problems = reader.into_problems();
    match parts {
        (Some((script, hook)), Some(reload), Some(sls), Some(sink), Some(dead_letters), Some(run), Some(log))
            if problems.is_empty() =>
        {
            Ok(Settings { sls, script, hook, reload, sink, dead_letters, run, log, admin, warnings })
        }
        _ => Err(SettingsError { problems }),
    }
}

fn read_script(reader: &mut Reader<'_>, typed: &Typed) -> Option<(PathBuf, script::Config)> {
    reader.demand(&["script.file"]);
    let file = reader.readable("script.file");
    let timeout = reader.duration("script.timeout");
    let memory = reader.size("script.memory");
    let hook = script::Config { timeout: timeout?, memory: memory?, vars: typed.vars.clone() };
    Some((file?, hook))
}

fn read_reload(reader: &mut Reader<'_>) -> Option<ReloadSettings> {
    let force = reader.switch("script.force_reload");
    let share = reader.count("script.rollback_share");
    let within = reader.duration("script.rollback_within");
    let share = u32::try_from(share?).expect("bounded by the table of settings");
    Some(ReloadSettings { force: force?, rules: script::Rules { share, within: within? } })
}

/// Reads what is needed to deliver logs that are at hand, and nothing about where logs come from.
pub(super) fn delivery(
    typed: &Typed,
    problems: Vec<Problem>,
    machine: &Machine,
) -> Result<DeliverySettings, SettingsError> {
    let mut reader = Reader::new(typed, problems);
    let mut warnings = Vec::new();
    let parts = (read_script(&mut reader, typed), read_destination(&mut reader, machine, &mut warnings));
    let problems = reader.into_problems();
    match parts {
        (Some((script, hook)), Some(sink)) if problems.is_empty() => {
            Ok(DeliverySettings { script, hook, sink, warnings })
        }
        _ => Err(SettingsError { problems }),
    }
}

/// Reads what is needed to try a script.
pub(super) fn trial(
    typed: &Typed,
    problems: Vec<Problem>,
    to: Option<DestinationKind>,
    machine: &Machine,
) -> Result<TrialSettings, SettingsError> {
    let mut reader = Reader::new(typed, problems);
    let script = reader.path("script.file");
    let (timeout, memory) = (reader.duration("script.timeout"), reader.size("script.memory"));
    let format = to.or_else(|| chosen_kind(&mut reader)).and_then(|kind| read_format(kind, &mut reader, machine));
    let problems = reader.into_problems();
    match (timeout, memory, format) {
        (Some(timeout), Some(memory), Some(format)) if problems.is_empty() => {
            Ok(TrialSettings { script, hook: script::Config { timeout, memory, vars: typed.vars.clone() }, format })
        }
        _ => Err(SettingsError { problems }),
    }
}

/// Reads where logs come from.
pub(super) fn source(
    typed: &Typed,
    problems: Vec<Problem>,
    machine: &Machine,
) -> Result<(crate::sls::Config, start::StartPosition), SettingsError> {
    let mut reader = Reader::new(typed, problems);
    let heartbeat = reader.duration("sls.heartbeat_interval");
    let sls = read_sls(&mut reader, heartbeat, machine, &mut Vec::new());
    let start = read_start(&mut reader, machine);
    let problems = reader.into_problems();
    match (sls, start) {
        (Some(sls), Some(start)) if problems.is_empty() => Ok((sls, start)),
        _ => Err(SettingsError { problems }),
    }
}

fn read_start(reader: &mut Reader<'_>, machine: &Machine) -> Option<start::StartPosition> {
    reader.value("sls.start", |key, raw| start::parse(&read::text(key, raw)?, machine.now, &machine.zone))
}

/// Reads the directory of dead letters and nothing else.
pub(super) fn dead_letters_dir(typed: &Typed) -> Result<PathBuf, SettingsError> {
    let mut reader = Reader::new(typed, Vec::new());
    let dir = reader.path("dead_letters.dir");
    dir.ok_or_else(|| SettingsError { problems: reader.into_problems() })
}

fn read_dead_letters(reader: &mut Reader<'_>) -> Option<DeadLetterSettings> {
    let on_error = reader.word("script.on_error");
    let on_reject = read_on_reject(reader);
    let dir = reader.path("dead_letters.dir");
    let max_bytes = reader.size("dead_letters.max_size");
    let max_share = reader.count("dead_letters.max_share");
    Some(DeadLetterSettings {
        dir: dir?,
        max_bytes: max_bytes? as u64,
        max_share: u32::try_from(max_share?).expect("bounded by the table of settings"),
        on_error: match on_error? {
            "halt" => OnError::Halt,
            "pass" => OnError::Pass,
            "drop" => OnError::Drop,
            _ => OnError::DeadLetter,
        },
        on_reject: on_reject?,
    })
}

fn read_run(reader: &mut Reader<'_>, heartbeat: Option<Duration>, machine: &Machine) -> Option<RunSettings> {
    let start = read_start(reader, machine);
    let fetch_interval = reader.duration("sls.fetch_interval");
    let save_interval = reader.duration("sls.save_interval");
    let drain_timeout = reader.duration("run.drain_timeout");
    let memory = reader.size("run.memory");
    let hook_threads = match reader.layer("run.hook_threads") {
        Some(_) => reader.count("run.hook_threads").map(|count| usize::try_from(count).expect("bounded")),
        None => Some(machine.cores.clamp(1, 256)),
    };
    Some(RunSettings {
        start: start?,
        fetch_interval: fetch_interval?,
        heartbeat_interval: heartbeat?,
        save_interval: save_interval?,
        drain_timeout: drain_timeout?,
        memory: memory?,
        hook_threads: hook_threads?,
    })
}

fn read_admin(reader: &mut Reader<'_>, warnings: &mut Vec<String>) -> Option<SocketAddr> {
    let address: SocketAddr = reader.value("admin.listen", |key, raw| {
        let text = read::text(key, raw)?;
        let fix = "write an address and a port, such as 127.0.0.1:9464";
        text.parse().map_err(|_| Complaint::new(format!("{text:?} is no address to listen on"), fix))
    })?;
    if !address.ip().is_loopback() {
        warnings.push(format!("anybody who reaches {address} can read how the program does (admin.listen)"));
    }
    Some(address)
}

fn read_log(reader: &mut Reader<'_>) -> Option<LogSettings> {
    let level = reader.word("log.level");
    let format = reader.word("log.format");
    let file = reader.path("log.file");
    Some(LogSettings {
        level: level?.parse().expect("the table of settings names levels of tracing"),
        format: if format? == "json" { LogFormat::Json } else { LogFormat::Text },
        file,
    })
}
