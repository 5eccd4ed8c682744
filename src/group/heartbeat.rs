//! Heartbeats.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use super::membership::{Membership, View};
use super::{HeartbeatEnd, Report, ShortOf};
use crate::core::cause::Cause;
use crate::core::cursor::SourceName;
use crate::core::retry_log::RetryLog;
use crate::core::source::{Source, SourceError};

/// Heartbeats per group timeout, so that one lost heartbeat has no effect.
const BEATS_PER_TIMEOUT: u32 = 3;

/// Events that the heartbeat loop waits for.
enum HeartbeatEvent {
    Report(Report),
    /// All tasks have ended and closed the channel.
    Over,
    Tick,
    Beat,
}

/// Sends heartbeats until the tasks close the channel: once per `interval`, or more often if the timeout of the group
/// requires it.
///
/// This loop never waits for a script, a destination or a disk, and no other code waits for its calls.
pub async fn beat<S: Source>(source: &S, end: HeartbeatEnd, interval: Duration) {
    let HeartbeatEnd { source: name, mut membership, view, mut reports } = end;
    let mut retry_log = RetryLog::new(format!("source {name}: heartbeat failed"), 0);
    let mut next = Instant::now();
    let mut lost = false;
    let mut logged_surplus = None;
    loop {
        let tick = membership.next_tick();
        let event = tokio::select! {
            biased;
            report = reports.recv() => report.map_or(HeartbeatEvent::Over, HeartbeatEvent::Report),
            () = sleep_until(tick.unwrap_or(next)), if tick.is_some() => HeartbeatEvent::Tick,
            () = sleep_until(next) => HeartbeatEvent::Beat,
        };
        match event {
            HeartbeatEvent::Over => return,
            HeartbeatEvent::Report(Report::Leave) => membership.on_leave(),
            HeartbeatEvent::Report(Report::Ended { shard, tenure, again }) => {
                // The failed heartbeats may have let the lease expire.
                tick_over(&name, &mut membership);
                membership.on_ended(shard, tenure, again);
            }
            HeartbeatEvent::Tick => tick_over(&name, &mut membership),
            HeartbeatEvent::Beat => {
                tick_over(&name, &mut membership);
                let interval = interval.min(membership.group_timeout() / BEATS_PER_TIMEOUT);
                let asked = Instant::now();
                let beaten = tokio::select! {
                    biased;
                    () = view.closed() => return,
                    beaten = once(source, &name, &mut membership, &view, interval / 2) => beaten,
                };
                next = match beaten {
                    Ok(()) => {
                        if std::mem::take(&mut lost) {
                            info!(source = %name, "rejoined the group");
                        }
                        retry_log.recovered();
                        asked + interval
                    }
                    Err(fault) => {
                        lost |= matches!(fault, SourceError::Lost(_));
                        let now = Instant::now();
                        membership.on_failure(&fault, now);
                        now + retry_log.next(fault.cause(), fault.retry(), now).min(interval / 4)
                    }
                };
            }
        }
        let next_view = membership.view();
        let short_of = (next_view.surplus > 0).then_some(next_view.short_of);
        if let Some(short_of) = short_of.filter(|_| logged_surplus != short_of) {
            let (limit, remedy) = match short_of {
                ShortOf::Memory => ("run.memory allows", "raise run.memory or start more processes"),
                ShortOf::Source => (
                    "a source may have",
                    "divide the logstores of the pattern among several sources, or start more processes",
                ),
            };
            warn!(
                source = %name,
                working_on = next_view.shards.len(),
                waiting = next_view.surplus,
                "SLS assigns more shards than {limit}: the surplus shards wait and are not read; {remedy}"
            );
        }
        logged_surplus = short_of;
        view.send_replace(next_view);
    }
}

/// Sends one heartbeat. It may take up to `patience`, so that a second attempt fits into the interval. A member that
/// the server no longer knows drops all shards, and looks up (or creates) the group first; it joins with its next
/// heartbeat.
async fn once<S: Source>(
    source: &S,
    name: &SourceName,
    membership: &mut Membership,
    view: &watch::Sender<View>,
    patience: Duration,
) -> Result<(), SourceError> {
    let asked = Instant::now();
    let Ok(reply) = timeout(patience, source.heartbeat(&membership.reported())).await else {
        let cause = Cause::new(format!("no answer within {patience:?}"));
        return Err(SourceError::Busy { retry_after: None, cause });
    };
    let now = Instant::now();
    match reply {
        Ok(assigned) => {
            membership.on_reply(asked, &assigned, now);
            Ok(())
        }
        Err(SourceError::Lost(cause)) => {
            warn!(source = %name, %cause, "no longer a member of the group: all shards dropped, rejoining");
            membership.on_lost(now);
            // Tasks of lost shards must be told before this loop waits for anything else.
            view.send_replace(membership.view());
            membership.on_group(source.ensure_group().await?);
            Err(SourceError::Lost(cause))
        }
        Err(fault) => Err(fault),
    }
}

fn tick_over(source: &SourceName, membership: &mut Membership) {
    let before = membership.is_empty();
    membership.on_tick(Instant::now());
    if !before && membership.is_empty() {
        warn!(%source, "no heartbeat succeeded in time: all shards dropped before SLS gives them to another consumer");
    }
}
