//! Judges the state of a shard from what SLS reports. Pure.

use std::time::Duration;

use super::api::SavedAt;

/// A shard with a smaller lag is up to date.
const ON_TIME: Duration = Duration::from_secs(60);

/// A shard, as SLS reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its number.
    pub shard: u32,
    /// Whether it was split or merged, so that nothing is written to it any more.
    pub is_read_only: bool,
    /// Its checkpoint, if one was saved.
    pub saved: Option<SavedAt>,
    /// What is at its checkpoint or, without one, at the start position of the settings.
    pub place: ShardPlace,
}

/// What is at the position from which a shard is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardPlace {
    /// No log yet.
    End,
    /// A log group; when SLS received it, in unix seconds.
    Log(i64),
    /// A log group that has expired.
    Expired,
    /// It cannot be read.
    Hidden,
}

/// The state of a shard; the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShardState {
    /// The log at the checkpoint expired before it was delivered.
    Lost,
    /// Logs expire soon.
    Losing,
    /// Logs wait, and nobody has saved a checkpoint for longer than the group's timeout.
    StandsStill,
    /// Logs have waited for longer than the group's timeout, and there is no checkpoint.
    Unread,
    /// The lag cannot be read.
    Unknown,
    /// Late, and checkpoints are saved.
    CatchingUp,
    /// Logs wait, but not for that long, and there is no checkpoint yet.
    New,
    /// Logs are delivered, and the lag is small.
    Delivering,
    /// Read to its end.
    CaughtUp,
    /// Nothing was written to it yet.
    Empty,
    /// Split or merged, and read to its end.
    Done,
}

impl ShardState {
    /// Every state, the worst first.
    pub const ALL: [Self; 11] = [
        Self::Lost,
        Self::Losing,
        Self::StandsStill,
        Self::Unread,
        Self::Unknown,
        Self::CatchingUp,
        Self::New,
        Self::Delivering,
        Self::CaughtUp,
        Self::Empty,
        Self::Done,
    ];

    /// As text.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Lost => "lost logs",
            Self::Losing => "losing soon",
            Self::StandsStill => "stands still",
            Self::Unread => "not read",
            Self::Unknown => "unknown",
            Self::CatchingUp => "catching up",
            Self::New => "new",
            Self::Delivering => "delivering",
            Self::CaughtUp => "caught up",
            Self::Empty => "empty",
            Self::Done => "done",
        }
    }

    /// Whether it needs attention.
    #[must_use]
    pub fn is_trouble(self) -> bool {
        self.remedy().is_some()
    }

    /// Its meaning and the remedy.
    #[must_use]
    pub fn remedy(self) -> Option<&'static str> {
        match self {
            Self::Lost => Some(
                "the log at the checkpoint expired before it was delivered; the reader continues with the oldest log \
                there is. Raise the retention of the logstore, and find out why the logs were not delivered",
            ),
            Self::Losing => Some(
                "three quarters of the retention have passed: raise the retention of the logstore now, and find out \
                why the logs are not delivered (a destination that is down, or too few processes)",
            ),
            Self::StandsStill => Some(
                "logs wait, and no checkpoint was saved for longer than the group's timeout: either no process reads the \
                 shard, or its destination is down, or its script pauses it. See the log and the status page of the consumer",
            ),
            Self::Unread => Some(
                "logs wait, and no process has read the shard: start forwarder, or correct sls.group if it runs with \
                another one",
            ),
            _ => None,
        }
    }
}

/// A shard and its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardReport {
    /// The shard.
    pub seen: Seen,
    /// Its state.
    pub state: ShardState,
    /// Age of the oldest undelivered log; 0 if there is none.
    pub lag: Option<Duration>,
    /// Time until that log expires, if the retention is known and limited.
    pub to_loss: Option<Duration>,
    /// Time since the checkpoint was saved, if SLS reports it.
    pub saved_ago: Option<Duration>,
}

/// How long a shard may go without a new checkpoint while logs wait: the group reassigns the shards of a consumer that
/// has ended within its `timeout`.
#[must_use]
pub fn patience(timeout: Duration) -> Duration {
    timeout.max(ON_TIME)
}

/// Judges a shard. `now` is in unix seconds by the server's clock; `timeout` is the group's.
#[must_use]
pub fn judge(seen: Seen, now: i64, timeout: Duration, retention: Option<Duration>) -> ShardReport {
    let since = |second: i64| Duration::from_secs(u64::try_from(now - second).unwrap_or(0));
    let saved_ago = seen.saved.as_ref().and_then(|saved| saved.age(now));
    let lag = match seen.place {
        ShardPlace::End => Some(Duration::ZERO),
        ShardPlace::Log(received) => Some(since(received)),
        ShardPlace::Expired | ShardPlace::Hidden => None,
    };
    let to_loss = match seen.place {
        ShardPlace::Log(_) => lag.zip(retention).map(|(lag, kept)| kept.saturating_sub(lag)),
        ShardPlace::Expired => Some(Duration::ZERO),
        ShardPlace::End | ShardPlace::Hidden => None,
    };
    let patience = patience(timeout);
    let state = match (seen.place, lag.unwrap_or_default()) {
        (ShardPlace::Hidden, _) => ShardState::Unknown,
        (ShardPlace::Expired, _) => ShardState::Lost,
        (ShardPlace::End, _) if seen.is_read_only => ShardState::Done,
        (ShardPlace::End, _) if seen.saved.is_none() => ShardState::Empty,
        (ShardPlace::End, _) => ShardState::CaughtUp,
        (ShardPlace::Log(_), lag) if retention.is_some_and(|kept| lag > kept / 4 * 3) => ShardState::Losing,
        (ShardPlace::Log(_), lag) if seen.saved.is_none() && lag > patience => ShardState::Unread,
        (ShardPlace::Log(_), _) if seen.saved.is_none() => ShardState::New,
        (ShardPlace::Log(_), lag) if lag > patience && saved_ago.is_some_and(|ago| ago > patience) => {
            ShardState::StandsStill
        }
        (ShardPlace::Log(_), lag) if lag > ON_TIME => ShardState::CatchingUp,
        (ShardPlace::Log(_), _) => ShardState::Delivering,
    };
    ShardReport { seen, state, lag, to_loss, saved_ago }
}

/// Sorts by state, worst first, then by lag, largest first.
pub fn sort(shards: &mut [ShardReport]) {
    shards.sort_by_key(|judged| (judged.state, std::cmp::Reverse(judged.lag), judged.seen.shard));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::cursor::Cursor;

    const NOW: i64 = 1_000_000_000;
    const DAY: i64 = 86_400;

    /// A shard whose checkpoint was saved this many seconds ago.
    fn seen(saved_ago: Option<i64>, place: ShardPlace) -> Seen {
        let saved = saved_ago.map(|ago| SavedAt {
            shard: 3,
            cursor: Cursor::from_number(1),
            consumer: "a".to_owned(),
            micros: (NOW - ago) * 1_000_000,
        });
        Seen { shard: 3, is_read_only: false, saved, place }
    }

    fn judged(saved_ago: Option<i64>, place: ShardPlace) -> ShardReport {
        let week = Duration::from_secs(7 * DAY as u64);
        judge(seen(saved_ago, place), NOW, Duration::from_secs(60), Some(week))
    }

    #[test]
    fn the_state_of_a_shard_follows_from_its_checkpoint_and_its_oldest_log() {
        let late = |seconds| ShardPlace::Log(NOW - seconds);
        for (saved_ago, place, expected) in [
            (Some(9 * DAY), ShardPlace::Expired, ShardState::Lost),
            (Some(1), late(6 * DAY), ShardState::Losing),
            (Some(DAY), late(DAY), ShardState::StandsStill),
            // No logs arrived for a day, and then one did: the shard is not late.
            (Some(DAY), late(5), ShardState::Delivering),
            (Some(1), late(DAY), ShardState::CatchingUp),
            (Some(1), late(5), ShardState::Delivering),
            (Some(DAY), ShardPlace::End, ShardState::CaughtUp),
            (None, late(DAY), ShardState::Unread),
            (None, late(5), ShardState::New),
            (None, ShardPlace::End, ShardState::Empty),
            (Some(1), ShardPlace::Hidden, ShardState::Unknown),
        ] {
            assert_eq!(judged(saved_ago, place).state, expected, "{saved_ago:?} {place:?}");
        }
        let split = Seen { is_read_only: true, ..seen(Some(DAY), ShardPlace::End) };
        assert_eq!(judge(split, NOW, Duration::ZERO, None).state, ShardState::Done);
    }

    #[test]
    fn a_shard_stands_still_only_after_the_timeout_of_its_group() {
        let at = |saved_ago, timeout| {
            judge(seen(saved_ago, ShardPlace::Log(NOW - 300)), NOW, Duration::from_secs(timeout), None)
        };
        assert_eq!(at(Some(300), 600).state, ShardState::CatchingUp);
        assert_eq!(at(Some(300), 200).state, ShardState::StandsStill);
        assert_eq!((at(None, 600).state, at(None, 200).state), (ShardState::New, ShardState::Unread));
    }

    #[test]
    fn the_time_to_loss_is_the_retention_minus_the_lag() {
        let at = judged(Some(1), ShardPlace::Log(NOW - DAY));
        assert_eq!(at.lag.unwrap().as_secs(), DAY as u64);
        assert_eq!(at.to_loss.unwrap().as_secs(), 6 * DAY as u64);
        assert_eq!(judged(Some(1), ShardPlace::End).to_loss, None, "what is not there cannot be lost");
        let unknown = judge(seen(Some(1), ShardPlace::Log(NOW - DAY)), NOW, Duration::ZERO, None);
        assert_eq!(unknown.to_loss, None);
    }

    #[test]
    fn a_clock_that_runs_behind_does_not_make_the_lag_negative() {
        let at = judged(Some(-5), ShardPlace::Log(NOW + 5));
        assert_eq!((at.lag, at.saved_ago), (Some(Duration::ZERO), Some(Duration::ZERO)));
    }

    #[test]
    fn the_worst_shard_comes_first_and_then_the_one_with_the_largest_lag() {
        let shard = |shard, saved, place| Seen { shard, ..seen(saved, place) };
        let all = [
            shard(0, Some(1), ShardPlace::End),
            shard(1, Some(1), ShardPlace::Log(NOW - 100)),
            shard(2, Some(9 * DAY), ShardPlace::Expired),
            shard(3, Some(1), ShardPlace::Log(NOW - 500)),
        ];
        let mut all = all.map(|seen| judge(seen, NOW, Duration::ZERO, None));
        sort(&mut all);
        assert_eq!(all.map(|judged| judged.seen.shard), [2, 3, 1, 0]);
        assert!(ShardState::ALL.is_sorted() && ShardState::ALL.len() == ShardState::Done as usize + 1);
    }
}
