//! Measures the stages of a log in this process, in CPU time of one thread.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::core::budget::{Buffers, SharedBudget};
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

const READABLE: &str = "a page that was made here is readable";

/// One step of the way of a log, each of which can be run by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Stage {
    /// Unpacking a page (LZ4)
    Unpack,
    /// Reading the logs of a page
    Read,
    /// Reading, and the script
    Script,
    /// Reading, the script, and writing its events
    Events,
    /// Compressing the events
    Gzip,
}

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
pub(super) enum StageError {
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
) -> Result<Stages, StageError> {
    let mut work = Work::new(script, config, formats, pages)?;
    let logs = work.logs;
    let mut each = |stage| median(MIN_LOGS.div_ceil(logs.max(1)), logs, &mut || work.run(stage));
    let (inflate, decode, gzip) = (each(Stage::Unpack), each(Stage::Read), each(Stage::Gzip));
    let (scripted, written) = (each(Stage::Script), each(Stage::Events));
    Ok(Stages {
        logs,
        inflate,
        decode,
        hook: (scripted - decode).max(0.0),
        format: (written - scripted).max(0.0),
        gzip,
        events: work.events,
    })
}

/// Runs one stage this many times over the logs; returns the number of logs of one pass.
pub(super) fn repeat(
    stage: Stage,
    passes: u32,
    script: &Script,
    config: &script::Config,
    formats: &[DestinationFormat],
    pages: &[Page],
) -> Result<usize, StageError> {
    let mut work = Work::new(script, config, formats, pages)?;
    (0..passes).for_each(|_| work.run(stage));
    Ok(work.logs)
}

/// What the stages work on.
struct Work<'a> {
    pages: &'a [Page],
    /// Each page compressed, and its size.
    packed: Vec<(Bytes, usize)>,
    buffers: Buffers,
    reader: Logs,
    /// The script without and with the format of the destinations.
    plain: Hook,
    full: Hook,
    logs: usize,
    events: Vec<u8>,
}

impl<'a> Work<'a> {
    fn new(
        script: &Script,
        config: &script::Config,
        formats: &[DestinationFormat],
        pages: &'a [Page],
    ) -> Result<Self, StageError> {
        let pack = |body: &[u8]| lz4::block::compress(body, None, false).expect("memory can be compressed");
        let packed = pages.iter().map(|page| (pack(&page.body).into(), page.body.len())).collect();
        let mut reader = Logs::default();
        let logs = pages.iter().map(|page| read(&mut reader, page)).sum();
        let empty = |named: &DestinationFormat| DestinationFormat { format: Arc::new(Nothing), ..named.clone() };
        let plain = load(script, config, formats.iter().map(empty).collect()).map_err(StageError::Script)?;
        let mut full = load(script, config, formats.to_vec()).map_err(StageError::Script)?;
        let mut events = Vec::new();
        for page in pages {
            let made = full.run(page).expect(READABLE);
            if let Some(failed) = made.failed.first() {
                return Err(StageError::Log(format!("the script fails on log {}: {}", failed.log + 1, failed.error)));
            }
            made.outputs.iter().for_each(|output| events.extend_from_slice(output.bytes()));
        }
        let buffers = SharedBudget::new(pages.iter().map(|page| page.body.len()).sum()).buffers();
        Ok(Self { pages, packed, buffers, reader, plain, full, logs, events })
    }

    /// One pass over all logs.
    fn run(&mut self, stage: Stage) {
        match stage {
            Stage::Unpack => self.packed.iter().for_each(|(body, raw)| {
                let page = unpack(Some("lz4"), *raw as u64, body.clone(), &self.buffers);
                black_box(page.expect("it was compressed here"));
            }),
            Stage::Read => self.pages.iter().for_each(|page| {
                black_box(read(&mut self.reader, page));
            }),
            Stage::Script => run(&mut self.plain, self.pages),
            Stage::Events => run(&mut self.full, self.pages),
            Stage::Gzip => self.events.chunks(BODY).for_each(|body| {
                black_box(hec::gzip(body));
            }),
        }
    }
}

fn run(hook: &mut Hook, pages: &[Page]) {
    for page in pages {
        black_box(hook.run(page).expect(READABLE));
    }
}

fn read(reader: &mut Logs, page: &Page) -> usize {
    reader.open(page.body.clone()).expect(READABLE);
    let mut logs = 0;
    while reader.read().expect(READABLE).is_some() {
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
        let config = script::Config {
            timeout: Duration::from_secs(1),
            memory: 64 << 20,
            total: Arc::default(),
            vars: toml::Table::new(),
        };
        let logs = serde_json::json!({ "a": "1" });
        let page = script::Sample::page(&[script::Sample::from_json(&logs).unwrap()]);
        let Err(StageError::Log(why)) = measure(&script, &config, &[nothing()], &[page]) else {
            panic!("it was measured")
        };
        assert!(why.starts_with("the script fails on log 1: "), "{why}");
    }

    #[test]
    fn every_stage_runs_by_itself_over_all_logs() {
        let script = Script::from_text("s.lua", "function process(log) return log end");
        let config = script::Config {
            timeout: Duration::from_secs(1),
            memory: 64 << 20,
            total: Arc::default(),
            vars: toml::Table::new(),
        };
        let logs = vec![script::Sample::from_json(&serde_json::json!({ "a": "1" })).unwrap(); 3];
        let page = [script::Sample::page(&logs)];
        for stage in <Stage as clap::ValueEnum>::value_variants() {
            let logs = repeat(*stage, 2, &script, &config, &[nothing()], &page);
            assert_eq!(logs.ok(), Some(3), "{stage:?}");
        }
    }
}
