//! Measures the stages of a log in this process, in CPU time of one thread.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::core::cursor::ShardId;
use crate::core::event::{Body, BodyError, DestinationFormat, Format, Head};
use crate::core::page::Page;
use crate::destination::hec;
use crate::loggroup::Logs;
use crate::script;
use crate::script::{Hook, HookError, Meta, Script};
use crate::sls::unpack::unpack;

/// Minimum number of logs for each stage; fewer logs are repeated.
const MIN_LOGS: usize = 20_000;

/// Measurements of each stage; the median is used.
const ROUNDS: usize = 5;

/// Bytes of events that are compressed at a time, as in a request.
const BODY: usize = 1_000_000;

/// Nanoseconds per log.
pub(super) struct Stages {
    /// Logs that went through.
    pub(super) logs: usize,
    /// The events of one pass.
    pub(super) events: Vec<u8>,
    pub(super) inflate: f64,
    pub(super) decode: f64,
    pub(super) hook: f64,
    pub(super) format: f64,
    pub(super) gzip: f64,
}

/// Why a script cannot be measured.
pub(super) enum Fault {
    /// It does not load.
    Script(HookError),
    /// It fails on a log.
    Log(String),
}

/// Measures all stages. The cost of a stage is its addition to the earlier ones.
pub(super) fn measure(
    script: &Script,
    config: &script::Config,
    formats: &[DestinationFormat],
    pages: &[Page],
) -> Result<Stages, Fault> {
    let packed: Vec<(Bytes, usize)> =
        pages.iter().map(|page| (lz4_flex::block::compress(&page.body).into(), page.body.len())).collect();
    let mut reader = Logs::default();
    let logs: usize = pages.iter().map(|page| read(&mut reader, page)).sum();
    let empty = |named: &DestinationFormat| DestinationFormat { format: Arc::new(Nothing), ..named.clone() };
    let mut plain = load(script, config, formats.iter().map(empty).collect()).map_err(Fault::Script)?;
    let mut full = load(script, config, formats.to_vec()).map_err(Fault::Script)?;
    let mut events = Vec::new();
    for page in pages {
        let made = full.run(page).expect("a page that was read once is readable");
        if let Some(failed) = made.failed.first() {
            return Err(Fault::Log(format!("the script fails on log {}: {}", failed.log + 1, failed.error)));
        }
        made.outputs.iter().for_each(|output| events.extend_from_slice(output.bytes()));
    }
    let each = |work: &mut dyn FnMut()| median(MIN_LOGS.div_ceil(logs.max(1)), logs, work);
    let inflate = each(&mut || {
        for (body, raw) in &packed {
            std::hint::black_box(unpack(Some("lz4"), *raw as u64, body.clone()).expect("it was compressed here"));
        }
    });
    let decode = each(&mut || {
        for page in pages {
            std::hint::black_box(read(&mut reader, page));
        }
    });
    let run = |hook: &mut Hook| {
        each(&mut || {
            for page in pages {
                std::hint::black_box(hook.run(page).expect("a page that was read once is readable"));
            }
        })
    };
    let (hook, laid_out) = (run(&mut plain), run(&mut full));
    let gzip = each(&mut || {
        for body in events.chunks(BODY) {
            std::hint::black_box(hec::gzip(body));
        }
    });
    Ok(Stages {
        logs,
        inflate,
        decode,
        hook: (hook - decode).max(0.0),
        format: (laid_out - hook).max(0.0),
        gzip,
        events,
    })
}

fn read(reader: &mut Logs, page: &Page) -> usize {
    let readable = "the page was made here";
    reader.open(page.body.clone()).expect(readable);
    let mut logs = 0;
    while reader.read().expect(readable).is_some() {
        logs += 1;
    }
    logs
}

/// The script, loaded.
pub(super) fn load(
    script: &Script,
    config: &script::Config,
    formats: Vec<DestinationFormat>,
) -> Result<Hook, HookError> {
    let meta = Meta {
        source: "source".to_owned(),
        project: "project".to_owned(),
        logstore: "logstore".to_owned(),
        shard: ShardId(0),
    };
    Hook::load(script, config, formats, meta)
}

/// A destination whose events stay empty, so that only the script is measured.
pub(super) fn nothing() -> DestinationFormat {
    DestinationFormat { name: None, format: Arc::new(Nothing) }
}

struct Nothing;

impl Format for Nothing {
    fn write(&self, _head: &Head<'_>, _body: &mut dyn Body, _out: &mut Vec<u8>) -> Result<(), BodyError> {
        Ok(())
    }
}

/// Nanoseconds per log, after one round to warm up.
fn median(times: usize, logs: usize, work: &mut dyn FnMut()) -> f64 {
    work();
    let mut rounds: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let began = script::computing();
            (0..times).for_each(|_| work());
            script::computing() - began
        })
        .collect();
    rounds.sort();
    rounds[ROUNDS / 2].as_nanos() as f64 / (times * logs.max(1)) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_fails_on_a_log_is_not_benchmarked() {
        let script = Script::from_text("s.lua", "function process(log) error('no') end");
        let config = script::Config { timeout: Duration::from_secs(1), memory: 64 << 20, vars: toml::Table::new() };
        let logs = serde_json::json!({ "a": "1" });
        let page = script::Sample::page(&[script::Sample::from_json(&logs).unwrap()]);
        let Err(Fault::Log(why)) = measure(&script, &config, &[nothing()], &[page]) else { panic!("it was measured") };
        assert!(why.starts_with("the script fails on log 1: "), "{why}");
    }
}
