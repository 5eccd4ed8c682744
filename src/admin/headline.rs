//! The headline of the verdict, in a word.

use std::fmt;
use std::time::Duration;

use crate::core::duration::roughly;

/// The headline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Headline {
    /// Logs are delivered as they arrive.
    Delivering,
    /// Logs are delivered late, and the lag shrinks, or it is not known whether it does: the time until it is gone, if
    /// known.
    CatchingUp(Option<Duration>),
    /// Logs are delivered late, and the lag does not shrink.
    Late,
    /// There is nothing to do, or something is not known yet.
    Waiting,
    /// Other processes have all shards.
    StandingBy,
    /// No logs are delivered.
    Paused,
    /// No logs of these shards are delivered; others may be.
    PausedInPart(String),
    /// Logs expire in SLS within this time, if nothing changes.
    Losing(Duration),
    /// Logs are lost, and that is not acknowledged yet.
    Lost,
}

impl fmt::Display for Headline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivering => f.write_str("Delivering"),
            Self::CatchingUp(None) => f.write_str("Catching up"),
            Self::CatchingUp(Some(left)) => write!(f, "Catching up ({} left)", roughly(*left)),
            Self::Late => f.write_str("Delivering late"),
            Self::Waiting => f.write_str("Waiting"),
            Self::StandingBy => f.write_str("Standing by"),
            Self::Paused => f.write_str("Paused"),
            Self::PausedInPart(shards) => write!(f, "Paused in part: {shards}"),
            Self::Losing(within) => write!(f, "Losing logs in {}", roughly(*within)),
            Self::Lost => f.write_str("Logs were lost"),
        }
    }
}
