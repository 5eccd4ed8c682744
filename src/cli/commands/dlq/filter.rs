//! Selects dead letters.

use std::str::FromStr;

use clap::Args;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, civil};

use crate::dead_letter::{Reason, Record};

/// Selected dead letters.
#[derive(Debug, Default, Args)]
pub struct Filter {
    /// Only with these reasons
    #[arg(long, value_name = "REASON", value_delimiter = ',')]
    pub reason: Vec<Reason>,
    /// Only of these shards
    #[arg(long, value_name = "SHARD", value_delimiter = ',')]
    pub shard: Vec<u32>,
    /// Only of these destinations
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub destination: Vec<String>,
    /// Only since this time: 2026-02-03T04:05:06Z, 2026-02-03 (local time), or 90m, 2h, 3d (ago)
    #[arg(long, value_name = "TIME")]
    pub since: Option<Since>,
}

/// A time, or an age.
#[derive(Debug, Clone)]
pub enum Since {
    /// At this time.
    At(Timestamp),
    /// This long ago.
    Ago(Span),
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        if let Ok(naive) = text.parse::<civil::DateTime>() {
            return naive
                .to_zoned(TimeZone::system())
                .map(|at| Self::At(at.timestamp()))
                .map_err(|error| error.to_string());
        }
        let span = text.parse::<Span>().map_err(|_| {
            "neither a time such as 2026-02-03T04:05:06Z or 2026-02-03, nor an age such as 90m, 2h or 3d".to_owned()
        })?;
        Ok(Self::Ago(span.abs()))
    }
}

impl Since {
    pub(super) fn timestamp(&self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => *at,
            Self::Ago(span) => {
                // An age before the earliest time means no limit.
                let then = now.to_zoned(TimeZone::system()).checked_sub(*span);
                then.map_or(Timestamp::MIN, |then| then.timestamp())
            }
        }
    }
}

impl Filter {
    pub(super) fn is_given(&self) -> bool {
        !self.reason.is_empty() || !self.shard.is_empty() || !self.destination.is_empty() || self.since.is_some()
    }

    pub(super) fn wants(&self, record: &Record, since: Option<Timestamp>) -> bool {
        (self.reason.is_empty() || self.reason.contains(&record.reason))
            && (self.shard.is_empty() || self.shard.contains(&record.origin.shard.0))
            && (self.destination.is_empty() || self.is_of(record))
            && since.is_none_or(|since| record.at >= since)
    }

    fn is_of(&self, record: &Record) -> bool {
        record.destination.as_ref().is_some_and(|of| self.destination.iter().any(|name| name == of.as_str()))
    }
}
