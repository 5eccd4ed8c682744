//! A dead letter.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::core::cursor::{Cursor, ShardId};
use crate::core::destination_name::DestinationName;

/// One dead letter: what could not be delivered, why, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When it became a dead letter.
    pub at: Timestamp,
    /// The reason.
    pub reason: Reason,
    /// The destination that refused the event. `None` if the dead letter is about the log as a whole, whose
    /// destinations the script decides.
    pub destination: Option<DestinationName>,
    /// The destination's code or the kind of the script's error: "hec 6". Cut to 64 bytes when written.
    pub code: String,
    /// A description without secrets. Cut to 1024 bytes when written.
    pub message: String,
    /// The log.
    pub origin: LogOrigin,
    /// The script version that processed the log.
    pub script: String,
    /// The original log: keys and values in the log's order, any bytes.
    pub log: Vec<(Vec<u8>, Vec<u8>)>,
    /// The encoded event; `None` if there is none.
    pub event: Option<Vec<u8>>,
}

impl Record {
    /// Identifies the log, or the event made from it: `project/logstore/` and its [`Record::place`]. Needs no quotes in
    /// a shell.
    ///
    /// The same log has the same id when it is pulled again. A crash after the dead letter and before the checkpoint
    /// therefore leaves a second record with the same id, never a second id for one log. Unique within a destination: an
    /// event that two destinations refuse is two dead letters with the same id.
    #[must_use]
    pub fn id(&self) -> String {
        let LogOrigin { project, logstore, .. } = &self.origin;
        format!("{project}/{logstore}/{}", self.place())
    }

    /// Identifies the log within its logstore, or the event made from it: `shard-cursor-log` or
    /// `shard-cursor-log-event`. Uses the number inside the cursor if it has one.
    #[must_use]
    pub fn place(&self) -> String {
        let LogOrigin { shard, cursor, log, event, .. } = &self.origin;
        let cursor = cursor.number().map_or_else(|| cursor.to_string(), |number| number.to_string());
        match event {
            Some(event) => format!("{shard}-{cursor}-{log}-{event}"),
            None => format!("{shard}-{cursor}-{log}"),
        }
    }
}

/// The position of the log, and of the event made from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOrigin {
    /// The project of the logstore.
    pub project: String,
    /// The logstore.
    pub logstore: String,
    /// The shard.
    pub shard: ShardId,
    /// The cursor to pull from to get the log again.
    pub cursor: Cursor,
    /// Index of the log after that cursor, from 0.
    pub log: u32,
    /// Index of the event among those made from that log for the destination, from 0. `None` if the dead letter is
    /// about the log as a whole.
    pub event: Option<u32>,
}

/// Why something could not be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The script raised an error.
    ScriptError,
    /// The script exceeded its time limit.
    ScriptTimeout,
    /// The script exceeded its memory limit.
    ScriptMemory,
    /// The return value of the script is not an event.
    BadReturn,
    /// The destination refuses the event because of its content.
    Rejected,
    /// The event is larger than the destination accepts.
    TooLarge,
    /// The isolated destination was down, and the others continued without it.
    DestinationDown,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::ScriptError,
        Self::ScriptTimeout,
        Self::ScriptMemory,
        Self::BadReturn,
        Self::Rejected,
        Self::TooLarge,
        Self::DestinationDown,
    ];

    /// Its name in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ScriptError => "script_error",
            Self::ScriptTimeout => "script_timeout",
            Self::ScriptMemory => "script_memory",
            Self::BadReturn => "bad_return",
            Self::Rejected => "rejected",
            Self::TooLarge => "too_large",
            Self::DestinationDown => "destination_down",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or(UnknownReason)
    }
}

/// No reason has this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown reason; the reasons are {}", Reason::ALL.map(Reason::as_str).join(", "))]
pub struct UnknownReason;
