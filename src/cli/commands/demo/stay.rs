//! Keeps the demo running after the delivery.

use std::path::Path;
use std::time::Duration;

use tokio::task::JoinSet;

use super::ending::EndSignals;
use super::environment::{KEY_ID, KEY_SECRET};
use super::error::{DemoError, ended_early};
use super::places::{GROUP, Places};
use super::receiver::Receiver;
use crate::app;
use crate::cli::output::print_line;
use crate::emulator::generate::Generator;
use crate::emulator::sls::SlsEmulator;
use crate::script::Hooks;

/// The parts of the running demo.
pub(super) struct Stage<'a> {
    pub(super) sls: &'a SlsEmulator,
    pub(super) places: &'a Places,
    pub(super) receiver: &'a Receiver,
    pub(super) script: &'a Path,
    pub(super) hooks: &'a Hooks,
    /// Where the program answers, if it could open it.
    pub(super) socket: Option<&'a Path>,
}

/// Keeps everything running and writes logs from time to time, until a signal asks for the end.
pub(super) async fn stay(
    stage: &Stage<'_>,
    generator: &mut Generator,
    signals: &mut EndSignals,
    running: &mut JoinSet<Result<(), app::Error>>,
) -> Result<(), DemoError> {
    let &Stage { sls, places, receiver, script, hooks, socket } = stage;
    let port = sls.address().port();
    print_line("\nStill running, and writing a few logs a second. Press Ctrl-C to stop. Meanwhile:")?;
    print_line("")?;
    if let Some(socket) = socket.map(Path::display) {
        print_line(format_args!("  state of the program     forwarder top --connect unix:{socket}"))?;
        print_line(format_args!("  events as they pass      forwarder tap --connect unix:{socket}"))?;
    }
    if let Some(how) = receiver.how_to_look() {
        print_line(format_args!("  events received          {how}"))?;
    }
    print_line(format_args!("  state of SLS             curl http://{}/_emulator/state", sls.address()))?;
    print_line(format_args!(
        "  script                   edit {}: a save takes effect within seconds",
        script.display()
    ))?;
    print_line("\n  a second process, which takes over half of the shards:")?;
    let places_set = places.environment(&format!("http://{}", sls.address()));
    let places_set: Vec<String> = places_set.iter().map(|(name, value)| format!("{name}='{value}'")).collect();
    print_line(format_args!("    {} SLS_CG={GROUP} \\", places_set.join(" ")))?;
    let there: Vec<String> = receiver.environment().iter().map(|(name, value)| format!("{name}={value}")).collect();
    print_line(format_args!("    SLS_AK_ID={KEY_ID} SLS_AK_KEY={KEY_SECRET} {} \\", there.join(" ")))?;
    print_line(format_args!("    forwarder --script {}", script.display()))?;
    print_line(format_args!(
        "\n  the vendor's Python SDK: http_proxy=http://127.0.0.1:{port} and any http endpoint, such as"
    ))?;
    print_line(format_args!("    LogClient('http://demo.log.example', '{KEY_ID}', '{KEY_SECRET}')\n"))?;
    let mut turn = 0;
    let state = || (hooks.script().version.clone(), hooks.reloads());
    let mut seen = state();
    loop {
        let (version, reloads) = state();
        if (&version, &reloads) != (&seen.0, &seen.1) {
            print_line(format_args!("{}", app::summary::script(&version, &reloads).trim_start_matches("; ")))?;
            seen = (version, reloads);
        }
        tokio::select! {
            biased;
            ended = signals.next() => return match ended {
                DemoError::Asked(_) => Ok(()),
                gone => Err(gone),
            },
            ended = running.join_next() => return Err(ended_early(ended).into()),
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
        let group = if turn % 2 == 0 { generator.audit(1) } else { generator.nginx(1) };
        places.put(sls, turn, group)?;
        turn += 1;
    }
}
