//! Watches the delivery, and causes an outage half-way.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::error::{DemoError, ended_early};
use super::oracle::Oracle;
use super::receiver::Receiver;
use super::screen::Screen;
use crate::app;
use crate::core::ledger::Ledger;

/// How often the demo checks the progress.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Longest time without any progress before the demo gives up.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Waits until all logs are completed; half-way it causes the outage of the receiver. Returns when that was.
pub(super) async fn watch(
    logs: u64,
    ledger: &Ledger,
    receiver: &Receiver,
    oracle: &Oracle,
    screen: &mut Screen,
    running: &mut JoinSet<Result<(), app::Error>>,
) -> Result<Option<Duration>, DemoError> {
    let started = Instant::now();
    let mut progressed = (started, 0);
    let mut fault = None;
    loop {
        tokio::select! {
            biased;
            ended = running.join_next() => return Err(ended_early(ended).into()),
            () = tokio::time::sleep(POLL_INTERVAL) => {}
        }
        let total = ledger.total();
        let done = total.delivered + total.dropped + total.dead_lettered;
        if done != progressed.1 {
            progressed = (Instant::now(), done);
        }
        screen.show(done, &total)?;
        // An outage after everything is delivered would have no effect.
        if fault.is_none() && done < logs && oracle.arrived() >= logs / 2 {
            fault = Some(started.elapsed());
            screen.say(receiver.go_away())?;
        }
        if let Some(why) = ledger.read().into_values().find_map(|entry| entry.standstill().map(str::to_owned)) {
            return Err(why.into());
        }
        if done >= logs {
            if fault.is_none() {
                screen.say("everything was delivered before an outage could be shown: use --logs 100000")?;
            }
            return Ok(fault);
        }
        if progressed.0.elapsed() > STALL_TIMEOUT {
            return Err(format!("no progress for {STALL_TIMEOUT:?} at {done} of {logs} logs").into());
        }
    }
}
