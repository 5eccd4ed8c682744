//! `forwarder check`: checks everything that the program needs, one line each.

mod destination;
mod disk;
mod finding;
mod network;
mod script;
mod sls;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::cli::context::{machine, sources};
use crate::cli::exit::{INTERNAL, end, show};
use crate::cli::flags::SettingFlags;
use crate::cli::terminal::colour;
use crate::dead_letter;
use crate::script::Paint;
use crate::settings;
use crate::settings::{DestinationSettings, Settings, SettingsError, SourceSettings, WrittenIn};
use finding::{Finding, Findings, Level};

/// Time limit for each area.
const PATIENCE: Duration = Duration::from_secs(9);

const HELP: &str = "\
It reads from SLS, sends an empty request to the collector to test the token, opens and closes a connection \
to a syslog receiver, and creates and removes a file in each directory that the program writes to. It delivers \
no event, creates and joins no group, and saves no checkpoint.

Exit codes: 0 nothing has to be corrected (warnings may be shown), 2 settings, script or files, 69 something \
does not answer, 77 a permission is missing or SLS refuses.";

/// Check settings, script, SLS, destination and disk, with fixes
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Settings file (TOML) [env: FORWARDER_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    settings: SettingFlags,
}

/// Checks, prints, and returns the exit code.
pub(crate) fn main(args: &Args) -> ExitCode {
    let began = Instant::now();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(&format!("cannot start the threads: {error}"), INTERNAL),
    };
    let findings = match load(args) {
        Ok((settings, mut findings)) => {
            findings.extend(runtime.block_on(look(settings)));
            findings
        }
        Err(error) => problems(&error),
    };
    // A hanging name lookup must not delay the end.
    runtime.shutdown_background();
    let seconds = began.elapsed().as_secs_f64();
    let output = match args.json {
        true => format!("{}\n", finding::json(&findings, seconds)),
        false => finding::text(&findings, seconds, Paint(colour(&io::stdout()))),
    };
    show(&output, ExitCode::from(finding::exit_code(&findings)))
}

/// The settings, with a line for each given one.
fn load(args: &Args) -> Result<(Settings, Vec<Finding>), SettingsError> {
    let (config, environment) = sources(args.config.as_deref());
    let (config, flags) = (config.as_deref(), &args.settings.0);
    let settings = settings::load(config, flags, &environment, &machine())?;
    let findings = Findings::new("settings");
    let (given, rest): (Vec<_>, Vec<_>) = settings::in_force(config, flags, &environment)?
        .into_iter()
        .partition(|setting| setting.written_in != WrittenIn::Default);
    for setting in given {
        let value = setting.value.unwrap_or_default();
        let of = setting.item.map(|item| format!("{item}: ")).unwrap_or_default();
        findings.ok(format!("{of}{} = {value} ({})", setting.row.name, setting.origin));
    }
    findings.note(format!("the other {} have their defaults: forwarder config show", rest.len()));
    for warning in &settings.warnings {
        findings.warn(warning, "see docs/settings.md; no action if this is intended");
    }
    Ok((settings, findings.take()))
}

fn problems(error: &SettingsError) -> Vec<Finding> {
    let findings = Findings::new("settings");
    for problem in &error.problems {
        findings.fail(Level::SETUP, format!("{} ({})", problem.what, problem.place), problem.fix.clone());
    }
    findings.note("the other checks need correct settings");
    findings.take()
}

/// Checks the areas in parallel.
async fn look(settings: Settings) -> Vec<Finding> {
    let on_disk = settings.clone();
    let blocking = spawn_blocking(move || {
        let (script, disk) = (Findings::new("script"), Findings::new("disk"));
        let paths: BTreeSet<_> = on_disk.sources.iter().map(|source| &source.script).collect();
        paths.iter().for_each(|path| script::check(&script, path, &on_disk.hook));
        disk::check(&disk, &on_disk);
        (script.take(), disk.take())
    });
    let runs_here = dead_letter::is_in_use(&settings.dead_letters.dir);
    let sources: Vec<_> =
        settings.sources.iter().map(|source| (Findings::new(area(&settings, source)), source)).collect();
    let read_from = sources.iter().map(|(findings, source)| {
        let is_named = source.consumer_prefix.is_none();
        in_time(findings, sls::check(findings, sls::Source { config: &source.sls, is_named, runs_here }))
    });
    let destinations: Vec<_> =
        settings.destinations.iter().map(|one| (Findings::new(destination_area(&settings, one)), one)).collect();
    let sent_to =
        destinations.iter().map(|(findings, one)| in_time(findings, destination::check(findings, &one.config)));
    let (blocking, _, _) = tokio::join!(blocking, join_all(read_from), join_all(sent_to));
    let (script, disk) = blocking.expect("a check does not panic");
    let sources = sources.iter().flat_map(|(findings, _)| findings.take());
    let destinations = destinations.iter().flat_map(|(findings, _)| findings.take());
    script.into_iter().chain(sources).chain(destinations).chain(disk).collect()
}

fn area(settings: &Settings, source: &SourceSettings) -> String {
    match &settings.sources[..] {
        [_] => "sls".to_owned(),
        _ => format!("sls {}", source.name),
    }
}

fn destination_area(settings: &Settings, one: &DestinationSettings) -> String {
    match &settings.destinations[..] {
        [_] => "destination".to_owned(),
        _ => format!("destination {}", one.name),
    }
}

/// Findings until then are kept.
async fn in_time(findings: &Findings, check: impl Future<Output = ()>) {
    if timeout(PATIENCE, check).await.is_err() {
        findings.fail(
            Level::UNREACHABLE,
            format!("not everything was checked within {} s", PATIENCE.as_secs()),
            "find out what answers slowly: DNS, a firewall, a proxy",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_check_ends_within_ten_seconds_and_keeps_what_was_found() {
        let (findings, began) = (Findings::new("sls"), tokio::time::Instant::now());
        let check = async {
            findings.ok("a name has an address");
            std::future::pending::<()>().await;
        };
        in_time(&findings, check).await;
        assert!(began.elapsed() < Duration::from_secs(10));
        let found = findings.take();
        assert_eq!((found.len(), finding::exit_code(&found)), (2, crate::cli::exit::UNREACHABLE));
    }
}
