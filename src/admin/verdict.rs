//! The verdict on a snapshot: a headline and its reasons. Pure.
//!
//! The state is good only if that is known. Unknown values are reasons too.

use std::time::Duration;

use super::headline::Headline;
use super::reason::{Effect, Reason, State};
use super::reasons::reasons;
use super::shard_names::names;
use super::snapshot::{GroupHealth, Snapshot, SourceSnapshot};
use crate::core::cursor::ShardName;
use crate::core::duration::roughly;
use crate::core::ledger::{Ask, ShardLedger};
use crate::destination::{Health, IsolationMode};

/// From this lag on a shard is catching up; a smaller lag is normal.
const BEHIND: Duration = Duration::from_secs(60);

/// From this lag on, a growing lag is a problem.
const FAR_BEHIND: Duration = Duration::from_secs(300);

/// A lag that changes by less than this per second counts as constant.
const STEADY: f64 = 0.02;

/// Logs that expire within this time (or within half of the retention) are reported as about to be lost.
const LOSING: Duration = Duration::from_secs(24 * 3_600);

/// The verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// In a word.
    pub(super) headline: Headline,
    /// The reasons, worst first.
    pub(super) reasons: Vec<Reason>,
}

impl Verdict {
    /// The worst state of the reasons.
    pub(super) fn state(&self) -> State {
        self.reasons.first().map_or(State::Well, |worst| worst.state)
    }

    /// Whether logs can be read and delivered, or other processes hold all shards.
    pub(super) fn is_ready(&self) -> bool {
        !self.reasons.iter().any(|reason| reason.is_not_ready)
    }

    /// The number of reasons that need attention.
    pub(super) fn problems(&self) -> usize {
        self.reasons.iter().filter(|reason| reason.state >= State::Trouble).count()
    }

    /// The headline, and the worst reason.
    pub(super) fn short(&self) -> String {
        match self.reasons.first() {
            Some(worst) => format!("{}: {}", self.headline, worst.text),
            None => self.headline.to_string(),
        }
    }

    /// All reasons on one line.
    pub(super) fn line(&self) -> String {
        self.reasons.iter().map(|reason| reason.text.as_str()).collect::<Vec<_>>().join("; ")
    }
}

/// The verdict on a snapshot.
pub(super) fn verdict(snapshot: &Snapshot) -> Verdict {
    let mut reasons = reasons(snapshot);
    let has = |effect| reasons.iter().any(|reason: &Reason| reason.effect == effect);
    let (is_lost, is_paused) = (has(Effect::Lost), has(Effect::Pauses));
    let lag = snapshot.sources.iter().filter_map(|source| lag_of(source, snapshot)).max().unwrap_or_default();
    let losing = snapshot.sources.iter().filter_map(|source| losing(source, snapshot, is_paused)).min();
    let waits = reasons.first().is_some_and(|worst| matches!(worst.state, State::Waiting | State::Stopped));
    let stopped = stopped(snapshot);
    let headline = match losing {
        _ if is_lost => Headline::Lost,
        Some(within) => Headline::Losing(within),
        None if stands_by(snapshot) => Headline::StandingBy,
        None if is_paused => Headline::Paused,
        None if !stopped.is_empty() => Headline::PausedInPart(names(stopped.iter())),
        None if waits || (lag >= BEHIND && waits_in_memory(snapshot)) => Headline::Waiting,
        None if lag >= BEHIND => match snapshot.lag_change {
            Some(change) if change > -STEADY => Headline::Late,
            change => Headline::CatchingUp(left(lag, change)),
        },
        None => Headline::Delivering,
    };
    if let Some(within) = losing {
        let text = format!("the oldest logs that wait in SLS expire in {}", roughly(within));
        let reason = Reason::new(State::Trouble, text).so(Effect::Flows, "expired logs are lost");
        reasons.push(reason.remedy("fix the other problems first, or raise the retention of the logstore"));
    } else if !is_paused
        && !waits_in_memory(snapshot)
        && lag >= FAR_BEHIND
        && snapshot.lag_change.is_some_and(|change| change >= STEADY)
    {
        let text = format!("the oldest undelivered log is {} old, and the lag grows", roughly(lag));
        let reason = Reason::new(State::Trouble, text).so(Effect::Flows, "logs arrive late, and will expire");
        reasons.push(reason.remedy("check below whether the destination or the script takes long; split shards"));
    }
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.state));
    Verdict { headline, reasons }
}

/// The shards of which no log is read or delivered until somebody acts, those that no process reads included.
fn stopped(snapshot: &Snapshot) -> Vec<ShardName> {
    let is_refused = |entry: &ShardLedger| {
        [Ask::Locate, Ask::Pull].iter().any(|ask| entry.failing.get(ask).is_some_and(|why| why.is_trouble(snapshot.at)))
    };
    let held = snapshot.shards.iter().filter(|(_, entry)| entry.held);
    let ours = held.filter(|(_, entry)| entry.standstill().is_some() || is_refused(entry));
    let unread = snapshot.sources.iter().flat_map(|source| source.unread(snapshot)).map(|(shard, _)| shard);
    ours.map(|(shard, _)| shard.clone()).chain(unread).collect()
}

/// Whether this process is a member of its groups, and none of them gave it a shard.
fn stands_by(snapshot: &Snapshot) -> bool {
    let waits = |group: &GroupHealth| group.joined && group.failing.is_none() && group.waiting.is_some();
    snapshot.sources.iter().all(|source| waits(&source.group)) && !snapshot.shards.values().any(|entry| entry.held)
}

/// Whether logs wait in memory for an isolated destination, and the lag is the age of these logs. The others have them.
fn waits_in_memory(snapshot: &Snapshot) -> bool {
    snapshot.destinations.iter().any(|destination| {
        destination.isolation == Some(IsolationMode::Direct)
            && matches!(destination.health, Health::Down { .. } | Health::Refusing { .. })
    })
}

/// The age of the oldest log of a source that is not durable.
fn lag_of(source: &SourceSnapshot, snapshot: &Snapshot) -> Option<Duration> {
    let of_source = snapshot.shards.iter().filter(|(shard, _)| shard.source.as_str() == source.name);
    let lags = of_source.filter_map(|(_, entry)| entry.lag(snapshot.now).filter(|_| entry.held));
    lags.max().map(Duration::from_secs)
}

/// The time until the lag is gone, if it shrinks at this rate.
fn left(lag: Duration, change: Option<f64>) -> Option<Duration> {
    let change = change.filter(|change| *change <= -STEADY)?;
    Duration::try_from_secs_f64(lag.as_secs_f64() / -change).ok()
}

/// When the oldest logs of a source expire, if that is soon and nothing changes.
fn losing(source: &SourceSnapshot, snapshot: &Snapshot, is_paused: bool) -> Option<Duration> {
    let kept = source.retention?;
    let lag = lag_of(source, snapshot).filter(|lag| *lag >= BEHIND)?;
    // While nothing is delivered, the lag grows by one second per second.
    let change = if is_paused { Some(1.0) } else { snapshot.lag_change };
    let change = change.filter(|change| *change >= STEADY)?;
    let within = Duration::try_from_secs_f64(kept.saturating_sub(lag).as_secs_f64() / change).ok()?;
    (within < LOSING.min(kept / 2)).then_some(within)
}

#[cfg(test)]
mod tests;
