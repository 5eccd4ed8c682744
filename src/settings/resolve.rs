//! From typed settings to [`Settings`]: what belongs together is checked together.

use std::path::PathBuf;
use std::time::Duration;

use super::hec::read_hec;
use super::problem::Problem;
use super::read::{self, Reader};
use super::sls::read_sls;
use super::typed::Typed;
use super::{Log, LogFormat, Machine, Run, Settings, SettingsError, SinkSettings, start};
use crate::script;

/// Reads every setting, and hands out settings only if nothing is wrong: neither before nor here.
pub(super) fn resolve(typed: &Typed, problems: Vec<Problem>, machine: &Machine) -> Result<Settings, SettingsError> {
    let mut reader = Reader::new(typed, problems);
    let mut warnings = Vec::new();
    let heartbeat = reader.duration("sls.heartbeat_interval");
    let parts = (
        read_script(&mut reader, typed),
        read_sls(&mut reader, heartbeat, machine, &mut warnings),
        read_hec(&mut reader, &mut warnings),
        read_run(&mut reader, heartbeat, machine),
        read_log(&mut reader),
    );
    let problems = reader.into_problems();
    match parts {
        (Some((script, hook)), Some(sls), Some(hec), Some(run), Some(log)) if problems.is_empty() => {
            Ok(Settings { sls, script, hook, sink: SinkSettings::Hec(hec), run, log, warnings })
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

fn read_run(reader: &mut Reader<'_>, heartbeat: Option<Duration>, machine: &Machine) -> Option<Run> {
    let start = reader.value("sls.start", |key, raw| start::parse(&read::text(key, raw)?, machine.now, &machine.zone));
    let fetch_interval = reader.duration("sls.fetch_interval");
    let save_interval = reader.duration("sls.save_interval");
    let drain_timeout = reader.duration("run.drain_timeout");
    let memory = reader.size("run.memory");
    let hook_threads = match reader.layer("run.hook_threads") {
        Some(_) => reader.count("run.hook_threads").map(|count| usize::try_from(count).expect("bounded")),
        None => Some(machine.cores.clamp(1, 256)),
    };
    Some(Run {
        start: start?,
        fetch_interval: fetch_interval?,
        heartbeat_interval: heartbeat?,
        save_interval: save_interval?,
        drain_timeout: drain_timeout?,
        memory: memory?,
        hook_threads: hook_threads?,
    })
}

fn read_log(reader: &mut Reader<'_>) -> Option<Log> {
    let level = reader.word("log.level");
    let format = reader.word("log.format");
    let file = reader.path("log.file");
    Some(Log {
        level: level?.parse().expect("the table of settings names levels of tracing"),
        format: if format? == "json" { LogFormat::Json } else { LogFormat::Text },
        file,
    })
}
