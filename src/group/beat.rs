//! Heartbeats.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use super::{BeatEnd, Report};
use crate::source::{Cause, Source, SourceError};
use crate::trouble::Trouble;

/// How often to beat.
#[derive(Debug, Clone, Copy)]
pub struct BeatPace {
    /// Time between the starts of two heartbeats.
    pub interval: Duration,
    /// Longest time for one heartbeat; less than the interval, so that a second try fits in.
    pub patience: Duration,
}

/// What can happen to the heartbeats.
enum Event {
    Report(Report),
    /// Every task has ended and the line is down.
    Over,
    Tick,
    Beat,
}

/// Beats until the tasks hang up.
///
/// Nothing in here waits for a script, a destination or a disk.
pub async fn beat<S: Source>(source: &S, mut end: BeatEnd, pace: BeatPace) {
    let mut trouble = Trouble::new("heartbeat failed", 0).no_longer_than(pace.interval / 4);
    let mut next = Instant::now();
    loop {
        let tick = end.membership.next_tick();
        let event = tokio::select! {
            biased;
            report = end.reports.recv() => report.map_or(Event::Over, Event::Report),
            () = sleep_until(tick.unwrap_or(next)), if tick.is_some() => Event::Tick,
            () = sleep_until(next) => Event::Beat,
        };
        match event {
            Event::Over => return,
            Event::Report(Report::Leave) => end.membership.on_leave(),
            Event::Report(Report::Ended { shard, tenure, again }) => end.membership.on_ended(shard, tenure, again),
            Event::Tick => tick_over(&mut end),
            Event::Beat => {
                tick_over(&mut end);
                let asked = Instant::now();
                next = match once(source, &mut end, pace.patience).await {
                    Ok(()) => {
                        trouble.over();
                        asked + pace.interval
                    }
                    Err(fault) => {
                        let now = Instant::now();
                        now + trouble.next(&fault, now)
                    }
                };
            }
        }
        end.publish();
    }
}

async fn once<S: Source>(source: &S, end: &mut BeatEnd, patience: Duration) -> Result<(), SourceError> {
    let asked = Instant::now();
    let reply = timeout(patience, source.heartbeat(&end.membership.reported())).await;
    let now = Instant::now();
    match reply {
        Ok(Ok(assigned)) => {
            end.membership.on_reply(asked, &assigned, now);
            Ok(())
        }
        Ok(Err(SourceError::Lost(cause))) => {
            warn!(%cause, "no longer a member of the group: all shards dropped, joining again");
            end.membership.on_lost(now);
            // Whoever holds a lost shard must hear of it before anything else is waited for.
            end.publish();
            source.ensure_group().await.map(|_| ())?;
            let reply = timeout(patience, source.heartbeat(&end.membership.reported())).await;
            match reply {
                Ok(reply) => {
                    end.membership.on_reply(now, &reply?, Instant::now());
                    info!("joined the group again");
                    Ok(())
                }
                Err(_) => Err(late(patience)),
            }
        }
        Ok(Err(fault)) => Err(fault),
        Err(_) => Err(late(patience)),
    }
}

fn late(patience: Duration) -> SourceError {
    let cause = Cause::new(format!("no answer within {patience:?}"));
    SourceError::Busy { retry_after: None, cause }
}

fn tick_over(end: &mut BeatEnd) {
    let before = end.membership.is_empty();
    end.membership.on_tick(Instant::now());
    if !before && end.membership.is_empty() {
        warn!("no heartbeat got through in time: all shards dropped before SLS gives them to another consumer");
    }
}

impl BeatEnd {
    fn publish(&self) {
        self.view.send_replace(self.membership.view());
    }
}
